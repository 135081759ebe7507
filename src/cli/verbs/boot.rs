//! `activate`, `boot`: maps in the initramfs and on rescue systems, where no agent stays.

use super::arguments::{flag, option, text};
use super::verb::Verb;
use crate::cli::activate::{self, Request};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_boot::BootImageLine;
use crate::cli::record::Listing;
use crate::config::Places;
use crate::config::boot::{self, BootImage, MOUNTED};
use crate::kernel::sysfs::Sysfs;
use crate::psa::names::Wwid;
use crate::psa::state::initramfs::Scope;
use clap::{Arg, ArgMatches, value_parser};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["activate"],
        about: "Make the maps of this host once, without a daemon: in an initramfs or on a rescue system",
        arguments: &[wait_for, within, initrd, root_is_missing],
        run: activate,
        legacy: false,
    },
    Verb {
        words: &["boot", "status"],
        about: "Show what the initramfs images of this host hold, and whether they are stale",
        arguments: &[],
        run: |context, _| {
            let (places, host) = (context.places(), context.host()?);
            Ok(listing(&images(context, &places, &host)?))
        },
        legacy: false,
    },
    Verb {
        words: &["boot", "record"],
        about: "Record what an initramfs holds (its hook runs this)",
        arguments: &[kernel, image, not_booted],
        run: |context, given| {
            let kernel = text(given, "kernel").unwrap_or_default();
            let image: &PathBuf = given.get_one("image").ok_or_else(no_image)?;
            let wait_for = context.host()?.maps_below(MOUNTED);
            let is_booted = !given.get_flag("not-booted");
            boot::record(&context.places(), &kernel, image, wait_for, is_booted)
                .map_err(Failure::File)?;
            Ok(Listing::lines([]))
        },
        // Only scripts need it.
        legacy: true,
    },
];

fn no_image() -> Failure {
    Failure::Usage(
        "--image is missing: the directory of the initramfs that is being made".to_owned(),
    )
}

fn wait_for() -> Arg {
    let help = "Do not end before the device with this WWID has its map; may be repeated";
    option("wait-for", None, "WWID", help).action(clap::ArgAction::Append)
}

fn within() -> Arg {
    let help = "The longest time to wait, at most 3600; by default what dm_psa.wait= on the kernel command line says, or 30";
    option("within", None, "SECONDS", help).value_parser(value_parser!(u64).range(1..))
}

fn initrd() -> Arg {
    let help = "Wait for the devices that the system runs from, by the record of the initramfs, and make maps of known devices only";
    flag("initrd", None, help)
}

fn root_is_missing() -> Arg {
    let help = "With --initrd: the root file system was looked for and not found. If the expected devices are there, other disks may be a part of it, and those that get no map are released";
    flag("root-is-missing", None, help).requires("initrd")
}

fn not_booted() -> Arg {
    let help = "The host does not boot from this image: it is for kdump or a rescue system. `boot status` does not show it";
    flag("not-booted", None, help)
}

fn kernel() -> Arg {
    option(
        "kernel",
        None,
        "VERSION",
        "The kernel that the initramfs is for",
    )
    .required(true)
}

fn image() -> Arg {
    option(
        "image",
        None,
        "DIR",
        "The directory of the initramfs that is being made",
    )
    .value_parser(value_parser!(PathBuf))
    .required(true)
}

fn activate(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wwids = given.get_many::<String>("wait-for").into_iter().flatten();
    let (wait, wrong) = boot::wait(&context.host()?.command_line());
    context.warn(wrong);
    let within = given.get_one("within").copied();
    let mut request = Request {
        wait_for: wwids.map(|wwid| Wwid::from(wwid.as_str())).collect(),
        scope: Scope::All,
        root_is_missing: given.get_flag("root-is-missing"),
        within: within.map_or(wait, |seconds: u64| Duration::from_secs(seconds.min(3600))),
        log: None,
    };
    if given.get_flag("initrd") {
        as_recorded(context, &mut request);
    }
    activate::activate(context, &request)
}

/// Does what the record of this initramfs says, and leaves it to the agent of the root file system.
fn as_recorded(context: &mut Context, request: &mut Request) {
    let places = context.places();
    // The console of a boot shows what is waited for, and not each event.
    request.log = Some(places.run().join("boot.log"));
    match BootImage::load(&places.boot_image()) {
        Ok(Some(image)) => {
            // The first initramfs after the installation does not know any device.
            if !image.wait_for.is_empty() {
                request.scope = Scope::Known;
            }
            request.wait_for.extend(image.wait_for.iter().cloned());
            context.warn(
                image
                    .save(&places.booted_image())
                    .err()
                    .map(|why| why.to_string()),
            );
        }
        Ok(None) => context.warn([format!(
            "{} does not exist: this is no initramfs that has dm-psa. No device is waited for",
            places.boot_image().display()
        )]),
        // Without the record the maps are still made.
        Err(why) => context.warn([why.to_string()]),
    }
}

/// The images of this host, and that of this boot.
fn images(
    context: &mut Context,
    places: &Places,
    host: &Sysfs,
) -> Result<Vec<BootImageLine>, Failure> {
    let disks = host.maps_below(MOUNTED);
    let (mut lines, mut is_stale) = (Vec::new(), false);
    let files = boot::recorded(places).into_iter();
    for (file, booted) in files
        .map(|file| (file, false))
        .chain([(places.booted_image(), true)])
    {
        let image = match BootImage::load(&file) {
            Ok(Some(image)) => image,
            Ok(None) => continue,
            Err(why) => {
                context.partly(why.to_string());
                continue;
            }
        };
        let root = places.root();
        if !booted && !root.join("lib/modules").join(&image.kernel).exists() {
            // The kernel was removed.
            continue;
        }
        let now = BootImage::of_now(places, &image.kernel, disks.clone()).map_err(Failure::File)?;
        let mut differences = image.differences(&now);
        let is_remade = BootImage::recorded_for(places, &image.kernel)
            .is_ok_and(|of| of.as_ref() == Some(&now));
        if !booted {
            differences.extend(not_written(root, &file, &image.kernel));
        } else if is_remade && !differences.is_empty() {
            differences = vec!["a new initramfs was made since; the next boot uses it".to_owned()];
        }
        let is_past = booted && is_remade;
        is_stale |= !is_past && !differences.is_empty();
        lines.push(BootImageLine {
            kernel: image.kernel,
            booted,
            version: image.version,
            wait_for: image.wait_for.iter().map(Wwid::to_string).collect(),
            differences,
        });
    }
    if lines.is_empty() {
        context.warn([
            "no initramfs of this host has dm-psa: install dm-psa-boot and make one. On a host that runs from a single disk so far, dracut needs `dracut -f --add dm-psa`"
                .to_owned(),
        ]);
    }
    if is_stale {
        context.says_no();
    }
    Ok(lines)
}

/// The image files of a kernel on Debian and Ubuntu, on Fedora and RHEL, and on openSUSE.
const IMAGES: &[&str] = &["boot/initrd.img-", "boot/initramfs-", "boot/initrd-"];

/// The reason why an image is not what was recorded: it does not exist, or it was not written after the record.
fn not_written(root: &Path, record: &Path, kernel: &str) -> Option<String> {
    let time = |file: &Path| file.metadata().and_then(|of| of.modified()).ok();
    let images = IMAGES
        .iter()
        .flat_map(|begin| ["", ".img"].map(|end| root.join(format!("{begin}{kernel}{end}"))));
    let Some(written) = images.filter_map(|image| time(&image)).max() else {
        return Some("its file is not in /boot".to_owned());
    };
    (time(record)? > written)
        .then(|| "its file is older than this record: it was not made to the end".to_owned())
}
