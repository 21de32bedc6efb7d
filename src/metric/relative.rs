//! Errors relative to the size, the season or the variance of the data.

use super::{mean, mse, pairs, ratio};

/// Mean absolute percentage error, `100 mean abs((y - y_hat) / y)`, in percent.
///
/// Pairs with `y = 0` have no percentage and are skipped (the loss of the same name counts them as 0, which keeps its
/// gradient defined but would flatter a score); NaN when none is left.
/// Low values are no proof of skill on series far from zero: compare with a naive forecast.
pub fn mape(y: &[f64], y_hat: &[f64]) -> f64 {
    100.0 * mean(pairs(y, y_hat).filter(|(y, _)| *y != 0.0).map(|(y, f)| ((y - f) / y).abs()))
}

/// Symmetric mean absolute percentage error of the M competitions, `200 mean abs(y - y_hat) / (abs(y) + abs(y_hat))`,
/// in percent, between 0 and 200. A pair of two zeros has error 0; NaN without a pair.
pub fn smape(y: &[f64], y_hat: &[f64]) -> f64 {
    100.0 * mean(pairs(y, y_hat).map(|(y, f)| symmetric_share(y, f)))
}

/// `2 abs(y - f) / (abs(y) + abs(f))`, 0 where both are 0.
pub(super) fn symmetric_share(y: f64, f: f64) -> f64 {
    let size = y.abs() + f.abs();
    if size == 0.0 { 0.0 } else { 2.0 * (y - f).abs() / size }
}

/// Weighted absolute percentage error, `100 sum abs(y - y_hat) / sum abs(y)`, in percent; NaN without a pair or when
/// every `y` is 0.
pub fn wape(y: &[f64], y_hat: &[f64]) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (y, f) in pairs(y, y_hat) {
        error += (y - f).abs();
        size += y.abs();
    }
    100.0 * ratio(error, size)
}

/// Mean absolute error of the seasonal naive forecast within `insample`, `mean abs(x[t] - x[t - season])`: the scale of
/// [`mase`]. Pairs with NaN are skipped; NaN when no pair is left (a series not longer than its season) or
/// `season` is 0.
pub fn seasonal_difference(insample: &[f64], season: usize) -> f64 {
    if season == 0 || insample.len() <= season {
        return f64::NAN;
    }
    mean(pairs(&insample[season..], &insample[..insample.len() - season]).map(|(now, before)| (now - before).abs()))
}

/// Mean absolute scaled error (Hyndman and Koehler 2006): the mean absolute error divided by
/// [`seasonal_difference`]`(insample, season)`. NaN without a pair, or when the scale is 0 or undefined.
pub fn mase(y: &[f64], y_hat: &[f64], insample: &[f64], season: usize) -> f64 {
    ratio(super::mae(y, y_hat), seasonal_difference(insample, season))
}

/// Coefficient of determination, `1 - sum (y - y_hat)² / sum (y - mean y)²`.
///
/// 1 is perfect, 0 is as good as knowing the mean of the very values to forecast, and there is no lower bound. NaN
/// without a pair or when `y` is constant.
pub fn r2(y: &[f64], y_hat: &[f64]) -> f64 {
    let centre = mean(pairs(y, y_hat).map(|(y, _)| y));
    let variance = mean(pairs(y, y_hat).map(|(y, _)| (y - centre) * (y - centre)));
    1.0 - ratio(mse(y, y_hat), variance)
}

/// [`r2`] adjusted for `predictors` fitted parameters: `1 - (1 - r2) (n - 1) / (n - predictors - 1)`. NaN where that
/// has no positive degrees of freedom.
pub fn adjusted_r2(y: &[f64], y_hat: &[f64], predictors: usize) -> f64 {
    let n = pairs(y, y_hat).count() as f64;
    let freedom = n - predictors as f64 - 1.0;
    if freedom <= 0.0 { f64::NAN } else { 1.0 - (1.0 - r2(y, y_hat)) * (n - 1.0) / freedom }
}

/// Explained variance, `1 - var(y - y_hat) / var(y)`: not [`r2`], since a constant bias costs nothing here. NaN without
/// a pair or when `y` is constant.
pub fn explained_variance(y: &[f64], y_hat: &[f64]) -> f64 {
    let variance = |of: fn((f64, f64)) -> f64| {
        let centre = mean(pairs(y, y_hat).map(of));
        mean(pairs(y, y_hat).map(|p| (of(p) - centre) * (of(p) - centre)))
    };
    1.0 - ratio(variance(|(y, f)| y - f), variance(|(y, _)| y))
}

/// Mean directional accuracy: the share of `t >= 1` at which the forecast moves away from the last observed value
/// `y[t - 1]` in the direction that the series then took (up, down, or not at all). Steps for which one of `y[t - 1]`,
/// `y[t]`, `y_hat[t]` is NaN are skipped; NaN when none is left.
pub fn directional_accuracy(y: &[f64], y_hat: &[f64]) -> f64 {
    assert_eq!(y.len(), y_hat.len(), "one forecast per observed value");
    let moves = y.windows(2).zip(&y_hat[1.min(y_hat.len())..]).filter_map(|(w, f)| {
        let (real, forecast) = (w[1].partial_cmp(&w[0])?, f.partial_cmp(&w[0])?);
        Some(if real == forecast { 1.0 } else { 0.0 })
    });
    mean(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn percentages_by_hand() {
        let (y, f) = ([2.0, -4.0, f64::NAN, 0.0], [1.0, -5.0, 1.0, 3.0]);
        close(mape(&y, &f), 100.0 * (0.5 + 0.25) / 2.0);
        close(smape(&y, &f), 200.0 * (1.0 / 3.0 + 1.0 / 9.0 + 1.0) / 3.0);
        close(wape(&y, &f), 100.0 * 5.0 / 6.0);
        close(smape(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        assert!(mape(&[0.0], &[1.0]).is_nan() && wape(&[0.0], &[1.0]).is_nan());
    }

    #[test]
    fn smape_is_200_when_the_signs_differ() {
        close(smape(&[1.0, -3.0], &[-1.0, 3.0]), 200.0);
    }

    #[test]
    fn mase_divides_by_the_seasonal_difference_of_the_insample() {
        // season 2: |3-1|, |2-2|, |NaN|, |6-2| -> (2 + 0 + 4) / 3 = 2
        let insample = [1.0, 2.0, 3.0, 2.0, f64::NAN, 6.0];
        close(seasonal_difference(&insample, 2), 2.0);
        close(mase(&[5.0, 5.0], &[4.0, 8.0], &insample, 2), 1.0);
        assert!(mase(&[5.0], &[4.0], &insample, 6).is_nan(), "the season is as long as the insample");
        assert!(mase(&[5.0], &[4.0], &[3.0, 3.0, 3.0], 1).is_nan(), "a constant insample has no scale");
        assert!(seasonal_difference(&insample, 0).is_nan());
    }

    #[test]
    fn r2_of_perfect_mean_and_worse() {
        let y = [1.0, 2.0, 3.0, f64::NAN];
        close(r2(&y, &[1.0, 2.0, 3.0, 0.0]), 1.0);
        close(r2(&y, &[2.0, 2.0, 2.0, 0.0]), 0.0);
        close(r2(&y, &[3.0, 2.0, 1.0, 0.0]), -3.0);
        assert!(r2(&[4.0, 4.0], &[4.0, 4.0]).is_nan());
    }

    #[test]
    fn adjusted_r2_by_hand() {
        // r2 = 1 - 1/5 = 0.8, n = 4, p = 1: 1 - 0.2 * 3 / 2
        close(adjusted_r2(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 3.0], 1), 0.7);
        assert!(adjusted_r2(&[1.0, 2.0], &[1.0, 2.0], 1).is_nan());
    }

    #[test]
    fn explained_variance_forgives_a_constant_bias_and_r2_does_not() {
        let (y, f) = ([1.0, 2.0, 3.0], [11.0, 12.0, 13.0]);
        close(explained_variance(&y, &f), 1.0);
        assert!(r2(&y, &f) < -100.0);
    }

    #[test]
    fn direction_is_taken_from_the_last_observed_value() {
        // up/up hit; flat/up miss; down/(forecast equals last) miss; skipped twice around NaN
        let (y, f) = ([1.0, 3.0, 3.0, 2.0, f64::NAN, 5.0], [9.0, 2.0, 4.0, 3.0, 1.0, 1.0]);
        close(directional_accuracy(&y, &f), 1.0 / 3.0);
        assert!(directional_accuracy(&[1.0], &[1.0]).is_nan());
    }
}
