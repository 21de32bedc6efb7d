//! N-HiTS: the network that forecasts by pooling its input at several rates and interpolating few knots to the horizon.
//!
//! Challu et al. 2023, *N-HiTS: Neural Hierarchical Interpolation for Time Series Forecasting* (arXiv 2201.12886), in the
//! layout of neuralforecast 3.3, whose weights can be read and written ([`NHits::with_tensors`], [`NHits::tensors`]).
//!
//! ```text
//! NHitsConfig --check()--> Checked --NHits::new(seed)--> NHits --forward(ModelInput)--> [B, H, Q]
//! ```
//!
//! | file | what |
//! |---|---|
//! | `config` | [`NHitsConfig`], its check, the sizes that follow from it |
//! | `input` | [`ModelInput`], a batch of windows |
//! | `pooling`, `activation`, `dropout`, `basis` | the parts of a block |
//! | `block` | one block: pooled input to backcast and knots |
//! | `embedding` | vectors for the categories of static columns, before the network |
//! | `nhits` | [`NHits`]: residual stacks, level, decomposition |
//! | `calibration` | the ranges that layers' inputs have |
//! | `quantization` | [`QuantizationConfig`], layers in 8 bits on tensors, with gradients |
//! | `tensors` | weights by their neuralforecast names |
//! | `host/` | the same network on slices in host memory, for CPU backends |

mod activation;
mod basis;
mod block;
mod calibration;
mod config;
mod dropout;
mod embedding;
pub mod host;
mod input;
mod nhits;
mod pooling;
mod quantization;
mod tensors;

pub use activation::Activation;
pub use basis::InterpolationMode;
pub use block::BlockRecord;
pub use calibration::measured_ranges;
pub use config::{BlockShape, Checked, NHitsConfig, default_freq_downsample, default_pool_kernels};
pub use dropout::DropoutKey;
pub use embedding::{EmbeddingConfig, settle_unknown};
pub use input::ModelInput;
pub use nhits::{BlockTrace, Decomposition, NHits, NHitsRecord};
pub use pooling::PoolingMode;
pub(crate) use quantization::first_range;
pub use quantization::{Activations, LayerInput, Quantization, QuantizationConfig, learned_range};
pub use tensors::{NamedTensor, TensorSpec, Weight, state_dict_order, to_host};
pub(crate) use tensors::{first_not_finite, moved, reshaped, transposed};

use crate::error::{Advise, InvalidSetting};

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A setting of [`NHitsConfig`] that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A weight that the source does not have.
    #[error("weight `{name}` is missing: expected shape {expected:?}")]
    MissingTensor {
        /// Its name.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A weight of another shape than the configuration asks for.
    #[error("weight `{name}` has shape {found:?} with {values} values: expected shape {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape that was found.
        found: Vec<usize>,
        /// How many values were found.
        values: usize,
    },
    /// A weight that is not a number.
    #[error("weight `{name}` holds {value} at position {at}: expected finite numbers")]
    NotFinite {
        /// Its name.
        name: String,
        /// The position, row-major.
        at: usize,
        /// The value.
        value: f32,
    },
    /// Two names of one shared weight with different values.
    #[error("weights `{first}` and `{second}` must be equal: they are one shared slope")]
    NotTied {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
}

impl Advise for ModelError {
    fn kind(&self) -> &'static str {
        match self {
            ModelError::Setting(e) => e.kind(),
            ModelError::MissingTensor { .. } => "missing-weight",
            ModelError::TensorShape { .. } => "weight-shape",
            ModelError::NotFinite { .. } => "weight-not-finite",
            ModelError::NotTied { .. } => "weights-not-tied",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ModelError::Setting(e) => e.hint(),
            ModelError::MissingTensor { .. } | ModelError::TensorShape { .. } => Some(
                "the weights belong to another configuration: check input_size, horizon, mlp_units, pool kernels, \
                 downsampling, columns, dropout (it shifts the layer numbers) and the number of outputs"
                    .to_string(),
            ),
            ModelError::NotFinite { .. } => Some("the training that wrote this file diverged: train again".to_string()),
            ModelError::NotTied { .. } => None,
        }
    }
}
