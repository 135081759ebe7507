//! Marks the disks that the agent owns or leaves alone, for udev's helper `dm-psa-id`.
//!
//! A mark is a file `MAJOR:MINOR` that holds a [`Mark`]. Its existence means that the agent has decided. A changed mark
//! raises a `change` uevent of the disk and of its partitions, so that udev's rules run again. An unchanged mark raises none, because the
//! uevent would lead to the same mark again without end.

use super::id::Mark;
use super::sysfs::raise_change;
use crate::psa::units::DevT;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The marks in one directory.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    dir: PathBuf,
    sys: PathBuf,
}

impl Marks {
    /// Marks in `dir` (`/run/dm-psa/paths`, created if missing), for disks below `sys` (`/sys`).
    #[must_use]
    pub(crate) fn new(dir: impl Into<PathBuf>, sys: impl Into<PathBuf>) -> Marks {
        Marks {
            dir: dir.into(),
            sys: sys.into(),
        }
    }

    /// Marks the disk `name` with number `dev`. Returns whether the mark changed; only then a uevent is raised.
    ///
    /// # Errors
    /// ENODEV if the disk with that name has another number by now; then nothing is marked. Otherwise the file system's
    /// error. If the uevent cannot be raised, the mark is removed, so that it is tried again.
    pub(crate) fn mark(&self, dev: DevT, name: &str, owned: bool) -> io::Result<bool> {
        let disk = self.disk(name)?;
        if fs::read_to_string(disk.join("dev"))?.trim() != dev.to_string() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let diskseq = fs::read_to_string(disk.join("diskseq")).ok();
        let diskseq = diskseq.and_then(|text| text.trim().parse().ok());
        let text = format!("{}\n", Mark { owned, diskseq });
        let file = self.file(dev);
        if fs::read_to_string(&file).is_ok_and(|now| now == text) {
            return Ok(false);
        }
        fs::create_dir_all(&self.dir)?;
        // udev may read the mark at any time: it sees either the old or the new one.
        let new = self.dir.join(format!(".{dev}"));
        fs::write(&new, text)?;
        fs::rename(&new, &file)?;
        raise_change(&disk).inspect_err(|_| drop(fs::remove_file(&file)))?;
        Ok(true)
    }

    /// Removes the mark of a disk that is gone, because another disk may soon get its number.
    ///
    /// # Errors
    /// The file system's error; a missing mark is not an error.
    pub(crate) fn forget(&self, dev: DevT) -> io::Result<()> {
        match fs::remove_file(self.file(dev)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn file(&self, dev: DevT) -> PathBuf {
        self.dir.join(dev.to_string())
    }

    fn disk(&self, name: &str) -> io::Result<PathBuf> {
        // A kernel name has no slash; sysfs shows `!` instead.
        if name.is_empty() || name.starts_with('.') || Path::new(name).components().count() != 1 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(self.sys.join("class/block").join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const DEV: DevT = DevT {
        major: 8,
        minor: 32,
    };

    fn tree() -> (TempDir, Marks, PathBuf) {
        let root = TempDir::new().unwrap();
        let disk = root.path().join("sys/class/block/sdc");
        fs::create_dir_all(&disk).unwrap();
        fs::write(disk.join("dev"), "8:32\n").unwrap();
        let marks = Marks::new(root.path().join("run/paths"), root.path().join("sys"));
        let uevent = disk.join("uevent");
        (root, marks, uevent)
    }

    #[test]
    fn a_mark_is_announced_once() {
        let (root, marks, uevent) = tree();
        let file = root.path().join("run/paths/8:32");
        assert!(marks.mark(DEV, "sdc", true).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&uevent).unwrap(), "change");
        fs::remove_file(&uevent).unwrap();
        assert!(!marks.mark(DEV, "sdc", true).unwrap());
        assert!(!uevent.exists());
        assert!(marks.mark(DEV, "sdc", false).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "0\n");
        assert!(uevent.exists());
        let left: Vec<_> = fs::read_dir(root.path().join("run/paths"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_changed_mark_is_announced_to_the_partitions_too() {
        let (root, marks, _) = tree();
        let partition = root.path().join("sys/class/block/sdc/sdc1");
        let holders = root.path().join("sys/class/block/sdc/holders");
        fs::create_dir_all(&partition).unwrap();
        fs::create_dir_all(&holders).unwrap();
        fs::write(partition.join("partition"), "1\n").unwrap();
        assert!(marks.mark(DEV, "sdc", false).unwrap());
        let raised = fs::read_to_string(partition.join("uevent")).unwrap();
        assert_eq!(raised, "change");
        assert!(!holders.join("uevent").exists());
    }

    #[test]
    fn a_replaced_disk_is_not_marked() {
        let (root, marks, uevent) = tree();
        let other = DevT {
            major: 8,
            minor: 48,
        };
        let error = marks.mark(other, "sdc", true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(marks.mark(DEV, "sdd", true).is_err());
        assert!(marks.mark(DEV, "../block/sdc", true).is_err());
        assert!(marks.mark(DEV, "..", true).is_err());
        assert!(!root.path().join("run/paths").exists());
        assert!(!uevent.exists());
    }

    #[test]
    fn marks_are_forgotten() {
        let (root, marks, _) = tree();
        marks.mark(DEV, "sdc", true).unwrap();
        marks.forget(DEV).unwrap();
        assert!(!root.path().join("run/paths/8:32").exists());
        marks.forget(DEV).unwrap();
    }

    #[test]
    fn a_mark_without_its_uevent_is_removed() {
        let (root, marks, uevent) = tree();
        fs::create_dir(&uevent).unwrap();
        assert!(marks.mark(DEV, "sdc", true).is_err());
        assert!(!root.path().join("run/paths/8:32").exists());
    }
}
