//! Quantiles, the levels of the intervals between them, and the suffixes of their columns.

use super::LossError;
use crate::error::InvalidSetting;

/// The quantiles of the median and of central intervals with the given levels in percent: 0.5 first, then ascending.
///
/// Levels 80 and 90 give 0.5, 0.05, 0.1, 0.9, 0.95, in neuralforecast's order.
///
/// # Errors
/// No level, a level outside `(0, 100)`, or one given twice.
pub fn quantiles_from_levels(levels: &[f64]) -> Result<Vec<f64>, LossError> {
    let invalid = |value: String, allowed: &str| {
        LossError::Setting(InvalidSetting::new("level", value, allowed, "use 80,90 for 80% and 90% intervals"))
    };
    if levels.is_empty() {
        return Err(invalid("an empty list".to_string(), "at least one level in percent"));
    }
    for (i, level) in levels.iter().enumerate() {
        if !(*level > 0.0 && *level < 100.0) {
            return Err(invalid(level.to_string(), "percentages above 0 and below 100"));
        }
        if levels[..i].contains(level) {
            return Err(invalid(level.to_string(), "each level once"));
        }
    }
    let mut outer: Vec<f64> =
        levels.iter().flat_map(|l| [(50.0 - l / 2.0) / 100.0, (50.0 + l / 2.0) / 100.0]).collect();
    outer.sort_by(f64::total_cmp);
    Ok(std::iter::once(0.5).chain(outer).collect())
}

/// The suffix of the forecast column of quantile `q`: `-median`, `-lo-80` for 0.1, `-hi-97.5` for 0.9875.
pub fn quantile_name(q: f64) -> String {
    // To two decimals as neuralforecast has it; Rust's display drops what is zero behind the point.
    let rounded = |level: f64| (level * 100.0).round() / 100.0;
    match q.total_cmp(&0.5) {
        std::cmp::Ordering::Less => format!("-lo-{}", rounded(100.0 - 200.0 * q)),
        std::cmp::Ordering::Equal => "-median".to_string(),
        std::cmp::Ordering::Greater => format!("-hi-{}", rounded(200.0 * q - 100.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_the_median_and_ascending_quantiles() {
        let got = quantiles_from_levels(&[80.0, 90.0]).unwrap();
        for (got, want) in got.iter().zip([0.5, 0.05, 0.1, 0.9, 0.95]) {
            assert!((got - want).abs() < 1e-12, "{got} and {want}");
        }
        let names: Vec<_> = got.into_iter().map(quantile_name).collect();
        assert_eq!(names, ["-median", "-lo-90", "-lo-80", "-hi-80", "-hi-90"]);
        assert_eq!(quantile_name(0.9875), "-hi-97.5");
    }

    #[test]
    fn levels_out_of_range_or_twice_are_refused() {
        for bad in [vec![], vec![0.0], vec![100.0], vec![-1.0], vec![f64::NAN], vec![80.0, 80.0]] {
            assert!(quantiles_from_levels(&bad).is_err(), "{bad:?}");
        }
    }
}
