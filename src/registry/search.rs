//! Full text over names, descriptions and tags.

use rusqlite::Connection;
use serde::Serialize;

use super::model::Metadata;
use super::models::at_row;
use super::{Model, Registry, RegistryError};

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// How well it fits (SQLite's bm25 with the sign changed: higher is better; a name counts four times a description,
    /// a tag twice).
    pub score: f64,
    /// The model.
    #[serde(flatten)]
    pub model: Model,
}

/// Makes a model findable, or findable anew.
pub(super) fn index(c: &Connection, row: i64, m: &Metadata) -> Result<(), RegistryError> {
    let tags = m.tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    c.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([row])?;
    c.prepare_cached("INSERT INTO words (rowid, name, description, tags) VALUES (?1, ?2, ?3, ?4)")?.execute((
        row,
        &m.name,
        &m.description,
        tags,
    ))?;
    Ok(())
}

/// Words as FTS5 takes them: each in quotes, as the beginning of a word, all of them wanted. So no sign that was typed is
/// an operator, and no query is a syntax error.
fn expression(query: &str) -> Option<String> {
    let words: Vec<String> =
        query.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(|w| format!("\"{w}\"*")).collect();
    (!words.is_empty()).then(|| words.join(" AND "))
}

impl Registry {
    /// The models whose name, description and tags have every word of `query` (or a word that begins with it), the best
    /// first.
    ///
    /// # Errors
    /// When `query` has no word, or the database fails.
    pub fn search(&self, query: &str, limit: usize) -> Result<Vec<Hit>, RegistryError> {
        let words = expression(query).ok_or_else(|| RegistryError::invalid("search", query, "at least one word"))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT rowid, -bm25(words, 4.0, 1.0, 2.0) AS score FROM words WHERE words MATCH ?1
                 ORDER BY score DESC, rowid DESC LIMIT ?2",
            )?;
            let found = statement.query_map((words, limit), |r| Ok((r.get::<_, i64>(0)?, r.get::<_, f64>(1)?)))?;
            found
                .map(|pair| pair.map_err(RegistryError::from))
                .map(|pair| {
                    let (row, score) = pair?;
                    Ok(Hit { score, model: at_row(c, row)? })
                })
                .collect()
        })
    }
}
