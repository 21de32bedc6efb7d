//! What can go wrong with transforms: an unknown name, a value without an image, saved values that cannot be trusted.

use std::path::PathBuf;

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
    /// A value that a transform has no image for.
    #[error("{}row {row}: {step} cannot take {value}, expected {expected}", of_series(.series))]
    Domain {
        /// The transform.
        step: String,
        /// The series, where it is known.
        series: Option<String>,
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f64,
        /// What the transform takes.
        expected: &'static str,
    },
    /// Fewer rows than something takes.
    #[error("{what} takes {needed} rows with values, there are {rows}")]
    TooShort {
        /// What.
        what: String,
        /// Rows that it takes.
        needed: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// Values of a fitted transform that cannot be.
    #[error("the transform {step} {detail}")]
    FittedValues {
        /// The transform.
        step: String,
        /// What is wrong with its values.
        detail: String,
    },
    /// Parameters that cannot be read or written.
    #[error("cannot {action} {path}: {detail}", path = .path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

fn of_series(series: &Option<String>) -> String {
    series.as_ref().map(|id| format!("series `{id}`, ")).unwrap_or_default()
}

impl TransformError {
    /// The same error with the series named.
    pub(super) fn of(self, id: &str) -> Self {
        match self {
            Self::Domain { step, row, value, expected, .. } => {
                Self::Domain { step, series: Some(id.to_owned()), row, value, expected }
            }
            other => other,
        }
    }
}

impl Advise for TransformError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::SeriesCount { .. } => "scaler-series",
            Self::Fitted { .. } => "scaler-values",
            Self::Domain { .. } => "transform-domain",
            Self::TooShort { .. } => "too-few-rows",
            Self::FittedValues { .. } => "transform-values",
            Self::File { .. } => "transform-file",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::SeriesCount { .. } => Some("fit the scaler on the series it is used for".into()),
            Self::Fitted { .. } => Some("the saved scaler is damaged: train again, or use an intact copy".into()),
            Self::Domain { .. } => Some(
                "log1p takes zeros, yeo-johnson any values; if the value is an error, mark it as missing in the data"
                    .into(),
            ),
            Self::TooShort { .. } => Some("use a shorter period, or more rows".into()),
            Self::FittedValues { .. } => {
                Some("the saved transform is damaged: train again, or use an intact copy".into())
            }
            Self::File { .. } => None,
        }
    }
}
