//! The saved model: ONE safetensors file that is enough to forecast.
//!
//! Weights are tensors under neuralforecast's `state_dict` names and layout (`blocks.0.layers.0.weight`, `[out, in]`), so
//! Python can read them; everything else is one JSON document, the [`Manifest`], in the header's metadata under the key
//! `nhits`. The weights of a quantized model are I8 tensors with their scales beside them. What grows with the number of series (identifiers, fitted scalers) is stored as tensors.

mod card;
mod error;
mod file;
mod import;
mod manifest;
mod quantized;

pub use card::{REGISTERED_AS, describe_data};
pub use error::BundleError;
pub use import::{ImportOptions, import_neuralforecast};
pub use manifest::{
    CATEGORIES_FORMAT, Categories, ColumnNames, EpochRecord, FORMAT_VERSION, Layout, MADE_FORMAT, Manifest,
    PLAIN_FORMAT, QUANTIZED_FORMAT, StoppedBy, TrainingSummary,
};
pub use quantized::{QuantizationRecord, QuantizedBy, QuantizedInput, QuantizedLayer, settled};

use crate::model::NamedTensor;
use crate::transform::TargetPipeline;
use crate::window::ColumnScalers;

/// What was fitted per series on the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesState {
    /// `unique_id` of each series, in the order of the scalers.
    pub ids: Vec<String>,
    /// The scalers of the target and the covariates.
    pub scalers: ColumnScalers,
    /// The transforms of the target, which come before its scaler.
    pub target: TargetPipeline,
}

impl SeriesState {
    /// The place of each series by its identifier.
    pub fn known(&self) -> std::collections::HashMap<&str, usize> {
        self.ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect()
    }
}

/// A saved model in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What the model is and how it was made.
    pub manifest: Manifest,
    /// The weights in f32, `state_dict` names and layout. Those of the layers in `integers` are not among them:
    /// [`Bundle::unpacked`] gives them.
    pub weights: Vec<NamedTensor>,
    /// What was fitted per series; `None` for an imported model.
    pub series: Option<SeriesState>,
    /// The weights of the layers that [`Manifest::quantization`] names.
    pub integers: Vec<QuantizedLayer>,
}
