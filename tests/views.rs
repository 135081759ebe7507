//! What people see: pictures (`graph`), the live view (`top`), and the states of devices that they are made of.
//!
//! Goldens in `tests/golden/graph/` and `tests/golden/top/`, rewritten by `UPDATE_GOLDEN=1 cargo test --test views`.

mod san;
mod screen;

use dm_psa::agent::topology::topology;
use dm_psa::api::types::{Topology, TopologyGroup, TopologyPath};
use dm_psa::cli::graph::{Alike, dot::dot, svg::svg};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use san::*;
use screen::golden;

/// What the agent says of all devices.
fn topologies(sim: &Simulation) -> Vec<Topology> {
    let world = &sim.world;
    let devices = world.devices();
    let mut all: Vec<_> = devices.map(|d| topology(world, sim.now(), d)).collect();
    all.sort_by(|a, b| a.device.cmp(&b.device));
    all
}

fn only(sim: &Simulation) -> Topology {
    let mut all = topologies(sim);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The groups of a device with the states of their paths: `1* active unoptimized+`; `*` is the current one, `+` carries
/// I/O.
fn line(device: &Topology) -> String {
    let path = |path: &TopologyPath| {
        let io = if path.carries_io { "+" } else { "" };
        format!("{}{io}", path.state)
    };
    let groups = device.groups.iter().map(|group| {
        let paths = device.paths.iter();
        let paths = paths.filter(|path| path.group == Some(group.number));
        let current = if group.current { "*" } else { "" };
        let paths: Vec<String> = paths.map(path).collect();
        format!("{}{current} {}", group.number, paths.join(", "))
    });
    let groups: Vec<String> = groups.collect();
    format!("{}: {}", device.status, groups.join("; "))
}

// ---- states of devices ----------------------------------------------------------------------------------------

#[test]
fn a_device_is_on_degraded_dead_and_on_again() {
    let mut sim = running(four_paths());
    let whole = "on: 1* active+, active+; 2 active unoptimized, active unoptimized";
    assert_eq!(line(&only(&sim)), whole);
    sim.suffer_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(5));
    let half = "degraded: 1 dead, dead; 2* active unoptimized+, active unoptimized+";
    assert_eq!(line(&only(&sim)), half);
    sim.suffer_all(&[Fault::LinkDown(B1), Fault::LinkDown(B2)]);
    sim.run_for(seconds(7));
    let down = only(&sim);
    assert!(line(&down).starts_with("dead: "), "{}", line(&down));
    assert!(down.queueing && (5..=7).contains(&down.apd_seconds.unwrap()));
    sim.run_for(seconds(140));
    assert!(!only(&sim).queueing && only(&sim).apd_seconds.is_some());
    for path in [A1, A2, B1, B2] {
        sim.suffer(&Fault::LinkUp(path));
    }
    sim.run_for(seconds(30));
    assert_eq!(line(&only(&sim)), whole);
    assert_eq!(only(&sim).apd_seconds, None);
}

#[test]
fn a_unit_that_the_array_took_away_is_not_connected() {
    let mut sim = running(four_paths());
    for path in [A1, A2, B1] {
        sim.suffer(&Fault::Remap(path, None, true));
    }
    sim.run_for(seconds(20));
    assert_eq!(only(&sim).status, "degraded");
    sim.suffer(&Fault::Remap(B2, None, true));
    sim.run_for(seconds(20));
    assert_eq!(only(&sim).status, "not connected");
}

// ---- pictures -------------------------------------------------------------------------------------------------

fn path(adapter: u32, target: u32, lun: u32, state: &str, group: Option<u32>) -> TopologyPath {
    let controller = if target < 2 { 'a' } else { 'b' };
    TopologyPath {
        runtime_name: format!("vmhba{adapter}:C0:T{target}:L{lun}"),
        adapter: format!("vmhba{adapter}"),
        adapter_identifier: format!("fc.20000024ff8af5c{adapter}:21000024ff8af5c{adapter}"),
        target_identifier: format!(
            "fc.500601603ee0{controller}{target}00:500601643ee0{controller}{target}00"
        ),
        transport: "fc".to_owned(),
        state: state.to_owned(),
        reason: String::new(),
        disk: Some(format!(
            "sd{}",
            char::from(b'a' + (adapter * 4 + target) as u8 % 26)
        )),
        hctl: format!("{adapter}:0:{target}:{lun}"),
        group,
        carries_io: state == "active",
    }
}

fn device(lun: u32, paths: Vec<TopologyPath>) -> Topology {
    let group = |number, current| TopologyGroup {
        number,
        state: if current { "active" } else { "enabled" }.to_owned(),
        current,
    };
    let id = format!("naa.60060160a0b0c0d0e0f000112233{lun:04x}");
    Topology {
        display_name: format!("DGC Fibre Channel Disk ({id})"),
        device: id,
        size_mib: 512 * 1024,
        status: "on".to_owned(),
        apd_seconds: None,
        queueing: false,
        plugin: "NMP".to_owned(),
        satp: "VMW_SATP_ALUA_CX".to_owned(),
        psp: "VMW_PSP_RR".to_owned(),
        map: Some(format!("dm-{lun}")),
        groups: vec![group(1, true), group(2, false)],
        paths,
    }
}

/// Two adapters, two controllers with two ports each; one path of each group has failed, one is off.
fn eight_paths(lun: u32) -> Topology {
    let mut paths = Vec::new();
    for adapter in [1, 2] {
        for target in 0..4 {
            let (state, group) = match target {
                0 | 1 => ("active", 1),
                _ => ("active unoptimized", 2),
            };
            paths.push(path(adapter, target, lun, state, Some(group)));
        }
    }
    device(lun, paths)
}

fn degraded(lun: u32) -> Topology {
    let mut device = eight_paths(lun);
    for (place, state) in [(1, "dead"), (3, "dead"), (6, "off"), (7, "unknown")] {
        let path = &mut device.paths[place];
        path.state = state.to_owned();
        path.carries_io = false;
        path.reason = "TEST UNIT READY: DID_NO_CONNECT".to_owned();
    }
    device.status = "degraded".to_owned();
    device
}

fn wide() -> Topology {
    let mut paths = Vec::new();
    for adapter in 1..=8 {
        for target in 0..8 {
            let group = if target < 4 { 1 } else { 2 };
            let state = match (adapter, target) {
                (3, _) => "dead",
                (_, 0..4) => "active",
                _ => "standby",
            };
            let mut path = path(adapter, target, 1, state, Some(group));
            path.target_identifier = format!("fc.5006016000000000:500601600000{target:04x}");
            paths.push(path);
        }
    }
    device(1, paths)
}

fn all_down() -> Topology {
    let mut device = eight_paths(3);
    for path in &mut device.paths {
        path.state = "dead".to_owned();
        path.carries_io = false;
    }
    device.status = "dead".to_owned();
    device.apd_seconds = Some(17);
    device.queueing = true;
    device
}

fn local() -> Topology {
    let mut only = path(0, 0, 0, "active", None);
    only.adapter_identifier = "sata.vmhba0".to_owned();
    only.target_identifier = "sata.0".to_owned();
    let mut device = device(0, vec![only]);
    device.device = "t10.ATA_____QEMU_HARDDISK___________________________QM00001".to_owned();
    device.display_name = format!("Local ATA Disk ({})", device.device);
    device.size_mib = 20_480;
    device.satp = "VMW_SATP_LOCAL".to_owned();
    device.psp = "VMW_PSP_FIXED".to_owned();
    device.map = None;
    device.groups.clear();
    device
}

/// Names that are no names.
fn hostile() -> Topology {
    let mut device = degraded(9);
    device.device = "naa.6<b>&\"'\\\u{1b}[2J".to_owned();
    device.display_name = "</text><script>alert(1)</script>".to_owned();
    for path in &mut device.paths {
        path.target_identifier = format!(
            "iqn.2003-01.org:\"]; x [label=\"\\n<&>\u{202e}{}",
            path.hctl
        );
        path.reason = "a\nb\"c".to_owned();
    }
    device
}

#[test]
fn pictures_are_as_they_were() {
    let many: Vec<Topology> = (1..=40)
        .map(eight_paths)
        .chain([degraded(41), all_down(), local()])
        .collect();
    let single = |device: &Topology| std::slice::from_ref(device).to_vec();
    let cases = [
        ("eight", single(&eight_paths(1))),
        ("degraded", single(&degraded(1))),
        ("wide", single(&wide())),
        ("all-down", single(&all_down())),
        ("local", single(&local())),
        ("hostile", single(&hostile())),
        ("many", many),
    ];
    for (name, devices) in cases {
        let alike = Alike::fold(&devices);
        if name == "many" {
            assert_eq!(alike.len(), 4, "40 of them are alike");
        }
        let picture = svg(&alike);
        let mut reader = quick_xml::Reader::from_str(&picture);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        golden(&format!("graph/{name}.svg"), &picture);
        golden(&format!("graph/{name}.dot"), &dot(&alike));
    }
}

#[test]
fn a_picture_of_a_host_has_its_failed_path() {
    let mut sim = running(four_paths());
    sim.suffer(&Fault::LinkDown(A1));
    sim.run_for(seconds(5));
    let devices = topologies(&sim);
    let text = dot(&Alike::single(&devices));
    let dead: Vec<&str> = text.lines().filter(|l| l.contains("dead")).collect();
    assert_eq!(dead.len(), 1, "{text}");
    assert!(dead[0].contains("vmhba0:C0:T0:L0"), "{}", dead[0]);
    assert!(svg(&Alike::single(&devices)).contains(">dead</text>"));
}

/// Where graphviz is installed, it takes the text whatever the names are.
#[test]
fn graphviz_takes_the_text() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    for device in [eight_paths(1), hostile(), wide()] {
        let started = Command::new("dot")
            .arg("-Tplain")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut graphviz) = started else {
            return;
        };
        let text = dot(&Alike::single(&[device]));
        let mut stdin = graphviz.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        assert!(graphviz.wait().unwrap().success(), "{text}");
    }
}
