//! Checkpoints of runs: filed with epoch, step and metrics; the last and the best ones are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::model::check_name;
use super::{Registry, RegistryError, new_id, now};

/// What is given of a checkpoint when it is saved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewCheckpoint {
    /// The run; a name as models have.
    pub run: String,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done.
    pub step: usize,
    /// Losses and metrics. Numbers that are not finite are left out.
    pub metrics: BTreeMap<String, f64>,
}

/// A checkpoint in the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its id: 16 hex digits.
    pub id: String,
    /// The run.
    pub run: String,
    /// Epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Losses and metrics.
    pub metrics: BTreeMap<String, f64>,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Size of its file in bytes.
    pub size: u64,
    /// When it was saved, UTC.
    pub created: String,
}

/// Which checkpoints of a run stay: the union of both; at least the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The newest ones, so many.
    pub last: usize,
    /// The best ones, so many, by `metric`.
    pub best: usize,
    /// What the best ones have lowest.
    pub metric: String,
}

const COLUMNS: &str = "id, run, epoch, step, metrics, sha256, size, created";

fn read(r: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    let count = |i: usize| r.get::<_, i64>(i).map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Checkpoint {
        id: r.get(0)?,
        run: r.get(1)?,
        epoch: count(2)?,
        step: count(3)?,
        metrics: serde_json::from_str(&r.get::<_, String>(4)?).unwrap_or_default(),
        sha256: r.get(5)?,
        size: count(6)?,
        created: r.get(7)?,
    })
}

/// Those of a run, or of all runs, the newest first.
fn list(c: &Connection, run: Option<&str>) -> Result<Vec<Checkpoint>, RegistryError> {
    let sql = format!("SELECT {COLUMNS} FROM checkpoints WHERE ?1 IS NULL OR run = ?1 ORDER BY row DESC");
    let mut statement = c.prepare_cached(&sql)?;
    let all = statement.query_map([run], read)?.collect::<Result<_, _>>()?;
    Ok(all)
}

/// Those that have the metric, the best (lowest) first; of equal ones the newer.
fn best_first<'a>(all: &'a [Checkpoint], metric: &str) -> Vec<&'a Checkpoint> {
    let mut found: Vec<(f64, &Checkpoint)> = all.iter().filter_map(|c| Some((*c.metrics.get(metric)?, c))).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.into_iter().map(|(_, c)| c).collect()
}

impl Registry {
    /// Files a copy of a checkpoint's file; gives its id.
    ///
    /// # Errors
    /// When the file cannot be read, the run's name is not allowed, or the disk or the database refuses.
    pub fn save_checkpoint(&self, file: &Path, new: &NewCheckpoint) -> Result<String, RegistryError> {
        check_name("run", &new.run)?;
        let _saving = self.saving()?;
        let (sha256, size) = self.files.put_file(file)?;
        let metrics: BTreeMap<_, _> = new.metrics.iter().filter(|(_, v)| v.is_finite()).collect();
        let metrics = serde_json::to_string(&metrics)
            .map_err(|e| RegistryError::invalid("metrics", &new.run, format!("what JSON can hold: {e}")))?;
        let id = new_id(&sha256);
        self.write(|c| {
            c.prepare_cached(&format!("INSERT INTO checkpoints ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
                .execute((&id, &new.run, new.epoch as i64, new.step as i64, metrics, sha256, size as i64, now()))?;
            Ok(id)
        })
    }

    /// The checkpoints of a run, or of all runs, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn checkpoints(&self, run: Option<&str>) -> Result<Vec<Checkpoint>, RegistryError> {
        self.read(|c| list(c, run))
    }

    /// The checkpoint of a run whose `metric` is lowest; `None` where none has it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn best_checkpoint(&self, run: &str, metric: &str) -> Result<Option<Checkpoint>, RegistryError> {
        self.read(|c| Ok(best_first(&list(c, Some(run))?, metric).first().map(|c| (*c).clone())))
    }

    /// The bytes of a checkpoint, checked against the hash that was saved, and what is known of it.
    ///
    /// # Errors
    /// When there is no such checkpoint, or its file is missing or damaged.
    pub fn load_checkpoint(&self, id: &str) -> Result<(Checkpoint, Vec<u8>), RegistryError> {
        let found = self.read(|c| {
            let sql = format!("SELECT {COLUMNS} FROM checkpoints WHERE id = ?1");
            Ok(c.prepare_cached(&sql)?.query_row([id], read).optional()?)
        })?;
        let Some(checkpoint) = found.filter(|c| super::files::is_hash(&c.sha256)) else {
            return Err(RegistryError::UnknownCheckpoint { id: id.into(), path: self.root.clone() });
        };
        let bytes = self.files.get(&checkpoint.sha256, &format!("checkpoint {id}"))?;
        Ok((checkpoint, bytes))
    }

    /// Deletes the checkpoints of a run that need not stay; gives those that went.
    ///
    /// # Errors
    /// When the database fails.
    pub fn prune_checkpoints(&self, run: &str, keep: &Retention) -> Result<Vec<Checkpoint>, RegistryError> {
        let gone = self.write(|c| {
            let all = list(c, Some(run))?;
            let mut stay: BTreeSet<&str> = all.iter().take(keep.last.max(1)).map(|c| c.id.as_str()).collect();
            stay.extend(best_first(&all, &keep.metric).into_iter().take(keep.best).map(|c| c.id.as_str()));
            let gone: Vec<Checkpoint> = all.iter().filter(|c| !stay.contains(c.id.as_str())).cloned().collect();
            for checkpoint in &gone {
                c.prepare_cached("DELETE FROM checkpoints WHERE id = ?1")?.execute([&checkpoint.id])?;
            }
            Ok(gone)
        })?;
        self.forget(&gone.iter().map(|c| c.sha256.clone()).collect::<Vec<_>>())?;
        Ok(gone)
    }
}
