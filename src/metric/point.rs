//! Errors in the units of the target.

use super::{mean, pairs};

/// Mean absolute error, `mean abs(y - y_hat)`; NaN without a pair.
///
/// # Panics
/// If the lengths differ (so do all metrics).
pub fn mae(y: &[f64], y_hat: &[f64]) -> f64 {
    mean(pairs(y, y_hat).map(|(y, f)| (y - f).abs()))
}

/// Mean squared error, `mean (y - y_hat)²`; NaN without a pair.
pub fn mse(y: &[f64], y_hat: &[f64]) -> f64 {
    mean(pairs(y, y_hat).map(|(y, f)| (y - f) * (y - f)))
}

/// Root of the mean squared error; NaN without a pair.
pub fn rmse(y: &[f64], y_hat: &[f64]) -> f64 {
    mse(y, y_hat).sqrt()
}

/// Mean signed error, `mean (y_hat - y)`: positive when forecasts are too high; NaN without a pair.
pub fn bias(y: &[f64], y_hat: &[f64]) -> f64 {
    mean(pairs(y, y_hat).map(|(y, f)| f - y))
}

/// Largest absolute error; NaN without a pair.
pub fn max_error(y: &[f64], y_hat: &[f64]) -> f64 {
    pairs(y, y_hat).map(|(y, f)| (y - f).abs()).fold(f64::NAN, f64::max)
}

/// Huber loss: `e²/2` where `abs(e) <= delta`, else `delta (abs(e) - delta/2)`, averaged; NaN without a pair or where
/// `delta` is not positive.
pub fn huber(y: &[f64], y_hat: &[f64], delta: f64) -> f64 {
    if delta.is_nan() || delta <= 0.0 {
        return f64::NAN;
    }
    mean(pairs(y, y_hat).map(|(y, f)| {
        let e = (y - f).abs();
        if e <= delta { 0.5 * e * e } else { delta * (e - 0.5 * delta) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Errors y - y_hat: -1, 2, (skipped), 0, 3.
    const Y: [f64; 5] = [1.0, 5.0, f64::NAN, 2.0, 7.0];
    const F: [f64; 5] = [2.0, 3.0, 9.0, 2.0, 4.0];

    #[test]
    fn point_errors_by_hand() {
        assert_eq!(mae(&Y, &F), 1.5);
        assert_eq!(mse(&Y, &F), 3.5);
        assert_eq!(rmse(&Y, &F), 3.5f64.sqrt());
        assert_eq!(bias(&Y, &F), -1.0);
        assert_eq!(max_error(&Y, &F), 3.0);
    }

    #[test]
    fn huber_is_quadratic_inside_and_linear_outside() {
        // delta 2: 0.5, 2, 0, 2 * (3 - 1) = 4 over 4 pairs.
        assert_eq!(huber(&Y, &F, 2.0), 6.5 / 4.0);
        assert_eq!(huber(&Y, &F, 100.0), 0.5 * mse(&Y, &F));
        assert!(huber(&Y, &F, 0.0).is_nan());
    }

    #[test]
    fn a_nan_forecast_is_skipped_too() {
        assert_eq!(mae(&[1.0, 1.0], &[f64::NAN, 3.0]), 2.0);
    }
}
