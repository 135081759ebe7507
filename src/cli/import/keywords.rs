//! Every keyword of multipath.conf: where it may stand, and what is to be said of it where no rule and no setting is
//! made of it. (As of multipath-tools 0.15. What a rule or a setting is made of, [`super::multipath`] and the files for
//! the sections know.)

use super::plan::Told;
use super::report::Outcome;

/// Sections as the table names them: defaults, devices/device, overrides, multipaths/multipath.
pub(super) const DEFAULTS: char = 'd';
pub(super) const DEVICE: char = 'D';
pub(super) const OVERRIDES: char = 'o';
pub(super) const MULTIPATH: char = 'm';
/// overrides/protocol
pub(super) const PROTOCOL: char = 'p';

/// What is to be said of a keyword.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It asks for what dm-psa does anyway.
    Same(&'static str),
    /// There is nothing like it here.
    No(&'static str),
    /// multipath-tools reads it and does nothing.
    Dead(&'static str),
}

use Fate::{Dead, No, Same};

/// Keywords of which the same is to be said.
struct Keywords {
    names: &'static [&'static str],
    /// The sections that they may stand in.
    sections: &'static str,
    /// What is to be said, by the value; `""` is any other.
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

const NOT_READ: &str = "multipath-tools reads it and does nothing";
const NAMES: &str =
    "maps are named by the device identifier, naa.6001...; links in /dev/disk/by-id stay";
const RESERVATIONS: &str =
    "persistent reservations are left to who makes them: no key is kept or registered again";
const SATP: &str = "the SATP judges the paths: the SATP rules say which";
const RANKS: &str = "paths are ordered by their states alone; VMW_PSP_MRU takes ranks, `psp generic pathconfig set -c rank=N`";
const PROBES: &str = "checks are TEST UNIT READY and REPORT TARGET PORT GROUPS; no data is read";
const NO_COUNTS: &str = "paths that come and go are not counted: each failure takes a path out, each check that succeeds brings it back";
const BY_STATE: &str = "paths are grouped by the access states that the array reports";
const NOT_BY_GROUP: &str = "groups go by access state, not by target port group";
const PAGE_83H: &str = "a device is known by its VPD page 83h, not by a property of udev";
const LAST_PATH: &str = "a map without paths is removed once nobody has it open";
const NEVER_OPEN: &str = "queueing ends with the APD timeout, and an open map is never removed";
const NATIVE_NVME: &str = "native NVMe multipathing is left alone, and not listed";

const TABLE: &[Keywords] = &[
    // What becomes a rule or a setting, and needs no more to be said.
    keywords(&["polling_interval", "checker_timeout"], "d", &[]),
    keywords(
        &["path_grouping_policy", "features", "no_path_retry"],
        "dDom",
        &[],
    ),
    keywords(
        &["vendor", "product", "revision", "product_blacklist"],
        "D",
        &[],
    ),
    keywords(&["wwid"], "m", &[]),
    // How paths are grouped and chosen.
    keywords(
        &["path_selector"],
        "dDom",
        &[(
            "",
            No("the PSP brings its selector: an option of VMW_PSP_RR chooses it"),
        )],
    ),
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
            ("", No(RANKS)),
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
                No("access states are read wherever a SATP rule says so, `-c tpgs_on`"),
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
                No(
                    "I/O goes to a better group at once; VMW_PSP_MRU never goes back to an equal path",
                ),
            ),
            (
                "",
                No("I/O goes to a better group at once, not after a time"),
            ),
        ],
    ),
    keywords(
        &["rr_min_io", "rr_min_io_rq", "rr_weight"],
        "dDom",
        &[(
            "",
            Dead("the kernel changes the path with every I/O whatever this says, since 4.6"),
        )],
    ),
    keywords(&["hardware_handler"], "D", &[("", No(SATP))]),
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
        &[("", Same("each path has a timer of its own"))],
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
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keywords(
        &["marginal_pathgroups"],
        "d",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keywords(
        &["ghost_delay"],
        "dDom",
        &[
            (
                "no",
                Same("a map whose paths are all standby is there at once"),
            ),
            ("", No("a map whose paths are all standby is there at once")),
        ],
    ),
    // What the kernel does with a path.
    keywords(
        &["fast_io_fail_tmo", "dev_loss_tmo"],
        "dDop",
        &[(
            "",
            No(
                "a device section has it as an option of a SATP rule, dm-psa.toml as fast_io_fail_tmo of the host",
            ),
        )],
    ),
    keywords(
        &["eh_deadline"],
        "dDop",
        &[(
            "",
            No(
                "the deadline of error recovery stays as it is: a udev rule sets eh_deadline of the SCSI host",
            ),
        )],
    ),
    keywords(
        &["max_retries"],
        "d",
        &[(
            "",
            No(
                "retries of the SCSI layer stay as they are: a udev rule sets max_retries of the disk",
            ),
        )],
    ),
    keywords(
        &["max_sectors_kb"],
        "dDom",
        &[(
            "",
            No(
                "the size of requests stays as it is: a udev rule sets queue/max_sectors_kb of the paths",
            ),
        )],
    ),
    keywords(&["type"], "p", &[("", No("no setting goes by protocol"))]),
    // Which disks get a map, and how they are known.
    keywords(
        &["find_multipaths"],
        "d",
        &[(
            "",
            No(
                "which disk gets a map follows from the rules: SAN disks and those with several paths do, a lone local disk does not",
            ),
        )],
    ),
    keywords(
        &["find_multipaths_timeout"],
        "d",
        &[(
            "",
            No("which disk gets a map follows from the rules: no further path is waited for"),
        )],
    ),
    keywords(
        &["allow_usb_devices"],
        "d",
        &[
            ("no", Same("a disk that one path leads to gets no map")),
            (
                "",
                No("a USB disk gets a map only if several paths lead to it"),
            ),
        ],
    ),
    keywords(&["uid_attrs"], "d", &[("", No(PAGE_83H))]),
    keywords(
        &["uid_attribute"],
        "dDo",
        &[
            (
                "ID_SERIAL",
                Same("the UUID of a map has the WWID that udev has in ID_SERIAL"),
            ),
            ("", No(PAGE_83H)),
        ],
    ),
    keywords(
        &["vpd_vendor"],
        "D",
        &[("", No("VPD pages of vendors are not read"))],
    ),
    keywords(
        &["recheck_wwid"],
        "dDo",
        &[
            (
                "yes",
                Same("each path has to prove its identity when it comes back"),
            ),
            (
                "",
                No("each path has to prove its identity when it comes back"),
            ),
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
            No("udev is not waited for: what sysfs says of a disk is read again with each event"),
        )],
    ),
    // Maps: their names, their nodes, their partitions, their end.
    keywords(&["alias_prefix"], "dDo", &[("", No(NAMES))]),
    keywords(&["alias"], "m", &[("", No(NAMES))]),
    keywords(
        &["user_friendly_names"],
        "dDom",
        &[("no", Same(NAMES)), ("", No(NAMES))],
    ),
    keywords(
        &["mode", "uid", "gid"],
        "dm",
        &[(
            "",
            No("owner and mode of a device node: a udev rule for the map"),
        )],
    ),
    keywords(
        &["partition_delimiter"],
        "d",
        &[(
            "",
            No("partitions of maps are named by kpartx and its udev rules"),
        )],
    ),
    keywords(
        &["skip_kpartx"],
        "dDom",
        &[
            (
                "no",
                Same("partitions of maps are made by kpartx and its udev rules"),
            ),
            (
                "",
                No("partitions of maps are made by kpartx and its udev rules: mask these"),
            ),
        ],
    ),
    keywords(
        &["auto_resize"],
        "d",
        &[
            ("never", Same("a map keeps its size")),
            ("", No("a map keeps its size")),
        ],
    ),
    keywords(
        &["reassign_maps"],
        "d",
        &[
            ("no", Same("maps of others stay as they are")),
            ("", No("maps of others stay as they are")),
        ],
    ),
    keywords(
        &["flush_on_last_del"],
        "dDom",
        &[
            ("always", No(NEVER_OPEN)),
            ("yes", No(NEVER_OPEN)),
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
        &[("", No("a map that is open is removed when it is closed"))],
    ),
    keywords(
        &["purge_disconnected"],
        "dDom",
        &[
            ("no", Same("the SCSI device of a dead path stays")),
            ("", No("the SCSI device of a dead path stays")),
        ],
    ),
    keywords(
        &["queue_without_daemon"],
        "d",
        &[
            ("yes", Same("maps stay as they are while the agent is down")),
            ("", No("maps stay as they are while the agent is down")),
        ],
    ),
    keywords(&["reservation_key"], "dm", &[("", No(RESERVATIONS))]),
    keywords(&["all_tg_pt"], "dDo", &[("", No(RESERVATIONS))]),
    // The daemon itself.
    keywords(
        &["verbosity"],
        "d",
        &[("", No("RUST_LOG in the unit says what is logged"))],
    ),
    keywords(&["max_fds"], "d", &[("", No("LimitNOFILE= in the unit"))]),
    keywords(
        &["uxsock_timeout"],
        "d",
        &[("", No("psactl is answered from memory"))],
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

/// What the table has of a keyword.
fn find(name: &str) -> Option<&'static Keywords> {
    TABLE.iter().find(|keywords| keywords.names.contains(&name))
}

/// The section of a letter.
fn section_name(section: char) -> &'static str {
    match section {
        DEFAULTS => "defaults",
        DEVICE => "device",
        OVERRIDES => "overrides",
        MULTIPATH => "multipath",
        _ => "protocol",
    }
}

/// `yes` and `no` as multipath-tools takes them, in the table's words.
fn plain(value: &str) -> &str {
    match value {
        "1" | "on" | "true" => "yes",
        "0" | "off" | "false" => "no",
        other => other,
    }
}

/// Whether multipath-tools knows the keyword in this section.
///
/// # Errors
/// What is to be said of it, if not.
pub(super) fn check(section: char, name: &str) -> Result<(), Told> {
    match find(name) {
        Some(keyword) if keyword.sections.contains(section) => Ok(()),
        Some(_) => Err((
            Outcome::Refused,
            format!(
                "it does not belong into section {}, and multipath-tools does not read it there",
                section_name(section)
            ),
        )),
        None => Err((
            Outcome::Refused,
            "multipath-tools has no such keyword: is it misspelt?".to_owned(),
        )),
    }
}

/// What is to be said of a keyword of which nothing is made.
pub(super) fn told(name: &str, value: &str) -> Told {
    let fates = find(name).map_or(&[][..], |keyword| keyword.fates);
    let value = plain(value);
    let fate = fates
        .iter()
        .find(|(said, _)| *said == value || said.is_empty());
    match fate.map(|(_, fate)| *fate) {
        Some(Same(why)) => (Outcome::Same, why.to_owned()),
        Some(No(why)) => (Outcome::NoEquivalent, why.to_owned()),
        Some(Dead(why)) => (Outcome::LeftOut, why.to_owned()),
        None => (Outcome::NoEquivalent, "nothing here goes by it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let count = |section: char| -> usize {
            let of = TABLE.iter().filter(|k| k.sections.contains(section));
            of.map(|keywords| keywords.names.len()).sum()
        };
        // As multipath-tools 0.15 counts them; in defaults, two more that older releases read.
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
    fn yes_and_no_have_more_than_one_word() {
        for value in ["no", "0", "off"] {
            assert_eq!(told("user_friendly_names", value).0, Outcome::Same);
        }
        assert_eq!(told("user_friendly_names", "yes").0, Outcome::NoEquivalent);
        assert_eq!(told("rr_min_io_rq", "1").0, Outcome::LeftOut);
        assert!(check(DEFAULTS, "vendor").is_err() && check(DEVICE, "vendor").is_ok());
        assert!(
            check(DEFAULTS, "poling_interval")
                .unwrap_err()
                .1
                .contains("misspelt")
        );
    }
}
