//! Sends SCSI commands to paths, over the transport that was chosen with the first path.
//!
//! There are two transports: `sg`, which every kernel has, and bsg by io_uring, which needs Linux 7.1 or
//! later. Both keep the contract of `sg`. If bsg fails later, it is given up permanently.
//!
//! The submodules are shared by both: `book` decides what is sent when and what an answer means, the others are memory
//! and time.

mod book;
#[cfg(feature = "io-uring")]
mod bsg;
mod buffers;
mod clock;
mod errno;
mod scratch_buffer;
pub(crate) mod sg;

use super::{NoticeSink, Sink};
use crate::psa::action::{Examine, Notice, Severity};
use crate::psa::codes;
use crate::psa::event::Examination;
use crate::psa::settings::TransportSetting;
use crate::psa::units::Hctl;
#[cfg(feature = "io-uring")]
use crate::scsi::outcome::Outcome;
#[cfg(feature = "io-uring")]
use std::io;
use std::sync::OnceLock;

/// Whether `auto` takes bsg where the kernel has it. Not yet, although it costs a sixth less with 10,000 paths. If the
/// agent is killed while a command is out, and the command fails with sense data, Linux 7.1 to 7.3 copy the sense data
/// in a kernel worker to the address of our buffer (`scsi_bsg_uring_task_cb` does not check whether the task is dead).
/// The worker still uses the page tables of some other process, so memory of that process at this address is
/// overwritten.
const AUTO_TAKES_BSG: bool = false;

/// Sends commands down paths.
#[derive(Debug)]
pub struct Transport {
    setting: TransportSetting,
    #[cfg(feature = "io-uring")]
    results: Sink,
    sg: sg::Transport,
    choice: OnceLock<Choice>,
    /// Why bsg was given up.
    given_up: OnceLock<String>,
    notice_sink: NoticeSink,
}

/// The transport that was chosen with the first path.
#[derive(Debug)]
enum Choice {
    /// sg, and the reason.
    Sg(String),
    #[cfg(feature = "io-uring")]
    Bsg(bsg::Transport),
}

/// The transport in use, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// `sg`, `bsg`, or `none` before the first path.
    pub name: &'static str,
    /// Why it is in use.
    pub reason: String,
}

impl Transport {
    /// Creates a transport that puts its answers into `results`. Its threads wait while that queue is full, so the
    /// receiver must not wait for the transport while it does not receive. The choice goes to `notice_sink`.
    #[must_use]
    pub fn new(setting: TransportSetting, results: Sink, notice_sink: NoticeSink) -> Transport {
        Transport {
            setting,
            #[cfg(feature = "io-uring")]
            results: results.clone(),
            sg: sg::Transport::new(results),
            choice: OnceLock::new(),
            given_up: OnceLock::new(),
            notice_sink,
        }
    }

    /// Like `sg::Transport::examine`.
    ///
    /// # Errors
    /// As for `sg::Transport::examine`.
    pub fn examine(&self, order: Examine) -> Result<(), Examination> {
        let path = order.path;
        match self.choice.get_or_init(|| self.choose(path)) {
            Choice::Sg(_) => {}
            #[cfg(feature = "io-uring")]
            Choice::Bsg(bsg) => {
                let Some(failure) = bsg.failure() else {
                    return bsg.examine(order);
                };
                self.give_up(&failure);
                if bsg.has(path) {
                    // At most one command may be out per path, regardless of the transport.
                    return Err(order.answer(Outcome::Overdue));
                }
            }
        }
        self.sg.examine(order)
    }

    /// Has all commands sent that were ordered before.
    pub fn flush(&self) {
        // Harmless if bsg is in use, which sends without a flush.
        self.sg.flush();
    }

    /// The transport in use.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        let (name, reason) = match (self.given_up.get(), self.choice.get()) {
            (Some(reason), _) | (None, Some(Choice::Sg(reason))) => ("sg", reason.clone()),
            #[cfg(feature = "io-uring")]
            (None, Some(Choice::Bsg(_))) => {
                ("bsg", "the kernel accepts SCSI commands by io_uring".into())
            }
            (None, None) => ("none", "no path was found yet".into()),
        };
        InUse { name, reason }
    }

    /// Chooses a transport, probing with `path`, and reports the choice.
    fn choose(&self, path: Hctl) -> Choice {
        let choice = match (self.setting, AUTO_TAKES_BSG) {
            (TransportSetting::Sg, _) => {
                Choice::Sg("transport is set to sg in dm-psa.toml".to_owned())
            }
            (TransportSetting::Auto, false) => Choice::Sg(
                "it is the default; to use bsg, set transport to bsg in dm-psa.toml".to_owned(),
            ),
            (TransportSetting::Auto, true) | (TransportSetting::Bsg, _) => self.try_bsg(path),
        };
        let (name, reason) = match &choice {
            Choice::Sg(reason) => ("sg", reason.as_str()),
            #[cfg(feature = "io-uring")]
            Choice::Bsg(_) => ("bsg", "the kernel accepts SCSI commands by io_uring"),
        };
        let chosen = transport_notice(name, reason).with_severity(Severity::Info);
        self.notice_sink.notify(chosen);
        choice
    }

    #[cfg(feature = "io-uring")]
    fn try_bsg(&self, path: Hctl) -> Choice {
        match bsg::Transport::start(self.results.clone(), path) {
            Ok(bsg) => Choice::Bsg(bsg),
            Err(error) => Choice::Sg(reason_of(&error)),
        }
    }

    #[cfg(not(feature = "io-uring"))]
    fn try_bsg(&self, _: Hctl) -> Choice {
        Choice::Sg("this build has no bsg: it was built without the feature io-uring".to_owned())
    }

    #[cfg(feature = "io-uring")]
    fn give_up(&self, error: &io::Error) {
        self.given_up.get_or_init(|| {
            let reason = format!("bsg failed: {}", reason_of(error));
            self.notice_sink.notify(transport_notice("sg", &reason));
            reason
        });
    }
}

fn transport_notice(in_use: &str, reason: &str) -> Notice {
    let details = [("in_use", in_use), ("reason", reason)];
    Notice::new(codes::TRANSPORT, "agent", &details)
}

/// The human-readable reason why bsg by io_uring is not available.
#[cfg(feature = "io-uring")]
fn reason_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EINVAL) => {
            "the kernel does not accept SCSI commands by io_uring; Linux 7.1 and later do"
                .to_owned()
        }
        Some(libc::ENOSYS) => "the kernel has no io_uring".to_owned(),
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is not allowed: see kernel.io_uring_disabled and the unit's filters"
                .to_owned()
        }
        Some(libc::ENODEV | libc::ENXIO) => "/dev/bsg has no SCSI device".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::event::Event;
    use crate::psa::units::{Millis, Sg};
    use crate::scsi::cdb::{Command, Commands};
    use crate::scsi::outcome::Outcome;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    fn transport(setting: TransportSetting) -> (Transport, Receiver<Event>) {
        let (results, answers) = sync_channel(16);
        let sink = Sink::new(move |events| events.into_iter().all(|e| results.send(e).is_ok()));
        (
            Transport::new(setting, sink, NoticeSink::discard()),
            answers,
        )
    }

    /// No machine has this host, so only the choice is tested: there is an answer whatever is in /dev/bsg.
    fn examine_nothing(setting: TransportSetting) -> (Outcome, InUse) {
        let (transport, answers) = transport(setting);
        let path = "4000000000:0:0:1".parse().unwrap();
        assert_eq!(transport.in_use().name, "none");
        let second = Millis::from_secs(1);
        transport
            .examine(Examine {
                path,
                sg: Sg(u32::MAX),
                ticket: 7,
                commands: Commands::Borrowed(&[Command::TestUnitReady]),
                timeout: second,
                deadline: second,
            })
            .unwrap();
        transport.flush();
        let Event::Examined(answer) = answers.recv_timeout(Duration::from_secs(10)).unwrap() else {
            panic!("another event");
        };
        (answer.replies[0].outcome.clone(), transport.in_use())
    }

    #[test]
    fn the_setting_decides() {
        let (outcome, in_use) = examine_nothing(TransportSetting::Sg);
        assert_eq!((outcome, in_use.name), (Outcome::Gone, "sg"));
        assert_eq!(in_use.reason, "transport is set to sg in dm-psa.toml");
    }

    #[test]
    fn a_missing_device_is_gone_whatever_carries_the_command() {
        for setting in [TransportSetting::Auto, TransportSetting::Bsg] {
            let (outcome, in_use) = examine_nothing(setting);
            assert_eq!(outcome, Outcome::Gone);
            assert!(!in_use.reason.is_empty());
        }
    }
}
