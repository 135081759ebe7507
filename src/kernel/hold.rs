//! Keeps programs in memory, so that they can run while the disk that they are on answers nothing.
//!
//! A process that is started needs the file of the program, the dynamic loader, the libraries, and the directories and
//! links that lead to them. The kernel has all of these in its caches once they were read, and gives them up when memory
//! is short. Open descriptors keep inodes and names; locked mappings keep the contents.

use nix::fcntl::{OFlag, open};
use nix::sys::mman::{MapFlags, ProtFlags, mlock, mmap, munmap};
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::NonNull;

/// The loader's cache of libraries.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// The most links that are followed for one name, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// Programs that are kept in memory as long as this exists.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Directories, links and files.
    names: BTreeMap<PathBuf, OwnedFd>,
    contents: Vec<Content>,
}

/// A file that is mapped and locked.
#[derive(Debug)]
struct Content {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

// SAFETY: the mapping is only read, by the kernel, and unmapped once.
unsafe impl Send for Content {}

impl Drop for Content {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `Content::map`, and nothing refers to it.
        // JUSTIFICATION: no wrapper of mmap can map a file that another process may change.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}

impl Content {
    /// `None` for an empty file.
    fn map(file: &Path) -> io::Result<Option<Content>> {
        let file = File::open(file)?;
        let length = usize::try_from(file.metadata()?.len()).ok();
        let Some(length) = length.and_then(NonZeroUsize::new) else {
            return Ok(None);
        };
        // SAFETY: the kernel chooses the address; the memory is never read by this process.
        // JUSTIFICATION: as for `drop`.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ,
                MapFlags::MAP_PRIVATE,
                &file,
                0,
            )
        }?;
        let content = Content { start, length };
        // SAFETY: it is the mapping from above. This reads all of it, and changes nothing.
        unsafe { mlock(start, length.get()) }?;
        Ok(Some(content))
    }
}

impl Held {
    /// Reads programs and all that they need to start. This waits for the disk.
    ///
    /// # Errors
    /// A file cannot be read, or memory cannot be locked.
    pub(crate) fn programs(programs: &[PathBuf]) -> io::Result<Held> {
        let mut files: BTreeSet<PathBuf> = programs.iter().cloned().collect();
        for program in programs {
            files.extend(needed_by(program)?);
        }
        if Path::new(LOADER_CACHE).exists() {
            files.insert(PathBuf::from(LOADER_CACHE));
        }
        let mut held = Held::default();
        files.iter().try_for_each(|file| held.keep(file))?;
        Ok(held)
    }

    fn keep(&mut self, file: &Path) -> io::Result<()> {
        let mut name = file.to_owned();
        for _ in 0..MOST_LINKS {
            self.keep_name(&name)?;
            let Ok(target) = fs::read_link(&name) else {
                break;
            };
            name = name.parent().unwrap_or(Path::new("/")).join(target);
        }
        // Directories on the way may be links too.
        let real = fs::canonicalize(file)?;
        self.keep_name(&real)?;
        self.contents.extend(Content::map(&real)?);
        Ok(())
    }

    /// Keeps a name and the directories that lead to it; links as links.
    fn keep_name(&mut self, name: &Path) -> io::Result<()> {
        for part in name.ancestors() {
            if !self.names.contains_key(part) {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let kept = open(part, flags, Mode::empty())?;
                self.names.insert(part.to_owned(), kept);
            }
        }
        Ok(())
    }
}

/// The loader and the libraries that a program needs, as the loader of this process finds them. Empty if there is no
/// loader: the programs of this system need none.
fn needed_by(program: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(loader) = loader(&fs::read_to_string("/proc/self/maps")?) else {
        return Ok(Vec::new());
    };
    let listed = Command::new(loader)
        .arg("--list")
        .arg(program)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    if !listed.status.success() {
        return Err(io::Error::other(format!(
            "the loader does not say what {} needs",
            program.display()
        )));
    }
    Ok(paths_in(&String::from_utf8_lossy(&listed.stdout)))
}

/// The dynamic loader in `/proc/PID/maps`.
fn loader(maps: &str) -> Option<PathBuf> {
    let files = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    files
        .map(Path::new)
        .find(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("ld-") || name.starts_with("ld."))
        })
        .map(Path::to_owned)
}

/// The files in what the loader lists: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)`.
fn paths_in(listed: &str) -> Vec<PathBuf> {
    let words = listed.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_loader_is_understood() {
        let maps = "55d0-55d1 r-xp 0 fd:01 1  /usr/sbin/dm-psad\n\
                    7f00-7f01 r--p 0 fd:01 2  /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f02-7f03 rw-p 0 00:00 0\n\
                    7f04-7f05 r-xp 0 fd:01 3  /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n";
        assert_eq!(
            loader(maps),
            Some(PathBuf::from(
                "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
            ))
        );
        assert_eq!(loader("55d0-55d1 r-xp 0 fd:01 1  /sbin/dm-psad\n"), None);
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f10)\n\
                      \tlibmissing.so => not found\n";
        let wanted = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(paths_in(listed), wanted.map(PathBuf::from));
    }

    #[test]
    fn a_program_is_held_with_its_libraries() {
        let needed = needed_by(Path::new("/bin/true")).unwrap();
        let held = Held::programs(&[PathBuf::from("/bin/true")]).unwrap();
        assert!(held.contents.len() > needed.len());
        assert!(held.names.len() > held.contents.len());
        let missing = Held::programs(&[PathBuf::from("/bin/no such program")]);
        assert!(missing.unwrap_err().to_string().contains("no such program"));
    }
}
