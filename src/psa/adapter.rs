//! Host bus adapters and target ports, as the agent is told of them.

use serde::{Deserialize, Serialize};

/// How a path reaches its logical unit; the words are ESXi's (`claimrule add --transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Fibre Channel.
    Fc,
    /// Fibre Channel over Ethernet.
    Fcoe,
    /// iSCSI, software or offloaded.
    Iscsi,
    /// Serial Attached SCSI (tcm_loop's `naa.` ports present themselves as SAS too).
    Sas,
    /// Serial ATA.
    Sata,
    /// Parallel ATA.
    Ide,
    /// USB storage and UAS.
    Usb,
    /// Parallel SCSI.
    Parallel,
    /// A para-virtual or RAID controller's disk without a SCSI transport class (virtio, pvscsi, megaraid).
    Block,
    /// None of these could be told.
    Unknown,
}

impl Transport {
    /// ESXi's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Fc => "fc",
            Transport::Fcoe => "fcoe",
            Transport::Iscsi => "iscsi",
            Transport::Sas => "sas",
            Transport::Sata => "sata",
            Transport::Ide => "ide",
            Transport::Usb => "usb",
            Transport::Parallel => "parallel",
            Transport::Block => "block",
            Transport::Unknown => "unknown",
        }
    }

    /// Whether a device behind it is shared by design, so that a single path is already worth a map.
    #[must_use]
    pub fn is_san(self) -> bool {
        matches!(self, Transport::Fc | Transport::Fcoe | Transport::Iscsi)
    }
}

/// What is known of the HBA of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// What identifies the HBA across reboots: FC port name, iSCSI initiator and interface, PCI address and port
    /// ordinal; never the host number. All SCSI hosts with the same key are one adapter (software iSCSI has one
    /// host per session).
    pub key: String,
    /// ESXi's adapter identifier: `fc.WWNN:WWPN`, `iqn...`, `sas.ADDRESS`, `DRIVER.KEY`.
    pub identifier: String,
    /// `proc_name` of the SCSI host: `qla2xxx`, `iscsi_tcp`, `tcm_loopback`, `scsi_debug`.
    pub driver: String,
    /// `link-up`, `link-down` or `link-n/a`.
    pub link_state: String,
    /// One line for a person: PCI address and what the kernel calls the HBA.
    pub description: String,
}

/// What is known of the target port at the far end of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// ESXi's target identifier: `fc.WWNN:WWPN`, `IQN,t,TPGT`, `sas.ADDRESS`, or `DRIVER.C:T` where there is no name.
    pub identifier: String,
    /// `Target Transport Details` of `core path list`.
    pub details: String,
    /// Address and port of the portal that an iSCSI session is logged in to, `10.0.0.1:3260` or `[fe80::1]:3260`:
    /// what tells two sessions to one portal group apart. `None` on other transports.
    pub portal: Option<String>,
    /// State of the transport to this port in the transport's own words: FC `port_state` (`Online`, `Blocked`,
    /// `Not Present`, ...), iSCSI session state (`LOGGED_IN`, `FAILED`, `FREE`); `None` where there is none.
    pub port_state: Option<String>,
}
