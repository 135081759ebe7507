//! The three device-mapper ioctls that the `devicemapper` crate cannot do for us: resume and remove with a cookie of
//! our own, and the list of devices with UUIDs.
//!
//! Layouts are those of `<linux/dm-ioctl.h>`, interface version 4.37 and later.

use crate::psa::units::DevT;
use nix::errno::Errno;
use std::fs::File;
use std::mem::size_of;
use std::os::fd::AsRawFd;

/// `DM_SKIP_LOCKFS_FLAG`: do not freeze the file system above.
pub(super) const SKIP_LOCKFS: u32 = 1 << 10;
/// `DM_NOFLUSH_FLAG`: do not push I/O out, and fail none that waits for a path.
pub(super) const NOFLUSH: u32 = 1 << 11;
/// `DM_BUFFER_FULL_FLAG`, from the kernel: the answer did not fit.
const BUFFER_FULL: u32 = 1 << 8;
/// `DM_UEVENT_GENERATED_FLAG`, from the kernel: udev will see the cookie.
pub(super) const UEVENT_GENERATED: u32 = 1 << 13;
/// `DM_UUID_FLAG`: in `DM_LIST_DEVICES`, list UUIDs too.
const WITH_UUID: u32 = 1 << 14;
/// `DM_NAME_LIST_FLAG_HAS_UUID`, per record of the list.
const HAS_UUID: u32 = 1;

/// `struct dm_ioctl`, the header of every call.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 312);

nix::ioctl_readwrite!(list_devices, 0xfd, 2, Header);
nix::ioctl_readwrite!(remove_device, 0xfd, 4, Header);
nix::ioctl_readwrite!(suspend_device, 0xfd, 6, Header);

/// Which map is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    Name(&'a str),
    Uuid(&'a str),
}

impl Header {
    fn new(flags: u32, data_size: usize) -> Result<Self, Errno> {
        Ok(Header {
            version: [4, 37, 0],
            data_size: u32::try_from(data_size).map_err(|_| Errno::E2BIG)?,
            data_start: HEADER as u32,
            target_count: 0,
            open_count: 0,
            flags,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: [0; 128],
            uuid: [0; 129],
            data: [0; 7],
        })
    }

    fn of(which: Which<'_>, flags: u32, event_nr: u32) -> Result<Self, Errno> {
        let mut header = Header {
            event_nr,
            ..Header::new(flags, HEADER)?
        };
        match which {
            Which::Name(name) => put(&mut header.name, name)?,
            Which::Uuid(uuid) => put(&mut header.uuid, uuid)?,
        }
        Ok(header)
    }
}

/// Copies a text, leaving room for the final zero.
fn put(field: &mut [u8], text: &str) -> Result<(), Errno> {
    if text.len() >= field.len() || text.contains('\0') {
        return Err(Errno::ENAMETOOLONG);
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

/// `DM_DEV_SUSPEND` without its suspend flag: makes an inactive table live, and lets I/O run. Answers the flags of
/// the kernel.
pub(super) fn resume(
    control: &File,
    which: Which<'_>,
    flags: u32,
    cookie: u32,
) -> Result<u32, Errno> {
    let mut header = Header::of(which, flags, cookie)?;
    // SAFETY: the header is a complete `struct dm_ioctl` whose `data_size` is its own size, so the kernel reads and
    // writes nothing beyond it; the descriptor is open for as long as `control` is borrowed.
    // JUSTIFICATION: no safe wrapper of this ioctl exists that does not wait for udev.
    unsafe { suspend_device(control.as_raw_fd(), &raw mut header) }?;
    Ok(header.flags)
}

/// `DM_DEV_REMOVE`, refused with `EBUSY` while somebody has the map open. Answers the flags of the kernel.
pub(super) fn remove(control: &File, which: Which<'_>, cookie: u32) -> Result<u32, Errno> {
    let mut header = Header::of(which, 0, cookie)?;
    // SAFETY: as in `resume`.
    // JUSTIFICATION: as in `resume`.
    unsafe { remove_device(control.as_raw_fd(), &raw mut header) }?;
    Ok(header.flags)
}

/// One dm device of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// dm name.
    pub name: String,
    /// dm UUID; empty if it has none.
    pub uuid: String,
    /// Its device number.
    pub dev: DevT,
    /// Its event counter.
    pub event_nr: u32,
}

/// `DM_LIST_DEVICES` with UUIDs (Linux 5.13 and later). Devices whose name is not UTF-8 are left out: none of ours.
pub(super) fn list(control: &File) -> Result<Vec<Listed>, Errno> {
    let mut size = 64 * 1024;
    loop {
        // Of `u64`, so that the header in it is aligned.
        let mut buffer = vec![0u64; size / 8];
        let header = Header::new(WITH_UUID, size)?;
        let start = buffer.as_mut_ptr().cast::<Header>();
        // SAFETY: the buffer is larger than a header and aligned for it.
        // JUSTIFICATION: the kernel wants header and answer in one piece of memory.
        unsafe { start.write(header) };
        // SAFETY: `data_size` in the header is the size of the buffer, and the kernel writes no further; the buffer
        // outlives the call.
        // JUSTIFICATION: the crate's list knows no UUIDs and fails as a whole on one name that is not ASCII.
        unsafe { list_devices(control.as_raw_fd(), start) }?;
        // SAFETY: the kernel left a header there.
        // JUSTIFICATION: as above.
        let header = unsafe { start.read() };
        if header.flags & BUFFER_FULL != 0 {
            // Newer kernels return what fits, older ones nothing: all or nothing suits us.
            size = size.checked_mul(2).ok_or(Errno::E2BIG)?;
            continue;
        }
        let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let range = header.data_start as usize..header.data_size as usize;
        return Ok(read_list(bytes.get(range).unwrap_or_default()));
    }
}

/// Reads a chain of `struct dm_name_list`: device number (`u64`), distance to the next record (`u32`), name; then,
/// at the next multiple of 8, event number and flags (`u32` each) and the UUID.
fn read_list(data: &[u8]) -> Vec<Listed> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((listed, next)) = data.get(at..).and_then(read_record) {
        out.extend(listed);
        if next == 0 {
            break;
        }
        at += next;
    }
    out
}

fn read_record(record: &[u8]) -> Option<(Option<Listed>, usize)> {
    let u32_at = |at: usize| {
        let bytes = record.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let dev = record.get(..8)?;
    let dev = u64::from_ne_bytes(dev.try_into().ok()?);
    if dev == 0 {
        // An empty list is one record without a device.
        return None;
    }
    let next = u32_at(8)? as usize;
    let name = text(record.get(12..)?)?;
    let event_at = (12 + name.len() + 1).next_multiple_of(8);
    let event_nr = u32_at(event_at)?;
    let uuid = match u32_at(event_at + 4)? & HAS_UUID {
        0 => &[],
        _ => text(record.get(event_at + 8..)?)?,
    };
    let listed = match (str::from_utf8(name), str::from_utf8(uuid)) {
        (Ok(name), Ok(uuid)) => Some(Listed {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            dev: huge(dev),
            event_nr,
        }),
        _ => None,
    };
    Some((listed, next))
}

/// Bytes up to a zero.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|&byte| byte == 0).next()
}

/// The kernel's "huge" encoding of a device number: `mmmM MMmm`.
fn huge(dev: u64) -> DevT {
    let dev = dev as u32;
    DevT {
        major: (dev >> 8) & 0xfff,
        minor: (dev & 0xff) | ((dev >> 12) & 0xf_ff00),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(dev: u64, name: &[u8], event_nr: u32, uuid: Option<&[u8]>, last: bool) -> Vec<u8> {
        let mut out = dev.to_ne_bytes().to_vec();
        out.extend([0; 4]);
        out.extend(name);
        out.push(0);
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(event_nr.to_ne_bytes());
        out.extend(u32::from(uuid.is_some()).to_ne_bytes());
        if let Some(uuid) = uuid {
            out.extend(uuid);
            out.push(0);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        if !last {
            let next = out.len() as u32;
            out[8..12].copy_from_slice(&next.to_ne_bytes());
        }
        out
    }

    #[test]
    fn reads_a_list_with_odd_neighbours() {
        let mut data = record(0xfd00, b"vg-root", 0, Some(b"LVM-abc"), false);
        data.extend(record(0xfd01, b"plain", 7, None, false));
        data.extend(record(0xfd02, b"caf\xe9", 0, None, false));
        // A minor number beyond 8 bits has its upper part at the top.
        data.extend(record(0x0010_fd2c, b"naa.6", 9, Some(b"mpath-36"), true));
        let list = read_list(&data);
        let names: Vec<&str> = list.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names, ["vg-root", "plain", "naa.6"]);
        assert_eq!(list[1].uuid, "");
        let expected = Listed {
            name: "naa.6".into(),
            uuid: "mpath-36".into(),
            dev: DevT {
                major: 253,
                minor: 300,
            },
            event_nr: 9,
        };
        assert_eq!(list[2], expected);
    }

    #[test]
    fn survives_an_empty_and_a_cut_list() {
        assert_eq!(read_list(&[]), []);
        assert_eq!(read_list(&[0; 16]), []);
        let whole = record(0xfd00, b"x", 0, Some(b"mpath-1"), true);
        for end in 0..whole.len() {
            let _ = read_list(&whole[..end]);
        }
    }

    #[test]
    fn refuses_names_that_do_not_fit() {
        assert!(Header::of(Which::Name(&"x".repeat(127)), 0, 0).is_ok());
        assert!(Header::of(Which::Name(&"x".repeat(128)), 0, 0).is_err());
        assert!(Header::of(Which::Uuid(&"x".repeat(128)), 0, 0).is_ok());
    }
}
