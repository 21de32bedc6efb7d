//! Files that are either whole or not there: written to a temporary name beside the target, synced, renamed.

use std::io::{self, Write};
use std::path::Path;

/// The first and last letters of the name of a file that is being written.
const TEMPORARY: (&str, &str) = (".nhits-", ".tmp");

/// Whether a file of this name is what a crash left of a write.
pub fn is_litter(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// Writes `path` through `write`; on any error, or a crash at any moment, the old file (or none) is still there.
///
/// The temporary file lies in the same folder, so the rename is atomic; the folder is created when it is missing and
/// synced after the rename, so that the new name survives a power cut.
///
/// # Errors
/// Whatever the file system or `write` says, with the path in the message.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    if path.is_dir() {
        return Err(named(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, expected a file name")));
    }
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(named)?;
    let mut file =
        tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempfile_in(folder).map_err(named)?;
    {
        let mut out = io::BufWriter::new(file.as_file_mut());
        write(&mut out).map_err(named)?;
        out.flush().map_err(named)?;
    }
    restore_usual_permissions(path, file.as_file()).map_err(named)?;
    file.as_file().sync_all().map_err(named)?;
    file.persist(path).map_err(|e| named(e.error))?;
    #[cfg(unix)]
    std::fs::File::open(folder).and_then(|d| d.sync_all()).map_err(named)?;
    Ok(())
}

/// A temporary file is private (0600); a result should have the mode of the file it replaces, or the usual 0644.
#[cfg(unix)]
fn restore_usual_permissions(path: &Path, file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777).unwrap_or(0o644);
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restore_usual_permissions(_path: &Path, _file: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/result.txt");
        write_atomic(&path, |w| w.write_all(b"first")).unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(b"half")?;
            Err(io::Error::other("disk gone"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("result.txt") && error.to_string().contains("disk gone"));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_atomic(dir.path(), |_| Ok(())).unwrap_err().to_string().contains("is a folder"));
    }
}
