//! `/etc/multipath/wwids`: the WWIDs of multipath maps, one in a line as `/WWID/`. LVM reads it to find out which disks
//! are paths; `multipath -a`, `-w` and `-W` change it.
//!
//! A line of a WWID that was removed begins with `#`. Writers lock the file (fcntl), because programs of
//! multipath-tools may be installed too. It is changed in place: a program that waits for the lock has it open.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for another writer.
const LOCK: Duration = Duration::from_secs(4);

/// Longest file that is read: ten thousand WWIDs take half a megabyte.
const LONGEST: u64 = 16 << 20;

/// The first lines of a new file.
const HEAD: &str = "\
# WWIDs of the multipath maps of this host. LVM reads this file.
# multipath -a WWID adds a line, multipath -w WWID removes one.
";

/// Adds a WWID. Returns whether it was missing.
///
/// # Errors
/// The file cannot be read or written, or another program keeps it locked.
pub fn add(root: &Path, wwid: &str) -> io::Result<bool> {
    add_all(root, [wwid])
}

/// Adds WWIDs. Returns whether one was missing.
///
/// # Errors
/// As for [`add`].
pub fn add_all<'a>(root: &Path, wwids: impl IntoIterator<Item = &'a str>) -> io::Result<bool> {
    change(root, |text| {
        let present: BTreeSet<&str> = text.lines().map(str::trim_end).collect();
        let lines = wwids.into_iter().map(|wwid| format!("/{wwid}/"));
        let missing: Vec<String> = lines.filter(|line| !present.contains(&**line)).collect();
        if missing.is_empty() {
            return None;
        }
        let gap = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        Some(format!("{text}{gap}{}\n", missing.join("\n")))
    })
}

/// Removes a WWID. Returns whether it was there.
///
/// # Errors
/// As for [`add`].
pub fn remove(root: &Path, wwid: &str) -> io::Result<bool> {
    change(root, |text| {
        let line = format!("/{wwid}/");
        let is = |present: &str| present.trim_end() == line;
        text.lines().any(is).then(|| {
            let lines = text.lines().map(|present| match present.strip_prefix('/') {
                // Of the same length, so that a program that reads meanwhile finds whole lines.
                Some(rest) if is(present) => format!("#{rest}\n"),
                _ => format!("{present}\n"),
            });
            lines.collect()
        })
    })
}

/// Replaces all WWIDs by these.
///
/// # Errors
/// As for [`add`].
pub fn reset(root: &Path, wwids: &[&str]) -> io::Result<()> {
    change(root, |_| {
        let lines = wwids.iter().map(|wwid| format!("/{wwid}/\n"));
        Some(HEAD.to_owned() + &lines.collect::<String>())
    })
    .map(drop)
}

/// Changes the file under its lock; `edit` returns the new content, or `None` to leave it.
fn change(root: &Path, edit: impl FnOnce(&str) -> Option<String>) -> io::Result<bool> {
    let folder = root.join("etc/multipath");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(folder.join("wwids"))?;
    lock(&file)?;
    let mut bytes = Vec::new();
    (&mut file).take(LONGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is not text: move it away",
        )
    })?;
    let before = if text.is_empty() { HEAD } else { text.as_str() };
    let Some(after) = edit(before) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(0))?;
    file.write_all(after.as_bytes())?;
    file.set_len(u64::try_from(after.len()).unwrap_or(u64::MAX))?;
    file.sync_all()?;
    Ok(true)
}

/// Locks the file as a whole until it is closed.
fn lock(file: &File) -> io::Result<()> {
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let until = Instant::now() + LOCK;
    loop {
        match fcntl(file, FcntlArg::F_SETLK(&whole)) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) if Instant::now() < until => {
                sleep(Duration::from_millis(20));
            }
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another program keeps it locked",
                ));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn wwids_are_added_and_removed_in_place() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/multipath/wwids");
        assert!(add(root.path(), "36001").unwrap());
        assert!(add(root.path(), "36002").unwrap());
        assert!(!add(root.path(), "36001").unwrap());
        assert!(remove(root.path(), "36001").unwrap());
        assert!(!remove(root.path(), "36001").unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{HEAD}#36001/\n/36002/\n"));
        // What another program wrote stays.
        fs::write(&file, "# theirs\n/3777/").unwrap();
        assert!(add(root.path(), "36001").unwrap());
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "# theirs\n/3777/\n/36001/\n"
        );
        assert!(add_all(root.path(), ["36003", "36001", "36004"]).unwrap());
        assert!(!add_all(root.path(), ["36003", "36004"]).unwrap());
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "# theirs\n/3777/\n/36001/\n/36003/\n/36004/\n"
        );
        reset(root.path(), &["3888"]).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            format!("{HEAD}/3888/\n")
        );
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(add(root.path(), "36001").is_err());
    }
}
