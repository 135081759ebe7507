//! Runs `psactl` inside a test, and compares screens with files below `tests/golden/`, which `UPDATE_GOLDEN=1`
//! rewrites.

#![allow(dead_code, reason = "each test program uses its part")]

use dm_psa::cli::{Console, Exit, run_on};
use dm_psa::kernel::sysfs::Sysfs;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Its exit code.
    pub exit: Exit,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `psactl` with these words.
pub(crate) fn psactl<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Screen {
    psactl_coloured(words, false)
}

/// Runs `psactl` with these words, on a terminal that takes colours if `colour`.
pub(crate) fn psactl_coloured<T: Into<OsString>>(
    words: impl IntoIterator<Item = T>,
    colour: bool,
) -> Screen {
    psactl_on(Sysfs::of_this_host(), words, colour)
}

/// Runs `psactl` on a host with sysfs and procfs at another place.
pub(crate) fn psactl_on<T: Into<OsString>>(
    host: Sysfs,
    words: impl IntoIterator<Item = T>,
    colour: bool,
) -> Screen {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        colour_out: colour,
        colour_err: colour,
    };
    let program = std::iter::once(OsString::from("psactl"));
    let exit = run_on(
        host,
        program.chain(words.into_iter().map(Into::into)),
        &mut console,
    );
    Screen {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// Runs `psactl` on the files below a directory.
pub(crate) fn psactl_below<T: Into<OsString>>(
    root: &Path,
    words: impl IntoIterator<Item = T>,
) -> Screen {
    let root: [OsString; 2] = ["--root".into(), root.into()];
    psactl(root.into_iter().chain(words.into_iter().map(Into::into)))
}

/// A file of `tests/golden/`.
pub(crate) fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Compares a text with a file of `tests/golden/`.
pub(crate) fn golden(name: &str, text: &str) {
    let path = golden_file(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|why| panic!("{}: {why}; UPDATE_GOLDEN=1 creates it", path.display()));
    assert_eq!(
        text,
        wanted,
        "{} differs; UPDATE_GOLDEN=1 accepts the new output",
        path.display()
    );
}
