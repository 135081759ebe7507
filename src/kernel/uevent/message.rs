//! Interprets uevents about paths. Pure functions: text in, meaning out.

use crate::kernel::sysfs::{address_in, host_in};
use crate::psa::event::UnitAttention;
use crate::psa::units::Hctl;
use std::path::PathBuf;

/// The contents of a uevent, copied from libudev.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    /// `add`, `change`, `remove`, `online`, ...
    pub(super) action: String,
    pub(super) subsystem: String,
    /// `disk`, `partition`, `scsi_device`, `scsi_target`, ... or empty.
    pub(super) devtype: String,
    /// Kernel name, the last part of the path.
    pub(super) name: String,
    /// `/devices/...`
    pub(super) devpath: PathBuf,
    /// `SDEV_UA` (kernel `scsi_evt_emit`).
    pub(super) attention: Option<String>,
    /// `SYNTH_UUID` is set: somebody wrote to `uevent`, and nothing happened to the device.
    pub(super) synthetic: bool,
    /// `DM_UUID`, added by udev's dm rules.
    pub(super) dm_uuid: Option<String>,
}

/// What to do about a uevent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// The kernel has a disk for the device. udev's message follows if udev receives the uevent.
    DiskAdded(Hctl),
    /// The SCSI device was removed.
    Removed(Hctl),
    /// The disk was removed, and perhaps the SCSI device too.
    DiskRemoved(Hctl),
    /// The device reported a unit attention.
    Attention(Hctl, UnitAttention),
    /// The facts of the device may have changed.
    Changed(Hctl),
    /// The facts of all paths below a SCSI host may have changed.
    HostChanged(u32),
    /// A dm device was resumed, perhaps with another table.
    MapChanged,
    /// A block device that may hold paths was added, was changed, or (`true`) was removed.
    HolderChanged(String, bool),
}

/// The subsystems whose kernel messages are used.
pub(super) const KERNEL_SUBSYSTEMS: [&str; 4] = ["scsi", "scsi_device", "block", "scsi_generic"];

/// The subsystems whose udev messages are used.
pub(super) const UDEV_SUBSYSTEMS: [&str; 7] = [
    "block",
    "scsi_generic",
    "scsi_host",
    "fc_host",
    "fc_remote_ports",
    "iscsi_session",
    "iscsi_connection",
];

/// The meaning of a kernel message. Kernel messages arrive before any rule has run, and even if udev hangs.
pub(super) fn of_kernel(message: &Message) -> Option<Meaning> {
    // dm has no event of its own for a table that was replaced (`do_resume`).
    if message.action == "change" && message.devpath.starts_with("/devices/virtual/block") {
        return message
            .name
            .starts_with("dm-")
            .then_some(Meaning::MapChanged);
    }
    let path = address_in(&message.devpath)?;
    let is_device = message.subsystem == "scsi_device"
        || (message.subsystem == "scsi" && message.devtype == "scsi_device");
    let is_disk = message.subsystem == "block" && message.devtype == "disk";
    match message.action.as_str() {
        "add" if is_disk => Some(Meaning::DiskAdded(path)),
        "remove" if message.synthetic => None,
        "remove" if is_device => Some(Meaning::Removed(path)),
        "remove" if is_disk => Some(Meaning::DiskRemoved(path)),
        "change" if is_device => {
            let attention = attention(message.attention.as_deref()?)?;
            Some(Meaning::Attention(path, attention))
        }
        _ => None,
    }
}

/// The meaning of a udev message: the rules have run, so links and marks exist. Without udev, kernel messages are used
/// instead.
pub(super) fn of_udev(message: &Message) -> Option<Meaning> {
    let gone = message.action == "remove";
    match message.subsystem.as_str() {
        "block" => match address_in(&message.devpath) {
            Some(path) => (message.devtype == "disk" && !gone).then_some(Meaning::Changed(path)),
            // Not a SCSI disk: dm, md. Events of multipath maps do not matter here, because a path is meant to be in
            // one.
            None => {
                let ours = |uuid: &String| uuid.starts_with("mpath-");
                let holder = !message.dm_uuid.as_ref().is_some_and(ours);
                holder.then(|| Meaning::HolderChanged(message.name.clone(), gone))
            }
        },
        "scsi_generic" => {
            let path = address_in(&message.devpath)?;
            (!gone).then_some(Meaning::Changed(path))
        }
        "scsi_host" | "fc_host" | "fc_remote_ports" | "iscsi_session" | "iscsi_connection" => {
            host_in(&message.devpath).map(Meaning::HostChanged)
        }
        _ => None,
    }
}

/// The value of `SDEV_UA`.
fn attention(text: &str) -> Option<UnitAttention> {
    Some(match text {
        "INQUIRY_DATA_HAS_CHANGED" => UnitAttention::InquiryDataHasChanged,
        "REPORTED_LUNS_DATA_HAS_CHANGED" => UnitAttention::ReportedLunsDataHasChanged,
        "POWER_ON_RESET_OCCURRED" => UnitAttention::PowerOnResetOccurred,
        "MODE_PARAMETERS_CHANGED" => UnitAttention::ModeParametersChanged,
        "ASYMMETRIC_ACCESS_STATE_CHANGED" => UnitAttention::AsymmetricAccessStateChanged,
        "CAPACITY_DATA_HAS_CHANGED" => UnitAttention::CapacityDataHasChanged,
        "THIN_PROVISIONING_SOFT_THRESHOLD_REACHED" => {
            UnitAttention::ThinProvisioningSoftThresholdReached
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "/devices/platform/host7/session1/target7:0:0/7:0:0:1";

    fn message(action: &str, subsystem: &str, devtype: &str, below: &str) -> Message {
        Message {
            action: action.to_owned(),
            subsystem: subsystem.to_owned(),
            devtype: devtype.to_owned(),
            name: below.rsplit('/').next().unwrap_or_default().to_owned(),
            devpath: PathBuf::from(format!("{DEVICE}{below}")),
            ..Message::default()
        }
    }

    fn path() -> Hctl {
        "7:0:0:1".parse().unwrap()
    }

    #[test]
    fn removals_come_from_the_kernel() {
        for message in [
            message("remove", "scsi_device", "", "/scsi_device/7:0:0:1"),
            message("remove", "scsi", "scsi_device", ""),
        ] {
            assert_eq!(of_kernel(&message), Some(Meaning::Removed(path())));
            assert_eq!(of_udev(&message), None);
        }
        let disk = message("remove", "block", "disk", "/block/sdc");
        assert_eq!(of_kernel(&disk), Some(Meaning::DiskRemoved(path())));
        assert_eq!(of_udev(&disk), None);
        let partition = message("remove", "block", "partition", "/block/sdc/sdc1");
        assert_eq!(of_kernel(&partition), None);
    }

    #[test]
    fn a_synthetic_removal_is_ignored() {
        let mut removal = message("remove", "scsi", "scsi_device", "");
        removal.synthetic = true;
        assert_eq!(of_kernel(&removal), None);
    }

    #[test]
    fn unit_attentions_come_from_the_kernel() {
        let mut change = message("change", "scsi", "scsi_device", "");
        assert_eq!(of_kernel(&change), None);
        change.attention = Some("ASYMMETRIC_ACCESS_STATE_CHANGED".to_owned());
        assert_eq!(
            of_kernel(&change),
            Some(Meaning::Attention(
                path(),
                UnitAttention::AsymmetricAccessStateChanged
            ))
        );
        change.attention = Some("SOMETHING_NEW".to_owned());
        assert_eq!(of_kernel(&change), None);
    }

    #[test]
    fn disks_are_read_after_udev() {
        for (action, by_kernel) in [
            ("add", Some(Meaning::DiskAdded(path()))),
            ("change", None),
            ("online", None),
        ] {
            let disk = message(action, "block", "disk", "/block/sdc");
            assert_eq!(of_udev(&disk), Some(Meaning::Changed(path())));
            assert_eq!(of_kernel(&disk), by_kernel);
        }
        let sg = message("add", "scsi_generic", "", "/scsi_generic/sg3");
        assert_eq!(of_udev(&sg), Some(Meaning::Changed(path())));
        let partition = message("add", "block", "partition", "/block/sdc/sdc1");
        assert_eq!(of_udev(&partition), None);
    }

    #[test]
    fn transports_concern_their_host() {
        let mut session = message("change", "iscsi_session", "", "");
        session.devpath = "/devices/platform/host7/session1/iscsi_session/session1".into();
        assert_eq!(of_udev(&session), Some(Meaning::HostChanged(7)));
    }

    #[test]
    fn holders_are_other_block_devices_than_our_maps() {
        let mut map = message("change", "block", "disk", "");
        map.devpath = "/devices/virtual/block/dm-3".into();
        map.name = "dm-3".to_owned();
        let holder = |gone| Some(Meaning::HolderChanged("dm-3".to_owned(), gone));
        assert_eq!(of_udev(&map), holder(false));
        map.action = "remove".to_owned();
        assert_eq!(of_udev(&map), holder(true));
        map.dm_uuid = Some("mpath-3600140500000001".to_owned());
        assert_eq!(of_udev(&map), None);
    }

    #[test]
    fn a_resumed_map_is_read_without_udev() {
        let mut map = message("change", "block", "disk", "");
        map.devpath = "/devices/virtual/block/dm-3".into();
        map.name = "dm-3".to_owned();
        assert_eq!(of_kernel(&map), Some(Meaning::MapChanged));
        map.action = "remove".to_owned();
        assert_eq!(of_kernel(&map), None);
    }
}
