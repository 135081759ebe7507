//! The memory of a command and its answer, independent of the interface: CDB, sense and data.

use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use std::io;

/// The length of sense data that the kernel keeps (`SCSI_SENSE_BUFFERSIZE`).
pub(in crate::kernel) const SENSE_LENGTH: usize = 96;

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

    /// Lays a command out, with space for its longest answer or for a usual one. From then until the command is back,
    /// neither this nor its memory may be touched.
    ///
    /// # Errors
    /// The CDB is too long (no command has such a CDB).
    pub(in crate::kernel) fn lay_out(
        &mut self,
        command: &Command,
        longest: bool,
    ) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let (cdb, room) = match longest {
            true => (command.cdb(), command.data_in_length()),
            false => (command.usual_cdb(), command.usual_length()),
        };
        let cdb = cdb.as_slice();
        self.cdb
            .get_mut(..cdb.len())
            .ok_or_else(invalid)?
            .copy_from_slice(cdb);
        self.cdb_length = u8::try_from(cdb.len()).map_err(|_| invalid())?;
        self.data = command.data_out();
        self.transfer = if !self.data.is_empty() {
            Transfer::Out
        } else if room > 0 {
            self.data = vec![0; room];
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
        let mut data = std::mem::take(&mut self.data);
        if self.transfer == Transfer::In && outcome.carried_out() {
            data.truncate(data.len().saturating_sub(ending.residual));
            // The buffer was for the longest answer, and this one may be kept.
            data.shrink_to_fit();
        } else {
            data.clear();
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
            buffers.lay_out(&Command::Inquiry, false).unwrap();
            assert_eq!(buffers.transfer(), Transfer::In);
            assert_eq!((buffers.cdb().1, buffers.data().1), (6, 96));
            let (outcome, data) = buffers.answer(Ending { residual, ..GOOD });
            assert_eq!((outcome, data.len()), (Outcome::Good, length));
        }
    }

    #[test]
    fn a_command_that_was_not_carried_out_returns_no_data() {
        let mut buffers = Buffers::new();
        buffers.lay_out(&Command::Inquiry, false).unwrap();
        let (outcome, data) = buffers.answer(Ending { host: 1, ..GOOD });
        assert_eq!((outcome, data.len()), (Outcome::NoConnect(1), 0));
    }
}
