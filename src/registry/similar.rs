//! Models like a model: each has a vector made of what it is and how it does; the nearest are found by exact search.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use serde_json::Value;

use super::model::Metadata;
use super::{Model, Registry, RegistryError};

/// How a number of a model becomes a component of its vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    /// Its name.
    pub name: &'static str,
    /// Where it is found: names of a metric, of a statistic of the data, or of a hyperparameter (at any depth).
    pub from: Source,
    /// Whether the logarithm to base 10 is taken of the number (of 1e-12, where it is smaller).
    pub log: bool,
    /// The usual value, which becomes 0 as an unknown one does.
    pub usual: f64,
    /// The distance from it that becomes 1. Fixed, so that a vector never changes when other models come.
    pub spread: f64,
}

/// Where the number of a component is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The architecture: input size, horizon, parameters, widest layer, hidden layers.
    Architecture(usize),
    /// A hyperparameter; the first of these names that is there.
    Setting(&'static [&'static str]),
    /// Series and rows of the data.
    Data(usize),
    /// A statistic of the data.
    Statistic(&'static str),
    /// A metric.
    Metric(&'static str),
}

const fn part(name: &'static str, from: Source, log: bool, usual: f64, spread: f64) -> Component {
    Component { name, from, log, usual, spread }
}

/// The vector of a model, component by component: configuration, data, metrics. Each is
/// `((log10 of) value - usual) / spread`, limited to -8..8, and 0 where the value is not known.
pub const VECTOR: [Component; 24] = [
    part("input_size", Source::Architecture(0), true, 2.0, 0.5),
    part("horizon", Source::Architecture(1), true, 1.5, 0.5),
    part("parameters", Source::Architecture(2), true, 6.0, 1.0),
    part("width", Source::Architecture(3), true, 2.5, 0.5),
    part("layers", Source::Architecture(4), false, 6.0, 4.0),
    part("dropout", Source::Setting(&["dropout", "dropout_prob_theta"]), false, 0.0, 0.2),
    part("lr", Source::Setting(&["lr", "learning_rate"]), true, -3.0, 0.5),
    part("batch_size", Source::Setting(&["batch_size"]), true, 1.5, 0.5),
    part("weight_decay", Source::Setting(&["weight_decay"]), true, -5.0, 2.0),
    part("max_steps", Source::Setting(&["max_steps", "steps"]), true, 3.0, 0.5),
    part("n_series", Source::Data(0), true, 0.0, 1.0),
    part("n_rows", Source::Data(1), true, 4.0, 1.0),
    part("variation", Source::Statistic("variation"), true, -0.5, 1.0),
    part("autocorrelation", Source::Statistic("autocorrelation"), false, 0.8, 0.4),
    part("seasonal_autocorrelation", Source::Statistic("seasonal_autocorrelation"), false, 0.5, 0.4),
    part("missing", Source::Statistic("missing"), false, 0.0, 0.1),
    part("train_loss", Source::Metric("train_loss"), true, -0.5, 0.5),
    part("val_loss", Source::Metric("val_loss"), true, -0.5, 0.5),
    part("val_mae", Source::Metric("val_mae"), true, -0.5, 0.5),
    part("val_rmse", Source::Metric("val_rmse"), true, -0.5, 0.5),
    part("test_mae", Source::Metric("test_mae"), true, -0.5, 0.5),
    part("test_mse", Source::Metric("test_mse"), true, -0.5, 0.5),
    part("mase", Source::Metric("mase"), true, 0.0, 0.5),
    part("smape", Source::Metric("smape"), true, 1.0, 0.5),
];

/// How near two vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Similarity {
    /// The cosine of the angle between them, -1 to 1; higher is nearer.
    #[default]
    Cosine,
    /// The Euclidean distance, 0 for equal ones; lower is nearer.
    L2,
    /// The dot product; higher is nearer.
    Dot,
}

impl std::str::FromStr for Similarity {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        match text {
            "cosine" => Ok(Self::Cosine),
            "l2" => Ok(Self::L2),
            "dot" => Ok(Self::Dot),
            _ => Err(RegistryError::invalid("metric", text, "cosine, l2 or dot")),
        }
    }
}

impl Similarity {
    fn score(self, a: &[f32], b: &[f32]) -> f32 {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        match self {
            Self::Dot => dot(a, b),
            Self::L2 => a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt(),
            // A vector of zeros has no direction: it is like nothing.
            Self::Cosine => match (dot(a, a) * dot(b, b)).sqrt() {
                norms if norms > 0.0 => dot(a, b) / norms,
                _ => 0.0,
            },
        }
    }

    /// Larger for nearer ones.
    fn nearness(self, score: f32) -> f32 {
        if self == Self::L2 { -score } else { score }
    }
}

/// A model and how near it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbour {
    /// By the measure that was asked for.
    pub score: f32,
    /// The model.
    #[serde(flatten)]
    pub model: Model,
}

/// The first number under one of these keys, at any depth.
fn setting(value: &Value, names: &[&str]) -> Option<f64> {
    let fields = value.as_object()?;
    names
        .iter()
        .find_map(|n| fields.get(*n).and_then(Value::as_f64))
        .or_else(|| fields.values().find_map(|v| setting(v, names)))
}

/// The vector of a model, see [`VECTOR`].
pub fn vector(m: &Metadata) -> [f32; VECTOR.len()] {
    let a = &m.architecture;
    VECTOR.map(|c| {
        let value = match c.from {
            Source::Architecture(0) => a.input_size.map(|v| v as f64),
            Source::Architecture(1) => a.horizon.map(|v| v as f64),
            Source::Architecture(2) => a.parameters.map(|v| v as f64),
            Source::Architecture(3) => a.hidden.iter().max().map(|v| *v as f64),
            Source::Architecture(_) => (!a.hidden.is_empty()).then_some(a.hidden.len() as f64),
            Source::Setting(names) => setting(&m.hyperparameters, names),
            Source::Data(0) => m.data.n_series.map(|v| v as f64),
            Source::Data(_) => m.data.n_rows.map(|v| v as f64),
            Source::Statistic(name) => m.data.statistics.get(name).copied(),
            Source::Metric(name) => m.metrics.get(name).copied(),
        };
        let Some(value) = value.filter(|v| v.is_finite()) else { return 0.0 };
        let value = if c.log { value.max(1e-12).log10() } else { value };
        ((value - c.usual) / c.spread).clamp(-8.0, 8.0) as f32
    })
}

/// Keeps the vector of a new model.
pub(super) fn store(c: &Connection, row: i64, m: &Metadata) -> Result<(), RegistryError> {
    let bytes: Vec<u8> = vector(m).iter().flat_map(|v| v.to_le_bytes()).collect();
    c.prepare_cached("INSERT INTO vectors (model, vector) VALUES (?1, ?2)")?.execute((row, bytes))?;
    Ok(())
}

impl Registry {
    /// The `k` models nearest to the one that `reference` names, the nearest first, without itself.
    ///
    /// # Errors
    /// When there is no such model, or the database fails.
    pub fn similar(&self, reference: &str, k: usize, by: Similarity) -> Result<Vec<Neighbour>, RegistryError> {
        let model = self.metadata(reference)?;
        let to = vector(&model.metadata);
        self.nearest(&to, k, by, Some(&model.id))
    }

    /// The `k` models nearest to a vector (see [`vector`]), without the one with the id `without`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn nearest(
        &self,
        to: &[f32; VECTOR.len()],
        k: usize,
        by: Similarity,
        without: Option<&str>,
    ) -> Result<Vec<Neighbour>, RegistryError> {
        self.read(|c| {
            let own: Option<i64> =
                c.query_row("SELECT row FROM models WHERE id = ?1", [without], |r| r.get(0)).optional()?;
            let mut all: Vec<(f32, i64)> = Vec::new();
            let mut statement = c.prepare_cached("SELECT model, vector FROM vectors")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (model, blob) = (row.get::<_, i64>(0)?, row.get_ref(1)?);
                let mut v = [0.0; VECTOR.len()];
                // A vector of another length is not one of ours: it is like nothing.
                if let Ok(bytes) = blob.as_blob() {
                    v.iter_mut().zip(bytes.as_chunks().0).for_each(|(v, b)| *v = f32::from_le_bytes(*b));
                }
                if Some(model) != own {
                    all.push((by.score(to, &v), model));
                }
            }
            // The older of two equal ones first, so that the order is always the same.
            let order =
                |a: &(f32, i64), b: &(f32, i64)| by.nearness(b.0).total_cmp(&by.nearness(a.0)).then(a.1.cmp(&b.1));
            if k < all.len() {
                all.select_nth_unstable_by(k, order);
                all.truncate(k);
            }
            all.sort_by(order);
            all.into_iter().map(|(score, row)| Ok(Neighbour { score, model: super::models::at_row(c, row)? })).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{metadata, registry};
    use super::*;

    #[test]
    fn like_models_are_near_by_every_measure() {
        let (_dir, r) = registry();
        let model = |horizon: u64, lr: f64, mae: f64| {
            let mut m = metadata("m");
            m.architecture.horizon = Some(horizon);
            m.hyperparameters = serde_json::json!({"train": {"lr": lr}});
            m.metrics.insert("val_mae".into(), mae);
            m
        };
        let a = r.save(b"a", &model(24, 0.001, 0.3)).unwrap();
        let b = r.save(b"b", &model(24, 0.0012, 0.31)).unwrap();
        let c = r.save(b"c", &model(720, 0.1, 3.0)).unwrap();
        for by in [Similarity::Cosine, Similarity::L2] {
            let found = r.similar(&a, 5, by).unwrap();
            let ids: Vec<&str> = found.iter().map(|n| n.model.id.as_str()).collect();
            assert_eq!(ids, [&b, &c], "{by:?}");
            assert!(by.nearness(found[0].score) > by.nearness(found[1].score));
            assert_eq!(r.similar(&a, 1, by).unwrap().len(), 1);
        }
        assert_eq!(r.similar(&a, 5, Similarity::Dot).unwrap().len(), 2);
    }

    #[test]
    fn scores_are_those_of_the_formulas() {
        let (a, b) = ([1.0, 2.0, 2.0], [2.0, 0.0, 0.0]);
        assert_eq!(Similarity::Dot.score(&a, &b), 2.0);
        assert_eq!(Similarity::L2.score(&a, &b), 3.0);
        assert!((Similarity::Cosine.score(&a, &b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(Similarity::Cosine.score(&a, &[0.0; 3]), 0.0);
    }

    #[test]
    fn every_component_is_reached() {
        let mut m = metadata("m");
        let empty = vector(&Metadata::new("m", "t"));
        assert_eq!(empty, [0.0; VECTOR.len()], "what is not known is as usual");
        m.architecture = super::super::Architecture {
            input_size: Some(7),
            horizon: Some(7),
            hidden: vec![7, 7],
            parameters: Some(7),
        };
        (m.data.n_series, m.data.n_rows) = (Some(7), Some(7));
        let mut settings = serde_json::Map::new();
        for c in VECTOR {
            match c.from {
                Source::Setting(names) => drop(settings.insert(names[0].into(), 7.0.into())),
                Source::Statistic(name) => drop(m.data.statistics.insert(name.into(), 7.0)),
                Source::Metric(name) => drop(m.metrics.insert(name.into(), 7.0)),
                _ => {}
            }
        }
        m.hyperparameters = serde_json::json!({"deep": {"er": settings}});
        assert!(vector(&m).iter().all(|v| *v != 0.0 && v.abs() <= 8.0), "{:?}", vector(&m));
    }
}
