//! The facts of paths are read correctly from sysfs trees of real kernels.

use dm_psa::kernel::sysfs::{Survey, Sysfs};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::facts::{Handler, PathFacts, Usage};
use dm_psa::psa::units::{DevT, Hctl, Sectors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Creates the files that a tree describes.
fn unpack(tree: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    let parent = |path: &Path| fs::create_dir_all(path.parent().unwrap()).unwrap();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        if let Some((path, target)) = line.split_once(" -> ") {
            let path = root.path().join(path);
            parent(&path);
            symlink(target, path).unwrap();
        } else if let Some((path, text)) = line.split_once(" =") {
            let path = root.path().join(path);
            parent(&path);
            let text = text.strip_prefix(' ').unwrap_or(text);
            let text = text.replace("\\n", "\n").replace("\\t", "\t");
            fs::write(path, text.replace("\\\\", "\\")).unwrap();
        } else {
            fs::create_dir_all(root.path().join(line)).unwrap();
        }
    }
    root
}

fn read_all(root: &Path) -> BTreeMap<Hctl, PathFacts> {
    let sysfs = Sysfs::new(root);
    let paths = sysfs.list_paths().unwrap();
    let mut survey = Survey::new(sysfs);
    paths
        .into_iter()
        .map(|path| (path, survey.read(path).unwrap().unwrap()))
        .collect()
}

fn golden(name: &str) -> BTreeMap<Hctl, PathFacts> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sysfs");
    let file = |kind: &str| -> PathBuf { dir.join(format!("{name}.{kind}")) };
    let root = unpack(&fs::read_to_string(file("tree")).unwrap());
    let facts = read_all(root.path());
    let text = serde_json::to_string_pretty(&facts).unwrap() + "\n";
    if std::env::var_os("DM_PSA_BLESS").is_some() {
        fs::write(file("facts"), &text).unwrap();
    }
    let wanted = fs::read_to_string(file("facts")).unwrap();
    assert_eq!(text, wanted, "{name}.facts");
    facts
}

fn hctl(text: &str) -> Hctl {
    text.parse().unwrap()
}

#[test]
fn facts_of_a_host_on_a_san_are_read() {
    let facts = golden("san");
    // Two sessions to one portal group are one target of one adapter, and two portals.
    let (a, b) = (&facts[&hctl("2:0:0:11")], &facts[&hctl("3:0:0:11")]);
    assert_eq!(a.adapter.key, b.adapter.key);
    assert_eq!(a.target.identifier, b.target.identifier);
    assert_ne!(a.target.portal, b.target.portal);
    // A multipath map over a path does not count as a use of it.
    assert_eq!(facts[&hctl("7:0:0:1")].block.as_ref().unwrap().usage, []);
}

#[test]
fn each_controller_is_its_own_adapter() {
    let facts = golden("hardware");
    let keys: BTreeSet<&str> = facts
        .values()
        .map(|facts| facts.adapter.key.as_str())
        .collect();
    assert_eq!(keys.len(), facts.len());
}

/// Written from the source of the drivers, because no such hardware was available: qla2xxx and its remote port, mpt3sas
/// behind an expander, bnx2i.
const DRIVERS: &str = "
sys/class/scsi_device/1:0:3:5 -> ../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/scsi_device/1:0:3:5
sys/class/scsi_host/host1 -> ../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/scsi_host/host1
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/scsi_host/host1/proc_name = qla2xxx\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/scsi_host/host1/model_desc = QLogic 32Gb 2-port FC HBA\\n
sys/class/fc_host/host1/port_name = 0x21000024ff8af5c1\\n
sys/class/fc_host/host1/node_name = 0x20000024ff8af5c1\\n
sys/class/fc_host/host1/port_state = Linkdown\\n
sys/class/fc_remote_ports/rport-1:0-7/port_name = 0x2080143004b0e459\\n
sys/class/fc_remote_ports/rport-1:0-7/node_name = 0x2100143004b0e459\\n
sys/class/fc_remote_ports/rport-1:0-7/port_state = Blocked\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/state = blocked\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/type = 0\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/dh_state = rdac\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb/dev = 8:16\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb/sdb1/dev = 8:17\\n
sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb/size = nonsense\\n
sys/class/block/sdb1 -> ../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb/sdb1
sys/dev/block/8:16 -> ../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb
sys/dev/block/8:17 -> ../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb/sdb1
sys/fs/btrfs/0b0c/devices/sdb1/
sys/class/scsi_device/2:0:9:0 -> ../../devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/port-2:0/expander-2:0/port-2:0:4/end_device-2:0:4/target2:0:9/2:0:9:0/scsi_device/2:0:9:0
sys/class/scsi_host/host2 -> ../../devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/scsi_host/host2
sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/scsi_host/host2/proc_name = mpt3sas\\n
sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/scsi_host/host2/host_sas_address = 0x500605b00cf52f20\\n
sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/scsi_host/host2/board_name = SAS9300-8e\\n
sys/class/sas_host/host2/
sys/class/sas_device/end_device-2:0:4/sas_address = 0x500000e01947e132\\n
sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0/host2/port-2:0/expander-2:0/port-2:0:4/end_device-2:0:4/target2:0:9/2:0:9:0/type = 13\\n
sys/class/scsi_device/4:0:0:1 -> ../../devices/pci0000:00/0000:00:04.0/host4/session1/target4:0:0/4:0:0:1/scsi_device/4:0:0:1
sys/class/scsi_host/host4/proc_name = bnx2i\\n
sys/class/iscsi_host/host4/initiatorname = (null)\\n
sys/class/iscsi_host/host4/port_state = LINK UP\\n
sys/class/iscsi_session/session1/initiatorname = iqn.1994-05.com.redhat:a\\n
sys/class/iscsi_session/session1/ifacename = bnx2i.00:10:18:5a:00:01\\n
sys/class/iscsi_session/session1/targetname = iqn.2001-05.com.equallogic:0-8a0906\\n
sys/class/iscsi_session/session1/tpgt = 1\\n
sys/class/iscsi_session/session1/state = FAILED\\n
sys/class/iscsi_connection/connection1:0/persistent_address = fe80::1\\n
sys/class/iscsi_connection/connection1:0/persistent_port = 3260\\n
sys/devices/pci0000:00/0000:00:04.0/host4/session1/target4:0:0/4:0:0:1/block/sdc/dev = 8:32\\n
sys/class/scsi_device/not-an-address -> ../..
sys/class/scsi_device/9:0:0:0 -> ../../devices/vanished
run/udev/control =
run/udev/data/b8:16 = I:1\\n
run/udev/data/b8:32 = E:ID_SERIAL=x\\n
";

#[test]
fn facts_are_read_as_the_drivers_expose_them() {
    let root = unpack(DRIVERS);
    let sysfs = Sysfs::new(root.path());
    let listed: Vec<String> = sysfs
        .list_paths()
        .unwrap()
        .iter()
        .map(Hctl::to_string)
        .collect();
    assert_eq!(listed, ["1:0:3:5", "2:0:9:0", "4:0:0:1", "9:0:0:0"]);
    let mut survey = Survey::new(sysfs);

    let fc = survey.read(hctl("1:0:3:5")).unwrap().unwrap();
    assert_eq!(fc.transport, Transport::Fc);
    assert_eq!(fc.adapter.key, "fc:21000024ff8af5c1");
    assert_eq!(
        fc.adapter.identifier,
        "fc.20000024ff8af5c1:21000024ff8af5c1"
    );
    assert_eq!(fc.adapter.link_state, "link-down");
    assert_eq!(
        fc.adapter.description,
        "(0000:3b:00.1) QLogic 32Gb 2-port FC HBA"
    );
    assert_eq!(fc.target.identifier, "fc.2100143004b0e459:2080143004b0e459");
    assert_eq!(
        fc.target.details,
        "WWNN: 21:00:14:30:04:b0:e4:59 WWPN: 20:80:14:30:04:b0:e4:59"
    );
    assert_eq!(fc.target.port_state.as_deref(), Some("Blocked"));
    assert_eq!(fc.device_state, "blocked");
    assert_eq!(fc.handler, Handler::Attached("rdac".to_owned()));
    assert_eq!(fc.sg, None);
    // An invalid attribute affects only that fact.
    let block = fc.block.unwrap();
    assert_eq!((block.name.as_str(), block.size), ("sdb", Sectors(0)));
    let held = Usage::Held {
        device: "sdb1".to_owned(),
        by: "btrfs (0b0c)".to_owned(),
    };
    assert_eq!(block.usage, [held]);

    let sas = survey.read(hctl("2:0:9:0")).unwrap().unwrap();
    assert_eq!(sas.transport, Transport::Sas);
    assert_eq!(sas.adapter.key, "pci:0000:05:00.0,0");
    assert_eq!(sas.adapter.identifier, "sas.500605b00cf52f20");
    assert_eq!(sas.adapter.description, "(0000:05:00.0) SAS9300-8e");
    assert_eq!(sas.target.identifier, "sas.500000e01947e132");
    assert_eq!(sas.target.details, "500000e01947e132");
    assert_eq!((sas.device_type, sas.block), (13, None));
    assert_eq!(sas.handler, Handler::Unsupported);

    let iscsi = survey.read(hctl("4:0:0:1")).unwrap().unwrap();
    assert_eq!(iscsi.transport, Transport::Iscsi);
    assert_eq!(
        iscsi.adapter.key,
        "iscsi:iqn.1994-05.com.redhat:a,bnx2i.00:10:18:5a:00:01"
    );
    assert_eq!(iscsi.adapter.link_state, "link-up");
    assert_eq!(
        iscsi.target.identifier,
        "iqn.2001-05.com.equallogic:0-8a0906,t,1"
    );
    assert_eq!(iscsi.target.portal.as_deref(), Some("[fe80::1]:3260"));
    assert_eq!(iscsi.target.port_state.as_deref(), Some("FAILED"));
    assert_eq!(iscsi.device_type, 0x1f);
    // udev has a record of the disk, but is not done with it.
    assert_eq!(iscsi.block, None);

    assert_eq!(survey.read(hctl("9:0:0:0")), Ok(None));
}

#[test]
fn without_udev_disks_are_told_at_once() {
    let root = unpack(DRIVERS);
    fs::remove_file(root.path().join("run/udev/control")).unwrap();
    let facts = Survey::new(Sysfs::new(root.path()))
        .read(hctl("4:0:0:1"))
        .unwrap();
    let block = facts.unwrap().block.unwrap();
    assert_eq!(
        (block.name.as_str(), block.dev),
        (
            "sdc",
            DevT {
                major: 8,
                minor: 32
            }
        )
    );
}

#[test]
fn changes_of_mounts_lead_to_their_paths() {
    let root = unpack(DRIVERS);
    let mut survey = Survey::new(Sysfs::new(root.path()));
    let path = BTreeSet::from([hctl("1:0:3:5")]);
    // The member of btrfs.
    assert_eq!(survey.usage_changes(), path);
    assert_eq!(survey.usage_changes(), BTreeSet::new());
    let proc = root.path().join("proc/self");
    fs::create_dir_all(&proc).unwrap();
    let mounted =
        "30 1 8:17 / /data rw - ext4 /dev/sdb1 rw\n31 1 253:0 / /x rw - ext4 /dev/dm-0 rw\n";
    fs::write(proc.join("mountinfo"), mounted).unwrap();
    assert_eq!(survey.usage_changes(), path);
    assert_eq!(survey.usage_changes(), BTreeSet::new());
    fs::write(proc.join("mountinfo"), "").unwrap();
    assert_eq!(survey.usage_changes(), path);
}

#[test]
fn what_does_not_change_is_read_once_in_the_life_of_a_disk() {
    let root = unpack(DRIVERS);
    let mut survey = Survey::new(Sysfs::new(root.path()));
    let path = hctl("1:0:3:5");
    let disk = "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/host1/rport-1:0-7/target1:0:3/1:0:3:5/block/sdb";
    let limit = root.path().join(disk).join("queue/max_hw_sectors_kb");
    fs::create_dir_all(limit.parent().unwrap()).unwrap();
    let mut read = |text: &str, forget: bool| {
        fs::write(&limit, text).unwrap();
        if forget {
            survey.forget(path);
        }
        survey.begin();
        survey
            .read(path)
            .unwrap()
            .unwrap()
            .block
            .unwrap()
            .max_io_bytes
    };
    assert_eq!(read("512\n", false), 524_288);
    assert_eq!(read("1024\n", false), 524_288);
    assert_eq!(read("1024\n", true), 1_048_576);
}
