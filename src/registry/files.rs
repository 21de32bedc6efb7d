//! The store of content-hashed files: `objects/ab/cdef...`, named by the SHA-256 of what they hold.
//!
//! Saving the same content twice stores it once. A file under its name is whole: it was written aside, synced and
//! renamed, and its folders were synced, before any row of the database names it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::RegistryError;
use crate::atomic_file::{is_litter, write_atomic};

/// Bytes that are copied at a time.
const BLOCK: usize = 1 << 20;

/// The files of a registry.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
}

/// What a walk over the store finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Hash and size of each file.
    pub objects: Vec<(String, u64)>,
    /// What a crash left of writes, and anything else that is no object.
    pub litter: Vec<PathBuf>,
}

/// Whether a text is a SHA-256 in lower-case hex: the only names that ever become part of a path.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-256 of some bytes, in hex.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Copies `from` into `to` and gives hash and length.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<(String, u64)> {
    let (mut sha, mut total, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        let n = match from.read(&mut block) {
            Ok(0) => return Ok((hex(&sha.finalize()), total)),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        sha.update(&block[..n]);
        to.write_all(&block[..n])?;
        total += n as u64;
    }
}

impl Files {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where the file with this hash lies.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.root.join(&sha256[..2]).join(&sha256[2..])
    }

    /// The hash and length of what is in the store under a name, by reading it.
    pub fn measure(&self, sha256: &str) -> std::io::Result<(String, u64)> {
        copy(&mut File::open(self.path(sha256))?, &mut std::io::sink())
    }

    /// Stores bytes; gives their hash.
    pub fn put(&self, bytes: &[u8]) -> Result<String, RegistryError> {
        let sha256 = hash(bytes);
        self.put_named(&sha256, bytes.len() as u64, &mut { bytes })?;
        Ok(sha256)
    }

    /// Stores a copy of a file; gives hash and length.
    pub fn put_file(&self, path: &Path) -> Result<(String, u64), RegistryError> {
        let open = || File::open(path).map_err(RegistryError::io("read", path));
        let (sha256, size) = copy(&mut open()?, &mut std::io::sink()).map_err(RegistryError::io("read", path))?;
        self.put_named(&sha256, size, &mut open()?)?;
        Ok((sha256, size))
    }

    /// Stores what `from` gives under a name that it must deserve: another hash or length leaves nothing behind.
    pub fn put_named(&self, sha256: &str, size: u64, from: &mut dyn Read) -> Result<(), RegistryError> {
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            std::fs::create_dir_all(folder).map_err(RegistryError::io("create", folder))?;
            sync_folder(&self.root)?;
        }
        // What is there already is only trusted after a look: a damaged file heals when its content is saved again.
        if self.measure(sha256).is_ok_and(|(found, _)| found == sha256) {
            return sync_folder(folder);
        }
        let write = |out: &mut dyn Write| {
            let (found, length) = copy(&mut from.take(size.saturating_add(1)), out)?;
            if found != sha256 || length != size {
                let message = format!("expected {size} bytes of SHA-256 {sha256}, got {length} of {found}");
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
            }
            Ok(())
        };
        write_atomic(&path, write).map_err(RegistryError::io("write", &path))
    }

    /// The content of a file, checked against its name; `what` is for messages.
    pub fn get(&self, sha256: &str, what: &str) -> Result<Vec<u8>, RegistryError> {
        let path = self.path(sha256);
        let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => RegistryError::MissingFile { what: what.into(), path: path.clone() },
            _ => RegistryError::io("read", &path)(e),
        })?;
        let found = hash(&bytes);
        if found == sha256 { Ok(bytes) } else { Err(RegistryError::DamagedFile { what: what.into(), path, found }) }
    }

    /// Every file of the store.
    pub fn walk(&self) -> Result<Found, RegistryError> {
        let mut found = Found::default();
        let list = |folder: &Path| match std::fs::read_dir(folder) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(RegistryError::io("read", folder)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(RegistryError::io("read", folder)(e)),
        };
        for folder in list(&self.root)? {
            let path = folder.path();
            if !path.is_dir() {
                if folder.file_name().to_str().is_some_and(is_litter) {
                    found.litter.push(path);
                }
                continue;
            }
            for file in list(&path)? {
                let (first, rest) = (folder.file_name(), file.file_name());
                let name = format!("{}{}", first.to_string_lossy(), rest.to_string_lossy());
                if is_hash(&name) && first.len() == 2 {
                    let size = file.metadata().map(|m| m.len()).unwrap_or(0);
                    found.objects.push((name, size));
                } else if rest.to_str().is_some_and(is_litter) {
                    found.litter.push(file.path());
                }
            }
        }
        found.objects.sort();
        Ok(found)
    }

    /// Deletes a file; one that is gone is no error.
    pub fn remove(&self, sha256: &str) -> Result<(), RegistryError> {
        remove(&self.path(sha256))
    }
}

/// Deletes a file; one that is gone is no error.
pub(super) fn remove(path: &Path) -> Result<(), RegistryError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(RegistryError::io("delete", path)(e)),
        _ => Ok(()),
    }
}

/// New names in a folder survive a power cut only when the folder itself is synced.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RegistryError> {
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(RegistryError::io("sync", folder))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_stored_once_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().join("objects"));
        let name = files.put(b"abc").unwrap();
        assert_eq!(name, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(files.path(&name).ends_with("ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert_eq!(files.put(b"abc").unwrap(), name);
        assert_eq!(files.get(&name, "x").unwrap(), b"abc");
        assert_eq!(files.walk().unwrap().objects, [(name, 3)]);
    }

    #[test]
    fn damage_is_found_and_healed_by_saving_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().join("objects"));
        let name = files.put(b"abc").unwrap();
        std::fs::write(files.path(&name), "abd").unwrap();
        let error = files.get(&name, "btc@1.0.0").unwrap_err().to_string();
        assert!(error.contains("btc@1.0.0") && error.contains("damaged"), "{error}");
        files.put(b"abc").unwrap();
        assert_eq!(files.get(&name, "x").unwrap(), b"abc");
        std::fs::remove_file(files.path(&name)).unwrap();
        assert!(matches!(files.get(&name, "x"), Err(RegistryError::MissingFile { .. })));
    }

    #[test]
    fn content_that_does_not_deserve_its_name_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().join("objects"));
        let name = hash(b"abc");
        assert!(files.put_named(&name, 3, &mut &b"abd"[..]).is_err());
        assert!(files.put_named(&name, 2, &mut &b"abc"[..]).is_err(), "longer than it said");
        let found = files.walk().unwrap();
        assert!(found.objects.is_empty() && found.litter.is_empty(), "{found:?}");
    }
}
