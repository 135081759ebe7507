//! The files of a handover: links that mask udev rules, and what multipathd has to know about maps that the agent made.

use crate::psa::table::emit;
use crate::psa::table::model::{Map, Table, UUID_PREFIX};
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
pub(crate) const DROP_IN: &str = "etc/multipath/conf.d/90-dm-psa-release.conf";

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

/// The configuration by which multipathd takes these maps as they are: their names, their queueing, and their features.
#[must_use]
pub(super) fn drop_in(maps: &[Map]) -> String {
    let mut out =
        "# Written by `psactl release`: multipathd keeps the maps that dm-psa made as they are.\n"
            .to_owned();
    let tables = || maps.iter().filter_map(|map| map.table.as_ref().ok());
    // The words of the table except for queueing, which has a keyword of its own.
    let words = |table: &Table| {
        let features = emit::features(table);
        let words = features.split(' ').skip(1);
        let others: Vec<&str> = words.filter(|word| *word != "queue_if_no_path").collect();
        format!("{} {}", others.len(), others.join(" "))
    };
    let mut features = tables().map(words);
    // There is one setting for all maps. If they differ, multipathd loads the tables of some.
    if let Some(first) = features.next()
        && !first.starts_with("0 ")
        && features.all(|other| other == first)
    {
        out += &format!("overrides {{\n\tfeatures \"{first}\"\n}}\n");
    }
    out += "multipaths {\n";
    for map in maps {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
        out += &format!("\tmultipath {{\n\t\twwid \"{wwid}\"\n");
        if map.name != wwid {
            out += &format!("\t\talias \"{}\"\n", map.name);
        }
        // What the admin configured counts where the map does not queue.
        if map
            .table
            .as_ref()
            .is_ok_and(|table| table.features.queue_if_no_path)
        {
            out += "\t\tno_path_retry queue\n";
        }
        out += "\t}\n";
    }
    out + "}\n"
}

/// Whether multipathd keeps keys of persistent reservations in its file. The agent does not have them.
///
/// # Errors
/// The file is there and cannot be read.
pub(super) fn has_reservation_keys(root: &Path) -> io::Result<bool> {
    let text = match fs::read_to_string(root.join("etc/multipath/prkeys")) {
        Ok(text) => text,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(false),
        Err(why) => return Err(why),
    };
    let mut lines = text.lines();
    Ok(lines.any(|line| !line.trim().is_empty() && !line.starts_with('#')))
}

/// The files of an admin that are in the place of masks.
#[must_use]
pub(super) fn in_the_way(root: &Path, rules: &[&str]) -> Vec<String> {
    let files = rules.iter().map(|name| link(root, name));
    let files = files.filter(|(link, _)| fs::symlink_metadata(link).is_ok() && !is_mask(link));
    files.map(|(_, line)| line).collect()
}

/// Whether any of these rules is masked.
#[must_use]
pub(super) fn is_masked(root: &Path, rules: &[&str]) -> bool {
    rules.iter().any(|name| is_mask(&link(root, name).0))
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

    fn map(name: &str, params: &str) -> Map {
        crate::cli::handover::map(name, "mpath-36001", params)
    }

    #[test]
    fn multipathd_gets_names_queueing_and_features() {
        let ours = "3 queue_if_no_path pg_init_retries 50 1 alua 1 1 service-time 0 1 0 8:0";
        let text = drop_in(&[map("naa.6001", ours)]);
        assert!(
            text.contains("\tfeatures \"2 pg_init_retries 50\"\n"),
            "{text}"
        );
        let entry = "\t\twwid \"36001\"\n\t\talias \"naa.6001\"\n\t\tno_path_retry queue\n";
        assert!(text.contains(entry), "{text}");
        let plain = drop_in(&[map("36001", "0 0 1 1 service-time 0 1 0 8:0")]);
        for word in ["features", "alias", "no_path_retry"] {
            assert!(!plain.contains(word), "{plain}");
        }
        let other = "2 pg_init_retries 20 0 1 1 service-time 0 1 0 8:16";
        let mixed = drop_in(&[map("a", ours), map("b", other)]);
        assert!(!mixed.contains("features"), "{mixed}");
    }

    #[test]
    fn reservation_keys_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        assert!(!has_reservation_keys(root.path()).unwrap());
        fs::create_dir_all(root.path().join("etc/multipath")).unwrap();
        let file = root.path().join("etc/multipath/prkeys");
        fs::write(&file, "# comment\n\n").unwrap();
        assert!(!has_reservation_keys(root.path()).unwrap());
        fs::write(&file, "0x1234 36001\n").unwrap();
        assert!(has_reservation_keys(root.path()).unwrap());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(has_reservation_keys(root.path()).is_err());
    }
}
