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
    assert_eq!(table.len(), 10, "the table in src/lib.rs cannot be parsed");
    for _ in 0..table.len() {
        for (room, uses) in table.clone() {
            let more: Vec<String> = uses.iter().flat_map(|room| table[room].clone()).collect();
            table.get_mut(&room).unwrap().extend(more);
        }
    }
    table
}

/// A path that the code of a file names: `use crate::psa::units::{Hctl as H}`, or `super::run::start` in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mention {
    /// From the root of the crate.
    path: Vec<String>,
    /// What the path is called in the file.
    name: String,
    /// By a `use` of the file itself, not of a module inside it.
    is_use: bool,
    is_public: bool,
}

/// The module of a file by its path below `src`; empty for `lib.rs` and programs.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let parts = parts
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let module: Vec<String> = parts
        .filter(|part| part != "mod" && part != "lib")
        .collect();
    match module.first() {
        Some(first) if first == "bin" => Vec::new(),
        _ => module,
    }
}

/// The paths into this crate that the words of the file of `module` name. They begin with `crate`, `dm_psa`, `super`,
/// `self`, or a module that the file declares.
fn mentions(module: &[String], words: &[&str]) -> Vec<Mention> {
    let children = declared(words);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    // The module that the code is in, and the depths at which modules inside the file were opened.
    let mut here = module.to_vec();
    let mut inner: Vec<usize> = Vec::new();
    for at in 0..words.len() {
        match &words[at..] {
            ["{", ..] => depth += 1,
            ["}", ..] => {
                depth = depth.saturating_sub(1);
                if inner.last() == Some(&depth) {
                    inner.pop();
                    here.pop();
                }
            }
            ["mod", name, "{", ..] => {
                inner.push(depth);
                here.push((*name).to_owned());
            }
            _ => {}
        }
        if at > 0 && words[at - 1] == "::" {
            continue;
        }
        let (base, rest) = match &words[at..] {
            ["crate" | "dm_psa", rest @ ..] => (Vec::new(), rest),
            ["self", rest @ ..] => (here.clone(), rest),
            ["super", rest @ ..] => {
                let mut base = here.clone();
                base.pop();
                let mut rest = rest;
                while let ["::", "super", tail @ ..] = rest {
                    base.pop();
                    rest = tail;
                }
                (base, rest)
            }
            [name, rest @ ..] if inner.is_empty() && children.contains(name) => {
                ([module, &[(*name).to_owned()]].concat(), rest)
            }
            _ => continue,
        };
        // Not a path: `self.field`, the visibility `pub(super)`, the declaration of a module.
        if rest.first() != Some(&"::") {
            continue;
        }
        let is_use = inner.is_empty() && at > 0 && words[at - 1] == "use";
        let is_public = is_use && at > 1 && matches!(words[at - 2], "pub" | ")");
        let mut paths = Vec::new();
        follow(&base, rest, &mut paths);
        found.extend(paths.into_iter().map(|(path, name)| Mention {
            path,
            name,
            is_use,
            is_public,
        }));
    }
    found
}

/// The modules in files of their own that a file declares.
fn declared<'a>(words: &[&'a str]) -> BTreeSet<&'a str> {
    let declarations = words.windows(3).filter_map(|three| match three {
        ["mod", name, ";"] => Some(*name),
        _ => None,
    });
    declarations.collect()
}

/// The paths that continue after `base` with `:: name :: {a, b::c as d}`, each with its name. Returns what follows them.
fn follow<'a, 'b>(
    base: &[String],
    mut words: &'b [&'a str],
    found: &mut Vec<(Vec<String>, String)>,
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
                    words = follow(&member, words, found);
                }
            }
        }
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if let ["as", alias, rest @ ..] = words {
        name = (*alias).to_owned();
        words = rest;
    }
    found.push((path, name));
    words
}

/// The words without the items, fields and statements below `#[cfg(test)]`.
fn without_tests<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut rest = words;
    while let Some((word, tail)) = rest.split_first() {
        let ["#", "[", "cfg", "(", "test", ")", "]", item @ ..] = rest else {
            kept.push(*word);
            rest = tail;
            continue;
        };
        let mut depth = 0_usize;
        let end = item.iter().enumerate().position(|(at, word)| {
            match *word {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            // The comma after a field; the one behind a body belongs to it too.
            depth == 0 && matches!(*word, "}" | ";" | ",") && item.get(at + 1) != Some(&",")
        });
        rest = &item[end.map_or(item.len(), |end| end + 1)..];
    }
    kept
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
        for mention in mentions(&module_of(&file), &words(&code(&text))) {
            let Some(room) = mention.path.first() else {
                continue;
            };
            if *room != here && !may_use.contains(room) {
                wrong.push(format!("{}: {}", file.display(), mention.path.join("::")));
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

/// A module, by its path from the root of the crate.
type Module = Vec<String>;

/// The files of the library except its root, by module, and which of these each imports; tests do not count.
///
/// A file imports the file in which a path ends, also when the path goes through a `use` of a third file: with
/// `use super::Sink` in `kernel/dm/mod.rs`, a `super::Sink` in `kernel/dm/worker.rs` imports `kernel/mod.rs`. A `mod.rs`
/// does not import a child by declaring it, nor by re-exporting names of it that it does not use itself.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let texts: BTreeMap<Module, String> = sources()
        .into_iter()
        .map(|(file, text)| (module_of(&file), code(&text)))
        .filter(|(module, _)| !module.is_empty())
        .collect();
    let mut files: BTreeMap<Module, Vec<&str>> = BTreeMap::new();
    let mut tests: BTreeSet<Module> = BTreeSet::new();
    for (module, text) in &texts {
        let all = words(text);
        let kept = without_tests(&all);
        for child in declared(&all).difference(&declared(&kept)) {
            tests.insert([module.clone(), vec![(*child).to_owned()]].concat());
        }
        files.insert(module.clone(), kept);
    }
    files.retain(|module, _| !tests.contains(module));
    let mentions: BTreeMap<&Module, Vec<Mention>> = files
        .iter()
        .map(|(module, words)| (module, mentions(module, words)))
        .collect();
    let imported = |module: &Module| -> BTreeSet<Module> {
        let words = &files[module];
        let is_used = |name: &str| words.iter().filter(|word| **word == name).count() > 1;
        let targets = mentions[module].iter().filter_map(|mention| {
            let target = file_of(&mention.path, &mentions)?;
            let is_reexport =
                mention.is_public && target.starts_with(module) && !is_used(&mention.name);
            (target != *module && !is_reexport).then_some(target)
        });
        targets.collect()
    };
    files
        .keys()
        .map(|module| (module.clone(), imported(module)))
        .collect()
}

/// The file in which a path ends: the longest prefix that is a file, or the file from which that one has the next name.
fn file_of(path: &[String], mentions: &BTreeMap<&Module, Vec<Mention>>) -> Option<Module> {
    let length = (1..=path.len())
        .rev()
        .find(|&length| mentions.contains_key(&path[..length].to_vec()))?;
    let module = path[..length].to_vec();
    let from = path.get(length).and_then(|name| {
        let mut uses = mentions[&module].iter().filter(|mention| mention.is_use);
        uses.find(|mention| mention.name == *name)
    });
    match from {
        Some(mention) => {
            let path = [&mention.path, &path[length + 1..]].concat();
            file_of(&path, mentions)
        }
        None => Some(module),
    }
}

/// The cycles of imports: sets of modules each of which imports every other, directly or through others.
fn cycles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<&Module>> {
    let mut reached: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for module in imports.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Module> = imports[module].iter().collect();
        while let Some(other) = next.pop() {
            if seen.insert(other) {
                next.extend(imports.get(other).into_iter().flatten());
            }
        }
        reached.insert(module, seen);
    }
    let cycle_of = |module: &&Module| -> BTreeSet<&Module> {
        let others = reached[module].iter().copied();
        let back = |other: &&Module| reached.get(other).is_some_and(|seen| seen.contains(module));
        others.filter(back).collect()
    };
    let cycles = reached.keys().map(cycle_of);
    cycles.filter(|cycle| !cycle.is_empty()).collect()
}

#[test]
fn files_import_without_a_cycle() {
    let imports = imports();
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > 500, "too few imports were found: {edges}");
    let mut wrong = String::new();
    for cycle in cycles(&imports) {
        wrong.push_str("a cycle:\n");
        for module in &cycle {
            let others = imports[*module]
                .iter()
                .filter(|other| cycle.contains(other));
            let others: Vec<String> = others.map(|other| other.join("::")).collect();
            wrong.push_str(&format!(
                "  {} imports {}\n",
                module.join("::"),
                others.join(", ")
            ));
        }
    }
    assert!(wrong.is_empty(), "files import each other:\n{wrong}");
}

/// Prints the numbers of the layout too: `cargo test --test import_order -- --nocapture`.
#[test]
fn files_of_psa_import_downwards() {
    let order = psa_order();
    let mut imports = imports();
    imports.retain(|module, _| module.len() > 1 && module[0] == "psa");
    for others in imports.values_mut() {
        others.retain(|other| other.len() > 1 && other[0] == "psa");
    }
    let place = |module: &Module| order.iter().position(|name| *name == module[1]);
    let mut wrong = Vec::new();
    let mut upward = 0;
    for (module, others) in &imports {
        if place(module).is_none() {
            wrong.push(format!("{}: not in the table", module.join("::")));
        }
        for other in others.iter().filter(|other| place(other) > place(module)) {
            upward += 1;
            wrong.push(format!(
                "{} imports {}, which is above it",
                module.join("::"),
                other.join("::")
            ));
        }
    }
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    let sources = sources();
    let in_psa = sources.iter().filter(|(file, _)| room(file) == "psa");
    let lengths = in_psa.map(|(file, text)| (text.lines().count(), file));
    let (lines, largest) = lengths.max().unwrap();
    let public: usize = sources.values().map(|text| public_items(text)).sum();
    println!("imports inside psa: {edges}");
    println!("upward imports inside psa: {upward}");
    println!("cycles inside psa: {}", cycles(&imports).len());
    println!("largest file of psa: {}, {lines} lines", largest.display());
    println!("pub items in src: {public}");
    assert!(edges > 200, "too few imports of psa were found: {edges}");
    assert!(
        wrong.is_empty(),
        "imports that the table in src/psa/mod.rs forbids:\n{}",
        wrong.join("\n")
    );
}

/// The number of lines that begin a `pub` item.
fn public_items(text: &str) -> usize {
    let items = [
        "fn", "struct", "enum", "const", "static", "type", "trait", "mod", "use",
    ];
    let words = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("pub "));
    words
        .filter(|rest| items.iter().any(|item| rest.starts_with(item)))
        .count()
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
    let found = |module: &str, text: &str| -> Vec<String> {
        let module: Module = module.split("::").map(str::to_owned).collect();
        let code = code(text);
        let found = mentions(&module, &without_tests(&words(&code)));
        found
            .into_iter()
            .map(|mention| mention.path.join("::"))
            .collect()
    };
    let deep = "psa::table::model";
    assert_eq!(
        found(deep, "use crate::agent::run; fn f() { crate::cli::x() }"),
        ["agent::run", "cli::x"]
    );
    assert_eq!(
        found(
            deep,
            "use crate::{psa::units::{self, A as B, C}, kernel}; dm_psa::sim"
        ),
        [
            "psa::units",
            "psa::units::A",
            "psa::units::C",
            "kernel",
            "sim"
        ]
    );
    assert_eq!(found(deep, "use super::super::super::agent;"), ["agent"]);
    assert_eq!(found("psa", "use super::agent;"), ["agent"]);
    assert_eq!(
        found(
            deep,
            "mod inside { use super::super::a; pub(super) fn f() {} } use super::b; self.c"
        ),
        ["psa::table::a", "psa::table::b"]
    );
    assert_eq!(
        found("agent", "mod run; pub use run::{Options, start}; other::x"),
        ["agent::run::Options", "agent::run::start"]
    );
    assert_eq!(
        found(
            deep,
            "// crate::a\n/* crate::b */ \"crate::c\" r#\"\"crate::d\"# '\"' 'x' &'a str"
        ),
        Vec::<String>::new()
    );
    assert_eq!(found(deep, "'\\'' crate::e"), ["e"]);
    assert_eq!(
        found(
            deep,
            "#[cfg(test)] mod a; #[cfg(test)] mod tests { crate::b(); } crate::c::d"
        ),
        ["c::d"]
    );
    assert_eq!(
        found(
            "psa::check::ask",
            "use crate::psa::{state::{self, path::Path}, units::Hctl}; super::judge::judge(); crate::scsi::x"
        ),
        [
            "psa::state",
            "psa::state::path::Path",
            "psa::units::Hctl",
            "psa::check::judge::judge",
            "scsi::x"
        ]
    );
}
