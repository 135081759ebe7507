//! The memory of a command between sending it and fetching its reply.
//!
//! Its header holds pointers to the rest, and the kernel writes through them when the reply is read. So the memory
//! keeps its address from the time a command is written until the kernel has returned it, and this module prevents that
//! it is touched or freed in between.

use super::header::Header;
use super::memory::Memory;
use crate::kernel::passthrough::book::Sending;
use crate::kernel::passthrough::errno::outcome_of;
use crate::kernel::passthrough::scratch_buffer::ScratchBuffer;
use crate::scsi::cdb::{Command, SHORT_LENGTH, Space};
use crate::scsi::outcome::Outcome;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

/// The memory of one command, and whether the kernel has it.
#[derive(Debug)]
pub(super) struct Slot {
    memory: ScratchBuffer<Memory>,
    /// The page that the command asked for last.
    page: Option<u8>,
    /// A page that was shorter than [`SHORT_LENGTH`] the last time. It is the one that is asked for most.
    short_page: Option<u8>,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            memory: ScratchBuffer::new(Memory::new()),
            page: None,
            short_page: None,
        }
    }

    /// Whether a command is out.
    pub(super) fn is_out(&self) -> bool {
        self.memory.is_out()
    }

    /// Writes the command to an sg device. May block while the SCSI host has no free tag (`scsi_alloc_request`).
    ///
    /// # Errors
    /// EBUSY if a command is already out, otherwise the kernel's error. After an error of the kernel, no command is
    /// out.
    pub(super) fn send(&mut self, sg: &File, sending: &Sending, pack_id: c_int) -> io::Result<()> {
        let Some(memory) = self.memory.ours() else {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        };
        self.page = match sending.command {
            Command::Vpd(page) => Some(page),
            _ => None,
        };
        let space = match sending.space {
            Space::Usual if self.page.is_some() && self.page == self.short_page => Space::Short,
            space => space,
        };
        memory.lay_out(&sending.command, space, sending.timeout, pack_id)?;
        let header: *const Header = &raw const memory.header;
        // SAFETY: `header` points to an initialised Header of that size. Its pointers lead to memory of this slot that
        // stays in place while it is lent: the box is not moved or freed, and the vector is not touched.
        // JUSTIFICATION: write() of an sg_io_hdr has no wrapper; a slice of bytes would lose the provenance of the
        // pointers.
        let written = unsafe { libc::write(sg.as_raw_fd(), header.cast(), size_of::<Header>()) };
        if written < 0 {
            return Err(io::Error::last_os_error());
        }
        self.memory.lend();
        Ok(())
    }

    /// Reads the reply of the outstanding command, if the kernel has it. `None` if there is no reply yet.
    ///
    /// # Errors
    /// The kernel's error; the file cannot be used any more then and must be closed.
    pub(super) fn receive(&mut self, sg: &File) -> io::Result<Option<(Outcome, Vec<u8>)>> {
        if !self.is_out() {
            return Ok(None);
        }
        let mut header = Header::empty();
        // SAFETY: `header` is valid for writes of its size. The kernel copies data and sense through the pointers that
        // `send` gave it. They lead to memory of this slot that nothing else refers to now.
        // JUSTIFICATION: read() of an sg_io_hdr has no wrapper.
        let read = unsafe {
            libc::read(
                sg.as_raw_fd(),
                (&raw mut header).cast(),
                size_of::<Header>(),
            )
        };
        if read < 0 {
            let error = io::Error::last_os_error();
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) {
                return Ok(None);
            }
            // ENODEV and ENXIO: the device is detached and no command of this file is left. After any other failure the
            // command may still be out, so the kernel keeps the memory forever.
            if outcome_of(&error) == Outcome::Gone {
                // SAFETY: the command is back.
                unsafe { self.memory.take_back() };
            }
            return Err(error);
        }
        // SAFETY: the command is back: its reply was read.
        unsafe { self.memory.take_back() };
        let answer = self.memory.ours().map(|memory| memory.answer(&header));
        if let (Some(page), Some((outcome, data))) = (self.page, &answer)
            && outcome.carried_out()
        {
            if data.len() < usize::from(SHORT_LENGTH) {
                self.short_page = Some(page);
            } else if self.short_page == Some(page) {
                self.short_page = None;
            }
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::units::{Millis, Sg};
    use std::fs::OpenOptions;
    use std::io::{Read, Seek};
    use std::os::unix::fs::FileExt;

    fn sending(command: Command) -> Sending {
        Sending {
            path: "0:0:0:0".parse().unwrap(),
            sg: Sg(0),
            command,
            space: Space::Usual,
            timeout: Millis(1500),
        }
    }

    /// A plain file takes the header as bytes, so its layout can be checked.
    #[test]
    fn the_header_is_laid_out_as_the_kernel_reads_it() {
        let mut file = tempfile::tempfile().unwrap();
        let mut slot = Slot::new();
        slot.send(&file, &sending(Command::Inquiry), 7).unwrap();
        assert!(slot.is_out());
        let again = slot.send(&file, &sending(Command::TestUnitReady), 8);
        assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::EBUSY));
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), size_of::<Header>());
        let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(int(0), i32::from(b'S'));
        assert_eq!(int(4), -3);
        assert_eq!(bytes[8], 6);
        assert_eq!(bytes[9], 96);
        assert_eq!(int(12), 96);
        #[cfg(target_pointer_width = "64")]
        assert_eq!((int(40), int(48)), (1500, 7));
        // Reading the file back simulates a reply: good, no residual, 96 bytes.
        file.rewind().unwrap();
        let (outcome, data) = slot.receive(&file).unwrap().unwrap();
        assert_eq!(outcome, Outcome::Good);
        assert_eq!(data, vec![0; 96]);
        assert!(!slot.is_out());
        assert_eq!(slot.receive(&file).unwrap(), None);
    }

    /// Sends a command, plays a reply with this residual, and returns the length of the header's buffer.
    fn exchange(slot: &mut Slot, command: Command, residual: i32) -> usize {
        let mut file = tempfile::tempfile().unwrap();
        slot.send(&file, &sending(command), 1).unwrap();
        let mut header = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut header).unwrap();
        let int = |at: usize| i32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
        let length = usize::try_from(int(12)).unwrap();
        let at = std::mem::offset_of!(Header, resid) as u64;
        file.write_all_at(&residual.to_ne_bytes(), at).unwrap();
        file.rewind().unwrap();
        let (outcome, data) = slot.receive(&file).unwrap().unwrap();
        assert_eq!(outcome, Outcome::Good);
        assert_eq!(data.len(), length - usize::try_from(residual).unwrap());
        length
    }

    #[test]
    fn a_page_that_was_short_gets_a_short_buffer() {
        let mut slot = Slot::new();
        let page = || Command::Vpd(0x83);
        assert_eq!(exchange(&mut slot, page(), 1020 - 84), 1020);
        assert_eq!(exchange(&mut slot, Command::TestUnitReady, 0), 0);
        assert_eq!(exchange(&mut slot, page(), 252 - 84), 252);
        // It has grown and fills the buffer, so the buffer is a larger one from now on.
        assert_eq!(exchange(&mut slot, page(), 0), 252);
        assert_eq!(exchange(&mut slot, page(), 1020 - 300), 1020);
        assert_eq!(exchange(&mut slot, page(), 1020 - 252), 1020);
        // Another page is not known to be short.
        assert_eq!(exchange(&mut slot, page(), 1020 - 251), 1020);
        assert_eq!(exchange(&mut slot, Command::Vpd(0xc9), 0), 1020);
        assert_eq!(exchange(&mut slot, page(), 0), 252);
    }

    #[test]
    fn a_refused_command_is_not_outstanding() {
        let read_only = OpenOptions::new().read(true).open("/dev/null").unwrap();
        let mut slot = Slot::new();
        let refused = slot.send(&read_only, &sending(Command::TestUnitReady), 1);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(!slot.is_out());
    }
}
