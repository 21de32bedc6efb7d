//! From a finished run to the file that is saved: what the manifest says of data, settings and outcome.

use burn::tensor::backend::Backend;

use super::job::{Plan, TrainJob, Trained};
use crate::bundle::{
    Bundle, CATEGORIES_FORMAT, Categories, ColumnNames, Layout, MADE_FORMAT, Manifest, PLAIN_FORMAT, QuantizedBy,
    TrainingSummary,
};
use crate::data::{Column, DataConfig};
use crate::model::{LayerInput, QuantizationConfig, learned_range, settle_unknown};

/// What a bundle records that the run itself does not know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// How the data was read: where fresh data has its columns.
    pub data: DataConfig,
    /// The fingerprint of the data ([`crate::data::Read::fingerprint`]).
    pub data_fingerprint: Option<String>,
    /// The backend that trained.
    pub backend: String,
    /// The device that trained.
    pub device: String,
    /// The resolved configuration, as JSON. `nhits predict` reads fresh data as its `data` says, and `nhits evaluate`
    /// splits it as its `split` says; null if there is none.
    pub experiment: serde_json::Value,
}

impl<B: Backend> Trained<B> {
    /// The int8 bundle of a run that was trained with rounding: the integers are those that its last forward pass used,
    /// and learned ranges are settled.
    fn rounded(&self, mut bundle: Bundle, quantize: &QuantizationConfig) -> Bundle {
        let network = self.net.checked();
        let range = |layer: &str| {
            let name = format!("{layer}.input_range");
            bundle.weights.iter().find(|t| t.name == name).and_then(|t| t.data.first().copied()).unwrap_or(0.0)
        };
        let settled = |(layer, input): (String, Option<LayerInput>)| match input {
            Some(LayerInput::Learned { signed }) => Some(learned_range(range(&layer), signed).into()),
            other => other,
        };
        let layers = network.quantization().map(|q| q.layers.clone()).unwrap_or_default();
        let inputs: Vec<_> = network.layer_names().into_iter().zip(layers).map(settled).collect();
        bundle.weights.retain(|t| !t.name.ends_with(".input_range"));
        bundle
            .quantized(quantize, &inputs, QuantizedBy::Qat, self.from.clone())
            .expect("the plan checked these settings for this network; a run ends with all weights, and finite ones")
    }

    /// The bundle of this run: the weights of the best epoch and everything that a forecast needs. `job` and `plan` are
    /// those that it was trained with.
    pub fn bundle(&self, job: &TrainJob, plan: &Plan, provenance: Provenance) -> Bundle {
        let Provenance { data, data_fingerprint, backend, device, experiment } = provenance;
        let panel = &job.panel;
        let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let mut manifest = Manifest {
            format_version: if panel.stat_cat.is_empty() { PLAIN_FORMAT } else { CATEGORIES_FORMAT },
            program: format!("nhits {}", env!("CARGO_PKG_VERSION")),
            model: (*job.network).clone(),
            loss: job.loss.clone(),
            window_scaler: job.window_scaler,
            scaler: job.scaler,
            freq: Some(panel.freq),
            clock: panel.clock,
            columns: ColumnNames {
                layout: if data.targets.is_some() { Layout::Wide } else { Layout::Long },
                id: data.id_col,
                time: data.time_col,
                target: data.target,
                hist_exog: names(&panel.hist_exog),
                futr_exog: names(&panel.futr_exog),
                stat_exog: panel.stat_exog.iter().map(|c| c.name.clone()).collect(),
                stat_cat: panel
                    .stat_cat
                    .iter()
                    .map(|c| Categories { name: c.name.clone(), levels: c.levels.clone() })
                    .collect(),
            },
            season: panel.freq.season(),
            training: Some(TrainingSummary {
                backend,
                device,
                n_series: panel.n_series(),
                n_windows: plan.train_windows,
                steps: self.steps,
                epochs: self.history.len(),
                best_epoch: self.best.epoch,
                train_loss: self.best.train_loss,
                val_loss: self.best.val_loss,
                val_mae: self.best.val_mae,
                stopped_by: self.stopped_by,
                history: self.history.clone(),
            }),
            data_fingerprint,
            seed: job.config.seed,
            experiment,
            imported_from: None,
            quantization: None,
            target: job.target.clone(),
            features: job.features.clone(),
        };
        if manifest.makes_columns() {
            manifest.format_version = manifest.format_version.max(MADE_FORMAT);
        }
        let mut weights = self.net.tensors();
        settle_unknown(&mut weights, &job.network.embeddings);
        let bundle = Bundle { manifest, weights, series: Some(self.series.clone()), integers: Vec::new() };
        match &job.config.quantize {
            Some(quantize) => self.rounded(bundle, quantize),
            None => bundle,
        }
    }
}
