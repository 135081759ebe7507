//! Text of `STATUSTYPE_TABLE` -> [`Table`].
//!
//! The line, without start, length and target name:
//!
//! ```text
//! line     = features handler groups
//! features = COUNT word...          COUNT words, not features; names in any case
//!            queue_if_no_path | retain_attached_hw_handler
//!            | pg_init_retries N | pg_init_delay_msecs N | queue_mode (bio|rq|mq)
//! handler  = COUNT [name arg...]    COUNT words, the name among them
//! groups   = COUNT INITIAL group... INITIAL counts from 1, and is 0 without groups
//! group    = selector COUNT arg...  the arguments of the selector's constructor
//!            PATHS ARGS path...     PATHS paths, each with ARGS arguments
//! path     = MAJOR:MINOR arg...
//! ```
//!
//! What the kernel prints differs from what it was given. Features are in the kernel's order, missing path arguments
//! are filled in, the handler is the one that is attached and without its arguments, `queue_if_no_path` is the current
//! flag, and INITIAL is the group in use. This parser keeps the text as it is; [`super::diff`] takes the differences
//! into account.

use super::model::{Features, Group, HardwareHandler, QueueMode, Selector, Table, TablePath};
use super::words::Words;
use crate::psa::units::Sectors;

pub use super::words::{Found, ParseError};

/// Parses the parameters of a multipath target that spans a map of this length.
///
/// # Errors
/// The first word that does not fit the grammar. Never panics, whatever the text.
pub fn parse(length: Sectors, params: &str) -> Result<Table, ParseError> {
    let mut words = Words::of(params);
    let features = features(&mut words)?;
    let handler = handler(&mut words)?;
    let count: u32 = words.value("the number of groups")?;
    let initial_group = words.value("the initial group")?;
    let groups = (0..count)
        .map(|_| group(&mut words))
        .collect::<Result<_, _>>()?;
    words.end()?;
    Ok(Table {
        length,
        features,
        handler,
        groups,
        initial_group,
    })
}

fn features(words: &mut Words<'_>) -> Result<Features, ParseError> {
    let mut out = Features::default();
    let mut left: u32 = words.value("the number of feature words")?;
    while left > 0 {
        let word = words.word("a feature")?;
        left = left.saturating_sub(1);
        let name = word.to_ascii_lowercase();
        let has_argument = matches!(
            name.as_str(),
            "pg_init_retries" | "pg_init_delay_msecs" | "queue_mode"
        );
        if has_argument && left == 0 {
            return Err(words.wrong("the argument of the feature within the feature words", word));
        }
        match name.as_str() {
            "queue_if_no_path" => out.queue_if_no_path = true,
            "retain_attached_hw_handler" => out.retain_attached_hw_handler = true,
            "pg_init_retries" => out.pg_init_retries = Some(words.value("a number of rounds")?),
            "pg_init_delay_msecs" => {
                out.pg_init_delay_msecs = Some(words.value("a number of milliseconds")?);
            }
            "queue_mode" => {
                let expected = "the queue mode bio, rq or mq";
                let word = words.word(expected)?;
                out.queue_mode = Some(match word.to_ascii_lowercase().as_str() {
                    "bio" => QueueMode::Bio,
                    "rq" => QueueMode::Rq,
                    "mq" => QueueMode::Mq,
                    _ => return Err(words.wrong(expected, word)),
                });
            }
            _ => out.unknown.push(word.to_owned()),
        }
        if has_argument {
            left = left.saturating_sub(1);
        }
    }
    Ok(out)
}

fn handler(words: &mut Words<'_>) -> Result<Option<HardwareHandler>, ParseError> {
    let mut all = words
        .counted(
            "the number of handler words",
            "the handler or its arguments",
        )?
        .into_iter();
    Ok(all.next().map(|name| HardwareHandler {
        name,
        args: all.collect(),
    }))
}

fn group(words: &mut Words<'_>) -> Result<Group, ParseError> {
    let selector = Selector {
        name: words.word("a path selector")?.to_owned(),
        args: words.counted("the number of selector arguments", "a selector argument")?,
    };
    let count: u32 = words.value("the number of paths")?;
    let args: u32 = words.value("the number of arguments of each path")?;
    let paths = (0..count)
        .map(|_| {
            Ok(TablePath {
                dev: words.value("a path (major:minor)")?,
                args: words.take(args, "a path argument")?,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Group { selector, paths })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::table::emit::emit;
    use proptest::prelude::*;

    const LENGTH: Sectors = Sectors(2048);

    #[test]
    fn reads_what_a_kernel_prints() {
        let text = "3 queue_if_no_path pg_init_retries 50 1 alua 2 1 \
                    service-time 0 2 2 8:16 1 1 8:32 1 1 round-robin 0 1 1 8:48 1 ";
        let table = parse(LENGTH, text).unwrap();
        assert!(table.features.queue_if_no_path);
        assert_eq!(table.features.pg_init_retries, Some(50));
        assert_eq!(table.groups.len(), 2);
        assert_eq!(table.paths().count(), 3);
        assert_eq!(emit(&table).unwrap(), text.trim_end());
    }

    #[test]
    fn reads_a_table_without_paths() {
        let table = parse(LENGTH, "1 QUEUE_IF_NO_PATH 0 0 0").unwrap();
        assert!(table.features.queue_if_no_path && table.groups.is_empty());
    }

    #[test]
    fn keeps_the_words_of_a_newer_kernel() {
        let table = parse(LENGTH, "4 magic 7 queue_mode bio 0 0 0").unwrap();
        assert_eq!(table.features.unknown, ["magic", "7"]);
        assert_eq!(emit(&table).unwrap(), "4 queue_mode bio magic 7 0 0 0");
    }

    #[test]
    fn errors_name_the_position() {
        let say = |text| parse(LENGTH, text).unwrap_err().to_string();
        assert_eq!(
            say("0 0 1 1 service-time 0 1 0 sda"),
            "word 9: expected a path (major:minor), found `sda`"
        );
        assert_eq!(
            say("0 0 1 1"),
            "word 5: expected a path selector, found the end of the line"
        );
        assert_eq!(
            say("1 pg_init_retries 3 0 0 0"),
            "word 2: expected the argument of the feature within the feature words, found `pg_init_retries`"
        );
        assert_eq!(
            say("0 0 0 0 x"),
            "word 5: expected the end of the line, found `x`"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in ".*") {
            let _ = parse(LENGTH, &text);
        }

        /// Words of the grammar in any order reach further into the parser than random text.
        #[test]
        fn any_words_are_handled(words in prop::collection::vec(
            prop::sample::select(vec!["0", "1", "2", "3", "4294967295", "-1", "8:16", "queue_if_no_path",
                "pg_init_retries", "queue_mode", "bio", "alua", "service-time", "x"]), 0..40))
        {
            let _ = parse(LENGTH, &words.join(" "));
        }
    }
}
