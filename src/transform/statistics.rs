//! Location and spread of a handful of values, shared by the scalers of series and of windows.

/// Mean and population standard deviation; `None` for no values.
///
/// Equal values have exactly a spread of 0: rounding of the mean must not look like spread, for a scaler would blow it up.
pub(crate) fn mean_std(x: &[f64]) -> Option<(f64, f64)> {
    let (&first, rest) = x.split_first()?;
    if rest.iter().all(|v| *v == first) {
        return Some((first, 0.0));
    }
    let n = x.len() as f64;
    let rough = x.iter().sum::<f64>() / n;
    // The second pass takes out most of the rounding of the first.
    let mean = rough + x.iter().map(|v| v - rough).sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    Some((mean, variance.sqrt()))
}

/// Smallest and largest value; `None` for no values.
pub(crate) fn min_max(x: &[f64]) -> Option<(f64, f64)> {
    let (&first, rest) = x.split_first()?;
    Some(rest.iter().fold((first, first), |(lo, hi), v| (lo.min(*v), hi.max(*v))))
}

/// The median, of an even number of values the lower of the two in the middle (torch's `median`); reorders `x`.
pub(crate) fn lower_median(x: &mut [f64]) -> Option<f64> {
    if x.is_empty() {
        return None;
    }
    let middle = (x.len() - 1) / 2;
    Some(*x.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The quantile `q` in `0..=1` with linear interpolation between neighbours (numpy's default); reorders `x`.
pub(crate) fn quantile(x: &mut [f64], q: f64) -> Option<f64> {
    if x.is_empty() {
        return None;
    }
    let place = q * (x.len() - 1) as f64;
    let below = (place.floor() as usize).min(x.len() - 1);
    let (_, &mut low, above) = x.select_nth_unstable_by(below, f64::total_cmp);
    let share = place - below as f64;
    match above.iter().copied().min_by(f64::total_cmp) {
        Some(high) if share > 0.0 => Some(low + (high - low) * share),
        _ => Some(low),
    }
}

/// The median, of an even number of values the mean of the two in the middle; reorders `x`.
pub(crate) fn median(x: &mut [f64]) -> Option<f64> {
    quantile(x, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_population_deviation() {
        assert_eq!(mean_std(&[1.0, 3.0]), Some((2.0, 1.0)));
        assert_eq!(mean_std(&[]), None);
    }

    #[test]
    fn equal_values_have_no_spread_at_all() {
        // The plain sum of 0.1 over 10 values is not 1, so its mean is not 0.1.
        assert_ne!([0.1; 10].iter().sum::<f64>() / 10.0, 0.1);
        assert_eq!(mean_std(&[0.1; 10]), Some((0.1, 0.0)));
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(lower_median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(lower_median(&mut [9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&mut [9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        // Place 0.25 * 4 = 1 of 1, 2, 4, 8, 16; then 0.3 * 4 = 1.2: a fifth of the way from 2 to 4.
        let x = [16.0, 2.0, 8.0, 1.0, 4.0];
        assert_eq!(quantile(&mut x.clone(), 0.25), Some(2.0));
        assert!((quantile(&mut x.clone(), 0.3).unwrap() - 2.4).abs() < 1e-12);
        assert_eq!(quantile(&mut x.clone(), 1.0), Some(16.0));
    }

    #[test]
    fn smallest_and_largest() {
        assert_eq!(min_max(&[2.0, -1.0, 5.0]), Some((-1.0, 5.0)));
        assert_eq!(min_max(&[]), None);
    }
}
