//! The files of a handover: links that mask udev rules, and what multipathd has to know about maps that the agent made.

use crate::api::types::MultipathMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The udev rules of multipath-tools, under all names that distributions use; the Makefile has the same list.
pub(super) const THEIR_RULES: &[&str] = &[
    "11-dm-mpath",
    "56-dm-mpath",
    "56-multipath",
    "60-multipath",
    "62-multipath",
];

/// The udev rules of dm-psa, with the numbers for all distributions.
pub(super) const OUR_RULES: &[&str] = &["56-dm-psa-path", "11-dm-psa-map", "56-dm-psa-map"];

/// The links that were made, one in a line. The package removes them with itself.
const RECORD: &str = "var/lib/dm-psa/masked-rules";

/// What `psactl release` writes for multipathd.
pub(super) const DROP_IN: &str = "etc/multipath/conf.d/90-dm-psa-release.conf";

fn link(root: &Path, rules: &str) -> (PathBuf, String) {
    let name = format!("etc/udev/rules.d/{rules}.rules");
    (root.join(&name), format!("/{name}"))
}

fn is_mask(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|to| to == Path::new("/dev/null"))
}

fn recorded(root: &Path) -> io::Result<Vec<String>> {
    match fs::read_to_string(root.join(RECORD)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

fn record(root: &Path, lines: &[String]) -> io::Result<()> {
    let file = root.join(RECORD);
    let new = file.with_extension("new");
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut out = fs::File::create(&new)?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.sync_all()?;
    fs::rename(new, file)
}

/// Masks rules by links to /dev/null. An admin's own file in the place of a link stays.
///
/// # Errors
/// An admin's file, or one that cannot be made.
pub(super) fn mask(root: &Path, rules: &[&str]) -> io::Result<()> {
    let mut lines = recorded(root)?;
    for name in rules {
        let (link, line) = link(root, name);
        if is_mask(&link) {
            continue;
        }
        if fs::symlink_metadata(&link).is_ok() {
            let why = format!(
                "{line} is a file of your own: its rules must not act beside the others; move it away"
            );
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        // Recorded first, so that no link is left that nobody knows.
        if !lines.contains(&line) {
            lines.push(line);
            record(root, &lines)?;
        }
        if let Some(folder) = link.parent() {
            fs::create_dir_all(folder)?;
        }
        symlink("/dev/null", link)?;
    }
    Ok(())
}

/// Removes the links that mask rules, those that dm-psa made.
///
/// # Errors
/// A link cannot be removed.
pub(super) fn unmask(root: &Path, rules: &[&str]) -> io::Result<()> {
    let mut lines = recorded(root)?;
    let installed = fs::read_to_string(root.join("usr/lib/dm-psa/installed")).unwrap_or_default();
    for name in rules {
        let (link, line) = link(root, name);
        let is_ours = lines.contains(&line) || installed.lines().any(|file| file == line);
        if is_ours && is_mask(&link) {
            fs::remove_file(&link)?;
        }
        lines.retain(|known| *known != line);
    }
    record(root, &lines)
}

/// The configuration by which multipathd takes these maps as they are: their names, their features, and queueing.
#[must_use]
pub(super) fn drop_in(maps: &[MultipathMap]) -> String {
    let mut out =
        "# Written by `psactl release`: multipathd keeps the maps that dm-psa made as they are.\n"
            .to_owned();
    // The words of the table except for queueing, which has a keyword of its own.
    let words = |map: &MultipathMap| {
        let words = map.features.split(' ').skip(1);
        let others: Vec<&str> = words.filter(|word| *word != "queue_if_no_path").collect();
        format!("{} {}", others.len(), others.join(" "))
            .trim_end()
            .to_owned()
    };
    out += "overrides {\n\tno_path_retry queue\n";
    let mut features = maps.iter().map(words);
    // There is one setting for all maps. If they differ, multipathd loads the tables of some.
    if let Some(first) = features.next()
        && first != "0"
        && features.all(|other| other == first)
    {
        out += &format!("\tfeatures \"{first}\"\n");
    }
    out += "}\nmultipaths {\n";
    for map in maps.iter().filter(|map| map.name != map.wwid) {
        out += &format!(
            "\tmultipath {{\n\t\twwid \"{}\"\n\t\talias \"{}\"\n\t}}\n",
            map.wwid, map.name
        );
    }
    out + "}\n"
}

/// Whether multipathd keeps keys of persistent reservations. The agent does not have them.
#[must_use]
pub(super) fn has_reservation_keys(root: &Path) -> bool {
    let text = fs::read_to_string(root.join("etc/multipath/prkeys")).unwrap_or_default();
    text.lines()
        .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_made_and_removed_and_files_of_an_admin_stay() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        mask(root, &["a", "b"]).unwrap();
        mask(root, &["a", "b"]).unwrap();
        assert!(is_mask(&link(root, "a").0));
        assert_eq!(recorded(root).unwrap().len(), 2);
        // A mask that an admin made is not removed.
        symlink("/dev/null", link(root, "c").0).unwrap();
        mask(root, &["c"]).unwrap();
        unmask(root, &["a", "b", "c"]).unwrap();
        assert!(!is_mask(&link(root, "a").0) && is_mask(&link(root, "c").0));
        assert_eq!(recorded(root).unwrap(), Vec::<String>::new());
        fs::write(link(root, "a").0, "# mine\n").unwrap();
        assert!(
            mask(root, &["a"])
                .unwrap_err()
                .to_string()
                .contains("/etc/udev/rules.d/a.rules")
        );
        assert_eq!(fs::read_to_string(link(root, "a").0).unwrap(), "# mine\n");
    }

    #[test]
    fn the_names_of_rules_are_those_of_the_makefile() {
        let makefile =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
        let line = makefile
            .lines()
            .find_map(|line| line.strip_prefix("MASKED_RULES := "))
            .unwrap();
        assert_eq!(line.split(' ').collect::<Vec<_>>(), THEIR_RULES);
    }

    #[test]
    fn multipathd_is_told_names_and_features() {
        let map = |name: &str, features: &str| MultipathMap {
            name: name.to_owned(),
            wwid: "36001".to_owned(),
            features: features.to_owned(),
            ..MultipathMap::default()
        };
        let text = drop_in(&[map("naa.6001", "3 queue_if_no_path pg_init_retries 50")]);
        assert!(
            text.contains("\tfeatures \"2 pg_init_retries 50\"\n"),
            "{text}"
        );
        assert!(
            text.contains("\t\twwid \"36001\"\n\t\talias \"naa.6001\"\n"),
            "{text}"
        );
        let plain = drop_in(&[map("36001", "1 queue_if_no_path")]);
        assert!(
            !plain.contains("features") && !plain.contains("alias"),
            "{plain}"
        );
        let mixed = drop_in(&[map("a", "2 pg_init_retries 50"), map("b", "0")]);
        assert!(!mixed.contains("features"), "{mixed}");
    }

    #[test]
    fn reservation_keys_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        assert!(!has_reservation_keys(root.path()));
        fs::create_dir_all(root.path().join("etc/multipath")).unwrap();
        let file = root.path().join("etc/multipath/prkeys");
        fs::write(&file, "# comment\n\n").unwrap();
        assert!(!has_reservation_keys(root.path()));
        fs::write(&file, "0x1234 36001\n").unwrap();
        assert!(has_reservation_keys(root.path()));
    }
}
