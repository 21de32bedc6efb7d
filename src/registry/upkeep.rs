//! Upkeep: whether everything is there and whole, what may go, how much there is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::Connection;
use serde::Serialize;

use super::{Registry, RegistryError, files, lock, schema};

/// What [`Registry::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verified {
    /// Whether no file is missing or damaged and the database is sound. Orphans and leftovers do no harm.
    pub ok: bool,
    /// Files that were read and are as they were saved.
    pub good: u64,
    /// Models and checkpoints whose file is missing.
    pub missing: Vec<String>,
    /// Models and checkpoints whose file is not what was saved.
    pub damaged: Vec<String>,
    /// Files that nothing refers to, by hash: left by a crash or a save that is under way.
    pub orphaned: Vec<String>,
    /// What a crash left of writes.
    pub leftovers: Vec<PathBuf>,
    /// What SQLite finds wrong with its own file.
    pub database: Vec<String>,
}

/// What [`Registry::gc`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// Files that nothing referred to.
    pub orphaned: u64,
    /// What a crash had left of writes.
    pub leftovers: u64,
    /// Bytes of the orphans.
    pub bytes: u64,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    /// Models.
    pub models: u64,
    /// Different names.
    pub names: u64,
    /// Models in production.
    pub production: u64,
    /// Different tags.
    pub tags: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Runs with checkpoints.
    pub runs: u64,
    /// Files in the store.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Bytes that models and checkpoints would take if equal content were not stored once.
    pub content_bytes: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// The schema of the database.
    pub schema: i64,
}

/// Hashes that rows refer to, with who does.
fn references(c: &Connection) -> Result<Vec<(String, String)>, RegistryError> {
    let mut statement = c.prepare(
        "SELECT sha256, name || '@' || version || ' (' || id || ')' FROM models
         UNION ALL SELECT sha256, 'checkpoint ' || id || ' of ' || run FROM checkpoints",
    )?;
    let found = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(found)
}

impl Registry {
    /// Reads every file and the whole database; changes nothing.
    ///
    /// # Errors
    /// When the store cannot be listed, or the database is damaged so badly that it cannot be read.
    pub fn verify(&self) -> Result<Verified, RegistryError> {
        let mut result = Verified::default();
        // What another process deletes meanwhile keeps its file until this is done.
        let _kept = lock(&self.root, false)?;
        let found = self.files.walk()?;
        let named = self.read(|c| {
            let mut check = c.prepare("PRAGMA integrity_check")?;
            let lines = check.query_map([], |r| r.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            result.database.extend(lines.into_iter().filter(|l| l != "ok"));
            let mut links = c.prepare("PRAGMA foreign_key_check")?;
            let broken = links.query_map([], |r| r.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            result.database.extend(broken.into_iter().map(|t| format!("a row of `{t}` refers to one that is gone")));
            references(c)
        })?;
        let used: BTreeSet<&str> = named.iter().map(|(sha256, _)| sha256.as_str()).collect();
        let mut bad = BTreeSet::new();
        for sha256 in &used {
            match files::is_hash(sha256).then(|| self.files.measure(sha256)) {
                Some(Ok((is, _))) if is == *sha256 => result.good += 1,
                Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => drop(bad.insert((*sha256, true))),
                _ => drop(bad.insert((*sha256, false))),
            }
        }
        for (sha256, who) in &named {
            if bad.contains(&(sha256.as_str(), true)) {
                result.missing.push(who.clone());
            } else if bad.contains(&(sha256.as_str(), false)) {
                result.damaged.push(who.clone());
            }
        }
        result.orphaned = found.objects.into_iter().map(|(h, _)| h).filter(|h| !used.contains(h.as_str())).collect();
        result.leftovers = found.litter;
        result.ok = result.missing.is_empty() && result.damaged.is_empty() && result.database.is_empty();
        Ok(result)
    }

    /// Removes files that nothing refers to and what crashes left of writes; waits until no save is under way.
    ///
    /// # Errors
    /// When the folder or the database fails; a database that is not sound removes nothing.
    pub fn gc(&self) -> Result<Collected, RegistryError> {
        let _alone = lock(&self.root, true)?;
        let used = self.read(|c| {
            // A damaged index may hide rows, whose files would be taken for orphans.
            let check: String = c.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
            if check != "ok" {
                return Err(RegistryError::Damaged { path: Default::default(), detail: check });
            }
            Ok(references(c)?.into_iter().map(|(sha256, _)| sha256).collect::<BTreeSet<_>>())
        })?;
        let found = self.files.walk()?;
        let mut result = Collected::default();
        for (sha256, size) in found.objects.iter().filter(|(sha256, _)| !used.contains(sha256)) {
            self.files.remove(sha256)?;
            result.orphaned += 1;
            result.bytes += size;
        }
        for path in &found.litter {
            files::remove(path)?;
            result.leftovers += 1;
        }
        Ok(result)
    }

    /// Removes those of these files that no row refers to any more. While another process saves, they are left to
    /// [`Registry::gc`]: it may be about to refer to one of them.
    pub(super) fn forget(&self, hashes: &[String]) -> Result<(), RegistryError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let path = self.root.join("lock");
        let open = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(RegistryError::io("open", &path))?;
        if file.try_lock().is_err() {
            return Ok(());
        }
        for sha256 in hashes.iter().filter(|h| files::is_hash(h)) {
            let used: bool = self.read(|c| {
                Ok(c.prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM models WHERE sha256 = ?1)
                         OR EXISTS (SELECT 1 FROM checkpoints WHERE sha256 = ?1)",
                )?
                .query_row([sha256], |r| r.get(0))?)
            })?;
            if !used {
                self.files.remove(sha256)?;
            }
        }
        Ok(())
    }

    /// How much there is.
    ///
    /// # Errors
    /// When the folder or the database fails.
    pub fn stats(&self) -> Result<Stats, RegistryError> {
        let found = self.files.walk()?;
        let size = |name: &str| std::fs::metadata(self.root.join(name)).map_or(0, |m| m.len());
        self.read(|c| {
            let count = |sql: &str| -> Result<u64, RegistryError> {
                Ok(c.query_row(sql, [], |r| r.get::<_, i64>(0)).map(|n| u64::try_from(n).unwrap_or(0))?)
            };
            Ok(Stats {
                models: count("SELECT count(*) FROM models")?,
                names: count("SELECT count(DISTINCT name) FROM models")?,
                production: count("SELECT count(*) FROM models WHERE stage = 'production'")?,
                tags: count("SELECT count(DISTINCT tag) FROM tags")?,
                checkpoints: count("SELECT count(*) FROM checkpoints")?,
                runs: count("SELECT count(DISTINCT run) FROM checkpoints")?,
                files: found.objects.len() as u64,
                file_bytes: found.objects.iter().map(|(_, size)| size).sum(),
                content_bytes: count(
                    "SELECT coalesce((SELECT sum(size) FROM models), 0) + coalesce((SELECT sum(size) FROM checkpoints), 0)",
                )?,
                database_bytes: size(super::DATABASE) + size(&format!("{}-wal", super::DATABASE)),
                schema: schema::found(c)?,
            })
        })
    }
}
