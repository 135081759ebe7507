//! The agent's unit: it starts before mounts, outlives everything on its maps, and has the permissions that it needs.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/dm-psa.service");

/// Targets that only units ordered by them pull in; systemd.special(7).
const PASSIVE: &[&str] = &[
    "cryptsetup-pre.target",
    "first-boot-complete.target",
    "getty-pre.target",
    "integritysetup-pre.target",
    "local-fs-pre.target",
    "network-pre.target",
    "network.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "remote-fs-pre.target",
    "time-set.target",
    "time-sync.target",
    "veritysetup-pre.target",
];

/// The words of all settings with this name.
fn words(unit: &str, name: &str) -> BTreeSet<String> {
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

#[test]
fn passive_targets_that_order_the_unit_are_wanted() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let (before, wants) = (words(&unit, "Before"), words(&unit, "Wants"));
    assert!(before.contains("local-fs-pre.target"));
    let after = words(&unit, "After");
    for target in before.union(&after) {
        assert!(
            !PASSIVE.contains(&target.as_str()) || wants.contains(target),
            "{target} is passive and not wanted"
        );
    }
}

#[test]
fn the_agent_outlives_the_mounts() {
    let unit = fs::read_to_string(UNIT).unwrap();
    assert_eq!(
        words(&unit, "DefaultDependencies"),
        ["no".to_owned()].into()
    );
    // At shutdown systemd stops units that conflict with this target, or with one that it pulls in.
    for target in [
        "shutdown.target",
        "umount.target",
        "final.target",
        "reboot.target",
        "poweroff.target",
    ] {
        assert!(!words(&unit, "Conflicts").contains(target), "{target}");
    }
    for tie in [
        "Requires",
        "BindsTo",
        "PartOf",
        "Requisite",
        "StopWhenUnneeded",
    ] {
        assert_eq!(words(&unit, tie), BTreeSet::new(), "{tie}");
    }
    // The agent reads the name of process 1 to detect the shutdown: `kernel::process`.
    assert!(!unit.lines().any(|line| line.starts_with("ProtectProc=")));
}

#[test]
fn the_unit_grants_the_permissions_that_the_agent_needs() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let capabilities = words(&unit, "CapabilityBoundingSet");
    for needed in ["CAP_IPC_LOCK", "CAP_SYS_RESOURCE", "CAP_SYS_ADMIN"] {
        assert!(capabilities.contains(needed), "{needed}");
    }
    assert_eq!(words(&unit, "OOMScoreAdjust"), ["-1000".to_owned()].into());
    assert_eq!(words(&unit, "LimitMEMLOCK"), ["infinity".to_owned()].into());
    assert_eq!(
        words(&unit, "ManagedOOMPreference"),
        ["omit".to_owned()].into()
    );
}

#[test]
fn systemd_analyze_accepts_the_unit() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dm-psa.service");
    // The program is not installed here.
    let runs = unit.replace("ExecStart=/usr/sbin/dm-psad", "ExecStart=/bin/true");
    assert_ne!(runs, unit);
    fs::write(&file, runs).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output();
    let Ok(output) = verified else {
        eprintln!("systemd-analyze is not installed: the unit was not verified");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("dm-psa"))
        .collect();
    assert!(about.is_empty(), "{said}");
}

#[test]
fn the_shutdown_hook_is_a_script_that_only_calls_our_helper() {
    let hook = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/systemd/system-shutdown/dm-psa"
    );
    let text = fs::read_to_string(hook).unwrap();
    let commands: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(commands, ["exec /usr/lib/udev/dm-psa-id --end-queueing"]);
    assert!(text.starts_with("#!/bin/sh\n"));
    assert!(
        Command::new("sh")
            .arg("-n")
            .arg(hook)
            .status()
            .unwrap()
            .success()
    );
}
