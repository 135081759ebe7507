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

struct Keyword {
    name: &'static str,
    /// The sections that it may stand in.
    sections: &'static str,
    /// What is to be said, by the value; `""` is any other.
    fates: &'static [(&'static str, Fate)],
}

const fn keyword(
    name: &'static str,
    sections: &'static str,
    fates: &'static [(&'static str, Fate)],
) -> Keyword {
    Keyword {
        name,
        sections,
        fates,
    }
}

const TIMERS: &str =
    "the timers of FC, iSCSI and SAS stay as they are: a udev rule sets them in sysfs";
const NOT_READ: &str = "multipath-tools reads it and does nothing";
const NO_COUNTS: &str = "paths that come and go are not counted: each failure takes a path out, each check that succeeds brings it back";
const NODE: &str = "owner and mode of a device node: a udev rule for the map";
const NAMES: &str =
    "maps are named by the device identifier, naa.6001...; links in /dev/disk/by-id stay";
const RESERVATIONS: &str =
    "persistent reservations are left to who makes them: no key is kept or registered again";
const SATP: &str = "the SATP judges the paths: the SATP rules say which";
const PROBES: &str = "checks are TEST UNIT READY and REPORT TARGET PORT GROUPS";
const UNFINISHED: &str =
    "udev is not waited for: what sysfs says of a disk is read again with each event";

const TABLE: &[Keyword] = &[
    keyword(
        "verbosity",
        "d",
        &[("", No("RUST_LOG in the unit says what is logged"))],
    ),
    keyword("polling_interval", "d", &[]),
    keyword(
        "max_polling_interval",
        "d",
        &[(
            "",
            No("healthy paths are checked every check_interval_ms, failed ones more often"),
        )],
    ),
    keyword(
        "reassign_maps",
        "d",
        &[
            ("no", Same("maps of others stay as they are")),
            ("", No("maps of others stay as they are")),
        ],
    ),
    keyword(
        "path_selector",
        "dDom",
        &[(
            "",
            No("the PSP brings its selector: an option of VMW_PSP_RR chooses it"),
        )],
    ),
    keyword("path_grouping_policy", "dDom", &[]),
    keyword(
        "detect_pgpolicy",
        "dDo",
        &[
            (
                "yes",
                Same("paths are grouped by the access states that the array reports"),
            ),
            (
                "",
                No("paths are grouped by the access states that the array reports"),
            ),
        ],
    ),
    keyword(
        "detect_pgpolicy_use_tpg",
        "dDo",
        &[
            (
                "no",
                Same("groups go by access state, not by target port group"),
            ),
            (
                "",
                No("groups go by access state, not by target port group"),
            ),
        ],
    ),
    keyword(
        "uid_attrs",
        "d",
        &[(
            "",
            No("a device is known by its VPD page 83h, not by a property of udev"),
        )],
    ),
    keyword(
        "uid_attribute",
        "dDo",
        &[
            (
                "ID_SERIAL",
                Same("the UUID of a map has the WWID that udev has in ID_SERIAL"),
            ),
            (
                "",
                No("a device is known by its VPD page 83h, not by a property of udev"),
            ),
        ],
    ),
    keyword("getuid_callout", "dD", &[("", Dead(NOT_READ))]),
    keyword(
        "prio",
        "dDom",
        &[
            ("alua", Same(SATP)),
            ("sysfs", Same(SATP)),
            ("const", Same(SATP)),
            (
                "",
                No(
                    "paths are ordered by their states alone; VMW_PSP_MRU takes ranks, `psp generic pathconfig set -c rank=N`",
                ),
            ),
        ],
    ),
    keyword(
        "prio_args",
        "dDom",
        &[(
            "",
            No(
                "paths are ordered by their states alone; VMW_PSP_MRU takes ranks, `psp generic pathconfig set -c rank=N`",
            ),
        )],
    ),
    keyword("features", "dDom", &[]),
    keyword(
        "path_checker",
        "dDo",
        &[
            ("tur", Same(PROBES)),
            ("none", No(PROBES)),
            (
                "",
                No("checks are TEST UNIT READY and REPORT TARGET PORT GROUPS; no data is read"),
            ),
        ],
    ),
    keyword(
        "checker",
        "dDo",
        &[
            ("tur", Same(PROBES)),
            (
                "",
                No("checks are TEST UNIT READY and REPORT TARGET PORT GROUPS; no data is read"),
            ),
        ],
    ),
    keyword("alias_prefix", "dDo", &[("", No(NAMES))]),
    keyword(
        "failback",
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
    keyword("no_path_retry", "dDom", &[]),
    keyword(
        "queue_without_daemon",
        "d",
        &[
            ("yes", Same("maps stay as they are while the agent is down")),
            ("", No("maps stay as they are while the agent is down")),
        ],
    ),
    keyword("checker_timeout", "d", &[]),
    keyword(
        "allow_usb_devices",
        "d",
        &[
            ("no", Same("a disk that one path leads to gets no map")),
            (
                "",
                No("a USB disk gets a map only if several paths lead to it"),
            ),
        ],
    ),
    keyword(
        "flush_on_last_del",
        "dDom",
        &[
            (
                "always",
                No("queueing ends with the APD timeout, and an open map is never removed"),
            ),
            (
                "yes",
                No("queueing ends with the APD timeout, and an open map is never removed"),
            ),
            (
                "never",
                No("a map without paths is removed once nobody has it open"),
            ),
            (
                "",
                Same("a map without paths is removed once nobody has it open"),
            ),
        ],
    ),
    keyword(
        "user_friendly_names",
        "dDom",
        &[("no", Same(NAMES)), ("", No(NAMES))],
    ),
    keyword("mode", "dm", &[("", No(NODE))]),
    keyword("uid", "dm", &[("", No(NODE))]),
    keyword("gid", "dm", &[("", No(NODE))]),
    keyword("fast_io_fail_tmo", "dDop", &[("", No(TIMERS))]),
    keyword("dev_loss_tmo", "dDop", &[("", No(TIMERS))]),
    keyword(
        "eh_deadline",
        "dDop",
        &[(
            "",
            No(
                "the deadline of error recovery stays as it is: a udev rule sets eh_deadline of the SCSI host",
            ),
        )],
    ),
    keyword(
        "max_retries",
        "d",
        &[(
            "",
            No(
                "retries of the SCSI layer stay as they are: a udev rule sets max_retries of the disk",
            ),
        )],
    ),
    keyword("bindings_file", "d", &[("", Dead(NOT_READ))]),
    keyword("wwids_file", "d", &[("", Dead(NOT_READ))]),
    keyword("prkeys_file", "d", &[("", Dead(NOT_READ))]),
    keyword("multipath_dir", "d", &[("", Dead(NOT_READ))]),
    keyword("config_dir", "d", &[("", Dead(NOT_READ))]),
    keyword("udev_dir", "d", &[("", Dead(NOT_READ))]),
    keyword("pg_timeout", "dDom", &[("", Dead(NOT_READ))]),
    keyword("disable_changed_wwids", "d", &[("", Dead(NOT_READ))]),
    keyword(
        "rr_min_io",
        "dDom",
        &[(
            "",
            Dead("the kernel changes the path with every I/O whatever this says, since 4.6"),
        )],
    ),
    keyword(
        "rr_min_io_rq",
        "dDom",
        &[(
            "",
            Dead("the kernel changes the path with every I/O whatever this says, since 4.6"),
        )],
    ),
    keyword(
        "rr_weight",
        "dDom",
        &[(
            "",
            Dead("the kernel changes the path with every I/O whatever this says, since 4.6"),
        )],
    ),
    keyword(
        "log_checker_err",
        "d",
        &[
            ("once", Same("a failure is logged once, when it begins")),
            ("", No("a failure is logged once, when it begins")),
        ],
    ),
    keyword("reservation_key", "dm", &[("", No(RESERVATIONS))]),
    keyword("all_tg_pt", "dDo", &[("", No(RESERVATIONS))]),
    keyword(
        "retain_attached_hw_handler",
        "dDo",
        &[
            ("yes", Same("a device handler of the kernel stays attached")),
            ("", No("a device handler of the kernel stays attached")),
        ],
    ),
    keyword(
        "detect_prio",
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
    keyword(
        "detect_checker",
        "dDo",
        &[("yes", Same(PROBES)), ("", No(PROBES))],
    ),
    keyword(
        "force_sync",
        "d",
        &[
            ("no", Same("checks are asynchronous")),
            ("", No("checks are asynchronous")),
        ],
    ),
    keyword(
        "strict_timing",
        "d",
        &[
            ("yes", Same("each path has a timer of its own")),
            ("", Same("each path has a timer of its own")),
        ],
    ),
    keyword(
        "deferred_remove",
        "dDom",
        &[
            ("no", Same("an open map is not removed")),
            ("", No("an open map is not removed")),
        ],
    ),
    keyword(
        "partition_delimiter",
        "d",
        &[(
            "",
            No("partitions of maps are named by kpartx and its udev rules"),
        )],
    ),
    keyword(
        "san_path_err_threshold",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "san_path_err_forget_rate",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "san_path_err_recovery_time",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "marginal_path_double_failed_time",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "marginal_path_err_sample_time",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "marginal_path_err_rate_threshold",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "marginal_path_err_recheck_gap_time",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "delay_watch_checks",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "delay_wait_checks",
        "dDom",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "marginal_pathgroups",
        "d",
        &[("no", Same(NO_COUNTS)), ("", No(NO_COUNTS))],
    ),
    keyword(
        "find_multipaths",
        "d",
        &[(
            "",
            No(
                "which disk gets a map follows from the rules: SAN disks and those with several paths do, a lone local disk does not",
            ),
        )],
    ),
    keyword(
        "find_multipaths_timeout",
        "d",
        &[(
            "",
            No("which disk gets a map follows from the rules: no further path is waited for"),
        )],
    ),
    keyword(
        "uxsock_timeout",
        "d",
        &[("", No("psactl is answered from memory"))],
    ),
    keyword("retrigger_tries", "d", &[("", No(UNFINISHED))]),
    keyword("retrigger_delay", "d", &[("", No(UNFINISHED))]),
    keyword("missing_uev_wait_timeout", "d", &[("", No(UNFINISHED))]),
    keyword(
        "skip_kpartx",
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
    keyword(
        "purge_disconnected",
        "dDom",
        &[
            ("no", Same("the SCSI device of a dead path stays")),
            ("", No("the SCSI device of a dead path stays")),
        ],
    ),
    keyword(
        "remove_retries",
        "d",
        &[("", No("a map that is open is removed when it is closed"))],
    ),
    keyword(
        "max_sectors_kb",
        "dDom",
        &[(
            "",
            No(
                "the size of requests stays as it is: a udev rule sets queue/max_sectors_kb of the paths",
            ),
        )],
    ),
    keyword(
        "ghost_delay",
        "dDom",
        &[
            (
                "no",
                Same("a map whose paths are all standby is there at once"),
            ),
            ("", No("a map whose paths are all standby is there at once")),
        ],
    ),
    keyword(
        "auto_resize",
        "d",
        &[
            ("never", Same("a map keeps its size")),
            ("", No("a map keeps its size")),
        ],
    ),
    keyword(
        "enable_foreign",
        "d",
        &[
            ("NONE", Same("native NVMe multipathing is left alone")),
            ("^$", Same("native NVMe multipathing is left alone")),
            (
                "",
                No("native NVMe multipathing is left alone, and not listed"),
            ),
        ],
    ),
    keyword(
        "recheck_wwid",
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
    keyword("max_fds", "d", &[("", No("LimitNOFILE= in the unit"))]),
    keyword("vendor", "D", &[]),
    keyword("product", "D", &[]),
    keyword("revision", "D", &[]),
    keyword("product_blacklist", "D", &[]),
    keyword("hardware_handler", "D", &[("", No(SATP))]),
    keyword(
        "vpd_vendor",
        "D",
        &[("", No("VPD pages of vendors are not read"))],
    ),
    keyword("wwid", "m", &[]),
    keyword("alias", "m", &[("", No(NAMES))]),
    keyword("type", "p", &[("", No("no setting goes by protocol"))]),
];

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
    match TABLE.iter().find(|keyword| keyword.name == name) {
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
    let keyword = TABLE.iter().find(|keyword| keyword.name == name);
    let fates = keyword.map_or(&[][..], |keyword| keyword.fates);
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
        let count = |section: char| {
            let of = TABLE.iter().filter(|k| k.sections.contains(section));
            of.count()
        };
        // As multipath-tools 0.15 counts them; in defaults, two more that older releases read.
        let counts = ['d', 'D', 'o', 'm', 'p'].map(count);
        assert_eq!(counts, [75 + 2, 48, 41, 33, 4]);
        let mut names: Vec<&str> = TABLE.iter().map(|keyword| keyword.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        for keyword in TABLE {
            if let Some((last, before)) = keyword.fates.split_last() {
                assert_eq!(last.0, "", "{}", keyword.name);
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
