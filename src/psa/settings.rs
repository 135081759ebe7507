//! The settings of the admin, with their defaults and the reasons for these. `config/` reads them from TOML.

use crate::psa::adapter::RuntimeName;
use crate::psa::names::DeviceId;
use crate::psa::units::Millis;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The PSPs of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PspKind {
    /// VMW_PSP_FIXED
    Fixed,
    /// VMW_PSP_MRU
    Mru,
    /// VMW_PSP_RR
    RoundRobin,
}

impl PspKind {
    /// All PSPs, in the order of `psp list`.
    pub const ALL: [PspKind; 3] = [PspKind::Mru, PspKind::RoundRobin, PspKind::Fixed];

    /// The PSP of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<PspKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PspKind::Fixed => "VMW_PSP_FIXED",
            PspKind::Mru => "VMW_PSP_MRU",
            PspKind::RoundRobin => "VMW_PSP_RR",
        }
    }
}

impl fmt::Display for PspKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a PSP that this build does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no PSP {0}: use VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR")]
pub struct NoSuchPsp(String);

impl FromStr for PspKind {
    type Err = NoSuchPsp;
    fn from_str(name: &str) -> Result<PspKind, NoSuchPsp> {
        PspKind::by_name(name).ok_or_else(|| NoSuchPsp(name.to_owned()))
    }
}

/// A value that files hold by its name: the text that it displays as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named<T>(pub T);

impl<T: fmt::Display> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map(Named).map_err(D::Error::custom)
    }
}

/// Serializes an optional value by its name.
mod by_name {
    use super::*;

    pub(super) fn serialize<T: fmt::Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Named).serialize(to)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let value = Option::<Named<T>>::deserialize(from)?;
        Ok(value.map(|Named(value)| value))
    }
}

/// Serializes ranks by the names of the paths.
mod ranks {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        ranks: &BTreeMap<RuntimeName, i32>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(ranks.iter().map(|(path, rank)| (Named(path), rank)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<RuntimeName, i32>, D::Error> {
        let ranks = BTreeMap::<Named<RuntimeName>, i32>::deserialize(from)?;
        let plain = |(Named(path), rank)| (path, rank);
        Ok(ranks.into_iter().map(plain).collect())
    }
}

/// How HPP chooses among the paths of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scheme {
    /// One path: the preferred one whenever it works.
    #[serde(rename = "FIXED")]
    Fixed,
    /// One path after the other.
    #[default]
    #[serde(rename = "LB-RR")]
    RoundRobin,
    /// The path with the fewest I/Os in flight.
    #[serde(rename = "LB-IOPS")]
    Iops,
    /// The path with the fewest bytes in flight.
    #[serde(rename = "LB-BYTES")]
    Bytes,
    /// The path with the least latency.
    #[serde(rename = "LB-Latency")]
    Latency,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Scheme; 5] = [
        Scheme::Fixed,
        Scheme::RoundRobin,
        Scheme::Iops,
        Scheme::Bytes,
        Scheme::Latency,
    ];

    /// The scheme of this name; case does not matter. `LB--Latency`, a misprint in VMware's API reference, is accepted.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Scheme> {
        let name = name.replace("--", "-");
        Scheme::ALL
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(&name))
    }

    /// ESXi's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Fixed => "FIXED",
            Scheme::RoundRobin => "LB-RR",
            Scheme::Iops => "LB-IOPS",
            Scheme::Bytes => "LB-BYTES",
            Scheme::Latency => "LB-Latency",
        }
    }
}

/// All settings of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Time between two checks of a healthy path. ESXi's `Disk.PathEvalTime` is 300 s; Linux admins expect 5 s.
    pub check_interval_ms: Millis,
    /// Time between two checks of a path that failed less than `retry_backoff_after_ms` ago. With half a second, a path
    /// that returns is in use within one second. With thousands of failed paths the time grows, up to
    /// `check_interval_ms`.
    pub retry_interval_ms: Millis,
    /// A path that has been failed for this long is checked only every `check_interval_ms`.
    pub retry_backoff_after_ms: Millis,
    /// The kernel's timeout for one check command. When it expires the kernel aborts the command, and an abort that
    /// fails starts error recovery of the whole HBA. So this is generous; `check_deadline_ms` decides about the path.
    pub check_timeout_ms: Millis,
    /// A path that has not answered for this long counts as giving no answer, although the command is still
    /// outstanding.
    pub check_deadline_ms: Millis,
    /// How long an open map queues I/O with all paths down: ESXi's `Misc.APDTimeout`, 20..=99999 s there.
    pub apd_timeout_ms: Millis,
    /// A new device waits this long after its last path joined before its map is created, so that one table contains
    /// all its paths.
    pub settle_ms: Millis,
    /// A changed grouping waits this long before the table is reloaded: arrays pass through intermediate states while
    /// they move a logical unit. Meanwhile I/O is served, because groups were switched by message.
    pub regroup_ms: Millis,
    /// Interval at which unclaimed paths are claimed by the rules; ESXi does so every 5 minutes.
    pub claim_interval_ms: Millis,
    /// Whether the SCSI device of a masked path is removed from the host (`delete` in sysfs). If not, it stays, and its
    /// disk is hidden from the users of udev.
    pub remove_masked: bool,
    /// Whether the SCSI devices of a unit that is permanently lost (PDL) are removed once nothing uses them.
    pub remove_lost: bool,
    /// A path that fails this often within `marginal_window_ms` carries I/O only if no other path does; 0 disables
    /// this.
    pub marginal_failures: u32,
    /// The time window in which these failures are counted. The default is sixteen in a minute, because a controller
    /// that fails and returns every five seconds makes its paths fail twelve times a minute, and such paths are not
    /// marginal.
    pub marginal_window_ms: Millis,
    /// A marginal path counts as good again when it has worked for this long.
    pub marginal_recovery_ms: Millis,
    /// The longest time for which the kernel may hold back I/O when the port of a path is lost, in seconds:
    /// `fast_io_fail_tmo` of Fibre Channel's remote ports (off by default, then `dev_loss_tmo` applies), `recovery_tmo`
    /// of iSCSI's sessions (120 by default). Lower values stay as they are; 0 leaves all values as they are.
    pub fast_io_fail_tmo: u32,
    /// Which devices get a map while only one path leads to them.
    pub lone_paths: LonePaths,
    /// How the maps of new devices are named.
    pub map_names: MapNames,
    /// How SCSI commands are sent.
    pub transport: TransportSetting,
    /// Which errors of ordinary I/O the kernel reports to the agent through tracing.
    pub watch_io: WatchSetting,
    /// How much of the agent's input and output is kept in `/run/dm-psa/journal/`, in MiB of memory; 0 keeps none.
    pub journal_mib: u32,
    /// The file to which metrics are written for node_exporter's textfile collector; empty disables it.
    pub metrics_textfile: String,
    /// Interval at which that file is written. Prometheus scrapes every 15 s to 60 s.
    pub metrics_interval_ms: Millis,
    /// Settings of single devices, by device id (`naa.6001...`).
    pub device: BTreeMap<DeviceId, DeviceSettings>,
    /// Settings of every device. They take precedence over SATP rules, but not over the settings of the device itself.
    pub every_device: DeviceSettings,
    /// Settings of the devices of arrays that no SATP rule names.
    pub unlisted_device: DeviceSettings,
    /// Settings of every device, used where nothing else is set.
    pub default_device: DeviceSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            check_interval_ms: Millis::from_secs(5),
            retry_interval_ms: Millis(500),
            retry_backoff_after_ms: Millis::from_secs(600),
            check_timeout_ms: Millis::from_secs(20),
            check_deadline_ms: Millis::from_secs(5),
            apd_timeout_ms: Millis::from_secs(140),
            settle_ms: Millis(500),
            regroup_ms: Millis::from_secs(1),
            claim_interval_ms: Millis::from_secs(300),
            remove_masked: true,
            remove_lost: true,
            marginal_failures: 16,
            marginal_window_ms: Millis::from_secs(60),
            marginal_recovery_ms: Millis::from_secs(120),
            fast_io_fail_tmo: 5,
            lone_paths: LonePaths::Known,
            map_names: MapNames::Naa,
            transport: TransportSetting::Auto,
            watch_io: WatchSetting::Errors,
            journal_mib: 16,
            metrics_textfile: String::new(),
            metrics_interval_ms: Millis::from_secs(15),
            device: BTreeMap::new(),
            every_device: DeviceSettings::default(),
            unlisted_device: DeviceSettings::default(),
            default_device: DeviceSettings::default(),
        }
    }
}

/// Which devices get a map while only one path leads to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LonePaths {
    /// Devices that are known to be multipath: by their array, by a rule, or because they were before. The volume of a
    /// container runtime is not, and its users would lose access to it.
    #[default]
    Known,
    /// All devices to which more than one path could lead.
    All,
}

/// How the maps of new devices are named. A map keeps its name: while it exists, and when it is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapNames {
    /// By the device id, as on ESXi: `naa.6001...`.
    #[default]
    Naa,
    /// By the WWID, as multipath-tools does without `user_friendly_names`: `36001...`.
    Wwid,
    /// `mpatha`, `mpathb`, ..., as multipath-tools does with `user_friendly_names`.
    Mpath,
}

impl MapNames {
    /// The name of the setting's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MapNames::Naa => "naa",
            MapNames::Wwid => "wwid",
            MapNames::Mpath => "mpath",
        }
    }
}

/// How SCSI commands are sent to paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportSetting {
    /// The best way on this kernel.
    #[default]
    Auto,
    /// Through `/dev/sgN`.
    Sg,
    /// Through `/dev/bsg/H:C:T:L` by io_uring where the kernel supports that (Linux 7.1 and later), otherwise as `sg`.
    Bsg,
}

/// Which errors of ordinary I/O are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchSetting {
    /// None.
    Off,
    /// Errors that requests end with, and timeouts. This costs nothing while there are no errors. For two minutes after
    /// such an error, as `all`.
    #[default]
    Errors,
    /// Also commands that fail and succeed when repeated. That takes some 370 instructions for each command, including
    /// good ones: 2 % to 6 % of an I/O, data transfer not counted.
    All,
}

/// Settings of one device; where one is absent, the rule or the SATP decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// `false`: the device gets no map, and its disks stay as they are.
    pub map: Option<bool>,
    /// `VMW_PSP_FIXED`, `VMW_PSP_MRU`, `VMW_PSP_RR`.
    #[serde(with = "by_name")]
    pub psp: Option<PspKind>,
    /// HPP: path selection scheme.
    pub scheme: Option<Scheme>,
    /// FIXED: runtime name of the preferred path, `vmhba2:C0:T0:L1`.
    #[serde(with = "by_name")]
    pub preferred: Option<RuntimeName>,
    /// RR: `psp roundrobin deviceconfig`.
    pub round_robin: RoundRobin,
    /// MRU: rank by runtime name; higher is better, 0 is the default.
    #[serde(with = "ranks")]
    pub ranks: BTreeMap<RuntimeName, i32>,
    /// `satp generic deviceconfig`: `alua_followover = false`, ... Options of other versions are kept.
    pub satp: BTreeMap<String, bool>,
    /// APD timeout of this device.
    pub apd_timeout_ms: Option<Millis>,
    /// Whether the device counts as a solid state disk, no matter what it reports.
    pub is_ssd: Option<bool>,
    /// `fast_io_fail_tmo` for this device, in seconds.
    pub fast_io_fail_tmo: Option<u32>,
    /// `dev_loss_tmo` of the remote ports, in seconds: after this time the kernel removes the devices of a lost port.
    pub dev_loss_tmo: Option<u32>,
    /// The display name.
    pub display_name: Option<String>,
    /// The dm name that its map gets when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_name: Option<String>,
    /// `core device setconfig`: another host holds a reservation permanently. Stored and shown.
    pub perennially_reserved: Option<bool>,
    /// `core device setconfig`: other hosts use it too. Stored and shown.
    pub shared_clusterwide: Option<bool>,
}

/// What the admin set for VMW_PSP_RR; what is absent is ESXi's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoundRobin {
    /// When to take the next path.
    pub limit_type: Option<LimitType>,
    /// Number of I/Os before the next path is taken.
    pub iops: Option<u64>,
    /// Number of bytes before the next path is taken.
    pub bytes: Option<u64>,
    /// Whether active-unoptimized paths carry I/O next to the optimized ones.
    pub use_ano: Option<bool>,
    /// Latency: number of I/Os sampled on each path.
    pub sampling_cycles: Option<u32>,
    /// Latency: time between two evaluations.
    pub latency_eval_ms: Option<Millis>,
}

/// When VMW_PSP_RR takes the next path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitType {
    /// ESXi's default: after a number of I/Os.
    #[default]
    Default,
    /// After a number of I/Os.
    Iops,
    /// After a number of bytes.
    Bytes,
    /// The path with the least latency.
    Latency,
}

impl LimitType {
    /// The limit type of this name in esxcli.
    #[must_use]
    pub fn by_name(name: &str) -> Option<LimitType> {
        let all = [
            LimitType::Default,
            LimitType::Iops,
            LimitType::Bytes,
            LimitType::Latency,
        ];
        all.into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(name))
    }

    /// The name that `psp roundrobin deviceconfig get` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LimitType::Default => "Default",
            LimitType::Iops => "Iops",
            LimitType::Bytes => "Bytes",
            LimitType::Latency => "Latency",
        }
    }
}

impl DeviceSettings {
    /// These settings; where they say nothing, those in `below`.
    #[must_use]
    pub fn over(&self, below: &DeviceSettings) -> DeviceSettings {
        let mut ranks = below.ranks.clone();
        ranks.extend(&self.ranks);
        let mut satp = below.satp.clone();
        satp.extend(self.satp.clone());
        DeviceSettings {
            map: self.map.or(below.map),
            psp: self.psp.or(below.psp),
            scheme: self.scheme.or(below.scheme),
            preferred: self.preferred.or(below.preferred),
            round_robin: self.round_robin.over(&below.round_robin),
            ranks,
            satp,
            apd_timeout_ms: self.apd_timeout_ms.or(below.apd_timeout_ms),
            is_ssd: self.is_ssd.or(below.is_ssd),
            fast_io_fail_tmo: self.fast_io_fail_tmo.or(below.fast_io_fail_tmo),
            dev_loss_tmo: self.dev_loss_tmo.or(below.dev_loss_tmo),
            display_name: self
                .display_name
                .clone()
                .or_else(|| below.display_name.clone()),
            map_name: self.map_name.clone().or_else(|| below.map_name.clone()),
            perennially_reserved: self.perennially_reserved.or(below.perennially_reserved),
            shared_clusterwide: self.shared_clusterwide.or(below.shared_clusterwide),
        }
    }
}

impl RoundRobin {
    /// These settings; where they say nothing, those in `below`.
    #[must_use]
    pub fn over(&self, below: &RoundRobin) -> RoundRobin {
        RoundRobin {
            limit_type: self.limit_type.or(below.limit_type),
            iops: self.iops.or(below.iops),
            bytes: self.bytes.or(below.bytes),
            use_ano: self.use_ano.or(below.use_ano),
            sampling_cycles: self.sampling_cycles.or(below.sampling_cycles),
            latency_eval_ms: self.latency_eval_ms.or(below.latency_eval_ms),
        }
    }

    /// When to take the next path.
    #[must_use]
    pub fn limit_type(&self) -> LimitType {
        self.limit_type.unwrap_or_default()
    }

    /// I/Os per turn; ESXi's default is 1000.
    #[must_use]
    pub fn iops(&self) -> u64 {
        self.iops.unwrap_or(1000)
    }

    /// Bytes per turn; ESXi's default is 10 MiB.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.unwrap_or(10_485_760)
    }

    /// Whether unoptimized paths carry I/O too.
    #[must_use]
    pub fn use_ano(&self) -> bool {
        self.use_ano.unwrap_or(false)
    }

    /// Number of I/Os sampled on each path; ESXi's default is 16.
    #[must_use]
    pub fn sampling_cycles(&self) -> u32 {
        self.sampling_cycles.unwrap_or(16)
    }

    /// Time between two evaluations of latency; ESXi's default is 3 minutes.
    #[must_use]
    pub fn latency_eval_ms(&self) -> Millis {
        self.latency_eval_ms.unwrap_or(Millis::from_secs(180))
    }
}
