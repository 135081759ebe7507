//! What the agent does for the boot and the shutdown of its host: compares what the initramfs of this boot held with the
//! files of the root file system, and keeps in memory what ends the host.

use crate::config::boot::{BootImage, MOUNTED};
use crate::config::{ConfigError, Places};
use crate::kernel::hold::Held;
use crate::kernel::sysfs::Sysfs;
use crate::kernel::{NoticeSink, thread};
use crate::psa::action::Notice;
use crate::psa::codes;
use std::io;
use std::time::Duration;

/// PID 1, and the program that it turns into at the end of a shutdown. If a page of them cannot be read, the host neither
/// shuts down nor reboots.
const LAST_PROGRAMS: [&str; 2] = [
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-shutdown",
];

/// How often they are read again: an upgrade replaces them.
const HOLD_AGAIN: Duration = Duration::from_secs(600);

/// If the root file system is on a multipath map, keeps [`LAST_PROGRAMS`] in memory, so that the host can end when all paths
/// to it are lost. They are some 15 MiB with their libraries.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn hold_last_programs(places: &Places, notice_sink: NoticeSink) -> io::Result<()> {
    let programs = LAST_PROGRAMS.map(|program| places.root().join(program));
    let are_there = programs.iter().all(|program| program.exists());
    if !are_there || Sysfs::new(places.root()).maps_below(MOUNTED).is_empty() {
        return Ok(());
    }
    thread("shutdown").not_essential().spawn(move || {
        let (mut held, mut is_reported) = (None, false);
        loop {
            match Held::programs(&programs) {
                Ok(now) => held = Some(now),
                // What was read before stays.
                Err(error) if held.is_none() && !is_reported => {
                    is_reported = true;
                    let details = [("reason", &*error.to_string())];
                    notice_sink.notify(Notice::new(codes::SHUTDOWN_NOT_HELD, "agent", &details));
                }
                Err(_) => {}
            }
            std::thread::sleep(HOLD_AGAIN);
        }
    })?;
    Ok(())
}

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
