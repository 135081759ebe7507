//! Decides whether a disk is a path, for `dm-psa-id`, which udev runs before anything reads the disk.
//!
//! Input: the name of a disk, and a file tree with `sys`, `proc`, `run` and `etc` (the host's, or a test's). Output: a
//! [`Decision`], or an error if there is no disk to judge. In order:
//!
//! 1. The agent's [`Mark`] decides, if it is about this disk.
//! 2. A disk below a multipath map is a path, regardless of who made the map.
//! 3. A disk in use is not a path: udev properties that hide it would make systemd unmount it.
//! 4. A disk whose WWID had a map before is a path, even while no agent is running: at boot udev comes first.
//! 5. While an agent runs, or is about to run because the host is booting, a disk behind a SAN transport, or of an array
//!    that reports target port groups, is hidden until the agent has judged it and set the mark.
//!    In an initramfs that waits for a multipath device, every disk is hidden so unless it is known to be local: it may
//!    be a path to a copy of the system, such as a snapshot of its LUN, and LVM or a mount would take the copy.
//!
//! A host is booting until [`Places::decided`] exists: the agent makes that file when it is ready. If no agent becomes
//! ready, a timer makes it (`systemd/dm-psa-undecided.timer`), and `psactl activate` in an initramfs.
//!
//! Invariants: no device is opened, and no other process is waited for; the kernel answers reads of its files from its
//! caches. This runs for each event of each disk, so everything is read at most once, and only if it is needed.
//! Tests: `tests/dm_psa_id.rs` with the trees in `tests/golden/id`.

use super::sysfs::{Sysfs, raise_change};
use crate::config::boot::BootImage;
use crate::config::{Places, memory_file, store};
use crate::psa::facts::Usage;
use crate::psa::identity::Listing;
use crate::psa::names::Wwid;
use crate::psa::units::DevT;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs};

/// The decision, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the disk is to be hidden as a path.
    pub path: bool,
    /// The reason.
    pub reason: Reason,
}

/// The reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The agent's mark.
    Marked,
    /// It is below a multipath map.
    InMap,
    /// It is in use by something other than a multipath map.
    InUse(Usage),
    /// Its WWID had a map before.
    Remembered(Wwid),
    /// An agent is running, and the disk is attached by a transport that is shared by design.
    San,
    /// An agent is running, and the disk reports target port groups.
    TargetPortGroups,
    /// The system boots from a multipath device, and the disk is not known to be local.
    Boot,
    /// Nothing indicates that it is a path.
    Unclaimed,
}

impl fmt::Display for Reason {
    /// One word, used as a udev property.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Marked => "marked",
            Reason::InMap => "in-map",
            Reason::InUse(Usage::Mounted { .. }) => "mounted",
            Reason::InUse(Usage::Swap { .. }) => "swap",
            Reason::InUse(Usage::Held { .. }) => "held",
            Reason::Remembered(_) => "remembered",
            Reason::San => "san",
            Reason::TargetPortGroups => "target-port-groups",
            Reason::Boot => "boot",
            Reason::Unclaimed => "unclaimed",
        })
    }
}

impl fmt::Display for Decision {
    /// The lines that udev's `IMPORT{program}` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DM_MULTIPATH_DEVICE_PATH={}", u8::from(self.path))?;
        writeln!(f, "DM_PSA_REASON={}", self.reason)
    }
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The argument cannot be the name of a disk.
    #[error("`{0}` is not the name of a block device")]
    Name(String),
    /// The disk does not exist, or was removed.
    #[error("cannot read the device number of {name}: {source}")]
    NoDisk {
        /// The kernel name, such as `sdc`.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// It cannot be found out whether the disk is in use.
    #[error("cannot find out who uses {0}: the mount table cannot be read")]
    Usage(String),
}

/// The agent's decision about a disk, in the file [`Mark::path`]: `1` (a path) or `0` (left alone), then a blank and
/// the disk's sequence number, if the kernel has one.
///
/// Device numbers are reused immediately, but the sequence number (sysfs `diskseq`, since 5.15) is not. So a mark that
/// was left behind is distinguished from a mark of the present disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whether the disk is a path of the agent.
    pub owned: bool,
    /// The sequence number of the disk that was judged; `None` if the kernel has none.
    pub diskseq: Option<u64>,
}

impl Mark {
    /// The file that holds the mark of a disk.
    #[must_use]
    pub fn path(root: &Path, dev: DevT) -> PathBuf {
        root.join("run/dm-psa/paths").join(dev.to_string())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", u8::from(self.owned))?;
        match self.diskseq {
            Some(diskseq) => write!(f, " {diskseq}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Mark {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_ascii_whitespace();
        let owned = match words.next() {
            Some("1") => true,
            Some("0") => false,
            _ => return Err(()),
        };
        let diskseq = words.next().map(str::parse).transpose().map_err(|_| ())?;
        Ok(Mark { owned, diskseq })
    }
}

/// Judges the disk `name` (`sdc`) by the files below `root`.
///
/// # Errors
/// There is no such disk, or it cannot be found out whether it is in use. udev then keeps its old properties.
pub fn decide(root: &Path, name: &str) -> Result<Decision, IdError> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(IdError::Name(name.to_owned()));
    }
    let dir = root.join("sys/block").join(name);
    let dev = device_number(&dir).map_err(|source| IdError::NoDisk {
        name: name.to_owned(),
        source,
    })?;
    let answer = |path, reason| Ok(Decision { path, reason });

    if let Some(mark) = mark(root, dev, &dir) {
        return answer(mark.owned, Reason::Marked);
    }
    if in_map(&dir) {
        return answer(true, Reason::InMap);
    }
    let users = Sysfs::new(root)
        .users_of(name)
        .ok_or_else(|| IdError::Usage(name.to_owned()))?;
    if let Some(user) = users.into_iter().next() {
        return answer(false, Reason::InUse(user));
    }
    if let Some(wwid) = remembered(root, &dir) {
        return answer(true, Reason::Remembered(wwid));
    }
    if agent_decides(root) && attribute(&dir, "device/type") == "0" {
        if on_san(&dir) {
            return answer(true, Reason::San);
        }
        if reports_target_port_groups(&dir) {
            return answer(true, Reason::TargetPortGroups);
        }
        if boots_from_map(root) && !is_local(&dir) {
            return answer(true, Reason::Boot);
        }
    }
    answer(false, Reason::Unclaimed)
}

/// Whether an agent runs, or is about to run.
fn agent_decides(root: &Path) -> bool {
    let is_expected = || {
        let is_initramfs = Places::below(root).boot_image().exists();
        let is_enabled = root.join("run/systemd/system").exists()
            // The link may lead to a file that is not in this tree.
            && fs::symlink_metadata(root.join(ENABLED)).is_ok()
            && fs::read_link(root.join(MASKED)).map_or(true, |to| to != Path::new("/dev/null"));
        (is_initramfs || is_enabled) && !Places::below(root).decided().exists()
    };
    root.join("run/dm-psa/io.dmpsa").exists() || is_expected()
}

/// Whether this is an initramfs that waits for a multipath device.
fn boots_from_map(root: &Path) -> bool {
    match BootImage::load(&Places::below(root).boot_image()) {
        Ok(image) => image.is_some_and(|image| !image.wait_for.is_empty()),
        // Damaged: it may wait for one.
        Err(_) => true,
    }
}

/// Ends the time in which disks are hidden because an agent is expected, and has udev judge again those that are. Returns
/// a sentence for the console that names them.
///
/// # Errors
/// The end cannot be noted.
pub fn show_undecided(root: &Path) -> Result<String, String> {
    let blocks = fs::read_dir(root.join("sys/block")).into_iter().flatten();
    let names = blocks.filter_map(|block| block.ok()?.file_name().into_string().ok());
    let disks: BTreeSet<String> = names.filter(|name| name.starts_with("sd")).collect();
    let hidden = |disks: &BTreeSet<String>| -> BTreeSet<String> {
        let is_hidden = |name: &&String| decide(root, name).is_ok_and(|now| now.path);
        disks.iter().filter(is_hidden).cloned().collect()
    };
    let before = hidden(&disks);
    let file = Places::below(root).decided();
    store::replace(&file, b"").map_err(|why| format!("cannot write {}: {why}", file.display()))?;
    let after = hidden(&before);
    let shown: Vec<&str> = before.difference(&after).map(String::as_str).collect();
    for name in &shown {
        // A disk that is gone has no rule to run.
        let _ = raise_change(&root.join("sys/block").join(name));
    }
    let mut said = "dm-psa: no agent has decided on the disks of this host".to_owned();
    if !shown.is_empty() {
        said.push_str(&format!(". Others may use them now: {}", shown.join(" ")));
    }
    if !after.is_empty() {
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let after = after.join(" ");
        said.push_str(&format!(
            ". Still hidden, because they have or had a map: {after}"
        ));
        said.push_str(" (`nompath` on the kernel command line shows them)");
    }
    Ok(said + "\n")
}

/// What `systemctl enable dm-psa.service` makes.
const ENABLED: &str = "etc/systemd/system/sysinit.target.wants/dm-psa.service";

/// What `systemctl mask dm-psa.service` links to `/dev/null`.
const MASKED: &str = "etc/systemd/system/dm-psa.service";

/// The device number of the disk whose sysfs directory is `dir`.
fn device_number(dir: &Path) -> io::Result<DevT> {
    fs::read_to_string(dir.join("dev"))?
        .trim_end()
        .parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Whether one of the disk's holders is a multipath map, by the prefix of its dm UUID.
fn in_map(dir: &Path) -> bool {
    fs::read_dir(dir.join("holders")).is_ok_and(|holders| {
        holders
            .flatten()
            .any(|holder| attribute(&holder.path(), "dm/uuid").starts_with("mpath-"))
    })
}

/// The agent's mark, unless it is about an earlier disk with this number.
fn mark(root: &Path, dev: DevT, dir: &Path) -> Option<Mark> {
    let text = fs::read_to_string(Mark::path(root, dev)).ok()?;
    let mark: Mark = text.parse().ok()?;
    let stale = mark.diskseq.is_some_and(|judged| {
        attribute(dir, "diskseq")
            .parse::<u64>()
            .is_ok_and(|present| present != judged)
    });
    (!stale).then_some(mark)
}

/// The WWID of the disk, if it is among those that have had a map.
fn remembered(root: &Path, dir: &Path) -> Option<Wwid> {
    let file = root.join("etc/dm-psa/state/memory.json");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                eprintln!("dm-psa-id: {}: {error}", file.display());
            }
            return None;
        }
    };
    // The agent reports damage of this file. This code runs at every event of a disk and uses what can be read.
    let known = memory_file::known_devices(&content);
    if known.is_empty() {
        return None;
    }
    let listing = Listing::parse(&fs::read(dir.join("device/vpd_pg83")).ok()?).ok()?;
    let mut wwids = listing.names().map(|unit| &unit.wwid);
    // The map may use another of the disk's names than a new device would get.
    wwids.find(|wwid| known.contains(*wwid)).cloned()
}

/// Whether the disk is attached through a port of a storage network, by the kernel's name for the remote end (FC and
/// FCoE `rport-H:C-N`, iSCSI `sessionN`).
fn on_san(dir: &Path) -> bool {
    is_below(dir, &["rport-", "session"])
}

/// Whether the disk is attached by ATA (`ataN`) or USB (`usbN`), which one host alone uses.
fn is_local(dir: &Path) -> bool {
    is_below(dir, &["ata", "usb"])
}

/// Whether the disk is below a device whose name is one of these words and a number.
fn is_below(dir: &Path, words: &[&str]) -> bool {
    let Ok(device) = fs::canonicalize(dir.join("device")) else {
        return false;
    };
    device.components().any(|component| {
        let name = component.as_os_str().to_string_lossy();
        words.iter().any(|word| {
            name.strip_prefix(word)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    })
}

/// Whether TPGS is set in the standard INQUIRY data (SPC-5 6.7.2: byte 5, bits 4 and 5) that the kernel read when it
/// found the disk.
fn reports_target_port_groups(dir: &Path) -> bool {
    fs::read(dir.join("device/inquiry"))
        .is_ok_and(|inquiry| inquiry.get(5).is_some_and(|byte| byte & 0x30 != 0))
}

/// A sysfs attribute without its newline; empty if it cannot be read.
fn attribute(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name))
        .map(|text| text.trim_end().to_owned())
        .unwrap_or_default()
}

/// The output of `dm-psa-id --map` for the map with this dm UUID (`mpath-3600...`): the properties from which the links
/// in `/dev/disk/by-id` are made. `None` if it is not a multipath map, or if its id would break a udev property.
///
/// The names are those of kpartx, whose rules make the links of partitions from them. Only an NAA designator (a WWID
/// that begins with `3`) is a World Wide Name for which the paths have a link.
#[must_use]
pub fn map_properties(uuid: &str) -> Option<String> {
    let wwid = uuid.strip_prefix("mpath-")?;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '/' | '$' | '%');
    if wwid.is_empty() || !wwid.chars().all(plain) {
        return None;
    }
    let mut lines = format!("DM_TYPE=scsi\nDM_SERIAL={wwid}\n");
    if let Some(naa) = wwid.strip_prefix('3') {
        lines.push_str(&format!("DM_WWN=0x{naa}\n"));
    }
    Some(lines)
}
