//! The table of all commands, from which the parser, the help texts and the dispatch are built. Each namespace has a
//! file with its part of the table.

mod claiming;
mod claimrule;
mod device;
mod esxcfg;
mod esxcli;
mod events;
mod foresee;
mod generate;
mod graph;
mod host;
mod hpp;
mod import;
mod lint;
mod pass_through;
mod plugin;
mod queueing;
mod replay;
mod rescan;
mod satp;
mod scsi;
mod settings;
mod statistics;
mod top;

use super::context::Context;
use super::exit::Failure;
use super::record::Listing;
use clap::{Arg, ArgMatches};

/// A command.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its words. The user can omit a leading `storage`.
    pub words: &'static [&'static str],
    /// A description in one line.
    pub about: &'static str,
    /// Its options and arguments.
    pub arguments: &'static [fn() -> Arg],
    /// The function that runs it.
    pub run: fn(&mut Context, &ArgMatches) -> Result<Listing, Failure>,
    /// Whether help hides it: the command has these words for guides for ESXi 4, or only `make install` needs it.
    pub legacy: bool,
}

impl Verb {
    /// The same command with the words of ESXi 4.
    const fn also(self, words: &'static [&'static str]) -> Verb {
        Verb {
            words,
            legacy: true,
            ..self
        }
    }
}

/// Descriptions of the words that are not commands themselves.
pub const NAMESPACES: &[(&[&str], &str)] = &[
    (&["storage"], "esxcli's leading word; it may be left out"),
    (
        &["storage", "core"],
        "Adapters, paths and devices, whichever plug-in owns them",
    ),
    (&["storage", "core", "adapter"], "Host bus adapters"),
    (
        &["storage", "core", "adapter", "stats"],
        "Counters of adapters",
    ),
    (
        &["storage", "core", "claimrule"],
        "Claim rules: which plug-in owns a path",
    ),
    (
        &["storage", "core", "claiming"],
        "Unclaim paths, and apply the rules to them again",
    ),
    (&["storage", "core", "device"], "Logical devices"),
    (
        &["storage", "core", "device", "detached"],
        "Devices that are off",
    ),
    (
        &["storage", "core", "device", "queueing"],
        "I/O that waits for a path",
    ),
    (
        &["storage", "core", "device", "stats"],
        "Counters of devices",
    ),
    (
        &["storage", "core", "device", "vaai"],
        "VAAI: operations that devices take over from the host",
    ),
    (
        &["storage", "core", "device", "vaai", "status"],
        "Support of each operation",
    ),
    (
        &["storage", "core", "device", "world"],
        "Who has devices open",
    ),
    (&["storage", "core", "path"], "Paths to logical devices"),
    (&["storage", "core", "path", "stats"], "Counters of paths"),
    (
        &["storage", "core", "plugin"],
        "Plug-ins: who can own a path",
    ),
    (
        &["storage", "hpp"],
        "HPP, the high performance plug-in: fast active/active arrays",
    ),
    (&["storage", "hpp", "device"], "Devices that HPP owns"),
    (
        &["storage", "hpp", "device", "usermarkedssd"],
        "Devices that were marked as SSD",
    ),
    (&["storage", "hpp", "path"], "Paths that HPP owns"),
    (
        &["storage", "core", "plugin", "registration"],
        "Modules of plug-ins",
    ),
    (&["storage", "corestorage"], "ESXi 4's word for `core`"),
    (
        &["storage", "corestorage", "claimrule"],
        "Claim rules: which plug-in owns a path",
    ),
    (
        &["storage", "corestorage", "claiming"],
        "Unclaim paths, and apply the rules to them again",
    ),
    (
        &["storage", "nmp"],
        "The Native Multipathing Plug-in: what it owns and how it chooses",
    ),
    (&["storage", "nmp", "device"], "Devices that NMP owns"),
    (&["storage", "nmp", "path"], "Paths that NMP owns"),
    (
        &["storage", "nmp", "psp"],
        "Path selection plug-ins and their settings",
    ),
    (
        &["storage", "nmp", "psp", "fixed"],
        "VMW_PSP_FIXED: the preferred path",
    ),
    (
        &["storage", "nmp", "psp", "fixed", "deviceconfig"],
        "Settings of a device",
    ),
    (
        &["storage", "nmp", "psp", "roundrobin"],
        "VMW_PSP_RR: when I/O moves to the next path",
    ),
    (
        &["storage", "nmp", "psp", "roundrobin", "deviceconfig"],
        "Settings of a device",
    ),
    (
        &["storage", "nmp", "psp", "generic"],
        "Any PSP, by configuration strings",
    ),
    (
        &["storage", "nmp", "psp", "generic", "deviceconfig"],
        "Settings of a device",
    ),
    (
        &["storage", "nmp", "psp", "generic", "pathconfig"],
        "Settings of a path",
    ),
    (
        &["storage", "nmp", "satp"],
        "Storage array type plug-ins: how the paths of an array are judged",
    ),
    (
        &["storage", "nmp", "satp", "generic"],
        "Any SATP, by configuration strings",
    ),
    (
        &["storage", "nmp", "satp", "generic", "deviceconfig"],
        "Settings of a device",
    ),
    (
        &["storage", "nmp", "satp", "generic", "pathconfig"],
        "Configuration of a path",
    ),
    (
        &["storage", "nmp", "satp", "rule"],
        "SATP rules: which SATP a device gets",
    ),
    (
        &["storage", "nmp", "fixed"],
        "ESXi 4's words for VMW_PSP_FIXED",
    ),
    (
        &["storage", "nmp", "roundrobin"],
        "ESXi 4's words for VMW_PSP_RR",
    ),
    (
        &["storage", "nmp", "boot"],
        "What NMP does when ESXi starts",
    ),
    (
        &["storage", "core", "device", "latencythreshold"],
        "Latency thresholds",
    ),
    (
        &["storage", "core", "device", "inquirycache"],
        "Cached INQUIRY data",
    ),
    (
        &["storage", "core", "device", "uid"],
        "Identifiers of devices",
    ),
    (
        &["storage", "core", "device", "partition"],
        "Partitions of devices",
    ),
    (
        &["storage", "core", "device", "capacity"],
        "Sizes of devices",
    ),
    (&["storage", "core", "device", "smart"], "Health of disks"),
    (&["storage", "core", "device", "raid"], "RAID of disks"),
    (
        &["storage", "core", "device", "physical"],
        "Physical location of disks",
    ),
    (
        &["storage", "core", "adapter", "device"],
        "Devices behind adapters",
    ),
    (
        &["storage", "core", "adapter", "capabilities"],
        "Capabilities of adapters",
    ),
    (&["storage", "san"], "Adapters by transport"),
    (&["storage", "san", "fc"], "Fibre Channel adapters"),
    (&["storage", "san", "fcoe"], "FCoE adapters"),
    (&["storage", "san", "iscsi"], "iSCSI adapters"),
    (&["storage", "san", "sas"], "SAS adapters"),
    (&["system"], "ESXi's settings of the host"),
    (&["system", "settings"], "ESXi's settings of the host"),
    (
        &["system", "settings", "advanced"],
        "ESXi's advanced storage settings",
    ),
    (
        &["inventory"],
        "Inventory of a host: what is known of its paths",
    ),
    (&["events"], "Events that the agent reported"),
    (&["journal"], "Recorded input and actions of the agent"),
    (
        &["import"],
        "Import the rules of an ESXi host or of multipath-tools: needs no agent",
    ),
    (
        &["scsi"],
        "Send SCSI commands to devices, and decode the responses",
    ),
    (
        &["scsi", "decode"],
        "Decode SCSI responses captured elsewhere: needs no agent and no device",
    ),
];

/// The parts of the table, in the order of help.
const PARTS: &[&[Verb]] = &[
    host::VERBS,
    device::VERBS,
    queueing::VERBS,
    statistics::VERBS,
    rescan::VERBS,
    plugin::VERBS,
    claimrule::VERBS,
    claiming::VERBS,
    satp::VERBS,
    settings::VERBS,
    hpp::VERBS,
    events::VERBS,
    replay::VERBS,
    foresee::VERBS,
    graph::VERBS,
    top::VERBS,
    lint::VERBS,
    import::VERBS,
    pass_through::VERBS,
    esxcfg::VERBS,
    esxcli::VERBS,
    scsi::VERBS,
    generate::VERBS,
];

/// All commands.
pub fn verbs() -> impl Iterator<Item = &'static Verb> {
    PARTS.iter().copied().flatten()
}

/// An option with a value.
fn option(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

/// An option without a value.
fn flag(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(clap::ArgAction::SetTrue)
        .help(help);
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

fn text(given: &ArgMatches, name: &str) -> Option<String> {
    given.get_one::<String>(name).cloned()
}
