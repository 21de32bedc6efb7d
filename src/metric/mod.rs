//! Scores of forecasts in `f64` on the host: they check the network from outside, so they share no code with its losses.
//!
//! Every function takes observed values `y` and forecasts `y_hat` of the same length, in the same units, and **skips
//! pairs in which either is NaN** (a missing observation takes no part in a score). Where nothing is left, or a formula
//! would divide by zero, the answer is NaN: never 0, which would look like a perfect score. Infinities are not skipped.
//! `e` is `y - y_hat`, sums and means run over the pairs that are left.
//!
//! | function | formula | best | unit |
//! |---|---|---|---|
//! | [`mae`] | `mean abs(e)` | 0 | of `y` |
//! | [`mse`] | `mean e²` | 0 | of `y`, squared |
//! | [`rmse`] | `sqrt(mean e²)` | 0 | of `y` |
//! | [`bias`] | `mean (y_hat - y)`, positive when the forecast is too high | 0 | of `y` |
//! | [`max_error`] | `max abs(e)` | 0 | of `y` |
//! | [`huber`] | `mean (e²/2 where abs(e) <= δ, else δ (abs(e) - δ/2))` | 0 | of `y`, squared |
//! | [`mape`] | `100 mean abs(e / y)` over pairs with `y ≠ 0` | 0 | % |
//! | [`smape`] | `200 mean abs(e) / (abs(y) + abs(y_hat))`, 0 where both are 0 | 0 | %, at most 200 |
//! | [`wape`] | `100 sum abs(e) / sum abs(y)` | 0 | % |
//! | [`mase`] | `mae / (mean abs(insample[t] - insample[t - season]))` | 0 | none, 1 is the seasonal naive in sample |
//! | [`r2`] | `1 - sum e² / sum (y - mean y)²` | 1 | none |
//! | [`adjusted_r2`] | `1 - (1 - r2) (n - 1) / (n - p - 1)` | 1 | none |
//! | [`explained_variance`] | `1 - var e / var y`: like r2, but blind to a constant bias | 1 | none |
//! | [`directional_accuracy`] | share of `t` with `sign(y[t] - y[t-1]) = sign(y_hat[t] - y[t-1])` | 1 | share |
//! | [`quantile()`] (pinball) | `mean max(q e, (q - 1) e)` | 0 | of `y` |
//! | [`mqloss`] | mean of [`quantile()`] over the quantiles | 0 | of `y` |
//! | [`crps_samples`] | `mean (mean abs(x_i - y) - mean abs(x_i - x_j) / 2)` | 0 | of `y` |
//! | [`coverage`] | share of `lo <= y <= hi` | the level | share |
//! | [`interval_width`] | `mean (hi - lo)` | narrow | of `y` |
//! | [`interval_score`] | width + `2/α` times what lies outside | 0 | of `y` |
//!
//! [`Scores`] takes the same pairs as a stream, by series and horizon step, in memory for the series and the steps
//! alone, and gives [`Metrics`] in total, per step and per series.

pub(crate) mod nan_as_null;
mod point;
mod quantile;
mod relative;
mod scores;
mod sums;

pub use point::{bias, huber, mae, max_error, mse, rmse};
pub use quantile::{coverage, crps_samples, interval_score, interval_width, mqloss, quantile};
pub use relative::{
    adjusted_r2, directional_accuracy, explained_variance, mape, mase, r2, seasonal_difference, smape, wape,
};
pub use scores::{IntervalScore, Metrics, QuantileScore, Scores};
pub use sums::Sums;

/// The pairs without NaN.
///
/// # Panics
/// If the lengths differ: which forecast belongs to which value would be a guess.
fn pairs<'a>(y: &'a [f64], y_hat: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(y.len(), y_hat.len(), "one forecast per observed value");
    y.iter().copied().zip(y_hat.iter().copied()).filter(|(y, f)| !y.is_nan() && !f.is_nan())
}

/// Arithmetic mean; NaN of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0u64);
    for v in values {
        sum += v;
        n += 1;
    }
    ratio(sum, n as f64)
}

/// `a / b`, NaN where `b` is 0 (also for a positive `a`: an infinite score says nothing and spoils every average).
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { f64::NAN } else { a / b }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_every_metric_is_nan() {
        let n = [f64::NAN, 1.0];
        let m = [2.0, f64::NAN];
        for (y, f) in [(&[][..], &[][..]), (&n[..], &m[..])] {
            for (name, value) in [
                ("mae", mae(y, f)),
                ("mse", mse(y, f)),
                ("rmse", rmse(y, f)),
                ("bias", bias(y, f)),
                ("max_error", max_error(y, f)),
                ("huber", huber(y, f, 1.0)),
                ("mape", mape(y, f)),
                ("smape", smape(y, f)),
                ("wape", wape(y, f)),
                ("mase", mase(y, f, &[1.0, 2.0], 1)),
                ("r2", r2(y, f)),
                ("adjusted_r2", adjusted_r2(y, f, 1)),
                ("explained_variance", explained_variance(y, f)),
                ("directional_accuracy", directional_accuracy(y, f)),
                ("quantile", quantile(y, f, 0.5)),
                ("mqloss", mqloss(y, f, &[0.5])),
                ("coverage", coverage(y, f, f)),
                ("interval_score", interval_score(y, f, f, 80.0)),
            ] {
                assert!(value.is_nan(), "{name} of {y:?} is {value}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "one forecast per observed value")]
    fn slices_of_different_length_are_refused() {
        mae(&[1.0, 2.0], &[1.0]);
    }
}
