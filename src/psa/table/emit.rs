//! [`Table`] -> the parameters of a multipath target, and [`Message`] -> its text. [`super::parse`] documents the
//! grammar.
//!
//! [`check`] rejects in advance what `multipath_ctr` and the constructors of the path selectors would refuse. The
//! kernel would give the reason only in its log; `ioctl` returns just `EINVAL`.

use super::model::{Group, Message, QueueMode, Selector, Table};
use super::normal;
use crate::psa::units::DevT;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// Why the kernel would refuse a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The map has no length.
    #[error("the map has length 0")]
    NoLength,
    /// A number is out of the range that the kernel accepts.
    #[error("{what} is {value}, but must be {least} to {most}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
        /// The lowest valid number.
        least: u64,
        /// The highest valid number.
        most: u64,
    },
    /// Groups without an initial group, no groups but an initial group, or an initial group that does not exist.
    #[error("initial group {initial} is not valid with {groups} groups")]
    InitialGroup {
        /// The initial group.
        initial: u32,
        /// The number of groups.
        groups: usize,
    },
    /// A path is in the table twice.
    #[error("path {0} is in the table twice")]
    Twice(DevT),
    /// The paths of a group have different numbers of arguments, which the text cannot express.
    #[error("path {0} has a different number of arguments than the paths before it in its group")]
    Uneven(DevT),
    /// A selector would refuse the arguments of a path.
    #[error("path {dev}: {selector} takes {wants}")]
    PathArguments {
        /// The path.
        dev: DevT,
        /// The selector.
        selector: String,
        /// What the selector accepts.
        wants: &'static str,
    },
    /// A word that the kernel would read as no word or as several.
    #[error("`{0}` is not a single word")]
    Word(String),
}

/// The most words in the feature list; [`MOST`] is the limit for groups, paths of a group, and words of handlers and
/// selectors.
const FEATURE_WORDS: u64 = 8;
const MOST: u64 = 1024;

/// Checks whether the kernel would refuse a table.
///
/// # Errors
/// The first problem found.
pub fn check(table: &Table) -> Result<(), Problem> {
    if table.length.0 == 0 {
        return Err(Problem::NoLength);
    }
    let features = &table.features;
    if let Some(n) = features.pg_init_retries {
        range("pg_init_retries", n, 1, 50)?;
    }
    if let Some(n) = features.pg_init_delay_msecs {
        range("pg_init_delay_msecs", n, 0, 60_000)?;
    }
    let words = feature_words(table);
    range(
        "the number of feature words",
        words.len() as u64,
        0,
        FEATURE_WORDS,
    )?;
    words.iter().try_for_each(|word| one_word(word))?;
    if let Some(handler) = &table.handler {
        range(
            "the number of handler arguments",
            handler.args.len() as u64,
            0,
            MOST.saturating_sub(1),
        )?;
        one_word(&handler.name)?;
        handler.args.iter().try_for_each(|word| one_word(word))?;
    }
    range("the number of groups", table.groups.len() as u64, 0, MOST)?;
    let (initial, groups) = (table.initial_group, table.groups.len());
    if initial as usize > groups || (initial == 0) != (groups == 0) {
        return Err(Problem::InitialGroup { initial, groups });
    }
    let mut seen = BTreeSet::new();
    for group in &table.groups {
        check_group(group)?;
        if let Some(path) = group.paths.iter().find(|path| !seen.insert(path.dev)) {
            return Err(Problem::Twice(path.dev));
        }
    }
    Ok(())
}

fn check_group(group: &Group) -> Result<(), Problem> {
    let selector = &group.selector;
    one_word(&selector.name)?;
    selector.args.iter().try_for_each(|word| one_word(word))?;
    range(
        "the number of selector arguments",
        selector.args.len() as u64,
        0,
        MOST,
    )?;
    range(
        "the number of paths in a group",
        group.paths.len() as u64,
        1,
        MOST,
    )?;
    let args = group.paths.first().map_or(0, |path| path.args.len());
    range("the number of path arguments", args as u64, 0, MOST)?;
    for path in &group.paths {
        // The limits of `dev_t` inside the kernel: 12 and 20 bits.
        range("a major number", path.dev.major, 0, 0xfff)?;
        range("a minor number", path.dev.minor, 0, 0xf_ffff)?;
        path.args.iter().try_for_each(|word| one_word(word))?;
        if path.args.len() != args {
            return Err(Problem::Uneven(path.dev));
        }
        if let Some(wants) = normal::refuses(&selector.name, &path.args) {
            return Err(Problem::PathArguments {
                dev: path.dev,
                selector: selector.name.clone(),
                wants,
            });
        }
    }
    Ok(())
}

fn range(what: &'static str, value: impl Into<u64>, least: u64, most: u64) -> Result<(), Problem> {
    let value = value.into();
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Problem::Range {
            what,
            value,
            least,
            most,
        })
    }
}

/// The kernel splits at white space and treats a backslash as a quote.
fn one_word(word: &str) -> Result<(), Problem> {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '\\' || c == '\0') {
        Err(Problem::Word(word.to_owned()))
    } else {
        Ok(())
    }
}

/// The feature list, in the order in which the kernel prints it.
fn feature_words(table: &Table) -> Vec<String> {
    let features = &table.features;
    let mut out = Vec::new();
    let mut add = |words: &[&str]| out.extend(words.iter().map(|&word| word.to_owned()));
    if features.queue_if_no_path {
        add(&["queue_if_no_path"]);
    }
    if let Some(n) = features.pg_init_retries {
        add(&["pg_init_retries", &n.to_string()]);
    }
    if let Some(n) = features.pg_init_delay_msecs {
        add(&["pg_init_delay_msecs", &n.to_string()]);
    }
    if features.retain_attached_hw_handler {
        add(&["retain_attached_hw_handler"]);
    }
    if let Some(mode) = features.queue_mode {
        let mode = match mode {
            QueueMode::Bio => "bio",
            QueueMode::Rq => "rq",
            QueueMode::Mq => "mq",
        };
        add(&["queue_mode", mode]);
    }
    out.extend(features.unknown.iter().cloned());
    out
}

/// Writes the parameters of the target, without start, length and target name.
///
/// # Errors
/// The [`Problem`] that [`check`] finds.
pub fn emit(table: &Table) -> Result<String, Problem> {
    check(table)?;
    Ok(text(table))
}

/// The features of a table as the kernel prints them: their number, then the words.
#[must_use]
pub fn features(table: &Table) -> String {
    let words = feature_words(table);
    let mut line = Line::default();
    line.add(words.len()).all(&words);
    line.0
}

/// The hardware handler of a table as the kernel prints it.
#[must_use]
pub fn handler(table: &Table) -> String {
    let mut line = Line::default();
    match &table.handler {
        None => line.add(0),
        Some(handler) => line
            .add(handler.args.len().saturating_add(1))
            .add(&handler.name)
            .all(&handler.args),
    };
    line.0
}

/// A path selector as the kernel prints it: its name, the number of its arguments, and these.
#[must_use]
pub fn selector(selector: &Selector) -> String {
    let mut line = Line::default();
    line.add(&selector.name)
        .add(selector.args.len())
        .all(&selector.args);
    line.0
}

fn text(table: &Table) -> String {
    let mut line = Line::default();
    line.add(features(table)).add(handler(table));
    line.add(table.groups.len()).add(table.initial_group);
    for group in &table.groups {
        line.add(selector(&group.selector));
        line.add(group.paths.len())
            .add(group.paths.first().map_or(0, |path| path.args.len()));
        for path in &group.paths {
            line.add(path.dev).all(&path.args);
        }
    }
    line.0
}

/// Words with one space between them.
#[derive(Default)]
struct Line(String);

impl Line {
    fn add(&mut self, word: impl fmt::Display) -> &mut Self {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{gap}{word}");
        self
    }

    fn all(&mut self, words: &[String]) -> &mut Self {
        for word in words {
            self.add(word);
        }
        self
    }
}

/// The text for `DM_TARGET_MSG`, sector 0.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::QueueIfNoPath => f.write_str("queue_if_no_path"),
            Message::FailIfNoPath => f.write_str("fail_if_no_path"),
            Message::FailPath(dev) => write!(f, "fail_path {dev}"),
            Message::ReinstatePath(dev) => write!(f, "reinstate_path {dev}"),
            Message::SwitchGroup(n) => write!(f, "switch_group {n}"),
            Message::DisableGroup(n) => write!(f, "disable_group {n}"),
            Message::EnableGroup(n) => write!(f, "enable_group {n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::table::model::{Features, HardwareHandler, Selector, TablePath};
    use crate::psa::table::parse::parse;
    use crate::psa::units::Sectors;
    use proptest::prelude::*;

    fn table(params: &str) -> Table {
        parse(Sectors(2048), params).unwrap()
    }

    fn refuses(params: &str) -> String {
        check(&table(params)).unwrap_err().to_string()
    }

    #[test]
    fn enforces_the_limits_of_the_kernel() {
        assert_eq!(
            refuses("2 pg_init_retries 51 0 0 0"),
            "pg_init_retries is 51, but must be 1 to 50"
        );
        assert_eq!(
            refuses("2 pg_init_delay_msecs 60001 0 0 0"),
            "pg_init_delay_msecs is 60001, but must be 0 to 60000"
        );
        assert_eq!(
            refuses("0 0 0 1"),
            "initial group 1 is not valid with 0 groups"
        );
        assert_eq!(
            refuses("0 0 1 0 service-time 0 1 0 8:0"),
            "initial group 0 is not valid with 1 groups"
        );
        assert_eq!(
            refuses("0 0 1 2 service-time 0 1 0 8:0"),
            "initial group 2 is not valid with 1 groups"
        );
        assert_eq!(
            refuses("0 0 1 1 service-time 0 2 0 8:0 8:0"),
            "path 8:0 is in the table twice"
        );
        assert_eq!(
            refuses("0 0 1 1 service-time 0 0 0"),
            "the number of paths in a group is 0, but must be 1 to 1024"
        );
        assert_eq!(
            refuses("0 0 1 1 service-time 0 1 2 8:0 1 101"),
            "path 8:0: service-time takes a repeat count and a relative throughput of 0 to 100"
        );
        assert_eq!(
            refuses("0 0 1 1 round-robin 0 1 2 8:0 1 1"),
            "path 8:0: round-robin takes a repeat count"
        );
        assert_eq!(
            refuses("0 0 1 1 io-affinity 0 1 0 8:0"),
            "path 8:0: io-affinity takes one CPU mask"
        );
    }

    #[test]
    fn refuses_what_text_cannot_express() {
        let mut uneven = table("0 0 1 1 service-time 0 2 0 8:0 8:16");
        uneven.groups[0].paths[1].args = vec!["1".into()];
        assert!(matches!(check(&uneven), Err(Problem::Uneven(_))));
        let mut word = table("0 0 1 1 service-time 0 1 0 8:0");
        word.groups[0].selector.name = "service time".into();
        assert!(matches!(check(&word), Err(Problem::Word(_))));
        word.length = Sectors(0);
        assert_eq!(check(&word), Err(Problem::NoLength));
    }

    /// Tables of any shape that a kernel accepts, with an argument count for each group.
    pub(crate) fn tables() -> impl Strategy<Value = Table> {
        let features = (
            any::<bool>(),
            any::<bool>(),
            prop::option::of(1..=50u32),
            prop::option::of(0..=60_000u32),
            prop::option::of(prop::sample::select(vec![
                QueueMode::Bio,
                QueueMode::Rq,
                QueueMode::Mq,
            ])),
            prop::collection::vec("x[a-z]{1,5}", 0..2),
        )
            .prop_map(|(queue, retain, retries, delay, mode, unknown)| Features {
                queue_if_no_path: queue,
                retain_attached_hw_handler: retain,
                pg_init_retries: retries,
                pg_init_delay_msecs: delay,
                queue_mode: mode,
                unknown,
            });
        let handler = prop::option::of(("[a-z_]{1,6}", prop::collection::vec("[0-9]{1,2}", 0..3)))
            .prop_map(|handler| handler.map(|(name, args)| HardwareHandler { name, args }));
        let shape = prop::collection::vec((0..4usize, 1..5usize, 0..3usize), 0..6);
        (1..u64::MAX, features, handler, shape).prop_map(|(length, features, handler, shape)| {
            let mut minor = 0;
            let groups: Vec<Group> = shape
                .into_iter()
                .map(|(selector, paths, args)| {
                    let (name, most) = [
                        ("service-time", 2),
                        ("round-robin", 1),
                        ("queue-length", 1),
                        ("new-one", 9),
                    ][selector];
                    let paths = (0..paths)
                        .map(|_| {
                            minor += 1;
                            let dev = DevT { major: 8, minor };
                            let args = vec!["1".to_owned(); args.min(most)];
                            TablePath { dev, args }
                        })
                        .collect();
                    let selector = Selector {
                        name: name.into(),
                        args: vec![],
                    };
                    Group { selector, paths }
                })
                .collect();
            let initial_group = u32::from(!groups.is_empty());
            Table {
                length: Sectors(length),
                features,
                handler,
                groups,
                initial_group,
            }
        })
    }

    proptest! {
        #[test]
        fn parse_reads_back_what_emit_wrote(table in tables()) {
            match emit(&table) {
                Ok(text) => prop_assert_eq!(parse(table.length, &text).unwrap(), table),
                // These tables can only be wrong in having more than eight feature words.
                Err(problem) => {
                    let many = matches!(problem, Problem::Range { value: 9.., most: 8, .. });
                    prop_assert!(many, "{}", problem);
                }
            }
        }
    }
}
