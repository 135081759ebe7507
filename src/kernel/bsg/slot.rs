//! A command that is on its way, and its memory.

use super::command;
use super::files::{Device, Identity};
use crate::kernel::transport::book::Sending;
use crate::kernel::transport::buffers::Buffers;
use crate::kernel::transport::lent::Lent;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use std::io;

/// A place for a command; its index is the token.
#[derive(Debug)]
pub(super) struct Slot {
    buffers: Lent<Buffers>,
    errand: Option<Errand>,
}

/// What a command is about.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) sending: Sending,
    /// The device it went to, which stays open: its number must not lead to another one before the kernel has taken
    /// the command.
    pub(super) device: Device,
    /// It went to a thread that may sleep.
    pub(super) patient: bool,
    pub(super) since: Millis,
    /// The device was removed while it was out: nobody waits for it any more.
    pub(super) zombie: bool,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            buffers: Lent::new(Buffers::new()),
            errand: None,
        }
    }

    /// Lays a command out for its way; the bytes for the ring.
    ///
    /// # Errors
    /// EBUSY if a command is out, EINVAL for one that does not fit: there is none.
    pub(super) fn lay_out(&mut self, sending: &Sending) -> io::Result<[u8; command::LENGTH]> {
        let busy = || io::Error::from_raw_os_error(libc::EBUSY);
        let buffers = self.buffers.ours().ok_or_else(busy)?;
        buffers.lay_out(&sending.command, sending.longest)?;
        Ok(command::encode(buffers, sending.timeout))
    }

    /// The kernel has the command from now on.
    pub(super) fn send(&mut self, errand: Errand) {
        self.buffers.lend();
        self.errand = Some(errand);
    }

    /// The command is back; what it was about.
    ///
    /// # Safety
    /// The ring must have given out the completion of this slot's command.
    pub(super) unsafe fn take_back(&mut self) -> Option<Errand> {
        // SAFETY: as the caller promises; one command gives one completion.
        unsafe { self.buffers.take_back() };
        self.errand.take()
    }

    /// How the command ended that is back, by the second word of its completion, and what it brought.
    pub(super) fn answer(&mut self, res2: u64) -> (Outcome, Vec<u8>) {
        match self.buffers.ours() {
            Some(buffers) => buffers.answer(command::ending(res2)),
            None => (Outcome::from_errno(libc::EBUSY), Vec::new()),
        }
    }

    /// The path, if its device is to be looked at because the command is out since before `moment`, and which device
    /// that was.
    pub(super) fn out_before(&self, moment: Millis) -> Option<(Hctl, Identity)> {
        let errand = self.errand.as_ref()?;
        let old = errand.since < moment && !errand.zombie;
        old.then_some((errand.sending.path, errand.device.identity))
    }

    /// Nobody waits for the command any more.
    pub(super) fn abandon(&mut self) {
        if let Some(errand) = &mut self.errand {
            errand.zombie = true;
        }
    }
}
