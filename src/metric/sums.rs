//! `Sums`: what has to be remembered of a group of pairs so that its metrics can be told at any time.

use super::quantile::pinball;
use super::ratio;
use super::relative::symmetric_share;
use super::scores::{IntervalScore, Metrics, QuantileScore};

/// Running sums over a group of pairs (all pairs of a series, or of a horizon step).
///
/// Sums of two groups can be merged, so groups may be made on different threads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    n: u64,
    missing_targets: u64,
    missing_forecasts: u64,
    abs: f64,
    square: f64,
    signed: f64,
    max: f64,
    percent: f64,
    n_percent: u64,
    symmetric: f64,
    size: f64,
    in_seasons: f64,
    n_in_seasons: u64,
    spread: Spread,
    quantiles: Vec<QuantileSums>,
    intervals: Vec<IntervalSums>,
}

/// Mean and sum of squared distances from it (Welford, merged by Chan's formula), of `n` values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spread {
    n: u64,
    mean: f64,
    squares: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct QuantileSums {
    n: u64,
    pinball: f64,
    at_or_below: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct IntervalSums {
    n: u64,
    inside: u64,
    width: f64,
    outside: f64,
}

/// Which outputs of a step are quantiles, and which two of them enclose an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layout {
    /// The quantile of each output; empty when the outputs are no quantiles.
    pub quantiles: Vec<f64>,
    /// Lower output, upper output, level in percent.
    pub intervals: Vec<(usize, usize, f64)>,
    /// The output that is scored as the point forecast.
    pub point: usize,
}

impl Layout {
    /// Outputs per step.
    pub fn width(&self) -> usize {
        self.quantiles.len().max(1)
    }

    /// Every pair `q`, `1 - q` encloses an interval of level `100 (1 - 2q)`; narrow levels come first.
    pub fn of_quantiles(quantiles: Vec<f64>, point: usize) -> Self {
        let mut intervals = Vec::new();
        for (i, lo) in quantiles.iter().enumerate() {
            for (j, hi) in quantiles.iter().enumerate() {
                if lo < hi && (lo + hi - 1.0).abs() < 1e-9 {
                    // to 9 digits, so that 0.1 and 0.9 make 80 and not 80.00000000000001
                    intervals.push((i, j, ((hi - lo) * 1e11).round() / 1e9));
                }
            }
        }
        intervals.sort_by(|a, b| a.2.total_cmp(&b.2));
        Self { quantiles, intervals, point }
    }
}

/// What a value and its forecast add to sums, worked out once for the series and for the step.
pub(super) enum Pair {
    /// The value was never observed.
    NoTarget,
    /// There is no forecast for the value.
    NoForecast,
    /// Both are there.
    Scored {
        /// Forecast minus value.
        error: f64,
        /// `abs(error / y)`; infinite or NaN where `y` is 0.
        percent: f64,
        /// Symmetric share, 0 to 2.
        symmetric: f64,
        /// `abs(y)`.
        size: f64,
        /// `abs(error)` over the scale of its series; NaN where there is no scale.
        in_seasons: f64,
    },
}

impl Pair {
    /// `per_season` is 1 / scale of the scaled error, NaN where there is none.
    #[inline]
    pub fn of(y: f64, f: f64, per_season: f64) -> Self {
        if y.is_nan() {
            return Self::NoTarget;
        }
        if f.is_nan() {
            return Self::NoForecast;
        }
        let (error, size) = (f - y, y.abs());
        let abs = error.abs();
        Self::Scored {
            error,
            percent: abs / size,
            symmetric: symmetric_share(y, f),
            size,
            in_seasons: abs * per_season,
        }
    }
}

impl Spread {
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (mut sum, mut n) = (0.0, 0u64);
        for v in values.clone() {
            sum += v;
            n += 1;
        }
        if n == 0 {
            return Self::default();
        }
        let mean = sum / n as f64;
        Self { n, mean, squares: values.map(|v| (v - mean) * (v - mean)).sum() }
    }

    fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        let n = self.n + other.n;
        let gap = other.mean - self.mean;
        let share = other.n as f64 / n as f64;
        self.squares += other.squares + gap * gap * share * self.n as f64;
        self.mean += gap * share;
        self.n = n;
    }
}

impl Sums {
    /// Empty sums with room for the quantiles and intervals of `layout`.
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            quantiles: vec![QuantileSums::default(); layout.quantiles.len()],
            intervals: vec![IntervalSums::default(); layout.intervals.len()],
            ..Self::default()
        }
    }

    /// Takes one pair.
    #[inline]
    pub(super) fn take(&mut self, pair: &Pair) {
        match *pair {
            Pair::NoTarget => self.missing_targets += 1,
            Pair::NoForecast => self.missing_forecasts += 1,
            Pair::Scored { error, percent, symmetric, size, in_seasons } => {
                let abs = error.abs();
                self.n += 1;
                self.abs += abs;
                self.square += error * error;
                self.signed += error;
                if abs > self.max {
                    self.max = abs;
                }
                self.symmetric += symmetric;
                self.size += size;
                if size != 0.0 {
                    self.percent += percent;
                    self.n_percent += 1;
                }
                if !in_seasons.is_nan() {
                    self.in_seasons += in_seasons;
                    self.n_in_seasons += 1;
                }
            }
        }
    }

    /// Takes the quantile outputs `row` (`[Q]`) of one observed value.
    pub(super) fn push_quantiles(&mut self, y: f64, row: &[f64], layout: &Layout) {
        if y.is_nan() {
            return;
        }
        for ((sums, f), q) in self.quantiles.iter_mut().zip(row).zip(&layout.quantiles) {
            if !f.is_nan() {
                sums.n += 1;
                sums.pinball += pinball(y, *f, *q);
                sums.at_or_below += u64::from(y <= *f);
            }
        }
        for (sums, (lo, hi, _)) in self.intervals.iter_mut().zip(&layout.intervals) {
            let (lo, hi) = (row[*lo], row[*hi]);
            if !(lo.is_nan() || hi.is_nan()) {
                sums.n += 1;
                sums.inside += u64::from((lo..=hi).contains(&y));
                sums.width += hi - lo;
                sums.outside += (lo - y).max(0.0) + (y - hi).max(0.0);
            }
        }
    }

    /// Takes the values that [`r2`](super::r2) compares the errors with.
    pub(super) fn push_spread(&mut self, spread: &Spread) {
        self.spread.merge(spread);
    }

    /// Takes what another group has seen, every distance multiplied by `factor` (shares and percentages stay).
    pub(super) fn merge_scaled(&mut self, other: &Self, factor: f64) {
        let squared = factor * factor;
        self.n += other.n;
        self.missing_targets += other.missing_targets;
        self.missing_forecasts += other.missing_forecasts;
        self.abs += other.abs * factor;
        self.square += other.square * squared;
        self.signed += other.signed * factor;
        self.max = self.max.max(other.max * factor);
        self.percent += other.percent;
        self.n_percent += other.n_percent;
        self.symmetric += other.symmetric;
        self.size += other.size * factor;
        self.in_seasons += other.in_seasons;
        self.n_in_seasons += other.n_in_seasons;
        let spread =
            Spread { n: other.spread.n, mean: other.spread.mean * factor, squares: other.spread.squares * squared };
        self.spread.merge(&spread);
        for (a, b) in self.quantiles.iter_mut().zip(&other.quantiles) {
            a.n += b.n;
            a.pinball += b.pinball * factor;
            a.at_or_below += b.at_or_below;
        }
        for (a, b) in self.intervals.iter_mut().zip(&other.intervals) {
            a.n += b.n;
            a.inside += b.inside;
            a.width += b.width * factor;
            a.outside += b.outside * factor;
        }
    }

    /// Sum of squared distances of the values from their mean.
    pub(super) fn squares(&self) -> f64 {
        self.spread.squares
    }

    /// Pairs that were scored.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Steps without an observed value: nothing to compare with.
    pub fn missing_targets(&self) -> u64 {
        self.missing_targets
    }

    /// Observed values for which there was no forecast (NaN): they are not in the scores, so a count above 0 means that
    /// the scores are not comparable with those of a forecaster that answered everywhere.
    pub fn missing_forecasts(&self) -> u64 {
        self.missing_forecasts
    }

    /// The metrics so far; `squares` is the denominator of r2, `None` where r2 has no meaning.
    pub(super) fn metrics(&self, layout: &Layout, squares: Option<f64>) -> Metrics {
        let n = self.n as f64;
        let mse = ratio(self.square, n);
        let quantiles: Vec<QuantileScore> = self
            .quantiles
            .iter()
            .zip(&layout.quantiles)
            .map(|(s, q)| QuantileScore {
                quantile: *q,
                pinball: ratio(s.pinball, s.n as f64),
                at_or_below: ratio(s.at_or_below as f64, s.n as f64),
            })
            .collect();
        let intervals = self
            .intervals
            .iter()
            .zip(&layout.intervals)
            .map(|(s, (_, _, level))| IntervalScore {
                level: *level,
                coverage: ratio(s.inside as f64, s.n as f64),
                width: ratio(s.width, s.n as f64),
                score: ratio(s.width + s.outside * 2.0 / (1.0 - level / 100.0), s.n as f64),
            })
            .collect();
        let of_quantiles: (f64, u64) = self.quantiles.iter().fold((0.0, 0), |(p, n), s| (p + s.pinball, n + s.n));
        Metrics {
            n: self.n,
            mae: ratio(self.abs, n),
            mse,
            rmse: mse.sqrt(),
            bias: ratio(self.signed, n),
            max_error: if self.n == 0 { f64::NAN } else { self.max },
            mape: 100.0 * ratio(self.percent, self.n_percent as f64),
            smape: 100.0 * ratio(self.symmetric, n),
            wape: 100.0 * if self.n == 0 { f64::NAN } else { ratio(self.abs, self.size) },
            mase: ratio(self.in_seasons, self.n_in_seasons as f64),
            r2: squares.map(|s| 1.0 - ratio(self.square, s)),
            mqloss: (!quantiles.is_empty()).then(|| ratio(of_quantiles.0, of_quantiles.1 as f64)),
            quantiles,
            intervals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_made_of_symmetric_quantiles() {
        let layout = Layout::of_quantiles(vec![0.5, 0.05, 0.1, 0.9, 0.95, 0.99], 0);
        assert_eq!(layout.intervals, vec![(2, 3, 80.0), (1, 4, 90.0)]);
    }

    #[test]
    fn spreads_merge_to_the_spread_of_all() {
        let values = [1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0, 1e9 + 9.0, 1e9 - 3.0];
        let whole = Spread::of(values.iter().copied());
        let mut parts = Spread::of(values[..2].iter().copied());
        parts.merge(&Spread::of(values[2..].iter().copied()));
        parts.merge(&Spread::default());
        // values - 1e9: mean 2.6, squares 2.56 + 0.36 + 1.96 + 40.96 + 31.36
        assert!((whole.squares - 77.2).abs() < 1e-5, "{}", whole.squares);
        assert!((parts.squares - 77.2).abs() < 1e-5, "{}", parts.squares);
        assert_eq!(parts.n, 5);
    }
}
