//! The memory of one command and its answer: header, CDB, sense and data.

use super::header::{Direction, Header};
use crate::kernel::passthrough::buffers::{Buffers, Ending, Transfer};
use crate::psa::units::Millis;
use crate::scsi::cdb::{Command, Space};
use crate::scsi::outcome::Outcome;
use std::ffi::c_int;
use std::io;

/// The header, and the buffers that its pointers lead to.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) header: Header,
    buffers: Buffers,
}

// SAFETY: the pointers of the header lead to memory of the same value, or are null.
unsafe impl Send for Memory {}

impl Memory {
    /// Creates the memory with a header that asks for nothing.
    pub(super) fn new() -> Memory {
        Memory {
            header: Header::empty(),
            buffers: Buffers::new(),
        }
    }

    /// Lays a command out, with this much space for its answer. The pointers of the header then lead
    /// to this memory, so it must not move until the kernel has returned the command.
    ///
    /// # Errors
    /// The command does not fit a header (none exists).
    pub(super) fn lay_out(
        &mut self,
        command: &Command,
        space: Space,
        timeout: Millis,
        pack_id: c_int,
    ) -> io::Result<()> {
        self.buffers.lay_out(command, space)?;
        let direction = match self.buffers.transfer() {
            Transfer::None => Direction::None,
            Transfer::Out => Direction::ToDevice,
            Transfer::In => Direction::FromDevice,
        };
        let (cdb, cdb_length) = self.buffers.cdb();
        let (sense, sense_length) = self.buffers.sense();
        let (data, data_length) = self.buffers.data();
        self.header = Header {
            dxfer_direction: direction.number(),
            cmd_len: cdb_length,
            mx_sb_len: sense_length,
            dxfer_len: data_length,
            dxferp: data.cast(),
            cmdp: cdb,
            sbp: sense,
            // 0 would mean the default of the queue.
            timeout: u32::try_from(timeout.0).unwrap_or(u32::MAX).max(1),
            pack_id,
            ..Header::empty()
        };
        Ok(())
    }

    /// How the command ended and what it returned, by the header that came back with it. The data are empty unless the
    /// command was carried out.
    pub(super) fn answer(&mut self, header: &Header) -> (Outcome, Vec<u8>) {
        let [_, host] = header.host_status.to_be_bytes();
        let [_, driver] = header.driver_status.to_be_bytes();
        self.buffers.answer(Ending {
            status: header.status,
            host,
            driver,
            sense_length: header.sb_len_wr,
            residual: usize::try_from(header.resid).unwrap_or(0),
        })
    }
}
