//! The header of sg's version 3 interface (`struct sg_io_hdr`, kernel `include/scsi/sg.h`) and its constants.

use std::ffi::{c_int, c_uint, c_void};
use std::mem::{align_of, offset_of, size_of};
use std::ptr;

/// `interface_id` of version 3.
pub(super) const INTERFACE_ID: c_int = b'S' as c_int;

/// `SG_IO`: sends a command and waits for it; supported by sg and by the disk drivers.
const SG_IO: u16 = 0x2285;

/// `SG_GET_SCSI_ID`: the SCSI address behind an open file.
pub(super) const SG_GET_SCSI_ID: u16 = 0x2276;

/// `dxfer_direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// `SG_DXFER_NONE`
    None,
    /// `SG_DXFER_TO_DEV`
    ToDevice,
    /// `SG_DXFER_FROM_DEV`
    FromDevice,
}

impl Direction {
    pub(super) fn number(self) -> c_int {
        match self {
            Direction::None => -1,
            Direction::ToDevice => -2,
            Direction::FromDevice => -3,
        }
    }
}

/// `struct sg_io_hdr`: written to the device to send a command, read from it when the command is back.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Header {
    pub(super) interface_id: c_int,
    pub(super) dxfer_direction: c_int,
    pub(super) cmd_len: u8,
    pub(super) mx_sb_len: u8,
    pub(super) iovec_count: u16,
    pub(super) dxfer_len: c_uint,
    pub(super) dxferp: *mut c_void,
    pub(super) cmdp: *mut u8,
    pub(super) sbp: *mut u8,
    /// Milliseconds from dispatch.
    pub(super) timeout: c_uint,
    pub(super) flags: c_uint,
    pub(super) pack_id: c_int,
    pub(super) usr_ptr: *mut c_void,
    pub(super) status: u8,
    pub(super) masked_status: u8,
    pub(super) msg_status: u8,
    pub(super) sb_len_wr: u8,
    pub(super) host_status: u16,
    pub(super) driver_status: u16,
    /// How many of the `dxfer_len` bytes were not transferred.
    pub(super) resid: c_int,
    pub(super) duration: c_uint,
    pub(super) info: c_uint,
}

nix::ioctl_readwrite_bad!(sg_io, SG_IO, Header);

// The layout is the kernel's: these check the compiler's result against `include/scsi/sg.h`.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Header>() == 88);
    assert!(align_of::<Header>() == 8);
    assert!(offset_of!(Header, dxferp) == 16);
    assert!(offset_of!(Header, sbp) == 32);
    assert!(offset_of!(Header, pack_id) == 48);
    assert!(offset_of!(Header, usr_ptr) == 56);
    assert!(offset_of!(Header, status) == 64);
    assert!(offset_of!(Header, host_status) == 68);
    assert!(offset_of!(Header, info) == 80);
};
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Header>() == 64 && align_of::<Header>() == 4);

impl Header {
    /// A header that asks for nothing.
    pub(super) fn empty() -> Header {
        Header {
            interface_id: INTERFACE_ID,
            dxfer_direction: Direction::None.number(),
            cmd_len: 0,
            mx_sb_len: 0,
            iovec_count: 0,
            dxfer_len: 0,
            dxferp: ptr::null_mut(),
            cmdp: ptr::null_mut(),
            sbp: ptr::null_mut(),
            timeout: 0,
            flags: 0,
            pack_id: 0,
            usr_ptr: ptr::null_mut(),
            status: 0,
            masked_status: 0,
            msg_status: 0,
            sb_len_wr: 0,
            host_status: 0,
            driver_status: 0,
            resid: 0,
            duration: 0,
            info: 0,
        }
    }
}

/// `struct sg_scsi_id`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct ScsiId {
    pub(super) host_no: c_int,
    pub(super) channel: c_int,
    pub(super) scsi_id: c_int,
    /// The low 32 bits of the logical unit number.
    pub(super) lun: c_int,
    pub(super) scsi_type: c_int,
    pub(super) h_cmd_per_lun: i16,
    pub(super) d_queue_depth: i16,
    pub(super) unused: [c_int; 2],
}

const _: () = assert!(size_of::<ScsiId>() == 32);
