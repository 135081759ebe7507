//! Finds the processes that have a block device open, by their open files in `/proc`.
//!
//! Input: device numbers. Output: an [`Opener`] for each process and device. Nothing is opened, and only files below
//! some `/dev/` are examined: a stat of any open file could wait for a network file system that is gone. What the
//! kernel itself has open (mounts, swap, other maps) belongs to no process; for that see
//! [`Sysfs::users_of`](super::sysfs::Sysfs::users_of).

use super::sysfs::{Sysfs, number_of_node};
use crate::psa::units::DevT;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// A process that has a device open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opener {
    /// The device.
    pub dev: DevT,
    /// Its process id.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`): the first 15 bytes of its program's name.
    pub name: String,
    /// How many of its file descriptors are open on the device.
    pub count: u64,
}

/// The result of [`openers`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Openers {
    /// Ordered by process id.
    pub found: Vec<Opener>,
    /// Processes whose open files this process may not see.
    pub hidden: usize,
}

/// The processes that have one of these devices open.
#[must_use]
pub(crate) fn openers(sysfs: &Sysfs, wanted: &BTreeSet<DevT>) -> Openers {
    openers_by(sysfs, wanted, &block_number)
}

/// The number of the block device behind an open file; `None` if it is not a block device.
fn block_number(open_file: &Path) -> Option<DevT> {
    let node = fs::metadata(open_file).ok()?;
    node.file_type()
        .is_block_device()
        .then(|| number_of_node(&node))
}

/// Like [`openers`]; `number` returns the device number behind an open file.
fn openers_by(
    sysfs: &Sysfs,
    wanted: &BTreeSet<DevT>,
    number: &dyn Fn(&Path) -> Option<DevT>,
) -> Openers {
    let mut openers = Openers::default();
    if wanted.is_empty() {
        return openers;
    }
    for pid in sysfs.processes() {
        let dir = sysfs.process(pid);
        let files = match fs::read_dir(dir.join("fd")) {
            Ok(files) => files,
            Err(why) => {
                // A process that has just ended is not hidden.
                openers.hidden += usize::from(why.kind() == std::io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        let mut open: BTreeMap<DevT, u64> = BTreeMap::new();
        for file in files.flatten() {
            let file = file.path();
            let is_below_dev = fs::read_link(&file).is_ok_and(|target| {
                let target = target.as_os_str().as_bytes();
                target.windows(5).any(|part| part == b"/dev/")
            });
            if let Some(dev) = is_below_dev.then(|| number(&file)).flatten()
                && wanted.contains(&dev)
            {
                *open.entry(dev).or_default() += 1;
            }
        }
        openers
            .found
            .extend(open.into_iter().map(|(dev, count)| Opener {
                dev,
                pid,
                name: sysfs.process_name(pid),
                count,
            }));
    }
    openers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn processes_are_found_by_their_open_files() {
        let root = tempfile::tempdir().unwrap();
        let process = |pid: u32, name: &str, files: &[&str]| {
            let dir = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(dir.join("fd")).unwrap();
            fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
            for (fd, target) in files.iter().enumerate() {
                symlink(target, dir.join("fd").join(fd.to_string())).unwrap();
            }
        };
        process(
            12,
            "dd",
            &["/dev/null", "/dev/dm-3", "/dev/dm-3", "/dev/sdq"],
        );
        process(7, "qemu system", &["/srv/chroot/dev/dm-4", "socket:[99]"]);
        // A file with this name on a file system is not examined.
        process(9, "vi", &["/home/dm-3"]);
        fs::create_dir_all(root.path().join("proc/sys")).unwrap();
        let dev = |minor| DevT { major: 253, minor };
        let wanted = BTreeSet::from([dev(3), dev(4)]);
        let number = |file: &Path| {
            let target = fs::read_link(file).unwrap();
            let name = target
                .file_name()?
                .to_str()?
                .strip_prefix("dm-")?
                .to_owned();
            assert!(!target.starts_with("/home"));
            Some(dev(name.parse().ok()?))
        };
        let found = openers_by(&Sysfs::new(root.path()), &wanted, &number);
        let opener = |minor, pid, name: &str, count| Opener {
            dev: dev(minor),
            pid,
            name: name.to_owned(),
            count,
        };
        assert_eq!(
            found.found,
            [opener(4, 7, "qemu system", 1), opener(3, 12, "dd", 2)]
        );
        assert_eq!(found.hidden, 0);
        assert_eq!(
            openers(&Sysfs::new("/nonexistent"), &wanted),
            Openers::default()
        );
    }

    #[test]
    fn a_file_that_is_not_a_block_device_has_no_number() {
        assert_eq!(block_number(Path::new("/dev/null")), None);
        assert_eq!(block_number(Path::new("/nonexistent")), None);
    }
}
