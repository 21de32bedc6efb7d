//! Statistics of a window that ends at each row, in one pass.
//!
//! A window is the end of one block of rows and the beginning of the next; summaries of both are kept and joined, and
//! nothing is ever subtracted. So a value that has left the window has left no trace in the digits, and the result is as
//! exact as that of each window by itself.

/// A summary of rows that can be joined with that of the rows after them.
trait Summary: Copy {
    /// Of no rows.
    const EMPTY: Self;
    /// Of one observed value.
    fn of(value: f64) -> Self;
    /// Of the rows of both.
    fn join(self, other: Self) -> Self;
    /// Observed values.
    fn count(self) -> usize;
}

/// Count, mean, and sum of squared deviations from it.
#[derive(Clone, Copy)]
struct Moments {
    count: usize,
    mean: f64,
    squares: f64,
}

impl Summary for Moments {
    const EMPTY: Self = Self { count: 0, mean: 0.0, squares: 0.0 };

    fn of(value: f64) -> Self {
        Self { count: 1, mean: value, squares: 0.0 }
    }

    /// Chan, Golub and LeVeque (1979).
    fn join(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        Self {
            count: self.count + other.count,
            mean: self.mean + apart * (b / (a + b)),
            squares: self.squares + other.squares + apart * apart * (a * b / (a + b)),
        }
    }

    fn count(self) -> usize {
        self.count
    }
}

/// Count, smallest and largest value.
#[derive(Clone, Copy)]
struct Range {
    count: usize,
    low: f64,
    high: f64,
}

impl Summary for Range {
    const EMPTY: Self = Self { count: 0, low: f64::INFINITY, high: f64::NEG_INFINITY };

    fn of(value: f64) -> Self {
        Self { count: 1, low: value, high: value }
    }

    fn join(self, other: Self) -> Self {
        let count = self.count + other.count;
        Self { count, low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn count(self) -> usize {
        self.count
    }
}

/// A window over the rows up to and with each row; missing values (NaN) are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    /// Rows in the window, at least 1 (0 counts as 1).
    pub window: usize,
    /// Observed values that it takes to give a value, at least 1 (0 counts as 1).
    pub min_periods: usize,
}

impl Rolling {
    /// A window that gives a value where all its rows are observed.
    pub fn new(window: usize) -> Self {
        Self { window, min_periods: window }
    }

    fn summaries<S: Summary>(self, data: &[f64], value: impl Fn(S) -> f64) -> Vec<f64> {
        let (window, least) = (self.window.clamp(1, data.len().max(1)), self.min_periods.max(1));
        let of = |v: f64| if v.is_finite() { S::of(v) } else { S::EMPTY };
        let mut ends: Vec<S> = vec![S::EMPTY; window];
        let mut begun = S::EMPTY;
        let mut out = Vec::with_capacity(data.len());
        for (t, v) in data.iter().enumerate() {
            let at = t % window;
            if at == 0 && t > 0 {
                let mut end = S::EMPTY;
                for (kept, v) in ends.iter_mut().zip(&data[t - window..t]).rev() {
                    end = of(*v).join(end);
                    *kept = end;
                }
                begun = S::EMPTY;
            }
            begun = begun.join(of(*v));
            let before = ends.get(at + 1).copied().unwrap_or(S::EMPTY);
            let summary = before.join(begun);
            out.push(if summary.count() >= least { value(summary) } else { f64::NAN });
        }
        out
    }

    /// Means.
    pub fn mean(self, data: &[f64]) -> Vec<f64> {
        self.summaries(data, |m: Moments| m.mean)
    }

    /// Sample standard deviations (divided by one less than the number of values, as pandas does); missing for one value.
    pub fn std(self, data: &[f64]) -> Vec<f64> {
        self.summaries(
            data,
            |m: Moments| if m.count > 1 { (m.squares / (m.count - 1) as f64).sqrt() } else { f64::NAN },
        )
    }

    /// Smallest values.
    pub fn min(self, data: &[f64]) -> Vec<f64> {
        self.summaries(data, |r: Range| r.low)
    }

    /// Largest values.
    pub fn max(self, data: &[f64]) -> Vec<f64> {
        self.summaries(data, |r: Range| r.high)
    }
}

/// Means over the `window` rows up to and with each row; missing until there are so many, as in pandas.
pub fn rolling_mean(data: &[f64], window: usize) -> Vec<f64> {
    Rolling::new(window).mean(data)
}

/// Sample standard deviations over the `window` rows up to and with each row.
pub fn rolling_std(data: &[f64], window: usize) -> Vec<f64> {
    Rolling::new(window).std(data)
}

/// Smallest of the `window` rows up to and with each row.
pub fn rolling_min(data: &[f64], window: usize) -> Vec<f64> {
    Rolling::new(window).min(data)
}

/// Largest of the `window` rows up to and with each row.
pub fn rolling_max(data: &[f64], window: usize) -> Vec<f64> {
    Rolling::new(window).max(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each window by itself.
    fn slowly(data: &[f64], window: usize, least: usize) -> Vec<[f64; 4]> {
        let of = |t: usize| {
            let rows = &data[(t + 1).saturating_sub(window)..=t];
            let seen: Vec<f64> = rows.iter().copied().filter(|v| v.is_finite()).collect();
            if seen.len() < least.max(1) {
                return [f64::NAN; 4];
            }
            let n = seen.len() as f64;
            let mean = seen.iter().sum::<f64>() / n;
            let squares: f64 = seen.iter().map(|v| (v - mean) * (v - mean)).sum();
            let std = if seen.len() > 1 { (squares / (n - 1.0)).sqrt() } else { f64::NAN };
            [
                mean,
                std,
                seen.iter().copied().fold(f64::INFINITY, f64::min),
                seen.iter().copied().fold(f64::MIN, f64::max),
            ]
        };
        (0..data.len()).map(of).collect()
    }

    proptest! {
        #[test]
        fn a_pass_gives_what_each_window_gives(
            data in proptest::collection::vec(prop_oneof![4 => -1e3f64..1e3, 1 => Just(f64::NAN)], 0..60),
            window in 1usize..70,
            share in 0.0f64..=1.0,
        ) {
            let least = (window as f64 * share) as usize;
            let rolling = Rolling { window, min_periods: least };
            let found = [rolling.mean(&data), rolling.std(&data), rolling.min(&data), rolling.max(&data)];
            for (t, expected) in slowly(&data, window, least).iter().enumerate() {
                for (k, column) in found.iter().enumerate() {
                    let (a, b) = (column[t], expected[k]);
                    prop_assert!((a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-9, "row {t}, statistic {k}: {a}, not {b}");
                }
            }
        }
    }

    #[test]
    fn a_huge_value_leaves_no_trace_when_it_has_left() {
        let mut data = vec![0.1; 40];
        data[5] = 1e18;
        let (mean, std) = (rolling_mean(&data, 4), rolling_std(&data, 4));
        assert!(std[5] > 1e17);
        for t in 9..40 {
            assert!((mean[t] - 0.1).abs() < 1e-15, "{t}: {}", mean[t]);
            assert_eq!(std[t], 0.0, "{t}");
        }
    }

    #[test]
    fn small_spread_on_a_high_level_is_not_lost() {
        let data: Vec<f64> = (0..20).map(|t| 1e9 + (t % 2) as f64).collect();
        let std = rolling_std(&data, 4);
        assert!((std[10] - (1.0f64 / 3.0).sqrt()).abs() < 1e-7, "{}", std[10]);
    }

    #[test]
    fn a_million_rows_take_no_time_whatever_the_window() {
        let data: Vec<f64> = (0..1_000_000).map(|t| (t % 97) as f64).collect();
        let began = std::time::Instant::now();
        let wide = rolling_mean(&data, 500_000);
        assert!(wide[999_999].is_finite());
        // Window by window this would be 5e11 additions.
        assert!(began.elapsed().as_secs() < 20);
    }
}
