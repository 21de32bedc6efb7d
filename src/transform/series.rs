//! `SeriesScaler`: one shift and one scale per series, `z = (x - shift) / scale`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::statistics::{mean_std, median, min_max, quantile};
use super::{ScalerKind, TransformError};

/// A fitted scaler of many series.
///
/// Values that are not finite are skipped when fitting and stay what they are when scaled. A series without an observed
/// value has shift 0 and scale 1, one without spread has scale 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesScaler {
    /// What was fitted.
    pub kind: ScalerKind,
    /// What is subtracted, one per series, in the units of the series.
    pub shift: Vec<f64>,
    /// What is divided by, one per series, in the units of the series; greater than 0.
    pub scale: Vec<f64>,
}

impl SeriesScaler {
    /// The scaler that changes nothing, for `n_series` series.
    pub fn none(n_series: usize) -> Self {
        Self { kind: ScalerKind::None, shift: vec![0.0; n_series], scale: vec![1.0; n_series] }
    }

    /// Fits `kind` on each of `series`. Pass the train rows only: whatever is passed here, the model knows.
    pub fn fit<'a>(kind: ScalerKind, series: impl Iterator<Item = &'a [f64]>) -> Self {
        let series: Vec<&[f64]> = series.collect();
        let fit = |observed: &mut Vec<f64>, values: &&[f64]| {
            observed.clear();
            if kind != ScalerKind::None {
                observed.extend(values.iter().copied().filter(|v| v.is_finite()));
            }
            let (shift, scale) = statistics(kind, observed).unwrap_or((0.0, 1.0));
            // Sums of values near the end of the range of f64 overflow; such a series is better left as it is.
            let usable = shift.is_finite() && scale.is_finite();
            (if usable { shift } else { 0.0 }, if usable && scale > 0.0 { scale } else { 1.0 })
        };
        let (shift, scale) = series.par_iter().map_init(Vec::new, fit).unzip();
        Self { kind, shift, scale }
    }

    /// Number of series it was fitted on.
    pub fn n_series(&self) -> usize {
        self.shift.len()
    }

    /// Checks values that came from a file: one finite shift and one finite scale > 0 for each of `n_series` series.
    ///
    /// # Errors
    /// [`TransformError::SeriesCount`] or [`TransformError::Fitted`].
    pub fn check(&self, n_series: usize) -> Result<(), TransformError> {
        if self.shift.len() != n_series || self.scale.len() != n_series {
            return Err(TransformError::SeriesCount {
                shifts: self.shift.len(),
                scales: self.scale.len(),
                expected: n_series,
            });
        }
        for (series, (&shift, &scale)) in self.shift.iter().zip(&self.scale).enumerate() {
            if !shift.is_finite() || !scale.is_finite() || scale <= 0.0 {
                return Err(TransformError::Fitted { series, shift, scale });
            }
        }
        Ok(())
    }

    /// The scaler of the series `numbers`, in their order; `None` if one of them was not fitted.
    pub fn select(&self, numbers: &[usize]) -> Option<Self> {
        let pick = |values: &[f64]| numbers.iter().map(|s| values.get(*s).copied()).collect::<Option<Vec<_>>>();
        Some(Self { kind: self.kind, shift: pick(&self.shift)?, scale: pick(&self.scale)? })
    }

    /// `x` of series `s` in scaled units.
    ///
    /// # Panics
    /// If series `s` was not fitted.
    #[inline]
    pub fn apply(&self, s: usize, x: f64) -> f64 {
        (x - self.shift[s]) / self.scale[s]
    }

    /// The scaled value `z` of series `s` in the units of the series.
    ///
    /// # Panics
    /// If series `s` was not fitted.
    #[inline]
    pub fn invert(&self, s: usize, z: f64) -> f64 {
        z * self.scale[s] + self.shift[s]
    }

    /// Scales values of series `s` in place.
    ///
    /// # Panics
    /// If series `s` was not fitted.
    pub fn apply_all(&self, s: usize, values: &mut [f64]) {
        for v in values {
            *v = self.apply(s, *v);
        }
    }
}

/// Shift and scale of the observed values `x`, reordering them; `None` where there are none.
fn statistics(kind: ScalerKind, x: &mut [f64]) -> Option<(f64, f64)> {
    match kind {
        ScalerKind::None => Some((0.0, 1.0)),
        ScalerKind::Standard => mean_std(x),
        ScalerKind::Robust => {
            let centre = median(x)?;
            for v in x.iter_mut() {
                *v = (*v - centre).abs();
            }
            Some((centre, median(x)?))
        }
        ScalerKind::RobustIqr => Some((median(x)?, quantile(x, 0.75)? - quantile(x, 0.25)?)),
        ScalerKind::MinMax => min_max(x).map(|(lo, hi)| (lo, hi - lo)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(kind: ScalerKind, x: &[f64]) -> (f64, f64) {
        let scaler = SeriesScaler::fit(kind, std::iter::once(x));
        (scaler.shift[0], scaler.scale[0])
    }

    #[test]
    fn each_kind_by_hand() {
        // Sorted 1 2 3 4 10; mean 4, squared deviations 9 4 1 0 36; deviations from the median 3: 0 1 1 2 7.
        let x = [10.0, 2.0, f64::NAN, 3.0, 1.0, 4.0];
        assert_eq!(fitted(ScalerKind::None, &x), (0.0, 1.0));
        assert_eq!(fitted(ScalerKind::Standard, &x), (4.0, 10.0f64.sqrt()));
        assert_eq!(fitted(ScalerKind::Robust, &x), (3.0, 1.0));
        assert_eq!(fitted(ScalerKind::RobustIqr, &x), (3.0, 2.0));
        assert_eq!(fitted(ScalerKind::MinMax, &x), (1.0, 9.0));
    }

    #[test]
    fn a_series_without_spread_or_values_keeps_scale_one() {
        for kind in ScalerKind::ALL {
            let (shift, scale) = fitted(kind, &[0.1; 7]);
            assert_eq!((shift, scale), (if kind == ScalerKind::None { 0.0 } else { 0.1 }, 1.0), "{kind}");
            assert_eq!(fitted(kind, &[]), (0.0, 1.0), "{kind}");
            assert_eq!(fitted(kind, &[f64::NAN, f64::INFINITY]), (0.0, 1.0), "{kind}");
            assert_eq!(fitted(kind, &[f64::MAX, -f64::MAX]).1, 1.0, "{kind}");
        }
    }

    #[test]
    fn inverse_gives_back_each_series_in_its_own_units() {
        let series: [&[f64]; 2] = [&[1.0, 5.0, 9.5], &[1000.0, 1300.0, 900.0]];
        for kind in ScalerKind::ALL {
            let scaler = SeriesScaler::fit(kind, series.into_iter());
            assert_eq!(scaler.n_series(), 2);
            for (s, values) in series.iter().enumerate() {
                let mut scaled = values.to_vec();
                scaler.apply_all(s, &mut scaled);
                for (x, z) in values.iter().zip(&scaled) {
                    assert!((scaler.invert(s, *z) - x).abs() < 1e-9, "{kind}");
                }
            }
            assert!(scaler.apply(0, f64::NAN).is_nan());
        }
    }

    #[test]
    fn select_reorders_series_and_refuses_unknown_ones() {
        let series: [&[f64]; 3] = [&[0.0, 2.0], &[0.0, 20.0], &[0.0, 200.0]];
        let scaler = SeriesScaler::fit(ScalerKind::MinMax, series.into_iter());
        assert_eq!(scaler.select(&[2, 0]).unwrap().scale, [200.0, 2.0]);
        assert_eq!(scaler.select(&[3]), None);
    }

    #[test]
    fn check_refuses_damaged_values() {
        let mut scaler = SeriesScaler::none(2);
        assert_eq!(scaler.check(2), Ok(()));
        assert!(matches!(scaler.check(3), Err(TransformError::SeriesCount { expected: 3, .. })));
        scaler.scale[1] = 0.0;
        assert!(matches!(scaler.check(2), Err(TransformError::Fitted { series: 1, .. })));
    }

    #[test]
    fn saved_and_read_back_it_is_the_same() {
        let scaler = SeriesScaler::fit(ScalerKind::Standard, std::iter::once(&[0.1, 0.7, 1.0 / 3.0][..]));
        let text = serde_json::to_string(&scaler).unwrap();
        assert_eq!(serde_json::from_str::<SeriesScaler>(&text).unwrap(), scaler);
    }
}
