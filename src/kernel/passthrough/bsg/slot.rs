//! A command that is with the kernel, and its memory.

use super::command;
use super::files::{Device, Identity};
use crate::kernel::passthrough::book::Sending;
use crate::kernel::passthrough::buffers::Buffers;
use crate::kernel::passthrough::scratch_buffer::ScratchBuffer;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use std::io;

/// Holds one command; its index is the token.
#[derive(Debug)]
pub(super) struct Slot {
    buffers: ScratchBuffer<Buffers>,
    errand: Option<Errand>,
}

/// What a command is for.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) sending: Sending,
    /// The device that the command goes to. It stays open, so that its number cannot lead to another device before the
    /// kernel has taken the command.
    pub(super) device: Device,
    /// It was sent with `patient` (see [`super::ring::Ring::push`]).
    pub(super) patient: bool,
    pub(super) since: Millis,
    /// The device was removed while the command was out: its answer is not wanted any more.
    pub(super) zombie: bool,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            buffers: ScratchBuffer::new(Buffers::new()),
            errand: None,
        }
    }

    /// Lays a command out in the buffers, and returns the bytes for the ring.
    ///
    /// # Errors
    /// EBUSY if a command is out, EINVAL for a command that does not fit (none exists).
    pub(super) fn lay_out(&mut self, sending: &Sending) -> io::Result<[u8; command::LENGTH]> {
        let busy = || io::Error::from_raw_os_error(libc::EBUSY);
        let buffers = self.buffers.ours().ok_or_else(busy)?;
        buffers.lay_out(&sending.command, sending.space)?;
        Ok(command::encode(buffers, sending.timeout))
    }

    /// Marks the buffers as the kernel's from now on.
    pub(super) fn send(&mut self, errand: Errand) {
        self.buffers.lend();
        self.errand = Some(errand);
    }

    /// The command is back: returns what it was for.
    ///
    /// # Safety
    /// The ring must have returned the completion of this slot's command.
    pub(super) unsafe fn take_back(&mut self) -> Option<Errand> {
        // SAFETY: guaranteed by the caller; one command gives one completion.
        unsafe { self.buffers.take_back() };
        self.errand.take()
    }

    /// How the returned command ended, by the second word of its completion, and the data that it brought.
    pub(super) fn answer(&mut self, res2: u64) -> (Outcome, Vec<u8>) {
        match self.buffers.ours() {
            Some(buffers) => buffers.answer(command::ending(res2)),
            None => (Outcome::of_errno(libc::EBUSY), Vec::new()),
        }
    }

    /// The path and which device it was, if the command has been out since before `moment` and is still wanted.
    pub(super) fn out_before(&self, moment: Millis) -> Option<(Hctl, Identity)> {
        let errand = self.errand.as_ref()?;
        let old = errand.since < moment && !errand.zombie;
        old.then_some((errand.sending.path, errand.device.identity))
    }

    /// Marks the answer of the command as not wanted any more.
    pub(super) fn abandon(&mut self) {
        if let Some(errand) = &mut self.errand {
            errand.zombie = true;
        }
    }
}
