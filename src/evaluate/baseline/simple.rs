//! Baselines without a fit: naive, seasonal naive and drift.

use rayon::prelude::*;

use super::{history, last_observed};
use crate::data::Panel;
use crate::evaluate::{ForecastFailure, Forecaster};
use crate::window::Window;

/// Fills `[windows, horizon]` window by window, on all threads.
fn each_window(
    panel: &Panel,
    windows: &[Window],
    out: &mut [f64],
    horizon: usize,
    fill: impl Fn(&[f64], &mut [f64]) + Sync,
) {
    out.par_chunks_exact_mut(horizon).zip(windows).with_min_len(64).for_each(|(out, w)| fill(history(panel, w), out));
}

/// Repeats the last observed value (a random walk's best forecast).
#[derive(Debug, Clone)]
pub struct Naive {
    horizon: usize,
}

impl Naive {
    /// For `horizon` steps (at least 1).
    pub fn new(horizon: usize) -> Self {
        Self { horizon: horizon.max(1) }
    }
}

impl Forecaster for Naive {
    fn name(&self) -> &str {
        "naive"
    }

    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
        each_window(panel, windows, out, self.horizon, |history, out| out.fill(last_observed(history)));
        Ok(())
    }
}

/// Repeats the last season: step `k` is the last observed value that lies a whole number of seasons before it. Where no
/// such value was observed (less than a season of rows), the last observed value.
#[derive(Debug, Clone)]
pub struct SeasonalNaive {
    horizon: usize,
    season: usize,
}

impl SeasonalNaive {
    /// For `horizon` steps and `season` rows per season (both at least 1). With a season of 1 it is [`Naive`].
    pub fn new(horizon: usize, season: usize) -> Self {
        Self { horizon: horizon.max(1), season: season.max(1) }
    }

    fn fill(&self, history: &[f64], out: &mut [f64]) {
        let (n, m) = (history.len(), self.season);
        for k in 0..out.len() {
            out[k] = if k >= m {
                out[k - m]
            } else {
                let places = (1..).map_while(|seasons: usize| (n + k).checked_sub(seasons.checked_mul(m)?));
                places.map(|i| history[i]).find(|v| !v.is_nan()).unwrap_or_else(|| last_observed(history))
            };
        }
    }
}

impl Forecaster for SeasonalNaive {
    fn name(&self) -> &str {
        "seasonal_naive"
    }

    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
        each_window(panel, windows, out, self.horizon, |history, out| self.fill(history, out));
        Ok(())
    }
}

/// Continues the line through the first and the last observed value before the origin.
#[derive(Debug, Clone)]
pub struct Drift {
    horizon: usize,
}

impl Drift {
    /// For `horizon` steps (at least 1).
    pub fn new(horizon: usize) -> Self {
        Self { horizon: horizon.max(1) }
    }

    fn fill(history: &[f64], out: &mut [f64]) {
        let observed = |v: &f64| !v.is_nan();
        let (Some(first), Some(last)) = (history.iter().position(observed), history.iter().rposition(observed)) else {
            return out.fill(f64::NAN);
        };
        let rows = last - first;
        let slope = if rows == 0 { 0.0 } else { (history[last] - history[first]) / rows as f64 };
        for (k, f) in out.iter_mut().enumerate() {
            *f = history[last] + slope * (history.len() - last + k) as f64;
        }
    }
}

impl Forecaster for Drift {
    fn name(&self) -> &str {
        "drift"
    }

    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
        each_window(panel, windows, out, self.horizon, Self::fill);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::protocol::tests::panel;

    const N: f64 = f64::NAN;

    fn run(mut forecaster: impl Forecaster, y: &[f64], horizon: usize) -> Vec<f64> {
        let mut rows = y.to_vec();
        rows.extend(vec![1e9; horizon]);
        let mut out = vec![N; horizon];
        forecaster.forecast(&panel(&[&rows]), &[Window { series: 0, origin: y.len() as u32 }], &mut out).unwrap();
        out
    }

    #[test]
    fn naive_repeats_the_last_observed_value() {
        assert_eq!(run(Naive::new(2), &[1.0, 3.0, N], 2), [3.0, 3.0]);
        assert!(run(Naive::new(1), &[N], 1)[0].is_nan());
        assert!(run(Naive::new(1), &[], 1)[0].is_nan());
    }

    #[test]
    fn seasonal_naive_repeats_the_last_observed_season() {
        assert_eq!(run(SeasonalNaive::new(7, 3), &[9.0, 1.0, 2.0, 3.0], 7), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        // the place of step 1 is missing: one season further back; step 2 was never observed: the last value
        assert_eq!(run(SeasonalNaive::new(3, 3), &[7.0, N, 5.0, N, N, 6.0], 3), [7.0, 6.0, 6.0]);
        assert_eq!(run(SeasonalNaive::new(3, 3), &[4.0, 5.0], 3), [5.0, 4.0, 5.0]);
        assert_eq!(run(SeasonalNaive::new(2, 1), &[4.0, 5.0], 2), [5.0, 5.0]);
    }

    #[test]
    fn drift_continues_the_line_through_first_and_last() {
        assert_eq!(run(Drift::new(2), &[1.0, 9.0, 5.0], 2), [7.0, 9.0]);
        // observed at rows 1 and 3, slope 2; the origin is row 5, two steps after row 3
        assert_eq!(run(Drift::new(2), &[N, 2.0, N, 6.0, N], 2), [10.0, 12.0]);
        assert_eq!(run(Drift::new(2), &[4.0], 2), [4.0, 4.0]);
    }
}
