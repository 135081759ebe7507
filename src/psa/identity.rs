//! Identifies the logical unit behind a path.
//!
//! Input: the Device Identification VPD page (83h) as the path returned it. Output: a [`Listing`] of every name that
//! the page gives to the logical unit, or a [`Problem`]. [`crate::psa::state::proof`] decides what follows for a path
//! that is already known. Invariant: nothing is guessed. A page that is truncated, that is another page, or that names
//! no logical unit proves nothing, and a path without proof carries no I/O. Complete designators before an incomplete
//! one do count.
//!
//! # Two names
//!
//! A logical unit has two names. The name that ESXi gives it ([`LogicalUnit::device_id`]) becomes the dm name. The WWID
//! that udev gives it as `ID_SERIAL` ([`LogicalUnit::wwid`]) becomes the dm UUID, after `mpath-`: LVM, dracut, kpartx
//! and fstab identify maps by it, and maps of multipath-tools can be taken over.
//!
//! # Where the rules come from
//!
//! Only designators with association "logical unit" count. The first usable one wins, in this order:
//!
//! | designator | device id | WWID |
//! |---|---|---|
//! | NAA 6 (16 bytes), then NAA 5, then NAA 2 (8 bytes) | `naa.` hex | `3` hex |
//! | EUI-64 based (8, 12, 16 bytes) | `eui.` hex | `2` hex |
//! | SCSI name string (`iqn.`, `naa.`, `eui.`) | itself | `8` text |
//! | T10 vendor identification | `t10.` text | `1` text |
//! | any other NAA (3 is locally assigned) | `naa.` hex | `3` hex |
//!
//! - The order and the WWIDs are those of `55-scsi-sg3_id.rules` (Debian's package sg3-utils-udev, on which
//!   multipath-tools depends; compared with the output of `sg_inq --export` 1.46). multipath-tools has the same order
//!   where it reads page 83h itself. Since sg3_utils 1.48 (Debian 13) the rules stop before the last row unless
//!   configured otherwise (`.SCSI_ID_SERIAL_SRC`); dm-psa uses that row, because such a device would have no name at
//!   all.
//! - `scsi_id` of systemd sets `ID_SERIAL` only where the sg3 rules are not installed. It prefers any NAA to EUI-64 and
//!   T10, and does not know name strings: a device with NAA 3 and T10 (scsi_debug) has another `ID_SERIAL` there.
//! - Of two designators of the same kind the last one wins, because the sg3 rules import both into one variable.
//!   (`scsi_id`, and multipath-tools where it reads the page itself, take the first. A map that is named by the first
//!   keeps its name, because any name that page 83h lists identifies the unit.)
//! - A designator that might name many units is skipped: one of the wrong length, one in a code set that its type does
//!   not have (NAA in ASCII), one of zeros, or a T10 designator with only the vendor's name.
//! - WWID of T10 text as `sg_inq` prints it: NULs removed, no blanks at the ends, each run of blanks inside replaced by
//!   one `_`, bytes outside of ASCII and control characters by `.`, and anything except letters, digits and `#+-.:=@_`
//!   by `\xNN`. In code set binary: hex. multipath-tools, where it reads the page itself, does not escape, and drops
//!   the first four characters of a name string; it does so only where udev has no `ID_SERIAL`.
//! - A SATA disk has a T10 designator `ATA     MODEL SERIAL`. The sg3 rules prefer it to all others and omit its `ATA_`
//!   and the leading `1`, to agree with `ata_id`. The WWID follows them; the device id follows the table.
//! - Device id of T10 text as ESXi prints it (`t10.ATA_____WDC_WD40EFRX2D68WT0N0___...`): each blank becomes `_`,
//!   letters, digits and `_` stay, other bytes become two upper-case hex digits. (Derived from published listings. For
//!   a T10 designator in code set binary, ESXi swaps nibbles; that is not imitated.)
//!
//! # Limits of device-mapper
//!
//! A dm name has at most 127 bytes and a UUID at most 128 (`DM_NAME_LEN` and `DM_UUID_LEN` in `linux/dm-ioctl.h`
//! include a NUL). A name must not contain `/`, and must not be `.`, `..` or `control`. libdm mangles everything except
//! letters, digits and `#+-.:=@_`, so that tools would print a name that differs from the kernel's. [`safe_name`] keeps
//! device ids within these limits.

use crate::psa::names::{DeviceId, Wwid};
use crate::scsi::inquiry::PeripheralQualifier;
use crate::scsi::reader::{ParseError, Partly};
use crate::scsi::vpd::{self, CodeSet, Designator, DesignatorType, DeviceIdentification};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest dm name, in bytes.
pub(crate) const NAME_LIMIT: usize = 127;

/// The longest WWID, in bytes: with `mpath-` before it, it is a dm UUID of 128 bytes.
pub(crate) const WWID_LIMIT: usize = 122;

/// The names of a logical unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogicalUnit {
    /// ESXi's device identifier: `naa.6001...`, `eui....`, `t10....`. Always a valid dm name.
    pub device_id: DeviceId,
    /// udev's `ID_SERIAL`: `36001...`.
    pub wwid: Wwid,
}

impl LogicalUnit {
    /// The UUID of its map, `mpath-36001...`.
    #[must_use]
    pub fn dm_uuid(&self) -> String {
        format!("mpath-{}", self.wwid)
    }
}

impl fmt::Display for LogicalUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.device_id.as_str())
    }
}

/// Why a page does not identify the logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Problem {
    /// The page cannot be read: what is wrong with it, and where.
    Unreadable(String),
    /// PERIPHERAL QUALIFIER says that there is no logical unit.
    NoLogicalUnit(PeripheralQualifier),
    /// No designator names the logical unit reliably.
    NoDesignator {
        /// How many designators of the logical unit were skipped.
        passed_over: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(why) => write!(f, "VPD page 83h cannot be read: {why}"),
            Problem::NoLogicalUnit(qualifier) => write!(
                f,
                "there is no logical unit behind this LUN (PERIPHERAL QUALIFIER {:03b}b)",
                qualifier.bits()
            ),
            Problem::NoDesignator { passed_over: 0 } => {
                f.write_str("VPD page 83h does not name the logical unit")
            }
            Problem::NoDesignator { passed_over } => write!(
                f,
                "VPD page 83h has no usable designator for the logical unit ({passed_over} designators skipped)"
            ),
        }
    }
}

/// What a Device Identification page says about its logical unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The name for a new device.
    pub best: LogicalUnit,
    /// Every name that the page lists, with its rank; the best rank comes first.
    names: Vec<(u8, LogicalUnit)>,
    /// TARGET PORT GROUP of the path.
    pub port_group: Option<u16>,
    /// RELATIVE TARGET PORT IDENTIFIER of the path.
    pub relative_port: Option<u16>,
    /// The part of the page that could not be read, behind the designators that count.
    pub remark: Option<String>,
}

impl Listing {
    /// Parses a page.
    ///
    /// # Errors
    /// The [`Problem`], if the page names no logical unit.
    pub fn parse(page83: &[u8]) -> Result<Listing, Problem> {
        let unreadable = |error: ParseError| Problem::Unreadable(error.to_string());
        let header = vpd::page(vpd::DEVICE_IDENTIFICATION, page83).map_err(unreadable)?;
        if header.peripheral_qualifier != PeripheralQualifier::Connected {
            return Err(Problem::NoLogicalUnit(header.peripheral_qualifier));
        }
        // A complete designator counts, whatever follows it.
        let Partly {
            value: page,
            missing,
            ..
        } = DeviceIdentification::of_page(header);
        let mut names: Vec<(u8, LogicalUnit)> = page.logical_unit().filter_map(name).collect();
        // Of two names with the same rank, the last on the page is better.
        names.reverse();
        names.sort_by_key(|(rank, _)| *rank);
        let Some((_, best)) = names.first() else {
            return Err(match missing {
                Some(error) => unreadable(error),
                None => Problem::NoDesignator {
                    passed_over: page.logical_unit().count(),
                },
            });
        };
        let mut best = best.clone();
        if let Some(ata) = page.logical_unit().find_map(ata_wwid) {
            best.wwid = ata;
        }
        Ok(Listing {
            best,
            port_group: page.target_port_group(),
            relative_port: page.relative_target_port(),
            remark: missing.map(|error| error.to_string()),
            names,
        })
    }

    /// Every name: the best first, then the others in order.
    pub fn names(&self) -> impl Iterator<Item = &LogicalUnit> {
        let others = self.names.iter().map(|(_, unit)| unit);
        std::iter::once(&self.best).chain(others.filter(|unit| **unit != self.best))
    }

    /// The name with this WWID, if the page lists it.
    #[must_use]
    pub fn find(&self, wwid: &Wwid) -> Option<&LogicalUnit> {
        self.names().find(|unit| unit.wwid == *wwid)
    }

    /// The part that is compared with other pages.
    #[must_use]
    pub(crate) fn ranked(&self) -> Names {
        let names = self.names.iter();
        names
            .map(|(rank, unit)| (*rank, unit.wwid.clone()))
            .collect()
    }
}

/// The names of a page by WWID, each with its rank; the best rank comes first.
pub type Names = Vec<(u8, Wwid)>;

/// Whether two pages that both list this WWID belong to different units nevertheless. They do if a name of the same or
/// a better kind differs. In that case the units share this name (a T10 text without a serial number, a name of the
/// enclosure), and it proves nothing.
#[must_use]
pub(crate) fn contradict(one: &[(u8, Wwid)], other: &[(u8, Wwid)], wwid: &Wwid) -> bool {
    let of = |names: &[(u8, Wwid)], rank: u8| -> Vec<Wwid> {
        let others = names.iter();
        let others = others.filter(|(other, name)| *other == rank && name != wwid);
        others.map(|(_, name)| name.clone()).collect()
    };
    let Some((rank, _)) = one.iter().find(|(_, name)| name == wwid) else {
        return false;
    };
    (0..=*rank).any(|rank| {
        let (one, other) = (of(one, rank), of(other, rank));
        !one.is_empty() && !other.is_empty() && !one.iter().any(|name| other.contains(name))
    })
}

/// Whether a WWID has the form of the names that page 83h lists. Maps can be named by something else: `ID_WWN`, a
/// serial number of page 80h, a name from an admin's udev rule, the name of a SATA disk. A page that does not list such
/// a name does not indicate another unit.
#[must_use]
pub(crate) fn is_of_page83(wwid: &Wwid) -> bool {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match wwid.as_str().split_at_checked(1) {
        Some(("1", text)) => !text.is_empty(),
        Some(("2" | "3", text)) => matches!(text.len(), 16 | 24 | 32) && hex(text),
        Some(("8", text)) => ["iqn.", "naa.", "eui."].iter().any(|s| text.starts_with(s)),
        _ => false,
    }
}

/// The device id that corresponds to a WWID, as far as it can be derived.
pub(in crate::psa) fn device_id_of(wwid: &Wwid) -> DeviceId {
    let hex = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit());
    DeviceId::from(match wwid.as_str().split_at_checked(1) {
        Some(("3", rest)) if hex(rest) => format!("naa.{rest}"),
        Some(("2", rest)) if hex(rest) => format!("eui.{rest}"),
        _ => safe_name(wwid.as_str()),
    })
}

/// Whether a map may have this name, which is not the id of its device: device-mapper accepts it, and it is not the id of
/// another device, whose own map could not be made then.
pub(crate) fn is_usable_name(name: &str) -> bool {
    let is_id = ["naa.", "eui.", "t10.", "iqn."]
        .iter()
        .any(|begin| name.starts_with(begin));
    !is_id && !name.is_empty() && safe_name(name) == name
}

/// The logical unit that a Device Identification page names.
///
/// # Errors
/// The [`Problem`], if it names none.
pub fn identify(page83: &[u8]) -> Result<LogicalUnit, Problem> {
    Listing::parse(page83).map(|listing| listing.best)
}

/// The rank of a designator (0 is the best) and the names derived from it; `None` if the designator is not reliable.
fn name(designator: &Designator) -> Option<(u8, LogicalUnit)> {
    let bytes = designator.bytes.as_slice();
    let binary = designator.code_set == CodeSet::Binary;
    let (rank, device_id, wwid) = match designator.designator_type {
        DesignatorType::Naa if binary => {
            let rank = match (bytes.first()? >> 4, bytes.len()) {
                (6, 16) => 0,
                (5, 8) => 1,
                (2, 8) => 2,
                (2 | 5 | 6, _) => return None,
                (_, 8 | 16) if bytes.iter().any(|&b| b != 0) => 6,
                _ => return None,
            };
            let hex = hex(bytes);
            (rank, format!("naa.{hex}"), format!("3{hex}"))
        }
        DesignatorType::Eui64 if binary => {
            if !matches!(bytes.len(), 8 | 12 | 16) || bytes.iter().all(|&b| b == 0) {
                return None;
            }
            let hex = hex(bytes);
            (3, format!("eui.{hex}"), format!("2{hex}"))
        }
        DesignatorType::ScsiNameString if !binary => {
            let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
            let (scheme, rest) = text.split_at_checked(4)?;
            if rest.trim().is_empty() {
                return None;
            }
            let device_id = match scheme {
                "naa." | "eui." => text.to_ascii_lowercase(),
                "iqn." => text.to_owned(),
                _ => return None,
            };
            (4, device_id, format!("8{}", udev_text(text.as_bytes())))
        }
        DesignatorType::T10VendorId => {
            // The first eight bytes name the vendor; what follows names the unit.
            let own = bytes.get(8..)?;
            if own.iter().all(|&b| b == 0 || b.is_ascii_whitespace()) {
                return None;
            }
            match designator.code_set {
                CodeSet::Ascii | CodeSet::Utf8 => (
                    5,
                    format!("t10.{}", esxi_text(bytes)),
                    format!("1{}", udev_text(bytes)),
                ),
                CodeSet::Binary | CodeSet::Reserved(_) => {
                    let hex = hex(bytes);
                    (5, format!("t10.{hex}"), format!("1{hex}"))
                }
            }
        }
        _ => return None,
    };
    let unit = LogicalUnit {
        device_id: DeviceId::from(safe_name(&device_id)),
        wwid: Wwid::from(bounded(wwid, WWID_LIMIT)),
    };
    Some((rank, unit))
}

/// `ID_SERIAL` of a SATA disk; see the module documentation.
fn ata_wwid(designator: &Designator) -> Option<Wwid> {
    let text = matches!(designator.code_set, CodeSet::Ascii | CodeSet::Utf8);
    if designator.designator_type != DesignatorType::T10VendorId || !text {
        return None;
    }
    let encoded = udev_text(&designator.bytes);
    let own = encoded.strip_prefix("ATA_")?;
    (!own.is_empty()).then(|| Wwid::from(bounded(own.to_owned(), WWID_LIMIT)))
}

/// Text as `sg_inq --export` prints it for udev.
fn udev_text(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut gap = false;
    for &b in bytes.iter().filter(|&&b| b != 0) {
        if b.is_ascii_whitespace() {
            gap = true;
            continue;
        }
        if gap && !out.is_empty() {
            out.push('_');
        }
        gap = false;
        match b {
            b if is_plain(b) => out.push(char::from(b)),
            0x21..=0x7e => out.push_str(&format!("\\x{b:02x}")),
            _ => out.push('.'),
        }
    }
    out
}

/// Text as ESXi prints it after `t10.`, without the NULs that pad it.
fn esxi_text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last.saturating_add(1));
    let mut out = String::new();
    for &b in bytes.iter().take(end) {
        match b {
            b' ' => out.push('_'),
            b if b.is_ascii_alphanumeric() || b == b'_' => out.push(char::from(b)),
            _ => out.push_str(&format!("{b:02X}")),
        }
    }
    out
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether udev and libdm leave the character unchanged.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"#+-.:=@_".contains(&b)
}

/// A dm name for a device id. An id that is valid as a dm name stays as it is. Otherwise characters that libdm would
/// mangle become `_`, an id that is too long is cut, and `-` with 16 hex digits of a hash of the whole id keeps two
/// such ids apart. The same id gives the same name on every host and in every version.
#[must_use]
pub fn safe_name(id: &str) -> String {
    let reserved = matches!(id, "" | "." | ".." | "control");
    if !reserved && id.bytes().all(is_plain) {
        return bounded(id.to_owned(), NAME_LIMIT);
    }
    let plain: String = id
        .bytes()
        .map(|b| if is_plain(b) { char::from(b) } else { '_' })
        .collect();
    with_hash(&plain, id, NAME_LIMIT)
}

/// `text`, which is ASCII. If it is longer than `limit` bytes, it is cut to that and ends with a hash of the whole.
fn bounded(text: String, limit: usize) -> String {
    if text.len() <= limit {
        text
    } else {
        with_hash(&text, &text, limit)
    }
}

/// The start of `text`, then a hash of `whole`, in at most `limit` bytes.
fn with_hash(text: &str, whole: &str, limit: usize) -> String {
    let hash = format!("-{:016x}", fnv1a(whole.as_bytes()));
    let keep = limit.saturating_sub(hash.len());
    let mut out: String = text.chars().take(keep).collect();
    out.push_str(&hash);
    out
}

/// FNV-1a, 64 bits: small and, unlike the hasher of the standard library, guaranteed never to change. It protects from
/// nothing.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::scsi::vpd::Association;

    fn page(designators: &[(CodeSet, DesignatorType, &[u8])]) -> Vec<u8> {
        DeviceIdentification {
            peripheral_qualifier: PeripheralQualifier::Connected,
            designators: designators
                .iter()
                .map(|(code_set, designator_type, bytes)| Designator {
                    protocol_identifier: None,
                    code_set: *code_set,
                    association: Association::LogicalUnit,
                    designator_type: *designator_type,
                    bytes: bytes.to_vec(),
                })
                .collect(),
        }
        .to_bytes()
    }

    fn unit(device_id: &str, wwid: &str) -> LogicalUnit {
        LogicalUnit {
            device_id: device_id.into(),
            wwid: wwid.into(),
        }
    }

    use CodeSet::{Ascii, Binary, Utf8};
    use DesignatorType::{
        Eui64, LogicalUnitGroup, Naa, ScsiNameString, T10VendorId, Uuid, VendorSpecific,
    };

    const NAA6: &[u8] = b"\x60\x01\x40\x50\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78";
    const NAA6_EMC: &[u8] = b"\x60\x06\x01\x60\xaa\xaa\xbb\xbb\xcc\xcc\xdd\xdd\xee\xee\xff\xff";
    const NAA5: &[u8] = b"\x50\x01\x40\x50\x12\x34\x56\x78";
    const NAA3: &[u8] = b"\x33\x33\x33\x30\x00\x00\x0f\xa0";
    const NAA2: &[u8] = b"\x20\x01\x40\x50\x12\x34\x56\x78";
    const EUI: &[u8] = b"\x00\x11\x22\x33\x44\x55\x66\x77";

    /// Each WWID here is what `sg_inq --export` 1.46 prints for the same bytes, with the leading digit of the udev
    /// rules.
    #[test]
    fn one_designator_of_each_kind() {
        for (designator, device_id, wwid) in [
            (
                (Binary, Naa, NAA6),
                "naa.6001405012345678".to_owned() + "9abcdef012345678",
                "360014050123456789abcdef012345678",
            ),
            (
                (Binary, Naa, NAA5),
                "naa.5001405012345678".into(),
                "35001405012345678",
            ),
            (
                (Binary, Naa, NAA2),
                "naa.2001405012345678".into(),
                "32001405012345678",
            ),
            (
                (Binary, Naa, NAA3),
                "naa.3333333000000fa0".into(),
                "33333333000000fa0",
            ),
            (
                (Binary, Eui64, EUI),
                "eui.0011223344556677".into(),
                "20011223344556677",
            ),
            (
                (Ascii, T10VendorId, b"Linux   scsi_debug      2000"),
                "t10.Linux___scsi_debug______2000".into(),
                "1Linux_scsi_debug_2000",
            ),
            (
                (Ascii, T10VendorId, b"LIO-ORG disk1:01234567-89ab-cdef\0"),
                "t10.LIO2DORG_disk13A012345672D89ab2Dcdef".into(),
                "1LIO-ORG_disk1:01234567-89ab-cdef",
            ),
            (
                (Binary, T10VendorId, b"OPNFILER\x01\x02"),
                "t10.4f504e46494c45520102".into(),
                "14f504e46494c45520102",
            ),
            (
                (Ascii, T10VendorId, b"VEND\t\tab c#+-.:=@_~\\\""),
                "t10.VEND0909ab_c232B2D2E3A3D40_7E5C22".into(),
                "1VEND_ab_c#+-.:=@_\\x7e\\x5c\\x22",
            ),
            (
                (Ascii, T10VendorId, b"  VEND  a/b,c\x01 x\xc3\xa9 (1)  "),
                "t10.__VEND__a2Fb2Cc01_xC3A9_28129__".into(),
                "1VEND_a\\x2fb\\x2cc._x.._\\x281\\x29",
            ),
            (
                (Ascii, T10VendorId, b"VEND    ab\0cd\0\0"),
                "t10.VEND____ab00cd".into(),
                "1VEND_abcd",
            ),
            (
                (Utf8, ScsiNameString, b"iqn.2001-04.com.Example:stor:1\0\0"),
                "iqn.2001-04.com.Example:stor:1".into(),
                "8iqn.2001-04.com.Example:stor:1",
            ),
            (
                (
                    Utf8,
                    ScsiNameString,
                    b"naa.600140501234567890ABCDEF01234567\0\0\0\0",
                ),
                "naa.600140501234567890abcdef01234567".into(),
                "8naa.600140501234567890ABCDEF01234567",
            ),
        ] {
            assert_eq!(identify(&page(&[designator])), Ok(unit(&device_id, wwid)));
        }
    }

    #[test]
    fn the_order_of_preference() {
        let t10: (CodeSet, DesignatorType, &[u8]) = (Ascii, T10VendorId, b"VENDOR  serial");
        let all = [
            (Binary, Naa, NAA3),
            t10,
            (Utf8, ScsiNameString, b"iqn.x:y\0".as_slice()),
            (Binary, Eui64, EUI),
            (Binary, Naa, NAA2),
            (Binary, Naa, NAA5),
            (Binary, Naa, NAA6),
            (Binary, Naa, NAA6_EMC),
        ];
        let listing = Listing::parse(&page(&all)).unwrap();
        let found: Vec<&str> = listing.names().map(|unit| unit.wwid.as_str()).collect();
        assert_eq!(
            found,
            [
                "360060160aaaabbbbccccddddeeeeffff",
                "360014050123456789abcdef012345678",
                "35001405012345678",
                "32001405012345678",
                "20011223344556677",
                "8iqn.x:y",
                "1VENDOR_serial",
                "33333333000000fa0",
            ]
        );
    }

    #[test]
    fn a_sata_disk_has_the_wwid_of_ata_id() {
        let text = b"ATA     WDC WD40EFRX-68WT0N0                      WD-WCC4E1234567";
        let wwid = "WDC_WD40EFRX-68WT0N0_WD-WCC4E1234567";
        assert_eq!(
            identify(&page(&[(Ascii, T10VendorId, text), (Binary, Naa, NAA5)])),
            Ok(unit("naa.5001405012345678", wwid))
        );
        assert_eq!(
            identify(&page(&[(Ascii, T10VendorId, text)])),
            Ok(unit(
                "t10.ATA_____WDC_WD40EFRX2D68WT0N0______________________WD2DWCC4E1234567",
                wwid
            ))
        );
    }

    #[test]
    fn designators_that_name_no_unit_are_skipped() {
        let usable = (Binary, Naa, NAA3);
        for designator in [
            (Ascii, Naa, b"60014050123456789abcdef012345678".as_slice()),
            (Binary, Naa, &NAA6[..8]),
            (Binary, Naa, &NAA6[..15]),
            (Binary, Naa, b"".as_slice()),
            (Binary, Naa, &[0; 8]),
            (Binary, Eui64, &[0; 8]),
            (Binary, Eui64, &EUI[..7]),
            (Ascii, T10VendorId, b"VENDOR  "),
            (Ascii, T10VendorId, b"IBM                     \0\0"),
            (Ascii, T10VendorId, b"VEND"),
            (Utf8, ScsiNameString, b"iqn.\0\0\0\0"),
            (Utf8, ScsiNameString, b"what.ever"),
            (Utf8, ScsiNameString, b"iqn.\xff\xff"),
            (Ascii, VendorSpecific, b"serial"),
            (Binary, LogicalUnitGroup, &[0, 0, 0, 1]),
            (Binary, Uuid, &[0x10; 18]),
        ] {
            assert_eq!(
                identify(&page(&[designator])),
                Err(Problem::NoDesignator { passed_over: 1 }),
                "{designator:?}"
            );
            assert_eq!(
                identify(&page(&[designator, usable])).unwrap().wwid,
                "33333333000000fa0".into()
            );
        }
    }

    #[test]
    fn designators_of_the_port_do_not_name_the_unit() {
        let mut data = page(&[(Binary, Naa, NAA5)]);
        data[5] |= 0x10;
        let problem = identify(&data).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "VPD page 83h does not name the logical unit"
        );
    }

    #[test]
    fn pages_that_prove_nothing() {
        let data = page(&[(Binary, Naa, NAA5)]);
        assert!(identify(&data).is_ok());
        for cut in 0..data.len() {
            assert!(identify(&data[..cut]).is_err());
        }
        assert_eq!(
            identify(&data[..10]).unwrap_err().to_string(),
            "VPD page 83h cannot be read: Device Identification page, byte 4: truncated: 12 bytes needed, 6 present"
        );
        let mut absent = data.clone();
        absent[0] = 0x20;
        assert_eq!(
            identify(&absent),
            Err(Problem::NoLogicalUnit(PeripheralQualifier::NotConnected))
        );
    }

    /// The kernel, udev and multipath-tools do the same: stray bytes after complete designators do no harm.
    #[test]
    fn a_complete_designator_counts_whatever_follows_it() {
        let whole = page(&[(Binary, Naa, NAA5)]);
        for stray in [&[0][..], &[0; 3], &[0; 4], &[1, 3, 0, 16, 0x60]] {
            let mut data = whole.clone();
            data.extend(stray);
            data[3] += stray.len() as u8;
            let listing = Listing::parse(&data).unwrap();
            assert_eq!(listing.best, identify(&whole).unwrap());
            // Four zero bytes are an empty designator.
            assert_eq!(listing.remark.is_none(), stray.len() == 4, "{stray:?}");
        }
        let mut nothing_whole = page(&[(Binary, Naa, NAA5)]);
        nothing_whole[7] = 9;
        let problem = identify(&nothing_whole).unwrap_err().to_string();
        assert!(problem.contains("truncated"), "{problem}");
    }

    #[test]
    fn a_weak_name_proves_nothing_if_a_better_one_changed() {
        let t10: (CodeSet, DesignatorType, &[u8]) = (Ascii, T10VendorId, b"VENDOR  VOLUME");
        let listing =
            |all: &[(CodeSet, DesignatorType, &[u8])]| Listing::parse(&page(all)).unwrap();
        let (alone, one) = (listing(&[t10]), listing(&[t10, (Binary, Naa, NAA5)]));
        let other = listing(&[t10, (Binary, Naa, NAA2), (Binary, Naa, NAA6)]);
        let exchanged = listing(&[t10, (Binary, Naa, NAA6)]);
        let two = listing(&[t10, (Binary, Naa, NAA6), (Binary, Naa, NAA6_EMC)]);
        let weak = &Wwid::from("1VENDOR_VOLUME");
        for (now, earlier, contradicts) in [
            (&one, &alone, false),
            (&alone, &one, false),
            (&other, &one, false),
            (&exchanged, &other, false),
            (&two, &exchanged, false),
            (&listing(&[t10, (Binary, Naa, NAA6_EMC)]), &exchanged, true),
        ] {
            assert!(now.find(weak).is_some());
            assert_eq!(
                contradict(&now.ranked(), &earlier.ranked(), weak),
                contradicts,
                "{now:?}"
            );
        }
    }

    #[test]
    fn names_are_valid_for_device_mapper() {
        assert_eq!(safe_name("naa.6001"), "naa.6001");
        assert_eq!(safe_name("mpx.vmhba1:C0:T1:L3"), "mpx.vmhba1:C0:T1:L3");
        assert_eq!(safe_name("iqn.a/b"), "iqn.a_b-6fee19ecd6ea16bf");
        assert_ne!(safe_name("iqn.a/b"), safe_name("iqn.a,b"));
        for id in ["", ".", "..", "control", "a\nb", "é"] {
            let name = safe_name(id);
            assert_ne!(name, id);
            assert!(name.bytes().all(is_plain) && name.len() > 16);
        }
        let long = "x".repeat(128);
        assert_eq!(safe_name(&long).len(), NAME_LIMIT);
        assert_eq!(safe_name(&long[..127]), long[..127]);
        assert_ne!(safe_name(&long), safe_name(&"x".repeat(129)));
    }

    #[test]
    fn the_hash_matches_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_long_text_fits_name_and_uuid() {
        let mut text = b"VENDOR  ".to_vec();
        text.extend([b'~'; 200]);
        let found = identify(&page(&[(Ascii, T10VendorId, &text)])).unwrap();
        assert_eq!(found.device_id.as_str().len(), NAME_LIMIT);
        assert_eq!(found.dm_uuid().len(), 128);
    }
}
