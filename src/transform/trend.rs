//! A straight line through a series, taken out and put back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::places::Places;
use super::step::{Ahead, Transform};

/// Without the straight line through the train rows (least squares); it goes on beyond them. Time is counted in steps of
/// the calendar, so that fresh data that begins at another row has the same line.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detrend {}

/// A line: its height at a place, the place, and its slope per step.
pub(super) fn line(values: &[f64], places: Places<'_>) -> Option<[f64; 3]> {
    let seen = || values.iter().enumerate().filter(|(_, v)| v.is_finite()).map(|(i, v)| (places.at(i), *v));
    let (first, _) = seen().next()?;
    let n = seen().count() as f64;
    // Places and values around their means: sums of squares of large numbers would lose the slope.
    let since = |t: i64| t.saturating_sub(first) as f64;
    let centre = seen().map(|(t, _)| since(t)).sum::<f64>() / n;
    let level = seen().map(|(_, v)| v).sum::<f64>() / n;
    let (mut across, mut along) = (0.0, 0.0);
    for (t, v) in seen() {
        let d = since(t) - centre;
        across += d * (v - level);
        along += d * d;
    }
    let slope = if along > 0.0 { across / along } else { 0.0 };
    // The height at a whole step near the middle, which f64 holds exactly.
    let middle = centre.round();
    let found = [level + slope * (middle - centre), first as f64 + middle, slope];
    found.iter().all(|v| v.is_finite()).then_some(found)
}

#[inline]
fn height(fitted: &[f64], place: i64) -> f64 {
    fitted[0] + fitted[2] * (place as f64 - fitted[1])
}

impl Transform for Detrend {
    fn width(&self) -> usize {
        3
    }

    fn fit(&self, train: &[f64], places: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
        Ok(line(train, places).map(Vec::from))
    }

    fn identity(&self) -> Vec<f64> {
        vec![0.0; 3]
    }

    fn usable(&self, _: &[f64]) -> bool {
        true
    }

    fn apply(&self, fitted: &[f64], rows: &mut [f64], places: Places<'_>) -> Result<(), TransformError> {
        for (i, v) in rows.iter_mut().enumerate() {
            *v -= height(fitted, places.at(i));
        }
        Ok(())
    }

    fn invert(&self, fitted: &[f64], ahead: &mut Ahead<'_>) {
        ahead.each(|z, place| z + height(fitted, place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_holes_is_found_and_goes_on() {
        let x: Vec<f64> = (0..50).map(|i| if i % 7 == 3 { f64::NAN } else { 5.0 - 0.25 * f64::from(i) }).collect();
        let fitted = Detrend {}.fit(&x, Places::counted(1_000_000)).unwrap().unwrap();
        assert!((fitted[2] + 0.25).abs() < 1e-12);
        let mut rows = x.clone();
        Detrend {}.apply(&fitted, &mut rows, Places::counted(1_000_000)).unwrap();
        assert!(rows.iter().all(|v| v.is_nan() || v.abs() < 1e-9));
        let mut values = [0.0, 1.0];
        let mut ahead = Ahead { values: &mut values, outputs: 2, places: Places::counted(1_000_060), history: &[] };
        Detrend {}.invert(&fitted, &mut ahead);
        assert!((values[0] + 10.0).abs() < 1e-9 && (values[1] - values[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn time_is_that_of_the_calendar() {
        // Rows 0 1 2 of a sequence that stands at 0, 1, 10.
        let fitted = line(&[0.0, 2.0, 20.0], Places::listed(&[0, 1, 10])).unwrap();
        assert!((fitted[2] - 2.0).abs() < 1e-12);
        assert_eq!(line(&[f64::NAN], Places::counted(0)), None);
        assert_eq!(line(&[4.0], Places::counted(9)), Some([4.0, 9.0, 0.0]));
    }
}
