//! Hosts that `psactl inventory capture` recorded, and the decisions on them: `tests/golden/inventories/NAME/` has
//! `host.json`, sometimes the admin's `rules.toml`, and `decisions.txt`.
//!
//! `UPDATE_GOLDEN=1` rewrites the decisions, and creates missing hosts of [`ARRAYS`].

mod san;
mod screen;

use dm_psa::cli::Exit;
use dm_psa::config::{Places, rules, store};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::report::inventory::{CapturedPath, Hex, Inventory};
use dm_psa::psa::settings::Settings;
use dm_psa::psa::world::World;
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Trespass, Unit};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::{cable_unit_by, four_paths, running, seconds, steady};
use screen::{golden, golden_file, psactl_below};
use std::fmt::Write as _;
use std::path::Path;

/// How the ports of an array differ.
#[derive(Clone, Copy)]
enum Kind {
    /// They are all equal.
    Alike,
    /// They report target port groups.
    Groups(Tpgs, &'static [AccessState]),
    /// One controller serves, the other is standby.
    Older(Trespass),
}

use AccessState::{ActiveNonOptimized as ANO, ActiveOptimized as AO, Standby, Unavailable};
use Kind::{Alike, Groups, Older};

const IMPLICIT: Kind = Groups(Tpgs::Implicit, &[AO, ANO]);
const BOTH: Kind = Groups(Tpgs::Both, &[AO, ANO]);

/// Array families: vendor, product, kind, transport.
const ARRAYS: &[(&str, &str, Kind, Transport)] = &[
    (
        "3PARdata",
        "VV",
        Groups(Tpgs::Both, &[AO, AO]),
        Transport::Fc,
    ),
    ("AIX", "NVDISK", IMPLICIT, Transport::Fc),
    ("APPLE", "Xserve RAID", Alike, Transport::Fc),
    ("AStor", "NeoSapphire", IMPLICIT, Transport::Iscsi),
    (
        "COMPAQ",
        "MSA1000",
        Older(Trespass::StartUnit),
        Transport::Fc,
    ),
    (
        "COMPELNT",
        "Compellent Vol",
        Groups(Tpgs::Implicit, &[AO, Standby]),
        Transport::Iscsi,
    ),
    ("DDN", "SFA14KX", BOTH, Transport::Fc),
    ("DEC", "HSG80", Older(Trespass::StartUnit), Transport::Fc),
    ("DELL", "MD32xx", Older(Trespass::Rdac), Transport::Sas),
    ("DELL", "MD36xxf", BOTH, Transport::Fc),
    (
        "DELL",
        "Universal Xport",
        Older(Trespass::Rdac),
        Transport::Sas,
    ),
    ("DGC", "LUNZ", Alike, Transport::Fc),
    ("DGC", "RAID 5", Older(Trespass::Clariion), Transport::Fc),
    (
        "DGC",
        "VRAID",
        Groups(Tpgs::Both, &[AO, ANO]),
        Transport::Fc,
    ),
    ("DataCore", "Virtual Disk", IMPLICIT, Transport::Iscsi),
    ("DellEMC", "ME4", IMPLICIT, Transport::Sas),
    ("DellEMC", "PowerStore", BOTH, Transport::Fc),
    ("EMC", "Invista", Alike, Transport::Fc),
    ("EMC", "SYMMETRIX", Alike, Transport::Fc),
    ("EQLOGIC", "100E-00", Alike, Transport::Iscsi),
    ("FUJITSU", "ETERNUS_DXL", BOTH, Transport::Fc),
    ("HITACHI", "DF600F", Alike, Transport::Fc),
    (
        "HITACHI",
        "OPEN-V",
        Groups(Tpgs::Implicit, &[AO, ANO]),
        Transport::Fc,
    ),
    ("HITACHI", "OPEN-V -SUN", Alike, Transport::Fc),
    ("HP", "HSV210", BOTH, Transport::Fc),
    ("HP", "P2000 G3 FC", IMPLICIT, Transport::Fc),
    ("HPE", "MSA 2060 FC", IMPLICIT, Transport::Fc),
    (
        "HUAWEI",
        "XSG1",
        Groups(Tpgs::Both, &[AO, ANO]),
        Transport::Fc,
    ),
    (
        "IBM",
        "1814      FAStT",
        Older(Trespass::Rdac),
        Transport::Fc,
    ),
    ("IBM", "2105800", Alike, Transport::Fc),
    ("IBM", "2107900", Alike, Transport::Fc),
    (
        "IBM",
        "2145",
        Groups(Tpgs::Implicit, &[AO, ANO]),
        Transport::Fc,
    ),
    (
        "IBM",
        "2810XIV",
        Groups(Tpgs::Implicit, &[AO, AO]),
        Transport::Fc,
    ),
    ("IFT", "DS 4000", IMPLICIT, Transport::Iscsi),
    ("LENOVO", "DE_Series", BOTH, Transport::Iscsi),
    (
        "LIO-ORG",
        "disk0",
        Groups(Tpgs::Both, &[AO, Unavailable]),
        Transport::Iscsi,
    ),
    ("MacroSAN", "LU", BOTH, Transport::Fc),
    ("NEC", "DISK ARRAY", IMPLICIT, Transport::Fc),
    ("NETAPP", "INF-01-00", BOTH, Transport::Fc),
    ("NETAPP", "LUN C-Mode", IMPLICIT, Transport::Iscsi),
    (
        "NFINIDAT",
        "InfiniBox",
        Groups(Tpgs::Implicit, &[AO, AO]),
        Transport::Fc,
    ),
    (
        "Nimble",
        "Server",
        Groups(Tpgs::Implicit, &[AO, Standby]),
        Transport::Iscsi,
    ),
    (
        "PURE",
        "FlashArray",
        Groups(Tpgs::Implicit, &[AO, AO]),
        Transport::Fc,
    ),
    ("SEAGATE", "4005", IMPLICIT, Transport::Sas),
    ("SUN", "COMSTAR", BOTH, Transport::Iscsi),
    ("SolidFir", "SSD SAN", Alike, Transport::Iscsi),
    ("VIOLIN", "SAN ARRAY ALUA", IMPLICIT, Transport::Fc),
    ("XtremIO", "XtremApp", Alike, Transport::Fc),
    ("ACME", "nobody knows it", Alike, Transport::Sas),
];

/// The directory name of a family.
fn slug(vendor: &str, product: &str) -> String {
    let name = format!("{vendor} {product}").to_lowercase();
    let words: Vec<&str> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

/// A captured host with one unit of an array.
fn capture(vendor: &str, product: &str, kind: Kind, transport: Transport) -> Inventory {
    let states: &[AccessState] = match kind {
        Alike => &[AO, AO],
        Groups(_, states) => states,
        Older(_) => &[AO, Standby],
    };
    let groups: Vec<(u16, AccessState)> = (1..).zip(states.iter().copied()).collect();
    let mut unit = Unit::new(1, &groups);
    vendor.clone_into(&mut unit.vendor);
    product.clone_into(&mut unit.product);
    unit.tpgs = match kind {
        Groups(tpgs, _) => tpgs,
        _ => Tpgs::None,
    };
    if let Older(trespass) = kind {
        unit.trespasses = Some(trespass);
    }
    let mut kernel = steady();
    cable_unit_by(&mut kernel, 0, unit, transport);
    let rules = rules::built_in().in_force();
    let settings = Settings {
        remove_masked: false,
        ..Settings::default()
    };
    let mut sim = Simulation::start_with_rules(kernel, settings, rules);
    sim.run_for(seconds(20));
    sim.world.inventory(0, usize::MAX)
}

/// The decisions on a host: a few lines for each device.
fn decisions(world: &World) -> String {
    let mut text = String::new();
    for device in world.devices() {
        let selection = device.selection();
        let satp = selection.map_or("none", |selection| selection.satp.name());
        let psp = world.psp_of(device).name();
        let _ = writeln!(
            text,
            "{}\n  {} {satp} {psp}",
            world.display_name(device),
            device.plugin()
        );
        for path in world.paths_of(device) {
            let claim = path.owner().claim().unwrap();
            let (plugin, rule, state) = (claim.plugin, claim.rule, path.state().as_str());
            let _ = writeln!(text, "  {}: {plugin} by rule {rule}, {state}", path.name());
        }
        let _ = writeln!(text, "  map: {}", world.wanted_map(device));
    }
    text
}

fn read(folder: &Path) -> Inventory {
    let text = std::fs::read_to_string(folder.join("host.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn decisions_on_captured_hosts_match_the_goldens() {
    let all = golden_file("inventories");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (vendor, product, kind, transport) in ARRAYS {
            let file = all.join(slug(vendor, product)).join("host.json");
            if !file.exists() {
                let host = capture(vendor, product, *kind, *transport);
                let text = serde_json::to_string_pretty(&host).unwrap();
                store::replace(&file, text.as_bytes()).unwrap();
            }
        }
    }
    let mut count = 0;
    for folder in std::fs::read_dir(&all).unwrap() {
        let folder = folder.unwrap().path();
        let root = tempfile::tempdir().unwrap();
        if let Ok(text) = std::fs::read(folder.join("rules.toml")) {
            store::replace(&root.path().join("etc/dm-psa/rules.toml"), &text).unwrap();
        }
        let mut files = rules::load(&Places::below(root.path())).unwrap();
        files.lists.load(None);
        let world = read(&folder).revive(files.in_force());
        let name = folder.file_name().unwrap().to_str().unwrap();
        golden(
            &format!("inventories/{name}/decisions.txt"),
            &decisions(&world),
        );
        count += 1;
    }
    assert!(count >= 40, "{count} hosts");
}

/// A captured host gives the same decisions as the host where it was captured.
#[test]
fn a_revived_host_decides_as_the_host_itself() {
    let sim = running(four_paths());
    let world = sim
        .world
        .inventory(0, usize::MAX)
        .revive(dm_psa::psa::rules::Rules::default());
    assert_eq!(decisions(&world), decisions(&sim.world));
    let text = serde_json::to_string(&sim.world.inventory(0, 2)).unwrap();
    let part: Inventory = serde_json::from_str(&text).unwrap();
    assert_eq!(part, sim.world.inventory(0, 2));
    assert_eq!(part.paths.len(), 2);
}

#[test]
fn psactl_explains_and_plans_on_a_captured_host() {
    let root = tempfile::tempdir().unwrap();
    let file = golden_file("inventories/netapp-lun-c-mode/host.json");
    let inventory = format!("--inventory={}", file.display());
    let run = |words: &[&str]| {
        let screen = psactl_below(root.path(), words);
        assert_eq!(
            (screen.exit, screen.err.as_str()),
            (Exit::Ok, ""),
            "{words:?}"
        );
        screen.out
    };
    golden(
        "inventories.explain.txt",
        &run(&["explain", "sda", &inventory]),
    );
    let nothing = run(&["plan", &inventory]);
    assert!(nothing.contains("change nothing"), "{nothing}");
    run(&[
        "core",
        "claimrule",
        "add",
        "-r",
        "109",
        "-P",
        "MASK_PATH",
        "-t",
        "location",
        "-A",
        "vmhba0",
        "-C",
        "0",
        "-T",
        "0",
        "-L",
        "0",
    ]);
    let masked = run(&["plan", &inventory]);
    golden("inventories.plan.txt", &masked);
    run(&[
        "core",
        "claimrule",
        "add",
        "-r",
        "108",
        "-P",
        "HPP",
        "-t",
        "vendor",
        "-V",
        "NETAPP",
        "-M",
        "*",
        "--config-string",
        "pss=LB-IOPS",
    ]);
    golden("inventories.plan-hpp.txt", &run(&["plan", &inventory]));
    for (file, why) in [
        ("/nonexistent", "No such file"),
        ("/etc/hostname", "psactl inventory capture"),
        ("/dev/zero", "is longer than"),
    ] {
        let screen = psactl_below(root.path(), ["plan", "--inventory", file]);
        assert_eq!(screen.exit, Exit::Failed, "{file}");
        assert!(screen.err.contains(why), "{}", screen.err);
    }
    let screen = psactl_below(root.path(), ["explain", "sdx", &inventory]);
    assert_eq!(screen.exit, Exit::NotFound);
}

proptest! {
    #![proptest_config(san::config(200))]

    /// Any bytes for any answer: the resulting world is consistent.
    #[test]
    fn any_answers_are_survived(
        inquiry in prop::collection::vec(any::<u8>(), 0..64),
        page in prop::collection::vec(any::<u8>(), 0..64),
        groups in prop::collection::vec(any::<u8>(), 0..64),
        owner in prop::collection::vec(any::<u8>(), 0..16),
    ) {
        let mut host = running(four_paths()).world.inventory(0, 4);
        for path in &mut host.paths {
            let facts = path.facts.clone();
            let [inquiry, identification, port_groups, owner] =
                [&inquiry, &page, &groups, &owner].map(|bytes| Hex(bytes.clone()));
            *path = CapturedPath { facts, ready: path.ready.clone(), inquiry, identification, port_groups, owner };
        }
        let world = host.revive(rules::built_in().in_force());
        let _ = decisions_of_any(&world);
    }
}

/// As [`decisions`], but a path may have no claim.
fn decisions_of_any(world: &World) -> usize {
    world
        .devices()
        .map(|device| world.wanted_map(device).len())
        .sum()
}
