//! `CheckpointFolder`: the checkpoints of a run in a folder: their names, the newest good one, which may go.

use std::path::{Path, PathBuf};

use super::{Checkpoint, CheckpointError};
use crate::atomic_file::is_litter;

/// A folder of checkpoints named `<number>-step-<steps>.ckpt`. Numbers rise with every checkpoint that was ever written
/// to the folder, so the newest is known whatever the clock says and whichever run wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFolder {
    path: PathBuf,
}

/// Number and steps of a checkpoint's name.
fn parse(name: &str) -> Option<(u64, usize)> {
    let (number, steps) = name.strip_suffix(".ckpt")?.split_once("-step-")?;
    Some((number.parse().ok()?, steps.parse().ok()?))
}

impl CheckpointFolder {
    /// The checkpoints in `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every checkpoint, the newest first, good or not.
    ///
    /// # Errors
    /// When the folder is there but cannot be read.
    pub fn list(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                return Err(CheckpointError::Io {
                    action: "read the folder",
                    detail: format!("{}: {e}", self.path.display()),
                });
            }
        };
        let mut found: Vec<(u64, PathBuf)> =
            entries.flatten().filter_map(|entry| Some((parse(entry.file_name().to_str()?)?.0, entry.path()))).collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The file for the next checkpoint, after `steps` steps. In a folder that cannot be read it is the first one:
    /// writing it will say what is wrong.
    pub fn next(&self, steps: usize) -> PathBuf {
        let newest =
            self.list().ok().and_then(|files| parse(files.first()?.file_name()?.to_str()?)).map_or(0, |(n, _)| n);
        self.path.join(format!("{:08}-step-{steps:09}.ckpt", newest + 1))
    }

    /// The newest checkpoint that is whole, with its file; the damaged ones that were passed over are named in the log.
    ///
    /// # Errors
    /// When there is none, or the newest was written by a later version.
    pub fn newest(&self) -> Result<(PathBuf, Checkpoint), CheckpointError> {
        let mut damaged = Vec::new();
        for path in self.list()? {
            match Checkpoint::load(&path) {
                Ok(checkpoint) => {
                    for error in &damaged {
                        tracing::warn!("passed over: {error}");
                    }
                    return Ok((path, checkpoint));
                }
                Err(error @ CheckpointError::Newer { .. }) => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        let detail = match damaged.first() {
            Some(error) => format!(" that is whole; the newest: {error}"),
            None => String::new(),
        };
        Err(CheckpointError::None { path: self.path.clone(), detail })
    }

    /// Deletes what is left of writes that a crash cut off.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_litter) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Deletes all but the newest `keep` checkpoints; at least one stays.
    pub fn prune(&self, keep: usize) {
        for path in self.list().unwrap_or_default().into_iter().skip(keep.max(1)) {
            if let Err(e) = std::fs::remove_file(&path) {
                tracing::warn!("cannot delete the old checkpoint {}: {e}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_whatever_the_steps_are() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(dir.path().join("sub"));
        assert!(folder.list().unwrap().is_empty());
        let first = folder.next(500);
        assert!(first.ends_with("00000001-step-000000500.ckpt"), "{first:?}");
        std::fs::create_dir_all(folder.path()).unwrap();
        std::fs::write(&first, "").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::fs::write(folder.path().join("x-step-1.ckpt"), "").unwrap();
        let second = folder.next(10);
        assert!(second.ends_with("00000002-step-000000010.ckpt"), "a new run in the same folder is newer");
        std::fs::write(&second, "").unwrap();
        assert_eq!(folder.list().unwrap(), [second.clone(), first]);
        folder.prune(0);
        assert_eq!(folder.list().unwrap(), [second], "one always stays");
        let error = folder.newest().unwrap_err().to_string();
        assert!(error.contains("whole") && error.contains("00000002"), "{error}");
    }
}
