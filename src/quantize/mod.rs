//! From a float model to 8-bit integers: ranges from training windows, the error that each layer adds, and a gate that
//! lets nothing through which forecasts worse than was promised.
//!
//! ```text
//! Bundle (float32) + training windows -> post_training -> Bundle (int8) + error of each layer
//! both on the validation rows -> Comparison -> within the limit? -> one file
//! ```
//!
//! The arithmetic lies below: scales and integer products in [`kernel`](crate::kernel), rounding on tensors in
//! [`model`](crate::model), the file in [`bundle`](crate::bundle). Training with rounding (qat) is a setting of
//! [`train`](crate::train).

mod error;
mod gate;
mod post_training;
mod report;

pub use error::QuantizeError;
pub use gate::{
    Comparison, Figures, Gated, SeriesComparison, StepComparison, Suggestion, compare, gated, save_quantized,
};
pub use post_training::{CalibrationData, LayerError, PostTrained, post_training};
