//! The agent's own tracefs instance, `instances/dm-psa`: created, cleaned up, removed.
//!
//! Other instances, and events outside of this instance, are not touched. An instance outlives the process that created
//! it, with its events switched on. So an existing instance with this name was left by an agent that was killed, and is
//! removed first.

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

/// Events that cost nothing while no I/O fails.
pub(super) const EVENTS: [&str; 4] = [
    "block/block_rq_error",
    "scsi/scsi_dispatch_cmd_timeout",
    "scsi/scsi_dispatch_cmd_error",
    "scsi/scsi_eh_wakeup",
];
/// The event of every command that ends; the filter costs about 370 instructions per command.
const EVERY_COMMAND: &str = "scsi/scsi_dispatch_cmd_done";
/// Commands that ended with an error, except TEST UNIT READY, INQUIRY and MAINTENANCE IN, which are the commands of
/// checks.
const WITH_AN_ERROR: &str = "result != 0 && opcode != 0 && opcode != 0x12 && opcode != 0xa3";

/// Buffer size per processor in KiB: space for a hundred reports. The default of an instance is 1,410.
const BUFFER: &str = "8";

/// Why errors of ordinary I/O cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceError {
    /// tracefs is not mounted (yet).
    #[error("tracefs is not mounted at {}; systemd mounts it with sys-kernel-tracing.mount", .0.display())]
    NotMounted(PathBuf),
    /// The kernel allows no tracing.
    #[error("the kernel's lockdown mode `confidentiality` forbids tracing")]
    Lockdown,
    /// An old instance is open.
    #[error("{}: left by a previous agent, and another process has it open", .0.display())]
    Held(PathBuf),
    /// Access to a file of the instance failed.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
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
    /// `None` while the instance is removed: an open instance cannot be removed.
    pipe: Option<File>,
    /// Events that the kernel does not have (yet): those of SCSI come with the module `scsi_mod`.
    missing: Vec<&'static str>,
    every_command: bool,
}

impl Instance {
    /// Creates the instance on this host.
    ///
    /// # Errors
    /// Why it cannot be created; then nothing of it is left behind.
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

    /// Creates the instance below a tracefs.
    pub(super) fn below(root: &Path) -> Result<Instance, TraceError> {
        remove_left(root)?;
        let directory = root.join("instances").join(NAME);
        fs::create_dir(&directory).map_err(failed("cannot create", &directory))?;
        let mut instance = Instance {
            directory,
            pipe: None,
            missing: EVENTS.to_vec(),
            every_command: false,
        };
        // The memory first, because the default is more than a hundred times as much.
        instance.write("buffer_size_kb", BUFFER)?;
        // Before any event is switched on: with this option the kernel records the name of each process at each context
        // switch on all processors (`tracing_start_cmdline_record`), and patches the scheduler's code for that.
        let _ = instance.write("options/record-cmd", "0");
        // With this option each line has the name of a process, and there is more to read.
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

    /// Switches on events that were missing so far. Returns whether there are more of them than before.
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

    /// Switches the reporting of every command that ends with an error on or off.
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

    /// The pipe with the reports, to be read without waiting.
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
    /// Removes the instance, which switches its events off and frees its memory.
    fn drop(&mut self) {
        self.pipe = None;
        if let Err(error) = fs::remove_dir(&self.directory) {
            let directory = self.directory.display();
            log::warn!("cannot remove the tracefs instance {directory}: {error}");
        }
    }
}

/// Removes an instance that an agent left on this host, for an agent that does not watch.
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

    /// A directory that looks like tracefs, but whose instances have no files.
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
    fn a_failed_instance_is_not_left_behind() {
        let root = bare();
        let error = Instance::below(root.path()).unwrap_err().to_string();
        assert!(error.contains("dm-psa/buffer_size_kb"), "{error}");
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn only_leftovers_of_a_killed_agent_are_removed() {
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
            error.starts_with("cannot create ") && error.contains("No such file"),
            "{error}"
        );
        assert!(Instance::below(Path::new("/proc/self/status")).is_err());
    }
}
