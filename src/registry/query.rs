//! Lists of models: by name, type, stage, tags, ranges of metrics, time and free metadata.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::Value;

use super::models::{COLUMNS, raw, read_model};
use super::{Model, Registry, RegistryError, Stage};

/// A condition on a metric, such as `val_mae<0.3`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRange {
    /// The metric.
    pub name: String,
    /// `<`, `<=`, `>`, `>=` or `=`.
    pub relation: &'static str,
    /// The bound.
    pub value: f64,
}

impl FromStr for MetricRange {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::invalid("metric", text, "a name, one of < <= > >= =, and a number: val_mae<0.3");
        let at = text.find(['<', '>', '=']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let relation = ["<=", ">=", "<", ">", "="].into_iter().find(|r| rest.starts_with(r)).ok_or_else(wrong)?;
        let value = rest[relation.len()..].trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wrong)?;
        let name = name.trim();
        if name.is_empty() { Err(wrong()) } else { Ok(Self { name: name.into(), relation, value }) }
    }
}

/// A time as the registry writes it, from `2026-01-31`, `2026-01-31T12:00` (UTC) or a time stamp with an offset.
///
/// # Errors
/// When it is none of these.
pub fn time_stamp(text: &str) -> Result<String, RegistryError> {
    let wrong = || RegistryError::invalid("time", text, "2026-01-31, 2026-01-31T12:00 or 2026-01-31T12:00:00Z");
    let stamp = match text.trim().parse::<Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => {
            let civil = text.trim().parse::<DateTime>().map_err(|_| wrong())?;
            civil.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp()
        }
    };
    Ok(format!("{stamp:.6}"))
}

/// Which models are wanted; an empty filter is all of them. Every condition must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// The name; `*` stands for any letters.
    pub name: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// The stage.
    pub stage: Option<Stage>,
    /// One of these tags, if any are given.
    pub any_tags: Vec<String>,
    /// Every one of these tags.
    pub all_tags: Vec<String>,
    /// Ranges of metrics; a model without the metric is not in them.
    pub metrics: Vec<MetricRange>,
    /// Saved at this time or later, see [`time_stamp`].
    pub created_after: Option<String>,
    /// Saved before this time.
    pub created_before: Option<String>,
    /// Free metadata: key and value as text.
    pub extra: Vec<(String, String)>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Registry {
    /// The models that a filter lets through, the newest first.
    ///
    /// # Errors
    /// When the database fails, or a time cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Model>, RegistryError> {
        let (conditions, mut values) = conditions(filter)?;
        let limit = filter.limit.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1);
        values.push(limit.into());
        let sql = format!(
            "SELECT {COLUMNS} FROM models WHERE {conditions} ORDER BY created DESC, row DESC LIMIT ?{}",
            values.len()
        );
        self.read(|c| {
            let mut statement = c.prepare_cached(&sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), raw)?;
            rows.map(|r| read_model(r?)).collect()
        })
    }
}

/// The condition of a filter in SQL, and the values of its parameters: nothing that was given becomes part of the text.
fn conditions(filter: &Filter) -> Result<(String, Vec<Value>), RegistryError> {
    let (mut parts, mut values) = (vec!["1".to_string()], Vec::<Value>::new());
    let mut add = |condition: &str, given: Vec<Value>| {
        let mut text = condition.to_string();
        for value in given {
            values.push(value);
            text = text.replacen("{}", &format!("?{}", values.len()), 1);
        }
        parts.push(text);
    };
    let text = |t: &str| Value::from(t.to_owned());
    if let Some(name) = &filter.name {
        // GLOB knows more signs than `*`; names do not have them, and in a pattern they stand for themselves.
        let pattern: String =
            name.chars().map(|c| if matches!(c, '?' | '[') { format!("[{c}]") } else { c.to_string() }).collect();
        add("name GLOB {}", vec![pattern.into()]);
    }
    if let Some(kind) = &filter.kind {
        add("type = {}", vec![text(kind)]);
    }
    if let Some(stage) = filter.stage {
        add("stage = {}", vec![text(stage.name())]);
    }
    let has_tag = "EXISTS (SELECT 1 FROM tags WHERE model = models.row AND tag = {})";
    if !filter.any_tags.is_empty() {
        let any = vec![has_tag; filter.any_tags.len()].join(" OR ");
        add(&format!("({any})"), filter.any_tags.iter().map(|t| text(t.trim())).collect());
    }
    for tag in &filter.all_tags {
        add(has_tag, vec![text(tag.trim())]);
    }
    for MetricRange { name, relation, value } in &filter.metrics {
        let sql = format!(
            "EXISTS (SELECT 1 FROM metrics WHERE metrics.model = models.row AND metrics.name = {{}} AND value {relation} {{}})"
        );
        add(&sql, vec![text(name), (*value).into()]);
    }
    if let Some(time) = &filter.created_after {
        add("created >= {}", vec![time_stamp(time)?.into()]);
    }
    if let Some(time) = &filter.created_before {
        add("created < {}", vec![time_stamp(time)?.into()]);
    }
    for (key, value) in &filter.extra {
        add(
            "EXISTS (SELECT 1 FROM json_each(document, '$.extra') AS e WHERE e.key = {} AND {} =
                 CASE e.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(e.value AS TEXT) END)",
            vec![text(key), text(value)],
        );
    }
    Ok((parts.join(" AND "), values))
}
