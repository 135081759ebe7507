//! Finds the HBA of a path, and how the path is attached.
//!
//! | transport | source | key of the adapter |
//! |---|---|---|
//! | FC, FCoE | `class/fc_host/hostN` | `fc:PORT_NAME` |
//! | iSCSI | `class/iscsi_host/hostN` and the session | `iscsi:INITIATOR,INTERFACE` |
//! | SAS | `class/sas_host/hostN` | `pci:FUNCTION,ORDINAL` |
//! | ATA, USB, RAID and para-virtual controllers | names in the device path | `pci:FUNCTION,ORDINAL`, `usb:FUNCTION,PORT` |
//! | tcm_loop | the configuration of the target | `tcm_loop:WWN` |
//! | others | | `DRIVER:PLACE`, as `scsi_debug:adapter0` |
//!
//! Only attributes that the transport class or the driver answers from memory are read: never `statistics`, and no
//! attribute whose read sends a frame.

use super::device::Device;
use super::survey::{Host, Survey};
use super::tcm_loop::tcm_loop_port;
use super::tree::{Sysfs, attribute, given, hex, names_in, names_of, numbered};
use crate::psa::adapter::{AdapterFacts, Transport};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// The names of an adapter.
struct Names {
    key: String,
    identifier: String,
}

/// The transport of a path, and its HBA.
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

fn read_host(survey: &mut Survey, device: &Device) -> Host {
    let n = device.hctl.host;
    let sysfs = survey.sysfs.clone();
    let driver = given(&sysfs.sys(&format!("class/scsi_host/host{n}/proc_name")))
        .unwrap_or_else(|| "unknown".to_owned());
    let pci = device
        .above_host()
        .iter()
        .rev()
        .find(|name| is_pci(name))
        .cloned();
    let emulated = tcm_loop_port(survey, device, &driver).map(|(wwn, _)| wwn);
    let transport = match &emulated {
        Some(wwn) => emulated_transport(wwn),
        None => transport(&sysfs, device, &driver),
    };
    let names = match (transport, emulated) {
        (_, Some(wwn)) => Some(Names {
            key: format!("tcm_loop:{wwn}"),
            identifier: emulated_identifier(&wwn),
        }),
        (Transport::Fc | Transport::Fcoe, None) => fc_names(&sysfs, transport, n),
        (Transport::Iscsi, None) => iscsi_names(&sysfs, device),
        (Transport::Usb, None) => usb_names(device, pci.as_deref(), &driver),
        _ => None,
    };
    let mut names = names.unwrap_or_else(|| place_names(survey, device, pci.as_deref(), &driver));
    if transport == Transport::Sas
        && let Some(address) = sas_address(&sysfs, n)
    {
        names.identifier = format!("sas.{address}");
    }
    Host {
        transport,
        adapter: AdapterFacts {
            key: names.key,
            identifier: names.identifier,
            link_state: link_state(&sysfs, n).to_owned(),
            description: describe(&sysfs, device, pci.as_deref(), &driver),
            driver,
        },
    }
}

/// `scsi_transport_fc`: node and port name, which are globally unique.
fn fc_names(sysfs: &Sysfs, transport: Transport, host: u32) -> Option<Names> {
    let dir = sysfs.sys(&format!("class/fc_host/host{host}"));
    let port = hex(attribute(&dir.join("port_name")))?;
    Some(Names {
        key: format!("fc:{port}"),
        identifier: port_identifier(transport, &dir)?,
    })
}

/// `scsi_transport_iscsi`: initiator name and interface. Offload drivers have the initiator name in the host, software
/// iSCSI has it in the session. Software iSCSI has a SCSI host for each session, and all of them are one adapter.
fn iscsi_names(sysfs: &Sysfs, device: &Device) -> Option<Names> {
    let session = device.below("session")?;
    let session = sysfs.sys(&format!("class/iscsi_session/{session}"));
    let host = sysfs.sys(&format!("class/iscsi_host/host{}", device.hctl.host));
    let initiator =
        given(&session.join("initiatorname")).or_else(|| given(&host.join("initiatorname")))?;
    let interface = given(&session.join("ifacename")).unwrap_or_else(|| "default".to_owned());
    Some(Names {
        key: format!("iscsi:{initiator},{interface}"),
        identifier: initiator,
    })
}

/// A USB adapter is named by the port that the device is plugged into: the number of the bus changes between boots, the
/// port does not.
fn usb_names(device: &Device, pci: Option<&str>, driver: &str) -> Option<Names> {
    // 2.1:1.0 of the interface 1-2.1:1.0
    let interface = device
        .above_host()
        .iter()
        .rev()
        .find(|name| name.contains(':') && !is_pci(name))?;
    let (_bus, port) = interface.split_once('-')?;
    let place = format!("{},{port}", pci.unwrap_or("platform"));
    Some(Names {
        identifier: format!("{driver}.{place}"),
        key: format!("usb:{place}"),
    })
}

/// Names a host that has no name of its own by its place. This is the PCI function and the ordinal below it. Without a
/// PCI function it is the device that the host hangs on (`adapter0` of scsi_debug, a GUID on VMBus), whose name does
/// not depend on the host number.
fn place_names(survey: &mut Survey, device: &Device, pci: Option<&str>, driver: &str) -> Names {
    match pci {
        Some(pci) => {
            let place = format!("{pci},{}", ordinal(survey, device.hctl.host));
            Names {
                identifier: format!("{driver}.{place}"),
                key: format!("pci:{place}"),
            }
        }
        None => {
            // virtio numbers its devices in the order of discovery; the device above has an address.
            let mut above = device.above_host().iter().rev();
            let place = above.find(|name| numbered(name, "virtio").is_none());
            let place = place.map_or("", String::as_str);
            Names {
                identifier: format!("{driver}.{place}"),
                key: format!("{driver}:{place}"),
            }
        }
    }
}

/// The address of a SAS HBA: the driver's if it has one, otherwise that of the first phy (`scsi_transport_sas`).
fn sas_address(sysfs: &Sysfs, host: u32) -> Option<String> {
    let sas_address = sysfs.sys(&format!("class/scsi_host/host{host}/host_sas_address"));
    let phy = sysfs.sys(&format!("class/sas_phy/phy-{host}:0/sas_address"));
    hex(attribute(&sas_address)).or_else(|| hex(attribute(&phy)))
}

/// The state of the HBA's port, if its transport class has one.
fn link_state(sysfs: &Sysfs, host: u32) -> &'static str {
    let state =
        |class: &str| attribute(&sysfs.sys(&format!("class/{class}/host{host}/port_state")));
    match state("fc_host").or_else(|| state("iscsi_host")).as_deref() {
        Some("Online" | "LINK UP") => "link-up",
        Some("Linkdown" | "Offline" | "LINK DOWN") => "link-down",
        _ => "link-n/a",
    }
}

/// The transport: by the transport class of the host, else by the device path, else by the driver.
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
        // An FCoE controller (`fcoe_ctlr_device`) is between network interface and host.
        let fcoe = above("ctlr_") || matches!(driver, "fcoe" | "bnx2fc" | "qedf");
        return if fcoe { Transport::Fcoe } else { Transport::Fc };
    }
    if has("iscsi_host") {
        return Transport::Iscsi;
    }
    if has("sas_host") {
        return Transport::Sas;
    }
    let mut names = device.above_host().iter();
    if let Some(port) = names.find_map(|name| numbered(name, "ata")) {
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

/// libata drives both kinds. `ata_piix` and `ata_generic` may have either below them; only a SATA link reports a speed
/// (`ata_link` class).
fn ata(sysfs: &Sysfs, port: u32, driver: &str) -> Transport {
    let speed = sysfs.sys(&format!("class/ata_link/link{port}/sata_spd"));
    let serial = || attribute(&speed).is_some_and(|speed| speed.contains("Gbps"));
    let parallel = match driver {
        "ata_piix" | "ata_generic" => !serial(),
        _ => driver.starts_with("pata_"),
    };
    if parallel {
        Transport::Ide
    } else {
        Transport::Sata
    }
}

/// `fc.WWNN:WWPN`, from the attributes of a host or a remote port.
pub(super) fn port_identifier(transport: Transport, dir: &Path) -> Option<String> {
    let node = hex(attribute(&dir.join("node_name")))?;
    let port = hex(attribute(&dir.join("port_name")))?;
    Some(format!("{}.{node}:{port}", transport.as_str()))
}

/// tcm_loop emulates the protocol that the form of its name indicates; its default is SAS.
fn emulated_transport(wwn: &str) -> Transport {
    if wwn.starts_with("fc.") {
        Transport::Fc
    } else if wwn.starts_with("iqn.") {
        Transport::Iscsi
    } else {
        Transport::Sas
    }
}

/// `sas.5001...` for `naa.5001...`; other names already have their form as prefix.
pub(super) fn emulated_identifier(wwn: &str) -> String {
    match wwn.strip_prefix("naa.") {
        Some(address) => format!("sas.{address}"),
        None => wwn.to_owned(),
    }
}

/// The ordinal of a host among the SCSI hosts below its PCI function, from 0 in the order of host numbers. Host numbers
/// are assigned in the order in which the driver finds its ports.
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

/// A human-readable description: `(0000:3b:00.0) QLogic Corp. ISP2722 ...`.
fn describe(sysfs: &Sysfs, device: &Device, pci: Option<&str>, driver: &str) -> String {
    let n = device.hctl.host;
    let scsi = |name: &str| given(&sysfs.sys(&format!("class/scsi_host/host{n}/{name}")));
    let interface = device.below("session").map(|session| {
        let file = sysfs.sys(&format!("class/iscsi_session/{session}/ifacename"));
        let interface = given(&file).unwrap_or_else(|| "default".to_owned());
        format!("iSCSI by {driver}, interface {interface}")
    });
    let name = ["model_desc", "modeldesc", "board_name"]
        .into_iter()
        .find_map(scsi)
        .or_else(|| pci.and_then(|pci| hardware_name(sysfs, pci)))
        .or_else(|| given(&sysfs.sys(&format!("class/fc_host/host{n}/symbolic_name"))))
        .or(interface)
        .unwrap_or_else(|| driver.to_owned());
    match pci {
        Some(pci) => format!("({pci}) {name}"),
        None => name,
    }
}

/// Vendor and model from udev's hardware database.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_distinguished_from_other_names() {
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
