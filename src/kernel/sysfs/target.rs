//! Finds the target port of a path.
//!
//! | transport | source |
//! |---|---|
//! | FC, FCoE | `class/fc_remote_ports/rport-H:C-n` |
//! | iSCSI | `class/iscsi_session/sessionS`, `class/iscsi_connection/connectionS:0` |
//! | SAS | `class/sas_device/end_device-N:P` |
//! | tcm_loop | `config/target/loopback/WWN/tpgt_T/address` |
//! | others | none: `DRIVER.C:T` |

use super::adapter::{adapter, emulated_identifier, port_identifier};
use super::device::Device;
use super::survey::Survey;
use super::tcm_loop::tcm_loop_port;
use super::tree::{Sysfs, attribute, given, hex, numbered};
use crate::psa::adapter::TargetFacts;

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

fn read_target(survey: &mut Survey, device: &Device) -> TargetFacts {
    let sysfs = survey.sysfs.clone();
    if let Some(rport) = device.below("rport-")
        && let Some(target) = fc_target(survey, device, rport)
    {
        return target;
    }
    if let Some(session) = device.below("session")
        && let Some(target) = iscsi_target(&sysfs, session)
    {
        return target;
    }
    if let Some(end) = device.below("end_device-") {
        let address = sysfs.sys(&format!("class/sas_device/{end}/sas_address"));
        if let Some(address) = hex(attribute(&address)) {
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

/// A target port without portal and state.
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
        let node = hex(attribute(&port.join(name))).unwrap_or_default();
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
        port_state: attribute(&port.join("port_state")),
    })
}

/// `scsi_transport_iscsi`: the session and its leading connection.
fn iscsi_target(sysfs: &Sysfs, session: &str) -> Option<TargetFacts> {
    let dir = sysfs.sys(&format!("class/iscsi_session/{session}"));
    let get = |name: &str| given(&dir.join(name));
    let number = numbered(session, "session")?;
    let name = get("targetname")?;
    let group = get("tpgt").unwrap_or_else(|| "0".to_owned());
    let connection = sysfs.sys(&format!("class/iscsi_connection/connection{number}:0"));
    // The persistent address is the one that was configured; `address` is read from the socket and lost with it.
    let address = given(&connection.join("persistent_address"));
    let port = given(&connection.join("persistent_port"));
    let portal = address.zip(port).map(|(address, port)| {
        if address.contains(':') && !address.starts_with('[') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    });
    let isid = get("isid").unwrap_or_else(|| number.to_string());
    Some(TargetFacts {
        identifier: format!("{name},t,{group}"),
        details: format!("IQN={name} Alias= Session={isid} PortalTag={group}"),
        portal,
        port_state: get("state"),
    })
}
