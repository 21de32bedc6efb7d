//! The tables, and the steps from the schema of each earlier version to the next.
//!
//! `PRAGMA user_version` is the number of the schema, `PRAGMA application_id` says that the database is a registry. A step
//! that was released is never changed: a change of the schema is a new step at the end.

use rusqlite::{Connection, TransactionBehavior};

use super::RegistryError;
use super::similar;

/// "nhit" in ASCII.
const APPLICATION: i64 = 0x6e68_6974;

/// From schema `i` to `i + 1`.
const STEPS: [fn(&Connection) -> Result<(), RegistryError>; 2] = [models_and_checkpoints, vectors];

/// The schema that this version writes.
pub(super) const LATEST: i64 = STEPS.len() as i64;

fn models_and_checkpoints(c: &Connection) -> Result<(), RegistryError> {
    c.execute_batch(
        "CREATE TABLE models (
             row INTEGER PRIMARY KEY AUTOINCREMENT,
             id TEXT NOT NULL UNIQUE,
             name TEXT NOT NULL,
             version TEXT NOT NULL,
             type TEXT NOT NULL,
             description TEXT NOT NULL,
             stage TEXT CHECK (stage IN ('staging', 'production', 'archived')),
             parent INTEGER REFERENCES models (row) ON DELETE RESTRICT,
             fine_tuned_from INTEGER REFERENCES models (row) ON DELETE RESTRICT,
             fingerprint TEXT,
             sha256 TEXT NOT NULL,
             size INTEGER NOT NULL,
             created TEXT NOT NULL,
             updated TEXT NOT NULL,
             document TEXT NOT NULL,
             UNIQUE (name, version));
         CREATE UNIQUE INDEX one_production ON models (name) WHERE stage = 'production';
         CREATE INDEX models_by_time ON models (created);
         CREATE INDEX models_by_parent ON models (parent);
         CREATE INDEX models_by_origin ON models (fine_tuned_from);
         CREATE INDEX models_by_data ON models (fingerprint);
         CREATE INDEX models_by_file ON models (sha256);
         CREATE TABLE tags (
             model INTEGER NOT NULL REFERENCES models (row) ON DELETE CASCADE,
             tag TEXT NOT NULL,
             PRIMARY KEY (model, tag)) WITHOUT ROWID;
         CREATE INDEX tags_by_name ON tags (tag);
         CREATE TABLE metrics (
             model INTEGER NOT NULL REFERENCES models (row) ON DELETE CASCADE,
             name TEXT NOT NULL,
             value REAL NOT NULL,
             PRIMARY KEY (model, name)) WITHOUT ROWID;
         CREATE INDEX metrics_by_value ON metrics (name, value);
         CREATE TABLE notes (
             row INTEGER PRIMARY KEY AUTOINCREMENT,
             model INTEGER NOT NULL REFERENCES models (row) ON DELETE CASCADE,
             created TEXT NOT NULL,
             text TEXT NOT NULL);
         CREATE INDEX notes_by_model ON notes (model);
         CREATE VIRTUAL TABLE words USING fts5 (
             name, description, tags, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');
         CREATE TABLE checkpoints (
             row INTEGER PRIMARY KEY AUTOINCREMENT,
             id TEXT NOT NULL UNIQUE,
             run TEXT NOT NULL,
             epoch INTEGER NOT NULL,
             step INTEGER NOT NULL,
             metrics TEXT NOT NULL,
             sha256 TEXT NOT NULL,
             size INTEGER NOT NULL,
             created TEXT NOT NULL);
         CREATE INDEX checkpoints_by_run ON checkpoints (run, step);
         CREATE INDEX checkpoints_by_file ON checkpoints (sha256);",
    )?;
    Ok(())
}

/// What `similar` compares; worked out for the models that are there already.
fn vectors(c: &Connection) -> Result<(), RegistryError> {
    c.execute_batch(
        "CREATE TABLE vectors (
             model INTEGER PRIMARY KEY REFERENCES models (row) ON DELETE CASCADE,
             vector BLOB NOT NULL);",
    )?;
    let mut rows = c.prepare("SELECT row, document FROM models")?;
    let all = rows
        .query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, rusqlite::Error>>()?;
    for (row, document) in all {
        similar::store(c, row, &super::model::parse(&document)?)?;
    }
    Ok(())
}

fn number(c: &Connection, pragma: &str) -> Result<i64, RegistryError> {
    Ok(c.query_row(&format!("PRAGMA {pragma}"), [], |r| r.get(0))?)
}

/// The schema of a database; refuses what is no registry or a later one, before anything is changed.
pub(super) fn found(c: &Connection) -> Result<i64, RegistryError> {
    let path = || c.path().unwrap_or_default().into();
    let version = number(c, "user_version")?;
    let tables: i64 = c.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))?;
    if number(c, "application_id")? != APPLICATION && (tables > 0 || version != 0) {
        return Err(RegistryError::Foreign { path: path() });
    }
    if version > LATEST {
        return Err(RegistryError::Newer { path: path(), found: version, supported: LATEST });
    }
    if version < 0 || (version == 0 && tables > 0) {
        return Err(RegistryError::Damaged { path: path(), detail: format!("its schema has the number {version}") });
    }
    Ok(version)
}

/// Brings the database to the schema `target`, in one transaction.
pub(super) fn migrate(c: &mut Connection, target: i64) -> Result<(), RegistryError> {
    let t = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = found(&t)?;
    for (i, step) in (0i64..).zip(STEPS).skip_while(|(i, _)| *i < from).take_while(|(i, _)| *i < target) {
        step(&t)?;
        t.execute_batch(&format!("PRAGMA user_version = {}; PRAGMA application_id = {APPLICATION}", i + 1))?;
    }
    t.commit()?;
    Ok(())
}
