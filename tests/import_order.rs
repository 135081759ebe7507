//! The structure of the source: modules import as the table in `src/lib.rs` says, `unsafe` stays in `kernel/`, the pure
//! modules stay pure, and no file grows beyond one purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const MOST_LINES: usize = 800;

/// What `psa` and `scsi` must not use: clocks, files, threads, the environment, and random iteration order.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync",
    "std::thread",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
];

/// Every source file, by its path below `src`.
fn sources() -> BTreeMap<PathBuf, String> {
    fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(SRC).unwrap().to_owned(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(Path::new(SRC), &mut found);
    found
}

/// The code alone, without comments, strings and characters.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            rest[body..]
                .find(&end)
                .map_or(rest.len(), |at| body + at + end.len())
        } else if c == '"' {
            quoted(rest)
        } else if c == '\'' {
            character(rest)
        } else {
            out.push(c);
            // Take a whole word at a time, or its last letters could look like the prefix of a raw string.
            let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            out.push_str(&rest[c.len_utf8().min(word)..word]);
            rest = &rest[c.len_utf8().max(word)..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The number of `#` of the raw string that `rest` begins with.
fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let body = tail.trim_start_matches('#');
    body.starts_with('"').then_some(tail.len() - body.len())
}

/// Length of the string that `rest` begins with.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// Length of the character literal that `rest` begins with; 1 if the quote begins a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |end| end + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// The modules that each module may use, including those that these may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let text = fs::read_to_string(Path::new(SRC).join("lib.rs")).unwrap();
    let mut table: BTreeMap<String, BTreeSet<String>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .map(|row| {
            let (room, cells) = row.split_once('`').unwrap();
            (
                room.to_owned(),
                names(cells.trim_end_matches('|').rsplit('|').next().unwrap()),
            )
        })
        .collect();
    assert_eq!(table.len(), 9, "the table in src/lib.rs cannot be parsed");
    for _ in 0..table.len() {
        for (room, uses) in table.clone() {
            let more: Vec<String> = uses.iter().flat_map(|room| table[room].clone()).collect();
            table.get_mut(&room).unwrap().extend(more);
        }
    }
    table
}

/// The modules that the code of a file names, with the words that name them: `crate::name`, `dm_psa::name`, `super::`
/// up to the root, and the members of `crate::{...}`.
fn mentions(file: &Path, code: &str) -> Vec<(String, String)> {
    let mut modules: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .filter(|part| part != "mod" && part != "lib")
        .collect();
    if modules.first().is_some_and(|part| part == "bin") {
        modules.clear();
    }
    let words = words(code);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    // The depths at which modules inside the file were opened.
    let mut inner: Vec<usize> = Vec::new();
    for at in 0..words.len() {
        let word = words[at];
        match word {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
            }
            "mod" if words.get(at + 2) == Some(&"{") => inner.push(depth),
            _ => {}
        }
        let starts_a_path = at == 0 || words[at - 1] != "::";
        if !starts_a_path {
            continue;
        }
        let path = match word {
            "crate" | "dm_psa" => &words[at + 1..],
            "super" => {
                let mut ups = 1;
                let mut rest = &words[at + 1..];
                while let ["::", "super", tail @ ..] = rest {
                    ups += 1;
                    rest = tail;
                }
                if ups < modules.len() + inner.len() {
                    continue;
                }
                rest
            }
            _ => continue,
        };
        for room in first_names(path) {
            found.push((room.to_owned(), format!("{word}::{room}")));
        }
    }
    found
}

/// The names that a path with these words after its root can begin with.
fn first_names<'a>(path: &[&'a str]) -> Vec<&'a str> {
    match path {
        ["::", "{", group @ ..] => {
            let mut names = Vec::new();
            let mut depth = 1;
            let mut first = true;
            for word in group {
                match *word {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 => first = true,
                    name if first => {
                        names.push(name);
                        first = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            names
        }
        ["::", name, ..] => vec![name],
        _ => Vec::new(),
    }
}

/// Identifiers, `::` and single punctuation marks.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = if is_word(c) {
            rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

fn room(file: &Path) -> String {
    let first = file.components().next().unwrap();
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_import_as_the_table_says() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let here = room(&file);
        if here == "lib" || here == "bin" {
            continue;
        }
        let Some(may_use) = allowed.get(&here) else {
            wrong.push(format!(
                "{}: the room {here} is not in the table",
                file.display()
            ));
            continue;
        };
        for (room, words) in mentions(&file, &code(&text)) {
            if room != here && !may_use.contains(&room) {
                wrong.push(format!("{}: {words}", file.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that the table in src/lib.rs forbids:\n{}",
        wrong.join("\n")
    );
}

/// The modules of `psa`, in the order of the table in `src/psa/mod.rs`.
fn psa_order() -> Vec<String> {
    let text = fs::read_to_string(Path::new(SRC).join("psa/mod.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let names = rows.filter_map(|row| row.split('`').nth(1).map(str::to_owned));
    names.collect()
}

/// The files of `psa` without their tests, by the module path below `psa`, `state::path`; the root has an empty one.
fn psa_files() -> BTreeMap<Vec<String>, (PathBuf, String)> {
    let mut files = BTreeMap::new();
    for (file, text) in sources() {
        let Ok(below) = file.strip_prefix("psa") else {
            continue;
        };
        let code = code(&text);
        let code = code.split("#[cfg(test)]").next().unwrap().to_owned();
        let parts = below.with_extension("");
        let parts = parts
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        let module = parts.filter(|part| part != "mod").collect();
        files.insert(module, (file, code));
    }
    files
}

/// Every path into `psa` that the code of a module names, by the names below `psa`.
fn psa_mentions(module: &[String], code: &str) -> Vec<Vec<String>> {
    let words = words(code);
    let mut found = Vec::new();
    for at in 0..words.len() {
        if at > 0 && words[at - 1] == "::" {
            continue;
        }
        match &words[at..] {
            ["crate", "::", "psa", rest @ ..] => {
                paths(&[], rest, &mut found);
            }
            // The visibility `pub(super)` names nothing.
            ["super", ")", ..] => {}
            ["super", rest @ ..] => {
                let mut base = module.len().saturating_sub(1);
                let mut rest = rest;
                while let ["::", "super", tail @ ..] = rest {
                    base = base.saturating_sub(1);
                    rest = tail;
                }
                paths(&module[..base], rest, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// The paths that continue after `base` with `:: name :: {a, b::c}`. Returns what follows them.
fn paths<'a, 'b>(
    base: &[String],
    mut words: &'b [&'a str],
    found: &mut Vec<Vec<String>>,
) -> &'b [&'a str] {
    let mut path = base.to_vec();
    while let ["::", next, rest @ ..] = words {
        words = rest;
        if *next != "{" {
            path.push((*next).to_owned());
            continue;
        }
        while let [word, rest @ ..] = words {
            words = rest;
            match *word {
                "}" => return words,
                "," => {}
                name => {
                    let mut member = path.clone();
                    if name != "self" {
                        member.push(name.to_owned());
                    }
                    words = paths(&member, words, found);
                }
            }
        }
    }
    found.push(path);
    words
}

#[test]
fn files_of_psa_import_downwards_and_without_a_cycle() {
    let order = psa_order();
    let files = psa_files();
    let place = |module: &[String]| order.iter().position(|name| Some(name) == module.first());
    let mut wrong = Vec::new();
    let mut imports: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = BTreeMap::new();
    for (module, (file, code)) in &files {
        if module.is_empty() || module[0] == "test_support" {
            continue;
        }
        if place(module).is_none() {
            wrong.push(format!("{}: not in the table", file.display()));
        }
        for path in psa_mentions(module, code) {
            // The longest prefix that is a file; the rest are names in it.
            let lengths = (1..=path.len()).rev();
            let mut known = lengths.filter_map(|length| files.get_key_value(&path[..length]));
            let Some((other, _)) = known.next() else {
                continue;
            };
            if other == module {
                continue;
            }
            if place(other) > place(module) {
                wrong.push(format!(
                    "{} imports {}, which is above it",
                    file.display(),
                    other.join("::")
                ));
            }
            imports.entry(module).or_default().insert(other);
        }
    }
    // Repeatedly remove modules that import nothing that is left: only cycles remain.
    let mut left: BTreeSet<&Vec<String>> = imports.keys().copied().collect();
    loop {
        let free =
            |module: &&&Vec<String>| imports[**module].iter().all(|other| !left.contains(other));
        let done: Vec<&Vec<String>> = left.iter().filter(free).copied().collect();
        if done.is_empty() {
            break;
        }
        for module in done {
            left.remove(module);
        }
    }
    for module in &left {
        wrong.push(format!(
            "{}: in a cycle of imports, or above one",
            module.join("::")
        ));
    }
    assert!(imports.len() > 60, "too few imports of psa were found");
    assert!(
        wrong.is_empty(),
        "imports that the table in src/psa/mod.rs forbids:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn unsafe_stays_in_the_kernel_module() {
    for (file, text) in sources() {
        let here = room(&file);
        if here == "kernel" || here == "lib" {
            continue;
        }
        let is_root = file.ends_with("mod.rs") && file.components().count() == 2;
        if is_root {
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "{}: forbid(unsafe_code) is missing",
                file.display()
            );
        }
        assert!(
            !words(&code(&text)).contains(&"unsafe"),
            "{}: contains unsafe code",
            file.display()
        );
    }
}

#[test]
fn decisions_and_parsers_are_pure() {
    for (file, text) in sources() {
        if !matches!(room(&file).as_str(), "psa" | "scsi") {
            continue;
        }
        let code = code(&text);
        let code = code.split("#[cfg(test)]").next().unwrap();
        for name in IMPURE {
            let found = code.match_indices(name).any(|(at, _)| {
                let after = code[at + name.len()..].chars().next();
                !code[..at].ends_with(is_word) && !after.is_some_and(is_word)
            });
            // `lookup.rs` does not expose the iteration order.
            let hides_order = name == &"HashMap" && file.ends_with("psa/lookup.rs");
            assert!(!found || hides_order, "{}: {name}", file.display());
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{}: {lines} lines, more than {MOST_LINES}",
            file.display()
        );
    }
}

/// Tests the check itself: what it must find, and what it must not take for an import.
#[test]
fn mentions_are_found() {
    let rooms = |file: &str, text: &str| -> Vec<String> {
        mentions(Path::new(file), &code(text))
            .into_iter()
            .map(|(room, _)| room)
            .collect()
    };
    let deep = "psa/table/model.rs";
    assert_eq!(
        rooms(deep, "use crate::agent::run; fn f() { crate::cli::x() }"),
        ["agent", "cli"]
    );
    assert_eq!(
        rooms(deep, "use crate::{psa::units::{A, B}, kernel};"),
        ["psa", "kernel"]
    );
    assert_eq!(rooms(deep, "use super::super::super::agent;"), ["agent"]);
    assert_eq!(rooms("psa/mod.rs", "use super::agent;"), ["agent"]);
    assert_eq!(rooms("bin/psactl.rs", "dm_psa::cli::main()"), ["cli"]);
    assert_eq!(
        rooms(
            deep,
            "mod tests { use super::super::super::x; } use super::super::units;"
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        rooms(
            deep,
            "// crate::a\n/* crate::b */ \"crate::c\" r#\"\"crate::d\"# '\"' 'x' &'a str"
        ),
        Vec::<String>::new()
    );
    assert_eq!(rooms(deep, "'\\'' crate::e"), ["e"]);
    let inside = |module: &[&str], text: &str| -> Vec<String> {
        let module: Vec<String> = module.iter().map(|&part| part.to_owned()).collect();
        let found = psa_mentions(&module, &code(text));
        found.into_iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(
        inside(
            &["check", "ask"],
            "use crate::psa::{state::{self, path::Path}, units::Hctl}; super::judge::judge(); crate::scsi::x"
        ),
        [
            "state",
            "state::path::Path",
            "units::Hctl",
            "check::judge::judge"
        ]
    );
}
