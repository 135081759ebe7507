//! The keywords of multipath.conf: the sections where each is allowed, and the remark on those that become neither a
//! rule nor a setting. (As of multipath-tools 0.15. [`super::values`] and the modules for the sections handle those
//! that do become rules or settings.)
//!
//! A keyword that is not translated is refused if the host would treat its disks differently without it: which disks
//! get a map and under which name, which paths carry I/O, when I/O fails, who may use a disk. Keywords that concern
//! only multipathd itself have no equivalent.

use super::plan::Remark;
use super::report::Outcome;

/// Sections in the table: defaults, devices/device, overrides, multipaths/multipath.
pub(super) const DEFAULTS: char = 'd';
pub(super) const DEVICE: char = 'D';
pub(super) const OVERRIDES: char = 'o';
pub(super) const MULTIPATH: char = 'm';
/// overrides/protocol
pub(super) const PROTOCOL: char = 'p';

/// The remark on a keyword.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It requests what dm-psa does anyway.
    Same(&'static str),
    /// There is no equivalent, and disks are treated the same without it.
    No(&'static str),
    /// There is no equivalent, and disks are treated differently without it.
    Lost(&'static str),
    /// multipath-tools reads it and ignores it.
    Dead(&'static str),
}

use Fate::{Dead, Lost, No, Same};

/// Keywords with the same remark.
struct Keywords {
    names: &'static [&'static str],
    /// The sections where they are allowed.
    sections: &'static str,
    /// The remark by value; `""` stands for any other value.
    fates: &'static [(&'static str, Fate)],
}

const fn keywords(
    names: &'static [&'static str],
    sections: &'static str,
    fates: &'static [(&'static str, Fate)],
) -> Keywords {
    Keywords {
        names,
        sections,
        fates,
    }
}

const NOT_READ: &str = "multipath-tools reads it, but ignores it";
const PREFIX: &str = "a name that is chosen by the agent begins with mpath: give the device a name with `map_name` in dm-psa.toml";
const NAMES_OF_SOME: &str = "how new maps are named is a setting of the host, `map_names` in dm-psa.toml: give the device a name with `map_name`";
const RESERVATIONS: &str = "the agent neither stores keys of persistent reservations nor registers them on returning paths: a cluster that relies on this would lose its reservation";
const SATP: &str = "the SATP judges the paths; the SATP rules select it";
const RANKS: &str = "paths are ordered only by their states; VMW_PSP_MRU supports ranks, `psp generic pathconfig set -c rank=N`";
const PROBES: &str = "checks are TEST UNIT READY and REPORT TARGET PORT GROUPS; no data is read";
const MARGINAL: &str = "a path that fails often is marginal by the settings marginal_failures, marginal_window_ms and marginal_recovery_ms";
const BY_STATE: &str = "paths are grouped by the access states that the array reports";
const NOT_BY_GROUP: &str = "groups follow access states, not target port groups";
const PAGE_83H: &str = "a device is identified by its VPD page 83h, not by another udev property: the WWID of its map may differ";
const WWID: &str = "the UUID of a map contains the WWID from udev's ID_SERIAL";
const LAST_PATH: &str = "a map without paths is removed once nobody has it open";
const NEVER_OPEN: &str = "queueing ends with the APD timeout, and an open map is never removed";
const NATIVE_NVME: &str = "native NVMe multipathing is left alone and not listed";

const TABLE: &[Keywords] = &[
    // Keywords that become rules or settings and need no remark.
    keywords(&["polling_interval", "checker_timeout"], "d", &[]),
    keywords(
        &[
            "path_grouping_policy",
            "path_selector",
            "features",
            "no_path_retry",
        ],
        "dDom",
        &[],
    ),
    keywords(&["fast_io_fail_tmo", "dev_loss_tmo"], "dDop", &[]),
    keywords(
        &["vendor", "product", "revision", "product_blacklist"],
        "D",
        &[],
    ),
    keywords(&["wwid"], "m", &[]),
    // How paths are grouped and selected.
    keywords(
        &["detect_pgpolicy"],
        "dDo",
        &[("yes", Same(BY_STATE)), ("", No(BY_STATE))],
    ),
    keywords(
        &["detect_pgpolicy_use_tpg"],
        "dDo",
        &[("no", Same(NOT_BY_GROUP)), ("", No(NOT_BY_GROUP))],
    ),
    keywords(
        &["prio"],
        "dDom",
        &[
            ("alua", Same(SATP)),
            ("sysfs", Same(SATP)),
            ("const", Same(SATP)),
            ("emc", Same(SATP)),
            ("rdac", Same(SATP)),
            ("hp_sw", Same(SATP)),
            ("", Lost(RANKS)),
        ],
    ),
    keywords(&["prio_args"], "dDom", &[("", No(RANKS))]),
    keywords(
        &["detect_prio"],
        "dDo",
        &[
            (
                "yes",
                Same("access states are read wherever the device reports target port groups"),
            ),
            (
                "",
                Lost(
                    "access states are used wherever the device reports target port groups: name the array in a device section, with `prio const`",
                ),
            ),
        ],
    ),
    keywords(
        &["failback"],
        "dDom",
        &[
            (
                "immediate",
                Same("I/O goes to a better group as soon as there is one"),
            ),
            (
                "followover",
                Same("a change that the array or another host made is followed"),
            ),
            (
                "manual",
                Lost(
                    "I/O goes to a better group as soon as there is one; VMW_PSP_MRU never returns to an equal path",
                ),
            ),
            (
                "",
                Lost("I/O goes to a better group as soon as there is one, without a delay"),
            ),
        ],
    ),
    keywords(
        &["rr_min_io", "rr_min_io_rq", "rr_weight"],
        "dDom",
        &[(
            "",
            Dead("it has no effect since Linux 4.6: the kernel changes the path with every I/O"),
        )],
    ),
    keywords(&["hardware_handler"], "D", &[("", Same(SATP))]),
    keywords(
        &["retain_attached_hw_handler"],
        "dDo",
        &[
            ("yes", Same("a device handler of the kernel stays attached")),
            ("", No("a device handler of the kernel stays attached")),
        ],
    ),
    // How paths are checked.
    keywords(
        &["path_checker", "checker"],
        "dDo",
        &[("tur", Same(PROBES)), ("", No(PROBES))],
    ),
    keywords(
        &["detect_checker"],
        "dDo",
        &[("yes", Same(PROBES)), ("", No(PROBES))],
    ),
    keywords(
        &["max_polling_interval"],
        "d",
        &[(
            "",
            No("healthy paths are checked every check_interval_ms, failed ones more often"),
        )],
    ),
    keywords(
        &["force_sync"],
        "d",
        &[
            ("no", Same("checks are asynchronous")),
            ("", No("checks are asynchronous")),
        ],
    ),
    keywords(
        &["strict_timing"],
        "d",
        &[("", Same("each path has its own timer"))],
    ),
    keywords(
        &["log_checker_err"],
        "d",
        &[
            ("once", Same("a failure is logged once, when it begins")),
            ("", No("a failure is logged once, when it begins")),
        ],
    ),
    keywords(
        &[
            "san_path_err_threshold",
            "san_path_err_forget_rate",
            "san_path_err_recovery_time",
            "marginal_path_double_failed_time",
            "marginal_path_err_sample_time",
            "marginal_path_err_rate_threshold",
            "marginal_path_err_recheck_gap_time",
            "delay_watch_checks",
            "delay_wait_checks",
        ],
        "dDom",
        &[
            ("no", Same(MARGINAL)),
            ("0", Same(MARGINAL)),
            ("", No(MARGINAL)),
        ],
    ),
    keywords(
        &["marginal_pathgroups"],
        "d",
        &[
            ("no", Same(MARGINAL)),
            ("off", Same(MARGINAL)),
            ("0", Same(MARGINAL)),
            ("", No(MARGINAL)),
        ],
    ),
    keywords(
        &["ghost_delay"],
        "dDom",
        &[
            (
                "no",
                Same("a map is created even if all its paths are standby"),
            ),
            ("", No("a map is created even if all its paths are standby")),
        ],
    ),
    // What the kernel does with a path.
    keywords(
        &["eh_deadline"],
        "dDop",
        &[(
            "",
            Lost(
                "the deadline of error recovery is not changed: set eh_deadline of the SCSI host with a udev rule",
            ),
        )],
    ),
    keywords(
        &["max_retries"],
        "d",
        &[(
            "",
            Lost(
                "retries of the SCSI layer are not changed: set max_retries of the disk with a udev rule",
            ),
        )],
    ),
    keywords(
        &["max_sectors_kb"],
        "dDom",
        &[(
            "",
            Lost(
                "the size of requests is not changed: set queue/max_sectors_kb of the paths with a udev rule",
            ),
        )],
    ),
    keywords(
        &["type"],
        "p",
        &[("", Same("it selects the protocol of the section"))],
    ),
    // Which disks get a map, and how they are identified.
    keywords(
        &["find_multipaths"],
        "d",
        &[(
            "",
            Lost(
                "a disk gets a map with its second path, or with its first if a rule names its array or it had a map before: see `lone_paths` in dm-psa.toml",
            ),
        )],
    ),
    keywords(
        &["find_multipaths_timeout"],
        "d",
        &[(
            "",
            No(
                "rules and lone_paths decide whether a disk gets a map with its first path: there is no timeout",
            ),
        )],
    ),
    keywords(
        &["allow_usb_devices"],
        "d",
        &[
            ("no", Same("a disk with one path gets no map")),
            (
                "",
                Lost("a USB disk gets a map only if several paths lead to it"),
            ),
        ],
    ),
    keywords(&["uid_attrs"], "d", &[("", Lost(PAGE_83H))]),
    keywords(
        &["uid_attribute"],
        "dDo",
        &[("ID_SERIAL", Same(WWID)), ("", Lost(PAGE_83H))],
    ),
    keywords(
        &["vpd_vendor"],
        "D",
        &[(
            "",
            No("vendor-specific VPD pages are not used for identification"),
        )],
    ),
    keywords(
        &["recheck_wwid"],
        "dDo",
        &[
            (
                "yes",
                Same("each path must prove its identity when it returns"),
            ),
            ("", No("each path must prove its identity when it returns")),
        ],
    ),
    keywords(
        &["enable_foreign"],
        "d",
        &[
            ("NONE", Same(NATIVE_NVME)),
            ("^$", Same(NATIVE_NVME)),
            ("", No(NATIVE_NVME)),
        ],
    ),
    keywords(
        &[
            "retrigger_tries",
            "retrigger_delay",
            "missing_uev_wait_timeout",
        ],
        "d",
        &[(
            "",
            No("the agent does not wait for udev: it reads sysfs again with each event"),
        )],
    ),
    // Maps: names, device nodes, partitions, removal.
    // `user_friendly_names` of all devices and `alias` become settings (`multipath`, `maps`).
    keywords(
        &["alias_prefix"],
        "dDo",
        &[
            ("mpath", Same("it is the prefix here too")),
            ("", Lost(PREFIX)),
        ],
    ),
    keywords(&["alias"], "m", &[("", Lost(NAMES_OF_SOME))]),
    keywords(
        &["user_friendly_names"],
        "dDom",
        &[("no", No(NAMES_OF_SOME)), ("", Lost(NAMES_OF_SOME))],
    ),
    keywords(
        &["mode", "uid", "gid"],
        "dm",
        &[(
            "",
            Lost("owner and mode of a device node are not set: use a udev rule for the map"),
        )],
    ),
    keywords(
        &["partition_delimiter"],
        "d",
        &[(
            "",
            Lost("partitions of maps are named by kpartx and its udev rules"),
        )],
    ),
    keywords(
        &["skip_kpartx"],
        "dDom",
        &[
            (
                "no",
                Same("partitions of maps are created by kpartx and its udev rules"),
            ),
            (
                "",
                Lost(
                    "partitions of maps are created by kpartx and its udev rules: mask these rules",
                ),
            ),
        ],
    ),
    keywords(
        &["auto_resize"],
        "d",
        &[
            ("grow_only", Same("a map grows with its logical unit")),
            ("never", No("a map grows with its logical unit")),
            (
                "",
                Lost("a map grows with its logical unit, and never shrinks"),
            ),
        ],
    ),
    keywords(
        &["reassign_maps"],
        "d",
        &[
            ("no", Same("maps of other programs are not changed")),
            ("", No("maps of other programs are not changed")),
        ],
    ),
    keywords(
        &["flush_on_last_del"],
        "dDom",
        &[
            ("always", Lost(NEVER_OPEN)),
            ("yes", Lost(NEVER_OPEN)),
            ("1", Lost(NEVER_OPEN)),
            ("never", No(LAST_PATH)),
            ("", Same(LAST_PATH)),
        ],
    ),
    keywords(
        &["deferred_remove"],
        "dDom",
        &[
            ("no", Same("an open map is not removed")),
            ("", No("an open map is not removed")),
        ],
    ),
    keywords(
        &["remove_retries"],
        "d",
        &[("", No("an open map is removed when it is closed"))],
    ),
    keywords(
        &["purge_disconnected"],
        "dDom",
        &[
            (
                "yes",
                Same("the SCSI devices of a permanently lost unit are removed once nobody uses it"),
            ),
            (
                "",
                No("remove_lost = false keeps the SCSI devices of a permanently lost unit"),
            ),
        ],
    ),
    keywords(
        &["queue_without_daemon"],
        "d",
        &[
            ("yes", Same("maps are not changed while the agent is down")),
            ("", No("maps are not changed while the agent is down")),
        ],
    ),
    keywords(&["reservation_key"], "dm", &[("", Lost(RESERVATIONS))]),
    keywords(
        &["all_tg_pt"],
        "dDo",
        &[
            ("no", Same("no key is registered")),
            ("", Lost(RESERVATIONS)),
        ],
    ),
    // The daemon itself.
    keywords(
        &["verbosity"],
        "d",
        &[("", No("set RUST_LOG in the systemd unit instead"))],
    ),
    keywords(
        &["max_fds"],
        "d",
        &[("", No("set LimitNOFILE= in the systemd unit instead"))],
    ),
    keywords(
        &["uxsock_timeout"],
        "d",
        &[(
            "",
            No("the agent answers psactl from memory, without delay"),
        )],
    ),
    keywords(
        &[
            "bindings_file",
            "wwids_file",
            "prkeys_file",
            "multipath_dir",
            "config_dir",
            "udev_dir",
            "disable_changed_wwids",
        ],
        "d",
        &[("", Dead(NOT_READ))],
    ),
    keywords(&["getuid_callout"], "dD", &[("", Dead(NOT_READ))]),
    keywords(&["pg_timeout"], "dDom", &[("", Dead(NOT_READ))]),
];

/// The entry of a keyword in the table.
fn find(name: &str) -> Option<&'static Keywords> {
    TABLE.iter().find(|keywords| keywords.names.contains(&name))
}

/// The name of the section for a letter.
fn section_name(section: char) -> &'static str {
    match section {
        DEFAULTS => "defaults",
        DEVICE => "device",
        OVERRIDES => "overrides",
        MULTIPATH => "multipath",
        _ => "protocol",
    }
}

/// Keywords that no release in use reads, and their replacements.
const OLD: &[(&str, &str)] = &[
    ("default_features", "features"),
    ("default_getuid_callout", "uid_attribute"),
    ("default_hw_handler", "hardware_handler"),
    ("default_minio", "rr_min_io_rq"),
    ("default_path_checker", "path_checker"),
    ("default_path_grouping_policy", "path_grouping_policy"),
    ("default_prio", "prio"),
    ("default_prio_callout", "prio"),
    ("default_selector", "path_selector"),
    ("hw_str_match", ""),
    ("hw_strmatch", ""),
    ("ignore_new_boot_devs", ""),
    ("multipath_tool", ""),
    ("new_bindings_in_boot", ""),
    ("path_checker_int", "polling_interval"),
    ("pg_prio_calc", ""),
    ("prio_callout", "prio"),
    ("reload_readwrite", ""),
    ("replace_wwid_whitespace", ""),
    ("rr_wmin_io", "rr_min_io_rq"),
    ("selector", "path_selector"),
    ("unpriv_sgio", ""),
];

/// Checks that multipath-tools knows the keyword in this section.
///
/// # Errors
/// The remark on the keyword, if it does not.
pub(super) fn check(section: char, name: &str) -> Result<(), Remark> {
    match find(name) {
        Some(keyword) if keyword.sections.contains(section) => Ok(()),
        Some(_) => Err((
            Outcome::Refused,
            format!(
                "it is not allowed in section {}: multipath-tools ignores it",
                section_name(section)
            ),
        )),
        None => Err(stranger(name)),
    }
}

/// The remark on a keyword that multipath-tools does not know.
pub(super) fn stranger(name: &str) -> Remark {
    match OLD.iter().find(|(old, _)| *old == name) {
        Some((_, "")) => (
            Outcome::LeftOut,
            "a keyword of old releases that multipath-tools no longer reads".to_owned(),
        ),
        Some((_, new)) => (
            Outcome::LeftOut,
            format!(
                "a keyword of old releases that multipath-tools no longer reads; today it is {new}"
            ),
        ),
        None => (
            Outcome::Refused,
            "multipath-tools has no such keyword: is it misspelt?".to_owned(),
        ),
    }
}

/// The remark on a keyword that is not translated.
pub(super) fn remark(name: &str, value: &str) -> Remark {
    let fates = find(name).map_or(&[][..], |keyword| keyword.fates);
    if name == "uid_attrs" && value.split_whitespace().any(|word| word == "sd:ID_SERIAL") {
        return (Outcome::Same, WWID.to_owned());
    }
    let fate = fates
        .iter()
        .find(|(said, _)| *said == value || said.is_empty());
    match fate.map(|(_, fate)| *fate) {
        Some(Same(why)) => (Outcome::Same, why.to_owned()),
        Some(Lost(why)) => (Outcome::Refused, why.to_owned()),
        Some(No(why)) => (Outcome::NoEquivalent, why.to_owned()),
        Some(Dead(why)) => (Outcome::LeftOut, why.to_owned()),
        None => (Outcome::NoEquivalent, "it has no effect here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        let count = |section: char| -> usize {
            let of = TABLE.iter().filter(|k| k.sections.contains(section));
            of.map(|keywords| keywords.names.len()).sum()
        };
        // The numbers of keywords in multipath-tools 0.15; in defaults, there are two more that older releases read.
        let counts = ['d', 'D', 'o', 'm', 'p'].map(count);
        assert_eq!(counts, [75 + 2, 48, 41, 33, 4]);
        let all = || TABLE.iter().flat_map(|keywords| keywords.names);
        let names: std::collections::BTreeSet<&&str> = all().collect();
        assert_eq!(names.len(), all().count());
        for keyword in TABLE {
            if let Some((last, before)) = keyword.fates.split_last() {
                assert_eq!(last.0, "", "{:?}", keyword.names);
                assert!(before.iter().all(|(value, _)| !value.is_empty()));
            }
        }
    }

    #[test]
    fn keywords_that_would_be_lost_are_refused() {
        for (name, value) in [
            ("user_friendly_names", "yes"),
            ("reservation_key", "0x1"),
            ("find_multipaths", "yes"),
            ("prio", "weightedpath"),
            ("failback", "manual"),
            ("mode", "0660"),
            ("uid_attribute", "ID_MODEL"),
        ] {
            assert_eq!(remark(name, value).0, Outcome::Refused, "{name} {value}");
        }
        assert_eq!(remark("rr_min_io_rq", "1").0, Outcome::LeftOut);
        assert_eq!(
            remark("uid_attrs", "sd:ID_SERIAL dasd:ID_UID").0,
            Outcome::Same
        );
        assert!(check(DEFAULTS, "vendor").is_err() && check(DEVICE, "vendor").is_ok());
        assert!(
            check(DEFAULTS, "poling_interval")
                .unwrap_err()
                .1
                .contains("misspelt")
        );
        let (outcome, why) = check(DEFAULTS, "default_selector").unwrap_err();
        assert_eq!(outcome, Outcome::LeftOut);
        assert!(why.contains("today it is path_selector"), "{why}");
        assert!(OLD.iter().all(|(old, _)| find(old).is_none()));
    }
}
