//! What an initramfs holds of the files that decide about maps, and whether that is still true.
//!
//! The program that makes an initramfs has [`record`] write a [`BootImage`] into the image, and the same one below
//! `/var/lib/dm-psa/boot`. In the initramfs `psactl activate --initrd` copies it to `/run/dm-psa/boot.json`, where the
//! agent of the root file system finds it. Both are compared with the files as they are now.

use super::{ConfigError, Places, memory_file, read, store};
use crate::psa::identity::fnv1a;
use crate::psa::names::Wwid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What an initramfs holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootImage {
    /// The version of the kernel that it is for.
    pub kernel: String,
    /// The version of dm-psa in it.
    pub version: String,
    /// Hashes of the files with settings and rules, by path; a file that does not exist is not in the list.
    pub files: BTreeMap<String, String>,
    /// WWIDs of the devices that `/` and `/usr` are on, if they are on maps. The boot waits for them.
    pub wait_for: BTreeSet<Wwid>,
}

/// The mount points that an initramfs mounts.
pub(crate) const MOUNTED: &[&str] = &["/", "/usr"];

/// How long a boot waits for the devices that it expects, unless the kernel command line says otherwise.
const WAIT: u64 = 30;

/// What `dm_psa.wait=SECONDS` on the kernel command line may say.
const WAITS: std::ops::RangeInclusive<u64> = 1..=3600;

/// What is hashed of `memory.json`: it also lists each device that ever had a map, which changes with every new one.
const CHOICES: &str = "what psactl set, in /etc/dm-psa/state/memory.json";

impl BootImage {
    /// What an initramfs would hold that is made now.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_now(
        places: &Places,
        kernel: &str,
        wait_for: BTreeSet<Wwid>,
    ) -> Result<BootImage, ConfigError> {
        let mut files = BTreeMap::new();
        let mut paths = vec![places.settings(), places.admin_rules()];
        paths.extend(super::rules::system_files(places));
        for path in paths {
            if let Some(text) = read(&path)? {
                let name = path.strip_prefix(places.root()).unwrap_or(&path);
                files.insert(format!("/{}", name.display()), hash(text.as_bytes()));
            }
        }
        let (mut memory, _) = memory_file::load(places);
        memory.devices.clear();
        memory.ids.clear();
        memory.masked.clear();
        memory.adapters.clear();
        memory.not_understood.clear();
        files.insert(CHOICES.to_owned(), hash(&memory_file::write(&memory)));
        Ok(BootImage {
            kernel: kernel.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files,
            wait_for,
        })
    }

    /// Reads one; `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is not one.
    pub fn load(file: &Path) -> Result<Option<BootImage>, ConfigError> {
        let Some(text) = read(file)? else {
            return Ok(None);
        };
        let image = serde_json::from_str(&text).map_err(|why| ConfigError::Invalid {
            file: file.to_owned(),
            problem: why.to_string(),
        })?;
        Ok(Some(image))
    }

    /// What the initramfs of this kernel holds, if one was made.
    ///
    /// # Errors
    /// As for [`BootImage::load`].
    pub fn recorded_for(places: &Places, kernel: &str) -> Result<Option<BootImage>, ConfigError> {
        BootImage::load(&file_of(places, kernel))
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), ConfigError> {
        let failed = |source| ConfigError::Write {
            file: file.to_owned(),
            source,
        };
        let text = serde_json::to_vec(self).map_err(|why| failed(io::Error::other(why)))?;
        store::replace(file, &text).map_err(failed)
    }

    /// How this initramfs differs from one that is made `now`; empty if it does not.
    #[must_use]
    pub fn differences(&self, now: &BootImage) -> Vec<String> {
        let mut found = Vec::new();
        if self.version != now.version {
            found.push(format!(
                "it has dm-psa {}, not {}",
                self.version, now.version
            ));
        }
        let names: BTreeSet<&String> = self.files.keys().chain(now.files.keys()).collect();
        for name in names {
            let what = match (self.files.get(name), now.files.get(name)) {
                (Some(then), Some(now)) if then == now => continue,
                (Some(_), Some(_)) => "was changed since",
                (None, _) => "is not in it",
                (_, None) => "does not exist any more",
            };
            found.push(format!("{name} {what}"));
        }
        for wwid in now.wait_for.difference(&self.wait_for) {
            found.push(format!(
                "it does not wait for {wwid}, which the system runs from"
            ));
        }
        for wwid in self.wait_for.difference(&now.wait_for) {
            found.push(format!(
                "it waits for {wwid}, which the system does not run from"
            ));
        }
        found
    }
}

/// How long a boot waits for the devices that it expects, by the kernel command line; and what is wrong with that.
#[must_use]
pub fn wait(command_line: &str) -> (Duration, Option<String>) {
    let (mut seconds, mut wrong) = (WAIT, None);
    for word in command_line.split_whitespace() {
        let Some(value) = word.strip_prefix("dm_psa.wait=") else {
            continue;
        };
        match value.parse() {
            Ok(value) if WAITS.contains(&value) => seconds = value,
            _ => {
                let (least, most) = (WAITS.start(), WAITS.end());
                wrong = Some(format!(
                    "`{word}` on the kernel command line has no effect: it takes {least} to {most} seconds"
                ));
            }
        }
    }
    (Duration::from_secs(seconds), wrong)
}

/// Writes what an initramfs for this kernel holds: into its directory `image`, and for `psactl boot status` if the host boots
/// from it.
///
/// # Errors
/// A file cannot be read or written.
pub fn record(
    places: &Places,
    kernel: &str,
    image: &Path,
    wait_for: BTreeSet<Wwid>,
    is_booted: bool,
) -> Result<(), ConfigError> {
    let now = BootImage::of_now(places, kernel, wait_for)?;
    now.save(&Places::below(image).boot_image())?;
    if is_booted {
        now.save(&file_of(places, kernel))?;
    }
    Ok(())
}

fn file_of(places: &Places, kernel: &str) -> PathBuf {
    places.boot_images().join(format!("{kernel}.json"))
}

/// The initramfs images that are recorded: their files, in order of their names.
#[must_use]
pub fn recorded(places: &Places) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(places.boot_images())
        .into_iter()
        .flatten();
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|is| is == "json"))
        .collect();
    files.sort();
    files
}

/// Tells a changed file from an unchanged one.
fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", fnv1a(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn host() -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/dm-psa/state")).unwrap();
        fs::create_dir_all(root.path().join("usr/lib/dm-psa")).unwrap();
        fs::write(root.path().join("usr/lib/dm-psa/10-arrays.toml"), "").unwrap();
        let places = Places::below(root.path());
        (root, places)
    }

    fn now(places: &Places, wait_for: &[&str]) -> BootImage {
        let wait_for = wait_for.iter().map(|wwid| Wwid::from(*wwid)).collect();
        BootImage::of_now(places, "6.12", wait_for).unwrap()
    }

    #[test]
    fn an_image_is_stale_when_a_file_that_decides_has_changed() {
        let (root, places) = host();
        let image = root.path().join("image");
        record(
            &places,
            "6.12",
            &image,
            BTreeSet::from([Wwid::from("36001")]),
            true,
        )
        .unwrap();
        let [file] = &*recorded(&places) else {
            panic!("one image");
        };
        let then = BootImage::load(file).unwrap().unwrap();
        let inside = BootImage::load(&Places::below(&image).boot_image()).unwrap();
        assert_eq!(inside.as_ref(), Some(&then));
        assert!(then.differences(&now(&places, &["36001"])).is_empty());

        fs::write(places.admin_rules(), "# mine\n").unwrap();
        fs::write(root.path().join("usr/lib/dm-psa/10-arrays.toml"), "#\n").unwrap();
        assert_eq!(
            then.differences(&now(&places, &["36002"])),
            [
                "/etc/dm-psa/rules.toml is not in it",
                "/usr/lib/dm-psa/10-arrays.toml was changed since",
                "it does not wait for 36002, which the system runs from",
                "it waits for 36001, which the system does not run from",
            ]
        );
    }

    /// kdump and a rescue system have images of the same kernel.
    #[test]
    fn an_image_that_the_host_does_not_boot_from_leaves_the_record_alone() {
        let (root, places) = host();
        let image = root.path().join("image");
        record(&places, "6.12", &image, BTreeSet::new(), false).unwrap();
        assert!(Places::below(&image).boot_image().exists());
        assert!(recorded(&places).is_empty());
    }

    #[test]
    fn the_kernel_command_line_says_how_long_a_boot_waits() {
        let seconds = |line: &str| (wait(line).0.as_secs(), wait(line).1.is_some());
        assert_eq!(seconds("quiet root=/dev/sda"), (30, false));
        assert_eq!(seconds("dm_psa.wait=5 quiet"), (5, false));
        assert_eq!(seconds("dm_psa.wait=5 dm_psa.wait=7"), (7, false));
        for wrong in ["0", "", "x", "-1", "3601", "99999999999999999999"] {
            assert_eq!(seconds(&format!("dm_psa.wait={wrong}")), (30, true));
        }
    }

    #[test]
    fn a_new_device_does_not_make_it_stale_but_a_setting_does() {
        let (_root, places) = host();
        let then = now(&places, &[]);
        let memory = r#"{ "devices": ["36001"] }"#;
        fs::write(places.memory(), memory).unwrap();
        assert!(then.differences(&now(&places, &[])).is_empty());
        let memory = r#"{ "devices": ["36001"], "devices_off": ["naa.6001"] }"#;
        fs::write(places.memory(), memory).unwrap();
        assert_eq!(
            then.differences(&now(&places, &[])),
            [format!("{CHOICES} was changed since")]
        );
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_file() {
        let (root, _) = host();
        let file = root.path().join("boot.json");
        assert!(BootImage::load(&file).unwrap().is_none());
        fs::write(&file, "{").unwrap();
        let why = BootImage::load(&file).unwrap_err().to_string();
        assert!(why.starts_with(&file.display().to_string()), "{why}");
    }
}
