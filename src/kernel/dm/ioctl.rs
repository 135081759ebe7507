//! Our own device-mapper ioctls, where the `devicemapper` crate does not suffice.
//!
//! The crate cannot resume or remove with a cookie of our own, and its list of devices has no UUIDs. The calls that are
//! made for each map again and again while nothing happens are here too: the crate allocates and clears 16 KiB for each
//! call, and copies all texts twice.
//!
//! Layouts are those of `<linux/dm-ioctl.h>`, interface version 4.37 and later.

use crate::psa::units::DevT;
use nix::errno::Errno;
use std::ffi::c_int;
use std::fs::File;
use std::mem::{offset_of, size_of};
use std::os::fd::AsRawFd;

/// `DM_READONLY_FLAG`, from the kernel: the map takes no writes.
const READ_ONLY: u32 = 1;
/// `DM_SUSPEND_FLAG`, from the kernel: no I/O runs.
const SUSPEND: u32 = 1 << 1;
/// `DM_STATUS_TABLE_FLAG`: makes `DM_TABLE_STATUS` return the table instead of the status.
const STATUS_TABLE: u32 = 1 << 4;
/// `DM_SKIP_LOCKFS_FLAG`: do not freeze the file system above.
pub(super) const SKIP_LOCKFS: u32 = 1 << 10;
/// `DM_NOFLUSH_FLAG`: do not flush I/O, and fail no I/O that waits for a path.
pub(super) const NOFLUSH: u32 = 1 << 11;
/// `DM_BUFFER_FULL_FLAG`, from the kernel: the answer did not fit into the buffer.
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
pub(super) struct Header {
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
const _: () = {
    assert!(HEADER == 312);
    assert!(offset_of!(Header, dev) == 40);
    assert!(offset_of!(Header, name) == 48);
    assert!(offset_of!(Header, uuid) == 176);
    assert!(offset_of!(Header, data) == 305);
};

nix::ioctl_readwrite!(list_devices, 0xfd, 2, Header);
nix::ioctl_readwrite!(remove_device, 0xfd, 4, Header);
nix::ioctl_readwrite!(suspend_device, 0xfd, 6, Header);
nix::ioctl_readwrite!(device_status, 0xfd, 7, Header);
nix::ioctl_readwrite!(table_status, 0xfd, 12, Header);
nix::ioctl_readwrite!(arm_poll, 0xfd, 16, Header);

/// An ioctl of those above.
type Call = unsafe fn(c_int, *mut Header) -> nix::Result<c_int>;

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

    /// In an answer: whether the map is suspended.
    pub(super) fn suspended(&self) -> bool {
        self.flags & SUSPEND != 0
    }

    /// Whether the map is read-only.
    pub(super) fn read_only(&self) -> bool {
        self.flags & READ_ONLY != 0
    }

    /// How often the map is open.
    pub(super) fn open_count(&self) -> u32 {
        u32::try_from(self.open_count).unwrap_or_default()
    }

    /// The event counter of the map.
    pub(super) fn event_nr(&self) -> u32 {
        self.event_nr
    }

    /// How many targets the live table has.
    pub(super) fn target_count(&self) -> u32 {
        self.target_count
    }

    /// The device number of the map.
    pub(super) fn dev(&self) -> DevT {
        huge(self.dev)
    }

    /// The UUID of the map: empty if it has none, `None` if it is not UTF-8 text.
    pub(super) fn uuid(&self) -> Option<&str> {
        str::from_utf8(text(&self.uuid)?).ok()
    }
}

/// Copies a text, leaving at least one byte for the final zero.
fn put(field: &mut [u8], text: &str) -> Result<(), Errno> {
    if text.len() >= field.len() || text.contains('\0') {
        return Err(Errno::ENAMETOOLONG);
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

/// `DM_DEV_SUSPEND` without its suspend flag: makes an inactive table live, and lets I/O run. Returns the flags that
/// the kernel set.
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

/// `DM_DEV_REMOVE`, refused with `EBUSY` while somebody has the map open. Returns the flags that the kernel set.
pub(super) fn remove(control: &File, which: Which<'_>, cookie: u32) -> Result<u32, Errno> {
    let mut header = Header::of(which, 0, cookie)?;
    // SAFETY: as in `resume`.
    // JUSTIFICATION: as in `resume`.
    unsafe { remove_device(control.as_raw_fd(), &raw mut header) }?;
    Ok(header.flags)
}

/// `DM_DEV_ARM_POLL`: the descriptor becomes readable at the next event.
pub(super) fn arm(control: &File) -> Result<(), Errno> {
    let mut header = Header::new(0, HEADER)?;
    // SAFETY: as in `resume`.
    // JUSTIFICATION: the safe wrapper allocates and clears 16 KiB; this is called with every event.
    unsafe { arm_poll(control.as_raw_fd(), &raw mut header) }?;
    Ok(())
}

/// `DM_DEV_STATUS`: the header of a map, without its table.
pub(super) fn status(control: &File, which: Which<'_>) -> Result<Header, Errno> {
    let mut header = Header::of(which, 0, 0)?;
    // SAFETY: as in `resume`.
    // JUSTIFICATION: the safe wrapper allocates and clears 16 KiB; this is called for every map every few seconds.
    unsafe { device_status(control.as_raw_fd(), &raw mut header) }?;
    Ok(header)
}

/// A buffer for answers that are longer than a header. It is kept from call to call, and is as large as the longest
/// answer so far.
#[derive(Default)]
pub(super) struct Buffer(Vec<u8>);

/// An answer that is longer than a header.
pub(super) struct Answer<'a> {
    pub(super) header: Header,
    /// What follows the header.
    pub(super) data: &'a [u8],
}

impl Buffer {
    /// Enough for a map with a hundred paths.
    const LEAST: usize = 4 << 10;
    /// More than any map or list needs.
    const MOST: usize = 16 << 20;

    /// Repeats the call with a larger buffer until the answer fits.
    fn answer(&mut self, control: &File, call: Call, ask: Header) -> Result<Answer<'_>, Errno> {
        if self.0.is_empty() {
            self.0.resize(Self::LEAST, 0);
        }
        let header = loop {
            let size = self.0.len();
            let header = Header {
                data_size: u32::try_from(size).map_err(|_| Errno::E2BIG)?,
                ..ask
            };
            let start = self.0.as_mut_ptr().cast::<Header>();
            // SAFETY: the buffer is larger than a header.
            // JUSTIFICATION: the kernel wants header and answer in one piece of memory.
            unsafe { start.write_unaligned(header) };
            // SAFETY: `data_size` in the header is the size of the buffer, and the kernel writes no further; it needs
            // no alignment. The buffer outlives the call, and the descriptor is open while `control` is borrowed.
            // JUSTIFICATION: the crate's list has no UUIDs, and fails as a whole on one name that is not ASCII; its
            // table and status allocate and clear 16 KiB, and copy each text twice.
            unsafe { call(control.as_raw_fd(), start) }?;
            // SAFETY: the kernel left a header there.
            // JUSTIFICATION: as above.
            let header = unsafe { start.read_unaligned() };
            if header.flags & BUFFER_FULL == 0 {
                break header;
            }
            if size >= Self::MOST {
                return Err(Errno::E2BIG);
            }
            // Newer kernels return the part that fits, older ones nothing. A partial answer is not used.
            self.0.resize(size * 2, 0);
        };
        // Without an answer `data_size` is below `data_start`.
        let range = header.data_start as usize..header.data_size as usize;
        let data = self.0.get(range).unwrap_or_default();
        Ok(Answer { header, data })
    }

    /// `DM_TABLE_STATUS` of the live table: the text of the table.
    pub(super) fn table(&mut self, control: &File, which: Which<'_>) -> Result<Answer<'_>, Errno> {
        let ask = Header::of(which, NOFLUSH | STATUS_TABLE, 0)?;
        self.answer(control, table_status, ask)
    }

    /// `DM_TABLE_STATUS` of the live table: the text of the status.
    pub(super) fn status(&mut self, control: &File, which: Which<'_>) -> Result<Answer<'_>, Errno> {
        let ask = Header::of(which, NOFLUSH, 0)?;
        self.answer(control, table_status, ask)
    }

    /// `DM_LIST_DEVICES` with UUIDs (Linux 5.13 and later). Devices whose name is not UTF-8 are left out; no map of the
    /// agent has such a name.
    pub(super) fn list(&mut self, control: &File) -> Result<Vec<Listed<'_>>, Errno> {
        let ask = Header::new(WITH_UUID, HEADER)?;
        let answer = self.answer(control, list_devices, ask)?;
        Ok(read_list(answer.data))
    }
}

/// One target of a table or of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Its first sector.
    pub(super) start: u64,
    /// Its length in sectors.
    pub(super) length: u64,
    /// The name of its type.
    pub(super) kind: &'a str,
    /// Its parameters or its status.
    pub(super) text: &'a str,
}

impl<'a> Answer<'a> {
    /// The targets of a table or of its status; `None` if the data do not have that form. A map without a table has no
    /// targets.
    pub(super) fn targets(&self) -> Option<Vec<Target<'a>>> {
        read_targets(self.data, self.header.target_count)
    }
}

/// Reads a chain of `struct dm_target_spec`: first sector and length (`u64` each), status (`i32`, unused), offset of
/// the next record from the first one (`u32`), type (16 bytes); then the text.
fn read_targets(data: &[u8], count: u32) -> Option<Vec<Target<'_>>> {
    const TYPE: usize = 24;
    const TEXT: usize = 40;
    let mut out = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let record = data.get(at..)?;
        out.push(Target {
            start: u64_at(record, 0)?,
            length: u64_at(record, 8)?,
            kind: str::from_utf8(text(record.get(TYPE..TEXT)?)?).ok()?,
            text: str::from_utf8(text(record.get(TEXT..)?)?).ok()?,
        });
        let next = u32_at(record, 20)? as usize;
        // Each record must lie behind the one before, or a wrong `count` could repeat one record billions of times.
        if next < at + TEXT {
            return None;
        }
        at = next;
    }
    Some(out)
}

/// One dm device of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed<'a> {
    /// dm name.
    pub(super) name: &'a str,
    /// dm UUID; empty if it has none.
    pub(super) uuid: &'a str,
    /// Its device number.
    pub(super) dev: DevT,
    /// Its event counter.
    pub(super) event_nr: u32,
}

/// Reads a chain of `struct dm_name_list`: device number (`u64`), distance to the next record (`u32`), name; then,
/// at the next multiple of 8, event number and flags (`u32` each) and the UUID.
fn read_list(data: &[u8]) -> Vec<Listed<'_>> {
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

fn read_record(record: &[u8]) -> Option<(Option<Listed<'_>>, usize)> {
    let dev = u64_at(record, 0)?;
    if dev == 0 {
        // An empty list is one record without a device.
        return None;
    }
    let next = u32_at(record, 8)? as usize;
    let name = text(record.get(12..)?)?;
    let event_at = (12 + name.len() + 1).next_multiple_of(8);
    let event_nr = u32_at(record, event_at)?;
    let uuid = match u32_at(record, event_at + 4)? & HAS_UUID {
        0 => &[],
        _ => text(record.get(event_at + 8..)?)?,
    };
    let listed = match (str::from_utf8(name), str::from_utf8(uuid)) {
        (Ok(name), Ok(uuid)) => Some(Listed {
            name,
            uuid,
            dev: huge(dev),
            event_nr,
        }),
        _ => None,
    };
    Some((listed, next))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

/// The bytes before the first zero; `None` if there is no zero, because the text was cut off.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    bytes.get(..end)
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
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer with these targets: first sector, length, type, text.
    pub(in super::super) fn data(targets: &[(u64, u64, &str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (start, length, kind, text) in targets {
            out.resize(out.len().next_multiple_of(8), 0xaa);
            let at = out.len();
            out.extend(start.to_ne_bytes());
            out.extend(length.to_ne_bytes());
            out.extend([0; 8]);
            out.extend(kind.as_bytes());
            out.resize(at + 40, 0);
            out.extend(text.as_bytes());
            out.push(0);
            let next = out.len().next_multiple_of(8) as u32;
            out[at + 20..at + 24].copy_from_slice(&next.to_ne_bytes());
        }
        out
    }

    /// The answer for map 253:7, at event 5, opened twice.
    pub(in super::super) fn answer(data: &[u8], count: u32) -> Answer<'_> {
        let mut header = Header::of(Which::Uuid("mpath-36"), 0, 5).unwrap();
        header.target_count = count;
        header.open_count = 2;
        header.dev = 0xfd07;
        Answer { header, data }
    }

    impl Answer<'_> {
        /// The same for a map that is suspended, or opened `open_count` times.
        pub(in super::super) fn but(mut self, suspended: bool, open_count: i32) -> Self {
            self.header.flags = if suspended { SUSPEND } else { 0 };
            self.header.open_count = open_count;
            self
        }
    }

    #[test]
    fn reads_targets() {
        let wanted = [
            (0, 2048, "multipath", "2 0 0 0"),
            (2048, 8, "error", ""),
            (2056, 1, "abcdefghijklmno", "x"),
        ];
        let data = data(&wanted);
        let targets = answer(&data, 3).targets().unwrap();
        let as_tuples = targets
            .iter()
            .map(|target| (target.start, target.length, target.kind, target.text));
        assert!(as_tuples.eq(wanted));
        assert_eq!(answer(&[], 0).targets(), Some(vec![]));
        for end in 0..data.len() {
            assert_eq!(answer(&data[..end], 3).targets(), None);
        }
    }

    #[test]
    fn trusts_no_count() {
        let mut data = data(&[(0, 8, "multipath", "x")]);
        assert_eq!(read_targets(&data, u32::MAX), None);
        for next in [0u32, 39, u32::MAX] {
            data[20..24].copy_from_slice(&next.to_ne_bytes());
            assert_eq!(read_targets(&data, u32::MAX), None);
        }
        let mut data = data[..].to_vec();
        data[41] = 0xff;
        assert_eq!(read_targets(&data, 1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes in prop::collection::vec(0u8..50, 0..400), count: u32) {
            let _ = read_targets(&bytes, count);
            let _ = read_list(&bytes);
        }
    }

    const ANSWER: usize = 10_000;

    /// A kernel whose answer has [`ANSWER`] bytes.
    unsafe fn kernel(_: c_int, start: *mut Header) -> nix::Result<c_int> {
        // SAFETY: the caller has a header there.
        // JUSTIFICATION: it plays the kernel.
        let mut header = unsafe { start.read_unaligned() };
        let end = HEADER + ANSWER;
        if (header.data_size as usize) < end {
            header.flags |= BUFFER_FULL;
        } else {
            header.flags &= !BUFFER_FULL;
            header.data_size = end as u32;
            // SAFETY: `data_size` says that the buffer is large enough.
            // JUSTIFICATION: as above.
            unsafe { start.cast::<u8>().add(HEADER).write_bytes(7, ANSWER) };
        }
        // SAFETY: as above.
        // JUSTIFICATION: as above.
        unsafe { start.write_unaligned(header) };
        Ok(0)
    }

    /// A kernel that never finds the buffer large enough, or returns a wrong position of its answer.
    unsafe fn nonsense(_: c_int, start: *mut Header) -> nix::Result<c_int> {
        // SAFETY: the caller has a header there.
        // JUSTIFICATION: it plays the kernel.
        let mut header = unsafe { start.read_unaligned() };
        header.data_size = u32::MAX;
        // SAFETY: as above.
        // JUSTIFICATION: as above.
        unsafe { start.write_unaligned(header) };
        Ok(0)
    }

    #[test]
    fn a_buffer_grows_to_the_answer_and_no_further() {
        let null = File::open("/dev/null").unwrap();
        let ask = Header::new(0, HEADER).unwrap();
        let mut buffer = Buffer::default();
        for _ in 0..2 {
            let answer = buffer.answer(&null, kernel, ask).unwrap();
            assert_eq!(answer.data, [7; ANSWER]);
            assert_eq!(buffer.0.len(), 16 << 10);
        }
        let answer = buffer.answer(&null, nonsense, ask).unwrap();
        assert!(answer.data.is_empty());
        let full = Header::new(BUFFER_FULL, HEADER).unwrap();
        assert!(matches!(
            buffer.answer(&null, nonsense, full),
            Err(Errno::E2BIG)
        ));
        assert_eq!(buffer.0.len(), Buffer::MOST);
    }

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
        let names: Vec<&str> = list.iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["vg-root", "plain", "naa.6"]);
        assert_eq!(list[1].uuid, "");
        let expected = Listed {
            name: "naa.6",
            uuid: "mpath-36",
            dev: DevT {
                major: 253,
                minor: 300,
            },
            event_nr: 9,
        };
        assert_eq!(list[2], expected);
    }

    #[test]
    fn handles_an_empty_and_a_truncated_list() {
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
