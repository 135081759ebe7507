//! Sets the kernel's own limit on queueing, for the time when no agent runs to end it.
//!
//! dm-multipath has one limit for the whole host, the module parameter `queue_if_no_path_timeout_secs`. A map that
//! loses its last path while it queues starts a timer of that many seconds, and stops queueing when the timer expires.
//! The kernel reads the parameter when the timer starts, so it has to be set before the paths fail; 0, the default,
//! starts no timer. Reinstating a path cancels the timer. Only the agent turns queueing on again.
//!
//! Because the parameter applies to all maps of the host, these rules hold:
//!
//! - It is set only while every multipath map belongs to the agent, and is never shorter than the longest APD timeout
//!   plus [`MARGIN`], the longest that the agent itself may wait. So it takes effect only where the agent does not do
//!   its work.
//! - It is changed only from 0. A value that somebody else set stays, whatever it is. So does a 0 that somebody set
//!   after us: this is how an admin disables it.
//! - When a map appears that is not the agent's, it goes back to 0, if the value is still ours.
//! - It stays when the agent stops, for whatever reason: this is the case it exists for.
//!
//! The value that was set is recorded in a file below `run`, so that a restarted agent recognizes its own value.

use crate::psa::units::Millis;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is added to the longest APD timeout to get the kernel's limit.
pub(crate) const MARGIN: Millis = Millis(60_000);

/// The result of [`Backstop::want`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The kernel has the wanted value.
    Set,
    /// Somebody else set the parameter to this value, in seconds (0 is off), and it stays.
    Foreign(u64),
}

/// The kernel's parameter and our record of it.
#[derive(Debug, Clone)]
pub(crate) struct Backstop {
    parameter: PathBuf,
    record: PathBuf,
}

impl Backstop {
    /// The backstop of the host whose file trees are below `root`.
    #[must_use]
    pub(crate) fn below(root: &Path) -> Backstop {
        Backstop {
            parameter: root
                .join("sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs"),
            record: root.join("run/dm-psa/queueing_limit"),
        }
    }

    /// Has the kernel end queueing [`MARGIN`] after `longest`, the longest that the agent may take. With `None` the
    /// limit is switched off.
    ///
    /// # Errors
    /// The kernel has no such parameter (it is too old, or dm-multipath is not loaded), or the parameter or the record
    /// cannot be written.
    pub(crate) fn want(&self, longest: Option<Millis>) -> io::Result<Outcome> {
        let wanted = longest.map_or(0, |longest| longest.after(MARGIN).0.div_ceil(1000));
        let (now, ours) = (read(&self.parameter)?, read(&self.record).ok());
        let is_ours = ours.map_or(now == 0, |ours| now == ours);
        if !is_ours {
            return Ok(Outcome::Foreign(now));
        }
        if now != wanted {
            fs::write(&self.parameter, wanted.to_string())?;
        }
        match wanted {
            // Without a record, a later 0 counts as the default and may be raised again.
            0 if ours.is_some() => fs::remove_file(&self.record)?,
            wanted if wanted > 0 && ours != Some(wanted) => {
                crate::config::store::replace(&self.record, wanted.to_string().as_bytes())?;
            }
            _ => {}
        }
        Ok(Outcome::Set)
    }
}

fn read(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim().parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`{}` is not a number of seconds", text.trim()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host whose kernel has this value.
    fn host(seconds: &str) -> (tempfile::TempDir, Backstop) {
        let root = tempfile::tempdir().unwrap();
        let backstop = Backstop::below(root.path());
        fs::create_dir_all(backstop.parameter.parent().unwrap()).unwrap();
        fs::create_dir_all(backstop.record.parent().unwrap()).unwrap();
        fs::write(&backstop.parameter, seconds).unwrap();
        (root, backstop)
    }

    const APD: Option<Millis> = Some(Millis(140_000));

    #[test]
    fn it_is_raised_from_0_above_every_deadline_of_the_agent() {
        let (_root, backstop) = host("0\n");
        assert_eq!(backstop.want(APD).unwrap(), Outcome::Set);
        assert_eq!(read(&backstop.parameter).unwrap(), 200);
        // One device has a longer timeout; and an agent that starts again recognizes its value.
        let again = Backstop::clone(&backstop);
        assert_eq!(again.want(Some(Millis(600_500))).unwrap(), Outcome::Set);
        assert_eq!(read(&backstop.parameter).unwrap(), 661);
    }

    #[test]
    fn it_returns_to_0_when_there_is_a_foreign_map() {
        let (_root, backstop) = host("0\n");
        backstop.want(APD).unwrap();
        assert_eq!(backstop.want(None).unwrap(), Outcome::Set);
        assert_eq!(read(&backstop.parameter).unwrap(), 0);
        // That map is gone again.
        backstop.want(APD).unwrap();
        assert_eq!(read(&backstop.parameter).unwrap(), 200);
    }

    #[test]
    fn a_value_set_by_others_stays() {
        let (_root, backstop) = host("30\n");
        for wanted in [APD, None] {
            assert_eq!(backstop.want(wanted).unwrap(), Outcome::Foreign(30));
            assert_eq!(read(&backstop.parameter).unwrap(), 30);
        }
        assert!(!backstop.record.exists());
    }

    #[test]
    fn an_admin_who_resets_it_has_the_last_word() {
        let (_root, backstop) = host("0\n");
        backstop.want(APD).unwrap();
        for seconds in ["0\n", "30\n"] {
            fs::write(&backstop.parameter, seconds).unwrap();
            for wanted in [APD, None] {
                assert!(matches!(
                    backstop.want(wanted).unwrap(),
                    Outcome::Foreign(_)
                ));
            }
            assert_eq!(fs::read_to_string(&backstop.parameter).unwrap(), seconds);
        }
    }

    #[test]
    fn a_kernel_without_it_is_only_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(Backstop::below(root.path()).want(APD).is_err());
        let (_root, backstop) = host("many\n");
        assert!(backstop.want(APD).is_err());
    }
}
