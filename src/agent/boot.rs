//! Compares what the initramfs of this boot held with the files of the root file system.

use crate::config::boot::{BootImage, MOUNTED};
use crate::config::{ConfigError, Places};
use crate::kernel::sysfs::Sysfs;
use crate::psa::action::Notice;
use crate::psa::codes;

/// A notice if the initramfs made the maps by other files than this system has, and no new one was made since. `None` also
/// if no initramfs made maps, and in an initramfs.
pub(super) fn compare(places: &Places) -> Option<Notice> {
    if places.boot_image().exists() {
        return None;
    }
    let differences = || {
        let Some(then) = BootImage::load(&places.booted_image())? else {
            return Ok(Vec::new());
        };
        let disks = Sysfs::new(places.root()).maps_below(MOUNTED);
        let now = BootImage::of_now(places, &then.kernel, disks)?;
        let is_remade = BootImage::recorded_for(places, &then.kernel)?.as_ref() == Some(&now);
        Ok(match is_remade {
            true => Vec::new(),
            false => then.differences(&now),
        })
    };
    let found = differences().unwrap_or_else(|why: ConfigError| vec![why.to_string()]);
    let reason = found.join("; ");
    (!found.is_empty())
        .then(|| Notice::new(codes::BOOT_FILES_DIFFER, "agent", &[("reason", &*reason)]))
}
