//! The memory of a command and its answer, independent of the interface: CDB, sense and data.

use crate::scsi::cdb::{Command, SHORT_LENGTH, Space};
use crate::scsi::outcome::Outcome;
use std::io;

/// The length of sense data that the kernel keeps (`SCSI_SENSE_BUFFERSIZE`).
pub(in crate::kernel) const SENSE_LENGTH: usize = 96;

/// The largest buffer that is kept for the next command, in bytes.
const KEPT: usize = SHORT_LENGTH as usize;

/// The direction of a command's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Transfer {
    /// No data.
    None,
    /// To the device.
    Out,
    /// From the device.
    In,
}

/// How a command ended, as reported by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Ending {
    /// SAM status.
    pub(in crate::kernel) status: u8,
    /// `DID_*`.
    pub(in crate::kernel) host: u8,
    /// `DRIVER_SENSE` or 0.
    pub(in crate::kernel) driver: u8,
    /// Bytes of sense data that were written.
    pub(in crate::kernel) sense_length: u8,
    /// Bytes of data that were requested but not transferred.
    pub(in crate::kernel) residual: usize,
}

/// The buffers that the pointers in a command's header lead to.
#[derive(Debug)]
pub(in crate::kernel) struct Buffers {
    cdb: [u8; 16],
    cdb_length: u8,
    sense: [u8; SENSE_LENGTH],
    data: Vec<u8>,
    transfer: Transfer,
}

impl Buffers {
    /// Creates the buffers without a command.
    pub(in crate::kernel) fn new() -> Buffers {
        Buffers {
            cdb: [0; 16],
            cdb_length: 0,
            sense: [0; SENSE_LENGTH],
            data: Vec::new(),
            transfer: Transfer::None,
        }
    }

    /// Lays a command out, with this much space for its answer. From then until the command is back,
    /// neither this nor its memory may be touched.
    ///
    /// # Errors
    /// The CDB is too long (no command has such a CDB).
    pub(in crate::kernel) fn lay_out(&mut self, command: &Command, space: Space) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let (cdb, length) = (command.cdb_with(space), command.length_with(space));
        let cdb = cdb.as_slice();
        self.cdb
            .get_mut(..cdb.len())
            .ok_or_else(invalid)?
            .copy_from_slice(cdb);
        self.cdb_length = u8::try_from(cdb.len()).map_err(|_| invalid())?;
        let out = command.data_out();
        // Cleared even if its memory is used again: a device that transfers less than it says must not return bytes of
        // the previous answer.
        self.data.clear();
        self.transfer = if !out.is_empty() {
            self.data = out;
            Transfer::Out
        } else if length > 0 {
            self.data.resize(length, 0);
            Transfer::In
        } else {
            Transfer::None
        };
        u32::try_from(self.data.len()).map_err(|_| invalid())?;
        Ok(())
    }

    pub(in crate::kernel) fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// The CDB and its length.
    pub(in crate::kernel) fn cdb(&mut self) -> (*mut u8, u8) {
        (self.cdb.as_mut_ptr(), self.cdb_length)
    }

    /// The buffer for sense data, and its length.
    pub(in crate::kernel) fn sense(&mut self) -> (*mut u8, u8) {
        // It is 96 by definition.
        (self.sense.as_mut_ptr(), SENSE_LENGTH as u8)
    }

    /// The data to send or the buffer for data to receive, and their length.
    pub(in crate::kernel) fn data(&mut self) -> (*mut u8, u32) {
        let length = u32::try_from(self.data.len()).unwrap_or(0);
        (self.data.as_mut_ptr(), length)
    }

    /// How the command ended, and the data that it returned. The data are empty unless the command was carried out.
    pub(in crate::kernel) fn answer(&mut self, ending: Ending) -> (Outcome, Vec<u8>) {
        let sense_length = usize::from(ending.sense_length).min(SENSE_LENGTH);
        let sense = self.sense.get(..sense_length).unwrap_or_default();
        let outcome = Outcome::from_sg(ending.status, ending.host, ending.driver, sense);
        let data = match self.transfer {
            Transfer::In if outcome.carried_out() => {
                let length = self.data.len().saturating_sub(ending.residual);
                self.data.get(..length).unwrap_or_default().to_vec()
            }
            _ => Vec::new(),
        };
        // The buffer of most commands is used again; one for a long answer is rarely needed.
        if self.data.capacity() > KEPT {
            self.data = Vec::new();
        }
        (outcome, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Ending = Ending {
        status: 0,
        host: 0,
        driver: 0,
        sense_length: 0,
        residual: 0,
    };

    #[test]
    fn data_end_where_the_device_stopped() {
        for (residual, length) in [(0, 96), (60, 36), (96, 0), (1000, 0)] {
            let mut buffers = Buffers::new();
            buffers.lay_out(&Command::Inquiry, Space::Usual).unwrap();
            assert_eq!(buffers.transfer(), Transfer::In);
            assert_eq!((buffers.cdb().1, buffers.data().1), (6, 96));
            let (outcome, data) = buffers.answer(Ending { residual, ..GOOD });
            assert_eq!((outcome, data.len()), (Outcome::Good, length));
        }
    }

    #[test]
    fn the_answer_has_no_bytes_of_the_previous_one() {
        let mut buffers = Buffers::new();
        buffers.lay_out(&Command::Inquiry, Space::Usual).unwrap();
        buffers.data.fill(0xff);
        assert_eq!(buffers.answer(GOOD).1, [0xff; 96]);
        buffers.lay_out(&Command::Inquiry, Space::Usual).unwrap();
        assert_eq!(buffers.answer(GOOD).1, [0; 96]);
        buffers
            .lay_out(&Command::TestUnitReady, Space::Usual)
            .unwrap();
        assert_eq!((buffers.data().1, buffers.answer(GOOD).1.len()), (0, 0));
    }

    #[test]
    fn a_buffer_for_a_long_answer_is_not_kept() {
        let mut buffers = Buffers::new();
        let page = Command::Vpd(0x83);
        buffers.lay_out(&page, Space::Short).unwrap();
        buffers.answer(GOOD);
        assert!(buffers.data.capacity() >= page.length_with(Space::Short));
        buffers.lay_out(&page, Space::Longest).unwrap();
        let (_, data) = buffers.answer(Ending {
            residual: page.data_in_length() - 8,
            ..GOOD
        });
        assert_eq!((data.len(), buffers.data.capacity()), (8, 0));
    }

    #[test]
    fn a_command_that_was_not_carried_out_returns_no_data() {
        let mut buffers = Buffers::new();
        buffers.lay_out(&Command::Inquiry, Space::Usual).unwrap();
        let (outcome, data) = buffers.answer(Ending { host: 1, ..GOOD });
        assert_eq!((outcome, data.len()), (Outcome::NoConnect(1), 0));
    }
}
