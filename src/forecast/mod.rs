//! Forecasting: a bundle on a device, windows in, forecasts in the units of the data out.
//!
//! [`Model`] is a bundle ready to compute; [`Model::on`] binds it to a panel, [`OnPanel::at`] forecasts any windows of it,
//! and [`OnPanel::ahead`] forecasts what follows the data, with time stamps, as a [`Forecasts`] table.

mod engine;
#[cfg(feature = "polars")]
mod polars_frame;
mod table;

pub use engine::{Model, OnPanel};
pub use table::{Forecasts, Format};

use std::path::PathBuf;

use crate::error::{Advise, listed};
use crate::features::FeatureError;
use crate::model::ModelError;
use crate::window::WindowError;

/// Why there is no forecast.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// The weights do not fit the configuration.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The windows cannot be made.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The columns of the model's features cannot be made from the panel.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The panel lacks a column that the model was trained with.
    #[error("the data has {found} as {role}, the model was trained with {wanted}", found = names(.found), wanted = names(.wanted))]
    Columns {
        /// `hist_exog`, `futr_exog` or `stat_exog`.
        role: &'static str,
        /// The columns of the panel.
        found: Vec<String>,
        /// The columns of the model.
        wanted: Vec<String>,
    },
    /// The steps of the data are not those that the model was trained on.
    #[error("the data has frequency {found}, the model was trained on {wanted}")]
    Frequency {
        /// The panel's frequency.
        found: String,
        /// The model's frequency.
        wanted: String,
    },
    /// No series has an observed value to forecast from.
    #[error("no series has an observed value among its last {input_size} rows")]
    Silent {
        /// The rows that were looked at.
        input_size: usize,
    },
    /// An origin outside of the data.
    #[error("series `{series}` has {rows} rows: cannot forecast from {back} rows before its end")]
    Origin {
        /// The series.
        series: String,
        /// Its rows.
        rows: usize,
        /// Rows before the end.
        back: usize,
    },
    /// A time stamp beyond what can be counted.
    #[error("series `{series}`: the calendar ends before the horizon does")]
    Calendar {
        /// The series.
        series: String,
    },
    /// Times of the steps ahead that do not go with the panel.
    #[error("{got} times of steps ahead, expected {expected}: one per series and step of the horizon")]
    Times {
        /// Series x horizon.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A file name whose ending is no format.
    #[error("cannot tell the format of {path}: expected a name that ends in .csv, .parquet or .json", path = .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Worker threads cannot be started.
    #[error("cannot start {n} worker threads: {detail}")]
    Threads {
        /// How many were wanted.
        n: usize,
        /// What the system says.
        detail: String,
    },
}

fn names(columns: &[String]) -> String {
    if columns.is_empty() { "nothing".to_string() } else { listed(columns, 10) }
}

impl Advise for ForecastError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Model(e) => e.kind(),
            Self::Window(e) => e.kind(),
            Self::Features(e) => e.kind(),
            Self::Columns { .. } => "columns",
            Self::Frequency { .. } => "frequency",
            Self::Silent { .. } => "nothing-observed",
            Self::Origin { .. } => "origin",
            Self::Calendar { .. } => "calendar",
            Self::Times { .. } => "future-times",
            Self::UnknownFormat { .. } => "unknown-format",
            Self::Write { .. } => "write",
            Self::Threads { .. } => "threads",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Model(e) => e.hint(),
            Self::Window(e) => e.hint(),
            Self::Features(e) => e.hint(),
            Self::Columns { role, wanted, .. } if !wanted.is_empty() => {
                Some(format!("give --{} {}", role.replace('_', "-"), wanted.join(",")))
            }
            Self::Frequency { wanted, .. } => {
                Some(format!("use data of that frequency, or --freq {wanted} if the steps mean the same"))
            }
            Self::Silent { .. } => Some("`nhits data inspect` shows where values are missing".into()),
            Self::Origin { .. } => Some("give a smaller --window".into()),
            _ => None,
        }
    }
}
