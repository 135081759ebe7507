//! Keeps copies of damaged files next to the originals.

use crate::config::store;
use std::io;
use std::path::{Path, PathBuf};

/// Maximum number of copies of damaged files.
const COPIES: usize = 3;

/// Keeps a copy of a damaged file. Returns a text for the message that says where it is.
pub(super) fn copy(file: &Path, content: &[u8]) -> String {
    let newest = copies(file).into_iter().next();
    if let Some(newest) =
        newest.filter(|copy| std::fs::read(copy).is_ok_and(|text| text == content))
    {
        return format!("the old file is kept as {}", newest.display());
    }
    aside(file, |copy| store::replace(copy, content))
}

/// Adds a file to the copies with `put`, dropping the oldest copy. Returns a text for the message that says where it
/// is.
pub(super) fn aside(file: &Path, put: impl Fn(&Path) -> io::Result<()>) -> String {
    let copies = copies(file);
    for pair in copies.windows(2).rev() {
        if let [newer, older] = pair {
            // Fewer copies than the maximum may exist.
            let _ = std::fs::rename(newer, older);
        }
    }
    let Some(copy) = copies.first() else {
        return String::new();
    };
    match put(copy) {
        Ok(()) => format!("the old file is kept as {}", copy.display()),
        Err(error) => format!(
            "the old file could not be kept as {}: {error}",
            copy.display()
        ),
    }
}

/// The names of the copies, newest first: `memory.json.damaged`, `memory.json.damaged.1`, ...
fn copies(file: &Path) -> Vec<PathBuf> {
    let name = |n: usize| match n {
        0 => file.with_extension("json.damaged"),
        n => file.with_extension(format!("json.damaged.{n}")),
    };
    (0..COPIES).map(name).collect()
}
