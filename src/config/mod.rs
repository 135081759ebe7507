//! The files of the admin and of the agent: read whole and checked, written atomically.
//!
//! Input: `/etc/dm-psa/dm-psa.toml` (settings), `/etc/dm-psa/state/memory.json` (what the agent remembers), and the
//! files of [`rules`].
//! Invariants: a damaged file never stops the agent and is never overwritten unread: settings fall back to the
//! defaults, memory is set aside under another name, and both are reported with file, place and mend.

#![forbid(unsafe_code)]

pub mod memory_file;
pub mod rules;
pub mod settings_file;
pub mod store;

use crate::psa::satp::options::MOST_FAST_IO_FAIL;
use crate::psa::settings::Settings;
use std::io;
use std::path::{Path, PathBuf};

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

    /// Since when devices have no usable path.
    #[must_use]
    pub fn outages(&self) -> PathBuf {
        self.run().join("outages.json")
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
        // ESXi takes 20 s at least; a test wants less.
        (
            "apd_timeout_ms",
            settings.apd_timeout_ms.0,
            1_000,
            99_999_000,
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
    for (device, settings) in &settings.device {
        if let Some(psp) = &settings.psp
            && crate::psa::psp::PspKind::by_name(psp).is_none()
        {
            return Err(format!(
                "[device.\"{device}\"] psp = \"{psp}\": there is no such PSP; take VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR"
            ));
        }
    }
    Ok(())
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
}
