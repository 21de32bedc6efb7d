//! From a finished run to the file that is saved: what the manifest says of data, settings and outcome.

use burn::tensor::backend::Backend;

use super::job::{Plan, TrainJob, Trained};
use crate::bundle::{
    Bundle, CATEGORIES_FORMAT, Categories, ColumnNames, Layout, MADE_FORMAT, Manifest, PLAIN_FORMAT, TrainingSummary,
};
use crate::data::{Column, DataConfig};
use crate::model::settle_unknown;

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
            target: job.target.clone(),
            features: job.features.clone(),
        };
        if manifest.makes_columns() {
            manifest.format_version = manifest.format_version.max(MADE_FORMAT);
        }
        let mut weights = self.net.tensors();
        settle_unknown(&mut weights, &job.network.embeddings);
        Bundle { manifest, weights, series: Some(self.series.clone()) }
    }
}
