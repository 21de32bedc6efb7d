//! A bundle in the registry: saved, loaded, and told about. The registry itself knows bytes and [`Metadata`], no bundles.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::{Bundle, BundleError};
use crate::data::Panel;
use crate::registry::{Architecture, DataCard, Filter, Hardware, Metadata, Registry, VersionChoice};

/// The type under which a bundle's model is registered.
pub const REGISTERED_AS: &str = "nhits";

impl Bundle {
    /// Saves the bundle in a registry under the next version of its name; gives its id. [`Bundle::card`] makes the
    /// metadata, to which more may be added.
    ///
    /// # Errors
    /// See [`Registry::save`]; there is no such model then.
    pub fn register(&self, registry: &Registry, metadata: &Metadata) -> Result<String, BundleError> {
        self.register_as(registry, metadata, &VersionChoice::Auto)
    }

    /// The same under a version that is chosen.
    ///
    /// # Errors
    /// As [`Bundle::register`], and when the version is taken.
    pub fn register_as(
        &self,
        registry: &Registry,
        metadata: &Metadata,
        version: &VersionChoice,
    ) -> Result<String, BundleError> {
        let metadata = self.with_float_parent(registry, metadata)?;
        Ok(registry.save_as(&self.to_bytes()?, &metadata, version)?)
    }

    /// The metadata with the float model that a quantized one was made from as its parent, where the registry has it and
    /// no parent is named.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn with_float_parent(&self, registry: &Registry, metadata: &Metadata) -> Result<Metadata, BundleError> {
        let mut metadata = metadata.clone();
        let parent = self.manifest.quantization.as_ref().and_then(|q| q.float_parent.as_ref());
        if let (None, Some(sha256)) = (&metadata.parent, parent) {
            let found = registry.list(&Filter::default())?.into_iter().find(|m| m.sha256 == *sha256);
            metadata.parent = found.map(|m| m.id);
        }
        Ok(metadata)
    }

    /// The bundle that a reference (`name@production`, `name@1.2.0`, an id) means.
    ///
    /// # Errors
    /// When there is no such model, its file is missing or damaged, or it is no bundle.
    pub fn registered(registry: &Registry, reference: &str) -> Result<Self, BundleError> {
        Self::from_bytes(&registry.load(reference)?, Path::new(reference))
    }

    /// What the bundle says of itself, as the registry keeps it, under a name.
    pub fn card(&self, name: &str) -> Metadata {
        card(self, name)
    }
}

fn card(bundle: &Bundle, name: &str) -> Metadata {
    let m = &bundle.manifest;
    let train = m.experiment.get("train").cloned().unwrap_or_default();
    let mut metrics = BTreeMap::new();
    let mut hardware = Hardware::default();
    let mut extra = serde_json::Map::new();
    if let Some(q) = &m.quantization {
        extra.insert("precision".into(), bundle.precision().into());
        extra.insert("quantized_by".into(), q.method.name().into());
        extra.insert("float_parent".into(), json!(q.float_parent));
    }
    let mut data = DataCard {
        fingerprint: m.data_fingerprint.clone(),
        frequency: m.freq.map(|f| f.to_string()),
        ..DataCard::default()
    };
    if let Some(t) = &m.training {
        metrics.insert("train_loss".to_string(), t.train_loss);
        let best = t.history.iter().find(|r| r.epoch == t.best_epoch);
        let known = [("val_loss", t.val_loss), ("val_mae", t.val_mae), ("val_rmse", best.and_then(|r| r.val_rmse))];
        metrics.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
        hardware = Hardware { backend: Some(t.backend.clone()), device: Some(t.device.clone()), machine: None };
        data.n_series = Some(t.n_series as u64);
    }
    let count = |n: usize| n as u64;
    let mut hyperparameters = json!({"model": m.model, "loss": m.loss, "scaler": m.scaler,
        "window_scaler": m.window_scaler, "train": train});
    if m.makes_columns() {
        hyperparameters["target"] = json!(m.target);
        hyperparameters["features"] = json!(m.features.columns);
    }
    Metadata {
        hyperparameters,
        training: m.experiment.clone(),
        metrics,
        architecture: Architecture {
            input_size: Some(count(m.model.input_size)),
            horizon: Some(count(m.model.horizon)),
            hidden: m.model.mlp_units.iter().flatten().map(|n| count(*n)).collect(),
            parameters: Some(
                bundle.weights.iter().map(|w| count(w.data.len())).sum::<u64>()
                    + bundle.integers.iter().map(|q| count(q.weight.values.len())).sum::<u64>(),
            ),
        },
        data,
        hardware,
        seed: Some(m.seed),
        program: m.program.clone(),
        extra,
        ..Metadata::new(name, REGISTERED_AS)
    }
}

/// Adds what only the data itself tells: rows, range, and the statistics that similarity looks at.
pub fn describe_data(data: &mut DataCard, panel: &Panel, season: usize) {
    data.n_rows = Some(panel.n_rows() as u64);
    data.from = panel.time.iter().min().map(|t| panel.clock.format(*t));
    data.to = panel.time.iter().max().map(|t| panel.clock.format(*t));
    let known: Vec<f64> = panel.y.iter().copied().filter(|v| v.is_finite()).collect();
    if known.is_empty() {
        return;
    }
    let missing = 1.0 - known.len() as f64 / panel.y.len() as f64;
    data.statistics.insert("missing".into(), missing);
    // Means over the series, each by itself: their levels need not be alike.
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for s in 0..panel.n_series() {
        let y = &panel.y[panel.offsets[s]..panel.offsets[s + 1]];
        let known: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
        let n = known.len().max(1) as f64;
        let mean = known.iter().sum::<f64>() / n;
        let variance = known.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let mut add = |name, value: f64| {
            if value.is_finite() {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + value, sum.1 + 1.0);
            }
        };
        add("mean", mean);
        add("std", variance.sqrt());
        add("variation", variance.sqrt() / mean.abs());
        for (name, lag) in [("autocorrelation", 1), ("seasonal_autocorrelation", season)] {
            let pairs = y.iter().zip(y.iter().skip(lag)).filter(|(a, b)| a.is_finite() && b.is_finite());
            let (sum, count) = pairs.fold((0.0, 0usize), |(s, n), (a, b)| (s + (a - mean) * (b - mean), n + 1));
            add(name, sum / count as f64 / variance);
        }
    }
    data.statistics.extend(sums.into_iter().map(|(name, (sum, n))| (name.to_string(), sum / n)));
}
