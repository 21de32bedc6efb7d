//! What the registry is told of a bundle: its manifest as [`Metadata`]. The registry itself knows no bundles.

use std::collections::BTreeMap;

use serde_json::json;

use crate::bundle::Bundle;
use crate::data::Panel;
use crate::registry::{Architecture, DataCard, Hardware, Metadata};

/// The type of a bundle's model.
pub(super) const NHITS: &str = "nhits";

/// What a bundle says of itself.
pub(super) fn of_bundle(bundle: &Bundle, name: &str) -> Metadata {
    let m = &bundle.manifest;
    let train = m.experiment.get("train").cloned().unwrap_or_default();
    let mut metrics = BTreeMap::new();
    let mut hardware = Hardware::default();
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
        hardware = Hardware { backend: Some(t.backend.clone()), device: Some(t.device.clone()) };
        data.n_series = Some(t.n_series as u64);
    }
    let count = |n: usize| n as u64;
    Metadata {
        hyperparameters: json!({"model": m.model, "loss": m.loss, "scaler": m.scaler, "window_scaler": m.window_scaler,
            "train": train}),
        training: m.experiment.clone(),
        metrics,
        architecture: Architecture {
            input_size: Some(count(m.model.input_size)),
            horizon: Some(count(m.model.horizon)),
            hidden: m.model.mlp_units.iter().flatten().map(|n| count(*n)).collect(),
            parameters: Some(bundle.weights.iter().map(|w| count(w.data.len())).sum()),
        },
        data,
        hardware,
        seed: Some(m.seed),
        program: m.program.clone(),
        ..Metadata::new(name, NHITS)
    }
}

/// Adds what only the data itself tells: rows, range, and the statistics that similarity looks at.
pub(super) fn describe_data(data: &mut DataCard, panel: &Panel, season: usize) {
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
