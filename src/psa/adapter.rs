//! Host bus adapters and target ports, as the adapters of the agent report them.

use crate::psa::units::FormError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a path reaches its logical unit, named as in ESXi (`claimrule add --transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Fibre Channel.
    Fc,
    /// Fibre Channel over Ethernet.
    Fcoe,
    /// iSCSI, software or offloaded.
    Iscsi,
    /// iSCSI by a vendor's own driver. ESXi's word, accepted in rules; on Linux no path is classified so.
    IscsiVendor,
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
    /// The transport could not be determined.
    Unknown,
}

impl Transport {
    /// ESXi's word for the transport.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Fc => "fc",
            Transport::Fcoe => "fcoe",
            Transport::Iscsi => "iscsi",
            Transport::IscsiVendor => "iscsivendor",
            Transport::Sas => "sas",
            Transport::Sata => "sata",
            Transport::Ide => "ide",
            Transport::Usb => "usb",
            Transport::Parallel => "parallel",
            Transport::Block => "block",
            Transport::Unknown => "unknown",
        }
    }

    /// The transport of this name; case does not matter.
    ///
    /// # Errors
    /// A message that lists the valid names, if no transport has this name.
    pub fn by_name(name: &str) -> Result<Transport, String> {
        Transport::ALL
            .iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(name))
            .copied()
            .ok_or_else(|| {
                let names: Vec<&str> = Transport::ALL.iter().map(|t| t.as_str()).collect();
                format!(
                    "there is no transport `{name}`: use one of {}",
                    names.join(", ")
                )
            })
    }

    /// All transports.
    pub const ALL: &[Transport] = &[
        Transport::Block,
        Transport::Fc,
        Transport::Fcoe,
        Transport::Iscsi,
        Transport::IscsiVendor,
        Transport::Ide,
        Transport::Sas,
        Transport::Sata,
        Transport::Usb,
        Transport::Parallel,
        Transport::Unknown,
    ];

    /// Whether devices behind this transport are shared by design, so that even a single path is worth a map.
    #[must_use]
    pub fn is_san(self) -> bool {
        matches!(
            self,
            Transport::Fc | Transport::Fcoe | Transport::Iscsi | Transport::IscsiVendor
        )
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
    /// One line for the user: PCI address and the kernel's name for the HBA.
    pub description: String,
}

/// What is known of the target port at the far end of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// ESXi's target identifier: `fc.WWNN:WWPN`, `IQN,t,TPGT`, `sas.ADDRESS`, or `DRIVER.C:T` where there is no name.
    pub identifier: String,
    /// `Target Transport Details` of `core path list`.
    pub details: String,
    /// Address and port of the portal that an iSCSI session is logged in to, `10.0.0.1:3260` or `[fe80::1]:3260`. It
    /// distinguishes two sessions to the same portal group. `None` on other transports.
    pub portal: Option<String>,
    /// State of the transport to this port as the transport names it: FC `port_state` (`Online`, `Blocked`,
    /// `Not Present`, ...), iSCSI session state (`LOGGED_IN`, `FAILED`, `FREE`); `None` on other transports.
    pub port_state: Option<String>,
}

/// The runtime name of a path: `vmhbaN:C:T:L`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuntimeName {
    /// `N` of `vmhbaN`.
    pub adapter: u32,
    /// Channel.
    pub channel: u32,
    /// Target.
    pub target: u32,
    /// LUN.
    pub lun: u64,
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vmhba{}:C{}:T{}:L{}",
            self.adapter, self.channel, self.target, self.lun
        )
    }
}

impl FromStr for RuntimeName {
    type Err = FormError;

    fn from_str(text: &str) -> Result<RuntimeName, FormError> {
        fn number<T: FromStr>(part: Option<&str>) -> Option<T> {
            part.and_then(|part| part.parse().ok())
        }
        let name = || {
            let mut parts = text.strip_prefix("vmhba")?.split(':');
            let mut part = |prefix: &str| parts.next().and_then(|part| part.strip_prefix(prefix));
            let name = RuntimeName {
                adapter: number(part(""))?,
                channel: number(part("C"))?,
                target: number(part("T"))?,
                lun: number(part("L"))?,
            };
            parts.next().is_none().then_some(name)
        };
        name().ok_or_else(|| FormError {
            text: text.to_owned(),
            form: "vmhbaN:C:T:L",
        })
    }
}
