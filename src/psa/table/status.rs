//! Text of `STATUSTYPE_INFO` -> [`Status`].
//!
//! ```text
//! line  = COUNT QUEUE_IO PG_INIT_COUNT  feature words: held back (0 or 1), activations so far
//!         COUNT word...                 of the handler; every known kernel prints 0
//!         COUNT NOW group...            NOW: the group in use or next to be used, from 1; 0 without groups
//! group = (A|E|D) COUNT word...         the words are the selector's
//!         PATHS INFO path...
//! path  = MAJOR:MINOR (A|F) FAILURES word...   INFO words of the selector: requests in flight and the like
//! ```
//!
//! The words of selectors are skipped: they change with every I/O, and no decision depends on them. Further feature
//! words of a newer kernel are skipped too.

use super::model::{GroupState, GroupStatus, PathStatus, Status};
use super::words::{ParseError, Words};

/// Parses the status of a multipath target.
///
/// # Errors
/// The first word that does not fit the grammar. Never panics, whatever the text.
pub fn parse(info: &str) -> Result<Status, ParseError> {
    let mut words = Words::of(info);
    let features: u32 = words.value("the number of feature words (2 or more)")?;
    if features < 2 {
        return Err(words.wrong(
            "the number of feature words (2 or more)",
            &features.to_string(),
        ));
    }
    let queue_io = words.value::<u32>("whether I/O is held back (0 or 1)")? != 0;
    let pg_init_count = words.value("the number of activations")?;
    words.take(features.saturating_sub(2), "a feature word")?;
    words.counted("the number of handler words", "a handler word")?;
    let count: u32 = words.value("the number of groups")?;
    let group_now = words.value("the group in use")?;
    let groups = (0..count)
        .map(|_| group(&mut words))
        .collect::<Result<_, _>>()?;
    words.end()?;
    Ok(Status {
        queue_io,
        pg_init_count,
        group_now,
        groups,
    })
}

fn group(words: &mut Words<'_>) -> Result<GroupStatus, ParseError> {
    let letters = "the state of a group (A, E or D)";
    let word = words.word(letters)?;
    let state = match word {
        "A" => GroupState::Active,
        "E" => GroupState::Enabled,
        "D" => GroupState::Disabled,
        _ => return Err(words.wrong(letters, word)),
    };
    words.counted("the number of selector words", "a selector word")?;
    let count: u32 = words.value("the number of paths")?;
    let info: u32 = words.value("the number of selector words of each path")?;
    let paths = (0..count)
        .map(|_| path(words, info))
        .collect::<Result<_, _>>()?;
    Ok(GroupStatus { state, paths })
}

fn path(words: &mut Words<'_>, info: u32) -> Result<PathStatus, ParseError> {
    let dev = words.value("a path (major:minor)")?;
    let letters = "the state of a path (A or F)";
    let word = words.word(letters)?;
    let active = match word {
        "A" => true,
        "F" => false,
        _ => return Err(words.wrong(letters, word)),
    };
    let fail_count = words.value("the number of failures")?;
    words.take(info, "a selector word")?;
    Ok(PathStatus {
        dev,
        active,
        fail_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_a_kernel_prints() {
        let status =
            parse("2 0 3 0 2 2 E 0 2 2 8:16 F 4 0 1 8:32 A 0 4096 1 A 0 1 2 8:48 A 0 0 1 ")
                .unwrap();
        assert!(!status.queue_io);
        assert_eq!((status.pg_init_count, status.group_now), (3, 2));
        let [first, second] = status.groups.as_slice() else {
            unreachable!("two groups were parsed")
        };
        assert_eq!(
            (first.state, second.state),
            (GroupState::Enabled, GroupState::Active)
        );
        assert_eq!(
            first
                .paths
                .iter()
                .map(|p| (p.active, p.fail_count))
                .collect::<Vec<_>>(),
            [(false, 4), (true, 0)]
        );
    }

    #[test]
    fn reads_a_map_without_paths() {
        let status = parse("2 0 0 0 0 0 ").unwrap();
        assert_eq!((status.group_now, status.groups.len()), (0, 0));
    }

    #[test]
    fn errors_name_the_position() {
        assert_eq!(
            parse("2 0 0 0 1 1 X").unwrap_err().to_string(),
            "word 7: expected the state of a group (A, E or D), found `X`"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_words_are_handled(words in prop::collection::vec(
            prop::sample::select(vec!["0", "1", "2", "4294967295", "-1", "8:16", "A", "E", "D", "F"]), 0..40))
        {
            let _ = parse(&words.join(" "));
        }
    }
}
