//! What the admin may set, with the defaults and their reasons. `config/` reads it from TOML.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How HPP chooses among the paths of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scheme {
    /// One path; the preferred one whenever it works.
    #[serde(rename = "FIXED")]
    Fixed,
    /// One path after the other.
    #[default]
    #[serde(rename = "LB-RR")]
    RoundRobin,
    /// The path with the fewest I/Os under way.
    #[serde(rename = "LB-IOPS")]
    Iops,
    /// The path with the fewest bytes under way.
    #[serde(rename = "LB-BYTES")]
    Bytes,
    /// The path with the least latency.
    #[serde(rename = "LB-Latency")]
    Latency,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 5] = [
        Scheme::Fixed,
        Scheme::RoundRobin,
        Scheme::Iops,
        Scheme::Bytes,
        Scheme::Latency,
    ];

    /// The scheme of this name, in upper or lower case; VMware's API reference misprints `LB--Latency`.
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
    /// Between two checks of a healthy path. ESXi's `Disk.PathEvalTime` is 300 s; Linux admins expect 5 s.
    pub check_interval_ms: Millis,
    /// Between two checks of a path that failed less than `retry_backoff_after_ms` ago. Half a second keeps
    /// "path back" to "path in use" below one second. It grows with thousands of failed paths, to `check_interval_ms` at
    /// most.
    pub retry_interval_ms: Millis,
    /// After this long a failed path is checked only every `check_interval_ms`.
    pub retry_backoff_after_ms: Millis,
    /// The kernel's timer for one check command. On its expiry the command is aborted, and an abort that fails
    /// starts error recovery of the whole HBA, so this is generous; `check_deadline_ms` is what decides.
    pub check_timeout_ms: Millis,
    /// After this long without an answer the path counts as giving no answer, though the command is still out.
    pub check_deadline_ms: Millis,
    /// How long an open map queues I/O with all paths down: ESXi's `Misc.APDTimeout`, 20..=99999 s there.
    pub apd_timeout_ms: Millis,
    /// A new device waits this long after its last path joined before its map is made, so that one table holds
    /// all its paths.
    pub settle_ms: Millis,
    /// A changed grouping waits this long before the table is reloaded: arrays pass through intermediate
    /// states while they move a logical unit, and a switch of groups by message has served the I/O meanwhile.
    pub regroup_ms: Millis,
    /// Unclaimed paths are claimed by the rules after this long, as ESXi does every 5 minutes.
    pub claim_interval_ms: Millis,
    /// Whether the SCSI device of a masked path is taken away from the host (`delete` in sysfs), or else stays with its
    /// disk hidden from udev's users.
    pub remove_masked: bool,
    /// Whether the SCSI devices of a unit that is gone for good (PDL) are taken away once nobody uses them.
    pub remove_lost: bool,
    /// A path that fails so often within `marginal_window_ms` carries I/O only if no other does; 0 never.
    pub marginal_failures: u32,
    /// The time in which those failures are counted. Sixteen in a minute: a controller that fails and returns every five
    /// seconds takes its paths along twelve times, and they are none the worse for it.
    pub marginal_window_ms: Millis,
    /// A marginal path is taken for a good one again when it has worked for so long.
    pub marginal_recovery_ms: Millis,
    /// The longest that the kernel may hold I/O back when the port of a path is lost, in seconds: `fast_io_fail_tmo` of
    /// Fibre Channel's remote ports (off by default, which means `dev_loss_tmo`), `recovery_tmo` of iSCSI's sessions
    /// (120 by default). Lower values are left as they are; 0 leaves all as they are.
    pub fast_io_fail_tmo: u32,
    /// Which devices get a map while one path only leads to them.
    pub lone_paths: LonePaths,
    /// How SCSI commands are sent.
    pub transport: TransportSetting,
    /// Which errors of ordinary I/O the kernel reports to the agent, by its tracing.
    pub watch_io: WatchSetting,
    /// How much of what the agent was told and did is kept in `/run/dm-psa/journal/`, in MiB of memory; 0 keeps none.
    pub journal_mib: u32,
    /// A file that the metrics are written to, for node_exporter's textfile collector; empty is none.
    pub metrics_textfile: String,
    /// Between two writings of that file. Prometheus asks every 15 s to 60 s.
    pub metrics_interval_ms: Millis,
    /// Settings of single devices by device id (`naa.6001...`).
    pub device: BTreeMap<String, DeviceSettings>,
    /// Settings of every device: they go before what SATP rules say, and after the settings of the device itself.
    pub every_device: DeviceSettings,
    /// Settings of the devices of arrays that no SATP rule names.
    pub unlisted_device: DeviceSettings,
    /// Settings of every device, which count where nothing else is set.
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

/// Which devices get a map while one path only leads to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LonePaths {
    /// Those that are known to be multipath: by their array, by a rule, or because they were before. A volume of a container
    /// runtime is none of these, and its users would lose it.
    #[default]
    Known,
    /// All that more than one path could lead to.
    All,
}

/// How SCSI commands are sent to paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportSetting {
    /// As it does best on this kernel.
    #[default]
    Auto,
    /// Through `/dev/sgN`.
    Sg,
    /// Through `/dev/bsg/H:C:T:L` by io_uring where the kernel takes commands so (Linux 7.1 and later), else as `sg`.
    Bsg,
}

/// Which errors of ordinary I/O are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchSetting {
    /// None.
    Off,
    /// Those that requests end with, and timeouts, which costs nothing while I/O is good; for two minutes after such an error,
    /// as `all`.
    #[default]
    Errors,
    /// Also commands that fail and are repeated with success. That takes some 370 instructions for each command, good ones
    /// included: 2 % to 6 % of an I/O without its data.
    All,
}

/// Settings of one device; what is absent follows the rule or the SATP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// `false`: it gets no map, and its disks stay as they are.
    pub map: Option<bool>,
    /// `VMW_PSP_FIXED`, `VMW_PSP_MRU`, `VMW_PSP_RR`.
    pub psp: Option<String>,
    /// HPP: path selection scheme.
    pub scheme: Option<Scheme>,
    /// FIXED: runtime name of the preferred path, `vmhba2:C0:T0:L1`.
    pub preferred: Option<String>,
    /// RR: `psp roundrobin deviceconfig`.
    pub round_robin: RoundRobin,
    /// MRU: rank by runtime name; higher is better, 0 is the default.
    pub ranks: BTreeMap<String, i32>,
    /// `satp generic deviceconfig`: `alua_followover = false`, ...
    pub satp: BTreeMap<String, bool>,
    /// Own APD timeout.
    pub apd_timeout_ms: Option<Millis>,
    /// Whether it counts as a solid state disk, whatever it says of itself.
    pub is_ssd: Option<bool>,
    /// Own `fast_io_fail_tmo`, in seconds.
    pub fast_io_fail_tmo: Option<u32>,
    /// `dev_loss_tmo` of the remote ports, in seconds: after so long the kernel removes the devices of a lost port.
    pub dev_loss_tmo: Option<u32>,
    /// What people call it.
    pub display_name: Option<String>,
    /// `core device setconfig`: another host holds a reservation for good. Stored and shown.
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
    /// After so many I/Os.
    pub iops: Option<u64>,
    /// After so many bytes.
    pub bytes: Option<u64>,
    /// Whether active-unoptimized paths carry I/O next to the optimized ones.
    pub use_ano: Option<bool>,
    /// Latency: I/Os sampled on each path.
    pub sampling_cycles: Option<u32>,
    /// Latency: between two evaluations.
    pub latency_eval_ms: Option<Millis>,
}

/// When VMW_PSP_RR takes the next path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitType {
    /// As ESXi does by itself: after a number of I/Os.
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
    /// The word of esxcli.
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

    /// As `psp roundrobin deviceconfig get` prints it.
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
    /// These settings, and where they say nothing those below.
    #[must_use]
    pub fn over(&self, below: &DeviceSettings) -> DeviceSettings {
        let mut ranks = below.ranks.clone();
        ranks.extend(self.ranks.clone());
        let mut satp = below.satp.clone();
        satp.extend(self.satp.clone());
        DeviceSettings {
            map: self.map.or(below.map),
            psp: self.psp.clone().or_else(|| below.psp.clone()),
            scheme: self.scheme.or(below.scheme),
            preferred: self.preferred.clone().or_else(|| below.preferred.clone()),
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
            perennially_reserved: self.perennially_reserved.or(below.perennially_reserved),
            shared_clusterwide: self.shared_clusterwide.or(below.shared_clusterwide),
        }
    }
}

impl RoundRobin {
    /// These settings, and where they say nothing those below.
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

    /// When the next path is taken.
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

    /// I/Os sampled on each path; ESXi's default is 16.
    #[must_use]
    pub fn sampling_cycles(&self) -> u32 {
        self.sampling_cycles.unwrap_or(16)
    }

    /// Between two evaluations of latency; ESXi's default is 3 minutes.
    #[must_use]
    pub fn latency_eval_ms(&self) -> Millis {
        self.latency_eval_ms.unwrap_or(Millis::from_secs(180))
    }
}
