//! Invertible scalers and transforms of whole series: fitted on the train rows only, saved with the model.
//!
//! The scaler is the last thing that happens to a value before windows are cut; it is applied row by row while they are
//! gathered:
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
//!
//! Before it, the target may pass a pipeline of [`Step`]s, each a type with [`Transform::fit`], [`Transform::apply`] and
//! [`Transform::invert`]; [`TargetPipeline`] fits and applies them for many series. The functions of [`functions`] do the
//! same to plain slices.
//!
//! ```
//! use nhits::transform::{Step, denormalize, normalize, remove_outliers};
//!
//! let prices = [101.0, 103.0, 102.0, 9999.0, 104.0, 106.0];
//! let marked = remove_outliers(&prices, 3.0);
//! assert!(marked.len() == 6 && marked[3].is_nan());
//! let (values, params) = normalize(&marked);
//! assert!((denormalize(&values, &params)[5] - 106.0).abs() < 1e-9);
//!
//! let fitted = "difference=1".parse::<Step>()?.fit(&prices[..3])?;
//! assert_eq!(fitted.apply(&prices[..3])?[1..], [2.0, -1.0]);
//! assert_eq!(fitted.invert(&prices[..3], &[2.0, 2.0], 1), [104.0, 106.0]);
//! # Ok::<(), nhits::transform::TransformError>(())
//! ```

mod affine;
mod difference;
mod error;
pub mod functions;
mod kind;
mod outliers;
mod pipeline;
mod places;
mod power;
mod seasonal;
mod series;
pub(crate) mod statistics;
mod step;
mod stl;
mod trend;

#[cfg(test)]
pub(crate) mod golden;

pub use affine::{MaxAbs, MinMax, Robust, Spread, Standard};
pub use difference::Difference;
pub use error::TransformError;
pub use functions::*;
pub use kind::ScalerKind;
pub use outliers::{Outliers, Replace, Rule, Winsorize};
pub use pipeline::{FittedStep, SeriesRows, TargetPipeline, Transformed};
pub use places::Places;
pub use power::{
    BoxCox, Log, Log1p, YeoJohnson, box_cox, box_cox_lambda, inverse_box_cox, inverse_yeo_johnson, yeo_johnson,
    yeo_johnson_lambda,
};
pub use seasonal::{Deseasonalize, Method};
pub use series::SeriesScaler;
pub use step::{Ahead, Step, Transform};
pub use stl::Stl;
pub use trend::Detrend;
