//! Scores of quantiles, intervals and samples.

use super::{mean, pairs};

/// Pinball (quantile) loss at `q`: `mean max(q (y - y_hat), (q - 1) (y - y_hat))`. NaN without a pair or where `q` is
/// not between 0 and 1. At 0.5 it is half the mean absolute error.
///
/// # Panics
/// If the lengths differ (so do all metrics).
pub fn quantile(y: &[f64], y_hat: &[f64], q: f64) -> f64 {
    if !(0.0..=1.0).contains(&q) {
        return f64::NAN;
    }
    mean(pairs(y, y_hat).map(|(y, f)| pinball(y, f, q)))
}

/// Pinball loss of one pair.
#[inline]
pub(super) fn pinball(y: f64, f: f64, q: f64) -> f64 {
    let e = y - f;
    (q * e).max((q - 1.0) * e)
}

/// Mean of [`quantile()`] over several quantiles. `y_hat` holds `quantiles.len()` forecasts per observed value, row-major
/// `[n, Q]`. Twice this, with evenly spread quantiles, approaches the CRPS. NaN without a pair or a quantile.
///
/// The reference's training loss of the same name sums over quantiles, so it is `Q` times as large.
///
/// # Panics
/// If `y_hat` has not `quantiles.len()` values for each of `y`.
pub fn mqloss(y: &[f64], y_hat: &[f64], quantiles: &[f64]) -> f64 {
    let width = quantiles.len();
    assert_eq!(y_hat.len(), y.len() * width, "one forecast per observed value and quantile");
    if !quantiles.iter().all(|q| (0.0..=1.0).contains(q)) {
        return f64::NAN;
    }
    let losses = y.iter().zip(y_hat.chunks_exact(width.max(1))).flat_map(|(y, row)| {
        row.iter().zip(quantiles).filter(|(f, _)| !y.is_nan() && !f.is_nan()).map(|(f, q)| pinball(*y, *f, *q))
    });
    mean(losses)
}

/// Share of observed values within `lo..=hi`, between 0 and 1: for an 80 % interval it should be near 0.8. Values for
/// which one of the three is NaN are skipped; NaN when none is left.
pub fn coverage(y: &[f64], lo: &[f64], hi: &[f64]) -> f64 {
    mean(triples(y, lo, hi).map(|(y, lo, hi)| if (lo..=hi).contains(&y) { 1.0 } else { 0.0 }))
}

/// Mean width `hi - lo` of the intervals; NaN bounds are skipped, NaN when none is left.
pub fn interval_width(lo: &[f64], hi: &[f64]) -> f64 {
    mean(pairs(lo, hi).map(|(lo, hi)| hi - lo))
}

/// Interval (Winkler) score of intervals of `level` percent: the width plus `2/α` times the distance by which the value
/// lies outside, `α = 1 - level/100`, averaged. NaN without a triple or where `level` is not within `0..100`.
pub fn interval_score(y: &[f64], lo: &[f64], hi: &[f64], level: f64) -> f64 {
    if !(0.0..100.0).contains(&level) {
        return f64::NAN;
    }
    let penalty = 2.0 / (1.0 - level / 100.0);
    mean(triples(y, lo, hi).map(|(y, lo, hi)| hi - lo + penalty * ((lo - y).max(0.0) + (y - hi).max(0.0))))
}

/// Continuous ranked probability score of samples: per value `mean_i abs(x_i - y) - mean_ij abs(x_i - x_j) / 2`
/// (Gneiting and Raftery 2007, the exact score of the empirical distribution), averaged over values.
///
/// `samples` holds as many draws for each value, row-major `[n, draws]`. With one draw it is the mean absolute error.
/// Values that are NaN or have a NaN draw are skipped; NaN when none is left.
///
/// # Panics
/// If `samples` is not `draws` values for each of `y`.
pub fn crps_samples(y: &[f64], samples: &[f64], draws: usize) -> f64 {
    assert_eq!(samples.len(), y.len() * draws, "the same number of draws for every value");
    let m = draws as f64;
    let scores = y.iter().zip(samples.chunks_exact(draws.max(1))).filter_map(|(y, row)| {
        if y.is_nan() || row.iter().any(|x| x.is_nan()) {
            return None;
        }
        let mut sorted = row.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let near = row.iter().map(|x| (x - y).abs()).sum::<f64>() / m;
        // sum over all i, j of abs(x_i - x_j) is 2 sum_k x_(k) (2k - m + 1) for sorted x and k from 0
        let spread =
            sorted.iter().enumerate().map(|(k, x)| x * (2.0 * k as f64 - m + 1.0)).sum::<f64>() * 2.0 / (m * m);
        Some(near - 0.5 * spread)
    });
    mean(scores)
}

fn triples<'a>(y: &'a [f64], lo: &'a [f64], hi: &'a [f64]) -> impl Iterator<Item = (f64, f64, f64)> + 'a {
    assert!(y.len() == lo.len() && y.len() == hi.len(), "one interval per observed value");
    let all = y.iter().zip(lo).zip(hi).map(|((y, lo), hi)| (*y, *lo, *hi));
    all.filter(|(y, lo, hi)| !(y.is_nan() || lo.is_nan() || hi.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn pinball_weighs_the_two_sides() {
        // too low by 2: 0.9 * 2; too high by 2: 0.1 * 2
        close(quantile(&[5.0, 5.0, f64::NAN], &[3.0, 7.0, 1.0], 0.9), (1.8 + 0.2) / 2.0);
        close(quantile(&[5.0], &[3.0], 0.5), 1.0);
        assert!(quantile(&[5.0], &[3.0], 1.5).is_nan());
    }

    #[test]
    fn mqloss_is_the_mean_over_quantiles() {
        let y = [5.0, f64::NAN, 1.0];
        let y_hat = [3.0, 7.0, 0.0, 0.0, 1.0, 2.0];
        close(mqloss(&y, &y_hat, &[0.1, 0.9]), (0.2 + 0.2 + 0.0 + 0.1) / 4.0);
        assert!(mqloss(&[], &[], &[]).is_nan());
    }

    #[test]
    fn intervals_by_hand() {
        let (y, lo, hi) = ([1.0, 5.0, 9.0, f64::NAN], [1.0, 6.0, 0.0, 0.0], [2.0, 8.0, 8.0, 1.0]);
        close(coverage(&y, &lo, &hi), 1.0 / 3.0);
        close(interval_width(&lo, &hi), (1.0 + 2.0 + 8.0 + 1.0) / 4.0);
        // alpha 0.2: widths 1 + 2 + 8, outside by 1 and by 1, each times 10
        close(interval_score(&y, &lo, &hi, 80.0), (11.0 + 20.0) / 3.0);
    }

    #[test]
    fn crps_of_one_draw_is_the_absolute_error_and_of_two_by_hand() {
        close(crps_samples(&[3.0, f64::NAN], &[1.0, 7.0], 1), 2.0);
        // draws 0 and 4, y = 1: (1 + 3) / 2 - (0 + 4 + 4 + 0) / 4 / 2 = 1
        close(crps_samples(&[1.0], &[4.0, 0.0], 2), 1.0);
    }
}
