//! `multipath`, `multipathd` and their socket, as the programs that call them see them. The texts are files below
//! `tests/golden/compat/`, rewritten by `UPDATE_GOLDEN=1 cargo test --test compat`.

mod screen;

use dm_psa::api::handler::Limits;
use dm_psa::api::listener::Listener;
use dm_psa::api::requests::{ChangeRequest, Request};
use dm_psa::api::types::{MultipathGroup, MultipathMap, MultipathPath};
use dm_psa::api::{ApiError, Handler, Peer, Server};
use dm_psa::compat::daemon::reply;
use dm_psa::compat::host::Agent;
use dm_psa::compat::wire::{receive, send};
use dm_psa::compat::{multipath, persist, server};
use dm_psa::kernel::activation::Sockets;
use proptest::prelude::*;
use screen::golden;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WWID: &str = "36001405aaaabbbbccccddddeeeeffff0";
const ID: &str = "naa.6001405aaaabbbbccccddddeeeeffff0";
const SECOND: &str = "36001405aaaabbbbccccddddeeeeffff1";

fn path(hctl: &str, disk: &str, number: &str, group: u32, state: &str) -> MultipathPath {
    MultipathPath {
        hctl: Some(hctl.to_owned()),
        disk: Some(disk.to_owned()),
        device_number: Some(number.to_owned()),
        wwid: Some(WWID.to_owned()),
        map: Some(ID.to_owned()),
        group: Some(group),
        in_use: Some(state != "dead"),
        state: state.to_owned(),
        device_state: if state == "dead" {
            "offline"
        } else {
            "running"
        }
        .to_owned(),
        satp: "VMW_SATP_ALUA".to_owned(),
        is_marginal: false,
        transport: "fc".to_owned(),
        vendor: "ACME    ".to_owned(),
        model: "FLASH-9         ".to_owned(),
        revision: "1.02".to_owned(),
        sectors: 20 << 20,
        maximum_io_size: 524_288,
        adapter_identifier: "fc.20000024ff3c1a2b:21000024ff3c1a2b".to_owned(),
        adapter_description: "0000:3b:00.0 QLogic QLE2692".to_owned(),
        target_identifier: "fc.50060160c1e0aa11:50060167c1e0aa11".to_owned(),
        port_group: Some(if group == 1 { 1 } else { 2 }),
        is_preferred: false,
        failures: u64::from(state == "dead"),
        next_check_ms: Some(1500),
    }
}

fn map(name: &str, wwid: &str, kernel_name: &str) -> MultipathMap {
    let group = |state: &str| MultipathGroup {
        selector: "service-time 0".to_owned(),
        state: state.to_owned(),
    };
    MultipathMap {
        name: name.to_owned(),
        wwid: wwid.to_owned(),
        device: format!("naa.{}", &wwid[1..]),
        kernel_name: kernel_name.to_owned(),
        sectors: 20 << 20,
        features: "3 queue_if_no_path pg_init_retries 50".to_owned(),
        handler: "1 alua".to_owned(),
        queues: true,
        groups: vec![group("active"), group("enabled")],
        tables_loaded: 2,
        group_switches: 1,
        ..MultipathMap::default()
    }
}

/// The state of a pretended agent.
#[derive(Default)]
struct State {
    maps: Vec<MultipathMap>,
    paths: Vec<MultipathPath>,
    flushed: BTreeSet<String>,
    /// What was asked for.
    changes: Vec<String>,
}

struct Pretended(Arc<Mutex<State>>);

impl Handler for Pretended {
    fn call(&self, method: &str, parameters: &Value, _: Peer) -> Result<Value, ApiError> {
        let mut state = self.0.lock().unwrap();
        let is = |map: &MultipathMap, name: &str| map.device == name || map.wwid == name;
        Ok(match Request::parse(method, parameters)? {
            Request::ListMaps(_) => {
                let on = |map: &&MultipathMap| !state.flushed.contains(&map.device);
                let maps: Vec<&MultipathMap> = state.maps.iter().filter(on).collect();
                json!({ "maps": maps, "paths": state.paths })
            }
            Request::ListDetachedDevices(asked) => {
                let named = state.flushed.iter().filter(|device| {
                    let map = state.maps.iter().find(|map| map.device == **device);
                    let name = asked.device.as_deref();
                    name.is_none_or(|name| map.is_some_and(|map| is(map, name)))
                });
                let devices: Vec<Value> = named
                    .map(|device| json!({ "device": device, "state": "flushed" }))
                    .collect();
                json!({ "devices": devices })
            }
            Request::GetStatus(_) => json!({ "status": {
                "version": "", "interface_version": 9, "check_interval_ms": 5000, "apd_timeout_ms": 142000, "fast_io_fail_tmo": 5, "uptime_seconds": 1, "settled": true, "paths": 4,
                "dead_paths": 0, "devices": 1, "maps": 1, "tables_loaded": 0, "queueing_maps": 0 } }),
            Request::Change(change) => {
                state.changes.push(format!("{change:?}"));
                match &change {
                    ChangeRequest::FlushMap(asked) => {
                        let map = state.maps.iter().find(|map| is(map, &asked.device));
                        if map.is_some_and(|map| map.users == 0) {
                            state.flushed.insert(asked.device.clone());
                        }
                    }
                    ChangeRequest::SetDeviceState(asked) if !asked.off => {
                        let map = state.maps.iter().find(|map| is(map, &asked.device));
                        let device = map.map(|map| map.device.clone());
                        state
                            .flushed
                            .retain(|flushed| Some(flushed) != device.as_ref());
                    }
                    ChangeRequest::LoadRules(_) => {
                        return Ok(json!({ "effect": "", "paths": 0, "devices": 0 }));
                    }
                    _ => {}
                }
                json!({ "effect": "" })
            }
            _ => {
                return Err(ApiError::MethodNotFound {
                    method: method.to_owned(),
                });
            }
        })
    }
}

/// A pretended agent with a host's files.
struct Host {
    agent: Agent,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
    _server: Server,
}

impl Host {
    fn with(maps: Vec<MultipathMap>, paths: Vec<MultipathPath>) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let state = Arc::new(Mutex::new(State {
            maps,
            paths,
            ..State::default()
        }));
        let listener = Listener::bind(&socket).unwrap();
        let handler = Box::new(Pretended(Arc::clone(&state)));
        let server = Server::start(listener, handler, Limits::default()).unwrap();
        let root = folder.path().to_owned();
        Host {
            agent: Agent { socket, root },
            state,
            folder,
            _server: server,
        }
    }

    /// A map with four paths, one of them dead, and a disk without a map.
    fn usual() -> Host {
        let mut local = path("0:0:0:0", "sda", "8:0", 0, "active");
        local.map = None;
        local.group = None;
        local.in_use = None;
        local.wwid = Some("0QEMU_HARDDISK_1".to_owned());
        "sata".clone_into(&mut local.transport);
        Host::with(
            vec![map(ID, WWID, "dm-3")],
            vec![
                local,
                path("2:0:0:1", "sdc", "8:32", 1, "active"),
                path("2:0:1:1", "sdd", "8:48", 2, "standby"),
                path("3:0:0:1", "sde", "8:64", 2, "dead"),
                path("3:0:1:1", "sdak", "66:64", 1, "active"),
            ],
        )
    }

    fn asks(&self, command: &str) -> String {
        reply(&self.agent, command, true)
    }

    fn runs(&self, args: &[&str]) -> (String, bool) {
        self.runs_as(args, true)
    }

    fn runs_as(&self, args: &[&str], is_root: bool) -> (String, bool) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut out = Vec::new();
        let code = multipath::run(&self.agent, &args, is_root, &mut out);
        let text = String::from_utf8(out).unwrap();
        (
            text,
            format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS),
        )
    }

    fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().changes)
    }
}

#[test]
fn every_listing_has_the_format_that_programs_parse() {
    let host = Host::usual();
    for (name, command) in [
        ("paths", "show paths"),
        (
            "paths-raw",
            "show paths raw format \"%i %d %D %t %o %T %m %p %c %s\"",
        ),
        (
            "paths-fc",
            "show paths format \"%d %N %R %n %r %a %P %L %A %k\"",
        ),
        ("path", "show path sdc"),
        ("maps", "show maps"),
        ("maps-raw", "show maps raw format \"%n|%w|%d|%S|%f|%h\""),
        ("maps-status", "list multipaths status"),
        ("maps-stats", "show maps stats"),
        ("maps-json", "show maps json"),
        ("map-json", &format!("show map {WWID} json")),
        ("topology", "show topology"),
        ("map-topology", "show map dm-3 topology"),
        ("status", "show status"),
        ("config", "show config local"),
        ("devices", "show devices"),
        ("help", "help"),
        ("wildcards", "show wildcards"),
    ] {
        golden(&format!("compat/{name}.txt"), &host.asks(command));
    }
    for (name, args) in [
        ("multipath-ll", vec!["-ll"]),
        ("multipath-l", vec!["-l"]),
        ("multipath-v1-l", vec!["-v1", "-l"]),
        ("multipath-v3-ll", vec!["-v3", "-ll"]),
    ] {
        let (text, success) = host.runs(&args);
        assert!(success, "{args:?}");
        golden(&format!("compat/{name}.txt"), &text);
    }
}

/// curtin and probert read it. A device's bytes cannot forge lines.
#[test]
fn the_serial_number_is_that_which_the_kernel_read() {
    let host = Host::usual();
    let ask = || host.asks("show paths raw format \"%d,%z\"");
    assert!(ask().contains("\nsdc,\n"));
    for (hctl, page) in [
        ("2:0:0:1", &b"\0\x80\0\x08 S1\n2  \0"[..]),
        ("3:0:0:1", b"\0\x80"),
    ] {
        let device = host.folder.path().join("sys/class/scsi_device");
        let device = device.join(hctl).join("device");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("vpd_pg80"), page).unwrap();
    }
    let answer = ask();
    assert!(answer.contains("\nsdc,S1?2\n"), "{answer}");
    assert!(answer.contains("\nsde,\n"), "{answer}");
}

#[test]
fn mpathconf_prints_what_is_in_force() {
    let host = Host::usual();
    let mut out = Vec::new();
    let _ = persist::mpathconf(&host.agent, &[], &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("find_multipaths is off\n"), "{text}");
    assert!(text.ends_with("multipathd is running\n"), "{text}");
}

#[test]
fn a_map_is_found_by_every_spelling() {
    let host = Host::usual();
    let whole = host.runs(&["-ll"]);
    for spelling in [
        ID,
        WWID,
        "dm-3",
        &format!("/dev/mapper/{ID}"),
        "sdc",
        "8:32",
    ] {
        assert_eq!(host.runs(&["-ll", spelling]), whole, "{spelling}");
    }
    // os-brick passes links: they lead to the disk or to the map.
    let dev = host.folder.path().join("dev");
    std::fs::create_dir_all(dev.join("disk/by-id")).unwrap();
    std::fs::write(dev.join("dm-3"), "").unwrap();
    std::os::unix::fs::symlink("../../dm-3", dev.join("disk/by-id/dm-uuid-mpath-x")).unwrap();
    assert_eq!(
        host.runs(&["-ll", "/dev/disk/by-id/dm-uuid-mpath-x"]),
        whole
    );
    // A name that may be that of a map, but is not: nothing is printed, and that is a success.
    assert_eq!(host.runs(&["-ll", "mpatha"]), (String::new(), true));
    assert_eq!(host.runs(&["-ll", "/dev/nothing"]), (String::new(), false));
}

#[test]
fn an_empty_listing_is_answered_as_a_success_without_text() {
    let host = Host::with(Vec::new(), Vec::new());
    assert_eq!(host.asks("show maps"), "ok\n");
    assert_eq!(host.asks("show topology"), "ok\n");
    let json: Value = serde_json::from_str(&host.asks("show maps json")).unwrap();
    assert_eq!(json["maps"], json!([]));
    assert_eq!(host.runs(&["-ll"]), (String::new(), true));
}

#[test]
fn names_of_a_hostile_array_cannot_forge_lines() {
    let mut forged = path("2:0:0:1", "sdc", "8:32", 1, "active");
    forged.vendor = "A\nmpathz (3666)".to_owned();
    forged.model = "\"} , {\"".to_owned();
    let host = Host::with(vec![map(ID, WWID, "dm-3")], vec![forged]);
    assert_eq!(
        host.asks("show paths raw format \"%d %s\"").lines().count(),
        1
    );
    // Two lines of the map, one of each group, one of the path.
    assert_eq!(host.runs(&["-ll"]).0.lines().count(), 5);
    let json: Value = serde_json::from_str(&host.asks("show maps json")).unwrap();
    assert_eq!(json["maps"][0]["prod"], "\"} , {\"");
}

#[test]
fn what_changes_something_is_for_root_only() {
    let host = Host::usual();
    for command in [
        "resize map dm-3",
        "del map dm-3",
        "reconfigure",
        "add path sdc",
        "fail path sdc",
        "disablequeueing maps",
        "getprkey map dm-3",
        "shutdown",
    ] {
        let answer = reply(&host.agent, command, false);
        assert_eq!(
            answer, "fail\npermission deny: need to be root\n",
            "{command}"
        );
    }
    assert!(reply(&host.agent, "show maps", false).contains("dm-3"));
    for args in [
        vec!["-f", "dm-3"],
        vec!["-r"],
        vec![],
        vec!["-a", WWID],
        vec!["-W"],
    ] {
        assert_eq!(
            host.runs_as(&args, false),
            (String::new(), false),
            "{args:?}"
        );
    }
    assert!(host.runs_as(&["-ll"], false).1);
    assert_eq!(host.changes(), Vec::<String>::new());
}

#[test]
fn a_map_is_flushed_and_made_again() {
    let host = Host::usual();
    assert_eq!(host.runs(&["-f", "dm-3"]), (String::new(), true));
    assert!(host.changes()[0].contains("FlushMap"));
    assert_eq!(host.asks("show maps"), "ok\n");
    // It is there again when a program asks for it, by a path.
    let (text, success) = host.runs(&["-v2", "-i", "8:32"]);
    assert!(
        success && text.starts_with(&format!("create: {ID} ({WWID}) dm-3 ACME,FLASH-9\n")),
        "{text}"
    );
    // The second request for the same map creates nothing.
    assert_eq!(host.runs(&["8:32"]), (String::new(), true));
    assert_eq!(host.asks("del map nothing"), "fail\ndevice not found\n");
    // A map in use stays.
    host.state.lock().unwrap().maps[0].users = 1;
    assert_eq!(host.asks("del map dm-3"), "fail\nmap or partition in use\n");
    assert!(host.asks("show maps").contains("dm-3"));
    assert!(!host.runs(&["-F"]).1);
}

#[test]
fn a_path_is_failed_until_it_is_removed() {
    let host = Host::usual();
    assert_eq!(host.asks("fail path sdc"), "ok\n");
    assert_eq!(host.asks("reinstate path 8:32"), "ok\n");
    assert_eq!(host.asks("fail path sdzz"), "fail\ndevice not found\n");
    let wanted = |off| {
        format!(
            r#"SetPathState(SetPathState {{ path: "2:0:0:1", off: {off}, persist: Some(false) }})"#
        )
    };
    assert_eq!(host.changes(), [wanted(true), wanted(false)]);
}

#[test]
fn a_map_has_its_new_size_when_the_command_returns() {
    let host = Host::usual();
    let sys = host.folder.path().join("sys/class");
    for (hctl, disk) in [("2:0:0:1", "sdc"), ("2:0:1:1", "sdd"), ("3:0:1:1", "sdak")] {
        let device = sys.join("scsi_device").join(hctl).join("device");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("rescan"), "").unwrap();
        let block = sys.join("block").join(disk);
        std::fs::create_dir_all(&block).unwrap();
        std::fs::write(block.join("size"), "41943040\n").unwrap();
    }
    let state = Arc::clone(&host.state);
    let agent = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        state.lock().unwrap().maps[0].sectors = 41_943_040;
    });
    assert_eq!(host.asks(&format!("resize map {ID}")), "ok\n");
    assert_eq!(host.state.lock().unwrap().maps[0].sectors, 41_943_040);
    agent.join().unwrap();
    let rescan = sys.join("scsi_device/2:0:0:1/device/rescan");
    assert_eq!(std::fs::read_to_string(rescan).unwrap(), "1");
}

#[test]
fn commands_without_an_effect_succeed_and_unknown_ones_say_what_there_is() {
    let host = Host::usual();
    for command in [
        "reconfigure",
        "reconfigure all",
        "forcequeueing daemon",
        "restorequeueing daemon",
        "restorequeueing maps",
        "add path sdc",
        "del path sdc",
        "add map dm-3",
    ] {
        assert_eq!(host.asks(command), "ok\n", "{command}");
    }
    assert_eq!(host.asks("add path sda"), "blacklisted\n");
    assert_eq!(host.asks("del path sdzz"), "fail\ndevice not found\n");
    for command in ["frobnicate", "show", "", "suspend map dm-3", "re map x"] {
        let answer = host.asks(command);
        assert!(
            answer.starts_with("fail\n") && answer.lines().count() >= 2,
            "{command}: {answer}"
        );
    }
}

#[test]
fn without_the_agent_every_command_fails_and_says_why() {
    let agent = Agent {
        socket: "/nonexistent/socket".into(),
        root: "/nonexistent".into(),
    };
    for command in [
        "show maps",
        "show daemon",
        "show status",
        "resize map x",
        "reconfigure",
    ] {
        let answer = reply(&agent, command, true);
        assert!(
            answer.starts_with("fail\n") && answer.contains("not running"),
            "{command}: {answer}"
        );
    }
    let mut out = Vec::new();
    let code = multipath::run(&agent, &["-ll".to_owned()], true, &mut out);
    assert_eq!(
        (format!("{code:?}"), out),
        (format!("{:?}", ExitCode::FAILURE), Vec::new())
    );
}

#[test]
fn wwids_are_kept_for_lvm() {
    let host = Host::usual();
    let added = format!("wwid '{WWID}' added\n");
    assert_eq!(host.runs(&["-a", "8:32"]), (added.clone(), true));
    assert_eq!(host.runs(&["-a", WWID]), (added, true));
    let file = host.folder.path().join("etc/multipath/wwids");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>(),
        [format!("/{WWID}/")]
    );
    assert_eq!(
        host.runs(&["-w", WWID]).0,
        format!("wwid '{WWID}' removed\n")
    );
    assert_eq!(
        host.runs(&["-w", WWID]).0,
        format!("wwid '{WWID}' not in wwids file\n")
    );
    assert_eq!(
        host.runs(&["-w", SECOND]),
        (format!("wwid '{SECOND}' not in wwids file\n"), true)
    );
    assert!(host.runs(&["-W"]).1);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .ends_with(&format!("\n/{WWID}/\n"))
    );
}

fn served(host: &Host) -> std::path::PathBuf {
    let socket = host.folder.path().join("multipathd");
    let sockets = Sockets::bind(&socket).unwrap();
    let agent = host.agent.clone();
    std::thread::spawn(move || server::serve(&agent, &sockets, server::Until::Unused));
    socket
}

fn connected(socket: &Path) -> UnixStream {
    let peer = UnixStream::connect(socket).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    peer
}

#[test]
fn the_socket_answers_many_commands_of_a_connection() {
    let host = Host::usual();
    let socket = served(&host);
    let mut peer = connected(&socket);
    for _ in 0..3 {
        send(&mut peer, "show maps raw format \"%w\"").unwrap();
        assert_eq!(
            receive(&mut peer, 1 << 20).unwrap(),
            Some(format!("{WWID}\n"))
        );
    }
}

#[test]
fn hostile_peers_do_not_keep_others_waiting() {
    let host = Host::usual();
    let socket = served(&host);
    let ask = || {
        let mut peer = connected(&socket);
        send(&mut peer, "show daemon").unwrap();
        receive(&mut peer, 1 << 20).unwrap().unwrap()
    };
    // A length of nearly everything, one of nothing, a head that is cut, and silence.
    let mut kept = Vec::new();
    for bytes in [
        usize::MAX.to_ne_bytes().to_vec(),
        0_usize.to_ne_bytes().to_vec(),
        vec![1, 2, 3],
        vec![],
    ] {
        let mut peer = connected(&socket);
        peer.write_all(&bytes).unwrap();
        kept.push(peer);
    }
    for peer in &mut kept[..2] {
        let mut left = Vec::new();
        // The connection is closed without an answer.
        assert!(peer.read_to_end(&mut left).is_ok_and(|count| count == 0) || left.is_empty());
    }
    assert!(ask().starts_with("pid "));
    // More connections than there are places: the excess is closed, and places become free again.
    let many: Vec<UnixStream> = (0..200)
        .filter_map(|_| UnixStream::connect(&socket).ok())
        .collect();
    drop(many);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let mut peer = connected(&socket);
        if send(&mut peer, "show daemon").is_ok()
            && receive(&mut peer, 1 << 20).is_ok_and(|reply| reply.is_some())
        {
            break;
        }
        assert!(std::time::Instant::now() < until, "no place became free");
        std::thread::sleep(Duration::from_millis(50));
    }
}

proptest! {
    /// No command, whatever its bytes, makes the answer anything but text that ends with a line break.
    #[test]
    fn any_command_gets_an_answer(words in prop::collection::vec(
        prop_oneof!["show|list|maps|map|paths|path|format|raw|json|topology|status|dm-3|sdc".prop_map(String::from), "\\PC{0,12}", "%[a-zA-Z0-9%]{0,3}"], 0..6)) {
        let host = Host::usual();
        let answer = host.asks(&words.join(" "));
        prop_assert!(answer.ends_with('\n'), "{answer:?}");
    }
}
