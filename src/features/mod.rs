//! Columns made from the data itself, declared once and made again from raw data wherever the model goes.
//!
//! Every column is aligned to time. Those of the past (lags, rolling statistics, exponential averages, rates of change)
//! look at the row and those before it, never after, and become historical covariates; parts of the calendar, waves and
//! holidays are known for any time and become future covariates, in the forecast's steps too.
//!
//! ```
//! use nhits::features::{create_lags, ema, rolling_mean};
//!
//! let x = [1.0, 2.0, 3.0, 4.0];
//! assert_eq!(rolling_mean(&x, 2)[1..], [1.5, 2.5, 3.5]);
//! assert_eq!(create_lags(&x, &[1, 3])[1][3], 1.0);
//! assert_eq!(ema(&x, 0.5)[..2], [1.0, 1.5]);
//! ```

mod calendar;
mod columns;
mod rolling;
mod spec;

#[cfg(test)]
mod tests;

pub use calendar::{CalendarField, Holidays, Waves};
pub use columns::{calendar_features, create_lags, ema, fourier_features, rate_of_change};
pub use rolling::{Rolling, rolling_max, rolling_mean, rolling_min, rolling_std};
pub use spec::{FeatureConfig, FeatureSpec};

use std::path::PathBuf;

use crate::error::{Advise, InvalidSetting};

/// What can go wrong with features.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// A setting has a value that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A file of holidays that cannot be read.
    #[error("cannot read holidays from {path}: {detail}", path = .path.display())]
    Holidays {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A saved spec without the holidays that it speaks of.
    #[error("the features have a column `holiday`, but there are no holidays in them")]
    NoHolidays,
    /// The data has a column of the name of a feature.
    #[error("the data has a column `{name}` already, which the features make")]
    Taken {
        /// The name.
        name: String,
    },
    /// Parts of the calendar of data without dates.
    #[error("the data has plain integers as time, which have no parts of a calendar and no holidays")]
    NoDates,
}

impl Advise for FeatureError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::Holidays { .. } => "holidays",
            Self::NoHolidays => "no-holidays",
            Self::Taken { .. } => "feature-name",
            Self::NoDates => "no-dates",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::Holidays { .. } => {
                Some("give one date per line, as 2024-12-25, with a header `ds` if you like".into())
            }
            Self::NoHolidays => Some("the file is damaged: train again, or use an intact copy".into()),
            Self::Taken { .. } => Some("leave the column or the feature out, or rename the column".into()),
            Self::NoDates => Some("fourier=PERIOD:ORDER works with plain integers, too".into()),
        }
    }
}
