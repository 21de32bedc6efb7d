//! What can go wrong with transforms: an unknown scaler, or saved values that cannot be trusted.

use crate::error::{Advise, InvalidSetting};

/// An error of the transforms.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TransformError {
    /// A setting has a value that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A fitted scaler does not belong to this number of series.
    #[error(
        "the scaler was fitted on {shifts} series ({scales} scales), but there are {expected} series: \
         expected one shift and one scale per series"
    )]
    SeriesCount {
        /// Number of shifts in the scaler.
        shifts: usize,
        /// Number of scales in the scaler.
        scales: usize,
        /// Number of series it is wanted for.
        expected: usize,
    },
    /// A fitted value cannot be used.
    #[error(
        "the scaler of series number {series} has shift {shift} and scale {scale}: expected finite values and a scale > 0"
    )]
    Fitted {
        /// Number of the series, from 0.
        series: usize,
        /// Its shift.
        shift: f64,
        /// Its scale.
        scale: f64,
    },
}

impl Advise for TransformError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::SeriesCount { .. } => "scaler-series",
            Self::Fitted { .. } => "scaler-values",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::SeriesCount { .. } => Some("fit the scaler on the series it is used for".into()),
            Self::Fitted { .. } => Some("the saved scaler is damaged: train again, or use an intact copy".into()),
        }
    }
}
