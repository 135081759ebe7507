//! What users see: graphs (`graph`), the live view (`top`), and the device states that both show.
//!
//! Goldens in `tests/golden/graph/` and `tests/golden/top/`, rewritten by `UPDATE_GOLDEN=1 cargo test --test views`.

mod san;
mod screen;

use dm_psa::agent::topology::topology;
use dm_psa::api::handler::Limits;
use dm_psa::api::listener::Listener;
use dm_psa::api::requests::Request;
use dm_psa::api::types::{Topology, TopologyGroup, TopologyPath};
use dm_psa::api::{ApiError, Handler, Peer, Server};
use dm_psa::cli::Exit;
use dm_psa::cli::graph::{Alike, dot::dot, svg::svg};
use dm_psa::cli::top::screen::{draw, length};
use dm_psa::cli::top::{DeviceRow, Reading, Sort, View, rows};
use dm_psa::kernel::sysfs::Sysfs;
use dm_psa::kernel::sysfs::statistics::IoCounters;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::*;
use screen::{golden, psactl_on};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The agent's topology of all devices.
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

/// The groups of a device with the states of their paths: `1* active unoptimized+`; `*` is the current group, `+`
/// carries I/O.
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
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(5));
    let half = "degraded: 1 dead, dead; 2* active unoptimized+, active unoptimized+";
    assert_eq!(line(&only(&sim)), half);
    sim.inject_all(&[Fault::LinkDown(B1), Fault::LinkDown(B2)]);
    sim.run_for(seconds(7));
    let down = only(&sim);
    assert!(line(&down).starts_with("dead: "), "{}", line(&down));
    assert!(down.queueing && (5..=7).contains(&down.apd_seconds.unwrap()));
    sim.run_for(seconds(140));
    assert!(!only(&sim).queueing && only(&sim).apd_seconds.is_some());
    for path in [A1, A2, B1, B2] {
        sim.inject(&Fault::LinkUp(path));
    }
    sim.run_for(seconds(30));
    assert_eq!(line(&only(&sim)), whole);
    assert_eq!(only(&sim).apd_seconds, None);
}

#[test]
fn a_unit_that_the_array_took_away_is_not_connected() {
    let mut sim = running(four_paths());
    for path in [A1, A2, B1] {
        sim.inject(&Fault::Remap(path, None, true));
    }
    sim.run_for(seconds(20));
    assert_eq!(only(&sim).status, "degraded");
    sim.inject(&Fault::Remap(B2, None, true));
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

/// A topology with hostile names.
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
fn graphs_match_the_goldens() {
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
fn a_graph_shows_the_failed_path() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(5));
    let devices = topologies(&sim);
    let text = dot(&Alike::single(&devices));
    let dead: Vec<&str> = text.lines().filter(|l| l.contains("dead")).collect();
    assert_eq!(dead.len(), 1, "{text}");
    assert!(dead[0].contains("vmhba0:C0:T0:L0"), "{}", dead[0]);
    assert!(svg(&Alike::single(&devices)).contains(">dead</text>"));
}

/// If graphviz is installed, it accepts the text whatever the names are.
#[test]
fn graphviz_accepts_the_text() {
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

// ---- the live view --------------------------------------------------------------------------------------------

fn counters(ios: u64, ms: u64, in_flight: u64) -> IoCounters {
    IoCounters {
        reads: ios / 2,
        writes: ios - ios / 2,
        sectors_read: ios * 4,
        sectors_written: ios * 4,
        read_ms: ms / 2,
        write_ms: ms - ms / 2,
        in_flight,
    }
}

/// Two seconds of a host with four devices.
fn load() -> Vec<DeviceRow> {
    let devices = [eight_paths(1), degraded(2), all_down(), local()];
    let before = Instant::now();
    let now = before + Duration::from_secs(2);
    let mut counts = [HashMap::new(), HashMap::new()];
    for (number, device) in devices.iter().enumerate() {
        let busy: Vec<_> = device.paths.iter().filter(|path| path.carries_io).collect();
        let (ios, ms) = (2000 * (number as u64 + 1), 900);
        if let Some(map) = &device.map {
            let in_flight = if busy.is_empty() { 64 } else { 12 };
            let done = if busy.is_empty() { 0 } else { ios };
            counts[0].insert(map.clone(), counters(500, 100, 0));
            counts[1].insert(map.clone(), counters(500 + done, 100 + ms, in_flight));
        }
        for path in &device.paths {
            // The addresses of paths are unique on the host: one path for each device.
            let done = if path.carries_io {
                ios / busy.len() as u64
            } else {
                0
            };
            counts[0].insert(path.hctl.clone(), counters(10, 10, 0));
            counts[1].insert(path.hctl.clone(), counters(10 + done, 10 + done / 3, 3));
        }
    }
    let [first, second] = counts;
    let first = Reading {
        at: before,
        counters: first,
    };
    let second = Reading {
        at: now,
        counters: second,
    };
    let mut rows = rows(&devices, Some(&first), &second);
    Sort::Iops.sort(&mut rows);
    rows
}

fn view() -> View {
    View {
        delay: Duration::from_secs(2),
        ..View::default()
    }
}

#[test]
fn screens_of_top_match_the_goldens() {
    let rows = load();
    for (name, view, size, colour) in [
        ("80x24", view(), (80, 24), false),
        ("80x24-colour", view(), (80, 24), true),
        ("120x40", view(), (120, 40), false),
        ("44x12", view(), (44, 12), false),
        ("20x8", view(), (20, 8), false),
        (
            "problems",
            View {
                problems: true,
                ..view()
            },
            (80, 24),
            false,
        ),
        (
            "scrolled",
            View {
                skipped: 12,
                paused: true,
                ..view()
            },
            (80, 10),
            false,
        ),
        (
            "help",
            View {
                help: true,
                ..view()
            },
            (80, 24),
            false,
        ),
    ] {
        let lines = draw(&rows, &view, size, colour);
        golden(&format!("top/{name}.txt"), &(lines.join("\n") + "\n"));
    }
    let trouble = Some(
        "the agent dm-psad is not running: /run/dm-psa/io.dmpsa: there is no such socket"
            .to_owned(),
    );
    let lines = draw(&[], &View { trouble, ..view() }, (80, 24), false);
    assert!(
        lines[1].starts_with("no answer, retrying: the agent dm-psad is not running"),
        "{lines:?}"
    );
    assert_eq!(
        draw(&[], &view(), (80, 24), false)[3],
        "There is no device yet."
    );
}

#[test]
fn the_figures_of_top_are_those_of_the_interval() {
    let rows = load();
    let device = rows.iter().find(|row| row.name.ends_with("0002")).unwrap();
    let load = device.load.unwrap();
    // 4000 I/Os in two seconds, 4 KiB each, 900 ms in total.
    assert_eq!(
        (load.iops, load.megabytes, load.in_flight),
        (2000.0, 8.192, 12)
    );
    assert_eq!(load.latency, Some(0.225));
    let shares: Vec<_> = device.paths.iter().filter_map(|path| path.share).collect();
    assert_eq!(shares, [33, 0, 0, 0, 33, 33, 0, 0]);
    let down = rows
        .iter()
        .find(|row| row.state == "apd 17s queue")
        .unwrap();
    assert_eq!(down.load.unwrap().latency, None);
    assert!(down.is_problem && down.paths.iter().all(|path| path.share.is_none()));
    // Counters that went backwards belong to another disk.
    let devices = [eight_paths(1)];
    let at = |at, ios| Reading {
        at,
        counters: HashMap::from([("dm-1".to_owned(), counters(ios, 0, 0))]),
    };
    let now = Instant::now();
    let back = dm_psa::cli::top::rows(
        &devices,
        Some(&at(now, 5)),
        &at(now + Duration::from_secs(1), 4),
    );
    assert_eq!(back[0].load, None);
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn top_fits_any_window(
        width in 0usize..200, height in 0usize..60, skipped in 0usize..80, help: bool, problems: bool, colour: bool,
        name in any::<String>(), state in any::<String>(),
    ) {
        let mut rows = load();
        rows[0].name = name.clone();
        rows[0].state = state;
        rows[1].paths[0].name = name;
        let view = View { skipped, help, problems, ..view() };
        let lines = draw(&rows, &view, (width, height), colour);
        prop_assert!(lines.len() <= height);
        prop_assert!(length(&rows, &view) <= 29);
        for line in lines {
            let mut seen = 0;
            let mut chars = line.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\u{1b}' => { prop_assert!(colour); chars.by_ref().find(|c| *c == 'm'); }
                    c => { prop_assert!(c == '…' || c == ' ' || c.is_ascii_graphic()); seen += 1; }
                }
            }
            prop_assert!(seen <= width, "{line}");
        }
    }
}

/// An agent with these devices.
struct Agent(Vec<Topology>);

impl Handler for Agent {
    fn call(
        &self,
        method: &str,
        parameters: &serde_json::Value,
        _: Peer,
    ) -> Result<serde_json::Value, ApiError> {
        match Request::parse(method, parameters)? {
            Request::GetTopology(asked) if asked.device.as_deref() == Some("sdz") => {
                Err(ApiError::NotFound {
                    subject: "sdz".to_owned(),
                    hint: "look".to_owned(),
                })
            }
            Request::GetTopology(_) => Ok(serde_json::json!({ "devices": self.0 })),
            _ => Err(ApiError::MethodNotFound {
                method: method.to_owned(),
            }),
        }
    }
}

#[test]
fn psactl_prints_top_and_graphs() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("socket");
    let device = local();
    let path = &device.paths[0];
    let stat = root.path().join(format!(
        "sys/class/scsi_device/{}/device/block/{}",
        path.hctl,
        path.disk.as_deref().unwrap()
    ));
    std::fs::create_dir_all(&stat).unwrap();
    std::fs::write(stat.join("stat"), "8 0 128 12 3 0 24 35 7 48 47\n").unwrap();
    let listener = Listener::bind(&socket).unwrap();
    let _server =
        Server::start(listener, Box::new(Agent(vec![device])), Limits::default()).unwrap();
    let run = |words: &[&str]| {
        let socket = ["--socket", socket.to_str().unwrap()];
        let all = socket.iter().chain(words);
        psactl_on(
            Sysfs::new(root.path()),
            all.map(|word| (*word).to_owned()),
            false,
        )
    };
    let table = run(&["top", "--batch", "--delay", "0.1"]);
    assert_eq!((table.exit, table.err.as_str()), (Exit::Ok, ""));
    golden("top/batch.txt", &table.out);
    let json = run(&["top", "--batch", "--delay", "0.1", "--formatter=json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json[1]["In Flight"], 7);
    assert_eq!(run(&["top", "--delay", "0"]).exit, Exit::Usage);
    assert_eq!(run(&["top", "--iterations", "2"]).exit, Exit::Usage);
    // A test has no terminal.
    assert!(run(&["top"]).err.contains("use --batch"));
    for (words, start) in [
        (vec!["graph", "--all"], "<svg "),
        (vec!["graph", "sda", "--format=dot"], "digraph psa {"),
    ] {
        let picture = run(&words);
        assert_eq!((picture.exit, picture.err.as_str()), (Exit::Ok, ""));
        assert!(picture.out.starts_with(start), "{}", picture.out);
        let file = root.path().join("out.gv");
        let written = run(&[&words[..], &["-o", file.to_str().unwrap()]].concat());
        assert_eq!((written.exit, written.out.as_str()), (Exit::Ok, ""));
        // The file name determines the format, unless the option does.
        assert!(
            std::fs::read_to_string(&file)
                .unwrap()
                .starts_with("digraph psa {")
        );
    }
    assert_eq!(run(&["graph"]).exit, Exit::Usage);
    assert_eq!(run(&["graph", "sda", "--all"]).exit, Exit::Usage);
    assert_eq!(run(&["graph", "sdz"]).exit, Exit::NotFound);
    assert_eq!(
        run(&["graph", "sda", "-o", "/nonexistent/x"]).exit,
        Exit::Failed
    );
}
