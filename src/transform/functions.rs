//! Transforms of plain slices: scaled values with their parameters, differences, decompositions, outliers.
//!
//! Missing values (NaN) are skipped where something is fitted, and stay missing. No function removes a row: that would
//! shift time.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::difference::Difference;
use super::outliers::{Replace, Rule, Winsorize};
use super::places::Places;
use super::statistics::{mean_std, median, min_max, quantile};
use super::step::Transform;
use super::trend::line;
use crate::atomic_file::write_atomic;

/// What [`normalize`] found; saved and loaded with [`save_parameters`] and [`load_parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalizationParams {
    /// Mean of the observed values.
    pub mean: f64,
    /// Their population standard deviation.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// What [`robust_scale`] found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustParams {
    /// Median of the observed values.
    pub median: f64,
    /// Third minus first quartile.
    pub iqr: f64,
}

/// A series as parts that add up to it ([`Seasonality::Additive`]) or whose product it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decomposition {
    /// The level as it moves.
    pub trend: Vec<f64>,
    /// What comes again each season.
    pub seasonal: Vec<f64>,
    /// The rest; missing where the value is.
    pub residual: Vec<f64>,
}

/// How trend and season make a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Seasonality {
    /// Trend plus season.
    #[default]
    Additive,
    /// Trend times season.
    Multiplicative,
}

impl Seasonality {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Additive => "additive",
            Self::Multiplicative => "multiplicative",
        }
    }
}

fn observed(data: &[f64]) -> Vec<f64> {
    data.iter().copied().filter(|v| v.is_finite()).collect()
}

fn or_one(scale: f64) -> f64 {
    if scale > 0.0 { scale } else { 1.0 }
}

/// The data minus its mean, by its population standard deviation (by 1 where that is 0), and what it takes to do the same
/// to other data. Fit on train rows, and use [`normalize_with_params`] for the others.
pub fn normalize(data: &[f64]) -> (Vec<f64>, NormalizationParams) {
    let seen = observed(data);
    let (mean, std) = mean_std(&seen).unwrap_or((0.0, 0.0));
    let (min, max) = min_max(&seen).unwrap_or((0.0, 0.0));
    let params = NormalizationParams { mean, std, min, max };
    (normalize_with_params(data, &params), params)
}

/// Other data by the mean and standard deviation of `params`.
pub fn normalize_with_params(data: &[f64], params: &NormalizationParams) -> Vec<f64> {
    data.iter().map(|v| (v - params.mean) / or_one(params.std)).collect()
}

/// The inverse of [`normalize_with_params`].
pub fn denormalize(data: &[f64], params: &NormalizationParams) -> Vec<f64> {
    data.iter().map(|z| z * or_one(params.std) + params.mean).collect()
}

/// The data in 0..1 by its smallest and largest value (0 where all are equal).
pub fn min_max_scale(data: &[f64]) -> (Vec<f64>, NormalizationParams) {
    let (_, params) = normalize(data);
    (min_max_with_params(data, &params), params)
}

/// Other data by the smallest and largest value of `params`; what lies beyond them is beyond 0..1.
pub fn min_max_with_params(data: &[f64], params: &NormalizationParams) -> Vec<f64> {
    data.iter().map(|v| (v - params.min) / or_one(params.max - params.min)).collect()
}

/// The inverse of [`min_max_with_params`].
pub fn min_max_inverse(data: &[f64], params: &NormalizationParams) -> Vec<f64> {
    data.iter().map(|z| z * or_one(params.max - params.min) + params.min).collect()
}

/// The data minus its median, by its interquartile range (by 1 where that is 0).
pub fn robust_scale(data: &[f64]) -> (Vec<f64>, RobustParams) {
    let mut seen = observed(data);
    let iqr = quantile(&mut seen, 0.75).zip(quantile(&mut seen, 0.25)).map_or(0.0, |(q3, q1)| q3 - q1);
    let params = RobustParams { median: median(&mut seen).unwrap_or(0.0), iqr };
    (robust_scale_with_params(data, &params), params)
}

/// Other data by the median and interquartile range of `params`.
pub fn robust_scale_with_params(data: &[f64], params: &RobustParams) -> Vec<f64> {
    data.iter().map(|v| (v - params.median) / or_one(params.iqr)).collect()
}

/// The inverse of [`robust_scale_with_params`].
pub fn robust_scale_inverse(data: &[f64], params: &RobustParams) -> Vec<f64> {
    data.iter().map(|z| z * or_one(params.iqr) + params.median).collect()
}

/// Natural logarithms; [`f64::exp`] undoes them.
///
/// # Errors
/// [`TransformError::Domain`] for a value that is not > 0.
pub fn log_transform(data: &[f64]) -> Result<Vec<f64>, TransformError> {
    let mut values = data.to_vec();
    super::power::Log {}.apply(&[], &mut values, Places::counted(0))?;
    Ok(values)
}

/// `x[t] - x[t - lag]`, aligned to time: the first `lag` values are missing (a lag of 0 counts as 1).
pub fn difference(data: &[f64], lag: usize) -> Vec<f64> {
    let lag = lag.max(1);
    (0..data.len()).map(|t| t.checked_sub(lag).map_or(f64::NAN, |before| data[t] - data[before])).collect()
}

/// The values that follow `history` when their differences at `lag` are `differences`. Where a value that it takes is
/// missing, the latest observed one of the same phase stands in.
pub fn inverse_difference(history: &[f64], differences: &[f64], lag: usize) -> Vec<f64> {
    let mut values = differences.to_vec();
    let mut ahead = super::step::Ahead { values: &mut values, outputs: 1, places: Places::counted(0), history };
    Difference { lag: lag.max(1) }.invert(&[], &mut ahead);
    values
}

/// The data without the straight line `slope * t + intercept` through it (least squares; `t` counts from 0), its slope
/// and intercept.
pub fn detrend(data: &[f64]) -> (Vec<f64>, f64, f64) {
    let [height, at, slope] = line(data, Places::counted(0)).unwrap_or([0.0; 3]);
    let values = data.iter().enumerate().map(|(t, v)| v - (height + slope * (t as f64 - at))).collect();
    (values, slope, height - slope * at)
}

/// The inverse of [`detrend`] for data whose first value stands at `start` (the number of rows for what follows them).
pub fn retrend(data: &[f64], slope: f64, intercept: f64, start: usize) -> Vec<f64> {
    data.iter().enumerate().map(|(i, v)| v + slope * (start + i) as f64 + intercept).collect()
}

/// Trend by a centred moving average over one season, season by means per phase, and the rest.
///
/// As `statsmodels.tsa.seasonal.seasonal_decompose(..., extrapolate_trend="period")`: at both ends the trend goes on as a
/// straight line through the season next to them, so that the parts make up the data in every row. Holes are bridged by
/// straight lines for the trend. [`super::Stl`] follows a season that changes.
///
/// # Errors
/// [`TransformError::TooShort`] for fewer than two seasons of rows, [`TransformError::Domain`] for values <= 0 and a
/// season that multiplies.
pub fn seasonal_decompose(data: &[f64], period: usize, model: Seasonality) -> Result<Decomposition, TransformError> {
    let (n, what) = (data.len(), || "a seasonal decomposition".to_owned());
    let needed = period.saturating_mul(2).max(4);
    if period < 2 || n < needed {
        return Err(TransformError::TooShort { what: what(), needed, rows: n });
    }
    let multiplies = model == Seasonality::Multiplicative;
    if let Some(row) = data.iter().position(|v| multiplies && v.is_finite() && *v <= 0.0) {
        let (step, expected) = ("seasonal_decompose".into(), "values > 0 for a multiplicative season");
        return Err(TransformError::Domain { step, series: None, row, value: data[row], expected });
    }
    let whole = super::stl::bridged(data).ok_or(TransformError::TooShort { what: what(), needed, rows: 0 })?;
    let half = period / 2;
    let mut trend = vec![f64::NAN; n];
    for (t, out) in trend.iter_mut().enumerate().take(n - half).skip(half) {
        let inner: f64 = whole[t - half + usize::from(period.is_multiple_of(2))..t + half + period % 2].iter().sum();
        // An even season has no middle row: the two rows at its ends count half.
        let ends = if period.is_multiple_of(2) { (whole[t - half] + whole[t + half]) / 2.0 } else { 0.0 };
        *out = (inner + ends) / period as f64;
    }
    extrapolate(&mut trend, half, n - half - 1, period);
    let apart = |a: f64, b: f64| if multiplies { a / b } else { a - b };
    let detrended: Vec<f64> = data.iter().zip(&trend).map(|(y, t)| apart(*y, *t)).collect();
    let mut profile: Vec<f64> = (0..period)
        .map(|phase| {
            let own = observed(&detrended.iter().skip(phase).step_by(period).copied().collect::<Vec<_>>());
            // A phase that was never observed has no season of its own.
            if own.is_empty() { if multiplies { 1.0 } else { 0.0 } } else { own.iter().sum::<f64>() / own.len() as f64 }
        })
        .collect();
    let mean = profile.iter().sum::<f64>() / period as f64;
    profile.iter_mut().for_each(|v| *v = apart(*v, mean));
    let seasonal: Vec<f64> = (0..n).map(|t| profile[t % period]).collect();
    let residual = detrended.iter().zip(&seasonal).map(|(d, s)| apart(*d, *s)).collect();
    Ok(Decomposition { trend, seasonal, residual })
}

/// Straight lines before `first` and after `last`, each through at most `points` values next to it.
fn extrapolate(trend: &mut [f64], first: usize, last: usize, points: usize) {
    let n = trend.len();
    for (from, to, fill) in
        [(first, (first + points).min(last), 0..first), (last.saturating_sub(points).max(first), last, last + 1..n)]
    {
        let Some([height, at, slope]) = line(&trend[from..to.max(from + 1)], Places::counted(0)) else { continue };
        for t in fill {
            trend[t] = height + slope * (t as f64 - from as f64 - at);
        }
    }
}

/// The data with outliers marked as missing: values more than `k` interquartile ranges below the first or above the third
/// quartile. Every row stays where it is.
pub fn remove_outliers(data: &[f64], k: f64) -> Vec<f64> {
    replace_outliers(data, Rule::Iqr, k, Replace::Missing)
}

/// The data with what `replace` says in place of the values that `rule` finds outside with `k`.
pub fn replace_outliers(data: &[f64], rule: Rule, k: f64, replace: Replace) -> Vec<f64> {
    let mut values = data.to_vec();
    if let Some(limits) = rule.limits(data, k) {
        let median = median(&mut observed(data)).unwrap_or(f64::NAN);
        replace.put(&mut values, limits, median);
    }
    values
}

/// The data with values beyond its quantiles `lower` and `upper` cut off there.
pub fn winsorize(data: &[f64], lower: f64, upper: f64) -> Vec<f64> {
    let mut values = data.to_vec();
    let (lower, upper) = (lower.clamp(0.0, 1.0), upper.clamp(0.0, 1.0));
    if let Some((low, high)) = (Winsorize { lower, upper }).limits(data).filter(|(low, high)| low <= high) {
        Replace::Limit.put(&mut values, (low, high), f64::NAN);
    }
    values
}

/// Writes parameters (of a function here, or a fitted pipeline) as JSON: aside, synced, renamed.
///
/// # Errors
/// [`TransformError::File`] when the file system refuses.
pub fn save_parameters<T: Serialize>(params: &T, path: &Path) -> Result<(), TransformError> {
    let failed = |detail: String| TransformError::File { action: "write", path: path.into(), detail };
    let text = serde_json::to_string_pretty(params).map_err(|e| failed(e.to_string()))?;
    write_atomic(path, |out| out.write_all(text.as_bytes())).map_err(|e| failed(e.to_string()))
}

/// Reads what [`save_parameters`] wrote.
///
/// # Errors
/// [`TransformError::File`] when it cannot be read, or is not what was asked for.
pub fn load_parameters<T: DeserializeOwned>(path: &Path) -> Result<T, TransformError> {
    let failed = |detail: String| TransformError::File { action: "read", path: path.into(), detail };
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_saved_and_loaded_and_undo_the_scaling() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("norm_params.json");
        let data = [1.0, 5.0, f64::NAN, 1.0 / 3.0, 9.5];
        let (values, params) = normalize(&data);
        save_parameters(&params, &path).unwrap();
        let loaded: NormalizationParams = load_parameters(&path).unwrap();
        assert_eq!(loaded, params);
        let back = denormalize(&values, &loaded);
        assert!(back.iter().zip(&data).all(|(a, b)| (a - b).abs() < 1e-12 || b.is_nan()));
        assert_eq!(normalize_with_params(&[params.mean], &loaded), [0.0]);
        assert!(load_parameters::<RobustParams>(&path).unwrap_err().to_string().contains("norm_params.json"));
        std::fs::write(&path, "{").unwrap();
        assert!(load_parameters::<NormalizationParams>(&path).is_err());
    }

    #[test]
    fn data_without_spread_is_divided_by_one() {
        assert_eq!(
            normalize(&[4.0; 3]),
            (vec![0.0; 3], NormalizationParams { mean: 4.0, std: 0.0, min: 4.0, max: 4.0 })
        );
        assert_eq!(min_max_scale(&[4.0; 3]).0, [0.0; 3]);
        assert_eq!(robust_scale(&[4.0; 3]).0, [0.0; 3]);
        assert_eq!(normalize(&[]).0, Vec::<f64>::new());
    }

    #[test]
    fn every_scaling_is_undone() {
        let data = [3.0, -1.0, 4.0, 1.5, 9.0];
        let near = |back: Vec<f64>| back.iter().zip(&data).all(|(a, b)| (a - b).abs() < 1e-12);
        let (z, p) = min_max_scale(&data);
        assert!(z.iter().all(|v| (0.0..=1.0).contains(v)) && near(min_max_inverse(&z, &p)));
        let (z, p) = robust_scale(&data);
        assert!(z[0] == 0.0 && near(robust_scale_inverse(&z, &p)));
        let (z, slope, intercept) = detrend(&data);
        assert!(near(retrend(&z, slope, intercept, 0)));
        let differences = difference(&data, 2);
        assert_eq!(inverse_difference(&data[..3], &differences[3..], 2), data[3..]);
        assert_eq!(difference(&data, 1)[1..], [-4.0, 5.0, -2.5, 7.5]);
    }

    #[test]
    fn outliers_are_marked_and_rows_stay() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 1000.0, f64::NAN];
        let kept = remove_outliers(&data, 3.0);
        assert_eq!(kept.len(), data.len());
        assert!(kept[5].is_nan() && kept[6].is_nan() && kept[..5] == data[..5]);
        assert_eq!(winsorize(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.25, 0.75), [1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(winsorize(&[5.0, 1.0], 0.9, 0.1), [5.0, 1.0]);
        assert!(log_transform(&[1.0, -1.0]).is_err());
    }

    #[test]
    fn the_parts_make_up_the_data_in_every_row() {
        let mut data: Vec<f64> =
            (0..50).map(|t| 20.0 + t as f64 + [4.0, -1.0, -3.0][t % 3] + (t * 7 % 5) as f64).collect();
        data[10] = f64::NAN;
        for model in [Seasonality::Additive, Seasonality::Multiplicative] {
            for period in [3, 4] {
                let Decomposition { trend, seasonal, residual } = seasonal_decompose(&data, period, model).unwrap();
                for t in (0..50).filter(|t| *t != 10) {
                    let made = match model {
                        Seasonality::Additive => trend[t] + seasonal[t] + residual[t],
                        Seasonality::Multiplicative => trend[t] * seasonal[t] * residual[t],
                    };
                    assert!((made - data[t]).abs() < 1e-9, "{t} {model:?}");
                }
                assert!(residual[10].is_nan() && trend[10].is_finite() && seasonal[10].is_finite());
            }
        }
        assert!(seasonal_decompose(&data[..5], 3, Seasonality::Additive).is_err());
        assert!(seasonal_decompose(&[-1.0; 9], 3, Seasonality::Multiplicative).is_err());
    }
}
