//! Who uses a disk: mounts, swap, and block devices stacked on it.
//!
//! Input: a file tree with `sys` and `proc` (the host's, or a test's). Output: the users, in a fixed order. Only
//! files of the kernel are read, no device is opened; so a user that shows nowhere, like a program with the disk
//! open, is not found here. Tests: below, and the trees in `tests/golden/id`.

use crate::psa::path::Usage;
use crate::psa::units::DevT;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A disk or partition as its users name it.
struct Node {
    name: String,
    dev: DevT,
}

/// Every user of the disk `name` (`sdc`) and of its partitions, other than a dm-multipath map over the whole disk.
///
/// # Errors
/// The disk is not there, or the kernel's lists cannot be read: then nothing is known of its users.
pub fn users(root: &Path, name: &str) -> io::Result<Vec<Usage>> {
    let dir = root.join("sys/block").join(name);
    let mut nodes = vec![Node {
        name: name.to_owned(),
        dev: read_dev(&dir)?,
    }];
    let mut held = holders(&dir)?
        .into_iter()
        .filter(|holder| !holder.is_multipath)
        .map(|holder| holder.usage(name))
        .collect::<Vec<_>>();

    let mut partitions = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        if entry.path().join("partition").exists() {
            partitions.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    // As a person counts: sda2 before sda10.
    partitions.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    for partition in partitions {
        let dir = dir.join(&partition);
        held.extend(holders(&dir)?.into_iter().map(|h| h.usage(&partition)));
        nodes.push(Node {
            dev: read_dev(&dir)?,
            name: partition,
        });
    }

    let mut users = mounts(
        &fs::read_to_string(root.join("proc/self/mountinfo"))?,
        &nodes,
    );
    match fs::read_to_string(root.join("proc/swaps")) {
        Ok(text) => users.extend(swaps(&text, &nodes)),
        // A kernel without swap.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    users.append(&mut held);
    Ok(users)
}

/// A block device that is stacked on another.
pub(crate) struct Holder {
    /// `dm-3`.
    name: String,
    /// `vg-root`; only dm devices have one.
    title: Option<String>,
    /// Its dm UUID has the prefix of multipath maps.
    pub(crate) is_multipath: bool,
}

impl Holder {
    fn usage(&self, device: &str) -> Usage {
        Usage::Held {
            device: device.to_owned(),
            by: match &self.title {
                Some(title) => format!("{} ({title})", self.name),
                None => self.name.clone(),
            },
        }
    }
}

/// The holders of the disk or partition whose sysfs folder is `dir`, by name.
pub(crate) fn holders(dir: &Path) -> io::Result<Vec<Holder>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir.join("holders")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let attribute = |file: &str| {
            let text = fs::read_to_string(entry.path().join("dm").join(file)).ok()?;
            Some(text.trim_end().to_owned())
        };
        found.push(Holder {
            name: entry.file_name().to_string_lossy().into_owned(),
            title: attribute("name"),
            is_multipath: attribute("uuid").is_some_and(|uuid| uuid.starts_with("mpath-")),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The number of the block device whose sysfs folder is `dir`.
pub(crate) fn read_dev(dir: &Path) -> io::Result<DevT> {
    fs::read_to_string(dir.join("dev"))?
        .trim_end()
        .parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Mounts of `nodes` in the text of `/proc/self/mountinfo`.
///
/// The number in a line is that of the file system, and btrfs and the like make theirs up: so the source counts too.
fn mounts(text: &str, nodes: &[Node]) -> Vec<Usage> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let mut head = head.split(' ').skip(2);
        let (Some(dev), Some(at)) = (head.next(), head.nth(1)) else {
            continue;
        };
        let source = unescape(tail.split(' ').nth(1).unwrap_or_default());
        let node = nodes.iter().find(|node| {
            dev.parse() == Ok(node.dev) || source.strip_prefix("/dev/") == Some(&node.name)
        });
        if let Some(node) = node {
            found.push(Usage::Mounted {
                device: node.name.clone(),
                at: unescape(at),
            });
        }
    }
    found
}

/// Swap on `nodes` in the text of `/proc/swaps`.
fn swaps(text: &str, nodes: &[Node]) -> Vec<Usage> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split([' ', '\t']).next()?.strip_prefix("/dev/"))
        .filter_map(|name| nodes.iter().find(|node| node.name == name))
        .map(|node| Usage::Swap {
            device: node.name.clone(),
        })
        .collect()
}

/// Undoes the kernel's `\ooo` for blanks and backslashes in a path (`seq_path`, `mangle`).
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                tail @ ..,
            ] => Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)),
            _ => None,
        };
        let (byte, tail) = octal.unwrap_or((*first, tail));
        out.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, minor: u32) -> Node {
        Node {
            name: name.to_owned(),
            dev: DevT { major: 8, minor },
        }
    }

    #[test]
    fn a_mount_is_found_by_number_and_by_source() {
        let text = "\
22 1 0:20 / /proc rw - proc proc rw
24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
25 24 0:42 /@home /srv/my\\040data rw - btrfs /dev/sda2 rw
26 24 8:17 / /other rw - ext4 /dev/sdb1 rw
damaged line
";
        let at = |device: &str, at: &str| Usage::Mounted {
            device: device.to_owned(),
            at: at.to_owned(),
        };
        assert_eq!(
            mounts(text, &[node("sda", 0), node("sda1", 1), node("sda2", 2)]),
            [at("sda1", "/"), at("sda2", "/srv/my data")]
        );
    }

    #[test]
    fn swap_is_found_by_name() {
        let text =
            "Filename\t\tType\t\tSize\n/dev/sda2   partition\t1024\n/swapfile file 3\n/dev/sda 1\n";
        assert_eq!(
            swaps(text, &[node("sda2", 2)]),
            [Usage::Swap {
                device: "sda2".to_owned()
            }]
        );
    }

    #[test]
    fn only_complete_escapes_are_undone() {
        assert_eq!(unescape(r"a\040b\134c\04\9"), r"a b\c\04\9");
    }
}
