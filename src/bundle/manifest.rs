//! The JSON document in a bundle's header: what the model is, what it was trained on and how that went.

use serde::{Deserialize, Serialize, Serializer};

use super::quantized::QuantizationRecord;
use crate::calendar::{Clock, Frequency};
use crate::features::FeatureSpec;
use crate::loss::LossConfig;
use crate::model::NHitsConfig;
use crate::transform::{ScalerKind, Step};
use crate::window::WindowScaler;

/// The newest format that this version writes. Older ones are read; newer ones are refused with a message that says so.
pub const FORMAT_VERSION: u32 = 2;

/// The format of a bundle that uses nothing that format 1 lacks, so that older programs read it.
pub const PLAIN_FORMAT: u32 = 1;

/// The format of a bundle with transforms of the target or features: an older program would leave them out.
pub const MADE_FORMAT: u32 = 2;

/// The format of a bundle with embeddings: an older program would not know the categories.
pub const CATEGORIES_FORMAT: u32 = 2;
/// The format of a bundle with integer weights: an older program would take the tensors for damaged ones.
pub const QUANTIZED_FORMAT: u32 = 2;

/// How the training data was laid out, so that fresh data is read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One row per series and time.
    #[default]
    Long,
    /// One column per series.
    Wide,
}

/// The names of the columns that the model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColumnNames {
    /// Long or wide.
    pub layout: Layout,
    /// The column with the series' identifiers (long layout).
    pub id: Option<String>,
    /// The time column, if it was named.
    pub time: Option<String>,
    /// The target column (long layout, or a single wide column).
    pub target: Option<String>,
    /// Historical covariates, in the order of the network's input.
    pub hist_exog: Vec<String>,
    /// Future covariates, in the order of the network's input.
    pub futr_exog: Vec<String>,
    /// Static covariates, in the order of the network's input.
    pub stat_exog: Vec<String>,
    /// Static columns of categories, in the order of the network's embeddings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stat_cat: Vec<Categories>,
}

/// A column of categories as it was in training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Categories {
    /// The column.
    pub name: String,
    /// Its categories, sorted: the rows of its embedding in their order.
    pub levels: Vec<String>,
}

impl ColumnNames {
    /// The categories of each column of them, as [`Panel::recode_categories`](crate::data::Panel::recode_categories) wants.
    pub fn levels(&self) -> Vec<Vec<String>> {
        self.stat_cat.iter().map(|c| c.levels.clone()).collect()
    }
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppedBy {
    /// All epochs or steps were done.
    Finished,
    /// The validation loss did not improve for `patience` validations.
    EarlyStopping,
    /// The user asked (Ctrl-C, or `q` in the dashboard).
    Interrupted,
    /// The time allowed was over.
    TimeLimit,
    /// A callback asked.
    Callback,
}

/// What one epoch brought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps done so far.
    pub step: usize,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Mean absolute error of the training windows, on the scale of the per-series scaler.
    pub train_mae: f64,
    /// Root mean squared error of the training windows, on that scale; 0 in files of versions that did not record it.
    #[serde(default)]
    pub train_rmse: f64,
    /// Validation loss, if the epoch was validated.
    pub val_loss: Option<f64>,
    /// Mean absolute error of the validation windows, on the scale of the per-series scaler.
    pub val_mae: Option<f64>,
    /// Root mean squared error of the validation windows, on that scale.
    #[serde(default)]
    pub val_rmse: Option<f64>,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Seconds that the epoch took, validation included; 0 in a saved bundle.
    #[serde(default)]
    pub seconds: f64,
    /// Training windows per second, validation left out; 0 in a saved bundle.
    #[serde(default)]
    pub windows_per_s: f64,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// The backend that trained.
    pub backend: String,
    /// The device that trained.
    pub device: String,
    /// Series in the training data.
    pub n_series: usize,
    /// Training windows there were to draw from.
    pub n_windows: usize,
    /// Optimizer steps done.
    pub steps: usize,
    /// Epochs done.
    pub epochs: usize,
    /// The epoch whose weights were kept.
    pub best_epoch: usize,
    /// Training loss of that epoch.
    pub train_loss: f64,
    /// Its validation loss, if there were validation rows.
    pub val_loss: Option<f64>,
    /// Its validation MAE.
    pub val_mae: Option<f64>,
    /// Why training ended.
    pub stopped_by: StoppedBy,
    /// Every epoch; what the clock said is not saved, so that the same run gives the same bytes.
    #[serde(serialize_with = "without_times")]
    pub history: Vec<EpochRecord>,
}

/// The epochs without what differs from one run to the next.
fn without_times<S: Serializer>(history: &[EpochRecord], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(history.iter().map(|record| {
        let mut value = serde_json::to_value(record).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("seconds");
            fields.shift_remove("windows_per_s");
        }
        value
    }))
}

/// Everything about a saved model that is not a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the file, see [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name and version of the program that wrote it.
    pub program: String,
    /// The network.
    pub model: NHitsConfig,
    /// The loss, which says what the outputs are.
    pub loss: LossConfig,
    /// The scaler of each window.
    pub window_scaler: WindowScaler,
    /// The scaler of each series; its fitted values are tensors.
    pub scaler: ScalerKind,
    /// The step between rows, if it is known.
    pub freq: Option<Frequency>,
    /// How time stamps are written.
    pub clock: Clock,
    /// The columns that it was trained on.
    pub columns: ColumnNames,
    /// Steps in a season, for baselines and MASE.
    pub season: usize,
    /// How training went; `None` for an imported model.
    pub training: Option<TrainingSummary>,
    /// Hash of the data that it was trained on.
    pub data_fingerprint: Option<String>,
    /// The seed of the run.
    pub seed: u64,
    /// The resolved configuration of the run, as written to `config.toml`.
    pub experiment: serde_json::Value,
    /// Where an imported model came from.
    pub imported_from: Option<String>,
    /// Which layers are integers, and how they came about; none for a float model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<QuantizationRecord>,
    /// The transforms of the target; their fitted values are tensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<Step>,
    /// The columns that are made from the data, behind those of the data in [`Manifest::columns`].
    #[serde(default, skip_serializing_if = "FeatureSpec::is_empty")]
    pub features: FeatureSpec,
}

impl Manifest {
    /// Whether it has transforms of the target or features, which came with [`MADE_FORMAT`].
    pub fn makes_columns(&self) -> bool {
        !self.target.is_empty() || !self.features.is_empty()
    }

    /// The future covariates that the data has to bring: those that are not made from the calendar.
    pub fn given_futr(&self) -> &[String] {
        let names = &self.columns.futr_exog;
        &names[..names.len() - self.features.columns.n_futr().min(names.len())]
    }
}
