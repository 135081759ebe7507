//! A SCSI device in the device tree.

use super::tree::{Sysfs, attribute, names_of};
use crate::psa::units::Hctl;
use std::fs;
use std::path::PathBuf;

/// The directory of a target port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// `/sys/class/fc_remote_ports/rport-H:C-N`
    Remote(PathBuf),
    /// `/sys/class/iscsi_session/sessionN`
    Session(PathBuf),
}

/// A SCSI device in the device tree.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) hctl: Hctl,
    /// Its directory.
    pub(super) dir: PathBuf,
    /// The names from `/sys/devices` down to the device itself.
    pub(super) names: Vec<String>,
    /// Index of `hostN` in `names`.
    pub(super) host: usize,
}

impl Device {
    pub(super) fn find(sysfs: &Sysfs, hctl: Hctl) -> Option<Device> {
        // The class link is the shortest way to the device, and is the first to vanish when it is removed:
        // ../../devices/platform/host7/session1/target7:0:0/7:0:0:1/scsi_device/7:0:0:1
        let link = fs::read_link(sysfs.sys(&format!("class/scsi_device/{hctl}"))).ok()?;
        let names: Vec<String> = names_of(&link.parent()?.parent()?.to_string_lossy());
        let host = names
            .iter()
            .position(|name| *name == format!("host{}", hctl.host))?;
        let dir = sysfs.sys("devices").join(names.join("/"));
        Some(Device {
            hctl,
            dir,
            names,
            host,
        })
    }

    /// The names above the SCSI host: bus, function, port.
    pub(super) fn above_host(&self) -> &[String] {
        self.names.get(..self.host).unwrap_or_default()
    }

    /// The names between the SCSI host and the device: remote port, session, end device, target.
    pub(super) fn below_host(&self) -> &[String] {
        self.names.get(self.host + 1..).unwrap_or_default()
    }

    /// The first of the names below the host that begins with `prefix`: `rport-7:0-2`, `session1`.
    pub(super) fn below(&self, prefix: &str) -> Option<&str> {
        let mut names = self.below_host().iter();
        names
            .find(|name| name.starts_with(prefix))
            .map(String::as_str)
    }

    /// An attribute of the device.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.dir.join(name))
    }
}

impl Sysfs {
    /// The directory with the timers of a path's target port: a Fibre Channel remote port or an iSCSI session; `None`
    /// for other transports.
    #[must_use]
    pub(crate) fn port_of(&self, path: Hctl) -> Option<Port> {
        let device = Device::find(self, path)?;
        let class = |class: &str, name: &str| self.sys(&format!("class/{class}/{name}"));
        let rport = device
            .below("rport-")
            .map(|name| class("fc_remote_ports", name));
        let session = device
            .below("session")
            .map(|name| class("iscsi_session", name));
        rport.map(Port::Remote).or(session.map(Port::Session))
    }
}
