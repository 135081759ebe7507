//! Reads the facts of a SCSI device and its disk.

use super::device::Device;
use super::survey::{Limits, Survey};
use super::tree::{SHORT, Shortage, attribute, names_in};
use super::{adapter, target};
use crate::psa::facts::{BlockFacts, Handler, PathFacts};
use crate::psa::units::{DevT, Hctl, Sectors, Sg};
use std::fs;
use std::path::Path;
use std::str::FromStr;

impl Survey {
    /// The facts of one path; `None` if there is no such SCSI device.
    ///
    /// `block` is set only after udev's rules have run for the disk, or if no udev daemon is running: before that,
    /// neither its links nor the mark that hides it from other users exist.
    ///
    /// # Errors
    /// The process is short of files or memory, so what exists cannot be distinguished from what does not exist. What
    /// was read in this batch is discarded.
    pub fn read(&mut self, path: Hctl) -> Result<Option<PathFacts>, Shortage> {
        SHORT.set(false);
        let facts = Device::find(&self.sysfs, path).map(|device| facts_of(self, &device));
        if SHORT.get() {
            self.begin();
            self.forget(path);
            return Err(Shortage);
        }
        Ok(facts)
    }
}

/// Reads the facts of a device.
fn facts_of(survey: &mut Survey, device: &Device) -> PathFacts {
    let (transport, adapter) = adapter::adapter(survey, device);
    PathFacts {
        hctl: device.hctl,
        block: block(survey, device),
        sg: sg(device),
        device_type: number(device.attribute("type")).unwrap_or(NO_DEVICE_TYPE),
        vendor: device.attribute("vendor").unwrap_or_default(),
        model: device.attribute("model").unwrap_or_default(),
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
            let limits = limits_of(dev, &dir);
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

fn limits_of(dev: DevT, disk: &Path) -> Limits {
    let queue = disk.join("queue");
    Limits {
        dev,
        max_io_bytes: number::<u64>(attribute(&queue.join("max_hw_sectors_kb")))
            .unwrap_or(0)
            .saturating_mul(1024),
        rotational: attribute(&queue.join("rotational")).as_deref() == Some("1"),
    }
}

fn number<N: FromStr>(text: Option<String>) -> Option<N> {
    text?.parse().ok()
}
