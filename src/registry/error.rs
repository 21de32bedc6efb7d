//! What can be wrong with a registry, its files, and what is asked of it.

use std::path::{Path, PathBuf};

use crate::error::Advise;

/// Why the registry cannot do what is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no registry in the folder.
    #[error("there is no registry in {path}", path = .path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// The database is damaged; nothing was changed.
    #[error("the database {path} is damaged: {detail}", path = .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A SQLite database of another program.
    #[error("{path} is a database of another program; it was left as it is", path = .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A database of a later version.
    #[error("the database {path} has schema {found}, this program knows schemas up to {supported}", path = .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest that is known.
        supported: i64,
    },
    /// Another process kept the database for too long.
    #[error("the database {path} is busy: another process has been writing for too long", path = .path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk is full: {path} cannot grow; what was saved before is still there", path = .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Anything else that SQLite refuses.
    #[error("the database {path} refuses: {detail}", path = .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A model that the registry does not have.
    #[error("there is no model `{reference}` in {path}", path = .path.display())]
    UnknownModel {
        /// As it was asked for.
        reference: String,
        /// The registry's folder.
        path: PathBuf,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A checkpoint that the registry does not have.
    #[error("there is no checkpoint `{id}` in {path}", path = .path.display())]
    UnknownCheckpoint {
        /// As it was asked for.
        id: String,
        /// The registry's folder.
        path: PathBuf,
    },
    /// The version is taken: versions never change what they mean.
    #[error("{name}@{version} is already in the registry")]
    VersionTaken {
        /// The model's name.
        name: String,
        /// The version.
        version: String,
    },
    /// Something depends on the model.
    #[error("{model} cannot be deleted: {reason}")]
    InUse {
        /// Name and version.
        model: String,
        /// Who needs it.
        reason: String,
    },
    /// The file of a model or checkpoint is gone.
    #[error("the file of {what} is missing: {path}", path = .path.display())]
    MissingFile {
        /// The model or checkpoint.
        what: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The file of a model or checkpoint is not what was saved.
    #[error("the file of {what} is damaged: {path} has SHA-256 {found}", path = .path.display())]
    DamagedFile {
        /// The model or checkpoint.
        what: String,
        /// The file.
        path: PathBuf,
        /// The hash that was found; the name says the one that was saved.
        found: String,
    },
    /// Metadata or a question that cannot be.
    #[error("{field} `{value}` is not allowed: expected {expected}")]
    Invalid {
        /// Which part.
        field: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// An archive that cannot be read, or must not be.
    #[error("{path} cannot be imported: {detail}", path = .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl RegistryError {
    /// For `map_err` after a call of the file system.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn invalid(field: &'static str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Invalid { field, value: value.into(), expected: expected.into() }
    }

    /// Says in which database it happened: what SQLite returns does not know.
    pub(super) fn at(mut self, database: &Path) -> Self {
        match &mut self {
            Self::Damaged { path, .. } | Self::Busy { path } | Self::Full { path } | Self::Database { path, .. }
                if path.as_os_str().is_empty() =>
            {
                *path = database.to_path_buf();
            }
            _ => {}
        }
        self
    }
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let (path, detail) = (PathBuf::new(), error.to_string());
        match error.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Damaged { path, detail },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy { path },
            Some(Code::DiskFull) => Self::Full { path },
            _ => Self::Database { path, detail },
        }
    }
}

impl Advise for RegistryError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "registry-io",
            Self::None { .. } => "no-registry",
            Self::Damaged { .. } => "registry-damaged",
            Self::Foreign { .. } => "not-a-registry",
            Self::Newer { .. } => "registry-newer-schema",
            Self::Busy { .. } => "registry-busy",
            Self::Full { .. } => "disk-full",
            Self::Database { .. } => "registry-database",
            Self::UnknownModel { .. } => "unknown-model",
            Self::UnknownCheckpoint { .. } => "unknown-checkpoint",
            Self::VersionTaken { .. } => "version-taken",
            Self::InUse { .. } => "model-in-use",
            Self::MissingFile { .. } => "registry-file-missing",
            Self::DamagedFile { .. } => "registry-file-damaged",
            Self::Invalid { .. } => "invalid-setting",
            Self::Archive { .. } => "bad-archive",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Full { .. } => Some("check the folder, its rights and the space on the disk".into()),
            Self::None { .. } => {
                Some("`nhits models add` or `nhits train --register NAME` makes one; --registry names its folder".into())
            }
            Self::Damaged { .. } => Some(
                "the models' files in `objects` are not touched by this: restore the database from a copy, or take the \
                 files from there (`sqlite3 registry.sqlite .recover` saves most rows)"
                    .into(),
            ),
            Self::Foreign { .. } => Some("give --registry another folder".into()),
            Self::Newer { .. } => Some("use a newer version of nhits".into()),
            Self::Busy { .. } => Some("try again; a process that hangs keeps it until it ends".into()),
            Self::UnknownModel { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::UnknownModel { .. } => Some("`nhits models list` shows what there is".into()),
            Self::UnknownCheckpoint { .. } => Some("`nhits models checkpoints` shows what there is".into()),
            Self::VersionTaken { .. } => Some("leave the version out: the next one is taken".into()),
            Self::InUse { .. } => Some("`nhits models lineage` shows what depends on it".into()),
            Self::MissingFile { .. } | Self::DamagedFile { .. } => Some(
                "`nhits models verify` lists every such file; saving or importing the same model again heals it".into(),
            ),
            Self::Archive { .. } => Some("nothing was imported; export it again".into()),
            Self::Database { .. } | Self::Invalid { .. } => None,
        }
    }
}
