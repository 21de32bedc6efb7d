//! Invertible scalers of whole series: fitted on the train rows only, applied row by row, saved with the model.
//!
//! | kind | shift | scale |
//! |---|---|---|
//! | `none` | 0 | 1 |
//! | `standard` | mean | population standard deviation |
//! | `robust` | median | median absolute deviation from the median |
//! | `robust-iqr` | median | third minus first quartile |
//! | `minmax` | smallest value | largest minus smallest value |
//!
//! Every scaler is `z = (x - shift) / scale` with one shift and one scale per series. The formulas and their values are
//! those of neuralforecast's `local_scaler_type` (coreforecast), except for series without spread: their scale is 1.

mod error;
mod kind;
mod series;
pub(crate) mod statistics;

pub use error::TransformError;
pub use kind::ScalerKind;
pub use series::SeriesScaler;
