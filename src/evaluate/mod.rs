//! Judging forecasts on rows that training has not seen, beside baselines that need no network.
//!
//! The long-horizon protocol: a window of `horizon` rows slides over the test rows of every series, one row at a time, so
//! there are `n_test - horizon + 1` windows per series; what a forecaster may know are the rows before the window,
//! validation and train rows included. Scores are averaged over windows, steps and series, once on series standardised
//! by mean and population standard deviation of their train rows (`scaled`, the figures that papers print) and once in
//! the units of the data (`original`).
//!
//! ```text
//! Protocol (which windows) + Forecaster (network, Naive, SeasonalNaive, Drift, NLinear)
//!   -> judge: batches of windows -> metric::Scores -> Judged
//!   -> Evaluation: the network's Judged beside the baselines', as JSON or as a table
//! ```
//!
//! [`judge()`] streams: it holds one batch of forecasts and sums per series and per step, however many windows there are.

pub mod baseline;
mod error;
mod evaluation;
mod forecaster;
mod judge;
mod network;
mod protocol;
mod report;

pub use error::EvaluateError;
pub use evaluation::{BaselineScores, Evaluation};
pub use forecaster::{ForecastFailure, Forecaster, Outputs};
pub use judge::{Judged, ScaledMetrics, SeriesScores, StepScores, judge};
pub use network::Network;
pub use protocol::Protocol;

#[cfg(test)]
mod real_data;
