//! What `psactl` does on this host itself: counters, rescans, open files. The kernel's file trees are copies below a
//! temporary directory, and the agent is a fake. The screens are files in `tests/golden/cli/`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test --test host_tools`. SCSI commands need a device: `tests/lab/scenario/14-host-tools.sh`.

mod screen;

use dm_psa::api::handler::Limits;
use dm_psa::api::listener::Listener;
use dm_psa::api::requests::{ChangeRequest, Request};
use dm_psa::api::types::{Adapter, CoreDevice, CorePath, DetachedDevice, IoErrors};
use dm_psa::api::{ApiError, Handler, Peer, Server};
use dm_psa::cli::Exit;
use dm_psa::cli::format::render;
use dm_psa::cli::layout::listing;
use dm_psa::cli::layout_host::Readiness;
use dm_psa::kernel::sysfs::Sysfs;
use dm_psa::kernel::sysfs::statistics::{IoCounters, parse_command_counter};
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::sense::Sense;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use proptest::prelude::*;
use screen::{Screen, golden, psactl_below, psactl_on};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DEVICE: &str = "naa.60014058d216d30d1048d43d1db0c4df";
const LOCAL: &str = "t10.ATA_____QEMU_HARDDISK___________________________QM00001";

// ---- the host -----------------------------------------------------------------------------------------------

/// A map of two paths (sdc dead, sdd active) with a partition, a local disk, a dead path of another device, and a SCSI
/// host without paths.
struct Host {
    root: tempfile::TempDir,
    socket: PathBuf,
    _server: Server,
}

/// The agent of this host.
struct Agent;

impl Handler for Agent {
    fn call(&self, method: &str, parameters: &Value, _: Peer) -> Result<Value, ApiError> {
        let not_found = |subject: &str| ApiError::NotFound {
            subject: subject.to_owned(),
            hint: "`psactl core path list` shows what there is".to_owned(),
        };
        Ok(match Request::parse(method, parameters)? {
            Request::ListCorePaths(asked) => {
                let mut paths = paths();
                if let Some(name) = &asked.path {
                    paths.retain(|path| path.runtime_name == *name);
                    if paths.is_empty() {
                        return Err(not_found(name));
                    }
                }
                let of_it = |path: &CorePath| {
                    let device = asked.device.as_ref();
                    device.is_none_or(|device| path.device.as_ref() == Some(device))
                };
                paths.retain(of_it);
                json!({ "paths": paths })
            }
            Request::ListCoreDevices(asked) => {
                let mut devices = vec![device(DEVICE, false), device(LOCAL, true)];
                if let Some(name) = &asked.device {
                    devices.retain(|device| device.device == *name);
                    if devices.is_empty() {
                        return Err(not_found(name));
                    }
                }
                json!({ "devices": devices })
            }
            Request::ListAdapters(_) => json!({ "adapters": adapters() }),
            Request::ListDetachedDevices(_) => json!({ "devices": [DetachedDevice {
                device: "naa.6001405000000007".to_owned(),
                state: "off".to_owned(),
            }] }),
            Request::Change(ChangeRequest::RunRules(_)) => json!({ "effect": "nothing to claim" }),
            other => panic!("{other:?}"),
        })
    }
}

fn adapters() -> Vec<Adapter> {
    [
        ("vmhba0", vec!["host0"]),
        ("vmhba1", vec!["host2", "host3"]),
    ]
    .map(|(name, hosts)| Adapter {
        name: name.to_owned(),
        driver: "qla2xxx".to_owned(),
        link_state: "link-up".to_owned(),
        uid: String::new(),
        capabilities: String::new(),
        description: String::new(),
        hosts: hosts.into_iter().map(str::to_owned).collect(),
    })
    .into()
}

fn path(name: &str, device: &str, state: &str, hctl: &str, disk: Option<&str>) -> CorePath {
    let adapter = name.split(':').next().unwrap().to_owned();
    CorePath {
        uid: format!("fc.1:{name}-fc.2:2-{device}"),
        runtime_name: name.to_owned(),
        device: Some(device.to_owned()),
        display_name: None,
        adapter,
        channel: 0,
        target: 0,
        lun: 1,
        plugin: "NMP".to_owned(),
        state: state.to_owned(),
        reason: String::new(),
        transport: "fc".to_owned(),
        adapter_identifier: String::new(),
        target_identifier: String::new(),
        adapter_transport_details: String::new(),
        target_transport_details: String::new(),
        maximum_io_size: 0,
        disk: disk.map(str::to_owned),
        hctl: hctl.to_owned(),
        io_errors: match state {
            "dead" => vec![IoErrors {
                kind: "timeout".to_owned(),
                count: 3,
            }],
            _ => vec![],
        },
    }
}

fn paths() -> Vec<CorePath> {
    vec![
        path("vmhba0:C0:T0:L0", LOCAL, "active", "0:0:0:0", Some("sda")),
        path("vmhba1:C0:T0:L1", DEVICE, "dead", "2:0:0:1", Some("sdc")),
        path("vmhba1:C0:T1:L1", DEVICE, "active", "3:0:0:1", Some("sdd")),
        path("vmhba1:C0:T0:L9", "naa.9", "dead", "2:0:0:9", Some("sde")),
    ]
}

fn device(name: &str, local: bool) -> CoreDevice {
    CoreDevice {
        device: name.to_owned(),
        display_name: name.to_owned(),
        size_mib: 1,
        device_type: "Direct-Access".to_owned(),
        multipath_plugin: "NMP".to_owned(),
        devfs_path: if local {
            "/dev/sda".to_owned()
        } else {
            format!("/dev/mapper/{name}")
        },
        vendor: String::new(),
        model: String::new(),
        revision: String::new(),
        scsi_level: 6,
        is_pseudo: false,
        status: "on".to_owned(),
        is_local: local,
        is_removable: false,
        is_ssd: false,
        marked_ssd: false,
        is_offline: false,
        other_uids: vec![],
        is_sas: false,
        is_usb: false,
        is_boot_device: false,
        device_max_queue_depth: 1,
        is_perennially_reserved: false,
        is_shared_clusterwide: !local,
    }
}

impl Host {
    fn new() -> Host {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("io.dmpsa");
        let listener = Listener::bind(&socket).unwrap();
        let host = Host {
            _server: Server::start(listener, Box::new(Agent), Limits::default()).unwrap(),
            socket,
            root,
        };
        for number in [0, 2, 3, 9] {
            host.file(&format!("sys/class/scsi_host/host{number}/scan"), "");
        }
        host.disk(
            "0:0:0:0",
            "sda",
            0,
            "10 0 80 1 20 0 160 1 0 1 1",
            ["0x40", "0x1", "0x0"],
        );
        host.disk(
            "2:0:0:1",
            "sdc",
            32,
            "8 0 128 12 3 0 24 35 0 48 47 0 0 0 0 2 5",
            ["0x10", "0x4", "0x1"],
        );
        host.disk(
            "3:0:0:1",
            "sdd",
            48,
            "2 0 16 1 1 0 8 1 0 1 1",
            ["0x8", "0x0", "0x0"],
        );
        host.disk(
            "2:0:0:9",
            "sde",
            64,
            "0 0 0 0 0 0 0 0 0 0 0",
            ["0x2", "0x2", "0x0"],
        );
        host.file("sys/devices/3:0:0:1/rescan", "");
        host.file("sys/devices/0:0:0:0/rescan", "");
        for hctl in ["2:0:0:1", "2:0:0:9", "3:0:0:1"] {
            host.file(&format!("sys/devices/{hctl}/delete"), "");
        }
        for (block, name, uuid) in [
            ("dm-3", DEVICE, "mpath-36001"),
            ("dm-4", "naa.6001-part1", "part1-mpath-36001"),
            ("dm-5", "vg-data", "LVM-abc"),
        ] {
            host.file(&format!("sys/block/{block}/dm/name"), name);
            host.file(&format!("sys/block/{block}/dm/uuid"), uuid);
            host.folder(&format!("sys/block/{block}/holders"));
            host.file(
                &format!("sys/block/{block}/dev"),
                &format!("253:{}", &block[3..]),
            );
            host.block(block);
        }
        host.file("sys/block/dm-3/stat", "9 0 140 13 4 0 32 36 0 49 48");
        host.file("sys/block/dm-3/queue/write_zeroes_max_bytes", "33553920");
        host.file("sys/block/dm-3/queue/discard_max_bytes", "0");
        for (block, holder) in [
            ("sdc", "dm-3"),
            ("sdd", "dm-3"),
            ("dm-3", "dm-4"),
            ("dm-3", "dm-5"),
        ] {
            host.folder(&format!("sys/block/{block}/holders/{holder}"));
        }
        host.file(
            "proc/self/mountinfo",
            "22 1 8:0 / / rw - ext4 /dev/sda rw\n23 22 253:4 / /srv/data rw - ext4 /dev/dm-4 rw\n",
        );
        host.file("proc/swaps", "Filename\n");
        host
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.root.path().join(path)).unwrap();
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap()
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn block(&self, name: &str) {
        self.link(
            &format!("../../block/{name}"),
            &format!("sys/class/block/{name}"),
        );
    }

    /// Adds a SCSI device with its disk. In the kernel's tree a disk is a directory below its device and a link
    /// elsewhere. Here it is the other way round, which makes no difference to readers.
    fn disk(&self, hctl: &str, name: &str, minor: u32, stat: &str, counters: [&str; 3]) {
        self.file(&format!("sys/block/{name}/dev"), &format!("8:{minor}"));
        self.file(&format!("sys/block/{name}/stat"), stat);
        self.folder(&format!("sys/block/{name}/holders"));
        self.block(name);
        for (file, counter) in ["iodone_cnt", "ioerr_cnt", "iotmo_cnt"]
            .iter()
            .zip(counters)
        {
            self.file(&format!("sys/devices/{hctl}/{file}"), counter);
        }
        let device = format!("sys/devices/{hctl}");
        self.link(
            &format!("../../../block/{name}"),
            &format!("{device}/block/{name}"),
        );
        self.link(
            &format!("../../../devices/{hctl}"),
            &format!("sys/class/scsi_device/{hctl}/device"),
        );
        self.link(
            &format!("../../../devices/{hctl}"),
            &format!("sys/bus/scsi/devices/{hctl}"),
        );
    }

    /// Adds a process that has these block devices open. Returns `false` if this user may not create device nodes.
    fn process(&self, pid: u32, name: &str, open: &[(&str, u64, u64)]) -> bool {
        self.folder("dev");
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        for (fd, (device, major, minor)) in open.iter().enumerate() {
            let node = self.root.path().join("dev").join(device);
            let made = mknod(
                &node,
                SFlag::S_IFBLK,
                Mode::S_IRUSR,
                makedev(*major, *minor),
            );
            if made.is_err_and(|errno| errno != Errno::EEXIST) {
                return false;
            }
            self.link(node.to_str().unwrap(), &format!("proc/{pid}/fd/{fd}"));
        }
        true
    }

    fn run(&self, line: &str) -> Screen {
        let socket = [OsString::from("--socket"), self.socket.clone().into()];
        let words = line.split_whitespace().map(OsString::from);
        psactl_on(
            Sysfs::new(self.root.path()),
            socket.into_iter().chain(words),
            false,
        )
    }

    fn screen(&self, name: &str, line: &str) {
        let screen = self.run(line);
        assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""), "{line}");
        golden(&format!("cli/{name}.txt"), &screen.out);
        let json = self.run(&format!("{line} --formatter=json")).out;
        serde_json::from_str::<Value>(&json).unwrap();
        golden(&format!("cli/{name}.json"), &json);
    }
}

// ---- screens ------------------------------------------------------------------------------------------------

#[test]
fn screens_match_the_goldens() {
    let host = Host::new();
    for (name, line) in [
        (
            "path-stats-get",
            "storage core path stats get -p vmhba1:C0:T0:L1",
        ),
        ("device-stats-get", "storage core device stats get"),
        (
            "adapter-stats-get",
            "storage core adapter stats get -A vmhba1",
        ),
        ("device-world-list", "storage core device world list"),
        (
            "device-vaai-status-get",
            "storage core device vaai status get",
        ),
        ("device-detached-list", "storage core device detached list"),
        ("plugin-list", "storage core plugin list -N MP"),
    ] {
        host.screen(name, line);
    }
    let all = host.run("core path stats get").out;
    assert_eq!(all.matches("Successful Commands").count(), 4, "{all}");
    assert_eq!(
        host.run("core plugin list -N vaai --formatter=json").out,
        "[]\n"
    );
}

#[test]
fn readiness_is_printed_in_words() {
    let readiness = |outcome| Readiness {
        device: "/dev/sg3".to_owned(),
        address: "2:0:0:1".to_owned(),
        outcome,
    };
    let standby = Sense {
        key: 2,
        asc: 4,
        ascq: 0x0b,
    };
    let all = [
        Outcome::Good,
        Outcome::CheckCondition(standby),
        Outcome::NoConnect(1),
    ];
    let screens = all.map(|outcome| render(&listing(&[readiness(outcome)]), None, false));
    golden("cli/scsi-tur.txt", &screens.join("\n"));
}

#[test]
fn the_modules_are_those_of_this_build() {
    let host = Host::new();
    let json: Value = serde_json::from_str(
        &host
            .run("core plugin registration list --formatter=json")
            .out,
    )
    .unwrap();
    let modules: Vec<&str> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["Module Name"].as_str().unwrap())
        .collect();
    for module in ["nmp", "mask_path_plugin", "vmw_satp_alua", "vmw_psp_rr"] {
        assert!(modules.contains(&module), "{modules:?}");
    }
    assert!(json[0]["Full Path"].as_str().unwrap().ends_with("/dm-psad"));
    let some = host.run("core plugin registration list -N PSP").out;
    assert_eq!(some.matches("VMW_PSP_").count(), 3, "{some}");
    let one = host
        .run("core plugin registration list -m vmw_satp_alua")
        .out;
    assert_eq!(one.lines().count(), 3, "{one}");
    for line in [
        "core plugin registration add -m x -N MP -P X -p /usr/lib/x",
        "core plugin registration remove -m nmp",
    ] {
        let screen = host.run(line);
        assert_eq!(
            (screen.exit, screen.out.as_str()),
            (Exit::Failed, ""),
            "{line}"
        );
        assert!(
            screen.err.contains("does not support third-party"),
            "{}",
            screen.err
        );
    }
}

// ---- statistics ---------------------------------------------------------------------------------------------

#[test]
fn missing_counters_are_reported() {
    let host = Host::new();
    // The disk disappears while its counters are read.
    fs::remove_file(
        host.root
            .path()
            .join("sys/class/scsi_device/2:0:0:9/device"),
    )
    .unwrap();
    let screen = host.run("core path stats get -p vmhba1:C0:T0:L9");
    assert_eq!(screen.exit, Exit::Ok);
    assert!(
        screen.out.contains("   Read Operations: n/a\n"),
        "{}",
        screen.out
    );
    assert!(
        screen.out.contains("   Failed Commands: n/a\n"),
        "{}",
        screen.out
    );
    // The sum of an adapter is not affected.
    let sum = host.run("core adapter stats get -A vmhba1").out;
    assert!(sum.contains("   Read Operations: 10\n"), "{sum}");
    let json = host
        .run("--formatter=json core path stats get -p vmhba1:C0:T0:L9")
        .out;
    assert!(json.contains("\"Failed Blocks Read\": null"), "{json}");
}

proptest! {
    #[test]
    fn any_line_of_counters_is_parsed_or_refused(line in "\\PC{0,80}") {
        let _ = IoCounters::parse(&line);
        let _ = parse_command_counter(&line);
    }

    #[test]
    fn counters_are_taken_from_their_columns(
        fields in prop::collection::vec(any::<u64>(), 0..20),
        blanks in prop::collection::vec(1usize..9, 20),
    ) {
        let words = fields.iter().zip(&blanks);
        let line: String = words.map(|(field, blanks)| format!("{}{field}", " ".repeat(*blanks))).collect();
        let read = IoCounters::parse(&line);
        prop_assert_eq!(read.is_some(), fields.len() >= 11);
        if let Some(read) = read {
            prop_assert_eq!(
                [read.reads, read.sectors_read, read.writes, read.sectors_written],
                [fields[0], fields[2], fields[4], fields[6]]
            );
            // Sums of any values do not overflow.
            let _ = read.plus(read);
        }
    }

    #[test]
    fn a_command_counter_is_its_lower_32_bits(count: u32) {
        // The kernel prints a signed number.
        let shown = format!("{:#x}\n", i64::from(count.cast_signed()));
        prop_assert_eq!(parse_command_counter(&shown), Some(count));
    }
}

// ---- rescan -------------------------------------------------------------------------------------------------

#[test]
fn a_rescan_scans_the_scsi_hosts_of_an_adapter() {
    let host = Host::new();
    let screen = host.run("core adapter rescan -A vmhba1 -t add");
    assert_eq!(
        (screen.exit, screen.err.as_str()),
        (Exit::Ok, ""),
        "{screen:?}"
    );
    golden("cli/adapter-rescan-add.txt", &screen.out);
    let scan = |number: u32| host.text(&format!("sys/class/scsi_host/host{number}/scan"));
    assert_eq!([scan(2), scan(3)], ["- - -", "- - -"]);
    assert_eq!([scan(0), scan(9)], ["", ""]);
    // A host without paths belongs to no adapter yet, but is found too.
    let screen = host.run("core adapter rescan -A host9 -t add -S");
    assert_eq!(screen.out, "host9: scanned, nothing new\n");
    assert_eq!([scan(0), scan(9)], ["", "- - -"]);
    host.run("core adapter rescan --all -t add -S");
    assert_eq!(scan(0), "- - -");
}

#[test]
fn a_rescan_removes_dead_paths_that_are_not_in_use() {
    let host = Host::new();
    let screen = host.run("core adapter rescan -A vmhba1 -t delete -S");
    assert_eq!(screen.exit, Exit::Ok, "{screen:?}");
    assert!(
        screen.out.contains("vmhba1 (host2): removed ") && screen.out.contains("vmhba1:C0:T0:L9"),
        "{screen:?}"
    );
    let delete = |hctl: &str| host.text(&format!("sys/devices/{hctl}/delete"));
    assert_eq!([delete("2:0:0:9"), delete("3:0:0:1")], ["1", ""]);
    assert_eq!(host.text("sys/class/scsi_host/host2/scan"), "");
    // A mounted disk stays, dead or not.
    let host = Host::new();
    host.file(
        "proc/self/mountinfo",
        "22 1 8:64 / /mnt rw - ext4 /dev/sde rw\n",
    );
    let screen = host.run("core adapter rescan -A vmhba1 -t delete -S");
    let why = "vmhba1:C0:T0:L9 is dead but was not removed: sde is mounted at /mnt";
    assert!(screen.err.contains(why), "{}", screen.err);
    assert_eq!(host.text("sys/devices/2:0:0:9/delete"), "");
    // It is unknown who uses the disk: it stays.
    let host = Host::new();
    fs::remove_file(host.root.path().join("proc/self/mountinfo")).unwrap();
    let screen = host.run("core adapter rescan -A vmhba1 -t delete -S");
    assert!(
        screen.err.contains("the users of sde cannot be determined"),
        "{}",
        screen.err
    );
    assert_eq!(host.text("sys/devices/2:0:0:9/delete"), "");
    // Another disk has this name by now: it stays.
    let host = Host::new();
    fs::remove_dir_all(host.root.path().join("sys/devices/2:0:0:9/block")).unwrap();
    let screen = host.run("core adapter rescan -A vmhba1 -t delete -S");
    assert!(
        screen.err.contains("its disk is changing"),
        "{}",
        screen.err
    );
    assert_eq!(host.text("sys/devices/2:0:0:9/delete"), "");
}

#[test]
fn a_rescan_rereads_live_paths_and_claims() {
    let host = Host::new();
    let screen = host.run("core adapter rescan -A vmhba1 -t update -F");
    assert_eq!(screen.exit, Exit::Ok, "{screen:?}");
    assert_eq!(
        screen.out,
        "vmhba1 (host3): 1 paths read again\nnothing to claim\n"
    );
    assert!(
        screen.err.contains("--skip-fs-scan: without effect"),
        "{}",
        screen.err
    );
    assert_eq!(host.text("sys/devices/3:0:0:1/rescan"), "1");
    assert!(!host.root.path().join("sys/devices/2:0:0:1/rescan").exists());
}

#[test]
fn a_scan_that_does_not_end_is_reported_after_its_timeout() {
    let host = Host::new();
    let scan = host.root.path().join("sys/class/scsi_host/host2/scan");
    fs::remove_file(&scan).unwrap();
    // The file has no reader, so opening it for writing blocks.
    mkfifo(&scan, Mode::S_IRWXU).unwrap();
    let before = Instant::now();
    let screen = host.run("core adapter rescan -A vmhba1 -t add -S --timeout 1");
    assert!(before.elapsed() < Duration::from_secs(30));
    assert_eq!(screen.exit, Exit::Partly, "{screen:?}");
    assert!(
        screen.err.contains("host2/scan was not done after 1 s"),
        "{}",
        screen.err
    );
    assert_eq!(screen.out, "vmhba1 (host3): scanned, nothing new\n");
}

#[test]
fn a_rescan_that_fails_says_why() {
    let host = Host::new();
    let scan = host.root.path().join("sys/class/scsi_host/host9/scan");
    fs::remove_file(scan).unwrap();
    let screen = host.run("core adapter rescan -A host9 -t add -S");
    assert_eq!((screen.exit, screen.out.as_str()), (Exit::Failed, ""));
    assert!(
        screen
            .err
            .contains("host9/scan cannot be written: No such file"),
        "{}",
        screen.err
    );
}

#[test]
fn worlds_are_the_processes_with_the_device_open() {
    let host = Host::new();
    let open = [("dm-3", 253, 3), ("dm-4", 253, 4), ("sde", 8, 64)];
    if !host.process(1234, "dd", &open) {
        eprintln!("skipped: only root can create device nodes");
        return;
    }
    host.process(99, "(udev-worker)", &[("sde", 8, 64)]);
    let worlds = host.run(&format!("core device world list -d {DEVICE}")).out;
    // The map and its partition, together.
    assert!(worlds.contains("      1234           2  dd\n"), "{worlds}");
    let rescan = "core adapter rescan -A vmhba1 -t delete -S";
    let screen = host.run(rescan);
    let why = "vmhba1:C0:T0:L9 is dead but was not removed: dd (process 1234) has sde open";
    assert!(screen.err.contains(why), "{}", screen.err);
    // udev only looks at devices, and does not count as a user.
    fs::remove_dir_all(host.root.path().join("proc/1234")).unwrap();
    let screen = host.run(rescan);
    assert!(screen.out.contains("removed"), "{screen:?}");
    assert_eq!(host.text("sys/devices/2:0:0:9/delete"), "1");
}

// ---- wrong arguments ----------------------------------------------------------------------------------------

#[test]
fn wrong_arguments_are_refused_with_the_fix() {
    let host = Host::new();
    let cases = [
        (
            "core adapter rescan",
            Exit::Usage,
            "--adapter ADAPTER or --all",
        ),
        (
            "core adapter rescan -a -A vmhba1",
            Exit::Usage,
            "--adapter ADAPTER or --all",
        ),
        ("core adapter rescan -a -t some", Exit::Usage, "delete"),
        (
            "core adapter rescan -a --timeout 0",
            Exit::Usage,
            "1..=86400",
        ),
        (
            "core adapter rescan -A vmhba7",
            Exit::NotFound,
            "core adapter list",
        ),
        (
            "core adapter rescan -A host7",
            Exit::NotFound,
            "/sys/class/scsi_host",
        ),
        (
            "core adapter stats get -A vmhba7",
            Exit::NotFound,
            "core adapter list",
        ),
        (
            "core path stats get -p vmhba7:C0:T0:L0",
            Exit::NotFound,
            "core path list",
        ),
        (
            "core device stats get -d naa.7",
            Exit::NotFound,
            "core path list",
        ),
        (
            "core device world list -d naa.7",
            Exit::NotFound,
            "core path list",
        ),
        ("core plugin list -N PSP", Exit::Usage, "Filter"),
        (
            "core plugin registration add -m x",
            Exit::Usage,
            "--plugin-name",
        ),
        ("scsi tur", Exit::Usage, "<DEVICE>"),
        ("scsi tur sdz", Exit::NotFound, "sdz: no such SCSI device"),
        ("scsi tur vmhba7:C0:T0:L0", Exit::NotFound, "core path list"),
        (
            "scsi tur dm-3",
            Exit::Failed,
            "not a SCSI device: give a path",
        ),
        ("scsi inquiry sda --timeout=never", Exit::Usage, "--timeout"),
        ("scsi vpd sda --page 100", Exit::Usage, "PAGE CODE"),
        (
            "scsi stpg sda --group 1 --state active",
            Exit::Usage,
            "use --force to confirm",
        ),
        (
            "scsi stpg sda --group 1 --state ao --force",
            Exit::Usage,
            "nonoptimized",
        ),
        (
            "scsi stpg sda --group 70000 --state active --force",
            Exit::Usage,
            "65535",
        ),
        (
            "scsi stpg sda --state active --force",
            Exit::Usage,
            "--group",
        ),
    ];
    for (line, exit, words) in cases {
        let screen = host.run(line);
        assert_eq!(screen.exit, exit, "{line}: {screen:?}");
        assert!(screen.err.contains(words), "{line}: {}", screen.err);
        assert_eq!(screen.out, "", "{line}");
    }
}

#[test]
fn commands_that_need_the_kernel_refuse_another_root() {
    for line in [
        "core path stats get",
        "scsi tur sda",
        "core adapter rescan --all",
    ] {
        let screen = psactl_below(Path::new("/nonexistent"), line.split(' '));
        assert_eq!(screen.exit, Exit::Usage, "{line}");
        assert!(
            screen.err.contains("run it without --root"),
            "{}",
            screen.err
        );
    }
}

#[test]
fn options_without_effect_are_reported() {
    let host = Host::new();
    let screen = host.run("core device set -d naa.7 -O 32");
    assert_eq!(screen.exit, Exit::NotFound, "{screen:?}");
    let screen = host.run(&format!("core device set -d {DEVICE} -O 32 -s 64 -q 8"));
    assert_eq!((screen.exit, screen.out.as_str()), (Exit::Ok, ""));
    for option in [
        "--sched-num-req-outstanding",
        "--queue-full-sample-size",
        "--queue-full-threshold",
    ] {
        assert!(screen.err.contains(option), "{}", screen.err);
    }
    assert!(screen.err.contains("without effect"), "{}", screen.err);
}
