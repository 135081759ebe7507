//! Changes `dm-psa.toml`; keeps the comments and the layout of the admin.

use super::document::Mistake;
use super::{ConfigError, Places, parse_settings, read, store};
use crate::psa::settings::Settings;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, Value};

/// The header of a new file.
const HEADER: &str = "\
# Settings of dm-psad: dm-psa.toml(5). Read when it starts.

";

/// What a setting applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The host.
    Host,
    /// Every device; overrides SATP rules.
    EveryDevice,
    /// Devices of arrays that no SATP rule names.
    UnlistedDevice,
    /// Every device for which nothing else is set.
    DefaultDevice,
    /// One device, by its identifier: `naa.6001...`
    Device(String),
}

/// Identifies a setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it applies to.
    pub owner: Owner,
    /// `check_interval_ms`, or with a table `round_robin.limit_type`.
    pub name: &'static str,
}

impl Key {
    /// A setting of the host.
    #[must_use]
    pub fn of_host(name: &'static str) -> Key {
        let owner = Owner::Host;
        Key { owner, name }
    }

    /// A setting of a device.
    #[must_use]
    pub fn of_device(device: &str, name: &'static str) -> Key {
        let owner = Owner::Device(device.to_owned());
        Key { owner, name }
    }

    /// Returns the names of the enclosing tables, outermost first, and the name of the setting in them.
    fn path(&self) -> (Vec<&str>, &'static str) {
        let mut tables = match &self.owner {
            Owner::Host => Vec::new(),
            Owner::EveryDevice => vec!["every_device"],
            Owner::UnlistedDevice => vec!["unlisted_device"],
            Owner::DefaultDevice => vec!["default_device"],
            Owner::Device(device) => vec!["device", device.as_str()],
        };
        let name = match self.name.split_once('.') {
            Some((table, name)) => {
                tables.push(table);
                name
            }
            None => self.name,
        };
        (tables, name)
    }

    /// Returns the default of a setting of the host as TOML; `None` for devices, whose rules apply.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        let defaults = toml::Table::try_from(Settings::default()).ok()?;
        let value = defaults.get(self.name)?;
        (self.owner == Owner::Host).then(|| value.to_string())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Host => f.write_str(self.name),
            Owner::EveryDevice => write!(f, "[every_device] {}", self.name),
            Owner::UnlistedDevice => write!(f, "[unlisted_device] {}", self.name),
            Owner::DefaultDevice => write!(f, "[default_device] {}", self.name),
            Owner::Device(device) => write!(f, "[device.\"{device}\"] {}", self.name),
        }
    }
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A number.
    Number(u32),
    /// A text.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
}

impl From<&Setting> for Value {
    fn from(setting: &Setting) -> Value {
        match setting {
            Setting::Number(number) => i64::from(*number).into(),
            Setting::Text(text) => text.into(),
            Setting::Bool(is) => (*is).into(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::from(self).fmt(f)
    }
}

/// The settings file. The file on disk changes only when it is saved.
#[derive(Debug, Clone, Default)]
pub struct SettingsFile {
    file: PathBuf,
    /// The text that was read; `None` if there is no file.
    text: Option<String>,
    /// Its mistakes when it was read.
    mistakes: Vec<Mistake>,
    document: DocumentMut,
}

impl SettingsFile {
    /// Reads the file, which need not exist.
    ///
    /// # Errors
    /// The file cannot be read, or is not TOML and must be corrected before it is changed.
    pub fn open(places: &Places) -> Result<SettingsFile, ConfigError> {
        let file = places.settings();
        let text = read(&file)?;
        let document = text.as_deref().unwrap_or(HEADER);
        let read = SettingsFile {
            document: document.parse().map_err(|error: toml_edit::TomlError| {
                ConfigError::Invalid {
                    file: file.clone(),
                    problem: error.to_string(),
                }
            })?,
            mistakes: parse_settings(document).1,
            file,
            text,
        };
        Ok(read)
    }

    fn invalid(&self, problem: String) -> ConfigError {
        ConfigError::Invalid {
            file: self.file.clone(),
            problem,
        }
    }

    /// Returns the current text, if the agent could use the changes. Mistakes that were there before, such as a setting
    /// of a newer version, are ignored: the agent reports them.
    fn checked(&self) -> Result<String, ConfigError> {
        let text = self.document.to_string();
        let (_, mistakes) = parse_settings(&text);
        let new = mistakes
            .iter()
            .find(|mistake| !self.mistakes.iter().any(|old| old.what == mistake.what));
        match new {
            Some(mistake) => Err(self.invalid(mistake.to_string())),
            None => Ok(text),
        }
    }

    /// The settings as the agent would read them.
    pub(crate) fn settings(&self) -> Settings {
        parse_settings(&self.document.to_string()).0
    }

    /// Returns the value of a setting in the file as TOML; `None` if it is not set there.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<String> {
        let (tables, name) = key.path();
        let mut item = self.document.as_item();
        for table in tables.into_iter().chain([name]) {
            item = item.as_table_like()?.get(table)?;
        }
        let mut value = item.as_value()?.clone();
        value.decor_mut().clear();
        Some(value.to_string())
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// The file has another type of value where a table should be.
    pub fn set(&mut self, key: &Key, setting: &Setting) -> Result<(), ConfigError> {
        let wrong = self.invalid(format!(
            "{key} cannot be set: the key above it is not a table"
        ));
        // If the file contains only comments, they stay at its top.
        let is_first = self.document.as_table().is_empty();
        let mut before = "\n".to_owned();
        if is_first {
            before = self.document.trailing().as_str().unwrap_or("").to_owned();
            self.document.set_trailing("");
        }
        let (tables, name) = key.path();
        let mut item = self.document.as_item_mut();
        for (depth, name) in tables.iter().enumerate() {
            let Some(table) = item.as_table_like_mut() else {
                return Err(wrong);
            };
            item = table.entry(name).or_insert_with(|| {
                let mut table = Table::new();
                if depth == 0 && *name == "device" {
                    // `[device]` has no settings of its own.
                    table.set_implicit(true);
                } else {
                    let before = std::mem::replace(&mut before, "\n".to_owned());
                    table.decor_mut().set_prefix(before);
                }
                Item::Table(table)
            });
        }
        let Some(table) = item.as_table_like_mut() else {
            return Err(wrong);
        };
        table.insert(name, Item::Value(setting.into()));
        if is_first
            && tables.is_empty()
            && let Some(mut key) = table.key_mut(name)
        {
            key.leaf_decor_mut().set_prefix(before);
        }
        Ok(())
    }

    /// Removes a setting of the host from the file, so that the default applies.
    pub(crate) fn unset(&mut self, key: &Key) {
        if key.owner == Owner::Host {
            self.document.as_table_mut().remove(key.name);
        }
    }

    /// Checks whether the file would accept a setting, without changing the file.
    ///
    /// # Errors
    /// The reason why not: for example, the value is out of range.
    pub(crate) fn would_take(&self, key: &Key, setting: &Setting) -> Result<(), String> {
        let mut trial = self.clone();
        let taken = trial.set(key, setting).and_then(|()| trial.checked());
        match taken {
            Ok(_) => Ok(()),
            Err(ConfigError::Invalid { problem, .. }) => Err(problem),
            Err(other) => Err(other.to_string()),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file cannot be written, or was changed since it was read; the old content stays.
    pub fn save(self) -> Result<(), ConfigError> {
        let text = self.checked()?;
        let failed = |source| ConfigError::Write {
            file: self.file.clone(),
            source,
        };
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if read(&self.file)? != self.text {
            return Err(self.invalid(
                "another program changed it in the meantime: run the command again".to_owned(),
            ));
        }
        store::replace(&self.file, text.as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::settings::PspKind;

    fn edited(before: Option<&str>, changes: &[(Key, Setting)]) -> String {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        if let Some(text) = before {
            store::replace(&places.settings(), text.as_bytes()).unwrap();
        }
        let mut file = SettingsFile::open(&places).unwrap();
        for (key, setting) in changes {
            file.set(key, setting).unwrap();
            assert_eq!(file.get(key), Some(setting.to_string()));
        }
        file.save().unwrap();
        std::fs::read_to_string(places.settings()).unwrap()
    }

    fn changes() -> Vec<(Key, Setting)> {
        let rr = Setting::Text("VMW_PSP_RR".to_owned());
        let latency = Setting::Text("latency".to_owned());
        vec![
            (Key::of_host("apd_timeout_ms"), Setting::Number(20_000)),
            (Key::of_device("naa.6", "psp"), rr),
            (Key::of_device("naa.6", "round_robin.limit_type"), latency),
            (
                Key::of_device("naa.7", "apd_timeout_ms"),
                Setting::Number(1_000),
            ),
        ]
    }

    #[test]
    fn a_new_file_begins_with_its_header() {
        let wanted = format!(
            "{HEADER}{}",
            "\
apd_timeout_ms = 20000

[device.\"naa.6\"]
psp = \"VMW_PSP_RR\"

[device.\"naa.6\".round_robin]
limit_type = \"latency\"

[device.\"naa.7\"]
apd_timeout_ms = 1000
"
        );
        assert_eq!(edited(None, &changes()), wanted);
        let text = edited(None, &changes()[1..]);
        assert!(
            text.starts_with(&format!("{HEADER}[device.\"naa.6\"]\n")),
            "{text}"
        );
        assert_eq!(text.matches("# Settings").count(), 1);
    }

    #[test]
    fn comments_are_kept() {
        let before = "\
# Ours.
settle_ms = 100 # quick

# The tape library.
[device.\"naa.6\"]
preferred = \"vmhba1:C0:T0:L0\" # left
";
        let text = edited(Some(before), &changes());
        for part in [
            "# Ours.\nsettle_ms = 100 # quick\n",
            "# The tape library.\n",
            "# left",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let settings: Settings = toml::from_str(&text).unwrap();
        assert_eq!(settings.device.len(), 2);
        assert_eq!(settings.device["naa.6"].psp, Some(PspKind::RoundRobin));
    }

    #[test]
    fn settings_are_read_from_the_file() {
        let file = SettingsFile {
            document: "settle_ms = 100 # quick\n[device]\nx = 1".parse().unwrap(),
            ..SettingsFile::default()
        };
        assert_eq!(file.get(&Key::of_host("settle_ms")), Some("100".to_owned()));
        assert_eq!(file.get(&Key::of_host("regroup_ms")), None);
        assert_eq!(file.get(&Key::of_device("x", "psp")), None);
        assert_eq!(Key::of_host("settle_ms").default(), Some("500".to_owned()));
        assert_eq!(Key::of_device("x", "settle_ms").default(), None);
        let mut file = file;
        let change = file.set(&Key::of_device("x", "psp"), &Setting::Number(1));
        assert!(change.unwrap_err().to_string().contains("not a table"));
    }

    #[test]
    fn a_change_in_between_is_not_lost() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let mut file = SettingsFile::open(&places).unwrap();
        let (key, setting) = (Key::of_host("settle_ms"), Setting::Number(7));
        file.set(&key, &setting).unwrap();
        store::replace(&places.settings(), b"regroup_ms = 5\n").unwrap();
        let why = file.save().unwrap_err().to_string();
        assert!(why.contains("changed it in the meantime"), "{why}");
    }

    #[test]
    fn a_value_out_of_its_range_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let mut file = SettingsFile::open(&Places::below(root.path())).unwrap();
        let key = Key::of_host("apd_timeout_ms");
        file.set(&key, &Setting::Number(1)).unwrap();
        assert!(
            file.save()
                .unwrap_err()
                .to_string()
                .contains("out of range")
        );
    }

    #[test]
    fn a_setting_of_a_newer_version_does_no_harm() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let text = "new_setting = { a = 1.50 } # later\nregroup_ms = 5\n";
        store::replace(&places.settings(), text.as_bytes()).unwrap();
        let mut file = SettingsFile::open(&places).unwrap();
        file.set(&Key::of_host("settle_ms"), &Setting::Number(7))
            .unwrap();
        file.save().unwrap();
        let saved = std::fs::read_to_string(places.settings()).unwrap();
        assert_eq!(saved, format!("{text}settle_ms = 7\n"));
    }
}
