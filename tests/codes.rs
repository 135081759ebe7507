//! The table of event codes: each is raised somewhere, and has texts. That a raised code is in the table, the compiler
//! checks.

use dm_psa::psa::action::Notice;
use dm_psa::psa::codes::CODES;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Collects the names after `codes::` in the source, without tests.
fn raised(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            raised(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let uses = code.split("codes::").skip(1);
            found.extend(uses.map(|rest| {
                let is_name = |c: &char| c.is_ascii_uppercase() || *c == '_';
                rest.chars().take_while(is_name).collect::<String>()
            }));
        }
    }
}

#[test]
fn every_code_is_raised() {
    let mut found = BTreeSet::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    raised(Path::new(source), &mut found);
    let names = CODES.iter().map(|code| code.name);
    let unused: Vec<_> = names.filter(|name| !found.contains(*name)).collect();
    assert!(unused.is_empty(), "never raised: {unused:?}");
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

#[test]
fn a_notice_of_another_version_can_be_read() {
    let text = r#"{"severity":"Info","code":"NOT_IN_THE_TABLE","subject":"p","details":[]}"#;
    let notice: Notice = serde_json::from_str(text).unwrap();
    assert_eq!(notice.code, "NOT_IN_THE_TABLE");
}
