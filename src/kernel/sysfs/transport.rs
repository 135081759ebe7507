//! The HBA and the target port of a path, from the transport classes of sysfs.
//!
//! | transport | host | target port |
//! |---|---|---|
//! | FC, FCoE | `class/fc_host/hostN` | `class/fc_remote_ports/rport-H:C-n` |
//! | iSCSI | `class/iscsi_host/hostN` | `class/iscsi_session/sessionS`, `class/iscsi_connection/connectionS:0` |
//! | SAS | `class/sas_host/hostN`, `class/sas_phy/phy-N:0` | `class/sas_device/end_device-N:P` |
//! | ATA, USB | names in the device path | none |
//! | tcm_loop | `config/target/loopback/WWN/tpgt_T/address` | the same |
//!
//! Only attributes that the transport class or the driver answers from memory are read: never `statistics`, and
//! nothing that sends a frame.

use super::{Device, Survey, Sysfs, names_in, names_of, numbered, text_of};
use crate::psa::adapter::{AdapterFacts, TargetFacts, Transport};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// What the paths below one SCSI host share.
#[derive(Debug, Clone)]
pub(super) struct Host {
    transport: Transport,
    adapter: AdapterFacts,
}

/// Host, channel and target number.
pub(super) type TargetKey = (u32, u32, u32);

/// What the paths to one target port share.
pub(super) type Target = TargetFacts;

/// WWN and target portal group of tcm_loop's ports, by the numbers of host and target.
pub(super) type TcmLoop = BTreeMap<(u32, u32), (String, u32)>;

const TCM_LOOP: &str = "tcm_loopback";

/// How a path is attached, and through which HBA.
pub(super) fn adapter(survey: &mut Survey, device: &Device) -> (Transport, AdapterFacts) {
    let number = device.hctl.host;
    let host = match survey.batch.hosts.get(&number) {
        Some(host) => host.clone(),
        None => {
            let host = read_host(survey, device);
            survey.batch.hosts.insert(number, host.clone());
            host
        }
    };
    (host.transport, host.adapter)
}

/// The target port of a path.
pub(super) fn target(survey: &mut Survey, device: &Device) -> TargetFacts {
    let key = (device.hctl.host, device.hctl.channel, device.hctl.target);
    if let Some(target) = survey.batch.targets.get(&key) {
        return target.clone();
    }
    let target = read_target(survey, device);
    survey.batch.targets.insert(key, target.clone());
    target
}

fn read_host(survey: &mut Survey, device: &Device) -> Host {
    let n = device.hctl.host;
    let sysfs = survey.sysfs.clone();
    let scsi_host = sysfs.sys(&format!("class/scsi_host/host{n}"));
    let driver = text_of(&scsi_host.join("proc_name"))
        .filter(|name| is_given(name))
        .unwrap_or_else(|| "unknown".to_owned());
    let transport = match tcm_loop_port(survey, device, &driver) {
        Some((wwn, _)) => emulated_transport(&wwn),
        None => transport(&sysfs, device, &driver),
    };
    let pci = device.above_host().iter().rev().find(|name| is_pci(name));
    let fc = sysfs.sys(&format!("class/fc_host/host{n}"));
    let mut link_state = "link-n/a";
    let mut identifier = None;
    let key = match transport {
        Transport::Fc | Transport::Fcoe if fc.exists() => {
            link_state = match text_of(&fc.join("port_state")).as_deref() {
                Some("Online") => "link-up",
                Some("Linkdown" | "Offline") => "link-down",
                _ => link_state,
            };
            identifier = port_identifier(transport, &fc);
            hex(text_of(&fc.join("port_name"))).map(|port| format!("fc:{port}"))
        }
        Transport::Iscsi if is_in(device, "session") => {
            let iscsi = sysfs.sys(&format!("class/iscsi_host/host{n}"));
            link_state = match text_of(&iscsi.join("port_state")).as_deref() {
                Some("LINK UP") => "link-up",
                Some("LINK DOWN") => "link-down",
                _ => link_state,
            };
            iscsi_key(&sysfs, device, &iscsi).map(|(initiator, interface)| {
                identifier = Some(initiator.clone());
                format!("iscsi:{initiator},{interface}")
            })
        }
        Transport::Sas => {
            let address = text_of(&scsi_host.join("host_sas_address"))
                .or_else(|| text_of(&sysfs.sys(&format!("class/sas_phy/phy-{n}:0/sas_address"))));
            identifier = hex(address).map(|address| format!("sas.{address}"));
            None
        }
        Transport::Usb => pci.zip(usb_port(device)).map(|(pci, port)| {
            // The bus number changes between boots, the port does not.
            format!("usb:{pci},{port}")
        }),
        _ => None,
    };
    let key = key
        .or_else(|| {
            let (wwn, _) = tcm_loop_port(survey, device, &driver)?;
            identifier = Some(emulated_identifier(&wwn));
            Some(format!("tcm_loop:{wwn}"))
        })
        .or_else(|| {
            let place = pci.cloned()?;
            let ordinal = ordinal(survey, n);
            Some(format!("pci:{place},{ordinal}"))
        })
        .unwrap_or_else(|| place_key(device, &driver));
    let description = describe(&sysfs, device, &scsi_host, &fc, pci, &driver);
    Host {
        transport,
        adapter: AdapterFacts {
            identifier: identifier.unwrap_or_else(|| format!("{driver}.{key}")),
            key,
            driver,
            link_state: link_state.to_owned(),
            description,
        },
    }
}

/// Which transport it is: by the transport class of the host, else by the device path, else by the driver.
fn transport(sysfs: &Sysfs, device: &Device, driver: &str) -> Transport {
    let n = device.hctl.host;
    let has = |class: &str| sysfs.sys(&format!("class/{class}/host{n}")).exists();
    let above = |prefix: &str| {
        device
            .above_host()
            .iter()
            .any(|name| numbered(name, prefix).is_some())
    };
    if has("fc_host") {
        // An FCoE controller (`fcoe_ctlr_device`) stands between network interface and host.
        let fcoe = above("ctlr_") || matches!(driver, "fcoe" | "bnx2fc" | "qedf");
        return if fcoe { Transport::Fcoe } else { Transport::Fc };
    }
    if has("iscsi_host") {
        return Transport::Iscsi;
    }
    if has("sas_host") {
        return Transport::Sas;
    }
    if let Some(port) = device
        .above_host()
        .iter()
        .find_map(|name| numbered(name, "ata"))
    {
        return ata(sysfs, port, driver);
    }
    if above("usb") {
        return Transport::Usb;
    }
    if has("spi_host") {
        return Transport::Parallel;
    }
    let place = |name: &String| {
        is_pci(name) || numbered(name, "virtio").is_some() || name.starts_with("VMBUS")
    };
    if device.above_host().iter().any(place) {
        Transport::Block
    } else {
        Transport::Unknown
    }
}

/// libata drives both kinds; only a SATA link has a speed (`ata_link` class, `sata_spd_limit` is `<unknown>` for
/// parallel ports).
fn ata(sysfs: &Sysfs, port: u32, driver: &str) -> Transport {
    let limit = sysfs.sys(&format!("class/ata_link/link{port}/hw_sata_spd_limit"));
    let parallel = match text_of(&limit) {
        Some(limit) => !limit.contains("Gbps"),
        None => driver.starts_with("pata_"),
    };
    if driver.starts_with("pata_") || (driver == "ata_piix" && parallel) {
        Transport::Ide
    } else {
        Transport::Sata
    }
}

fn read_target(survey: &mut Survey, device: &Device) -> TargetFacts {
    let sysfs = survey.sysfs.clone();
    let below = |prefix: &str| {
        device
            .below_host()
            .iter()
            .find(|name| name.starts_with(prefix))
    };
    if let Some(rport) = below("rport-")
        && let Some(target) = fc_target(survey, device, rport)
    {
        return target;
    }
    if let Some(session) = below("session").and_then(|name| numbered(name, "session"))
        && let Some(target) = iscsi_target(&sysfs, session)
    {
        return target;
    }
    if let Some(end) = below("end_device-") {
        let address = sysfs.sys(&format!("class/sas_device/{end}/sas_address"));
        if let Some(address) = hex(text_of(&address)) {
            return nameless(format!("sas.{address}"), address);
        }
    }
    let driver = adapter(survey, device).1.driver;
    if let Some((wwn, portal_group)) = tcm_loop_port(survey, device, &driver) {
        return nameless(
            format!("{},t,{portal_group}", emulated_identifier(&wwn)),
            format!("{wwn},t,0x{portal_group:04x}"),
        );
    }
    let address = format!("{}:{}", device.hctl.channel, device.hctl.target);
    nameless(format!("{driver}.{address}"), String::new())
}

/// A target port without a state of its own.
fn nameless(identifier: String, details: String) -> TargetFacts {
    TargetFacts {
        identifier,
        details,
        portal: None,
        port_state: None,
    }
}

/// `scsi_transport_fc`: the remote port.
fn fc_target(survey: &mut Survey, device: &Device, rport: &str) -> Option<TargetFacts> {
    let (transport, _) = adapter(survey, device);
    let port = survey.sysfs.sys(&format!("class/fc_remote_ports/{rport}"));
    let colons = |name: &str| {
        let node = hex(text_of(&port.join(name))).unwrap_or_default();
        let pairs: Vec<&str> = (0..node.len() / 2)
            .filter_map(|i| node.get(2 * i..2 * i + 2))
            .collect();
        pairs.join(":")
    };
    Some(TargetFacts {
        identifier: port_identifier(transport, &port)?,
        details: format!(
            "WWNN: {} WWPN: {}",
            colons("node_name"),
            colons("port_name")
        ),
        portal: None,
        port_state: text_of(&port.join("port_state")),
    })
}

/// `scsi_transport_iscsi`: the session and its leading connection.
fn iscsi_target(sysfs: &Sysfs, session: u32) -> Option<TargetFacts> {
    let dir = sysfs.sys(&format!("class/iscsi_session/session{session}"));
    let get = |name: &str| text_of(&dir.join(name)).filter(|text| is_given(text));
    let name = get("targetname")?;
    let group = get("tpgt").unwrap_or_else(|| "0".to_owned());
    let connection = sysfs.sys(&format!("class/iscsi_connection/connection{session}:0"));
    // The persistent address is the one that was configured; `address` is asked of the socket and lost with it.
    let address = text_of(&connection.join("persistent_address")).filter(|text| is_given(text));
    let port = text_of(&connection.join("persistent_port")).filter(|text| is_given(text));
    let portal = address.zip(port).map(|(address, port)| {
        if address.contains(':') && !address.starts_with('[') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    });
    let isid = get("isid").unwrap_or_else(|| session.to_string());
    Some(TargetFacts {
        identifier: format!("{name},t,{group}"),
        details: format!("IQN={name} Alias= Session={isid} PortalTag={group}"),
        portal,
        port_state: get("state"),
    })
}

/// Initiator name and interface. Offload drivers tell the name with the host, software iSCSI with the session.
fn iscsi_key(sysfs: &Sysfs, device: &Device, iscsi_host: &Path) -> Option<(String, String)> {
    let session = device
        .below_host()
        .iter()
        .find(|name| numbered(name, "session").is_some())?;
    let dir = sysfs.sys(&format!("class/iscsi_session/{session}"));
    let given = |path: &Path| text_of(path).filter(|text| is_given(text));
    let initiator =
        given(&dir.join("initiatorname")).or_else(|| given(&iscsi_host.join("initiatorname")))?;
    let interface = given(&dir.join("ifacename")).unwrap_or_else(|| "default".to_owned());
    Some((initiator, interface))
}

/// `fc.WWNN:WWPN`, from the attributes of a host or remote port.
fn port_identifier(transport: Transport, dir: &Path) -> Option<String> {
    let node = hex(text_of(&dir.join("node_name")))?;
    let port = hex(text_of(&dir.join("port_name")))?;
    Some(format!("{}.{node}:{port}", transport.as_str()))
}

/// tcm_loop's ports by host and target number, from the target's own configuration: sysfs tells only the ordinal
/// of the adapter since the module was loaded.
fn tcm_loop_port(survey: &mut Survey, device: &Device, driver: &str) -> Option<(String, u32)> {
    if driver != TCM_LOOP {
        return None;
    }
    let sysfs = &survey.sysfs;
    let ports = survey
        .batch
        .tcm_loop
        .get_or_insert_with(|| read_tcm_loop(sysfs));
    let key = (device.hctl.host, device.hctl.target);
    let any_of_host = || ports.range((key.0, 0)..=(key.0, u32::MAX)).next();
    match ports.get(&key) {
        Some(port) => Some(port.clone()),
        None => any_of_host().map(|(_, port)| port.clone()),
    }
}

/// `address` (`tcm_loop_wwn_address_show`) is `host:channel:target`.
fn read_tcm_loop(sysfs: &Sysfs) -> TcmLoop {
    let mut ports = TcmLoop::new();
    let fabric = sysfs.sys("kernel/config/target/loopback");
    for wwn in names_in(&fabric) {
        let groups = names_in(&fabric.join(&wwn));
        for (name, group) in groups
            .iter()
            .filter_map(|name| Some((name, numbered(name, "tpgt_")?)))
        {
            let address = text_of(&fabric.join(&wwn).join(name).join("address"));
            let numbers: Vec<u32> = address
                .iter()
                .flat_map(|text| text.split(':'))
                .filter_map(|text| text.parse().ok())
                .collect();
            if let [host, _channel, target] = numbers[..] {
                ports.insert((host, target), (wwn.clone(), group));
            }
        }
    }
    ports
}

/// tcm_loop emulates the protocol that the form of its name tells; SAS is its default too.
fn emulated_transport(wwn: &str) -> Transport {
    if wwn.starts_with("fc.") {
        Transport::Fc
    } else if wwn.starts_with("iqn.") {
        Transport::Iscsi
    } else {
        Transport::Sas
    }
}

/// `sas.5001...` of `naa.5001...`; other names carry their form already.
fn emulated_identifier(wwn: &str) -> String {
    match wwn.strip_prefix("naa.") {
        Some(address) => format!("sas.{address}"),
        None => wwn.to_owned(),
    }
}

/// Which of the SCSI hosts below its PCI function a host is, from 0 in the order of host numbers: they are given
/// out in the order in which the driver finds its ports.
fn ordinal(survey: &mut Survey, host: u32) -> u32 {
    let sysfs = &survey.sysfs;
    let ordinals = survey
        .batch
        .ordinals
        .get_or_insert_with(|| read_ordinals(sysfs));
    ordinals.get(&host).copied().unwrap_or(0)
}

fn read_ordinals(sysfs: &Sysfs) -> HashMap<u32, u32> {
    let class = sysfs.sys("class/scsi_host");
    let mut below: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for name in names_in(&class) {
        let Some(host) = numbered(&name, "host") else {
            continue;
        };
        let Ok(link) = fs::read_link(class.join(&name)) else {
            continue;
        };
        let names = names_of(&link.to_string_lossy());
        if let Some(pci) = names.iter().rev().find(|name| is_pci(name)) {
            below.entry(pci.clone()).or_default().push(host);
        }
    }
    let mut ordinals = HashMap::new();
    for mut hosts in below.into_values() {
        hosts.sort_unstable();
        ordinals.extend(hosts.into_iter().zip(0..));
    }
    ordinals
}

/// The key of a host that is below no PCI function: the name of the device that it hangs on (`adapter0` of
/// scsi_debug, a GUID on VMBus), which none of those buses derives from the host number.
fn place_key(device: &Device, driver: &str) -> String {
    let above = device.above_host();
    // virtio numbers its devices in the order of discovery; the transport below it has an address.
    let place = above
        .iter()
        .rev()
        .find(|name| numbered(name, "virtio").is_none());
    let place = place.map_or("", String::as_str);
    format!("{driver}:{place}")
}

/// One line for a person: `(0000:3b:00.0) QLogic Corp. ISP2722 ...`.
fn describe(
    sysfs: &Sysfs,
    device: &Device,
    scsi_host: &Path,
    fc: &Path,
    pci: Option<&String>,
    driver: &str,
) -> String {
    let attribute = |name: &str| text_of(&scsi_host.join(name)).filter(|text| is_given(text));
    let name = ["model_desc", "modeldesc", "board_name"]
        .into_iter()
        .find_map(attribute)
        .or_else(|| pci.and_then(|pci| hardware_name(sysfs, pci)))
        .or_else(|| text_of(&fc.join("symbolic_name")).filter(|text| is_given(text)))
        .unwrap_or_else(|| driver.to_owned());
    match pci.or_else(|| device.above_host().last()) {
        Some(place) => format!("({place}) {name}"),
        None => name,
    }
}

/// Vendor and model as udev's hardware database knows them.
fn hardware_name(sysfs: &Sysfs, pci: &str) -> Option<String> {
    let record = sysfs.udev_record(&format!("+pci:{pci}"))?;
    let property = |name: &str| {
        record.lines().find_map(|line| {
            line.strip_prefix("E:")?
                .strip_prefix(name)?
                .strip_prefix('=')
        })
    };
    let model = property("ID_MODEL_FROM_DATABASE")?;
    Some(match property("ID_VENDOR_FROM_DATABASE") {
        Some(vendor) => format!("{vendor} {model}"),
        None => model.to_owned(),
    })
}

/// The port path of a USB interface: `2.1:1.0` of `1-2.1:1.0`.
fn usb_port(device: &Device) -> Option<&str> {
    let interface = device
        .above_host()
        .iter()
        .rev()
        .find(|name| name.contains(':') && !is_pci(name))?;
    Some(interface.split_once('-')?.1)
}

fn is_in(device: &Device, prefix: &str) -> bool {
    device
        .below_host()
        .iter()
        .any(|name| numbered(name, prefix).is_some())
}

/// `0000:3b:00.0`: domain (four hexadecimal digits or more), bus, device, function.
fn is_pci(name: &str) -> bool {
    let is_hex = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let mut fields = name.split([':', '.']);
    let good = fields.next().is_some_and(|text| is_hex(text, 4, 8))
        && fields.next().is_some_and(|text| is_hex(text, 2, 2))
        && fields.next().is_some_and(|text| is_hex(text, 2, 2))
        && fields.next().is_some_and(|text| is_hex(text, 1, 1));
    good && fields.next().is_none() && name.ends_with(|c: char| c.is_ascii_hexdigit())
}

/// Whether a text of the iSCSI class or of a driver says anything.
fn is_given(text: &str) -> bool {
    !matches!(text, "" | "(null)" | "<NULL>" | "<null>" | "unknown")
}

/// The digits of `0x5000...`; `None` for no or a void name.
fn hex(text: Option<String>) -> Option<String> {
    let text = text?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    (good && digits.bytes().any(|b| b != b'0')).then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_told_from_other_names() {
        for name in ["0000:3b:00.0", "10000:e1:00.1"] {
            assert!(is_pci(name), "{name}");
        }
        for name in [
            "pci0000:00",
            "1-2:1.0",
            "7:0:0:0",
            "0000:3b:00",
            "0000.3b:00.0.1",
            "",
        ] {
            assert!(!is_pci(name), "{name}");
        }
    }

    #[test]
    fn world_wide_names_lose_their_prefix() {
        let hex = |text: &str| hex(Some(text.to_owned()));
        assert_eq!(
            hex("0x21000024FF8AF5C0").as_deref(),
            Some("21000024ff8af5c0")
        );
        assert_eq!(hex("500140500000000a").as_deref(), Some("500140500000000a"));
        assert_eq!(hex("0x0"), None);
        assert_eq!(hex("<not available>"), None);
    }

    #[test]
    fn names_of_tcm_loop_become_identifiers() {
        assert_eq!(
            emulated_identifier("naa.5001405000000001"),
            "sas.5001405000000001"
        );
        assert_eq!(
            emulated_identifier("iqn.2026-01.lab:t1"),
            "iqn.2026-01.lab:t1"
        );
    }
}
