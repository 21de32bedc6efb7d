//! `Scores`: metrics of a stream of forecasts, in total, per horizon step and per series.

use serde::{Deserialize, Serialize};

use super::sums::{Layout, Pair, Spread, Sums};
use super::{nan_as_null, ratio};

/// The metrics of a group of pairs. Undefined ones are NaN, written to files as null. Formulas: see [`crate::metric`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Pairs that were scored.
    pub n: u64,
    /// Mean absolute error.
    #[serde(with = "nan_as_null")]
    pub mae: f64,
    /// Mean squared error.
    #[serde(with = "nan_as_null")]
    pub mse: f64,
    /// Root of the mean squared error over all pairs (not a mean of roots).
    #[serde(with = "nan_as_null")]
    pub rmse: f64,
    /// Mean of forecast minus value.
    #[serde(with = "nan_as_null")]
    pub bias: f64,
    /// Largest absolute error.
    #[serde(with = "nan_as_null")]
    pub max_error: f64,
    /// Mean absolute percentage error in percent, over values that are not 0.
    #[serde(with = "nan_as_null")]
    pub mape: f64,
    /// Symmetric mean absolute percentage error in percent, 0 to 200.
    #[serde(with = "nan_as_null")]
    pub smape: f64,
    /// Weighted absolute percentage error in percent.
    #[serde(with = "nan_as_null")]
    pub wape: f64,
    /// Mean absolute scaled error: each pair's error is divided by its own series' scale. Series without a scale
    /// (constant, or not longer than a season) take no part.
    #[serde(with = "nan_as_null")]
    pub mase: f64,
    /// Coefficient of determination. Over several series it is `1 - sum e² / sum (y - mean of its series)²`, so that
    /// mere differences of level between series explain nothing. Left out per step.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nan_as_null::optional")]
    pub r2: Option<f64>,
    /// Mean pinball loss over all quantiles; left out without quantiles.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nan_as_null::optional")]
    pub mqloss: Option<f64>,
    /// One entry per quantile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileScore>,
    /// One entry per central interval, for every pair of quantiles `q` and `1 - q`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<IntervalScore>,
}

/// How good a quantile is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantileScore {
    /// The quantile, between 0 and 1.
    pub quantile: f64,
    /// Its pinball loss.
    #[serde(with = "nan_as_null")]
    pub pinball: f64,
    /// Share of values at or below it: calibrated when near `quantile`.
    #[serde(with = "nan_as_null")]
    pub at_or_below: f64,
}

/// How good an interval is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntervalScore {
    /// The level in percent (80 for quantiles 0.1 and 0.9).
    pub level: f64,
    /// Share of values inside, between 0 and 1.
    #[serde(with = "nan_as_null")]
    pub coverage: f64,
    /// Mean width.
    #[serde(with = "nan_as_null")]
    pub width: f64,
    /// Interval (Winkler) score.
    #[serde(with = "nan_as_null")]
    pub score: f64,
}

/// Takes forecasts as a stream and keeps sums per series and per horizon step: memory for `series + steps`, whatever
/// the number of windows.
///
/// ```
/// use nhits::metric::Scores;
/// let mut scores = Scores::new(1, 2);
/// scores.add(0, 0, 10.0, 11.0);
/// scores.add(0, 1, 20.0, f64::NAN); // no forecast: counted, not scored
/// scores.add(0, 1, 20.0, 17.0);
/// assert_eq!(scores.total().mae, 2.0);
/// assert_eq!(scores.per_step()[1].mae, 3.0);
/// assert_eq!(scores.missing_forecasts(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    layout: Layout,
    /// 1 / scale of the scaled error per series; NaN where there is none.
    per_season: Vec<f64>,
    series: Vec<Sums>,
    steps: Vec<Sums>,
}

impl Scores {
    /// Nothing seen yet, of `n_series` series and `horizon` steps.
    pub fn new(n_series: usize, horizon: usize) -> Self {
        Self {
            layout: Layout::default(),
            per_season: vec![f64::NAN; n_series],
            series: vec![Sums::default(); n_series],
            steps: vec![Sums::default(); horizon],
        }
    }

    /// Every step has these quantiles as outputs, and output number `point` is scored as the point forecast. To be
    /// called before the first pair; an empty list means one output that is no quantile.
    ///
    /// # Panics
    /// If `point` is none of the outputs.
    #[must_use]
    pub fn with_quantiles(mut self, quantiles: Vec<f64>, point: usize) -> Self {
        self.layout = Layout::of_quantiles(quantiles, point);
        assert!(point < self.layout.width(), "the point forecast is one of the outputs");
        self.series.fill(Sums::new(&self.layout));
        self.steps.fill(Sums::new(&self.layout));
        self
    }

    /// The scale of each series for [`Metrics::mase`], from [`seasonal_difference`](super::seasonal_difference); a scale
    /// that is 0 or NaN takes the series out of it.
    ///
    /// # Panics
    /// If there is not one scale per series.
    #[must_use]
    pub fn with_mase_scales(mut self, scales: &[f64]) -> Self {
        assert_eq!(scales.len(), self.series.len(), "one scale per series");
        self.per_season = scales.iter().map(|s| ratio(1.0, *s)).collect();
        self
    }

    /// Number of series.
    pub fn n_series(&self) -> usize {
        self.series.len()
    }

    /// Number of horizon steps.
    pub fn horizon(&self) -> usize {
        self.steps.len()
    }

    /// Takes one pair of series `series` at horizon step `step` (from 0).
    ///
    /// # Panics
    /// If there is no such series or step.
    pub fn add(&mut self, series: usize, step: usize, y: f64, y_hat: f64) {
        let pair = Pair::of(y, y_hat, self.per_season[series]);
        self.steps[step].take(&pair);
        self.series[series].take(&pair);
        if !y.is_nan() && !y_hat.is_nan() {
            self.series[series].push_spread(&Spread::of(std::iter::once(y)));
        }
    }

    /// Takes a window of series `series`: values `y` of its first steps (`[h]`, `h` up to the horizon) and the outputs
    /// `[h, Q]`, row-major, with `Q` the number of quantiles, or 1.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub fn add_window(&mut self, series: usize, y: &[f64], outputs: &[f64]) {
        let width = self.layout.width();
        assert_eq!(outputs.len(), y.len() * width, "one row of outputs per step");
        assert!(y.len() <= self.steps.len(), "not more steps than the horizon");
        let per_season = self.per_season[series];
        let of_series = &mut self.series[series];
        let point = || outputs.iter().skip(self.layout.point).step_by(width).copied();
        for ((sums, y), f) in self.steps.iter_mut().zip(y).zip(point()) {
            let pair = Pair::of(*y, f, per_season);
            sums.take(&pair);
            of_series.take(&pair);
        }
        if !self.layout.quantiles.is_empty() {
            for ((sums, y), row) in self.steps.iter_mut().zip(y).zip(outputs.chunks_exact(width)) {
                sums.push_quantiles(*y, row, &self.layout);
                of_series.push_quantiles(*y, row, &self.layout);
            }
        }
        let scored = y.iter().copied().zip(point()).filter(|(y, f)| !y.is_nan() && !f.is_nan()).map(|(y, _)| y);
        of_series.push_spread(&Spread::of(scored));
    }

    /// Takes what `other` (of the same series and steps) has seen.
    ///
    /// # Panics
    /// If the numbers of series or steps differ.
    pub fn merge(&mut self, other: &Scores) {
        assert_eq!(self.series.len(), other.series.len(), "the same series");
        assert_eq!(self.steps.len(), other.steps.len(), "the same steps");
        for (a, b) in self.series.iter_mut().zip(&other.series) {
            a.merge_scaled(b, 1.0);
        }
        for (a, b) in self.steps.iter_mut().zip(&other.steps) {
            a.merge_scaled(b, 1.0);
        }
    }

    /// Takes what `part` has seen of one series as series `series`, every value multiplied by `factor` > 0.
    ///
    /// With `factor` = 1 / standard deviation these are the scores of the standardised series, since a shift does not
    /// change an error. Percentages (mape, smape) stay those of the values as they were.
    ///
    /// # Panics
    /// If `part` is not of one series and the same steps.
    pub fn merge_series(&mut self, series: usize, part: &Scores, factor: f64) {
        assert_eq!(part.series.len(), 1, "a part of one series");
        assert_eq!(self.steps.len(), part.steps.len(), "the same steps");
        self.series[series].merge_scaled(&part.series[0], factor);
        for (a, b) in self.steps.iter_mut().zip(&part.steps) {
            a.merge_scaled(b, factor);
        }
    }

    /// Steps without an observed value.
    pub fn missing_targets(&self) -> u64 {
        self.series.iter().map(Sums::missing_targets).sum()
    }

    /// Observed values without a forecast; see [`Sums::missing_forecasts`].
    pub fn missing_forecasts(&self) -> u64 {
        self.series.iter().map(Sums::missing_forecasts).sum()
    }

    /// Metrics over every pair.
    pub fn total(&self) -> Metrics {
        let mut all = Sums::new(&self.layout);
        for s in &self.series {
            all.merge_scaled(s, 1.0);
        }
        all.metrics(&self.layout, Some(self.series.iter().map(Sums::squares).sum()))
    }

    /// Metrics per horizon step, the first step first.
    pub fn per_step(&self) -> Vec<Metrics> {
        self.steps.iter().map(|s| s.metrics(&self.layout, None)).collect()
    }

    /// Metrics per series.
    pub fn per_series(&self) -> Vec<Metrics> {
        self.series.iter().map(|s| s.metrics(&self.layout, Some(s.squares()))).collect()
    }

    /// The sums of each series, for counts that are no metric.
    pub fn sums(&self) -> &[Sums] {
        &self.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} is not {b}");
    }

    const Y: [[f64; 3]; 4] = [[1.0, 2.0, 0.0], [4.0, f64::NAN, 6.0], [-3.0, 5.0, 2.0], [101.0, 103.0, 99.0]];
    const F: [[f64; 3]; 4] = [[2.0, 2.0, 1.0], [4.0, 1.0, f64::NAN], [-2.0, 1.0, 2.5], [100.0, 100.0, 100.0]];

    #[test]
    fn a_stream_gives_what_the_slices_give() {
        let mut scores = Scores::new(2, 3).with_mase_scales(&[2.0, f64::NAN]);
        for w in 0..4 {
            scores.add_window(w / 3, &Y[w], &F[w]);
        }
        let (y, f): (Vec<f64>, Vec<f64>) = (Y.concat(), F.concat());
        let total = scores.total();
        close(total.mae, metric::mae(&y, &f));
        close(total.mse, metric::mse(&y, &f));
        close(total.rmse, metric::rmse(&y, &f));
        close(total.bias, metric::bias(&y, &f));
        close(total.max_error, metric::max_error(&y, &f));
        close(total.mape, metric::mape(&y, &f));
        close(total.smape, metric::smape(&y, &f));
        close(total.wape, metric::wape(&y, &f));
        assert_eq!((total.n, scores.missing_targets(), scores.missing_forecasts()), (10, 1, 1));
        let first = &scores.per_series()[0];
        close(first.r2.unwrap(), metric::r2(&y[..9], &f[..9]));
        close(first.mase, metric::mae(&y[..9], &f[..9]) / 2.0);
        close(total.mase, first.mase);
        assert!(scores.per_series()[1].mase.is_nan());
        close(scores.per_step()[1].mae, (0.0 + 4.0 + 3.0) / 3.0);
    }

    #[test]
    fn total_r2_does_not_count_differences_of_level() {
        let mut scores = Scores::new(2, 1);
        for (s, level) in [(0, 0.0), (1, 1000.0)] {
            scores.add(s, 0, level + 1.0, level);
            scores.add(s, 0, level - 1.0, level);
        }
        close(scores.total().r2.unwrap(), 0.0);
    }

    #[test]
    fn pairs_windows_and_merged_parts_agree() {
        let (mut one_by_one, mut by_window, mut merged) = (Scores::new(2, 3), Scores::new(2, 3), Scores::new(2, 3));
        for w in 0..4 {
            by_window.add_window(w / 3, &Y[w], &F[w]);
            let mut part = Scores::new(1, 3);
            part.add_window(0, &Y[w], &F[w]);
            merged.merge_series(w / 3, &part, 1.0);
            for h in 0..3 {
                one_by_one.add(w / 3, h, Y[w][h], F[w][h]);
            }
        }
        for other in [one_by_one, merged] {
            close(other.total().mae, by_window.total().mae);
            close(other.total().r2.unwrap(), by_window.total().r2.unwrap());
            for (a, b) in other.per_step().iter().zip(by_window.per_step()) {
                close(a.rmse, b.rmse);
            }
        }
    }

    #[test]
    fn a_factor_gives_the_scores_of_the_standardised_series() {
        let mut part = Scores::new(1, 3);
        part.add_window(0, &Y[3], &F[3]);
        let mut scaled = Scores::new(1, 3);
        scaled.merge_series(0, &part, 0.5);
        let z = |v: &[f64]| v.iter().map(|v| (v - 100.0) * 0.5).collect::<Vec<_>>();
        close(scaled.total().mse, metric::mse(&z(&Y[3]), &z(&F[3])));
        close(scaled.total().mae, metric::mae(&z(&Y[3]), &z(&F[3])));
        close(scaled.total().r2.unwrap(), metric::r2(&Y[3], &F[3]));
    }

    #[test]
    fn quantile_outputs_give_pinball_and_coverage() {
        let quantiles = [0.1, 0.5, 0.9];
        let mut scores = Scores::new(1, 2).with_quantiles(quantiles.to_vec(), 1);
        let (y, outputs) = ([5.0, 9.0], [3.0, 4.0, 8.0, 1.0, 2.0, 3.0]);
        scores.add_window(0, &y, &outputs);
        let total = scores.total();
        close(total.mae, (1.0 + 7.0) / 2.0);
        close(total.mqloss.unwrap(), metric::mqloss(&y, &outputs, &quantiles));
        assert_eq!(total.intervals.len(), 1);
        close(total.intervals[0].coverage, 0.5);
        close(total.intervals[0].score, metric::interval_score(&y, &[3.0, 1.0], &[8.0, 3.0], 80.0));
        close(total.quantiles[2].at_or_below, 0.5);
    }

    #[test]
    fn undefined_scores_are_null_in_json_and_come_back() {
        let metrics = Scores::new(1, 1).total();
        let text = serde_json::to_string(&metrics).unwrap();
        assert!(text.contains("\"mae\":null") && text.contains("\"r2\":null") && !text.contains("mqloss"), "{text}");
        let back: Metrics = serde_json::from_str(&text).unwrap();
        assert!(back.mae.is_nan() && back.r2.is_some_and(f64::is_nan) && back.mqloss.is_none());
        let step = serde_json::to_string(&Scores::new(1, 1).per_step()[0]).unwrap();
        assert!(!step.contains("r2"), "{step}");
    }
}
