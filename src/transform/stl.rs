//! STL: a series as trend, season and remainder, by local regression.
//!
//! After Cleveland, Cleveland, McRae and Terpenning (1990), "STL: A Seasonal-Trend Decomposition Procedure Based on
//! Loess"; steps and defaults are those of `statsmodels.tsa.seasonal.STL`, in f64.

use super::TransformError;
use super::functions::Decomposition;
use super::statistics::median;

/// Settings of an STL decomposition. Windows are odd numbers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stl {
    /// Rows per season, at least 2.
    pub period: usize,
    /// Window over the values of one phase, at least 3; the larger, the less the season changes.
    pub seasonal: usize,
    /// Window of the trend, larger than `period`; from `period` and `seasonal` if left out.
    pub trend: Option<usize>,
    /// Whether outliers are given less weight (15 rounds).
    pub robust: bool,
    /// Every so many rows the trend is computed, and a line drawn between.
    pub jump: usize,
}

impl Stl {
    /// The usual settings for a season of `period` rows.
    pub fn new(period: usize) -> Self {
        Self { period, seasonal: 7, trend: None, robust: false, jump: 1 }
    }

    fn windows(&self) -> (usize, usize) {
        let odd = |n: usize| n + usize::from(n.is_multiple_of(2));
        let usual = (1.5 * self.period as f64 / (1.0 - 1.5 / self.seasonal as f64)).ceil() as usize;
        (self.trend.unwrap_or(odd(usual)), odd(self.period + 1))
    }

    /// Decomposes `data`. Trend, season and remainder add up to it exactly, up to one rounding. Missing values (NaN) are
    /// bridged by a straight line before, and have no remainder.
    ///
    /// # Errors
    /// [`TransformError::TooShort`] for fewer than two seasons, [`TransformError::Setting`] for a window that cannot be.
    pub fn decompose(&self, data: &[f64]) -> Result<Decomposition, TransformError> {
        use crate::error::InvalidSetting;
        let n = data.len();
        let needed = self.period.max(2).saturating_mul(2);
        if self.period < 2 || n < needed {
            return Err(TransformError::TooShort { what: "STL".into(), needed, rows: n });
        }
        let (trend_window, low_pass) = self.windows();
        for (field, window, least) in [("seasonal", self.seasonal, 3), ("trend", trend_window, self.period + 1)] {
            if window.is_multiple_of(2) || window < least {
                let allowed = format!("an odd number of at least {least}");
                return Err(InvalidSetting::new(field, window, allowed, "leave it at its default").into());
            }
        }
        let y = bridged(data).ok_or(TransformError::TooShort { what: "STL".into(), needed: 1, rows: 0 })?;
        let p = self.period;
        let (inner, outer) = if self.robust { (2, 15) } else { (5, 0) };
        let mut trend = vec![0.0; n];
        let mut seasonal = vec![0.0; n];
        let mut weights: Option<Vec<f64>> = None;
        for round in 0..=outer {
            for _ in 0..inner {
                let detrended: Vec<f64> = y.iter().zip(&trend).map(|(y, t)| y - t).collect();
                let cycle = self.cycle(&detrended, weights.as_deref());
                let passed = average(&average(&average(&cycle, p), p), 3);
                let passed = smooth(&passed, low_pass, self.jump, None);
                for i in 0..n {
                    seasonal[i] = cycle[p + i] - passed[i];
                }
                let without: Vec<f64> = y.iter().zip(&seasonal).map(|(y, s)| y - s).collect();
                trend = smooth(&without, trend_window, self.jump, weights.as_deref());
            }
            if round < outer {
                weights = Some(robustness(&y, &trend, &seasonal));
            }
        }
        let residual = data.iter().zip(&trend).zip(&seasonal).map(|((y, t), s)| y - s - t).collect();
        Ok(Decomposition { trend, seasonal, residual })
    }

    /// The values of each phase smoothed, with one more on either side: `n + 2 * period` of them.
    fn cycle(&self, y: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let (n, p) = (y.len(), self.period);
        let mut out = vec![0.0; n + 2 * p];
        for phase in 0..p {
            let own: Vec<f64> = y.iter().skip(phase).step_by(p).copied().collect();
            let w: Option<Vec<f64>> = weights.map(|w| w.iter().skip(phase).step_by(p).copied().collect());
            let (k, w) = (own.len(), w.as_deref());
            let inside = smooth(&own, self.seasonal, 1, w);
            let before = estimate(&own, self.seasonal, 0, 1, self.seasonal.min(k), w).unwrap_or(inside[0]);
            let left = (k + 1).saturating_sub(self.seasonal).max(1);
            let after = estimate(&own, self.seasonal, k + 1, left, k, w).unwrap_or(inside[k - 1]);
            for (i, v) in std::iter::once(before).chain(inside).chain([after]).enumerate() {
                out[i * p + phase] = v;
            }
        }
        out
    }
}

/// The data with straight lines over its holes, and its ends as the nearest value; `None` for no value at all.
pub(super) fn bridged(data: &[f64]) -> Option<Vec<f64>> {
    let mut out = data.to_vec();
    let mut last: Option<usize> = None;
    for i in 0..data.len() {
        if !data[i].is_finite() {
            continue;
        }
        match last {
            None => out[..i].fill(data[i]),
            Some(j) => {
                for (k, v) in out.iter_mut().enumerate().take(i).skip(j + 1) {
                    *v = data[j] + (data[i] - data[j]) * (k - j) as f64 / (i - j) as f64;
                }
            }
        }
        last = Some(i);
    }
    let last = last?;
    out[last + 1..].fill(data[last]);
    Some(out)
}

/// Means of `length` neighbours: `y.len() - length + 1` of them.
fn average(y: &[f64], length: usize) -> Vec<f64> {
    let mut sum: f64 = y[..length].iter().sum();
    let mut out = vec![sum / length as f64];
    for i in length..y.len() {
        sum += y[i] - y[i - length];
        out.push(sum / length as f64);
    }
    out
}

/// Local straight lines through `window` neighbours, at each row or every `jump` rows with lines between.
fn smooth(y: &[f64], window: usize, jump: usize, weights: Option<&[f64]>) -> Vec<f64> {
    let n = y.len();
    if n < 2 {
        return y.to_vec();
    }
    let jump = jump.clamp(1, n - 1);
    let at = |i: usize| {
        // Rows are counted from 1, as the paper does.
        let half = if jump == 1 { (window + 2) / 2 } else { window.div_ceil(2) };
        let (left, right) = if window >= n {
            (1, n)
        } else {
            let left = (i + 2).saturating_sub(half).clamp(1, n - window + 1);
            (left, left + window - 1)
        };
        estimate(y, window, i + 1, left, right, weights).unwrap_or(y[i])
    };
    if jump == 1 {
        return (0..n).map(at).collect();
    }
    let mut out = vec![0.0; n];
    let mut from = 0;
    out[0] = at(0);
    while from < n - 1 {
        let to = (from + jump).min(n - 1);
        out[to] = at(to);
        let slope = (out[to] - out[from]) / (to - from) as f64;
        for k in from + 1..to {
            out[k] = out[from] + slope * (k - from) as f64;
        }
        from = to;
    }
    out
}

/// The local line through rows `left..=right` (from 1) at `x`, by tricube weights; `None` where no row has weight.
fn estimate(y: &[f64], window: usize, x: usize, left: usize, right: usize, weights: Option<&[f64]>) -> Option<f64> {
    let n = y.len();
    let mut h = x.abs_diff(left).max(x.abs_diff(right)) as f64;
    if window > n {
        h += ((window - n) / 2) as f64;
    }
    let weight = |j: usize| {
        let r = j.abs_diff(x) as f64;
        let near = if r > 0.999 * h {
            0.0
        } else if r <= 0.001 * h {
            1.0
        } else {
            let share = r / h;
            let rest = 1.0 - share * share * share;
            rest * rest * rest
        };
        weights.map_or(near, |w| near * w[j - 1])
    };
    let (mut total, mut centre) = (0.0, 0.0);
    for j in left..=right {
        let w = weight(j);
        total += w;
        centre += w * j as f64;
    }
    if total <= 0.0 {
        return None;
    }
    centre /= total;
    let (mut spread, mut level, mut across) = (0.0, 0.0, 0.0);
    for j in left..=right {
        let (w, d) = (weight(j) / total, j as f64 - centre);
        spread += w * d * d;
        level += w * y[j - 1];
        across += w * d * y[j - 1];
    }
    if h > 0.0 && spread.sqrt() > 0.001 * (n as f64 - 1.0) {
        level += (x as f64 - centre) * across / spread;
    }
    Some(level)
}

/// Bisquare weights of the remainders.
fn robustness(y: &[f64], trend: &[f64], seasonal: &[f64]) -> Vec<f64> {
    let residual: Vec<f64> = y.iter().zip(trend).zip(seasonal).map(|((y, t), s)| (y - (t + s)).abs()).collect();
    let h = 6.0 * median(&mut residual.clone()).unwrap_or(0.0);
    let weight = |r: &f64| {
        if *r <= 0.001 * h {
            1.0
        } else if *r <= 0.999 * h {
            let share = r / h;
            (1.0 - share * share) * (1.0 - share * share)
        } else {
            0.0
        }
    };
    residual.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_bridged_by_lines() {
        let hole = f64::NAN;
        assert_eq!(bridged(&[hole, 1.0, hole, hole, 4.0, hole]).unwrap(), [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(bridged(&[hole]), None);
    }

    #[test]
    fn a_line_and_a_season_are_told_apart() {
        let season = [3.0, -1.0, -2.0, 0.0];
        let y: Vec<f64> = (0..80).map(|i| 10.0 + 0.5 * i as f64 + season[i % 4]).collect();
        let found = Stl::new(4).decompose(&y).unwrap();
        for i in 0..80 {
            assert!((found.seasonal[i] - season[i % 4]).abs() < 1e-6, "{i}: {}", found.seasonal[i]);
            assert!((found.trend[i] + found.seasonal[i] + found.residual[i] - y[i]).abs() < 1e-12);
        }
    }

    #[test]
    fn a_jump_changes_little() {
        let y: Vec<f64> = (0..200).map(|i| (i as f64 / 40.0).sin() + [0.5, -0.5][i % 2]).collect();
        let exact = Stl::new(10).decompose(&y).unwrap();
        let quick = Stl { jump: 3, ..Stl::new(10) }.decompose(&y).unwrap();
        let apart = exact.trend.iter().zip(&quick.trend).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart > 0.0 && apart < 0.01, "{apart}");
    }

    #[test]
    fn what_cannot_be_decomposed_is_refused() {
        assert!(matches!(
            Stl::new(12).decompose(&[1.0; 23]),
            Err(TransformError::TooShort { needed: 24, rows: 23, .. })
        ));
        assert!(Stl::new(2).decompose(&[f64::NAN; 9]).is_err());
        assert!(Stl { seasonal: 4, ..Stl::new(2) }.decompose(&[1.0; 9]).is_err());
        assert!(Stl { trend: Some(3), ..Stl::new(4) }.decompose(&[1.0; 9]).is_err());
    }
}
