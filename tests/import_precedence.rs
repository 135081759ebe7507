//! The output of `psactl import multipath` has the effect that multipath-tools derives from the same files: which of
//! several values applies to an array, at every level and for every translated keyword; a blacklist overrides all of
//! them; and `psactl plan` shows it. The tests judge by a world with these rules and settings, not by their text.

mod screen;

use dm_psa::cli::Exit;
use dm_psa::config::{Places, load_settings, rules};
use dm_psa::psa::report::inventory::{Hex, Inventory};
use dm_psa::psa::settings::LimitType;
use dm_psa::psa::state::device::Disposition;
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use screen::{golden_file, psactl_below};
use std::path::Path;

/// The resulting settings of a device of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Effect {
    satp: String,
    psp: String,
    selector: &'static str,
    apd_ms: Option<u64>,
    fast_io_fail: u32,
    dev_loss: Option<u32>,
    has_map: bool,
}

/// An array: vendor, product, and whether it reports target port groups.
type Array = (&'static str, &'static str, Tpgs);

const UNKNOWN: Array = ("ACME", "BOX", Tpgs::Implicit);
/// Its entry in the table of multipath-tools has `no_path_retry queue` and `group_by_prio`.
const LISTED: Array = ("IBM", "2145", Tpgs::Implicit);
/// The table has no `no_path_retry`; our rule has `fast_io_fail_tmo=10`, as the table, and `iops=1`.
const PURE: Array = ("PURE", "FlashArray", Tpgs::Implicit);
/// Our rule matches any product of NETAPP, the table only this one: `dev_loss_tmo infinity`.
const NETAPP: Array = ("NETAPP", "LUN C-Mode", Tpgs::Implicit);
/// Our rule has its own APD timeout.
const RDAC: Array = ("DELL", "MD36xxf", Tpgs::None);

const ARRAYS: [Array; 5] = [UNKNOWN, LISTED, PURE, NETAPP, RDAC];

/// The device identifier of the captured host, and its WWID.
const DEVICE: &str = "naa.6001405a000000000000000000000001";
const WWID: &str = "36001405a000000000000000000000001";

/// A host with a device of an array.
fn host((vendor, model, tpgs): Array) -> Inventory {
    let name = match tpgs {
        Tpgs::None => "acme-nobody-knows-it",
        _ => "ibm-2145",
    };
    let file = golden_file(&format!("inventories/{name}/host.json"));
    let mut host: Inventory =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for path in &mut host.paths {
        path.inquiry = Hex(StandardInquiry::build(tpgs, vendor, model, "1"));
        path.facts.transport = dm_psa::psa::adapter::Transport::Fc;
    }
    host
}

/// The effect of the files below a directory on an array.
fn effect(root: &Path, array: Array) -> Effect {
    let places = Places::below(root);
    let settings = load_settings(&places).unwrap();
    let mut host = host(array);
    host.settings = settings.clone();
    let world = host.revive(rules::load(&places).unwrap().in_force());
    let device = world.devices().next().unwrap();
    assert_eq!(device.id().as_str(), DEVICE);
    let set = world.device_settings(device);
    let round_robin = &set.round_robin;
    let selection = device.selection().unwrap();
    Effect {
        satp: selection.satp.name().to_owned(),
        psp: device.psp(&set).name().to_owned(),
        selector: match round_robin.limit_type() {
            LimitType::Latency => "latency",
            _ if round_robin.iops() == 1 => "turns",
            _ => "",
        },
        apd_ms: set.apd_timeout_ms.map(|ms| ms.0),
        fast_io_fail: set.fast_io_fail_tmo.unwrap_or(settings.fast_io_fail_tmo),
        dev_loss: set.dev_loss_tmo,
        has_map: *device.disposition() == Disposition::Stacked,
    }
}

/// Imports files into an empty directory.
fn import(texts: &[&str]) -> (tempfile::TempDir, screen::Screen) {
    let root = tempfile::tempdir().unwrap();
    let mut words = vec!["import".to_owned(), "multipath".to_owned()];
    for (at, text) in texts.iter().enumerate() {
        let file = root.path().join(format!("{at}.conf"));
        std::fs::write(&file, text).unwrap();
        words.push(file.to_str().unwrap().to_owned());
    }
    let screen = psactl_below(root.path(), words);
    (root, screen)
}

/// The levels, in decreasing priority. The two sections for an array are in separate files.
const LEVELS: [&str; 5] = ["multipaths", "overrides", "later", "earlier", "defaults"];

/// A configuration with a keyword that has these values at the levels; `None` leaves it out there.
fn configuration(keyword: &str, values: [Option<&str>; 5]) -> [String; 2] {
    let line =
        |at: usize| values[at].map_or_else(String::new, |value| format!("{keyword} \"{value}\"\n"));
    let sections = |at: usize| -> String {
        if values[at].is_none() {
            return String::new();
        }
        let section = |(vendor, model, _): &Array| {
            format!(
                "device {{\nvendor \"{vendor}\"\nproduct \"{model}\"\n{}}}\n",
                line(at)
            )
        };
        ARRAYS.iter().map(section).collect()
    };
    let first = format!(
        "defaults {{\n{}}}\noverrides {{\n{}}}\ndevices {{\n{}}}\n",
        line(4),
        line(1),
        sections(3)
    );
    let second = format!(
        "devices {{\n{}}}\nmultipaths {{\nmultipath {{\nwwid {WWID}\n{}}}\n}}\n",
        sections(2),
        line(0)
    );
    [first, second]
}

/// A keyword: its value at each level, the observed setting, and its expected value for each level.
struct Case {
    keyword: &'static str,
    values: [Option<&'static str>; 5],
    seen: fn(&Effect) -> String,
    wanted: [&'static str; 5],
}

fn apd(effect: &Effect) -> String {
    effect.apd_ms.map_or_else(String::new, |ms| ms.to_string())
}

fn dev_loss(effect: &Effect) -> String {
    let seconds = effect.dev_loss;
    seconds.map_or_else(String::new, |seconds| seconds.to_string())
}

const CASES: [Case; 8] = [
    Case {
        keyword: "no_path_retry",
        values: [Some("10"), Some("20"), Some("30"), Some("40"), Some("50")],
        seen: apd,
        wanted: ["50000", "100000", "150000", "200000", "250000"],
    },
    Case {
        keyword: "no_path_retry",
        values: [
            Some("fail"),
            Some("queue"),
            Some("0"),
            Some("queue"),
            Some("fail"),
        ],
        seen: apd,
        wanted: ["1000", "99999000", "1000", "99999000", "1000"],
    },
    Case {
        keyword: "fast_io_fail_tmo",
        values: [None, Some("21"), Some("31"), Some("41"), Some("51")],
        seen: |effect| effect.fast_io_fail.to_string(),
        wanted: ["", "21", "31", "41", "51"],
    },
    Case {
        keyword: "dev_loss_tmo",
        values: [None, Some("21"), Some("infinity"), Some("41"), Some("51")],
        seen: dev_loss,
        wanted: ["", "21", "2147483647", "41", "51"],
    },
    Case {
        keyword: "path_selector",
        values: [
            Some("round-robin 0"),
            Some("service-time 0"),
            Some("round-robin 0"),
            Some("queue-length 0"),
            Some("round-robin 0"),
        ],
        seen: |effect| effect.selector.to_owned(),
        wanted: ["turns", "latency", "turns", "latency", "turns"],
    },
    Case {
        keyword: "path_selector",
        values: [
            Some("service-time 0"),
            Some("round-robin 0"),
            Some("historical-service-time 0"),
            Some("round-robin 0"),
            Some("service-time 0"),
        ],
        seen: |effect| effect.selector.to_owned(),
        wanted: ["latency", "turns", "latency", "turns", "latency"],
    },
    Case {
        keyword: "path_grouping_policy",
        values: [
            Some("multibus"),
            Some("failover"),
            Some("group_by_prio"),
            Some("failover"),
            Some("multibus"),
        ],
        seen: |effect| (effect.psp == "VMW_PSP_RR").to_string(),
        wanted: ["true", "false", "true", "false", "true"],
    },
    Case {
        keyword: "path_grouping_policy",
        values: [
            Some("failover"),
            Some("group_by_prio"),
            Some("failover"),
            Some("group_by_tpg"),
            Some("failover"),
        ],
        seen: |effect| (effect.psp == "VMW_PSP_RR").to_string(),
        wanted: ["false", "true", "false", "true", "false"],
    },
];

/// The value for an array without any file, if `defaults` does not apply because the table of multipath-tools or our
/// rule for this array has the keyword; `None` if `defaults` applies.
fn built_in(keyword: &str, array: Array) -> Option<&'static str> {
    match (keyword, array) {
        (_, UNKNOWN) => None,
        ("no_path_retry", RDAC) => Some("150000"),
        ("no_path_retry", LISTED | NETAPP) => Some(""),
        ("fast_io_fail_tmo", PURE) => Some("10"),
        ("dev_loss_tmo", NETAPP) => Some("2147483647"),
        ("path_grouping_policy", RDAC) => Some("false"),
        ("path_grouping_policy", _) => Some("true"),
        _ => None,
    }
}

#[test]
fn each_level_overrides_those_below_it() {
    for case in &CASES {
        let said: Vec<usize> = (0..5).filter(|at| case.values[*at].is_some()).collect();
        for subset in 1u32..1 << said.len() {
            let used = |at: usize| {
                let bit = said.iter().position(|one| *one == at);
                bit.is_some_and(|bit| subset & (1 << bit) != 0)
            };
            let mut values = [None; 5];
            for at in (0..5).filter(|at| used(*at)) {
                values[at] = case.values[at];
            }
            let [first, second] = configuration(case.keyword, values);
            let (root, screen) = import(&[&first, &second]);
            assert_eq!(screen.exit, Exit::Ok, "{first}{second}{}", screen.out);
            let highest = (0..5).find(|at| used(*at)).unwrap();
            for array in ARRAYS {
                let built_in = built_in(case.keyword, array).filter(|_| highest == 4);
                let wanted = built_in.unwrap_or(case.wanted[highest]);
                let effect = effect(root.path(), array);
                assert_eq!(
                    (case.seen)(&effect),
                    wanted,
                    "{} by {} for {array:?}: {effect:?}\n{first}{second}{}",
                    case.keyword,
                    LEVELS[highest],
                    screen.out
                );
            }
        }
    }
}

#[test]
fn defaults_change_only_unknown_arrays_and_overrides_change_all() {
    let bare = tempfile::tempdir().unwrap();
    for (text, is_same) in [
        ("defaults {\n no_path_retry fail\n}\n", true),
        ("defaults {\n path_grouping_policy multibus\n}\n", true),
        ("overrides {\n no_path_retry fail\n}\n", false),
    ] {
        let (root, _) = import(&[text]);
        for array in [LISTED, NETAPP, RDAC, ("DGC", "VRAID", Tpgs::Both)] {
            let (before, after) = (effect(bare.path(), array), effect(root.path(), array));
            assert_eq!(before == after, is_same, "{text}{array:?}: {after:?}");
        }
        let unknown = effect(root.path(), UNKNOWN);
        assert_ne!(effect(bare.path(), UNKNOWN), unknown, "{text}");
    }
}

#[test]
fn sections_for_more_arrays_are_merged_with_those_for_fewer() {
    let text = "\
devices {
 device {
  vendor \".*\"
  product \".*\"
  no_path_retry 12
  fast_io_fail_tmo 7
 }
 device {
  vendor \"DGC\"
  product \".*\"
  path_selector \"round-robin 0\"
 }
 device {
  vendor \"DGC\"
  product \"VRAID\"
  no_path_retry queue
 }
}
";
    let (root, screen) = import(&[text]);
    assert_eq!(screen.exit, Exit::Ok, "{}", screen.out);
    let vraid = effect(root.path(), ("DGC", "VRAID", Tpgs::Both));
    assert_eq!(vraid.satp, "VMW_SATP_ALUA_CX");
    assert_eq!((vraid.apd_ms, vraid.selector), (Some(99_999_000), "turns"));
    let raid = effect(root.path(), ("DGC", "RAID 5", Tpgs::None));
    assert_eq!(raid.satp, "VMW_SATP_CX");
    assert_eq!((raid.apd_ms, raid.selector), (Some(60_000), "turns"));
    for array in [LISTED, UNKNOWN, RDAC, PURE] {
        let effect = effect(root.path(), array);
        assert_eq!(
            (effect.apd_ms, effect.fast_io_fail),
            (Some(60_000), 7),
            "{array:?}"
        );
    }
}

#[test]
fn queue_if_no_path_counts_only_without_no_path_retry() {
    let queue = "features \"1 queue_if_no_path\"\n";
    for (text, array, wanted) in [
        (
            format!("defaults {{\n{queue}}}\n"),
            UNKNOWN,
            Some(99_999_000),
        ),
        (format!("defaults {{\n{queue}}}\n"), PURE, Some(99_999_000)),
        (format!("defaults {{\n{queue}}}\n"), LISTED, None),
        (
            format!("overrides {{\n{queue}}}\n"),
            UNKNOWN,
            Some(99_999_000),
        ),
        (format!("overrides {{\n{queue}}}\n"), RDAC, Some(150_000)),
        (
            format!("overrides {{\n{queue}}}\ndefaults {{\nno_path_retry 4\n}}\n"),
            UNKNOWN,
            Some(20_000),
        ),
        (
            format!("devices {{\ndevice {{\nvendor ACME\nproduct BOX\n{queue}}}\n}}\n"),
            UNKNOWN,
            Some(99_999_000),
        ),
        (
            format!(
                "devices {{\ndevice {{\nvendor ACME\nproduct BOX\nno_path_retry 2\n{queue}}}\n}}\n"
            ),
            UNKNOWN,
            Some(10_000),
        ),
    ] {
        let (root, screen) = import(&[&text]);
        let effect = effect(root.path(), array);
        assert_eq!(effect.apd_ms, wanted, "{text}{array:?}\n{}", screen.out);
    }
}

#[test]
fn a_section_chooses_the_satp() {
    let section = |vendor: &str, product: &str, more: &str| {
        format!(
            "devices {{\ndevice {{\nvendor \"{vendor}\"\nproduct \"{product}\"\n{more}\n}}\n}}\n"
        )
    };
    let fixed = "path_grouping_policy multibus\nprio const\ndetect_prio no\nhardware_handler \"\"";
    for (more, array, wanted) in [
        (
            fixed,
            ("Promise", "VTrak", Tpgs::Both),
            "VMW_SATP_DEFAULT_AA",
        ),
        (fixed, UNKNOWN, "VMW_SATP_DEFAULT_AA"),
        ("prio const\ndetect_prio no", LISTED, "VMW_SATP_DEFAULT_AA"),
        // An unknown word is ignored, so detection stays on.
        ("prio const\ndetect_prio off", LISTED, "VMW_SATP_ALUA"),
        ("prio const", LISTED, "VMW_SATP_ALUA"),
        // The table has `prio alua`.
        ("detect_prio no", LISTED, "VMW_SATP_ALUA"),
        ("detect_prio no", UNKNOWN, "VMW_SATP_DEFAULT_AA"),
        ("prio alua\ndetect_prio no", UNKNOWN, "VMW_SATP_ALUA"),
        (
            "hardware_handler \"1 rdac\"",
            ("ACME", "OLD", Tpgs::None),
            "VMW_SATP_LSI",
        ),
        (
            "hardware_handler \"1 rdac\"",
            ("ACME", "OLD", Tpgs::Both),
            "VMW_SATP_ALUA",
        ),
        (
            "prio emc\npath_checker emc_clariion",
            ("ACME", "CX", Tpgs::None),
            "VMW_SATP_CX",
        ),
        (
            "prio alua\npath_checker emc_clariion",
            ("ACME", "CX", Tpgs::Both),
            "VMW_SATP_ALUA_CX",
        ),
    ] {
        let (root, screen) = import(&[&section(array.0, array.1, more)]);
        let effect = effect(root.path(), array);
        assert_eq!(effect.satp, wanted, "{more} {array:?}\n{}", screen.out);
    }
}

#[test]
fn a_blacklist_overrides_everything() {
    let device = |vendor: &str, product: &str| {
        format!("device {{\nvendor \"{vendor}\"\nproduct \"{product}\"\n}}\n")
    };
    let section = "devices {\ndevice {\nvendor IBM\nproduct 2145\nprio alua\nno_path_retry 12\n}\ndevice {\nvendor ACME\nproduct BOX\npath_grouping_policy multibus\n}\n}\n";
    let entries = [
        (device("IBM", ".*"), [false, true]),
        (device("IBM", "2145"), [false, true]),
        (device(".*", "2145"), [false, true]),
        (device("IBM", "21"), [false, true]),
        (device("ACME", "BOX"), [true, false]),
        (device(".*", "BOX"), [true, false]),
        (device(".*", ".*"), [false, false]),
        ("devnode \"^sd[a-z0-9]+\"\n".to_owned(), [false, false]),
        ("property \".*\"\n".to_owned(), [false, false]),
        ("protocol \"scsi:.*\"\n".to_owned(), [false, false]),
        ("wwid \".*\"\n".to_owned(), [false, false]),
        (format!("wwid {WWID}\n"), [false, false]),
        (
            "wwid 36001405a000000000000000000000002\n".to_owned(),
            [true, true],
        ),
        (
            "protocol \"(scsi:adt|scsi:sbp)\"\n".to_owned(),
            [true, true],
        ),
    ];
    for (entry, wanted) in entries {
        for order in [true, false] {
            let blacklist = format!("blacklist {{\n{entry}}}\n");
            let text = if order {
                format!("{blacklist}{section}")
            } else {
                format!("{section}{blacklist}")
            };
            let (root, screen) = import(&[&text]);
            assert_eq!(screen.exit, Exit::Ok, "{text}{}", screen.out);
            let maps = [LISTED, UNKNOWN].map(|array| effect(root.path(), array).has_map);
            assert_eq!(maps, wanted, "{text}{}", screen.out);
        }
    }
}

#[test]
fn exceptions_apply_to_blacklist_entries_of_their_kind() {
    let everything = "device {\nvendor \".*\"\nproduct \".*\"\n}\n";
    let netapp = "device {\nvendor NETAPP\nproduct \"LUN.*\"\n}\n";
    let acme = "device {\nvendor ACME\n}\n";
    for (blacklist, exceptions, wanted) in [
        // NETAPP, ACME, IBM 2145
        (
            everything.to_owned(),
            netapp.to_owned(),
            [true, false, false],
        ),
        (
            everything.to_owned(),
            format!("{netapp}{acme}"),
            [true, true, false],
        ),
        (
            everything.to_owned(),
            everything.to_owned(),
            [true, true, true],
        ),
        (
            "wwid \".*\"\n".to_owned(),
            format!("wwid {WWID}\n"),
            [true, true, true],
        ),
        (
            "wwid \"*\"\n".to_owned(),
            "wwid 36001405a000000000000000000000002\n".to_owned(),
            [false; 3],
        ),
        (
            "devnode \".*\"\n".to_owned(),
            "devnode \"^sd\"\n".to_owned(),
            [true; 3],
        ),
        // An exception of another kind removes nothing.
        ("wwid \".*\"\n".to_owned(), netapp.to_owned(), [false; 3]),
        (everything.to_owned(), format!("wwid {WWID}\n"), [false; 3]),
    ] {
        let text =
            format!("blacklist {{\n{blacklist}}}\nblacklist_exceptions {{\n{exceptions}}}\n");
        let (root, screen) = import(&[&text]);
        let maps = [NETAPP, UNKNOWN, LISTED].map(|array| effect(root.path(), array).has_map);
        assert_eq!(maps, wanted, "{text}{}", screen.out);
        assert_eq!(screen.exit, Exit::Ok, "{text}{}", screen.out);
        if maps[0] {
            assert_eq!(effect(root.path(), NETAPP).satp, "VMW_SATP_ALUA");
        }
    }
    // If an exception cannot be translated, its blacklist entry is dropped too, or the host would lose a map.
    let (root, screen) = import(&[
        "blacklist {\n devnode \".*\"\n}\nblacklist_exceptions {\n devnode \"^sdb\"\n}\n",
    ]);
    assert_eq!(screen.exit, Exit::Partly, "{}", screen.out);
    assert!(effect(root.path(), LISTED).has_map);
}

#[test]
fn plan_shows_what_an_import_changes() {
    let plan = |root: &Path, host: &str| {
        let file = golden_file(&format!("inventories/{host}/host.json"));
        psactl_below(root, ["plan", "--inventory", file.to_str().unwrap()])
    };
    for (text, host, parts) in [
        (
            "blacklist {\n device {\n vendor IBM\n product 2145\n }\n}\n",
            "ibm-2145",
            &["VMW_SATP_LOCAL", "map then: none"][..],
        ),
        (
            "blacklist {\n wwid \".*\"\n}\n",
            "ibm-2145",
            &["map then: none: `map = false`"],
        ),
        (
            "devices {\n device {\n vendor ACME\n product .*\n path_grouping_policy multibus\n }\n}\n",
            "acme-nobody-knows-it",
            &["VMW_PSP_FIXED", "VMW_PSP_RR"],
        ),
    ] {
        let (root, _) = import(&[text]);
        let screen = plan(root.path(), host);
        assert_eq!(screen.exit, Exit::Ok, "{}", screen.err);
        for part in parts {
            assert!(screen.out.contains(part), "{text}{part}: {}", screen.out);
        }
        let empty = tempfile::tempdir().unwrap();
        let nothing = plan(empty.path(), host);
        assert!(!nothing.out.contains("map then"), "{}", nothing.out);
    }
}

#[test]
fn a_plan_starts_from_the_rules_of_the_captured_host() {
    // The host has the rule already, so it is not new.
    let text = "blacklist {\n device {\n vendor ACME\n }\n}\n";
    let (root, _) = import(&[text]);
    let mut captured = host(UNKNOWN);
    captured.rules = Some(rules::load(&Places::below(root.path())).unwrap().in_force());
    let file = root.path().join("host.json");
    std::fs::write(&file, serde_json::to_string(&captured).unwrap()).unwrap();
    let words = ["plan", "--inventory", file.to_str().unwrap()];
    let same = psactl_below(root.path(), words);
    assert!(!same.out.contains("map then"), "{}", same.out);
    // Below a directory without the rule the device gets a map again.
    let other = tempfile::tempdir().unwrap();
    let gone = psactl_below(other.path(), words);
    assert!(gone.out.contains("map now:  none"), "{}", gone.out);
}

#[test]
fn lines_are_named_with_their_file() {
    let (_root, screen) = import(&[
        "devices {\n device {\n vendor ACME\n product BOX\n no_path_retry 12\n }\n}\n",
        "\noverrides {\n no_path_retry fail\n}\n",
    ]);
    let line = screen
        .out
        .lines()
        .find(|line| line.contains("no_path_retry 12"))
        .unwrap();
    assert!(line.trim_start().starts_with("5  left out"), "{line}");
    assert!(line.contains("0.conf: device no_path_retry 12"), "{line}");
    assert!(
        line.contains("line 3 of") && line.contains("1.conf takes precedence"),
        "{line}"
    );
}
