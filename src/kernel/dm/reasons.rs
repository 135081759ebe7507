//! Human-readable reasons for errors of device-mapper.
//!
//! The kernel writes its reason only to its log; the ioctl returns just an errno. This module adds what sysfs and the
//! list of mounts say about the paths.

use crate::psa::table::model::{Table, TablePath};
use crate::psa::units::DevT;
use nix::errno::Errno;
use std::fs;
use std::path::{Path, PathBuf};

/// Where to read from; tests use another root.
pub(super) struct System<'a> {
    pub(super) sys: &'a Path,
    pub(super) mountinfo: &'a Path,
}

impl System<'static> {
    /// The running system.
    pub(super) fn here() -> Self {
        System {
            sys: Path::new("/sys"),
            mountinfo: Path::new("/proc/self/mountinfo"),
        }
    }
}

/// Which holders of a block device count as users.
#[derive(Clone, Copy, PartialEq)]
enum Holders {
    All,
    /// Maps can share a device: the kernel opens all of them in the name of device-mapper.
    AllButDm,
}

/// The users of the paths of a table: holders and mounts.
pub(super) fn users(system: &System<'_>, table: &Table) -> Vec<String> {
    let of = |path: &TablePath| system.users(path.dev, Holders::All);
    table.paths().flat_map(of).collect()
}

/// Why a table load failed.
pub(super) fn load(system: &System<'_>, errno: Errno, table: &Table) -> String {
    let paths: Vec<DevT> = table.paths().map(|path| path.dev).collect();
    let about = |of_path: &dyn Fn(DevT) -> Vec<String>, else_say: &str| {
        let found: Vec<String> = paths.iter().flat_map(|&dev| of_path(dev)).collect();
        if found.is_empty() {
            else_say.to_owned()
        } else {
            found.join("; ")
        }
    };
    match errno {
        Errno::EBUSY => about(
            &|dev| system.users(dev, Holders::AllButDm),
            "a path is in use: mounted, or opened exclusively by another program",
        ),
        Errno::ENXIO | Errno::ENODEV | Errno::ENOENT => about(
            &|dev| system.offline(dev),
            "a path cannot be opened: it is gone or offline",
        ),
        Errno::EINVAL => format!(
            "the kernel refused the table; its log has a line `device-mapper: table: ...` with the reason \
             (a path smaller than the map, a missing module {}, a map that cannot become multipath or change its \
             queue mode)",
            modules(table).join(" or ")
        ),
        Errno::EROFS | Errno::EACCES => "a path is read-only or may not be opened".to_owned(),
        Errno::ENOMEM => "the kernel is out of memory".to_owned(),
        _ => general(errno),
    }
}

/// Why creating a map failed.
pub(super) fn create(errno: Errno) -> String {
    match errno {
        Errno::EBUSY => "a map with this name or UUID already exists".to_owned(),
        _ => general(errno),
    }
}

/// Why resuming a map failed.
pub(super) fn resume(errno: Errno) -> String {
    match errno {
        Errno::EINVAL => {
            "it has no table, or the new one does not fit the old one (queue mode, target type)"
                .to_owned()
        }
        Errno::EINTR => "waiting for I/O in flight was interrupted".to_owned(),
        _ => general(errno),
    }
}

/// Why a message failed.
pub(super) fn message(errno: Errno) -> String {
    match errno {
        Errno::EBUSY => "the map is suspended".to_owned(),
        Errno::EINVAL => "the live table has no such path or group".to_owned(),
        // Linux 6.1 opens the device that a message names.
        Errno::ENXIO | Errno::ENODEV => {
            "there is no such map, or (before Linux 6.12) its path cannot be opened".to_owned()
        }
        _ => general(errno),
    }
}

/// Why removing a map failed.
pub(super) fn remove(system: &System<'_>, errno: Errno, dev: Option<DevT>) -> String {
    if errno != Errno::EBUSY {
        return general(errno);
    }
    let users = dev
        .map(|dev| system.users(dev, Holders::All))
        .filter(|users| !users.is_empty());
    users.map_or_else(
        || "it is open: in use by a program".to_owned(),
        |users| users.join("; "),
    )
}

/// What an errno means for any of the calls.
pub(super) fn general(errno: Errno) -> String {
    match errno {
        Errno::ENXIO => "there is no such map".to_owned(),
        Errno::EPERM | Errno::EACCES => {
            "permission denied: device-mapper requires CAP_SYS_ADMIN and access to /dev/mapper/control".to_owned()
        }
        Errno::ENOTTY => "the kernel is too old for this call".to_owned(),
        _ => errno.desc().to_owned(),
    }
}

/// The kernel modules that a table needs.
fn modules(table: &Table) -> Vec<String> {
    let mut out = vec!["dm-multipath".to_owned()];
    for group in &table.groups {
        let module = format!("dm-{}", group.selector.name);
        if !out.contains(&module) {
            out.push(module);
        }
    }
    out
}

impl System<'_> {
    fn block(&self, dev: DevT) -> PathBuf {
        self.sys.join(format!("dev/block/{dev}"))
    }

    /// `8:16 (sdb)`
    fn called(&self, dev: DevT) -> String {
        let name = self
            .block(dev)
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        name.map_or_else(|| dev.to_string(), |name| format!("{dev} ({name})"))
    }

    /// The holders and mounts of the device and of its partitions.
    fn users(&self, dev: DevT, which: Holders) -> Vec<String> {
        let disk = self.block(dev);
        let partitions = entries(&disk)
            .into_iter()
            .filter(|path| path.join("partition").exists());
        let mut out = Vec::new();
        for place in std::iter::once(disk.clone()).chain(partitions) {
            let number = fs::read_to_string(place.join("dev")).unwrap_or_default();
            let Ok(number) = number.trim().parse() else {
                continue;
            };
            for holder in entries(&place.join("holders")) {
                let dm_name = fs::read_to_string(holder.join("dm/name"));
                if which == Holders::AllButDm && dm_name.is_ok() {
                    continue;
                }
                let node = holder.file_name().unwrap_or_default().display().to_string();
                let name = match dm_name.unwrap_or_default().trim() {
                    "" => node,
                    name => format!("{node} ({name})"),
                };
                out.push(format!("{} is held by {name}", self.called(number)));
            }
            if let Some(at) = self.mounted_at(number) {
                out.push(format!("{} is mounted at {at}", self.called(number)));
            }
        }
        out
    }

    /// Fields of mountinfo: id, parent, `major:minor`, root, mount point.
    fn mounted_at(&self, dev: DevT) -> Option<String> {
        let text = fs::read_to_string(self.mountinfo).ok()?;
        let dev = dev.to_string();
        text.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(2);
            (fields.next()? == dev).then(|| fields.nth(1).map(str::to_owned))?
        })
    }

    /// Why a path cannot be opened, if sysfs shows it.
    fn offline(&self, dev: DevT) -> Vec<String> {
        if !self.block(dev).exists() {
            return vec![format!("path {dev} is gone")];
        }
        let state = fs::read_to_string(self.block(dev).join("device/state")).unwrap_or_default();
        match state.trim() {
            "" | "running" => vec![],
            state => vec![format!(
                "path {} is {state}: it cannot be added to a map until it is running again",
                self.called(dev)
            )],
        }
    }
}

/// The entries of a directory; empty if it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::table::parse::parse;
    use crate::psa::units::Sectors;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn names_the_users_of_a_busy_device() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path();
        for (dev, disk) in [("8:0", "sda"), ("8:16", "sdb"), ("8:32", "sdc")] {
            write(sys.join(format!("devices/{disk}/dev")), &format!("{dev}\n"));
            fs::create_dir_all(sys.join("dev/block")).unwrap();
            let link = sys.join(format!("dev/block/{dev}"));
            std::os::unix::fs::symlink(format!("../../devices/{disk}"), link).unwrap();
        }
        write(sys.join("devices/sda/sda1/dev"), "8:1\n");
        write(sys.join("devices/sda/sda1/partition"), "1\n");
        write(sys.join("devices/sdb/holders/dm-3/dm/name"), "vg-root\n");
        write(sys.join("devices/sdb/holders/md0/dev"), "9:0\n");
        write(sys.join("devices/sdc/device/state"), "transport-offline\n");
        write(
            sys.join("mountinfo"),
            "29 1 8:1 / /boot rw shared:1 - ext4 /dev/sda1 rw\n",
        );
        let mountinfo = sys.join("mountinfo");
        let system = System {
            sys,
            mountinfo: &mountinfo,
        };
        let table = parse(Sectors(1), "0 0 1 1 service-time 0 4 0 8:0 8:16 8:32 8:48").unwrap();
        assert_eq!(
            load(&system, Errno::EBUSY, &table),
            "8:1 is mounted at /boot; 8:16 (sdb) is held by md0"
        );
        assert_eq!(
            load(&system, Errno::ENXIO, &table),
            "path 8:32 (sdc) is transport-offline: it cannot be added to a map until it is running again; \
             path 8:48 is gone"
        );
        assert!(load(&system, Errno::EINVAL, &table).contains("dm-service-time"));
        let dev = "8:16".parse().unwrap();
        assert_eq!(
            remove(&system, Errno::EBUSY, Some(dev)),
            "8:16 (sdb) is held by dm-3 (vg-root); 8:16 (sdb) is held by md0"
        );
    }
}
