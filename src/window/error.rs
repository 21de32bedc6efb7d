//! What can go wrong with windows.

use crate::error::{Advise, InvalidSetting, listed};
use crate::transform::TransformError;

/// An error of the windows.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WindowError {
    /// A setting has a value that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// There is not one range of rows per series.
    #[error("{got} ranges of rows for {expected} series: expected one per series")]
    Ranges {
        /// Number of series.
        expected: usize,
        /// Number of ranges.
        got: usize,
    },
    /// A range reaches beyond its series.
    #[error("series `{series}` has {rows} rows, but windows are wanted from its rows {start}..{end}")]
    RangeOutside {
        /// `unique_id` of the series.
        series: String,
        /// First row wanted.
        start: usize,
        /// End of the rows wanted.
        end: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A panel with more series or rows per series than a window can name.
    #[error("{what} = {value} is too many: at most {} can be told apart", u32::MAX)]
    TooMany {
        /// What there is too much of.
        what: String,
        /// How many there are.
        value: usize,
    },
    /// Not a single window fits the rules.
    #[error(
        "no {part} window: input_size {input_size} + horizon {horizon} rows are wanted, and the longest of {n_series} \
         series has {longest} {part} rows"
    )]
    NoWindows {
        /// What the windows are for (`train`, `validation`, `test`).
        part: String,
        /// Input steps of a window.
        input_size: usize,
        /// Horizon steps of a window.
        horizon: usize,
        /// Number of series.
        n_series: usize,
        /// Rows of the longest range.
        longest: usize,
    },
    /// There is not one fitted scaler per column.
    #[error("{got} fitted scalers for {expected} {columns} columns: expected one per column")]
    Scalers {
        /// Which columns (`hist_exog`, `futr_exog`, `stat_exog`).
        columns: &'static str,
        /// Number of columns.
        expected: usize,
        /// Number of scalers.
        got: usize,
    },
    /// A fitted scaler cannot be used.
    #[error("column `{column}`: {source}")]
    Transform {
        /// Name of the column.
        column: String,
        /// What is wrong with it.
        source: TransformError,
    },
    /// A forecast is wanted from an origin that the series does not have.
    #[error("a forecast of series `{series}` is wanted from row {origin}, but rows 1 to {rows} are possible")]
    Origin {
        /// `unique_id` of the series.
        series: String,
        /// The origin.
        origin: usize,
        /// Rows of the series.
        rows: usize,
    },
    /// The model wants covariates of the horizon and there are none.
    #[error("the {horizon} steps ahead have no values of {}", listed(columns, 8))]
    FutureMissing {
        /// The `futr_exog` columns.
        columns: Vec<String>,
        /// Steps ahead.
        horizon: usize,
    },
    /// There is not one value per series, step and column.
    #[error("{got} future values: expected {expected}, one per series, step of the horizon and futr_exog column")]
    FutureShape {
        /// How many are needed.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A covariate of the horizon is missing or infinite.
    #[error("column `{column}` of series `{series}` is {value} at step {step} ahead: expected a finite number")]
    FutureValue {
        /// `unique_id` of the series.
        series: String,
        /// Step of the horizon, from 1.
        step: usize,
        /// Name of the column.
        column: String,
        /// The value.
        value: f64,
    },
}

impl Advise for WindowError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::Ranges { .. } => "window-ranges",
            Self::RangeOutside { .. } => "window-range-outside",
            Self::TooMany { .. } => "window-too-many",
            Self::NoWindows { .. } => "no-windows",
            Self::Scalers { .. } => "window-scalers",
            Self::Transform { source, .. } => source.kind(),
            Self::Origin { .. } => "window-origin",
            Self::FutureMissing { .. } => "future-missing",
            Self::FutureShape { .. } => "future-shape",
            Self::FutureValue { .. } => "future-value",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::Transform { source, .. } => source.hint(),
            Self::Ranges { .. } | Self::Scalers { .. } => None,
            Self::RangeOutside { .. } => Some("check the split against the length of the series".into()),
            Self::TooMany { .. } => Some("divide the data into several panels".into()),
            Self::NoWindows { .. } => Some(
                "use a smaller --input-size or --horizon, give this part more rows, or ask for fewer observed values \
                 per window"
                    .into(),
            ),
            Self::Origin { .. } => Some("a forecast needs at least one row of history".into()),
            Self::FutureMissing { .. } => Some("give their values over the horizon (`--future FILE`)".into()),
            Self::FutureShape { .. } => {
                Some("give every futr_exog column over the whole horizon of each series".into())
            }
            Self::FutureValue { .. } => Some("fill the gap in the values ahead (`--future FILE`)".into()),
        }
    }
}
