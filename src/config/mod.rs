//! The files of the admin and of the agent: read whole and checked, written atomically.
//!
//! Input: `/etc/dm-psa/dm-psa.toml` (settings), `/etc/dm-psa/state/memory.json` (what the agent remembers), and the
//! files of [`rules`].
//! Invariants: a damaged file never stops the agent and is never overwritten unread: settings fall back to the
//! defaults, memory is set aside under another name, and both are reported with file, place and mend.

#![forbid(unsafe_code)]

pub mod rules;
pub mod settings_file;
pub mod store;

use crate::psa::memory::Memory;
use crate::psa::satp::options::MOST_FAST_IO_FAIL;
use crate::psa::settings::{DeviceSettings, Settings};
use crate::psa::units::Millis;
use std::io;
use std::path::{Path, PathBuf};

/// The range of `apd_timeout_ms`. ESXi takes 20 s at least; `no_path_retry fail` of multipath-tools wants less.
const LEAST_APD: u64 = 1_000;
const MOST_APD: u64 = 99_999_000;

/// Where the files are, below a root directory (`/` for the running system).
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// The files below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Places {
        Places {
            root: root.to_owned(),
        }
    }

    /// Settings of the admin.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.root.join("etc/dm-psa/dm-psa.toml")
    }

    /// What the agent remembers.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.root.join("etc/dm-psa/state/memory.json")
    }

    /// Rules of ours and of array vendors.
    #[must_use]
    pub fn system_rules(&self) -> PathBuf {
        self.root.join("usr/lib/dm-psa")
    }

    /// Rules of the admin.
    #[must_use]
    pub fn admin_rules(&self) -> PathBuf {
        self.root.join("etc/dm-psa/rules.toml")
    }

    /// Rules that the admin wants until reboot.
    #[must_use]
    pub fn boot_rules(&self) -> PathBuf {
        self.run().join("rules.toml")
    }

    /// Claim rules of the admin that are loaded.
    #[must_use]
    pub fn loaded_rules(&self) -> PathBuf {
        self.run().join("claimrules.toml")
    }

    /// Where an ESX host has its configuration: read by `claimrule convert` alone.
    #[must_use]
    pub fn esx_conf(&self) -> PathBuf {
        self.root.join("etc/vmware/esx.conf")
    }

    /// The journal of the agent.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.run().join("journal")
    }

    /// Files of the run time, gone after a reboot.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run/dm-psa")
    }
}

/// A file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("{file}: {source}; check the file and its permissions")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("{file}: {source}; rules are changed by root, on a file system that can be written")]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("{file}: {problem}")]
    Invalid {
        /// Which.
        file: PathBuf,
        /// Place and reason.
        problem: String,
    },
}

/// Reads a file; `None` if there is none.
fn read(file: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read {
            file: file.to_owned(),
            source,
        }),
    }
}

/// Reads the settings of the admin; the defaults if there is no file.
///
/// # Errors
/// The file cannot be read, is not TOML, or a value is out of its range; the message names line and mend.
pub fn load_settings(places: &Places) -> Result<Settings, ConfigError> {
    let file = places.settings();
    let Some(text) = read(&file)? else {
        return Ok(Settings::default());
    };
    let invalid = |problem: String| ConfigError::Invalid {
        file: file.clone(),
        problem,
    };
    let settings: Settings = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    check(&settings).map_err(invalid)?;
    Ok(settings)
}

/// Whether values are in their ranges.
fn check(settings: &Settings) -> Result<(), String> {
    let ranges = [
        (
            "check_interval_ms",
            settings.check_interval_ms.0,
            100,
            86_400_000,
        ),
        (
            "retry_interval_ms",
            settings.retry_interval_ms.0,
            50,
            86_400_000,
        ),
        (
            "check_timeout_ms",
            settings.check_timeout_ms.0,
            1_000,
            600_000,
        ),
        (
            "check_deadline_ms",
            settings.check_deadline_ms.0,
            100,
            600_000,
        ),
        (
            "apd_timeout_ms",
            settings.apd_timeout_ms.0,
            LEAST_APD,
            MOST_APD,
        ),
        ("journal_mib", settings.journal_mib.into(), 0, 4_096),
        ("settle_ms", settings.settle_ms.0, 0, 60_000),
        ("regroup_ms", settings.regroup_ms.0, 0, 60_000),
        (
            "metrics_interval_ms",
            settings.metrics_interval_ms.0,
            1_000,
            86_400_000,
        ),
        (
            "claim_interval_ms",
            settings.claim_interval_ms.0,
            1_000,
            86_400_000,
        ),
        (
            "marginal_failures",
            u64::from(settings.marginal_failures),
            0,
            1_000,
        ),
        (
            "marginal_window_ms",
            settings.marginal_window_ms.0,
            1_000,
            86_400_000,
        ),
        (
            "marginal_recovery_ms",
            settings.marginal_recovery_ms.0,
            1_000,
            86_400_000,
        ),
    ];
    let file = settings.metrics_textfile.as_str();
    let is_whole = file.starts_with('/') && file.ends_with(".prom");
    if !(file.is_empty() || is_whole) {
        return Err(format!(
            "metrics_textfile = \"{file}\": take a whole path that ends in .prom, for node_exporter reads no other"
        ));
    }
    if u64::from(settings.fast_io_fail_tmo) > MOST_FAST_IO_FAIL {
        return Err(format!(
            "fast_io_fail_tmo = {} is out of range: take 0 to {MOST_FAST_IO_FAIL}",
            settings.fast_io_fail_tmo
        ));
    }
    for (name, value, least, most) in ranges {
        if value < least || value > most {
            return Err(format!(
                "{name} = {value} is out of range: take {least} to {most}"
            ));
        }
    }
    let tables = [
        ("every_device", &settings.every_device),
        ("unlisted_device", &settings.unlisted_device),
        ("default_device", &settings.default_device),
    ];
    for (table, of_many) in tables {
        check_devices(table, of_many)?;
        let of_one = [
            ("preferred", of_many.preferred.is_some()),
            ("ranks", !of_many.ranks.is_empty()),
            ("display_name", of_many.display_name.is_some()),
        ];
        if let Some((name, _)) = of_one.iter().find(|(_, is_set)| *is_set) {
            return Err(format!(
                "[{table}] {name}: this is a setting of one device, [device.\"naa...\"]"
            ));
        }
    }
    if settings.default_device.psp.is_some() {
        return Err(
            "[default_device] psp: `psactl storage nmp satp set` sets the PSP of the devices whose rule names none"
                .to_owned(),
        );
    }
    for (device, settings) in &settings.device {
        check_devices(&format!("device.\"{device}\""), settings)?;
    }
    Ok(())
}

/// What may be set of devices; `table` is where it stands.
fn check_devices(table: &str, settings: &DeviceSettings) -> Result<(), String> {
    if let Some(psp) = &settings.psp
        && crate::psa::psp::PspKind::by_name(psp).is_none()
    {
        return Err(format!(
            "[{table}] psp = \"{psp}\": there is no such PSP; take VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR"
        ));
    }
    if let Some(Millis(ms)) = settings.apd_timeout_ms
        && !(LEAST_APD..=MOST_APD).contains(&ms)
    {
        return Err(format!(
            "[{table}] apd_timeout_ms = {ms} is out of range: take {LEAST_APD} to {MOST_APD}"
        ));
    }
    Ok(())
}

/// Reads what the agent remembers; nothing if there is no file.
///
/// # Errors
/// The file cannot be read or is damaged; then it was set aside as `memory.json.damaged`.
pub fn load_memory(places: &Places) -> Result<Memory, ConfigError> {
    let file = places.memory();
    let Some(text) = read(&file)? else {
        return Ok(Memory::default());
    };
    serde_json::from_str(&text).map_err(|error| {
        let aside = file.with_extension("json.damaged");
        let kept = match std::fs::rename(&file, &aside) {
            Ok(()) => format!("it was set aside as {}", aside.display()),
            Err(error) => format!("it could not be set aside: {error}"),
        };
        ConfigError::Invalid {
            file,
            problem: format!("{error}; {kept}, and adapters are numbered anew"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::units::Millis;

    fn with_settings(text: &str) -> Result<Settings, ConfigError> {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        store::replace(&places.settings(), text.as_bytes()).unwrap();
        load_settings(&places)
    }

    #[test]
    fn no_file_is_the_defaults() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            load_settings(&Places::below(root.path())).unwrap(),
            Settings::default()
        );
    }

    #[test]
    fn a_value_is_taken_and_the_rest_is_default() {
        let settings =
            with_settings("apd_timeout_ms = 20000\n[device.\"naa.6\"]\npsp = \"VMW_PSP_RR\"\n")
                .unwrap();
        assert_eq!(settings.apd_timeout_ms, Millis(20_000));
        assert_eq!(
            settings.check_interval_ms,
            Settings::default().check_interval_ms
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (text, part) in [
            ("apd_timeout_ms = 1\n", "out of range"),
            (
                "[unlisted_device]\napd_timeout_ms = 1\n",
                "[unlisted_device] apd_timeout_ms = 1 is out of range",
            ),
            ("[every_device]\npsp = \"X\"\n", "[every_device] psp"),
            (
                "[every_device]\npreferred = \"vmhba1:C0:T0:L0\"\n",
                "a setting of one device",
            ),
            ("[default_device]\npsp = \"VMW_PSP_RR\"\n", "nmp satp set"),
            ("apd_timeout_ms = \"x\"\n", "line 1"),
            ("metrics_textfile = \"dm-psa.prom\"\n", "whole path"),
            ("metrics_interval_ms = 10\n", "1000 to 86400000"),
            ("apd_timout_ms = 5000\n", "apd_timout_ms"),
            (
                "[device.\"naa.6\"]\npsp = \"VMW_PSP_XX\"\n",
                "VMW_PSP_FIXED",
            ),
        ] {
            let error = with_settings(text).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("dm-psa.toml"),
                "{error}"
            );
        }
    }

    #[test]
    fn damaged_memory_is_set_aside() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        store::replace(&places.memory(), b"{").unwrap();
        assert!(
            load_memory(&places)
                .unwrap_err()
                .to_string()
                .contains("set aside")
        );
        assert_eq!(load_memory(&places).unwrap(), Memory::default());
        assert!(
            root.path()
                .join("etc/dm-psa/state/memory.json.damaged")
                .exists()
        );
    }
}
