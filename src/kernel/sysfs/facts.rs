//! Reads the facts of a SCSI device and its disk.

use super::{Device, Survey, adapter, attribute, names_in, target};
use crate::psa::facts::{BlockFacts, Handler, PathFacts};
use crate::psa::units::{DevT, Sectors, Sg};
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// The limits of a disk's request queue that do not change while the disk exists.
///
/// They are read only once: showing `queue/*` takes the `sysfs_lock` of the queue. Up to Linux 6.10 a change of the I/O
/// scheduler holds this lock while it waits for all I/O to end (`elv_iosched_store`), on a hung path forever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    dev: DevT,
    max_io_bytes: u64,
    rotational: bool,
}

/// Reads the facts of a device.
pub(super) fn read(survey: &mut Survey, device: &Device) -> PathFacts {
    let (transport, adapter) = adapter::adapter(survey, device);
    PathFacts {
        hctl: device.hctl,
        block: block(survey, device),
        sg: sg(device),
        device_type: number(device.attribute("type")).unwrap_or(NO_DEVICE_TYPE),
        device_state: device.attribute("state").unwrap_or_default(),
        handler: handler(device),
        transport,
        adapter,
        target: target::target(survey, device),
    }
}

/// "Unknown or no device type" (SPC-5 table 151), used where the attribute cannot be read.
const NO_DEVICE_TYPE: u8 = 0x1f;

/// The sg device: `generic` is a link that the `sg` driver makes (`sg_add_device`), such as `scsi_generic/sg3`.
fn sg(device: &Device) -> Option<Sg> {
    let link = fs::read_link(device.dir.join("generic")).ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// The device handler: `dh_state` (`sdev_show_dh_state`) exists only with `CONFIG_SCSI_DH`.
fn handler(device: &Device) -> Handler {
    match device.attribute("dh_state") {
        None => Handler::Unsupported,
        Some(state) if state.is_empty() || state == "detached" => Handler::Detached,
        Some(name) => Handler::Attached(name),
    }
}

/// The disk, if `sd` has bound to the device and udev is done with the disk.
fn block(survey: &mut Survey, device: &Device) -> Option<BlockFacts> {
    // A device has at most one disk; `sd` and `sr` both put it into `block`.
    let name = names_in(&device.dir.join("block")).pop_first()?;
    let dir = device.dir.join("block").join(&name);
    let dev: DevT = attribute(&dir.join("dev"))?.parse().ok()?;
    if survey.udev_runs() && !survey.sysfs.udev_knows(dev) {
        return None;
    }
    let limits = match survey.limits.get(&device.hctl) {
        Some(known) if known.dev == dev => *known,
        _ => {
            let limits = Limits::read(dev, &dir);
            survey.limits.insert(device.hctl, limits);
            limits
        }
    };
    let sysfs = survey.sysfs.clone();
    Some(BlockFacts {
        dev,
        size: Sectors(number(attribute(&dir.join("size"))).unwrap_or(0)),
        read_only: attribute(&dir.join("ro")).as_deref() == Some("1"),
        max_io_bytes: limits.max_io_bytes,
        queue_depth: number(device.attribute("queue_depth")).unwrap_or(0),
        rotational: limits.rotational,
        usage: survey.users().of_disk(&sysfs, &dir, &name, dev),
        name,
    })
}

impl Limits {
    fn read(dev: DevT, disk: &Path) -> Limits {
        let queue = disk.join("queue");
        Limits {
            dev,
            max_io_bytes: number::<u64>(attribute(&queue.join("max_hw_sectors_kb")))
                .unwrap_or(0)
                .saturating_mul(1024),
            rotational: attribute(&queue.join("rotational")).as_deref() == Some("1"),
        }
    }
}

fn number<N: FromStr>(text: Option<String>) -> Option<N> {
    text?.parse().ok()
}
