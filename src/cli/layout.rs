//! Which fields of each record are printed, under which names and in which order.
//!
//! Names and order are those of `esxcli storage` on ESXi 8. Additional fields follow those of ESXi, under names that a
//! script does not mistake for ESXi's: `grep Device:` must not match `Linux Device:`. If Linux does not know a value,
//! the word that ESXi has for this is printed (`unknown`, `false`). A field is left out if there is no such word and
//! any value would be invented: the number of outstanding I/Os with competing worlds, and the eight fields of data
//! integrity (`Protection Enabled` and after), which the agent does not read.

use super::record::{Listing, Record, Style, Value};
use crate::api::types::{
    Adapter, CoreDevice, CorePath, Explanation, FixedConfig, HppDevice, HppPath, NmpDevice,
    NmpPath, RoundRobinConfig, Section, Status,
};

/// A column: its name, and the function that returns its value.
pub type Column<R> = (&'static str, fn(&R) -> Value);

/// How a record is printed.
pub trait Layout: Sized + 'static {
    /// The name of the record's type.
    const KIND: &'static str;
    /// The default style of its listing.
    const STYLE: Style;
    /// The column name of [`Layout::heading`].
    const HEADING: Option<&'static str> = None;
    /// Its columns, in order.
    const COLUMNS: &'static [Column<Self>];

    /// The line above its fields.
    fn heading(&self) -> Option<&str> {
        None
    }
}

/// Builds the listing of some records.
#[must_use]
pub fn listing<R: Layout>(records: &[R]) -> Listing {
    Listing {
        kind: R::KIND,
        style: R::STYLE,
        title: None,
        heading: R::HEADING,
        columns: R::COLUMNS.iter().map(|(name, _)| *name).collect(),
        records: records.iter().map(record).collect(),
    }
}

fn record<R: Layout>(record: &R) -> Record {
    Record {
        heading: record.heading().map(str::to_owned),
        fields: R::COLUMNS
            .iter()
            .map(|(name, value)| (*name, value(record)))
            .collect(),
    }
}

/// Builds the listing of an explanation.
#[must_use]
pub fn explanation(explanation: &Explanation) -> Listing {
    let mut listing = listing(&explanation.sections);
    listing.title = Some(explanation.subject.clone());
    listing.columns.insert(0, "Subject");
    for record in &mut listing.records {
        let subject = Value::from(&explanation.subject);
        record.fields.insert(0, ("Subject", subject));
    }
    listing
}

fn state(word: &str) -> Value {
    Value::State(word.to_owned())
}

impl Layout for NmpDevice {
    const KIND: &'static str = "NmpDevice";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device Display Name", |d| (&d.display_name).into()),
        ("Storage Array Type", |d| (&d.satp).into()),
        ("Storage Array Type Device Config", |d| {
            (&d.satp_device_config).into()
        }),
        ("Path Selection Policy", |d| (&d.psp).into()),
        ("Path Selection Policy Device Config", |d| {
            (&d.psp_device_config).into()
        }),
        ("Path Selection Policy Device Custom Config", |d| {
            (&d.psp_custom_config).into()
        }),
        ("Working Paths", |d| (&d.working_paths).into()),
        ("Is USB", |d| d.is_usb.into()),
        ("Device Mapper Name", |d| (&d.map).into()),
        ("Path Activation", |d| (&d.activation).into()),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.device)
    }
}

impl Layout for NmpPath {
    const KIND: &'static str = "NmpPath";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("UID");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Runtime Name", |p| (&p.runtime_name).into()),
        ("Device", |p| (&p.device).into()),
        ("Device Display Name", |p| (&p.display_name).into()),
        ("Group State", |p| state(&p.group_state)),
        ("Array Priority", |p| p.array_priority.into()),
        ("Storage Array Type Path Config", |p| {
            (&p.satp_path_config).into()
        }),
        ("Path Selection Policy Path Config", |p| {
            (&p.psp_path_config).into()
        }),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

/// The device of a path, or the words that ESXi prints if there is none.
fn associated(device: &Option<String>) -> Value {
    device
        .as_ref()
        .map_or(Value::Absent("No associated device"), Value::from)
}

impl Layout for CorePath {
    const KIND: &'static str = "CorePath";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("UID");
    const COLUMNS: &'static [Column<Self>] = &[
        ("UID", |p| (&p.uid).into()),
        ("Runtime Name", |p| (&p.runtime_name).into()),
        ("Device", |p| associated(&p.device)),
        ("Device Display Name", |p| associated(&p.display_name)),
        ("Adapter", |p| (&p.adapter).into()),
        ("Channel", |p| p.channel.into()),
        ("Target", |p| p.target.into()),
        ("LUN", |p| p.lun.into()),
        ("Plugin", |p| (&p.plugin).into()),
        ("State", |p| state(&p.state)),
        ("Transport", |p| (&p.transport).into()),
        ("Adapter Identifier", |p| (&p.adapter_identifier).into()),
        ("Target Identifier", |p| (&p.target_identifier).into()),
        ("Adapter Transport Details", |p| {
            (&p.adapter_transport_details).into()
        }),
        ("Target Transport Details", |p| {
            (&p.target_transport_details).into()
        }),
        ("Maximum IO Size", |p| match p.maximum_io_size {
            0 => Value::Absent("unknown"),
            bytes => bytes.into(),
        }),
        ("State Reason", |p| (&p.reason).into()),
        ("Linux Disk", |p| (&p.disk).into()),
        ("Linux Address", |p| (&p.hctl).into()),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

impl Layout for HppDevice {
    const KIND: &'static str = "HPPDevice";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device Display Name", |d| (&d.display_name).into()),
        ("Path Selection Scheme", |d| (&d.scheme).into()),
        ("Path Selection Scheme Config", |d| {
            (&d.scheme_config).into()
        }),
        ("Current Path", |d| match d.working_paths.first() {
            Some(path) => path.into(),
            None => Value::Absent("none"),
        }),
        ("Working Path Set", |d| (&d.working_paths).into()),
        ("Is SSD", |d| d.is_ssd.into()),
        ("Is Local", |d| d.is_local.into()),
        ("Paths", |d| (&d.paths).into()),
        ("Use ANO", |d| d.use_ano.into()),
        ("In Effect", |d| (&d.in_effect).into()),
        ("Linux Map", |d| (&d.map).into()),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.device)
    }
}

impl Layout for HppPath {
    const KIND: &'static str = "HPPPath";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("UID");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Runtime Name", |p| (&p.runtime_name).into()),
        ("Device", |p| (&p.device).into()),
        ("Device Display Name", |p| (&p.display_name).into()),
        ("Path State", |p| state(&p.path_state)),
        ("Path Config", |p| (&p.path_config).into()),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

impl Layout for CoreDevice {
    const KIND: &'static str = "CoreDevice";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Display Name", |d| (&d.display_name).into()),
        ("Has Settable Display Name", |_| true.into()),
        ("Size", |d| d.size_mib.into()),
        ("Device Type", |d| (&d.device_type).into()),
        ("Multipath Plugin", |d| (&d.multipath_plugin).into()),
        ("Devfs Path", |d| (&d.devfs_path).into()),
        ("Vendor", |d| (&d.vendor).into()),
        ("Model", |d| (&d.model).into()),
        ("Revision", |d| (&d.revision).into()),
        ("SCSI Level", |d| d.scsi_level.into()),
        ("Is Pseudo", |d| d.is_pseudo.into()),
        ("Status", |d| state(&d.status)),
        ("Is RDM Capable", |_| false.into()),
        ("Is Local", |d| d.is_local.into()),
        ("Is Removable", |d| d.is_removable.into()),
        ("Is SSD", |d| d.is_ssd.into()),
        ("Is VVOL PE", |_| false.into()),
        ("Is Offline", |d| d.is_offline.into()),
        ("Is Perennially Reserved", |d| {
            d.is_perennially_reserved.into()
        }),
        // On ESXi, zero means that this throttling is off.
        ("Queue Full Sample Size", |_| 0u32.into()),
        ("Queue Full Threshold", |_| 0u32.into()),
        ("Thin Provisioning Status", |_| "unknown".into()),
        ("Attached Filters", |_| "".into()),
        ("VAAI Status", |_| "unknown".into()),
        ("Other UIDs", |d| (&d.other_uids).into()),
        ("Is Shared Clusterwide", |d| d.is_shared_clusterwide.into()),
        ("Is SAS", |d| d.is_sas.into()),
        ("Is USB", |d| d.is_usb.into()),
        ("Is Boot Device", |d| d.is_boot_device.into()),
        ("Device Max Queue Depth", |d| {
            d.device_max_queue_depth.into()
        }),
        ("Drive Type", |_| "unknown".into()),
        ("RAID Level", |_| "unknown".into()),
        ("Number of Physical Drives", |_| "unknown".into()),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.device)
    }
}

impl Layout for Adapter {
    const KIND: &'static str = "Adapter";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("HBA Name", |a| (&a.name).into()),
        ("Driver", |a| (&a.driver).into()),
        ("Link State", |a| state(&a.link_state)),
        ("UID", |a| (&a.uid).into()),
        ("Capabilities", |a| (&a.capabilities).into()),
        ("Description", |a| (&a.description).into()),
    ];
}

impl Layout for FixedConfig {
    const KIND: &'static str = "FixedConfig";
    const STYLE: Style = Style::Sheet;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device", |c| (&c.device).into()),
        ("Current Path", |c| (&c.current_path).into()),
        ("Preferred Path", |c| (&c.preferred_path).into()),
    ];
}

impl Layout for RoundRobinConfig {
    const KIND: &'static str = "RoundRobinConfig";
    const STYLE: Style = Style::Sheet;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Byte Limit", |c| c.byte_limit.into()),
        ("Device", |c| (&c.device).into()),
        ("IOOperation Limit", |c| c.iops_limit.into()),
        ("Latency Evaluation Interval", |c| {
            Value::Text(format!("{} milliseconds", c.latency_eval_ms))
        }),
        ("Limit Type", |c| (&c.limit_type).into()),
        ("Number Of Sampling IOs Per Path", |c| {
            c.sampling_cycles.into()
        }),
        ("Use Active Unoptimized Paths", |c| c.use_ano.into()),
        ("In Effect", |c| (&c.in_effect).into()),
    ];
}

impl Layout for Section {
    const KIND: &'static str = "Section";
    const STYLE: Style = Style::Prose;
    const HEADING: Option<&'static str> = Some("Section");
    const COLUMNS: &'static [Column<Self>] = &[("Lines", |s| (&s.lines).into())];

    fn heading(&self) -> Option<&str> {
        Some(&self.title)
    }
}

impl Layout for Status {
    const KIND: &'static str = "Status";
    const STYLE: Style = Style::Sheet;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Agent Version", |s| (&s.version).into()),
        ("Interface Version", |s| s.interface_version.into()),
        ("Uptime (seconds)", |s| s.uptime_seconds.into()),
        ("Settled", |s| s.settled.into()),
        ("Paths", |s| s.paths.into()),
        ("Dead Paths", |s| s.dead_paths.into()),
        ("Devices", |s| s.devices.into()),
        ("Maps", |s| s.maps.into()),
        ("Tables Loaded", |s| s.tables_loaded.into()),
        ("Queueing Maps", |s| s.queueing_maps.into()),
        ("SCSI Transport", |s| (&s.transport).into()),
        ("SCSI Transport Reason", |s| (&s.transport_reason).into()),
        ("I/O Errors Reported", |s| (&s.io_errors).into()),
        ("I/O Errors Reported Reason", |s| {
            (&s.io_errors_reason).into()
        }),
        ("Names of New Maps", |s| (&s.map_names).into()),
        ("Check Interval (ms)", |s| s.check_interval_ms.into()),
        ("APD Timeout (ms)", |s| s.apd_timeout_ms.into()),
        ("Fast I/O Fail Timeout (seconds)", |s| {
            s.fast_io_fail_tmo.into()
        }),
    ];
}
