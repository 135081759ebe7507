//! The agent's own tracefs instance, `instances/dm-psa`: made, taken over, removed.
//!
//! Nobody else's instance, and no event outside of this instance, is touched. An instance outlives the process that made it,
//! with its events switched on; so one of that name is what an agent left that was killed, and is removed first.

use nix::sys::statfs::{FsType, statfs};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where systemd mounts tracefs.
pub(super) const TRACEFS: &str = "/sys/kernel/tracing";
/// `TRACEFS_MAGIC`.
const MAGIC: FsType = FsType(0x7472_6163);
const NAME: &str = "dm-psa";

/// The events that cost nothing while no I/O fails.
pub(super) const EVENTS: [&str; 4] = [
    "block/block_rq_error",
    "scsi/scsi_dispatch_cmd_timeout",
    "scsi/scsi_dispatch_cmd_error",
    "scsi/scsi_eh_wakeup",
];
/// Every command that ends; the filter costs some 370 instructions a command.
const EVERY_COMMAND: &str = "scsi/scsi_dispatch_cmd_done";
/// Those that ended with an error, without TEST UNIT READY, INQUIRY and MAINTENANCE IN: the commands of checks.
const WITH_AN_ERROR: &str = "result != 0 && opcode != 0 && opcode != 0x12 && opcode != 0xa3";

/// For each processor, in KiB: room for a hundred reports. An instance has 1,410 until it is set.
const BUFFER: &str = "8";

/// Why errors of ordinary I/O cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceError {
    /// There is no tracefs, yet.
    #[error("tracefs is not mounted at {}; systemd does it by sys-kernel-tracing.mount", .0.display())]
    NotMounted(PathBuf),
    /// No tracing at all.
    #[error("the kernel's lockdown mode `confidentiality` forbids tracing")]
    Lockdown,
    /// The instance is open.
    #[error("{}: an earlier agent left it, and another process has it open", .0.display())]
    Held(PathBuf),
    /// A file of the instance.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel knows none of the events.
    #[error("this kernel has none of the events {}", EVENTS.join(", "))]
    NoEvents,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TraceError {
    let path = path.to_owned();
    move |source| TraceError::File { what, path, source }
}

/// The instance; dropping it removes it.
#[derive(Debug)]
pub(super) struct Instance {
    directory: PathBuf,
    /// `None` while it is removed: an instance that is open cannot be.
    pipe: Option<File>,
    /// Events that the kernel does not have, yet: those of SCSI come with the module `scsi_mod`.
    missing: Vec<&'static str>,
    every_command: bool,
}

impl Instance {
    /// Makes the instance on this host.
    ///
    /// # Errors
    /// Why not; then nothing is left of it.
    pub(super) fn of_this_host() -> Result<Instance, TraceError> {
        let root = Path::new(TRACEFS);
        if !statfs(root).is_ok_and(|fs| fs.filesystem_type() == MAGIC) {
            return Err(TraceError::NotMounted(root.to_owned()));
        }
        Instance::below(root).map_err(|error| {
            if is_locked_down() {
                TraceError::Lockdown
            } else {
                error
            }
        })
    }

    /// Makes the instance below a tracefs.
    pub(super) fn below(root: &Path) -> Result<Instance, TraceError> {
        remove_left(root)?;
        let directory = root.join("instances").join(NAME);
        fs::create_dir(&directory).map_err(failed("cannot make", &directory))?;
        let mut instance = Instance {
            directory,
            pipe: None,
            missing: EVENTS.to_vec(),
            every_command: false,
        };
        // Memory first: until then it has a hundred times as much.
        instance.write("buffer_size_kb", BUFFER)?;
        // Before any event: with it the kernel notes the name of each process at each change of context, on all processors
        // (`tracing_start_cmdline_record`), and patches the scheduler's code for that.
        let _ = instance.write("options/record-cmd", "0");
        // Without it there is the name of a process in each line, and more to read.
        let _ = instance.write("options/context-info", "0");
        let pipe = instance.directory.join("trace_pipe");
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe);
        instance.pipe = Some(opened.map_err(failed("cannot open", &pipe))?);
        instance.switch_on_missing();
        if instance.missing.len() == EVENTS.len() {
            return Err(TraceError::NoEvents);
        }
        Ok(instance)
    }

    /// Switches on the events that were not there before; whether there are more than before.
    pub(super) fn switch_on_missing(&mut self) -> bool {
        let before = std::mem::take(&mut self.missing);
        let count = before.len();
        let missing = before
            .into_iter()
            .filter(|event| self.switch(event, true).is_err());
        self.missing = missing.collect();
        self.missing.len() < count
    }

    /// Those of [`EVENTS`] that this kernel does not have.
    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// Has every command reported that ends with an error, or no more.
    pub(super) fn watch_every_command(&mut self, on: bool) -> Result<(), TraceError> {
        if self.every_command == on {
            return Ok(());
        }
        if on {
            self.write(&format!("events/{EVERY_COMMAND}/filter"), WITH_AN_ERROR)?;
        }
        self.switch(EVERY_COMMAND, on)?;
        self.every_command = on;
        Ok(())
    }

    /// Whether every command that ends with an error is reported.
    pub(super) fn watches_every_command(&self) -> bool {
        self.every_command
    }

    /// What is reported; read without waiting.
    pub(super) fn pipe(&self) -> Option<&File> {
        self.pipe.as_ref()
    }

    fn switch(&self, event: &str, on: bool) -> Result<(), TraceError> {
        self.write(
            &format!("events/{event}/enable"),
            if on { "1" } else { "0" },
        )
    }

    fn write(&self, file: &str, text: &str) -> Result<(), TraceError> {
        let path = self.directory.join(file);
        let file = OpenOptions::new().write(true).open(&path);
        let written = file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(failed("cannot write", &path))
    }
}

impl Drop for Instance {
    /// Its events are switched off, and its memory is given back.
    fn drop(&mut self) {
        self.pipe = None;
        if let Err(error) = fs::remove_dir(&self.directory) {
            log::warn!(path:% = self.directory.display(), error:%; "cannot remove the tracefs instance");
        }
    }
}

/// Removes what an agent left on this host, for one that does not watch.
pub(super) fn remove_left_of_this_host() -> Result<(), TraceError> {
    remove_left(Path::new(TRACEFS))
}

fn remove_left(root: &Path) -> Result<(), TraceError> {
    let directory = root.join("instances").join(NAME);
    match fs::remove_dir(&directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(TraceError::Held(directory)),
        Err(error) => Err(failed("cannot remove", &directory)(error)),
    }
}

fn is_locked_down() -> bool {
    let mode = fs::read_to_string("/sys/kernel/security/lockdown");
    mode.is_ok_and(|mode| mode.contains("[confidentiality]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory like tracefs in which instances have no files.
    fn bare() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("instances")).unwrap();
        root
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root.join("instances")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn one_that_cannot_be_set_up_is_not_left_behind() {
        let root = bare();
        let error = Instance::below(root.path()).unwrap_err().to_string();
        assert!(error.contains("dm-psa/buffer_size_kb"), "{error}");
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn what_a_killed_agent_left_is_removed_and_nothing_else() {
        let root = bare();
        for name in ["dm-psa", "rasdaemon", "dm-psa-2"] {
            fs::create_dir(root.path().join("instances").join(name)).unwrap();
        }
        remove_left(root.path()).unwrap();
        let mut left = names(root.path());
        left.sort();
        assert_eq!(left, ["dm-psa-2", "rasdaemon"]);
        remove_left(root.path()).unwrap();
    }

    #[test]
    fn a_host_without_tracing_has_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let error = Instance::below(root.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot make ") && error.contains("No such file"),
            "{error}"
        );
        assert!(Instance::below(Path::new("/proc/self/status")).is_err());
    }
}
