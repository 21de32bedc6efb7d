//! Logarithms and power transforms, which even out a spread that grows with the level.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::places::Places;
use super::step::{Ahead, Transform};
use crate::error::InvalidSetting;

/// Powers that a fit may choose.
const POWERS: (f64, f64) = (-5.0, 5.0);
/// How far beyond the train values an inverse with an upper end may go, in ranges of the train values.
const BEYOND: f64 = 10.0;

/// `ln x`, for values > 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {}

/// `ln(1 + x)`, for values > -1: counts and amounts with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log1p {}

/// Box and Cox's transform `(x^lambda - 1) / lambda`, `ln x` at 0, for values > 0. The power is fitted per series by
/// maximum likelihood, as `scipy.stats.boxcox` does, unless it is given.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoxCox {
    /// The power; fitted if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
}

/// Yeo and Johnson's transform: Box and Cox's of `x + 1` for `x >= 0`, mirrored with power `2 - lambda` below; for any
/// values. The power is fitted as `scipy.stats.yeojohnson` does, unless it is given.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct YeoJohnson {
    /// The power; fitted if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
}

/// Box and Cox's transform of `x > 0`.
pub fn box_cox(x: f64, lambda: f64) -> f64 {
    if lambda == 0.0 { x.ln() } else { (lambda * x.ln()).exp_m1() / lambda }
}

/// Its inverse. Values beyond its range give the end of the domain: 0 for a positive power, infinity for a negative one.
pub fn inverse_box_cox(z: f64, lambda: f64) -> f64 {
    if lambda == 0.0 {
        return z.exp();
    }
    let inner = lambda * z;
    match (z.is_nan(), inner > -1.0) {
        (true, _) => f64::NAN,
        (_, true) => (inner.ln_1p() / lambda).exp(),
        (_, false) => {
            if lambda > 0.0 {
                0.0
            } else {
                f64::INFINITY
            }
        }
    }
}

/// Yeo and Johnson's transform.
pub fn yeo_johnson(x: f64, lambda: f64) -> f64 {
    if x >= 0.0 { box_cox(x + 1.0, lambda) } else { -box_cox(1.0 - x, 2.0 - lambda) }
}

/// Its inverse; see [`inverse_box_cox`] for values beyond its range.
pub fn inverse_yeo_johnson(z: f64, lambda: f64) -> f64 {
    if z >= 0.0 { inverse_box_cox(z, lambda) - 1.0 } else { 1.0 - inverse_box_cox(-z, 2.0 - lambda) }
}

/// The power that makes the observed values of `data`, all > 0, most like a normal distribution: the maximum of Box and
/// Cox's likelihood between -5 and 5. `None` for fewer than two different values.
pub fn box_cox_lambda(data: &[f64]) -> Option<f64> {
    let logs: Vec<f64> = data.iter().filter(|v| v.is_finite() && **v > 0.0).map(|v| v.ln()).collect();
    if logs.iter().all(|v| Some(v) == logs.first()) {
        return None;
    }
    // Around their mean: the geometric mean drops out of the likelihood, and powers stay of moderate size.
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let centred: Vec<f64> = logs.iter().map(|v| v - mean).collect();
    let power = |lambda: f64| {
        let z = centred.iter().map(|u| if lambda == 0.0 { *u } else { (lambda * u).exp_m1() / lambda });
        -0.5 * variance(z).ln()
    };
    Some(maximum(power))
}

/// The same for Yeo and Johnson's transform and any values.
pub fn yeo_johnson_lambda(data: &[f64]) -> Option<f64> {
    let seen: Vec<f64> = data.iter().copied().filter(|v| v.is_finite()).collect();
    if seen.iter().all(|v| Some(v) == seen.first()) {
        return None;
    }
    let slope = seen.iter().map(|x| x.signum() * x.abs().ln_1p()).sum::<f64>() / seen.len() as f64;
    Some(maximum(|lambda| -0.5 * variance(seen.iter().map(|x| yeo_johnson(*x, lambda))).ln() + (lambda - 1.0) * slope))
}

fn variance(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let (sum, n) = values.clone().fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    let mean = sum / n;
    values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n
}

/// Where a likelihood is largest: a grid finds the hill, sections by the golden ratio its top.
fn maximum(likelihood: impl Fn(f64) -> f64) -> f64 {
    const GRID: usize = 41;
    let at = |i: usize| POWERS.0 + (POWERS.1 - POWERS.0) * i as f64 / (GRID - 1) as f64;
    let value = |x: f64| Some(likelihood(x)).filter(|v| v.is_finite()).unwrap_or(f64::NEG_INFINITY);
    let best = (0..GRID).map(|i| (i, value(at(i)))).fold((0, f64::NEG_INFINITY), |a, b| if b.1 > a.1 { b } else { a });
    let (mut low, mut high) = (at(best.0.saturating_sub(1)), at((best.0 + 1).min(GRID - 1)));
    let golden = (5.0f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut of_a, mut of_b) = (value(a), value(b));
    while high - low > 1e-9 {
        if of_a >= of_b {
            (high, b, of_b) = (b, a, of_a);
            a = high - golden * (high - low);
            of_a = value(a);
        } else {
            (low, a, of_a) = (a, b, of_b);
            b = low + golden * (high - low);
            of_b = value(b);
        }
    }
    (low + high) / 2.0
}

/// The first value that `allowed` refuses, as an error.
fn domain(
    values: &[f64],
    step: &str,
    expected: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<(), TransformError> {
    match values.iter().position(|v| v.is_finite() && !allowed(*v)) {
        None => Ok(()),
        Some(row) => Err(TransformError::Domain { step: step.into(), series: None, row, value: values[row], expected }),
    }
}

/// The largest finite number in place of an overflow, so that a forecast stays a number.
fn bounded(x: f64) -> f64 {
    x.clamp(f64::MIN, f64::MAX)
}

/// A transform without fitted values.
macro_rules! unfitted {
    ($name:ty, $word:literal, $expected:literal, $allowed:expr, $apply:expr, $invert:expr) => {
        impl Transform for $name {
            fn width(&self) -> usize {
                0
            }

            fn fit(&self, train: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
                domain(train, $word, $expected, $allowed)?;
                Ok(Some(Vec::new()))
            }

            fn identity(&self) -> Vec<f64> {
                Vec::new()
            }

            fn usable(&self, _: &[f64]) -> bool {
                true
            }

            fn apply(&self, _: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
                domain(rows, $word, $expected, $allowed)?;
                rows.iter_mut().for_each(|v| *v = $apply(*v));
                Ok(())
            }

            fn invert(&self, _: &[f64], ahead: &mut Ahead<'_>) {
                ahead.each(|z, _| bounded($invert(z)));
            }
        }
    };
}

unfitted!(Log, "log", "values > 0", |v| v > 0.0, f64::ln, f64::exp);
unfitted!(Log1p, "log1p", "values > -1", |v| v > -1.0, f64::ln_1p, f64::exp_m1);

fn check(lambda: Option<f64>) -> Result<(), TransformError> {
    match lambda {
        Some(l) if !(POWERS.0..=POWERS.1).contains(&l) => {
            let remedy = "leave it out to have it fitted";
            Err(InvalidSetting::new("transform.target.lambda", l, "a number from -5 to 5", remedy).into())
        }
        _ => Ok(()),
    }
}

/// The power, and the least and largest value that an inverse may give.
fn fitted(lambda: Option<f64>, train: &[f64], fit: impl Fn(&[f64]) -> Option<f64>) -> Option<Vec<f64>> {
    let seen = || train.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (seen().reduce(f64::min)?, seen().reduce(f64::max)?);
    let room = BEYOND * (high - low).max(high.abs());
    Some(vec![lambda.or_else(|| fit(train))?, bounded(low - room), bounded(high + room)])
}

/// A transform with a power.
macro_rules! power {
    ($name:ty, $word:literal, $expected:literal, $allowed:expr, $fit:expr, $apply:expr, $invert:expr) => {
        impl $name {
            pub(super) fn check(&self) -> Result<(), TransformError> {
                check(self.lambda)
            }
        }

        impl Transform for $name {
            fn width(&self) -> usize {
                3
            }

            fn fit(&self, train: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
                domain(train, $word, $expected, $allowed)?;
                Ok(fitted(self.lambda, train, $fit))
            }

            fn identity(&self) -> Vec<f64> {
                vec![1.0, f64::MIN, f64::MAX]
            }

            fn usable(&self, fitted: &[f64]) -> bool {
                (POWERS.0..=POWERS.1).contains(&fitted[0]) && fitted[1] <= fitted[2]
            }

            fn apply(&self, fitted: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
                domain(rows, $word, $expected, $allowed)?;
                rows.iter_mut().for_each(|v| *v = $apply(*v, fitted[0]));
                Ok(())
            }

            fn invert(&self, fitted: &[f64], ahead: &mut Ahead<'_>) {
                // A power has an end that forecasts may overshoot; behind it there is no value but this.
                ahead.each(|z, _| $invert(z, fitted[0]).clamp(fitted[1], fitted[2]));
            }
        }
    };
}

power!(BoxCox, "box-cox", "values > 0", |v| v > 0.0, box_cox_lambda, box_cox, inverse_box_cox);
power!(YeoJohnson, "yeo-johnson", "finite values", |_| true, yeo_johnson_lambda, yeo_johnson, inverse_yeo_johnson);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_go_there_and_back() {
        for lambda in [-2.0, -0.5, 0.0, 1e-9, 0.5, 1.0, 2.0, 3.0] {
            for x in [1e-3, 0.5, 1.0, 7.0, 200.0] {
                assert!((inverse_box_cox(box_cox(x, lambda), lambda) / x - 1.0).abs() < 1e-6, "{x} {lambda}");
            }
            for x in [-50.0, -1.0, -0.1, 0.0, 0.3, 20.0] {
                let back = inverse_yeo_johnson(yeo_johnson(x, lambda), lambda);
                assert!((back - x).abs() < 1e-6 * (1.0 + x.abs()), "{x} {lambda}: {back}");
            }
        }
        assert!(inverse_box_cox(f64::NAN, 0.5).is_nan());
        assert_eq!(inverse_box_cox(-3.0, 0.5), 0.0);
        assert_eq!(inverse_box_cox(3.0, -0.5), f64::INFINITY);
    }

    #[test]
    fn a_forecast_beyond_the_end_of_a_power_stays_a_number() {
        let step = BoxCox { lambda: Some(-1.0) };
        let fitted = step.fit(&[1.0, 2.0, 4.0], Places::counted(0)).unwrap().unwrap();
        let mut values = [5.0, 0.5, f64::NAN];
        let mut ahead = Ahead { values: &mut values, outputs: 1, places: Places::counted(0), history: &[] };
        step.invert(&fitted, &mut ahead);
        assert_eq!((values[0], values[1]), (44.0, 2.0));
        assert!(values[2].is_nan());
        let mut values = [1e4];
        Log {}.invert(&[], &mut Ahead { values: &mut values, outputs: 1, places: Places::counted(0), history: &[] });
        assert_eq!(values, [f64::MAX]);
    }

    #[test]
    fn values_without_an_image_are_errors_and_missing_ones_are_not() {
        let error = Log {}.fit(&[1.0, f64::NAN, 0.0], Places::counted(0)).unwrap_err();
        assert!(matches!(error, TransformError::Domain { row: 2, value: 0.0, .. }), "{error}");
        let mut rows = [f64::NAN, 0.0, 3.0];
        Log1p {}.apply(&[], &mut rows, Places::counted(0)).unwrap();
        assert!(rows[0].is_nan() && rows[1] == 0.0 && rows[2] == 4.0f64.ln());
        assert!(BoxCox::default().apply(&[1.0, 0.0, 9.0], &mut [-1.0], Places::counted(0)).is_err());
    }

    #[test]
    fn a_series_that_has_no_spread_has_no_power() {
        assert_eq!(box_cox_lambda(&[2.0; 5]), None);
        assert_eq!(yeo_johnson_lambda(&[]), None);
        assert_eq!(BoxCox::default().fit(&[2.0; 5], Places::counted(0)).unwrap(), None);
    }
}
