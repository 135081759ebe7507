//! Finds the users of a disk: mounts, swap, and block devices that hold it.

use super::tree::{SHORT, Sysfs, attribute, names_in, text_of};
use crate::psa::facts::Usage;
use crate::psa::names::Wwid;
use crate::psa::table::model::UUID_PREFIX;
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

/// A disk may be mounted any number of times (containers); at most this many mount points of a device are reported.
const MOUNTS_TOLD: usize = 8;

/// Mounts and swaps of the whole system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Users {
    /// Mount points by device number.
    mounts: BTreeMap<DevT, BTreeSet<String>>,
    /// Mount points by the kernel name of the device, for file systems that report their own device number.
    mounts_by_name: BTreeMap<String, BTreeSet<String>>,
    /// Kernel names of devices in use as swap.
    swaps: BTreeSet<String>,
    /// Members of btrfs by kernel name: the mount table names only one of several members, and none of them has
    /// holders.
    btrfs: BTreeMap<String, String>,
}

impl Sysfs {
    /// The users of the disk with this kernel name, other than a multipath map over it. `None` if there is no such
    /// disk, or if its users are unknown because the mount table cannot be read.
    #[must_use]
    pub(crate) fn users_of(&self, disk: &str) -> Option<Vec<Usage>> {
        let dir = self.sys("block").join(disk);
        let dev = text_of(&dir.join("dev"))?.trim_end().parse().ok()?;
        File::open(self.proc("self/mountinfo")).ok()?;
        SHORT.set(false);
        let users = Users::read(self).of_disk(self, &dir, disk, dev);
        (!SHORT.get()).then_some(users)
    }
}

impl Sysfs {
    /// The WWIDs of the multipath maps below what is mounted at these places: directly, or below partitions, LVM, LUKS
    /// and other devices that have slaves.
    #[must_use]
    pub fn maps_below(&self, mount_points: &[&str]) -> BTreeSet<Wwid> {
        let users = Users::read(self);
        let is_one = |at: &BTreeSet<String>| mount_points.iter().any(|point| at.contains(*point));
        let numbers = users.mounts.iter().filter(|(_, at)| is_one(at));
        let numbered = numbers.filter_map(|(dev, _)| {
            let link = fs::read_link(self.sys(&format!("dev/block/{dev}"))).ok()?;
            Some(link.file_name()?.to_str()?.to_owned())
        });
        let named = users.mounts_by_name.iter().filter(|(_, at)| is_one(at));
        // `/dev/mapper/vg-root` is a link.
        let named = named.map(|(name, _)| {
            let map = name.strip_prefix("mapper!").unwrap_or(name);
            self.maps().remove(map).unwrap_or_else(|| name.clone())
        });
        let mut left: Vec<String> = numbered.chain(named).collect();
        let systems: BTreeSet<&String> = left.iter().filter_map(|n| users.btrfs.get(n)).collect();
        let members = users.btrfs.iter().filter(|(_, id)| systems.contains(id));
        left.extend(members.map(|(name, _)| name.clone()).collect::<Vec<_>>());
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        while let Some(name) = left.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let dir = self.sys("class/block").join(&name);
            let uuid = attribute(&dir.join("dm/uuid")).unwrap_or_default();
            if let Some(wwid) = uuid.strip_prefix(UUID_PREFIX) {
                found.insert(Wwid::from(wwid));
                continue;
            }
            left.extend(self.disk_of_partition(&name));
            left.extend(names_in(&dir.join("slaves")));
        }
        found
    }
}

impl Users {
    pub(super) fn read(sysfs: &Sysfs) -> Users {
        let mut users = Users::default();
        if let Some(table) = text_of(&sysfs.proc("self/mountinfo")) {
            users.add_mounts(&table);
        }
        if let Some(table) = text_of(&sysfs.proc("swaps")) {
            users.add_swaps(&table);
        }
        let file_systems = sysfs.sys("fs/btrfs");
        for id in names_in(&file_systems) {
            for member in names_in(&file_systems.join(&id).join("devices")) {
                users.btrfs.insert(member, id.clone());
            }
        }
        users
    }

    /// `/proc/self/mountinfo` (proc(5)): `36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/sdb1 rw`.
    fn add_mounts(&mut self, table: &str) {
        for line in table.lines() {
            let mut fields = line.split(' ');
            let (Some(dev), Some(at)) = (fields.nth(2), fields.nth(1)) else {
                continue;
            };
            let at = unescape(at);
            match dev.parse::<DevT>() {
                // Anonymous device number: the source names the device, or is not a device at all.
                Ok(DevT { major: 0, .. }) | Err(_) => {
                    let source = fields.skip_while(|field| *field != "-").nth(2);
                    if let Some(name) = source.and_then(kernel_name) {
                        self.mounts_by_name.entry(name).or_default().insert(at);
                    }
                }
                Ok(dev) => {
                    self.mounts.entry(dev).or_default().insert(at);
                }
            }
        }
    }

    /// `/proc/swaps`: a header line, then one line per swap with the file in the first column.
    fn add_swaps(&mut self, table: &str) {
        for line in table.lines().skip(1) {
            let file = line.split_ascii_whitespace().next();
            self.swaps.extend(file.and_then(kernel_name));
        }
    }

    /// The users of a disk and of its partitions.
    pub(super) fn of_disk(&self, sysfs: &Sysfs, dir: &Path, name: &str, dev: DevT) -> Vec<Usage> {
        let mut usage = BTreeSet::new();
        self.of_device(sysfs, dir, name, dev, &mut usage);
        // In the directory of a disk, only names of its partitions begin with its name.
        for partition in names_in(dir) {
            if partition.starts_with(name) {
                let dir = dir.join(&partition);
                if let Some(dev) = attribute(&dir.join("dev")).and_then(|dev| dev.parse().ok()) {
                    self.of_device(sysfs, &dir, &partition, dev, &mut usage);
                }
            }
        }
        usage.into_iter().collect()
    }

    fn of_device(
        &self,
        sysfs: &Sysfs,
        dir: &Path,
        name: &str,
        dev: DevT,
        usage: &mut BTreeSet<Usage>,
    ) {
        let device = || name.to_owned();
        let mounts = self.mounts.get(&dev).into_iter().flatten();
        let named = self.mounts_by_name.get(name).into_iter().flatten();
        for at in mounts.chain(named).take(MOUNTS_TOLD) {
            usage.insert(Usage::Mounted {
                device: device(),
                at: at.clone(),
            });
        }
        if self.swaps.contains(name) {
            usage.insert(Usage::Swap { device: device() });
        }
        if let Some(id) = self.btrfs.get(name) {
            usage.insert(Usage::Held {
                device: device(),
                by: format!("btrfs ({id})"),
            });
        }
        for holder in names_in(&dir.join("holders")) {
            let dm = sysfs.sys(&format!("class/block/{holder}/dm"));
            // A multipath map over the path is not a foreign user.
            if attribute(&dm.join("uuid")).is_some_and(|uuid| uuid.starts_with("mpath-")) {
                continue;
            }
            let by = match attribute(&dm.join("name")) {
                Some(map) => format!("{holder} ({map})"),
                None => holder,
            };
            usage.insert(Usage::Held {
                device: device(),
                by,
            });
        }
    }

    /// The paths whose mounts or swaps differ.
    pub(super) fn changes_since(&self, then: &Users, sysfs: &Sysfs) -> BTreeSet<Hctl> {
        let by_number = differing(&self.mounts, &then.mounts)
            .into_iter()
            .filter_map(|dev| sysfs.path_of(*dev));
        let by_name = differing(&self.mounts_by_name, &then.mounts_by_name)
            .into_iter()
            .chain(differing(&self.btrfs, &then.btrfs))
            .chain(self.swaps.symmetric_difference(&then.swaps))
            .filter_map(|name| sysfs.path_named(name));
        by_number.chain(by_name).collect()
    }
}

/// The keys whose values differ, or that are in only one of the maps.
fn differing<'a, K: Ord, V: PartialEq>(
    now: &'a BTreeMap<K, V>,
    then: &'a BTreeMap<K, V>,
) -> BTreeSet<&'a K> {
    let changed = now
        .iter()
        .filter(|(key, value)| then.get(key) != Some(*value));
    let gone = then.iter().filter(|(key, _)| !now.contains_key(key));
    changed.chain(gone).map(|(key, _)| key).collect()
}

/// `sda2` for `/dev/sda2`; `None` if `file` does not have that form. sysfs has exclamation marks for the slashes in a
/// kernel name (`cciss/c0d0`).
fn kernel_name(file: &str) -> Option<String> {
    let name = unescape(file.strip_prefix("/dev/")?).replace('/', "!");
    (!name.is_empty()).then_some(name)
}

/// Decodes the octal escapes of `seq_path` (`\040` for a blank).
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_mount_table_are_undone() {
        assert_eq!(unescape(r"/mnt/my\040disk\134"), r"/mnt/my disk\");
        assert_eq!(unescape(r"/mnt/\04"), r"/mnt/\04");
        assert_eq!(unescape(r"/mnt/\999"), r"/mnt/\999");
    }

    #[test]
    fn mounts_are_known_by_number_or_by_name() {
        let mut users = Users::default();
        users.add_mounts(
            "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n\
             23 22 0:21 / /proc rw shared:5 - proc proc rw\n\
             24 22 0:40 /sub /data rw shared:7 master:2 - btrfs /dev/sdb1 rw\n\
             25 22 8:2 /srv /srv rw - ext4 /dev/sda2 rw\n\
             26 22 garbage\n",
        );
        let dev = DevT { major: 8, minor: 2 };
        let points: Vec<_> = users.mounts[&dev].iter().map(String::as_str).collect();
        assert_eq!(points, ["/", "/srv"]);
        assert!(users.mounts_by_name["sdb1"].contains("/data"));
        assert_eq!(users.mounts_by_name.len(), 1);
    }

    #[test]
    fn the_maps_below_a_mount_are_found_through_partitions_volumes_and_btrfs() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let block = |name: &str, number: &str, uuid: &str, slaves: &[&str]| {
            let dir = at(&format!("sys/class/block/{name}"));
            fs::create_dir_all(dir.join("slaves")).unwrap();
            for slave in slaves {
                fs::create_dir(dir.join("slaves").join(slave)).unwrap();
            }
            if !uuid.is_empty() {
                fs::create_dir(dir.join("dm")).unwrap();
                fs::write(dir.join("dm/uuid"), uuid).unwrap();
                fs::write(dir.join("dm/name"), format!("name-of-{name}")).unwrap();
            }
            fs::create_dir_all(at("sys/dev/block")).unwrap();
            let link = at(&format!("sys/dev/block/{number}"));
            std::os::unix::fs::symlink(format!("../../class/block/{name}"), link).unwrap();
        };
        block("sda", "8:0", "", &[]);
        block("dm-0", "253:0", "mpath-36001", &["sda"]);
        block("dm-1", "253:1", "part1-mpath-36001", &["dm-0"]);
        block("dm-2", "253:2", "mpath-36002", &["sda"]);
        block("dm-3", "253:3", "LVM-abc", &["dm-2", "dm-1"]);
        block("dm-4", "253:4", "mpath-36003", &["sda"]);
        block("dm-5", "253:5", "mpath-36004", &["sda"]);
        for member in ["dm-4", "dm-5"] {
            fs::create_dir_all(at("sys/fs/btrfs/one/devices").join(member)).unwrap();
        }
        fs::create_dir_all(at("proc/self")).unwrap();
        fs::write(
            at("proc/self/mountinfo"),
            "22 1 253:1 / / rw - ext4 /dev/mapper/a rw\n\
             23 22 253:3 / /usr rw - xfs /dev/mapper/vg-usr rw\n\
             24 22 0:40 / /data rw - btrfs /dev/mapper/name-of-dm-4 rw\n\
             25 22 8:0 / /boot rw - ext4 /dev/sda rw\n",
        )
        .unwrap();
        let below = |points: &[&str]| -> Vec<String> {
            let found = Sysfs::new(root.path()).maps_below(points);
            found.iter().map(Wwid::to_string).collect()
        };
        assert_eq!(below(&["/"]), ["36001"]);
        assert_eq!(below(&["/", "/usr"]), ["36001", "36002"]);
        assert_eq!(below(&["/data"]), ["36003", "36004"]);
        assert!(below(&["/boot", "/srv"]).is_empty());
    }

    #[test]
    fn swaps_are_known_by_name() {
        let mut users = Users::default();
        users.add_swaps(
            "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 1 0 -2\n/swapfile file 1 0 -3\n",
        );
        assert_eq!(users.swaps, BTreeSet::from(["sda3".to_owned()]));
    }

    #[test]
    fn differences_are_found_on_both_sides() {
        let now = BTreeMap::from([(1, "a"), (2, "b"), (3, "c")]);
        let then = BTreeMap::from([(2, "b"), (3, "x"), (4, "d")]);
        assert_eq!(differing(&now, &then), BTreeSet::from([&1, &3, &4]));
    }
}
