//! Commands of esxcli for which Linux has other means. They are accepted, so that a script or a guide for ESXi
//! continues to work, and report the situation on Linux. Help does not list them.

use super::arguments::{flag, option, text};
use super::device::{Blocks, device, devices};
use super::verb::Verb;
use crate::api::requests::{ListAdapters, ListCorePaths};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_host::{AdapterDevice, Capabilities, Capacity, DeviceUid, Partition};
use crate::cli::record::Listing;
use crate::config::settings_file::{Key, Setting, SettingsFile};
use clap::{Arg, ArgMatches};
use std::collections::BTreeSet;

/// A command that is accepted without effect on a device: its words, and the reason.
const fn idle(words: &'static [&'static str], run: Run) -> Verb {
    Verb {
        words,
        about: "Accepted, without effect",
        arguments: &[
            device,
            || any("latency-sensitive-threshold", 't'),
            || any("vendor", 'v'),
            || any("model", 'm'),
            || any("ignore", 'i'),
        ],
        run,
        legacy: true,
    }
}

type Run = fn(&mut Context, &ArgMatches) -> Result<Listing, Failure>;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    idle(
        &["storage", "core", "device", "latencythreshold", "set"],
        |context, given| {
            without_effect(
                context,
                given,
                "Linux has no latency thresholds; the I/O scheduler is in /sys/block/DISK/queue/scheduler",
            )
        },
    ),
    idle(
        &["storage", "core", "device", "latencythreshold", "list"],
        |context, given| without_effect(context, given, "Linux has no latency thresholds"),
    ),
    idle(
        &["storage", "core", "device", "inquirycache", "set"],
        |context, given| {
            without_effect(
                context,
                given,
                "INQUIRY data is not cached: each rescan reads it again",
            )
        },
    ),
    idle(
        &["storage", "core", "device", "inquirycache", "list"],
        |context, given| without_effect(context, given, "INQUIRY data is not cached"),
    ),
    idle(
        &["storage", "core", "device", "smart", "get"],
        |context, given| {
            without_effect(
                context,
                given,
                "`smartctl -a` of smartmontools shows the health that a disk reports",
            )
        },
    ),
    idle(
        &["storage", "core", "device", "raid", "list"],
        |context, given| without_effect(context, given, "use the tool of the RAID controller"),
    ),
    idle(
        &["storage", "core", "device", "physical", "get"],
        |context, given| {
            without_effect(context, given, "use `lsscsi` and `ledctl` to locate a disk")
        },
    ),
    Verb {
        words: &["storage", "core", "device", "uid", "list"],
        about: "List all identifiers of devices",
        arguments: &[device],
        run: |context, given| {
            let devices = devices(context, given)?.into_iter();
            let uids = devices.map(|device| DeviceUid {
                device: device.device,
                other: device.other_uids,
            });
            Ok(listing(&uids.collect::<Vec<_>>()))
        },
        legacy: true,
    },
    Verb {
        words: &["storage", "core", "device", "capacity", "list"],
        about: "List the sizes and block sizes of devices",
        arguments: &[device],
        run: |context, given| {
            let host = context.host()?;
            let blocks = Blocks::of(&host);
            let devices = devices(context, given)?.into_iter().map(|device| {
                let block = blocks.named(&device.devfs_path);
                let limit = |name| host.queue_limit(block.as_deref()?, name);
                Capacity {
                    physical: limit("physical_block_size"),
                    logical: limit("logical_block_size"),
                    sectors: block
                        .as_deref()
                        .and_then(|block| Some(host.extent_of(block)?.1)),
                    size_mib: device.size_mib,
                    device: device.device,
                }
            });
            Ok(listing(&devices.collect::<Vec<_>>()))
        },
        legacy: true,
    },
    Verb {
        words: &["storage", "core", "device", "partition", "list"],
        about: "List the partitions of devices",
        arguments: &[device],
        run: partitions,
        legacy: true,
    },
    Verb {
        words: &["storage", "core", "adapter", "device", "list"],
        about: "List the devices behind each adapter",
        arguments: &[adapter],
        run: |context, given| {
            let adapters = adapters(context, given, "")?;
            let every = ListCorePaths {
                device: None,
                path: None,
            };
            let paths = context.ask(&every)?.paths.into_iter();
            let pairs: BTreeSet<(String, String)> = paths
                .filter(|path| adapters.iter().any(|adapter| adapter.name == path.adapter))
                .filter_map(|path| Some((path.adapter, path.device?)))
                .collect();
            let pairs = pairs.into_iter();
            let pairs = pairs.map(|(adapter, device)| AdapterDevice { adapter, device });
            Ok(listing(&pairs.collect::<Vec<_>>()))
        },
        legacy: true,
    },
    Verb {
        words: &["storage", "core", "adapter", "capabilities", "list"],
        about: "List the capabilities of adapters",
        arguments: &[adapter],
        run: |context, given| {
            let adapters = adapters(context, given, "")?.into_iter();
            let all = adapters.map(|adapter| Capabilities {
                adapter: adapter.name,
                capabilities: adapter.capabilities,
            });
            Ok(listing(&all.collect::<Vec<_>>()))
        },
        legacy: true,
    },
    san(&["storage", "san", "fc", "list"], |context, given| {
        of_kind(context, given, "fc.")
    }),
    san(&["storage", "san", "fcoe", "list"], |context, given| {
        of_kind(context, given, "fcoe.")
    }),
    san(&["storage", "san", "iscsi", "list"], |context, given| {
        of_kind(context, given, "iqn.")
    }),
    san(&["storage", "san", "sas", "list"], |context, given| {
        of_kind(context, given, "sas.")
    }),
    Verb {
        words: &["storage", "nmp", "boot", "restore"],
        about: "Accepted, without effect",
        arguments: &[],
        run: |_, _| {
            Ok(Listing::lines([
                "without effect: settings are kept over a restart".to_owned(),
            ]))
        },
        legacy: true,
    },
    Verb {
        words: &["system", "settings", "advanced", "set"],
        about: "Set an advanced storage setting of ESXi",
        arguments: &[setting, int_value, string_value, default_value],
        run: advanced_set,
        legacy: true,
    },
    Verb {
        words: &["system", "settings", "advanced", "list"],
        about: "Show an advanced storage setting of ESXi",
        arguments: &[setting],
        run: advanced_list,
        legacy: true,
    },
];

const fn san(words: &'static [&'static str], run: Run) -> Verb {
    Verb {
        words,
        about: "List the adapters of a transport",
        arguments: &[adapter],
        run,
        legacy: true,
    }
}

fn any(name: &'static str, short: char) -> Arg {
    option(name, Some(short), "VALUE", "Accepted, without effect")
}

fn adapter() -> Arg {
    option("adapter", Some('A'), "ADAPTER", "This adapter only: vmhba2")
}

/// Reports why a command has no effect. A device that does not exist is reported nevertheless.
fn without_effect(
    context: &mut Context,
    given: &ArgMatches,
    why: &str,
) -> Result<Listing, Failure> {
    if given.contains_id("device") {
        devices(context, given)?;
    }
    Ok(Listing::lines([format!("without effect: {why}")]))
}

/// The adapters whose UID begins with this text, or the one that is requested.
fn adapters(
    context: &mut Context,
    given: &ArgMatches,
    kind: &str,
) -> Result<Vec<crate::api::types::Adapter>, Failure> {
    let wanted = text(given, "adapter");
    let mut adapters = context.ask(&ListAdapters {})?.adapters;
    adapters.retain(|adapter| {
        adapter.uid.starts_with(kind) && wanted.as_ref().is_none_or(|name| *name == adapter.name)
    });
    match (adapters.is_empty(), wanted) {
        (true, Some(name)) => Err(super::statistics::no_adapter(&name)),
        _ => Ok(adapters),
    }
}

fn of_kind(context: &mut Context, given: &ArgMatches, kind: &str) -> Result<Listing, Failure> {
    Ok(listing(&adapters(context, given, kind)?))
}

fn partitions(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let host = context.host()?;
    let blocks = Blocks::of(&host);
    let mut all = Vec::new();
    for device in devices(context, given)? {
        let Some(block) = blocks.named(&device.devfs_path) else {
            continue;
        };
        for name in std::iter::once(block.clone()).chain(host.partitions_of(&block)) {
            let Some((start, sectors)) = host.extent_of(&name) else {
                continue;
            };
            // Partition 0 is the whole device, as on ESXi.
            let is_whole = name == block;
            all.push(Partition {
                device: device.device.clone(),
                name,
                start: if is_whole { Some(0) } else { start },
                sectors,
            });
        }
    }
    Ok(listing(&all))
}

// ---- system settings advanced ----------------------------------------------------------------------------------

/// The equivalent of an advanced setting of ESXi.
enum Advanced {
    /// A setting of dm-psa.toml in milliseconds. The setting of ESXi is in seconds, with this range.
    Seconds(&'static str, u32, u32),
    /// A setting of dm-psa.toml that is true or false.
    Flag(&'static str),
    /// No equivalent; the reason.
    Nothing(&'static str),
}

const ADVANCED: [(&str, Advanced); 9] = [
    (
        "/Misc/APDTimeout",
        Advanced::Seconds("apd_timeout_ms", 20, 99_999),
    ),
    (
        "/Disk/PathEvalTime",
        Advanced::Seconds("check_interval_ms", 1, 86_400),
    ),
    ("/Disk/AutoremoveOnPDL", Advanced::Flag("remove_lost")),
    (
        "/Misc/APDHandlingEnable",
        Advanced::Nothing(
            "APD handling is always on; /Misc/APDTimeout can be up to 99999 s (27 hours)",
        ),
    ),
    (
        "/Misc/EnablePSPLatencyPolicy",
        Advanced::Nothing("the latency policy is always available"),
    ),
    (
        "/Disk/QFullSampleSize",
        Advanced::Nothing("the kernel adapts the queue depth to QUEUE FULL"),
    ),
    (
        "/Disk/QFullThreshold",
        Advanced::Nothing("the kernel adapts the queue depth to QUEUE FULL"),
    ),
    (
        "/Disk/SchedNumReqOutstanding",
        Advanced::Nothing("the kernel's I/O scheduler shares the queue of a device"),
    ),
    (
        "/Disk/DiskMaxIOSize",
        Advanced::Nothing(
            "set the size of the largest request in /sys/block/DISK/queue/max_sectors_kb",
        ),
    ),
];

fn setting() -> Arg {
    option(
        "option",
        Some('o'),
        "OPTION",
        "Name of the setting, /Misc/APDTimeout",
    )
    .required(true)
}

fn int_value() -> Arg {
    option("int-value", Some('i'), "N", "The number to set")
        .value_parser(clap::value_parser!(u32))
        .conflicts_with("string-value")
}

fn string_value() -> Arg {
    option("string-value", Some('s'), "TEXT", "The text to set")
}

fn default_value() -> Arg {
    flag("default", Some('d'), "Restore the default")
        .conflicts_with_all(["int-value", "string-value"])
}

fn advanced(given: &ArgMatches) -> Result<(String, &'static Advanced), Failure> {
    let name = text(given, "option").unwrap_or_default();
    let all = ADVANCED.iter();
    let mut found = all.filter(|(known, _)| known.eq_ignore_ascii_case(&name));
    let known: Vec<&str> = ADVANCED.iter().map(|(known, _)| *known).collect();
    found
        .next()
        .map(|(known, what)| ((*known).to_owned(), what))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "--option {name}: unknown setting; known settings are {}",
                known.join(", ")
            ))
        })
}

fn advanced_set(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let (name, what) = advanced(given)?;
    let number = given.get_one::<u32>("int-value").copied();
    let (key, setting) = match what {
        Advanced::Nothing(why) => {
            return Ok(Listing::lines([format!("{name}: without effect: {why}")]));
        }
        _ if given.contains_id("string-value") => {
            return Err(Failure::Usage(format!(
                "{name} is a number: use --int-value"
            )));
        }
        Advanced::Seconds(key, least, most) => {
            let seconds = number.filter(|n| (*least..=*most).contains(n));
            let ms = seconds.map(|n| Setting::Number(n.saturating_mul(1000)));
            let wrong = || Failure::Usage(format!("{name} takes --int-value {least} to {most}"));
            (
                key,
                if given.get_flag("default") {
                    None
                } else {
                    Some(ms.ok_or_else(wrong)?)
                },
            )
        }
        Advanced::Flag(key) => {
            let is = number.filter(|n| *n <= 1).map(|n| Setting::Bool(n == 1));
            let wrong = || Failure::Usage(format!("{name} takes --int-value 0 or 1"));
            (
                key,
                if given.get_flag("default") {
                    None
                } else {
                    Some(is.ok_or_else(wrong)?)
                },
            )
        }
    };
    let key = Key::of_host(key);
    let mut file = SettingsFile::open(&context.places())?;
    let said = match &setting {
        Some(setting) => {
            file.set(&key, setting)?;
            format!("{key} = {setting}")
        }
        None => {
            file.unset(&key);
            format!("{key} = {}", key.default().unwrap_or_default())
        }
    };
    file.save()?;
    context.warn([
        "the setting was written to dm-psa.toml: it takes effect when the agent is restarted"
            .to_owned(),
    ]);
    Ok(Listing::lines([said]))
}

fn advanced_list(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let (name, what) = advanced(given)?;
    Ok(Listing::lines([match what {
        Advanced::Nothing(why) => format!("{name}: without effect: {why}"),
        Advanced::Seconds(key, ..) | Advanced::Flag(key) => {
            let key = Key::of_host(key);
            let file = SettingsFile::open(&context.places())?;
            let value = file.get(&key).or_else(|| key.default()).unwrap_or_default();
            format!("{name}: {key} = {value}")
        }
    }]))
}
