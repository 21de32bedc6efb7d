//! `EarlyStopping`: when validation no longer improves.

use serde::{Deserialize, Serialize};

/// Counts validations without improvement. Its state is two numbers, which a checkpoint holds.
///
/// An improvement is a loss below `reference - min_delta`, where the reference is the loss of the last improvement: many
/// small steps down that never add up to `min_delta` from there do not count, as in Keras and PyTorch Lightning.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The loss of the last improvement; `None` before the first validation.
    pub reference: Option<f64>,
    /// Validations since then.
    pub stale: usize,
}

impl EarlyStopping {
    /// Takes a validation's loss; says whether `patience` validations have brought no improvement. 0 never stops.
    pub fn after(&mut self, loss: f64, patience: usize, min_delta: f64) -> bool {
        if self.reference.is_none_or(|reference| loss < reference - min_delta) {
            (self.reference, self.stale) = (Some(loss), 0);
        } else {
            self.stale += 1;
        }
        patience > 0 && self.stale >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the validation (from 1) after which a curve is stopped.
    fn stops_at(curve: &[f64], patience: usize, min_delta: f64) -> Option<usize> {
        let mut stopping = EarlyStopping::default();
        curve.iter().position(|loss| stopping.after(*loss, patience, min_delta)).map(|i| i + 1)
    }

    #[test]
    fn a_constructed_curve_stops_at_the_right_epoch() {
        // Best at 4; 5, 6 and 7 are worse.
        let curve = [1.0, 0.8, 0.7, 0.6, 0.65, 0.61, 0.62, 0.1];
        assert_eq!(stops_at(&curve, 3, 0.0), Some(7));
        assert_eq!(stops_at(&curve, 2, 0.0), Some(6));
        assert_eq!(stops_at(&curve, 4, 0.0), None, "0.1 comes in time");
        assert_eq!(stops_at(&curve, 0, 0.0), None, "off");
    }

    #[test]
    fn improvements_smaller_than_min_delta_do_not_count() {
        // Each is better than the one before by 0.04, but only every third is better than the reference by 0.1.
        let curve = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72];
        assert_eq!(stops_at(&curve, 3, 0.1), None);
        assert_eq!(stops_at(&curve, 2, 0.1), Some(3));
        assert_eq!(stops_at(&[1.0, 0.9, 0.9], 1, 0.1), Some(2), "exactly min_delta is no improvement");
    }
}
