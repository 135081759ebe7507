//! Encodes a command as bsg takes it from io_uring, and decodes its completion (`struct bsg_uring_cmd` and the layout
//! of `res2`, Linux 7 `include/uapi/linux/bsg.h`).

use crate::kernel::passthrough::buffers::{Buffers, Ending, Transfer};
use crate::psa::units::Millis;

/// Bytes that a command has in a 128-byte submission queue entry.
pub(super) const LENGTH: usize = 80;

/// `BSG_PROTOCOL_SCSI`
const PROTOCOL_SCSI: u32 = 0;
/// `BSG_SUB_PROTOCOL_SCSI_CMD`
const SUB_PROTOCOL_SCSI_CMD: u32 = 0;

/// Offsets of the fields. `protocol`, `subprotocol` and the counts of I/O vectors are all 0 here.
mod at {
    pub(super) const REQUEST: usize = 0;
    pub(super) const REQUEST_LEN: usize = 8;
    pub(super) const PROTOCOL: usize = 12;
    pub(super) const SUBPROTOCOL: usize = 16;
    pub(super) const MAX_RESPONSE_LEN: usize = 20;
    pub(super) const RESPONSE: usize = 24;
    pub(super) const DOUT_XFERP: usize = 32;
    pub(super) const DOUT_XFER_LEN: usize = 40;
    pub(super) const DIN_XFERP: usize = 48;
    pub(super) const DIN_XFER_LEN: usize = 56;
    pub(super) const TIMEOUT_MS: usize = 64;
}

/// A command without a CDB, which the kernel refuses with EINVAL before it looks at the device. A kernel that takes no
/// commands from io_uring answers EOPNOTSUPP instead.
pub(super) fn empty() -> [u8; LENGTH] {
    [0; LENGTH]
}

/// Encodes the command that is laid out in `buffers`, with pointers to them. The kernel's timer runs for `timeout` from
/// the dispatch; it is at least 1 ms, because 0 would mean a minute.
pub(super) fn encode(buffers: &mut Buffers, timeout: Millis) -> [u8; LENGTH] {
    let mut command = empty();
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = command.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    };
    let address = |pointer: *mut u8| (pointer.expose_provenance() as u64).to_ne_bytes();
    let transfer = buffers.transfer();
    let (cdb, cdb_length) = buffers.cdb();
    put(at::REQUEST, &address(cdb));
    put(at::REQUEST_LEN, &u32::from(cdb_length).to_ne_bytes());
    put(at::PROTOCOL, &PROTOCOL_SCSI.to_ne_bytes());
    put(at::SUBPROTOCOL, &SUB_PROTOCOL_SCSI_CMD.to_ne_bytes());
    let (sense, sense_length) = buffers.sense();
    put(at::RESPONSE, &address(sense));
    put(at::MAX_RESPONSE_LEN, &u32::from(sense_length).to_ne_bytes());
    let (data, data_length) = buffers.data();
    match transfer {
        Transfer::None => {}
        Transfer::Out => {
            put(at::DOUT_XFERP, &address(data));
            put(at::DOUT_XFER_LEN, &data_length.to_ne_bytes());
        }
        Transfer::In => {
            put(at::DIN_XFERP, &address(data));
            put(at::DIN_XFER_LEN, &data_length.to_ne_bytes());
        }
    }
    let timeout = u32::try_from(timeout.0).unwrap_or(u32::MAX).max(1);
    put(at::TIMEOUT_MS, &timeout.to_ne_bytes());
    command
}

/// Decodes the second word of a completion: device status, driver status, host status and sense length are one byte
/// each from the lowest byte on, the residual is the upper half.
pub(super) fn ending(res2: u64) -> Ending {
    let [status, driver, host, sense_length, r0, r1, r2, r3] = res2.to_le_bytes();
    let residual = u32::from_le_bytes([r0, r1, r2, r3]);
    Ending {
        status,
        host,
        driver,
        sense_length,
        residual: usize::try_from(residual).unwrap_or(usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::cdb::{Command, Space};
    use crate::scsi::tpgs::AccessState;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    fn encoded(command: &Command) -> (Box<Buffers>, [u8; LENGTH]) {
        let mut buffers = Box::new(Buffers::new());
        buffers.lay_out(command, Space::Longest).unwrap();
        let bytes = encode(&mut buffers, Millis(1500));
        (buffers, bytes)
    }

    #[test]
    fn fields_are_where_the_kernel_reads_them() {
        let (mut buffers, bytes) = encoded(&Command::Inquiry);
        assert_eq!(u64_at(&bytes, 0), buffers.cdb().0 as u64);
        assert_eq!(u32_at(&bytes, 8), 6);
        assert_eq!((u32_at(&bytes, 12), u32_at(&bytes, 16)), (0, 0));
        assert_eq!(u32_at(&bytes, 20), 96);
        assert_eq!(u64_at(&bytes, 24), buffers.sense().0 as u64);
        // No data go out, and there are no I/O vectors.
        assert_eq!(bytes[32..48], [0; 16]);
        assert_eq!(u64_at(&bytes, 48), buffers.data().0 as u64);
        assert_eq!((u32_at(&bytes, 56), u32_at(&bytes, 60)), (96, 0));
        assert_eq!(u32_at(&bytes, 64), 1500);
        assert_eq!(bytes[68..], [0; 12]);
    }

    #[test]
    fn data_go_one_way() {
        let (_, bytes) = encoded(&Command::TestUnitReady);
        assert_eq!(bytes[32..64], [0; 32]);
        let states = vec![(1, AccessState::ActiveOptimized)];
        let (mut buffers, bytes) = encoded(&Command::SetTargetPortGroups(states));
        assert_eq!(u64_at(&bytes, 32), buffers.data().0 as u64);
        assert_eq!((u32_at(&bytes, 40), u32_at(&bytes, 44)), (8, 0));
        assert_eq!(bytes[48..64], [0; 16]);
    }

    #[test]
    fn a_completion_is_packed_into_a_word() {
        let end = ending(0x0000_003c_1203_0802);
        assert_eq!((end.status, end.driver, end.host), (0x02, 0x08, 0x03));
        assert_eq!((end.sense_length, end.residual), (0x12, 60));
    }
}
