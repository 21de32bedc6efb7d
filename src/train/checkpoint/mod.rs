//! Checkpoints: everything that a run needs to go on exactly where it was, in one file that is whole or not there.
//!
//! | file | what |
//! |---|---|
//! | `state` | [`RunState`]: position, stopping rules, history; all that is not a tensor |
//! | `identity` | [`RunIdentity`]: which settings and which data a checkpoint belongs to |
//! | `file` | [`Checkpoint`]: the file, with its checksum |
//! | `folder` | [`CheckpointFolder`]: names, the newest good one, what may be deleted |

mod file;
mod folder;
mod identity;
mod state;

use std::path::PathBuf;

pub use file::{Checkpoint, Section};
pub(super) use file::{Entry, write};
pub use folder::CheckpointFolder;
pub use identity::RunIdentity;
pub use state::RunState;

use crate::error::Advise;

/// Why a checkpoint cannot be written, read or used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {detail}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, and what the system says.
        detail: String,
    },
    /// Not a whole checkpoint: cut off, damaged, or another kind of file.
    #[error("{path} is not a whole checkpoint: {detail}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Written by a later version.
    #[error("{path} has checkpoint format {found}, this program reads format {supported}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The one that is known.
        supported: u32,
    },
    /// There is nothing worth keeping: a weight is infinite or NaN.
    #[error("no checkpoint was written after step {step}: a weight is infinite or NaN")]
    NotFinite {
        /// Steps done.
        step: usize,
    },
    /// There is nothing to resume.
    #[error("there is no checkpoint in {path}{detail}", path = .path.display())]
    None {
        /// The folder.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// It belongs to another run.
    #[error("{path} belongs to another run: {differences}", path = .path.display())]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// What differs: setting, its value there and here.
        differences: String,
    },
}

impl Advise for CheckpointError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "checkpoint-io",
            Self::Damaged { .. } => "checkpoint-damaged",
            Self::Newer { .. } => "checkpoint-newer-format",
            Self::NotFinite { .. } => "non-finite-weights",
            Self::None { .. } => "no-checkpoint",
            Self::OtherRun { .. } => "checkpoint-of-another-run",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => Some("check the folder, its rights and the space on the disk".into()),
            Self::Damaged { .. } => Some("`--resume` without a name takes the newest good one of the run".into()),
            Self::Newer { .. } => Some("use a newer version of nhits".into()),
            Self::NotFinite { .. } => Some("try a smaller --lr, --gradient-clip 1, or --on-nan rollback".into()),
            Self::None { .. } => {
                Some("train without --resume, or name the run's folder with --run-dir or --checkpoint-dir".into())
            }
            Self::OtherRun { .. } => {
                Some("give the same data and settings as that run, or train anew without --resume".into())
            }
        }
    }
}
