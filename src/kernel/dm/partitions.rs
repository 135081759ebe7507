//! Finds maps of partitions (`kpartx`) on a map: their UUID is `partN-` followed by the UUID of the map.
//!
//! Partition maps have the map open, so a map with partitions would never count as closed. Therefore partitions that
//! nobody has open do not count as users, and are removed with their map.

use super::ioctl::{self, Header, Which};
use crate::psa::units::DevT;
use std::fs;
use std::fs::File;
use std::path::Path;

/// The most partitions of one map that are considered: `sgdisk` makes at most 128 by default.
const MOST: usize = 256;

/// Whether `uuid` is the dm UUID of a partition of the map with UUID `map`.
fn is_partition_of(uuid: &str, map: &str) -> bool {
    let rest = uuid
        .strip_prefix("part")
        .and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(number, rest)| {
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && rest == map
    })
}

/// UUIDs of the maps below `sys` that hold `dev` and are partitions of it.
fn on(sys: &Path, dev: DevT, map: &str) -> Vec<String> {
    let Ok(holders) = fs::read_dir(sys.join(format!("dev/block/{dev}/holders"))) else {
        return Vec::new();
    };
    holders
        .take(MOST)
        .filter_map(|entry| {
            let uuid = fs::read_to_string(entry.ok()?.path().join("dm/uuid")).ok()?;
            let uuid = uuid.trim_end();
            is_partition_of(uuid, map).then(|| uuid.to_owned())
        })
        .collect()
}

/// UUIDs of the partitions of a map that nobody has open.
pub(super) fn idle(control: &File, map: &Header) -> Vec<String> {
    let Some(uuid) = map.uuid().filter(|_| map.open_count() > 0) else {
        return Vec::new();
    };
    let mut found = on(Path::new("/sys"), map.dev(), uuid);
    found.retain(|uuid| {
        let status = ioctl::status(control, Which::Uuid(uuid));
        status.is_ok_and(|status| status.open_count() == 0)
    });
    found
}

/// How many users a map has; partitions that nobody has open do not count.
pub(super) fn users(control: &File, map: &Header) -> u32 {
    let idle = u32::try_from(idle(control, map).len()).unwrap_or(u32::MAX);
    map.open_count().saturating_sub(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_distinguished_from_other_holders() {
        let map = "mpath-36001405a";
        for (uuid, is) in [
            ("part1-mpath-36001405a", true),
            ("part12-mpath-36001405a", true),
            ("part-mpath-36001405a", false),
            ("part1-mpath-36001405ab", false),
            ("part1a-mpath-36001405a", false),
            ("LVM-abc", false),
            ("mpath-36001405a", false),
        ] {
            assert_eq!(is_partition_of(uuid, map), is, "{uuid}");
        }
        let root = tempfile::tempdir().unwrap();
        let holders = root.path().join("dev/block/252:0/holders");
        for (holder, uuid) in [("dm-1", "part1-mpath-36001405a\n"), ("dm-2", "LVM-x\n")] {
            let dm = holders.join(holder).join("dm");
            fs::create_dir_all(&dm).unwrap();
            fs::write(dm.join("uuid"), uuid).unwrap();
        }
        let dev: DevT = "252:0".parse().unwrap();
        assert_eq!(on(root.path(), dev, map), ["part1-mpath-36001405a"]);
        assert!(on(root.path(), "252:9".parse().unwrap(), map).is_empty());
    }
}
