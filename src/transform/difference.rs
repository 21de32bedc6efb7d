//! Differences to an earlier row, and adding them up again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::places::Places;
use super::step::{Ahead, Transform};
use crate::error::InvalidSetting;

/// `z[t] = x[t] - x[t - lag]`, in rows: 1 takes out a level that wanders, the length of a season takes out the season.
///
/// The first `lag` rows have no difference and are missing, as are rows beside a missing one.
///
/// Undoing it adds the forecast differences to the last observed values, `lag` steps at a time; where one of those is
/// missing, the latest observed value of the same phase stands in for it. Up to `lag` steps ahead that is a shift, and an
/// interval keeps its width. Further ahead the differences of several steps add up, each quantile along its own path:
/// the interval is the one for errors that all go the same way, which is the widest that its steps allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Difference {
    /// Rows back, at least 1.
    pub lag: usize,
}

impl Default for Difference {
    fn default() -> Self {
        Self { lag: 1 }
    }
}

impl Difference {
    pub(super) fn check(&self) -> Result<(), TransformError> {
        if self.lag == 0 {
            return Err(InvalidSetting::new("transform.target.lag", 0, "at least 1 row", "1 is the row before").into());
        }
        Ok(())
    }
}

impl Transform for Difference {
    fn width(&self) -> usize {
        0
    }

    fn fit(&self, _: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
        Ok(Some(Vec::new()))
    }

    fn identity(&self) -> Vec<f64> {
        Vec::new()
    }

    fn usable(&self, _: &[f64]) -> bool {
        true
    }

    fn apply(&self, _: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
        // From the last row on, so that earlier ones are still what they were.
        for t in (0..rows.len()).rev() {
            rows[t] = t.checked_sub(self.lag).map_or(f64::NAN, |before| rows[t] - rows[before]);
        }
        Ok(())
    }

    fn invert(&self, _: &[f64], ahead: &mut Ahead<'_>) {
        let (outputs, lag) = (ahead.outputs.max(1), self.lag);
        let steps = ahead.values.len() / outputs;
        for k in 0..steps {
            for q in 0..outputs {
                let base = match k.checked_sub(lag) {
                    Some(before) => ahead.values[before * outputs + q],
                    None => base(ahead.history, lag, k),
                };
                ahead.values[k * outputs + q] += base;
            }
        }
    }

    fn looks_back(&self) -> bool {
        true
    }
}

/// The latest observed value of the phase that step `k < lag` ahead belongs to; of any phase where that one was never
/// observed; NaN where nothing was.
pub(super) fn base(history: &[f64], lag: usize, k: usize) -> f64 {
    let same_phase = (1..).map_while(|back: usize| (history.len() + k).checked_sub(back.checked_mul(lag)?));
    let observed = |v: &&f64| v.is_finite();
    same_phase
        .filter_map(|row| history.get(row))
        .find(observed)
        .or_else(|| history.iter().rev().find(observed))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invert(lag: usize, history: &[f64], mut values: Vec<f64>, outputs: usize) -> Vec<f64> {
        let mut ahead = Ahead { values: &mut values, outputs, places: Places::counted(0), history };
        Difference { lag }.invert(&[], &mut ahead);
        values
    }

    #[test]
    fn differences_add_up_to_the_values() {
        let x = [3.0, 5.0, 4.0, 8.0, 9.0, 7.0, 12.0];
        for lag in 1..4 {
            let mut z = x.to_vec();
            Difference { lag }.apply(&[], &mut z, Places::counted(0)).unwrap();
            assert!(z[..lag].iter().all(|v| v.is_nan()));
            assert_eq!(z[lag], x[lag] - x[0]);
            assert_eq!(invert(lag, &x[..4], z[4..].to_vec(), 1), x[4..], "lag {lag}");
        }
    }

    #[test]
    fn each_quantile_goes_its_own_way() {
        assert_eq!(invert(1, &[10.0], vec![-1.0, 1.0, -1.0, 2.0], 2), [9.0, 11.0, 8.0, 13.0]);
        // Within one lag the interval keeps its width.
        assert_eq!(invert(2, &[10.0, 20.0], vec![-1.0, 1.0, -1.0, 2.0], 2), [9.0, 11.0, 19.0, 22.0]);
    }

    #[test]
    fn a_missing_value_gives_way_to_the_one_before_it() {
        let hole = f64::NAN;
        let mut z = [1.0, hole, 3.0, 6.0];
        Difference { lag: 1 }.apply(&[], &mut z, Places::counted(0)).unwrap();
        assert!(z[..3].iter().all(|v| v.is_nan()) && z[3] == 3.0);
        assert_eq!(invert(1, &[7.0, hole, hole], vec![1.0], 1), [8.0]);
        // Phase 0 was last seen two lags ago; phase 1 never, so that the latest value of all stands in.
        assert_eq!(invert(2, &[5.0, hole, hole, hole], vec![1.0, 1.0], 1), [6.0, 6.0]);
        assert!(invert(2, &[hole], vec![1.0], 1)[0].is_nan());
        assert_eq!(invert(3, &[1.0], vec![1.0; 3], 1), [2.0; 3]);
    }
}
