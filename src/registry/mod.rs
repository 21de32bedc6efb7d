//! The registry: models, versions and checkpoints in one folder, so that nothing trained is lost and all can be found.
//!
//! A SQLite database (`registry.sqlite`, write-ahead log) beside a store of files named by the SHA-256 of their content
//! (`objects/ab/cdef...`). Several processes may use it at once. It stores bytes and metadata and knows no type of
//! model.
//!
//! A save writes the file first (aside, synced, renamed, folder synced) and the row last, in one transaction that is on
//! the disk before [`Registry::save`] returns: after a crash at any moment, what was acknowledged is there and what was
//! not is at most an orphaned file, which [`Registry::gc`] removes.
//!
//! | file | what |
//! |---|---|
//! | `model` | [`Metadata`], [`Model`]: what is known of a model |
//! | `models` | save, load, delete, versions, stages, references, tags, notes, lineage |
//! | `query` | [`Filter`]: lists by name, type, tags, metrics, time, free metadata |
//! | `search` | full text over names, descriptions, tags |
//! | `similar` | [`VECTOR`], neighbours |
//! | `checkpoints` | checkpoints of runs, which are kept |
//! | `archive` | export and import as one `.tar.zst` |
//! | `upkeep` | verify, gc, stats |
//! | `schema`, `files` | the tables and their migrations; the content store |

mod archive;
mod checkpoints;
mod error;
mod files;
mod model;
mod models;
mod query;
mod schema;
mod search;
mod similar;
mod upkeep;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

pub use archive::Imported;
pub use checkpoints::{Checkpoint, NewCheckpoint, Retention};
pub use error::RegistryError;
pub use model::{Architecture, DataCard, Hardware, Metadata, Model, Note, Stage, VersionChoice};
pub use models::{Lineage, Relation, Relative};
pub use query::{Filter, MetricRange, time_stamp};
pub use search::Hit;
pub use similar::{Component, Neighbour, Similarity, Source, VECTOR, vector};
pub use upkeep::{Collected, Stats, Verified};

use files::Files;

/// How long a process waits for another one that writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The database's file in the folder.
const DATABASE: &str = "registry.sqlite";

/// An open registry. It may be shared by threads; another process opens its own.
#[derive(Debug)]
pub struct Registry {
    root: PathBuf,
    database: PathBuf,
    files: Files,
    connection: Mutex<Connection>,
}

impl Registry {
    /// Opens the registry in a folder, or makes one there.
    ///
    /// # Errors
    /// When the folder cannot be written to, or its database is damaged, of a later version or of another program;
    /// it is left as it is then.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let root = root.into();
        if !root.is_dir() {
            std::fs::create_dir_all(&root).map_err(RegistryError::io("create", &root))?;
            if let Some(parent) = root.parent().filter(|p| !p.as_os_str().is_empty()) {
                files::sync_folder(parent)?;
            }
        }
        let registry = Self::at_schema(root, schema::LATEST)?;
        let objects = registry.root.join("objects");
        if !objects.is_dir() {
            std::fs::create_dir_all(&objects).map_err(RegistryError::io("create", &objects))?;
            files::sync_folder(&registry.root)?;
        }
        Ok(registry)
    }

    /// Opens a registry that is there.
    ///
    /// # Errors
    /// When there is none, and as [`Registry::open`].
    pub fn open_existing(root: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let root = root.into();
        if !root.join(DATABASE).is_file() {
            return Err(RegistryError::None { path: root });
        }
        Self::open(root)
    }

    /// Opens it at a schema, which is not the latest one only in tests.
    fn at_schema(root: PathBuf, target: i64) -> Result<Self, RegistryError> {
        let database = root.join(DATABASE);
        let connect = || -> Result<Connection, RegistryError> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let mut c = Connection::open_with_flags(&database, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            c.busy_timeout(PATIENCE)?;
            if schema::found(&c)? < target {
                // Two processes that make it at once: the switch to the write-ahead log heeds no patience.
                let _alone = lock(&root, true)?;
                c.pragma_update(None, "journal_mode", "WAL")?;
                schema::migrate(&mut c, target)?;
            }
            // An acknowledged save is on the disk, not only in the system's memory.
            c.pragma_update(None, "synchronous", "FULL")?;
            c.pragma_update(None, "foreign_keys", true)?;
            c.set_prepared_statement_cache_capacity(64);
            Ok(c)
        };
        let connection = connect().map_err(|e| e.at(&database))?;
        Ok(Self { files: Files::new(root.join("objects")), root, database, connection: Mutex::new(connection) })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked left no transaction behind: it was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, from one state of the database.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        let mut c = self.connection();
        let run = || {
            let t = c.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&t)
        };
        run().map_err(|e| e.at(&self.database))
    }

    /// Writes, all or nothing; it is on the disk when this returns.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        let mut c = self.connection();
        let run = || {
            let t = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&t)?;
            t.commit()?;
            Ok(result)
        };
        run().map_err(|e: RegistryError| e.at(&self.database))
    }

    /// Held while files are written whose row does not exist yet: nobody takes them for orphans.
    fn saving(&self) -> Result<File, RegistryError> {
        lock(&self.root, false)
    }
}

/// Takes the lock of the folder, shared or alone; the system frees it when the file is dropped or the process ends.
fn lock(root: &Path, alone: bool) -> Result<File, RegistryError> {
    let path = root.join("lock");
    let open = || File::options().create(true).truncate(false).write(true).open(&path);
    let file = open().map_err(RegistryError::io("open", &path))?;
    if alone { file.lock() } else { file.lock_shared() }.map_err(RegistryError::io("lock", &path))?;
    Ok(file)
}

/// Now, UTC with microseconds: such texts sort by time.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// An id that no other process makes: 16 hex digits of a hash over time, process, a counter and the content.
fn new_id(content: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (n, time) = (COUNT.fetch_add(1, Ordering::Relaxed), Timestamp::now().as_nanosecond());
    files::hash(format!("{time} {} {n} {content}", std::process::id()).as_bytes())[..16].to_string()
}

#[cfg(test)]
mod tests;
