//! Every code that the agent can report is in the table, and every code in the table is reported somewhere.

use dm_psa::psa::codes::CODES;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Collects the source without tests and without the table itself.
fn source(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("psa/codes.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            *out += code;
        }
    }
}

/// The word in capitals at the start of a text, if there is one.
fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_uppercase() || c == '_'))?;
    (end > 3).then(|| &text[..end])
}

/// The codes after each of these marks: the first quoted text that is only a code, or that begins a line of the log.
fn codes() -> BTreeSet<String> {
    let mut text = String::new();
    source(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut text,
    );
    let mut found = BTreeSet::new();
    for mark in [
        "notify(",
        "refused(",
        "Notice::new(",
        "notice(",
        "code = ",
        "target: \"psa\",",
        "format!(",
    ] {
        for (at, _) in text.match_indices(mark) {
            let rest: &str = text[at + mark.len()..].get(..160).unwrap_or_default();
            // Up to the end of the statement, or the next call.
            let rest = rest.split(';').next().unwrap();
            for quoted in rest.split('"').skip(1).step_by(2) {
                let whole = word(&format!("{quoted} ")).is_some_and(|word| word == quoted);
                let line = mark.starts_with("target") || mark == "format!(";
                if whole && mark != "format!("
                    || line
                        && word(quoted).is_some_and(|w| {
                            quoted[w.len()..].starts_with(' ')
                                && (mark != "format!(" || w.contains('_'))
                        })
                {
                    found.insert(word(&format!("{quoted} ")).unwrap().to_owned());
                    break;
                }
            }
        }
    }
    // These come from a table of their own.
    for code in [
        "DELETE_FAILED",
        "PORT_TIMERS_FAILED",
        "RESCAN_FAILED",
        "SCAN_FAILED",
    ] {
        assert!(text.contains(&format!("\"{code}\"")), "{code}");
        found.insert(code.to_owned());
    }
    found
}

#[test]
fn the_table_has_exactly_the_codes_of_the_source() {
    let table: BTreeSet<String> = CODES.iter().map(|code| code.name.to_owned()).collect();
    let source = codes();
    let missing: Vec<_> = source.difference(&table).collect();
    let idle: Vec<_> = table.difference(&source).collect();
    assert!(
        missing.is_empty() && idle.is_empty(),
        "not in the table: {missing:?}; never reported: {idle:?}"
    );
}

#[test]
fn the_table_is_sorted_and_has_texts() {
    assert!(CODES.is_sorted_by(
        |a, b| a.name < b.name || (a.name.replace('_', " ") <= b.name.replace('_', " "))
    ));
    let names: BTreeSet<&str> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), CODES.len());
    for code in CODES {
        assert!(
            code.meaning.len() > 10 && !code.remedy.is_empty(),
            "{}",
            code.name
        );
        assert!(
            !code.meaning.ends_with('.') && !code.remedy.ends_with('.'),
            "{}",
            code.name
        );
    }
}
