//! What one command and its answer take in memory: header, CDB, sense and data.

use super::header::{Direction, Header, SENSE_LENGTH};
use crate::psa::units::Millis;
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use std::ffi::c_int;
use std::io;

/// The header, and what is at the far end of its pointers.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) header: Header,
    cdb: [u8; 16],
    sense: [u8; SENSE_LENGTH],
    data: Vec<u8>,
}

impl Memory {
    /// Asks for nothing.
    pub(super) fn new() -> Memory {
        Memory {
            header: Header::empty(),
            cdb: [0; 16],
            sense: [0; SENSE_LENGTH],
            data: Vec::new(),
        }
    }

    /// Lays a command out. The pointers of the header are to this memory then: until the kernel has given the command
    /// back it must not move.
    ///
    /// # Errors
    /// A command that no header can carry: there is none.
    pub(super) fn lay_out(
        &mut self,
        command: &Command,
        timeout: Millis,
        pack_id: c_int,
    ) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let cdb = command.cdb();
        let cdb = cdb.as_slice();
        self.cdb
            .get_mut(..cdb.len())
            .ok_or_else(invalid)?
            .copy_from_slice(cdb);
        self.data = command.data_out();
        let direction = if !self.data.is_empty() {
            Direction::ToDevice
        } else if command.data_in_length() > 0 {
            self.data = vec![0; command.data_in_length()];
            Direction::FromDevice
        } else {
            Direction::None
        };
        self.header = Header {
            dxfer_direction: direction.number(),
            cmd_len: u8::try_from(cdb.len()).map_err(|_| invalid())?,
            mx_sb_len: u8::try_from(SENSE_LENGTH).map_err(|_| invalid())?,
            dxfer_len: u32::try_from(self.data.len()).map_err(|_| invalid())?,
            dxferp: self.data.as_mut_ptr().cast(),
            cmdp: self.cdb.as_mut_ptr(),
            sbp: self.sense.as_mut_ptr(),
            // 0 would mean the default of the queue.
            timeout: u32::try_from(timeout.0).unwrap_or(u32::MAX).max(1),
            pack_id,
            ..Header::empty()
        };
        Ok(())
    }

    /// How the command ended and what it brought, by the header that came back with it. Without data unless it was
    /// carried out.
    pub(super) fn answer(&mut self, header: &Header) -> (Outcome, Vec<u8>) {
        let sense_length = usize::from(header.sb_len_wr).min(SENSE_LENGTH);
        let sense = self.sense.get(..sense_length).unwrap_or_default();
        let [_, host] = header.host_status.to_be_bytes();
        let [_, driver] = header.driver_status.to_be_bytes();
        let outcome = Outcome::from_sg(header.status, host, driver, sense);
        let mut data = std::mem::take(&mut self.data);
        if header.dxfer_direction == Direction::FromDevice.number() && outcome.carried_out() {
            let missing = usize::try_from(header.resid).unwrap_or(0);
            data.truncate(data.len().saturating_sub(missing));
        } else {
            data.clear();
        }
        (outcome, data)
    }
}
