//! The files of the admin and of the agent: read completely, validated, and written atomically.
//!
//! Input: `/etc/dm-psa/dm-psa.toml` (settings), `/etc/dm-psa/state/memory.json` (what the agent remembers), and the
//! files of [`rules`].
//! Invariants: a damaged file never stops the agent, and a mistake affects only itself: a setting falls back to its
//! default, an entry of the memory has no effect, a rule is left out. Each mistake is reported with file, place and
//! reason, and no file is overwritten unread.

#![forbid(unsafe_code)]

pub mod boot;
mod document;
pub mod memory_file;
pub mod rules;
pub mod settings_file;
pub mod store;
pub mod wwids;

use crate::psa::identity::is_usable_name;
use crate::psa::satp::options::MOST_FAST_IO_FAIL;
use crate::psa::settings::{DeviceSettings, Settings};
use crate::psa::units::Millis;
use document::{Document, Mistake};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The range of `apd_timeout_ms`. The minimum of ESXi is 20 s, but `no_path_retry fail` of multipath-tools needs less.
const LEAST_APD: u64 = 1_000;
const MOST_APD: u64 = 99_999_000;

/// The paths of all files, below a root directory (`/` for the running system).
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// The paths below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Places {
        Places {
            root: root.to_owned(),
        }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The admin's settings.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.root.join("etc/dm-psa/dm-psa.toml")
    }

    /// The memory of the agent.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.root.join("etc/dm-psa/state/memory.json")
    }

    /// The directory of rule files from dm-psa and from array vendors.
    #[must_use]
    pub(crate) fn system_rules(&self) -> PathBuf {
        self.root.join("usr/lib/dm-psa")
    }

    /// The admin's rules.
    #[must_use]
    pub fn admin_rules(&self) -> PathBuf {
        self.root.join("etc/dm-psa/rules.toml")
    }

    /// The admin's rules that last until reboot.
    #[must_use]
    pub(crate) fn boot_rules(&self) -> PathBuf {
        self.run().join("rules.toml")
    }

    /// The loaded claim rules of the admin.
    #[must_use]
    pub(crate) fn loaded_rules(&self) -> PathBuf {
        self.run().join("claimrules.toml")
    }

    /// The configuration of an ESX host: read only by `claimrule convert`.
    #[must_use]
    pub fn esx_conf(&self) -> PathBuf {
        self.root.join("etc/vmware/esx.conf")
    }

    /// The directory of the agent's journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.run().join("journal")
    }

    /// Since when each device has had no usable path.
    #[must_use]
    pub fn outages(&self) -> PathBuf {
        self.run().join("outages.json")
    }

    /// The takeover budgets of devices.
    #[must_use]
    pub(crate) fn takeovers(&self) -> PathBuf {
        self.run().join("takeovers.json")
    }

    /// In an initramfs: what it holds ([`boot::BootImage`]).
    #[must_use]
    pub fn boot_image(&self) -> PathBuf {
        self.root.join("etc/dm-psa/boot.json")
    }

    /// Exists once the disks of this boot were decided upon, or nobody will do that any more.
    #[must_use]
    pub fn decided(&self) -> PathBuf {
        self.run().join("decided")
    }

    /// What the initramfs of this boot held, if it made the maps.
    #[must_use]
    pub fn booted_image(&self) -> PathBuf {
        self.run().join("boot.json")
    }

    /// The directory with what each initramfs of this host holds.
    #[must_use]
    pub(crate) fn boot_images(&self) -> PathBuf {
        self.root.join("var/lib/dm-psa/boot")
    }

    /// Locked by the agent that works on the maps.
    #[must_use]
    pub(crate) fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// The directory of runtime files, which are gone after a reboot.
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
    #[error("{file}: {source}; only root can change it, on a writable file system")]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content is invalid.
    #[error("{file}: {problem}")]
    Invalid {
        /// Which.
        file: PathBuf,
        /// Place and reason.
        problem: String,
    },
}

/// Reads a file; `None` if it does not exist.
fn read(file: &Path) -> Result<Option<String>, ConfigError> {
    present(file, std::fs::read_to_string(file))
}

/// What was read; `None` if the file does not exist.
fn present<T>(file: &Path, read: io::Result<T>) -> Result<Option<T>, ConfigError> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read {
            file: file.to_owned(),
            source,
        }),
    }
}

/// Reads a file whose mistakes affect only themselves; empty if there is none. So a byte that is not UTF-8, in a comment for
/// instance, is replaced and reported, and the rest of the file counts.
fn read_leniently(file: &Path) -> Result<(String, Option<ConfigError>), ConfigError> {
    let bytes = present(file, std::fs::read(file))?.unwrap_or_default();
    let mistake = std::str::from_utf8(&bytes).err().map(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ConfigError::Invalid {
            file: file.to_owned(),
            problem: format!(
                "line {line}: a byte is not UTF-8, and is replaced by U+FFFD: save the file as UTF-8"
            ),
        }
    });
    Ok((String::from_utf8_lossy(&bytes).into_owned(), mistake))
}

/// Reads the admin's settings; the defaults if there is no file.
///
/// # Errors
/// The file cannot be read, or has a mistake: reports the first one, with its line.
pub fn load_settings(places: &Places) -> Result<Settings, ConfigError> {
    let (settings, problems) = read_settings(places);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(settings),
    }
}

/// Reads the admin's settings leniently: a setting with a mistake has its default. Also returns the mistakes, with line
/// and reason.
#[must_use]
pub(crate) fn read_settings(places: &Places) -> (Settings, Vec<ConfigError>) {
    let file = places.settings();
    let (text, replaced) = match read_leniently(&file) {
        Ok(read) => read,
        Err(problem) => return (Settings::default(), vec![problem]),
    };
    let (settings, mistakes) = parse_settings(&text);
    let invalid = |mistake: Mistake| ConfigError::Invalid {
        file: file.clone(),
        problem: format!("{mistake}; it has no effect, the rest of the file is used"),
    };
    let mistakes = mistakes.into_iter().map(invalid);
    (settings, replaced.into_iter().chain(mistakes).collect())
}

/// Returns the settings in a text, and its mistakes.
fn parse_settings(text: &str) -> (Settings, Vec<Mistake>) {
    let mut document = Document::new(text);
    loop {
        let settings: Settings = document.take();
        let Err((place, what)) = check(&settings) else {
            return (settings, document.mistakes);
        };
        // Defaults are in range, so a value out of range comes from the text.
        let at = document.find(&place).unwrap_or(0..usize::MAX);
        if !document.refuse(&at, what) {
            return (Settings::default(), document.mistakes);
        }
    }
}

/// Checks that all values are in range. The error is the path of keys to a value that is not, and why.
fn check(settings: &Settings) -> Result<(), (Vec<String>, String)> {
    let refuse = |name: &str, why: String| Err((vec![name.to_owned()], why));
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
        return refuse(
            "metrics_textfile",
            format!(
                "metrics_textfile = \"{file}\": use an absolute path that ends in .prom, because node_exporter reads only such files"
            ),
        );
    }
    if u64::from(settings.fast_io_fail_tmo) > MOST_FAST_IO_FAIL {
        return refuse(
            "fast_io_fail_tmo",
            format!(
                "fast_io_fail_tmo = {} is out of range: use 0 to {MOST_FAST_IO_FAIL}",
                settings.fast_io_fail_tmo
            ),
        );
    }
    for (name, value, least, most) in ranges {
        if value < least || value > most {
            return refuse(
                name,
                format!("{name} = {value} is out of range: use {least} to {most}"),
            );
        }
    }
    let tables = [
        ("every_device", &settings.every_device),
        ("unlisted_device", &settings.unlisted_device),
        ("default_device", &settings.default_device),
    ];
    for (table, of_many) in tables {
        check_devices(table, &[table], of_many)?;
        let of_one = [
            ("preferred", of_many.preferred.is_some()),
            ("ranks", !of_many.ranks.is_empty()),
            ("display_name", of_many.display_name.is_some()),
            ("map_name", of_many.map_name.is_some()),
        ];
        if let Some((name, _)) = of_one.iter().find(|(_, is_set)| *is_set) {
            let why = format!(
                "[{table}] {name}: this setting is only valid for one device, in [device.\"naa...\"]"
            );
            return Err((place(&[table, name]), why));
        }
    }
    if settings.default_device.psp.is_some() {
        let why = "[default_device] psp is not valid: use `psactl storage nmp satp set` to set the PSP of devices whose rule names none";
        return Err((place(&["default_device", "psp"]), why.to_owned()));
    }
    let mut named = BTreeMap::new();
    for (device, settings) in &settings.device {
        let table = format!("device.\"{device}\"");
        check_devices(&table, &["device", device.as_str()], settings)?;
        let Some(name) = &settings.map_name else {
            continue;
        };
        let why = if !is_usable_name(name) {
            "a map cannot have this name: use up to 127 letters, digits and the characters #+-.:=@_, and not the id of a device".to_owned()
        } else if let Some(other) = named.insert(name, device) {
            format!("{other} has this name already")
        } else {
            continue;
        };
        let why = format!("[{table}] map_name = \"{name}\": {why}");
        return Err((place(&["device", device.as_str(), "map_name"]), why));
    }
    Ok(())
}

fn place(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

/// Checks the settings of devices. `table` is the name of the table for messages; `keys` is the path of keys to it.
fn check_devices(
    table: &str,
    keys: &[&str],
    settings: &DeviceSettings,
) -> Result<(), (Vec<String>, String)> {
    let at = |name: &str| place(&[keys, &[name]].concat());
    if let Some(Millis(ms)) = settings.apd_timeout_ms
        && !(LEAST_APD..=MOST_APD).contains(&ms)
    {
        let why = format!(
            "[{table}] apd_timeout_ms = {ms} is out of range: use {LEAST_APD} to {MOST_APD}"
        );
        return Err((at("apd_timeout_ms"), why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::settings::PspKind;
    use crate::psa::units::Millis;

    fn with_settings(text: &str) -> Result<Settings, ConfigError> {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        store::replace(&places.settings(), text.as_bytes()).unwrap();
        load_settings(&places)
    }

    #[test]
    fn without_a_file_the_defaults_apply() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            load_settings(&Places::below(root.path())).unwrap(),
            Settings::default()
        );
    }

    #[test]
    fn a_value_is_used_and_the_rest_is_default() {
        let settings =
            with_settings("apd_timeout_ms = 20000\n[device.\"naa.6\"]\npsp = \"VMW_PSP_RR\"\n")
                .unwrap();
        assert_eq!(settings.apd_timeout_ms, Millis(20_000));
        assert_eq!(
            settings.check_interval_ms,
            Settings::default().check_interval_ms
        );
    }

    /// A comment in Latin-1.
    #[test]
    fn a_byte_that_is_not_utf_8_affects_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let text = b"lone_paths = \"all\"\n# f\xfcr die Datenbank\napd_timeout_ms = 20000\n";
        store::replace(&places.settings(), text).unwrap();
        let (settings, problems) = read_settings(&places);
        assert_eq!(settings.apd_timeout_ms, Millis(20_000));
        assert_eq!(settings.lone_paths, crate::psa::settings::LonePaths::All);
        let [problem] = &*problems else {
            panic!("{problems:?}");
        };
        assert!(
            problem.to_string().contains("line 2: a byte is not UTF-8"),
            "{problem}"
        );
        // The same in a file of rules.
        let rules = b"# \xe9\n[[claimrule]]\nrule = 200\ntype = \"vendor\"\nvendor = \"X\"\nplugin = \"MASK_PATH\"\n";
        store::replace(&places.admin_rules(), rules).unwrap();
        let (rules, problems) = rules::start(&places);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            rules
                .in_force()
                .claim
                .rules()
                .iter()
                .any(|rule| rule.number == 200)
        );
    }

    /// A key of a newer version, a typing mistake or a value out of range is reported; all other settings take effect.
    #[test]
    fn an_invalid_setting_affects_no_other() {
        let rest = "check_interval_ms = 7000\n[device.\"naa.6\"]\npsp = \"VMW_PSP_RR\"\n";
        for (mistake, line) in [
            ("new_setting = 5\n", 1),
            ("apd_timeout_ms = 1\n", 1),
            ("apd_timeout_ms = \"x\"\n", 1),
            ("apd_timeout_ms = = 5\n", 1),
            ("[device.\"naa.6\"]\nnew = 1\n", 5),
            ("[device.\"naa.6\".round_robin]\nlimit_type = \"new\"\n", 5),
            ("[device.\"naa.7\"]\npsp = \"VMW_PSP_XX\"\n", 5),
            ("[device.\"naa.7\"]\npreferred = \"sda\"\n", 5),
            ("[device.\"naa.6\".ranks]\nsda = 5\n", 5),
            ("[new_section]\na = 1\nb = 2\n", 4),
        ] {
            let text = match mistake.starts_with('[') {
                true => rest.to_owned() + &mistake.replace("[device.\"naa.6\"]", "# more of it"),
                false => mistake.to_owned() + rest,
            };
            let root = tempfile::tempdir().unwrap();
            let places = Places::below(root.path());
            store::replace(&places.settings(), text.as_bytes()).unwrap();
            let (settings, problems) = read_settings(&places);
            assert_eq!(settings.check_interval_ms, Millis(7_000), "{mistake}");
            assert_eq!(settings.apd_timeout_ms, Settings::default().apd_timeout_ms);
            let psp = settings.device["naa.6"].psp;
            assert_eq!(psp, Some(PspKind::RoundRobin), "{mistake}");
            assert_eq!(problems.len(), 1, "{mistake}: {problems:?}");
            let text = problems[0].to_string();
            let start = format!("dm-psa.toml: line {line}: ");
            assert!(
                text.contains(&start) && text.contains("rest of the file"),
                "{mistake}: {text}"
            );
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (text, part) in [
            ("apd_timeout_ms = 1\n", "out of range"),
            (
                "[unlisted_device]\napd_timeout_ms = 1\n",
                "[unlisted_device] apd_timeout_ms = 1 is out of range",
            ),
            ("[every_device]\npsp = \"X\"\n", "line 2: there is no PSP X"),
            (
                "[every_device]\npreferred = \"vmhba1:C0:T0:L0\"\n",
                "only valid for one device",
            ),
            ("[default_device]\npsp = \"VMW_PSP_RR\"\n", "nmp satp set"),
            ("map_names = \"alias\"\n", "line 1"),
            (
                "[every_device]\nmap_name = \"data\"\n",
                "only valid for one device",
            ),
            (
                "[device.\"naa.6\"]\nmap_name = \"a/b\"\n",
                "[device.\"naa.6\"] map_name = \"a/b\": a map cannot have this name",
            ),
            (
                "[device.\"naa.6\"]\nmap_name = \"naa.7\"\n",
                "not the id of a device",
            ),
            (
                "[device.\"naa.6\"]\nmap_name = \"x\"\n[device.\"naa.7\"]\nmap_name = \"x\"\n",
                "line 4: [device.\"naa.7\"] map_name = \"x\": naa.6 has this name already",
            ),
            ("apd_timeout_ms = \"x\"\n", "line 1"),
            ("metrics_textfile = \"dm-psa.prom\"\n", "absolute path"),
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
