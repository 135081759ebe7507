//! `psactl` from the command line to the screen. The screens are files below `tests/golden/cli/`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test --test cli`.

mod screen;

use dm_psa::api::handler::Limits;
use dm_psa::api::listener::Listener;
use dm_psa::api::requests::Request;
use dm_psa::api::types::{
    Adapter, CoreDevice, CorePath, Detail, Event, Explanation, FixedConfig, HppDevice, HppPath,
    NmpDevice, NmpPath, RoundRobinConfig, Section, Status,
};
use dm_psa::api::{ApiError, Handler, INTERFACE_VERSION, Peer, Server};
use dm_psa::cli::format::{Format, render};
use dm_psa::cli::printable::{is_unsafe, printable};
use dm_psa::cli::record::{Listing, Record, Style, Value as Field};
use dm_psa::cli::typography;
use dm_psa::cli::verbs::{NAMESPACES, verbs};
use dm_psa::cli::{Console, Exit, args, layout, run};
use dm_psa::psa::report::inventory::Inventory;
use proptest::prelude::*;
use screen::{Screen, golden, golden_file, psactl, psactl_coloured};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const DEVICE: &str = "naa.60014058d216d30d1048d43d1db0c4df";
const NAME: &str = "LIO-ORG Fibre Channel Disk (naa.60014058d216d30d1048d43d1db0c4df)";

/// A host with one device on two Fibre Channel paths, a local disk, and a path without a device.
struct Host;

impl Handler for Host {
    fn call(&self, method: &str, parameters: &Value, _: Peer) -> Result<Value, ApiError> {
        let known = |device: &Option<String>| match device.as_deref() {
            None | Some(DEVICE) => Ok(()),
            Some(other) => Err(ApiError::NotFound {
                subject: other.to_owned(),
                hint: "`psactl core device list` shows the devices that are known".to_owned(),
            }),
        };
        Ok(match Request::parse(method, parameters)? {
            Request::ListNmpDevices(asked) => {
                known(&asked.device)?;
                json!({ "devices": [nmp_device(), local_nmp_device()] })
            }
            Request::ListNmpPaths(asked) => {
                known(&asked.device)?;
                let mut paths = vec![nmp_path("1", "active"), nmp_path("2", "dead")];
                paths.retain(|path| asked.path.as_ref().is_none_or(|p| *p == path.runtime_name));
                json!({ "paths": paths })
            }
            Request::ListHppDevices(asked) => {
                known(&asked.device)?;
                json!({ "devices": [hpp_device()] })
            }
            Request::ListHppPaths(_) => json!({ "paths": [hpp_path()] }),
            Request::ListCorePaths(asked) => {
                known(&asked.device)?;
                json!({ "paths": [core_path(), unclaimed_path()] })
            }
            Request::ListCoreDevices(asked) => {
                known(&asked.device)?;
                json!({ "devices": [core_device(), local_core_device()] })
            }
            Request::ListDetachedDevices(_) => json!({ "devices": [] }),
            Request::ListAdapters(_) => json!({ "adapters": adapters() }),
            Request::Explain(asked) => match asked.subject.as_str() {
                "busy" => {
                    return Err(ApiError::Unavailable {
                        reason: "it is starting".to_owned(),
                    });
                }
                "bad" => {
                    return Err(ApiError::InvalidParameter {
                        parameter: "subject".to_owned(),
                        value: "bad\u{1b}[2J".to_owned(),
                        reason: "it is bad".to_owned(),
                    });
                }
                "broken" => {
                    return Err(ApiError::Failed {
                        reason: "no memory".to_owned(),
                    });
                }
                _ => json!({ "explanation": explanation() }),
            },
            Request::Plan(_) => json!({ "explanation": explanation() }),
            Request::GetInventory(asked) => {
                let mut inventory = inventory();
                inventory.paths.drain(..usize::from(asked.from > 0));
                json!({ "inventory": inventory })
            }
            Request::GetStatus(_) => json!({ "status": status() }),
            Request::ListEvents(asked) => {
                let page = if asked.after == Some(0) {
                    events()
                } else {
                    Vec::new()
                };
                json!({ "events": page, "last": 2, "started_ms": 1 })
            }
            Request::GetTopology(_) => json!({ "devices": [] }),
            Request::ListMaps(_) => json!({ "maps": [], "paths": [] }),
            Request::GetMetrics(_) => json!({ "metrics": "# TYPE a gauge\na{b=\"c\"} 1\n# EOF\n" }),
            Request::GetFixed(_) => json!({ "config": fixed_config() }),
            Request::GetRoundRobin(_) => json!({ "config": round_robin_config() }),
            // The answer shows how the change was understood.
            Request::Change(change) => json!({ "effect": format!("{change:?}") }),
        })
    }
}

fn inventory() -> Inventory {
    let text = std::fs::read_to_string(golden_file("inventories/ibm-2145/host.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn events() -> Vec<Event> {
    let event = |number, severity: &str, code: &str, details: &[(&str, &str)]| Event {
        number,
        time_ms: 1_772_366_400_000 + number,
        severity: severity.to_owned(),
        code: code.to_owned(),
        subject: "vmhba2:C0:T0:L1".to_owned(),
        details: details
            .iter()
            .map(|(name, value)| Detail {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    };
    vec![
        event(
            1,
            "info",
            "PATH_CLAIMED",
            &[("from", "none"), ("to", "NMP")],
        ),
        event(
            2,
            "warning",
            "PATH_STATE",
            &[("device", DEVICE), ("to", "dead"), ("reason", "a\u{1b}[2J")],
        ),
    ]
}

#[test]
fn events_start_at_a_number_or_a_time() {
    let house = House::new();
    golden("cli/events.txt", &house.run("events").out);
    golden("cli/events.json", &house.run("--formatter=json events").out);
    assert_eq!(house.run("events --limit 1").out.lines().count(), 1);
    assert_eq!(
        house
            .run("events --since 2026-03-01T12:00:00.002")
            .out
            .lines()
            .count(),
        1
    );
    assert_eq!(house.run("events --since 2").out, "");
    assert_eq!(house.run("events --since yesterday").exit, Exit::Usage);
    assert_eq!(house.run("events --severity bad").exit, Exit::Usage);
    let codes = house.run("events codes").out;
    assert!(
        codes.contains("APD_START") && codes.contains("What To Do: "),
        "{codes}"
    );
}

fn hpp_device() -> HppDevice {
    HppDevice {
        device: DEVICE.to_owned(),
        display_name: NAME.to_owned(),
        scheme: "LB-RR".to_owned(),
        scheme_config: "{iops=1000,bytes=10485760;useANO=0}".to_owned(),
        working_paths: vec!["vmhba1:C0:T0:L1".to_owned()],
        is_ssd: true,
        is_local: false,
        paths: vec!["vmhba1:C0:T0:L1".to_owned(), "vmhba2:C0:T0:L1".to_owned()],
        use_ano: false,
        in_effect: "one I/O per path in turn".to_owned(),
        map: Some(DEVICE.to_owned()),
    }
}

fn hpp_path() -> HppPath {
    let NmpPath {
        uid,
        runtime_name,
        device,
        display_name,
        group_state,
        satp_path_config,
        ..
    } = nmp_path("1", "active");
    HppPath {
        uid,
        runtime_name,
        device,
        display_name,
        path_state: group_state,
        path_config: satp_path_config,
    }
}

fn fixed_config() -> FixedConfig {
    FixedConfig {
        device: DEVICE.to_owned(),
        current_path: "vmhba1:C0:T0:L1".to_owned(),
        preferred_path: "vmhba2:C0:T0:L1".to_owned(),
    }
}

fn round_robin_config() -> RoundRobinConfig {
    RoundRobinConfig {
        device: DEVICE.to_owned(),
        byte_limit: 10_485_760,
        iops_limit: 1,
        latency_eval_ms: 0,
        limit_type: "Iops".to_owned(),
        sampling_cycles: 0,
        use_ano: false,
        in_effect: "one I/O per path in turn".to_owned(),
    }
}

fn nmp_device() -> NmpDevice {
    NmpDevice {
        device: DEVICE.to_owned(),
        display_name: NAME.to_owned(),
        satp: "VMW_SATP_ALUA".to_owned(),
        satp_device_config: "{implicit_support=on; explicit_support=off; explicit_allow=on; alua_followover=on; action_OnRetryErrors=off; {TPG_id=1,TPG_state=AO}{TPG_id=2,TPG_state=ANO}}".to_owned(),
        psp: "VMW_PSP_RR".to_owned(),
        psp_device_config: "{policy=rr,iops=1000,bytes=10485760,useANO=0; lastPathIndex=0: NumIOsPending=0,numBytesPending=0}".to_owned(),
        psp_custom_config: String::new(),
        working_paths: vec!["vmhba1:C0:T0:L1".to_owned(), "vmhba2:C0:T0:L1".to_owned()],
        is_usb: false,
        map: Some(DEVICE.to_owned()),
        activation: "kernel".to_owned(),
    }
}

fn local_nmp_device() -> NmpDevice {
    NmpDevice {
        device: "t10.ATA_____QEMU_HARDDISK___________________________QM00001".to_owned(),
        display_name:
            "Local ATA Disk (t10.ATA_____QEMU_HARDDISK___________________________QM00001)"
                .to_owned(),
        satp: "VMW_SATP_LOCAL".to_owned(),
        satp_device_config: "SATP VMW_SATP_LOCAL does not support device configuration.".to_owned(),
        psp: "VMW_PSP_FIXED".to_owned(),
        psp_device_config: "{preferred=vmhba0:C0:T0:L0;current=vmhba0:C0:T0:L0}".to_owned(),
        psp_custom_config: String::new(),
        working_paths: vec!["vmhba0:C0:T0:L0".to_owned()],
        is_usb: false,
        map: None,
        activation: "none".to_owned(),
    }
}

fn nmp_path(hba: &str, state: &str) -> NmpPath {
    NmpPath {
        uid: format!(
            "fc.20000024ff8af5c{hba}:21000024ff8af5c{hba}-fc.2100143004b0e459:2080143004b0e459-{DEVICE}"
        ),
        runtime_name: format!("vmhba{hba}:C0:T0:L1"),
        device: DEVICE.to_owned(),
        display_name: NAME.to_owned(),
        group_state: state.to_owned(),
        array_priority: 0,
        satp_path_config: "{TPG_id=1,TPG_state=AO,RTP_id=29,RTP_health=UP}".to_owned(),
        psp_path_config: "PSP VMW_PSP_RR does not support path configuration.".to_owned(),
    }
}

fn core_path() -> CorePath {
    CorePath {
        uid: nmp_path("1", "").uid,
        runtime_name: "vmhba1:C0:T0:L1".to_owned(),
        device: Some(DEVICE.to_owned()),
        display_name: Some(NAME.to_owned()),
        adapter: "vmhba1".to_owned(),
        channel: 0,
        target: 0,
        lun: 1,
        plugin: "NMP".to_owned(),
        state: "dead".to_owned(),
        reason: "TEST UNIT READY: DID_NO_CONNECT".to_owned(),
        transport: "fc".to_owned(),
        adapter_identifier: "fc.20000024ff8af5c1:21000024ff8af5c1".to_owned(),
        target_identifier: "fc.2100143004b0e459:2080143004b0e459".to_owned(),
        adapter_transport_details: "WWNN: 20:00:00:24:ff:8a:f5:c1 WWPN: 21:00:00:24:ff:8a:f5:c1"
            .to_owned(),
        target_transport_details:
            "WWNN: 21:00:14:30:04:b0:e4:59 WWPN: 20:80:14:30:04:b0:e4:59 State: Online".to_owned(),
        maximum_io_size: 4_194_304,
        disk: Some("sdc".to_owned()),
        hctl: "2:0:0:1".to_owned(),
        io_errors: vec![],
    }
}

fn unclaimed_path() -> CorePath {
    CorePath {
        uid: "sas.5000000000000000-sas.500000e01947e132-".to_owned(),
        runtime_name: "vmhba3:C0:T1:L0".to_owned(),
        device: None,
        display_name: None,
        adapter: "vmhba3".to_owned(),
        target: 1,
        lun: 0,
        plugin: "unclaimed".to_owned(),
        state: "unknown".to_owned(),
        reason: String::new(),
        transport: "sas".to_owned(),
        adapter_identifier: "sas.5000000000000000".to_owned(),
        target_identifier: "sas.500000e01947e132".to_owned(),
        adapter_transport_details: "5000000000000000".to_owned(),
        target_transport_details: "500000e01947e132".to_owned(),
        maximum_io_size: 0,
        disk: None,
        hctl: "4:0:1:0".to_owned(),
        ..core_path()
    }
}

fn core_device() -> CoreDevice {
    CoreDevice {
        device: DEVICE.to_owned(),
        display_name: NAME.to_owned(),
        size_mib: 10240,
        device_type: "Direct-Access".to_owned(),
        multipath_plugin: "NMP".to_owned(),
        devfs_path: format!("/dev/mapper/{DEVICE}"),
        vendor: "LIO-ORG ".to_owned(),
        model: "disk0           ".to_owned(),
        revision: "4.0 ".to_owned(),
        scsi_level: 6,
        is_pseudo: false,
        status: "degraded".to_owned(),
        is_local: false,
        is_removable: false,
        is_ssd: true,
        marked_ssd: true,
        is_offline: false,
        other_uids: vec!["360014058d216d30d1048d43d1db0c4df".to_owned()],
        is_sas: false,
        is_usb: false,
        is_boot_device: false,
        device_max_queue_depth: 64,
        is_perennially_reserved: false,
        is_shared_clusterwide: true,
    }
}

fn local_core_device() -> CoreDevice {
    CoreDevice {
        device: local_nmp_device().device,
        display_name: local_nmp_device().display_name,
        size_mib: 20480,
        devfs_path: "/dev/sda".to_owned(),
        vendor: "ATA     ".to_owned(),
        model: "QEMU HARDDISK   ".to_owned(),
        revision: "2.5+".to_owned(),
        scsi_level: 5,
        status: "on".to_owned(),
        is_local: true,
        is_ssd: false,
        marked_ssd: false,
        other_uids: vec![],
        is_boot_device: true,
        device_max_queue_depth: 32,
        is_shared_clusterwide: false,
        ..core_device()
    }
}

fn adapters() -> Vec<Adapter> {
    let adapter =
        |name: &str, driver: &str, link: &str, uid: &str, caps: &str, what: &str| Adapter {
            name: name.to_owned(),
            driver: driver.to_owned(),
            link_state: link.to_owned(),
            uid: uid.to_owned(),
            capabilities: caps.to_owned(),
            description: what.to_owned(),
            hosts: vec![],
        };
    vec![
        adapter(
            "vmhba0",
            "ahci",
            "link-n/a",
            "ahci.vmhba0",
            "",
            "(0000:00:1f.2) Intel Corporation 82801IR/IO/IH (ICH9R/DO/DH) 6 port SATA Controller",
        ),
        adapter(
            "vmhba1",
            "qla2xxx",
            "link-down",
            "fc.20000024ff8af5c1:21000024ff8af5c1",
            "Second Level Lun ID",
            "(0000:02:00.0) QLogic Corp. ISP2722-based 16/32Gb Fibre Channel to PCIe Adapter",
        ),
        adapter(
            "vmhba64",
            "iscsi_tcp",
            "link-n/a",
            "iqn.1993-08.org.debian:01:abcdef",
            "",
            "iSCSI Software Adapter",
        ),
    ]
}

fn explanation() -> Explanation {
    let section = |title: &str, lines: &[&str]| Section {
        title: title.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    Explanation {
        subject: DEVICE.to_owned(),
        sections: vec![
            section(
                "Claim rules",
                &[
                    "rule 101, vendor=DELL model=Universal Xport: no match",
                    "rule 65535, vendor=* model=*: match, plug-in NMP",
                ],
            ),
            section("SATP", &["VMW_SATP_ALUA: the target port groups say so"]),
        ],
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        interface_version: INTERFACE_VERSION,
        uptime_seconds: 86_461,
        settled: true,
        paths: 16,
        dead_paths: 1,
        devices: 5,
        maps: 4,
        tables_loaded: 7,
        queueing_maps: 0,
        transport: "sg".to_owned(),
        transport_reason: "transport is set to sg in dm-psa.toml".to_owned(),
        io_errors: "errors".to_owned(),
        io_errors_reason: "tracefs instance dm-psa, 4 of 4 events".to_owned(),
        map_names: "naa".to_owned(),
        check_interval_ms: 5_000,
        apd_timeout_ms: 140_000,
        fast_io_fail_tmo: 5,
    }
}

// ---- running it ---------------------------------------------------------------------------------------------

struct House {
    socket: PathBuf,
    _server: Server,
    _directory: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("io.dmpsa");
        let listener = Listener::bind(&socket).unwrap();
        House {
            _server: Server::start(listener, Box::new(Host), Limits::default()).unwrap(),
            socket,
            _directory: directory,
        }
    }

    fn run(&self, line: &str) -> Screen {
        self.run_colour(line, false)
    }

    fn run_colour(&self, line: &str, colour: bool) -> Screen {
        psactl_coloured(self.words(line), colour)
    }

    fn words(&self, line: &str) -> Vec<OsString> {
        let socket = ["--socket".into(), self.socket.clone().into()];
        socket
            .into_iter()
            .chain(line.split_whitespace().map(OsString::from))
            .collect()
    }
}

// ---- settings -----------------------------------------------------------------------------------------------

#[test]
fn each_set_command_sends_the_intended_request() {
    let house = House::new();
    let understood = [
        (
            "nmp device set -d naa.x -P VMW_PSP_RR",
            r#"SetPsp(SetPsp { device: "naa.x", psp: Some("VMW_PSP_RR") })"#,
        ),
        (
            "nmp device set --device naa.x --default",
            r#"SetPsp(SetPsp { device: "naa.x", psp: None })"#,
        ),
        (
            "nmp psp fixed deviceconfig set --device naa.x --path vmhba3:C0:T5:L3",
            r#"SetPreferredPath(SetPreferredPath { device: "naa.x", path: Some("vmhba3:C0:T5:L3") })"#,
        ),
        (
            "nmp psp roundrobin deviceconfig set --device naa.x --type=iops --iops=3",
            r#"SetRoundRobin(SetRoundRobin { device: "naa.x", limit_type: Some("iops"), iops: Some(3), bytes: None, use_ano: None, sampling_cycles: None, latency_eval_ms: None })"#,
        ),
        (
            "nmp psp generic deviceconfig set -d naa.x -c policy=rr;iops=10;useANO=1",
            r#"SetRoundRobin(SetRoundRobin { device: "naa.x", limit_type: Some("default"), iops: Some(10), bytes: None, use_ano: Some(true), sampling_cycles: None, latency_eval_ms: None })"#,
        ),
        (
            "nmp psp generic pathconfig set -p vmhba2:C0:T0:L1 -c rank=1",
            r#"SetPathRank(SetPathRank { path: "vmhba2:C0:T0:L1", rank: 1 })"#,
        ),
        (
            "storage core path set --state off -p vmhba2:C0:T1:L1",
            r#"SetPathState(SetPathState { path: "vmhba2:C0:T1:L1", off: true, persist: None })"#,
        ),
        (
            "nmp device setpolicy --psp VMW_PSP_MRU -d naa.x",
            r#"SetPsp(SetPsp { device: "naa.x", psp: Some("VMW_PSP_MRU") })"#,
        ),
        (
            "nmp satp generic deviceconfig set -c disable_alua_followover -d naa.x",
            r#"SetSatpWord(SetSatpWord { device: "naa.x", word: "disable_alua_followover" })"#,
        ),
        (
            "storage core claimrule load",
            r#"LoadRules(LoadRules { claim_rules: Some("MP") })"#,
        ),
        (
            "corestorage claimrule run",
            "RunRules(RunRules { matches: None, path: None, device: None })",
        ),
        (
            "core claiming unclaim -t location -A vmhba2",
            r#"Unclaim(Unclaim { matches: Some("adapter=vmhba2 channel=* target=* lun=*"), plugin: None, path: None, device: None })"#,
        ),
        (
            "core claiming unclaim -t plugin -P NMP",
            r#"Unclaim(Unclaim { matches: None, plugin: Some("NMP"), path: None, device: None })"#,
        ),
        (
            "core claiming reclaim -d naa.x",
            r#"Reclaim(Reclaim { device: "naa.x" })"#,
        ),
        (
            "storage core device set --state=on -d naa.x",
            r#"SetDeviceState(SetDeviceState { device: "naa.x", off: false, persist: None })"#,
        ),
        (
            "core device set -d naa.x --state off --no-persist",
            r#"SetDeviceState(SetDeviceState { device: "naa.x", off: true, persist: Some(false) })"#,
        ),
        (
            "core device set -d naa.x -n payroll",
            r#"SetDeviceName(SetDeviceName { device: "naa.x", name: Some("payroll"), persist: None })"#,
        ),
        (
            "core device set -d naa.x --name=",
            r#"SetDeviceName(SetDeviceName { device: "naa.x", name: None, persist: None })"#,
        ),
        (
            "core device setconfig -d naa.x --perennially-reserved=true",
            r#"SetDeviceFlags(SetDeviceFlags { device: "naa.x", perennially_reserved: Some(true), shared_clusterwide: None })"#,
        ),
        (
            "core device setconfig -d naa.x --detached",
            r#"SetDeviceState(SetDeviceState { device: "naa.x", off: true, persist: None })"#,
        ),
        (
            "core device detached remove -d naa.x",
            r#"RemoveDetached(RemoveDetached { device: Some("naa.x") })"#,
        ),
        (
            "core device detached remove --all",
            "RemoveDetached(RemoveDetached { device: None })",
        ),
        (
            "core device queueing end -d naa.x",
            r#"EndQueueing(EndQueueing { device: "naa.x" })"#,
        ),
        (
            "core device queueing end --all",
            "no device queues I/O without a path",
        ),
    ];
    for (line, effect) in understood {
        let screen = house.run(line);
        assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""), "{line}");
        assert_eq!(screen.out.trim_end(), effect, "{line}");
    }
    for line in [
        "nmp device set -d naa.x",
        "nmp satp generic deviceconfig set -c VMW_SATP_ALUA_CX -d naa.x",
        "core claiming unclaim -t path",
        "nmp psp fixed deviceconfig set -d naa.x",
        "nmp psp generic deviceconfig set -d naa.x -c iops",
        "nmp psp generic deviceconfig set -d naa.x -c speed=9",
        "nmp psp generic pathconfig set -p x -c rank=high",
        "nmp psp roundrobin deviceconfig set -d naa.x --iops -1",
        "core path set -p x --state on",
        "core device set -d naa.x",
        "core device set -d naa.x --no-persist",
        "core device set -d naa.x --state dead",
        "core device set -d naa.x -q many",
        "core device setconfig -d naa.x",
        "core device setconfig -d naa.x --shared-clusterwide=perhaps",
        "core device detached remove",
        "core device detached remove -d naa.x --all",
        "core device queueing end",
        "core device queueing end -d naa.x --all",
    ] {
        let screen = house.run(line);
        assert_eq!(
            (screen.exit, screen.out.as_str()),
            (Exit::Usage, ""),
            "{line}"
        );
        assert!(!screen.err.is_empty(), "{line}");
    }
}

// ---- screens ------------------------------------------------------------------------------------------------

#[test]
fn screens_match_the_goldens() {
    let house = House::new();
    let screens = [
        ("nmp-device-list", "storage nmp device list"),
        ("nmp-path-list", "storage nmp path list"),
        ("core-path-list", "storage core path list"),
        ("core-device-list", "storage core device list"),
        ("core-adapter-list", "storage core adapter list"),
        ("explain", "explain sdc"),
        ("status", "status"),
        ("esxcfg-mpath-b", "esxcfg-mpath -b"),
        ("esxcfg-mpath-L", "esxcfg-mpath -L"),
        ("esxcfg-scsidevs-c", "esxcfg-scsidevs -c"),
        ("fixed-get", "storage nmp psp fixed deviceconfig get -d sdc"),
        (
            "roundrobin-get",
            "storage nmp psp roundrobin deviceconfig get -d sdc",
        ),
    ];
    for (name, line) in screens {
        let screen = house.run(line);
        assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""), "{line}");
        golden(&format!("cli/{name}.txt"), &screen.out);
        // The word `storage` is optional.
        let short = line.strip_prefix("storage ").unwrap_or(line);
        assert_eq!(house.run(short).out, screen.out, "{short}");
        let json = house.run(&format!("--formatter=json {line}")).out;
        serde_json::from_str::<Value>(&json).unwrap();
        golden(&format!("cli/{name}.json"), &json);
    }
}

#[test]
fn formats_match_the_goldens() {
    let house = House::new();
    for (name, line) in [
        ("core-adapter-list", "core adapter list"),
        ("core-path-list", "core path list"),
        ("nmp-device-list", "nmp device list"),
        ("status", "status"),
        ("explain", "explain sdc"),
    ] {
        for format in ["table", "list", "csv", "xml", "keyvalue"] {
            let screen = house.run(&format!("{line} --formatter={format}"));
            assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""), "{line}");
            golden(&format!("cli/{name}.{format}"), &screen.out);
        }
    }
}

#[test]
fn options_reach_the_agent() {
    let house = House::new();
    let all = house.run("nmp path list").out;
    for line in [
        "nmp path list -p vmhba2:C0:T0:L1",
        "storage nmp path list --path=vmhba2:C0:T0:L1 -d naa.60014058d216d30d1048d43d1db0c4df",
    ] {
        let one = house.run(line).out;
        assert!(all.ends_with(&one) && one.len() < all.len(), "{one}");
    }
    for verb in ["nmp device", "nmp path", "core path", "core device"] {
        let screen = house.run(&format!("{verb} list -d naa.9"));
        assert_eq!(screen.exit, Exit::NotFound, "{screen:?}");
    }
}

#[test]
fn lines_that_esxi_scripts_look_for_are_there() {
    // `esxcli storage nmp device list | grep -A7 naa.` and the like, from array vendors' guides.
    let out = House::new().run("storage nmp device list").out;
    let first: Vec<&str> = out.lines().take(9).collect();
    assert_eq!(first[0], DEVICE);
    assert!(first[2] == "   Storage Array Type: VMW_SATP_ALUA");
    assert!(first[4] == "   Path Selection Policy: VMW_PSP_RR");
    assert!(first[7] == "   Working Paths: vmhba1:C0:T0:L1, vmhba2:C0:T0:L1");
    assert!(first[8] == "   Is USB: false");
}

#[test]
fn our_fields_cannot_be_mistaken_for_those_of_esxi() {
    let check = |listing: Listing, ours: usize| {
        let (esxi, ours) = listing.columns.split_at(listing.columns.len() - ours);
        for name in ours {
            assert!(!esxi.iter().any(|theirs| name.ends_with(theirs)), "{name}");
        }
    };
    check(layout::listing::<NmpDevice>(&[]), 2);
    check(layout::listing::<CorePath>(&[]), 3);
}

#[test]
fn an_empty_listing_has_no_records() {
    let none = layout::listing::<NmpDevice>(&[]);
    assert_eq!(render(&none, None, false), "");
    assert_eq!(render(&none, Some(Format::Json), false), "[]\n");
    let header = render(&none, Some(Format::Csv), false);
    assert!(
        header.starts_with("Device,Device Display Name,Storage Array Type,"),
        "{header}"
    );
    let adapters = render(&layout::listing::<Adapter>(&[]), None, false);
    assert_eq!(
        adapters,
        "HBA Name  Driver  Link State  UID  Capabilities  Description\n\
         --------  ------  ----------  ---  ------------  -----------\n"
    );
}

#[test]
fn numbers_in_a_table_are_right_aligned() {
    let listing = Listing {
        kind: "Row",
        style: Style::Table,
        title: None,
        heading: None,
        columns: vec!["Name", "MTU", "Count"],
        records: [("a", 1500, 7), ("bcdefg", 9, 123_456)]
            .map(|(name, mtu, count)| Record {
                heading: None,
                fields: vec![
                    ("Name", Field::from(name)),
                    ("MTU", Field::Number(mtu)),
                    ("Count", Field::Number(count)),
                ],
            })
            .into(),
    };
    assert_eq!(
        render(&listing, None, false),
        "Name     MTU   Count\n------  ----  ------\na       1500       7\nbcdefg     9  123456\n"
    );
}

#[test]
fn only_dead_states_are_red() {
    let house = House::new();
    let plain = house.run("core path list").out;
    let colour = house.run_colour("core path list", true).out;
    assert!(
        colour.contains("   State: \x1b[31mdead\x1b[0m\n"),
        "{colour}"
    );
    assert_eq!(colour.replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
    assert_eq!(colour.matches('\x1b').count(), 2);
    // A table stays aligned, and machine-readable formats have no colour.
    let table = house.run_colour("core adapter list", true).out;
    assert!(table.contains("\x1b[31mlink-down \x1b[0m  fc."), "{table}");
    for format in ["json", "csv", "xml", "keyvalue"] {
        let out = house
            .run_colour(&format!("core path list --formatter={format}"), true)
            .out;
        assert!(!out.contains('\x1b'), "{out}");
    }
}

// ---- errors -------------------------------------------------------------------------------------------------

#[test]
fn errors_have_their_exit_codes_and_say_what_to_do() {
    let house = House::new();
    let cases = [
        (
            "nmp device list -d naa.9",
            Exit::NotFound,
            "`psactl core device list`",
        ),
        ("explain busy", Exit::Unreachable, "try again"),
        (
            "explain bad",
            Exit::Usage,
            "`bad\\x1b[2J` is refused: it is bad",
        ),
        ("explain broken", Exit::Failed, "no memory"),
        ("explain", Exit::Usage, "<DEVICE|PATH>"),
        ("nmp device lst", Exit::Usage, "'list'"),
        ("nmp device list --devise x", Exit::Usage, "'--device'"),
        ("--formatter=yaml status", Exit::Usage, "keyvalue"),
        ("nmp device list -d", Exit::Usage, "<DEVICE>"),
        ("nmp", Exit::Usage, "device  Devices that NMP owns"),
        ("", Exit::Usage, "requires a subcommand"),
        (
            "--socket=/nonexistent status",
            Exit::Usage,
            "cannot be used multiple times",
        ),
    ];
    for (line, exit, words) in cases {
        let screen = house.run(line);
        assert_eq!(screen.exit, exit, "{line}: {screen:?}");
        assert!(screen.err.contains(words), "{line}: {}", screen.err);
        assert_eq!(screen.out, "", "{line}");
        assert!(screen.err.ends_with('\n'));
        assert!(!screen.err.contains('\x1b'), "{line}");
    }
}

#[test]
fn help_and_version_are_not_errors() {
    let house = House::new();
    for verb in verbs() {
        for flag in ["-h", "--help"] {
            let screen = house.run(&format!("{} {flag}", verb.words.join(" ")));
            assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""));
            assert!(screen.out.starts_with(verb.about), "{}", screen.out);
        }
    }
    let version = house.run("--version").out;
    assert_eq!(version, format!("psactl {}\n", env!("CARGO_PKG_VERSION")));
    // In commands of esxcli, -V is a vendor.
    assert_eq!(house.run("-V").exit, Exit::Usage);
}

#[test]
fn a_missing_agent_is_reported() {
    let screen = psactl(["--socket=/nonexistent/io.dmpsa", "status"]);
    assert_eq!(screen.exit, Exit::Unreachable);
    golden("cli/not-running.err", &screen.err);
}

#[test]
fn the_command_tree_is_consistent() {
    args::command().debug_assert();
    for verb in verbs() {
        for length in 1..verb.words.len() {
            let words = &verb.words[..length];
            assert!(
                NAMESPACES.iter().any(|(named, _)| *named == words),
                "{words:?} has no entry in NAMESPACES"
            );
            // One command may be a prefix of another: `events` and `events codes`.
            let both = verbs().any(|other| other.words == words);
            assert!(!both || words == ["events"], "{words:?}");
        }
    }
    for (words, _) in NAMESPACES {
        assert!(
            verbs().any(|verb| verb.words.starts_with(words)),
            "{words:?}"
        );
    }
}

#[test]
fn typographic_characters_are_refused_with_the_fix() {
    let cases = [
        ("–d", 1, "-d"),
        ("–device", 1, "--device"),
        ("—device=naa.1", 1, "--device=naa.1"),
        ("–-device", 1, "--device"),
        ("-d“naa.1”", 3, "-d\"naa.1\""),
        ("-–device", 2, "--device"),
        ("‘x’", 1, "'x'"),
        ("naa.1\u{200b}", 6, "naa.1"),
        ("reset\u{a0}on", 6, "reset on"),
        ("a−b", 2, "a-b"),
    ];
    for (text, character, corrected) in cases {
        let args = [OsString::from("good"), OsString::from(text)];
        let why = typography::check(args.iter()).unwrap_err();
        assert_eq!((why.argument, why.character), (2, character), "{text}");
        assert_eq!(why.corrected, corrected, "{text}");
        let again = [OsString::from(why.corrected)];
        typography::check(again.iter()).unwrap();
    }
    let screen = House::new().run("nmp device list –d naa.1");
    assert_eq!(screen.exit, Exit::Usage);
    golden(
        "cli/typography.err",
        &screen.err.replace("argument 6", "argument N"),
    );
}

/// Accepts this many bytes, then fails.
struct Full {
    room: usize,
    kind: io::ErrorKind,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        self.room -= count;
        if count > 0 {
            Ok(count)
        } else {
            Err(self.kind.into())
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    let house = House::new();
    for (kind, exit) in [
        (io::ErrorKind::BrokenPipe, Exit::Ok),
        (io::ErrorKind::StorageFull, Exit::Failed),
    ] {
        for line in ["core path list", "-h", "status --formatter=json"] {
            let mut err = Vec::new();
            let mut console = Console {
                out: &mut Full { room: 100, kind },
                err: &mut err,
                colour_out: false,
                colour_err: false,
            };
            let words = std::iter::once("psactl".into()).chain(house.words(line));
            assert_eq!(run(words, &mut console), exit, "{line}");
            assert_eq!(err.is_empty(), exit == Exit::Ok, "{line}");
        }
    }
}

#[test]
fn the_program_prints_and_exits_as_the_library_does() {
    let house = House::new();
    let psactl = || Command::new(env!("CARGO_BIN_EXE_psactl"));
    let done = psactl()
        .args(["core", "adapter", "list"])
        .env("DM_PSA_SOCKET", &house.socket)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0));
    golden(
        "cli/core-adapter-list.txt",
        &String::from_utf8(done.stdout).unwrap(),
    );
    let done = psactl()
        .arg("status")
        .env("DM_PSA_SOCKET", "/nonexistent")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(3));
    // The reader is gone: no error message.
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let done = psactl()
        .arg("-h")
        .stdout(Stdio::from(writer))
        .output()
        .unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), vec![]));
}

// ---- any text -----------------------------------------------------------------------------------------------

/// Text that a hostile or broken device could return.
fn text() -> impl Strategy<Value = String> {
    let c = prop_oneof![
        4 => prop::char::range(' ', '~'),
        2 => prop::char::range('\0', '\u{9f}'),
        1 => prop::sample::select(vec!['\n', '\x1b', '\u{9b}', '\u{202e}', '\u{2028}', '"', ',', '<', '&', '\u{ffff}']),
        1 => any::<char>(),
    ];
    prop::collection::vec(c, 0..12).prop_map(|chars| chars.into_iter().collect())
}

fn listings() -> impl Strategy<Value = Listing> {
    let strings = prop::collection::vec(text(), 24);
    let numbers = (any::<u64>(), any::<u32>(), any::<bool>());
    (strings, numbers, 0usize..4, 0usize..8).prop_map(
        |(strings, (big, small, flag), count, kind)| {
            let mut next = strings.iter().cycle().cloned();
            let mut t = || next.next().unwrap();
            macro_rules! records {
                ($make:expr) => {{
                    let records: Vec<_> = (0..count).map(|_| $make).collect();
                    layout::listing(&records)
                }};
            }
            match kind {
                0 => records!(NmpDevice {
                    device: t(),
                    display_name: t(),
                    satp: t(),
                    satp_device_config: t(),
                    psp: t(),
                    psp_device_config: t(),
                    psp_custom_config: t(),
                    working_paths: vec![t(), t()],
                    is_usb: flag,
                    map: flag.then(&mut t),
                    activation: t(),
                }),
                1 => records!(NmpPath {
                    uid: t(),
                    runtime_name: t(),
                    device: t(),
                    display_name: t(),
                    group_state: t(),
                    array_priority: small,
                    satp_path_config: t(),
                    psp_path_config: t(),
                }),
                2 => records!(CorePath {
                    uid: t(),
                    runtime_name: t(),
                    device: flag.then(&mut t),
                    display_name: flag.then(&mut t),
                    adapter: t(),
                    channel: small,
                    target: small,
                    lun: big,
                    plugin: t(),
                    state: t(),
                    reason: t(),
                    transport: t(),
                    adapter_identifier: t(),
                    target_identifier: t(),
                    adapter_transport_details: t(),
                    target_transport_details: t(),
                    maximum_io_size: big,
                    disk: flag.then(&mut t),
                    hctl: t(),
                    io_errors: vec![],
                }),
                3 => records!(CoreDevice {
                    device: t(),
                    display_name: t(),
                    device_type: t(),
                    multipath_plugin: t(),
                    devfs_path: t(),
                    vendor: t(),
                    model: t(),
                    revision: t(),
                    status: t(),
                    other_uids: vec![t()],
                    size_mib: big,
                    is_local: flag,
                    device_max_queue_depth: small,
                    ..core_device()
                }),
                4 => records!(Adapter {
                    name: t(),
                    driver: t(),
                    link_state: t(),
                    uid: t(),
                    capabilities: t(),
                    description: t(),
                    hosts: vec![t()],
                }),
                5 => records!(Status {
                    version: t(),
                    paths: big,
                    ..status()
                }),
                _ => layout::explanation(&Explanation {
                    subject: t(),
                    sections: (0..count)
                        .map(|_| Section {
                            title: t(),
                            lines: vec![t(), t()],
                        })
                        .collect(),
                }),
            }
        },
    )
}

proptest! {
    #[test]
    fn any_record_is_printed_safely(listing in listings()) {
        use Format::{Csv, Json, Keyvalue, List, Table, Xml};
        for format in [None, Some(Table), Some(List), Some(Json), Some(Csv), Some(Xml), Some(Keyvalue)] {
            let out = render(&listing, format, false);
            prop_assert!(!out.contains(|c| c != '\n' && is_unsafe(c)), "{:?}: {:?}", format, out);
            prop_assert!(out.is_empty() || out.ends_with('\n'));
            let lines = out.lines().count();
            match format {
                Some(Table) => prop_assert_eq!(lines, listing.records.len() + 2),
                Some(Csv) => {
                    prop_assert_eq!(lines, listing.records.len() + 1);
                    for line in out.lines() {
                        // Outside of quotes: the pieces with even index.
                        let commas: usize = line.split('"').step_by(2).map(|s| s.matches(',').count()).sum();
                        prop_assert_eq!(commas + 1, listing.all_columns().len());
                    }
                }
                Some(Json) => {
                    let back: Value = serde_json::from_str(&out).unwrap();
                    let objects = match back {
                        Value::Array(objects) => objects,
                        object => vec![object],
                    };
                    prop_assert_eq!(objects.len(), listing.records.len());
                    for (object, record) in objects.iter().zip(&listing.records) {
                        for (name, value) in listing.all_fields(record) {
                            let wanted = match value {
                                Field::Text(text) | Field::State(text) => json!(text),
                                Field::Number(number) => json!(number),
                                Field::Flag(flag) => json!(flag),
                                Field::List(items) => json!(items),
                                Field::Absent(_) => Value::Null,
                            };
                            prop_assert_eq!(&object[name], &wanted);
                        }
                    }
                }
                Some(Xml) => prop_assert_eq!(out.matches("<structure ").count(), listing.records.len()),
                _ => {}
            }
            // The coloured output differs only in colour.
            let colour = render(&listing, format, true).replace("\x1b[31m", "").replace("\x1b[0m", "");
            prop_assert_eq!(colour, out);
        }
    }

    #[test]
    fn printable_text_is_unchanged(text in "[ -~äöü€]{0,40}") {
        prop_assert_eq!(printable(&text), text.as_str());
    }

    #[test]
    fn any_arguments_are_parsed_or_refused(words in prop::collection::vec(text(), 0..6)) {
        let args: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let _ = typography::check(args.iter());
        let program = std::iter::once(OsString::from("psactl"));
        let _ = args::parse(program.chain(args), false, false);
    }
}

#[test]
fn without_the_agent_queueing_is_ended_only_for_maps_of_a_known_owner() {
    // No map of this machine has that name, and no agent has left a list here.
    for (what, exits) in [
        ("-d no-such-map", [Exit::NotFound, Exit::Failed]),
        ("--all", [Exit::Failed, Exit::Failed]),
    ] {
        let line = format!("--socket /nonexistent/io.dmpsa core device queueing end {what}");
        let screen = psactl(line.split(' '));
        assert!(exits.contains(&screen.exit), "{screen:?}");
        assert!(
            screen.err.contains("the agent is not running"),
            "{screen:?}"
        );
        assert_eq!(screen.out, "");
    }
    // Below another root directory there is no device-mapper.
    let screen = psactl("--root /tmp core device queueing end -d x".split(' '));
    assert_eq!(screen.exit, Exit::Usage, "{screen:?}");
}
