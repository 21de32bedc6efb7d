//! `judge`: every test window through a forecaster, in batches, into scores.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{EvaluateError, Forecaster, Protocol};
use crate::data::Panel;
use crate::metric::{Metrics, Scores, nan_as_null};
use crate::window::Window;

/// Windows of one series that are scored together by one thread.
const RUN: usize = 256;
/// Runs whose scores are held at the same time.
const RUNS: usize = 64;

/// Scores on series standardised by mean and population standard deviation of their train rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaledMetrics {
    /// Mean squared error: the figure that papers on long horizons print.
    #[serde(with = "nan_as_null")]
    pub mse: f64,
    /// Mean absolute error: likewise.
    #[serde(with = "nan_as_null")]
    pub mae: f64,
    /// Root of the mean squared error.
    #[serde(with = "nan_as_null")]
    pub rmse: f64,
    /// Mean of forecast minus value.
    #[serde(with = "nan_as_null")]
    pub bias: f64,
}

impl From<&Metrics> for ScaledMetrics {
    fn from(m: &Metrics) -> Self {
        Self { mse: m.mse, mae: m.mae, rmse: m.rmse, bias: m.bias }
    }
}

/// Scores of one horizon step over all series and windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepScores {
    /// The step, from 1.
    pub step: usize,
    /// On the standardised series.
    pub scaled: ScaledMetrics,
    /// In the units of the data.
    pub original: Metrics,
}

/// Scores of one series over all windows and steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesScores {
    /// The series.
    pub unique_id: String,
    /// On the standardised series.
    pub scaled: ScaledMetrics,
    /// In the units of the data.
    pub original: Metrics,
}

/// What came out of judging one forecaster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Series with at least one test window.
    pub n_series: usize,
    /// Test windows over all series.
    pub n_windows: usize,
    /// Values to be forecast that were never observed: they take no part in the scores.
    pub missing_targets: u64,
    /// Observed values for which the forecaster gave none (NaN): they take no part in the scores, so scores with a count
    /// above 0 are not comparable with others.
    pub missing_forecasts: u64,
    /// Over all windows, steps and series, standardised.
    pub scaled: ScaledMetrics,
    /// Over all windows, steps and series, in the units of the data.
    pub original: Metrics,
    /// Per horizon step.
    pub per_step: Vec<StepScores>,
    /// Per series that has a test window.
    pub per_series: Vec<SeriesScores>,
}

/// Runs every test window of `protocol` through `forecaster`, `batch` windows at a time (the last batch is what is left;
/// 0 counts as 1), and scores the forecasts.
///
/// Scores do not depend on the number of threads. Standardising is done with the train rows alone; the scale of mase is
/// the seasonal difference of the train rows. Missing (NaN) values to be forecast are skipped.
///
/// # Errors
/// What [`Protocol::check`] finds, or [`EvaluateError::Forecaster`].
pub fn judge(
    panel: &Panel,
    protocol: &Protocol,
    forecaster: &mut dyn Forecaster,
    batch: usize,
) -> Result<Judged, EvaluateError> {
    protocol.check(panel)?;
    let horizon = protocol.horizon;
    let outputs = forecaster.outputs();
    let row = horizon * outputs.width();
    let scaler = protocol.train_scaler(panel);
    let mase_scales = protocol.mase_scales(panel);
    let scores = |n_series| Scores::new(n_series, horizon).with_quantiles(outputs.quantiles.clone(), outputs.point);
    let (mut original, mut scaled) = (scores(panel.n_series()), scores(panel.n_series()));

    let batch = batch.clamp(1, protocol.n_windows());
    let mut all = protocol.windows();
    let mut windows: Vec<Window> = Vec::with_capacity(batch);
    let mut forecasts: Vec<f64> = Vec::with_capacity(batch * row);
    loop {
        windows.clear();
        windows.extend(all.by_ref().take(batch));
        if windows.is_empty() {
            break;
        }
        forecasts.clear();
        forecasts.resize(windows.len() * row, f64::NAN);
        forecaster
            .forecast(panel, &windows, &mut forecasts)
            .map_err(|source| EvaluateError::Forecaster { name: forecaster.name().to_owned(), source })?;
        // Runs are cut by the windows alone and merged in order, so threads change no bit of a sum.
        for group in runs(&windows).chunks(RUNS) {
            let parts: Vec<(usize, Scores)> = group
                .par_iter()
                .map(|run| {
                    let series = windows[run.start].series as usize;
                    let y = panel.series(series);
                    let mut part = scores(1).with_mase_scales(&mase_scales[series..=series]);
                    for i in run.clone() {
                        let origin = windows[i].origin as usize;
                        part.add_window(0, &y[origin..origin + horizon], &forecasts[i * row..(i + 1) * row]);
                    }
                    (series, part)
                })
                .collect();
            for (series, part) in &parts {
                original.merge_series(*series, part, 1.0);
                scaled.merge_series(*series, part, 1.0 / scaler.scale[*series]);
            }
        }
    }
    Ok(judged(panel, protocol, &original, &scaled))
}

/// Ranges of `windows` of one series each, at most [`RUN`] long.
fn runs(windows: &[Window]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for i in 1..=windows.len() {
        if i == windows.len() || windows[i].series != windows[start].series || i - start == RUN {
            runs.push(start..i);
            start = i;
        }
    }
    runs
}

fn judged(panel: &Panel, protocol: &Protocol, original: &Scores, scaled: &Scores) -> Judged {
    let steps = original.per_step().into_iter().zip(scaled.per_step()).enumerate();
    let series = original.per_series().into_iter().zip(scaled.per_series()).enumerate();
    let per_series: Vec<SeriesScores> = series
        .filter(|(s, _)| protocol.windows_of(*s) > 0)
        .map(|(s, (original, scaled))| SeriesScores {
            unique_id: panel.ids[s].clone(),
            scaled: (&scaled).into(),
            original,
        })
        .collect();
    Judged {
        n_series: per_series.len(),
        n_windows: protocol.n_windows(),
        missing_targets: original.missing_targets(),
        missing_forecasts: original.missing_forecasts(),
        scaled: (&scaled.total()).into(),
        original: original.total(),
        per_step: steps
            .map(|(i, (original, scaled))| StepScores { step: i + 1, scaled: (&scaled).into(), original })
            .collect(),
        per_series,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::protocol::tests::{panel, split};
    use crate::evaluate::{ForecastFailure, Outputs};

    /// Forecasts the true value plus `error`.
    struct Oracle {
        error: f64,
        horizon: usize,
        calls: Vec<usize>,
    }

    impl Forecaster for Oracle {
        fn name(&self) -> &str {
            "oracle"
        }
        fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
            self.calls.push(windows.len());
            for (w, out) in windows.iter().zip(out.chunks_exact_mut(self.horizon)) {
                for (k, f) in out.iter_mut().enumerate() {
                    *f = panel.series(w.series as usize)[w.origin as usize + k] + self.error;
                }
            }
            Ok(())
        }
    }

    fn two_series() -> (Panel, Protocol) {
        // train rows 1, 3 (std 1) and 10, 30 (std 10)
        let data = panel(&[&[1.0, 3.0, 4.0, f64::NAN, 6.0, 7.0], &[10.0, 30.0, 20.0, 50.0, 10.0]]);
        (data, Protocol::new(2, 2, 1, vec![split(2, 0, 4), split(2, 0, 3)]))
    }

    #[test]
    fn scaled_scores_divide_by_the_deviation_of_the_train_rows() {
        let (data, protocol) = two_series();
        let mut oracle = Oracle { error: 2.0, horizon: 2, calls: vec![] };
        let judged = judge(&data, &protocol, &mut oracle, 3).unwrap();
        // series 0: 3 windows, 6 pairs, the missing value is in 2 of them; series 1: 2 windows, 4 pairs
        assert_eq!((judged.n_series, judged.n_windows), (2, 5));
        assert_eq!((judged.original.n, judged.missing_targets), (8, 2));
        assert_eq!(judged.original.mae, 2.0);
        assert_eq!(judged.original.mase, (4.0 * 1.0 + 4.0 * 0.1) / 8.0);
        assert!((judged.scaled.mae - (4.0 * 2.0 + 4.0 * 0.2) / 8.0).abs() < 1e-12);
        assert!((judged.scaled.mse - (4.0 * 4.0 + 4.0 * 0.04) / 8.0).abs() < 1e-12);
        assert!((judged.per_series[1].scaled.bias - 0.2).abs() < 1e-12);
        assert_eq!(judged.per_step[1].original.n, 4);
        assert_eq!(oracle.calls, [3, 2], "the last partial batch is kept");
    }

    #[test]
    fn the_batch_size_changes_nothing() {
        let (data, protocol) = two_series();
        let score =
            |batch| judge(&data, &protocol, &mut Oracle { error: 0.3, horizon: 2, calls: vec![] }, batch).unwrap();
        for batch in [0, 2, 1000] {
            assert!((score(batch).scaled.mse - score(1).scaled.mse).abs() < 1e-15);
        }
    }

    #[test]
    fn a_forecaster_that_is_silent_is_counted_and_one_that_fails_is_named() {
        struct Silent(bool);
        impl Forecaster for Silent {
            fn name(&self) -> &str {
                "silent"
            }
            fn forecast(&mut self, _: &Panel, _: &[Window], _: &mut [f64]) -> Result<(), ForecastFailure> {
                if self.0 { Err("no weights".into()) } else { Ok(()) }
            }
        }
        let (data, protocol) = two_series();
        let judged = judge(&data, &protocol, &mut Silent(false), 10).unwrap();
        assert!(judged.missing_forecasts == 8 && judged.original.mae.is_nan() && judged.scaled.mse.is_nan());
        let error = judge(&data, &protocol, &mut Silent(true), 10).unwrap_err().to_string();
        assert_eq!(error, "`silent` could not forecast: no weights");
    }

    #[test]
    fn quantile_outputs_are_scored_as_intervals_and_their_median_as_the_point() {
        struct Band;
        impl Forecaster for Band {
            fn name(&self) -> &str {
                "band"
            }
            fn outputs(&self) -> Outputs {
                Outputs::quantiles(vec![0.1, 0.5, 0.9])
            }
            fn forecast(&mut self, _: &Panel, _: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
                for row in out.chunks_exact_mut(3) {
                    row.copy_from_slice(&[0.0, 10.0, 20.0]);
                }
                Ok(())
            }
        }
        let (data, protocol) = two_series();
        let judged = judge(&data, &protocol, &mut Band, 10).unwrap();
        // series 0 (4 values up to 7) lies inside, series 1 has 20, 50, 50, 10
        assert_eq!(judged.original.intervals[0].coverage, 6.0 / 8.0);
        assert_eq!(judged.original.max_error, 40.0);
        assert!(judged.original.mqloss.is_some());
    }

    #[test]
    fn runs_end_where_the_series_ends() {
        let windows: Vec<_> = (0..600).map(|i| Window { series: i / 400, origin: i }).collect();
        assert_eq!(runs(&windows), [0..256, 256..400, 400..600]);
    }
}
