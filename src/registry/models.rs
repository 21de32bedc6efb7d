//! Models: save, load, delete, versions and stages, what a reference means, tags, notes, lineage.

use rusqlite::{Connection, OptionalExtension, Row};
use semver::Version;
use serde::Serialize;

use super::model::{check_tag, next_version, parse};
use super::{
    Metadata, Model, Note, Registry, RegistryError, Stage, VersionChoice, files, new_id, now, search, similar,
};
use crate::error::nearest;

/// What a model is to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It took the place of the other one.
    Parent,
    /// It started from the other one's weights.
    FineTuned,
    /// Both were trained on the same data.
    SameData,
}

/// A model in another one's lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relative {
    /// Its id.
    pub id: String,
    /// `name@version`.
    pub reference: String,
    /// How it is related to the one nearer by.
    pub relation: Relation,
    /// Steps away, from 1.
    pub distance: u32,
}

/// Where a model comes from and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// The model's id.
    pub id: String,
    /// `name@version`.
    pub reference: String,
    /// Fingerprint of the data that it was trained on.
    pub data_fingerprint: Option<String>,
    /// What it comes from, the nearest first.
    pub ancestors: Vec<Relative>,
    /// What came of it, the nearest first.
    pub descendants: Vec<Relative>,
    /// Other models that were trained on the same data.
    pub same_data: Vec<Relative>,
}

/// The columns of a model, in the order that [`read_model`] takes them in; tags are joined by U+001F.
pub(super) const COLUMNS: &str = "models.id, models.version, models.stage, models.sha256, models.size, models.created, \
     models.updated, models.document, (SELECT group_concat(tag, char(31)) FROM tags WHERE tags.model = models.row)";

/// The columns of a row before they are understood.
type Raw = (String, String, Option<String>, String, i64, String, String, String, Option<String>);

pub(super) fn raw(r: &Row<'_>) -> rusqlite::Result<Raw> {
    let size = if r.get_ref(4)?.data_type() == rusqlite::types::Type::Integer { r.get(4)? } else { 0 };
    Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, size, r.get(5)?, r.get(6)?, r.get(7)?, r.get(8)?))
}

pub(super) fn read_model(raw: Raw) -> Result<Model, RegistryError> {
    let (id, version, stage, sha256, size, created, updated, document, tags) = raw;
    let damaged = |detail: String| RegistryError::Damaged { path: Default::default(), detail };
    if !files::is_hash(&sha256) {
        return Err(damaged(format!("model {id} has `{sha256}` as the hash of its file")));
    }
    let mut metadata = parse(&document)?;
    metadata.tags = tags.iter().flat_map(|t| t.split('\u{1f}')).map(str::to_owned).collect();
    Ok(Model {
        version: version.parse().map_err(|e| damaged(format!("model {id} has version `{version}`: {e}")))?,
        stage: stage.map(|s| s.parse()).transpose()?,
        id,
        sha256,
        size: u64::try_from(size).unwrap_or(0),
        created,
        updated,
        metadata,
    })
}

/// The model in a row that exists.
pub(super) fn at_row(c: &Connection, row: i64) -> Result<Model, RegistryError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM models WHERE row = ?1"))?;
    read_model(statement.query_row([row], raw)?)
}

/// The row with this id.
pub(super) fn by_id(c: &Connection, id: &str) -> Result<Option<i64>, RegistryError> {
    Ok(c.prepare_cached("SELECT row FROM models WHERE id = ?1")?.query_row([id], |r| r.get(0)).optional()?)
}

/// Rows and versions of a name, the newest first; pre-releases after every release.
fn versions(c: &Connection, name: &str) -> Result<Vec<(i64, Version)>, RegistryError> {
    let mut statement = c.prepare_cached("SELECT row, version FROM models WHERE name = ?1")?;
    let mut found = Vec::new();
    for pair in statement.query_map([name], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)))? {
        let (row, version) = pair?;
        if let Ok(version) = version.parse::<Version>() {
            found.push((row, version));
        }
    }
    found.sort_by(|(_, a), (_, b)| b.pre.is_empty().cmp(&a.pre.is_empty()).then(b.cmp(a)));
    Ok(found)
}

impl Registry {
    /// Saves a model under the next version of its name; gives its id.
    ///
    /// # Errors
    /// When the metadata is not allowed, a relative is not known, or the disk or the database refuses; then there is no
    /// such model, not even half of it.
    pub fn save(&self, bytes: &[u8], metadata: &Metadata) -> Result<String, RegistryError> {
        self.save_as(bytes, metadata, &VersionChoice::Auto)
    }

    /// Saves a model under a version that is chosen.
    ///
    /// # Errors
    /// As [`Registry::save`], and when the version is taken.
    pub fn save_as(&self, bytes: &[u8], metadata: &Metadata, version: &VersionChoice) -> Result<String, RegistryError> {
        let mut metadata = metadata.checked()?;
        let _saving = self.saving()?;
        let sha256 = self.files.put(bytes)?;
        self.write(|c| {
            // A relative may be named in any way; what is kept is its id.
            for link in [&mut metadata.parent, &mut metadata.fine_tuned_from] {
                if let Some(reference) = link.as_deref() {
                    *link = Some(at_row(c, self.row(c, reference)?)?.id);
                }
            }
            let all = versions(c, &metadata.name)?;
            let newest = match all.iter().max_by(|a, b| a.1.cmp(&b.1)) {
                Some((row, version)) => Some((version.clone(), at_row(c, *row)?.metadata)),
                None => None,
            };
            let version = next_version(version, newest.as_ref().map(|(v, m)| (v, m)), &metadata);
            let time = now();
            let model = Model {
                id: new_id(&sha256),
                version,
                stage: None,
                sha256: sha256.clone(),
                size: bytes.len() as u64,
                created: time.clone(),
                updated: time,
                metadata,
            };
            insert(c, &model, self)?;
            Ok(model.id)
        })
    }

    /// Whether a model could be saved like this now; saves nothing.
    ///
    /// # Errors
    /// As [`Registry::save_as`], but for the disk.
    pub fn would_save(&self, metadata: &Metadata, version: &VersionChoice) -> Result<(), RegistryError> {
        let metadata = metadata.checked()?;
        self.read(|c| {
            for reference in [&metadata.parent, &metadata.fine_tuned_from].into_iter().flatten() {
                self.row(c, reference)?;
            }
            match version {
                VersionChoice::Exact(exact) if versions(c, &metadata.name)?.iter().any(|(_, v)| v == exact) => {
                    Err(RegistryError::VersionTaken { name: metadata.name, version: exact.to_string() })
                }
                _ => Ok(()),
            }
        })
    }

    /// The bytes of the model that a reference names, checked against the hash that was saved.
    ///
    /// # Errors
    /// When there is no such model, or its file is missing or damaged.
    pub fn load(&self, reference: &str) -> Result<Vec<u8>, RegistryError> {
        let model = self.metadata(reference)?;
        self.files.get(&model.sha256, &format!("model {} ({})", model.reference(), model.id))
    }

    /// What is known of the model that a reference names: an id, `name@1.2.0`, `name@latest`, `name@production` (or
    /// another stage), or a name alone, which is its production model and, without one, its latest.
    ///
    /// # Errors
    /// When there is no such model, or the database fails.
    pub fn metadata(&self, reference: &str) -> Result<Model, RegistryError> {
        self.read(|c| at_row(c, self.row(c, reference)?))
    }

    /// The row that a reference names.
    pub(super) fn row(&self, c: &Connection, reference: &str) -> Result<i64, RegistryError> {
        if let Some(row) = by_id(c, reference)? {
            return Ok(row);
        }
        let (name, what) = match reference.rsplit_once('@') {
            Some((name, what)) => (name, Some(what)),
            None => (reference, None),
        };
        let all = versions(c, name)?;
        let staged = |stage: Stage| -> Result<Option<i64>, RegistryError> {
            let mut statement = c.prepare_cached("SELECT row FROM models WHERE name = ?1 AND stage = ?2")?;
            let rows = statement.query_map([name, stage.name()], |r| r.get::<_, i64>(0))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(all.iter().map(|(row, _)| *row).find(|row| rows.contains(row)))
        };
        let latest = || all.first().map(|(row, _)| *row);
        let found = match what {
            None => staged(Stage::Production)?.or_else(latest),
            Some("latest") => latest(),
            Some(word) => match (word.parse::<Stage>(), word.parse::<Version>()) {
                (Ok(stage), _) => staged(stage)?,
                (_, Ok(version)) => all.iter().find(|(_, v)| *v == version).map(|(row, _)| *row),
                _ => None,
            },
        };
        found.ok_or(()).or_else(|()| {
            let mut statement = c.prepare_cached("SELECT DISTINCT name FROM models")?;
            let names = statement.query_map([], |r| r.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            // The name is there: what was meant is another version of it.
            let meant = match all.first() {
                Some((_, version)) => Some(format!("{name}@{version}")),
                None => nearest(name, names.iter()).map(str::to_owned),
            };
            Err(RegistryError::UnknownModel { reference: reference.into(), path: self.root.clone(), nearest: meant })
        })
    }

    /// Deletes a model; its file goes too unless another model or checkpoint has the same content.
    ///
    /// # Errors
    /// When something depends on it: it is in production, or a model came of it.
    pub fn delete(&self, reference: &str) -> Result<Model, RegistryError> {
        let model = self.write(|c| {
            let row = self.row(c, reference)?;
            let model = at_row(c, row)?;
            let in_use = |reason: String| Err(RegistryError::InUse { model: model.reference(), reason });
            if model.stage == Some(Stage::Production) {
                return in_use("it is in production; archive it first".into());
            }
            let mut statement = c.prepare_cached(
                "SELECT name || '@' || version FROM models WHERE parent = ?1 OR fine_tuned_from = ?1 ORDER BY row",
            )?;
            let children = statement.query_map([row], |r| r.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            if !children.is_empty() {
                return in_use(format!("it is an ancestor of {}", crate::error::listed(&children, 5)));
            }
            c.execute("DELETE FROM words WHERE rowid = ?1", [row])?;
            c.execute("DELETE FROM models WHERE row = ?1", [row])?;
            Ok(model)
        })?;
        self.forget(std::slice::from_ref(&model.sha256))?;
        Ok(model)
    }

    /// Puts a model into a stage, or out of every one. A model that was in production under the name until then is
    /// archived in the same transaction; its id is returned.
    ///
    /// # Errors
    /// When there is no such model, or the database fails.
    pub fn promote(&self, reference: &str, stage: Option<Stage>) -> Result<Option<String>, RegistryError> {
        self.write(|c| {
            let row = self.row(c, reference)?;
            let time = now();
            let mut former = None;
            if stage == Some(Stage::Production) {
                former = c
                    .query_row(
                        "UPDATE models SET stage = 'archived', updated = ?2 WHERE stage = 'production' AND row != ?1
                         AND name = (SELECT name FROM models WHERE row = ?1) RETURNING id",
                        (row, &time),
                        |r| r.get(0),
                    )
                    .optional()?;
            }
            c.execute(
                "UPDATE models SET stage = ?2, updated = ?3 WHERE row = ?1",
                (row, stage.map(Stage::name), time),
            )?;
            Ok(former)
        })
    }

    /// Adds and removes tags.
    ///
    /// # Errors
    /// When there is no such model, or a tag is not allowed.
    pub fn tag(&self, reference: &str, add: &[String], remove: &[String]) -> Result<Model, RegistryError> {
        let add = add.iter().map(|t| check_tag(t)).collect::<Result<Vec<_>, _>>()?;
        self.write(|c| {
            let row = self.row(c, reference)?;
            for tag in &add {
                c.execute("INSERT OR IGNORE INTO tags (model, tag) VALUES (?1, ?2)", (row, tag))?;
            }
            for tag in remove {
                c.execute("DELETE FROM tags WHERE model = ?1 AND tag = ?2", (row, tag.trim()))?;
            }
            c.execute("UPDATE models SET updated = ?2 WHERE row = ?1", (row, now()))?;
            let model = at_row(c, row)?;
            search::index(c, row, &model.metadata)?;
            Ok(model)
        })
    }

    /// Writes a note to a model.
    ///
    /// # Errors
    /// When there is no such model, or the note is empty.
    pub fn add_note(&self, reference: &str, text: &str) -> Result<(), RegistryError> {
        if text.trim().is_empty() {
            return Err(RegistryError::invalid("note", text, "a text"));
        }
        self.write(|c| {
            let row = self.row(c, reference)?;
            c.execute("INSERT INTO notes (model, created, text) VALUES (?1, ?2, ?3)", (row, now(), text.trim()))?;
            Ok(())
        })
    }

    /// The notes of a model, the oldest first.
    ///
    /// # Errors
    /// When there is no such model, or the database fails.
    pub fn notes(&self, reference: &str) -> Result<Vec<Note>, RegistryError> {
        self.read(|c| notes_of(c, self.row(c, reference)?))
    }

    /// Where a model comes from and what came of it.
    ///
    /// # Errors
    /// When there is no such model, or the database fails.
    pub fn lineage(&self, reference: &str) -> Result<Lineage, RegistryError> {
        self.read(|c| {
            let row = self.row(c, reference)?;
            let model = at_row(c, row)?;
            let walk = |sql: &str| -> Result<Vec<Relative>, RegistryError> {
                let mut statement = c.prepare_cached(sql)?;
                let found = statement.query_map([row], |r| {
                    let relation = match r.get::<_, i64>(2)? {
                        0 => Relation::Parent,
                        1 => Relation::FineTuned,
                        _ => Relation::SameData,
                    };
                    Ok(Relative { id: r.get(0)?, reference: r.get(1)?, relation, distance: r.get(3)? })
                })?;
                Ok(found.collect::<Result<_, _>>()?)
            };
            // A link points from a model to an older one, so there is no circle; the bound is for a damaged database.
            let tree = |near: &str, far: &str| {
                format!(
                    "WITH RECURSIVE links (near, far, kind) AS (
                         SELECT {near}, {far}, 0 FROM models WHERE parent IS NOT NULL
                         UNION ALL SELECT {near2}, {far2}, 1 FROM models WHERE fine_tuned_from IS NOT NULL),
                     tree (row, kind, distance) AS (
                         SELECT far, kind, 1 FROM links WHERE near = ?1
                         UNION SELECT far, links.kind, distance + 1 FROM tree JOIN links ON near = tree.row
                         WHERE distance < 1000)
                     SELECT id, name || '@' || version, kind, min(distance) AS distance FROM tree JOIN models USING (row)
                     GROUP BY row, kind ORDER BY distance, row",
                    near2 = near.replace("parent", "fine_tuned_from"),
                    far2 = far.replace("parent", "fine_tuned_from"),
                )
            };
            Ok(Lineage {
                ancestors: walk(&tree("row", "parent"))?,
                descendants: walk(&tree("parent", "row"))?,
                same_data: walk(
                    "SELECT id, name || '@' || version, 2, 1 FROM models
                     WHERE row != ?1 AND fingerprint = (SELECT fingerprint FROM models WHERE row = ?1) ORDER BY row",
                )?,
                reference: model.reference(),
                id: model.id,
                data_fingerprint: model.metadata.data.fingerprint,
            })
        })
    }
}

/// The notes of a row.
pub(super) fn notes_of(c: &Connection, row: i64) -> Result<Vec<Note>, RegistryError> {
    let mut statement = c.prepare_cached("SELECT created, text FROM notes WHERE model = ?1 ORDER BY row")?;
    let notes = statement.query_map([row], |r| Ok(Note { created: r.get(0)?, text: r.get(1)? }))?;
    Ok(notes.collect::<Result<_, _>>()?)
}

/// Writes every row of a model whose file is in the store; gives its number.
pub(super) fn insert(c: &Connection, model: &Model, registry: &Registry) -> Result<i64, RegistryError> {
    let m = &model.metadata;
    let link = |id: &Option<String>| id.as_deref().map(|id| registry.row(c, id)).transpose();
    let version = model.version.to_string();
    let taken = "SELECT EXISTS (SELECT 1 FROM models WHERE name = ?1 AND version = ?2)";
    if c.prepare_cached(taken)?.query_row((&m.name, &version), |r| r.get(0))? {
        return Err(RegistryError::VersionTaken { name: m.name.clone(), version });
    }
    // Tags may change: they are kept in their own table only.
    let document = serde_json::to_string(&Metadata { tags: Default::default(), ..m.clone() })
        .map_err(|e| RegistryError::invalid("metadata", &m.name, format!("what JSON can hold: {e}")))?;
    c.prepare_cached(
        "INSERT INTO models (id, name, version, type, description, stage, parent, fine_tuned_from, fingerprint, sha256,
             size, created, updated, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(rusqlite::params![
        model.id,
        m.name,
        version,
        m.kind,
        m.description,
        model.stage.map(Stage::name),
        link(&m.parent)?,
        link(&m.fine_tuned_from)?,
        m.data.fingerprint,
        model.sha256,
        i64::try_from(model.size).unwrap_or(i64::MAX),
        model.created,
        model.updated,
        document,
    ])?;
    let row = c.last_insert_rowid();
    for tag in &m.tags {
        c.prepare_cached("INSERT INTO tags (model, tag) VALUES (?1, ?2)")?.execute((row, tag))?;
    }
    for (name, value) in &m.metrics {
        c.prepare_cached("INSERT INTO metrics (model, name, value) VALUES (?1, ?2, ?3)")?
            .execute((row, name, value))?;
    }
    search::index(c, row, m)?;
    similar::store(c, row, m)?;
    Ok(row)
}
