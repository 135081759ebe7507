//! Atomic replacement of a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file: writes a temporary file next to it, syncs it, renames it, and syncs the folder. After a crash at
/// any point the file holds either the old or the new content.
///
/// # Errors
/// Any error of the file system. The file then has its old content, unless only the final sync of the folder failed.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.tmp"));
    let mut out = File::create(&temporary)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&temporary, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a/b");
        replace(&file, b"one").unwrap();
        replace(&file, b"2").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::read_dir(root.path().join("a")).unwrap().count(), 1);
    }
}
