//! What can go wrong when forecasts are judged.

use super::ForecastFailure;
use crate::error::{Advise, InvalidSetting};

/// An error of the evaluate room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A setting of the protocol that cannot be.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The split was made for another panel.
    #[error("the split has {found} series, the data has {expected}")]
    SeriesCount {
        /// Series of the data.
        expected: usize,
        /// Series of the split.
        found: usize,
    },
    /// More series, or more rows in one, than windows are counted with.
    #[error("{n_series} series of up to {longest} rows: windows are counted up to {}", u32::MAX)]
    TooLarge {
        /// Number of series.
        n_series: usize,
        /// Rows of the longest.
        longest: usize,
    },
    /// Split rows that are not in time order, overlap, or lie outside the series.
    #[error("series `{series}`: train {train:?}, validation {val:?}, test {test:?} are no split of its {len} rows")]
    Split {
        /// `unique_id` of the series.
        series: String,
        /// Its number of rows.
        len: usize,
        /// Train rows.
        train: std::ops::Range<usize>,
        /// Validation rows.
        val: std::ops::Range<usize>,
        /// Test rows.
        test: std::ops::Range<usize>,
    },
    /// No series has a whole horizon of test rows.
    #[error("no test window: the horizon is {horizon}, the longest test part has {longest} rows")]
    NoWindows {
        /// Rows that a window needs.
        horizon: usize,
        /// Test rows of the series that has most.
        longest: usize,
    },
    /// No series is long enough to fit the linear baseline.
    #[error(
        "the linear baseline needs {needed} train rows (input {input_size} + horizon {horizon}), the longest series has {longest}"
    )]
    NoTrainWindows {
        /// Rows that one train window needs.
        needed: usize,
        /// Input rows.
        input_size: usize,
        /// Horizon.
        horizon: usize,
        /// Train rows of the series that has most.
        longest: usize,
    },
    /// Something that forecasts failed.
    #[error("`{name}` could not forecast: {source}")]
    Forecaster {
        /// Its name.
        name: String,
        /// What it says.
        source: ForecastFailure,
    },
}

impl Advise for EvaluateError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::SeriesCount { .. } => "split-series-count",
            Self::TooLarge { .. } => "panel-too-large",
            Self::Split { .. } => "split-out-of-order",
            Self::NoWindows { .. } => "no-test-windows",
            Self::NoTrainWindows { .. } => "no-train-windows",
            Self::Forecaster { .. } => "forecaster-failed",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::SeriesCount { .. } => Some("resolve the split on the data that is judged".into()),
            Self::TooLarge { .. } => Some("judge a part of the series at a time".into()),
            Self::Split { .. } => Some("train, validation and test follow each other in time".into()),
            Self::NoWindows { horizon, .. } => Some(format!("give at least {horizon} rows to test with --split")),
            Self::NoTrainWindows { .. } => Some("use a shorter --input-size, or do without this baseline".into()),
            Self::Forecaster { .. } => None,
        }
    }
}
