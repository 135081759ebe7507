//! What the words of commands stand for.

/// Descriptions of the words that are not commands themselves.
pub const NAMESPACES: &[(&[&str], &str)] = &[
    (&["storage"], "esxcli's leading word; it may be left out"),
    (&["boot"], "Maps in the initramfs"),
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
