//! Units, programs, files and pages that messages, help, manual pages and units name do exist: in the list of what
//! `make install` puts on a host (`tests/golden/install.list`, `install-boot.list` with BOOT=1, `install-multipath.list` with
//! MULTIPATH=1).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Units of other packages that texts name.
const FOREIGN_UNITS: &[&str] = &["multipathd", "multipathd.service", "multipathd.socket"];

/// Collects the files below a directory, or the file itself, with their text; for Rust without the tests in it.
fn texts(at: &Path, out: &mut Vec<(String, String)>) {
    if at.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            texts(&entry.unwrap().path(), out);
        }
        return;
    }
    let Ok(text) = fs::read_to_string(at) else {
        return;
    };
    let text = text.split("#[cfg(test)]\n").next().unwrap().to_owned();
    // roff escapes each dash, and a line of Rust may continue after a backslash.
    let text = text.replace("\\-", "-").replace("\\\n", "\n");
    out.push((at.display().to_string(), text));
}

fn all_texts() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for place in [
        "src",
        "man",
        "Makefile",
        "systemd",
        "udev-rules",
        "rules",
        "README.md",
        "docs",
    ] {
        texts(&Path::new(ROOT).join(place), &mut out);
    }
    for page in dm_psa::cli::man::pages() {
        out.push((page.file.clone(), page.text.replace("\\-", "-")));
    }
    out
}

/// The path of each installed file on a host.
fn installed() -> BTreeSet<String> {
    let path = |line: &str| format!("/{}", line.split(' ').nth(1).unwrap());
    let mut installed = BTreeSet::new();
    for list in [
        "install.list",
        "install-boot.list",
        "install-multipath.list",
    ] {
        let list = Path::new(ROOT).join("tests/golden").join(list);
        installed.extend(fs::read_to_string(list).unwrap().lines().map(path));
    }
    installed
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// The words of a text that begin with `start`, up to the first character that does not belong to a word.
fn words<'a>(text: &'a str, start: &'a str, more: &'a str) -> impl Iterator<Item = &'a str> {
    let of_word = move |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    text.match_indices(start).filter_map(move |(at, _)| {
        let inside = text[..at].chars().next_back().is_some_and(of_word);
        let rest = &text[at..];
        let end = rest.find(|c| !of_word(c)).unwrap_or(rest.len());
        (!inside).then(|| rest[..end].trim_end_matches(['.', '-', '_', '/', '@']))
    })
}

#[test]
fn units_that_texts_name_are_installed() {
    let units: BTreeSet<String> = installed()
        .iter()
        .filter(|path| path.contains("/systemd/system/"))
        .map(|path| base(path).to_owned())
        .collect();
    assert!(units.contains("dm-psa.service"));
    let verbs = [
        "start",
        "stop",
        "status",
        "restart",
        "reload",
        "enable",
        "disable",
        "mask",
        "unmask",
        "edit",
        "cat",
        "show",
        "is-active",
        "-u",
        "--unit",
    ];
    let mut seen = 0;
    for (file, text) in all_texts() {
        let text = text.replace(['`', '"', '\'', ';', ','], " ");
        for mark in ["systemctl ", "journalctl "] {
            for (at, _) in text.match_indices(mark) {
                let line = text[at + mark.len()..].lines().next().unwrap();
                let mut given = line.split_whitespace().peekable();
                let mut is_verb = false;
                while let Some(word) = given.next() {
                    is_verb |= verbs.contains(&word);
                    let unit = given.peek().filter(|next| !next.starts_with('-'));
                    if !is_verb || unit.is_none() {
                        continue;
                    }
                    // All following words that may be units.
                    for unit in given.by_ref() {
                        let unit = unit.trim_end_matches(['.', ')', ':', '\\', '>']);
                        let plain = unit
                            .chars()
                            .all(|c| c.is_ascii_alphanumeric() || "-.@_".contains(c));
                        if !plain || unit.is_empty() || unit.starts_with('-') {
                            break;
                        }
                        if !unit.contains("psa") && !unit.contains("multipath") {
                            break;
                        }
                        seen += 1;
                        assert!(
                            units.contains(unit) || FOREIGN_UNITS.contains(&unit),
                            "{file}: `{mark}{line}` names the unit {unit}, which is not installed; there are {units:?}"
                        );
                    }
                }
            }
        }
        // Units that are named in full, anywhere in the text.
        for word in words(&text, "dm-psa", "-._@") {
            let is_unit = [
                ".service", ".socket", ".target", ".timer", ".path", ".mount",
            ]
            .iter()
            .any(|kind| word.ends_with(kind));
            assert!(
                !is_unit || units.contains(word),
                "{file}: the unit {word} is not installed"
            );
        }
    }
    assert!(
        seen > 5,
        "too few names found, so the test checks nothing: {seen}"
    );
}

#[test]
fn names_with_our_prefix_are_installed() {
    let installed = installed();
    let mut names: BTreeSet<&str> = installed.iter().map(|path| base(path)).collect();
    let directory = |path: &'_ String| Some(path.rsplit('/').nth(1)?.to_owned());
    let directories: BTreeSet<String> = installed.iter().filter_map(directory).collect();
    names.extend(directories.iter().map(String::as_str));
    // The package itself, its Debian packages, and files that it creates at run time.
    names.extend([
        "dm-psa",
        "dm-psa-boot",
        concat!("dm-psa_", env!("CARGO_PKG_VERSION"), "_amd64.deb"),
        "dm-psa.toml",
    ]);
    for (file, text) in all_texts() {
        for word in words(&text, "dm-psa", "-._") {
            let whole = format!("/{word}");
            // The number of the map rule depends on the distribution.
            let rule = installed.iter().any(|path| {
                path.ends_with(&format!("-{word}")) || path.ends_with(&format!("-{word}.rules"))
            });
            assert!(
                names.contains(word) || rule || installed.iter().any(|path| path.ends_with(&whole)),
                "{file}: {word} is not installed"
            );
        }
    }
}

#[test]
fn files_that_texts_name_are_installed() {
    let installed = installed();
    for (file, text) in all_texts() {
        for start in ["/usr/lib/", "/usr/sbin/", "/usr/bin/", "/usr/share/"] {
            for path in words(&text, start, "-._/*") {
                let ours = path.contains("psa");
                let (begin, end) = path.split_once('*').unwrap_or((path, ""));
                let there = installed.iter().any(|one| {
                    let folder = one.starts_with(&format!("{path}/"));
                    folder
                        || one == path
                        || path.contains('*')
                            && one.starts_with(begin)
                            && one.ends_with(end.trim_start_matches('*'))
                });
                // A pattern with two stars.
                let twice = end.contains('*') && end.contains("dm-psa");
                assert!(!ours || there || twice, "{file}: {path} is not installed");
            }
        }
    }
}

#[test]
fn manual_pages_that_texts_name_are_installed() {
    let pages: BTreeSet<String> = installed()
        .iter()
        .filter(|path| path.contains("/share/man/"))
        .map(|path| base(path).to_owned())
        .collect();
    let mut seen = 0;
    for (file, text) in all_texts() {
        for start in ["dm-psa", "psactl"] {
            for (at, _) in text.match_indices(start) {
                let rest = &text[at..];
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)))
                    .unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                let after = after.strip_prefix("\\fR").unwrap_or(after);
                let after = after.strip_prefix(' ').unwrap_or(after);
                let Some(section) = after
                    .strip_prefix('(')
                    .and_then(|after| after.split_once(')'))
                    .map(|(section, _)| section)
                    .filter(|section| section.len() == 1 && section.parse::<u8>().is_ok())
                else {
                    continue;
                };
                seen += 1;
                let page = format!("{name}.{section}");
                assert!(
                    pages.contains(&page),
                    "{file}: {name}({section}) is not installed"
                );
            }
        }
    }
    assert!(
        seen > 5,
        "too few names found, so the test checks nothing: {seen}"
    );
}
