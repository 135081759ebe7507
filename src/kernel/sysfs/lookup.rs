//! Looks up which names belong together: SCSI addresses, disks, sg devices, maps, partitions and SCSI hosts.

use super::tree::{Sysfs, address_in, attribute, names_in, numbered, text_of};
use crate::psa::facts::DiskKind;
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

impl Sysfs {
    /// The path of a device node.
    #[must_use]
    pub fn dev(&self, name: &str) -> PathBuf {
        self.root.join("dev").join(name)
    }

    /// The sg device of a SCSI device, `sg3`; needs the module `sg`.
    #[must_use]
    pub(crate) fn generic_of(&self, path: Hctl) -> Option<String> {
        let link = self.sys(&format!("bus/scsi/devices/{path}/generic"));
        let target = fs::read_link(link).ok()?;
        target.file_name()?.to_str().map(str::to_owned)
    }

    /// The disk of a SCSI device, `sdc`, if `sd` has bound to it.
    #[must_use]
    pub(crate) fn disk_of(&self, path: Hctl) -> Option<String> {
        names_in(&self.sys(&format!("bus/scsi/devices/{path}/block"))).pop_first()
    }

    /// The SCSI device behind an sg device.
    #[must_use]
    pub(crate) fn path_of_generic(&self, sg: &str) -> Option<Hctl> {
        address_in(&fs::read_link(self.sys(&format!("class/scsi_generic/{sg}"))).ok()?)
    }

    /// The kind of the block device with this number; `None` if it cannot be found out, for example without sysfs. This
    /// reads links and a number that the kernel keeps, so it waits for no device.
    #[must_use]
    pub(crate) fn disk_kind(&self, dev: DevT) -> Option<DiskKind> {
        let numbers = self.sys("dev/block");
        let link = match fs::read_link(numbers.join(dev.to_string())) {
            Ok(link) => link,
            // If the directory of numbers is missing, nothing is known about any number.
            Err(error) if error.kind() == ErrorKind::NotFound && numbers.is_dir() => {
                return Some(DiskKind::Absent);
            }
            Err(_) => return None,
        };
        let name = link.file_name()?.to_str()?;
        let dir = self.sys("class/block").join(name);
        if attribute(&dir.join("partition")).is_some() {
            return Some(DiskKind::Other(format!("{name}, which is a partition")));
        }
        let device = fs::read_link(dir.join("device")).ok();
        let Some(path) = device.as_deref().and_then(address_in) else {
            let other = format!("{name}, which is not a SCSI disk");
            return Some(DiskKind::Other(other));
        };
        let kind = attribute(&self.sys(&format!("bus/scsi/devices/{path}/type")))?;
        Some(match kind.parse() {
            Ok(0) => DiskKind::Scsi(path),
            _ => DiskKind::Other(format!("{name}, a SCSI device of type {kind}")),
        })
    }

    /// Whether there is a block device with this kernel name.
    #[must_use]
    pub(crate) fn has_block(&self, name: &str) -> bool {
        self.sys("class/block").join(name).exists()
    }

    /// The number of a block device or, if `generic`, of an sg device.
    #[must_use]
    pub(crate) fn number_of(&self, name: &str, generic: bool) -> Option<DevT> {
        let class = if generic { "scsi_generic" } else { "block" };
        let file = self.sys("class").join(class).join(name).join("dev");
        attribute(&file)?.parse().ok()
    }

    /// The disk of a partition; `None` if `name` is not a partition.
    #[must_use]
    pub(crate) fn disk_of_partition(&self, name: &str) -> Option<String> {
        let entry = self.sys("class/block").join(name);
        attribute(&entry.join("partition"))?;
        let link = fs::read_link(entry).ok()?;
        link.parent()?.file_name()?.to_str().map(str::to_owned)
    }

    /// All maps: from dm name to kernel name (`dm-3`).
    #[must_use]
    pub fn maps(&self) -> BTreeMap<String, String> {
        let blocks = names_in(&self.sys("class/block")).into_iter();
        let maps = blocks.filter(|block| numbered(block, "dm-").is_some());
        maps.map(|block| (self.map_name(&block), block)).collect()
    }

    /// The dm name of a map by its kernel name; empty if it is not a map.
    #[must_use]
    pub(crate) fn map_name(&self, block: &str) -> String {
        attribute(&self.sys(&format!("class/block/{block}/dm/name"))).unwrap_or_default()
    }

    /// The multipath maps over a disk, by their kernel names.
    #[must_use]
    pub(crate) fn maps_over(&self, disk: &str) -> Vec<String> {
        self.holders_with_uuid(disk, |uuid| uuid.starts_with("mpath-"))
    }

    /// The partitions of a disk, or of a map (`kpartx` makes them as maps, with `partN-` before the map's UUID).
    #[must_use]
    pub(crate) fn partitions_of(&self, block: &str) -> Vec<String> {
        let dir = self.sys("class/block").join(block);
        let is_partition = |name: &String| dir.join(name).join("partition").exists();
        let mut found: Vec<String> = names_in(&dir).into_iter().filter(is_partition).collect();
        found.extend(self.holders_with_uuid(block, |uuid| {
            let number = uuid
                .strip_prefix("part")
                .and_then(|rest| rest.split_once('-'));
            number.is_some_and(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()))
        }));
        found
    }

    fn holders_with_uuid(&self, block: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let holders = names_in(&self.sys(&format!("class/block/{block}/holders")));
        let has = |holder: &String| {
            let uuid = attribute(&self.sys(&format!("class/block/{holder}/dm/uuid")));
            uuid.is_some_and(|uuid| wanted(&uuid))
        };
        holders.into_iter().filter(has).collect()
    }

    /// The ids of all processes.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<u32> {
        let names = names_in(&self.proc(""));
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The directory of a process.
    #[must_use]
    pub fn process(&self, pid: u32) -> PathBuf {
        self.proc(&pid.to_string())
    }

    /// The name of a process; empty if it has ended.
    #[must_use]
    pub(crate) fn process_name(&self, pid: u32) -> String {
        attribute(&self.process(pid).join("comm")).unwrap_or_default()
    }

    /// The kernel's command line; empty if it cannot be read.
    #[must_use]
    pub(crate) fn command_line(&self) -> String {
        text_of(&self.proc("cmdline")).unwrap_or_default()
    }

    /// Whether this is an initramfs of dracut or another one with systemd.
    #[must_use]
    pub(crate) fn is_initramfs_of_dracut(&self) -> bool {
        self.root.join("etc/initrd-release").exists()
    }

    /// The numbers of all SCSI hosts, with or without devices.
    #[must_use]
    pub(crate) fn scsi_hosts(&self) -> BTreeSet<u32> {
        let names = names_in(&self.sys("class/scsi_host"));
        names
            .iter()
            .filter_map(|name| numbered(name, "host"))
            .collect()
    }

    /// The file of a SCSI host that starts a scan (`store_scan`).
    #[must_use]
    pub(crate) fn scan_file(&self, host: u32) -> PathBuf {
        self.sys(&format!("class/scsi_host/host{host}/scan"))
    }

    /// The file of an attribute of a SCSI device: `rescan`, `delete`.
    #[must_use]
    pub(crate) fn device_file(&self, path: Hctl, name: &str) -> PathBuf {
        self.sys(&format!("class/scsi_device/{path}/device/{name}"))
    }

    /// Start and length of a partition, in sectors of 512 bytes. The start is `None` for a partition that is a map of
    /// its own.
    #[must_use]
    pub(crate) fn extent_of(&self, block: &str) -> Option<(Option<u64>, u64)> {
        let number = |name: &str| {
            let text = attribute(&self.sys(&format!("class/block/{block}/{name}")))?;
            text.parse::<u64>().ok()
        };
        Some((number("start"), number("size")?))
    }

    /// A numeric attribute of a block device's request queue, such as `discard_max_bytes`.
    #[must_use]
    pub(crate) fn queue_limit(&self, block: &str, name: &str) -> Option<u64> {
        attribute(&self.sys(&format!("class/block/{block}/queue/{name}")))?
            .parse()
            .ok()
    }
}

/// The device number of a device node.
#[must_use]
pub(crate) fn number_of_node(node: &fs::Metadata) -> DevT {
    let dev = node.rdev();
    DevT {
        major: libc::major(dev),
        minor: libc::minor(dev),
    }
}
