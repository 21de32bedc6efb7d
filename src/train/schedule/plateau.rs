//! A rate that follows the validation loss: the one schedule with a state, which the training loop keeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{floor, within};
use crate::error::InvalidSetting;

/// Lowers the rate by `factor` after more than `patience` validations in a row without an improvement of the validation loss
/// (PyTorch's `ReduceLROnPlateau`, mode `min`, relative threshold).
///
/// The defaults are not PyTorch's (`patience` 10, `factor` 0.1): there, early stopping with its own patience of 10 would
/// end a run before the first reduction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauRules {
    /// Validations without improvement that are borne; the next one lowers the rate.
    pub patience: usize,
    /// What the rate is multiplied by, 0 < factor < 1.
    pub factor: f64,
    /// The rate is not lowered below this, 0 <= min_lr <= lr.
    pub min_lr: f64,
    /// An improvement is a loss below `best * (1 - threshold)`, 0 <= threshold < 1.
    pub threshold: f64,
    /// Validations after a reduction in which no bad one is counted.
    pub cooldown: usize,
}

impl Default for PlateauRules {
    fn default() -> Self {
        Self { patience: 3, factor: 0.5, min_lr: 0.0, threshold: 1e-4, cooldown: 0 }
    }
}

/// A reduction of the rate by no more than this is not made, as in PyTorch.
const LEAST_REDUCTION: f64 = 1e-8;

impl PlateauRules {
    pub(super) fn check(&self, lr: f64) -> Result<(), InvalidSetting> {
        let Self { factor, threshold, .. } = *self;
        within("factor", factor, factor > 0.0 && factor < 1.0, "0 < factor < 1", "0.5 halves the rate")?;
        let share = (0.0..1.0).contains(&threshold);
        within("threshold", threshold, share, "0 <= threshold < 1", "0.0001 is usual, 0 counts any improvement")?;
        floor("min_lr", self.min_lr, lr)
    }
}

/// What the plateau schedule remembers from one validation to the next. It is exact to the bit when it is written as
/// JSON and read again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// The lowest validation loss that counted as an improvement; `None` before the first validation.
    pub best: Option<f64>,
    /// Validations in a row without improvement.
    pub bad: usize,
    /// Validations that the cooldown still lasts.
    pub cooldown_left: usize,
    /// What the learning rate is multiplied by, 1 at the start.
    pub factor: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { best: None, bad: 0, cooldown_left: 0, factor: 1.0 }
    }
}

impl Plateau {
    /// Takes in the loss of a validation and returns the factor on the rate `lr` from now on.
    pub fn after(&mut self, loss: f64, rules: &PlateauRules, lr: f64) -> f64 {
        if loss < self.best.map_or(f64::INFINITY, |best| best * (1.0 - rules.threshold)) {
            (self.best, self.bad) = (Some(loss), 0);
        } else {
            self.bad += 1;
        }
        if self.cooldown_left > 0 {
            (self.cooldown_left, self.bad) = (self.cooldown_left - 1, 0);
        }
        if self.bad > rules.patience {
            let old = lr * self.factor;
            let new = (old * rules.factor).max(rules.min_lr);
            if old - new > LEAST_REDUCTION {
                self.factor = new / lr;
            }
            (self.cooldown_left, self.bad) = (rules.cooldown, 0);
        }
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates after validations with these losses, from a rate of 1.
    fn rates(rules: PlateauRules, losses: &[f64]) -> Vec<f64> {
        let mut state = Plateau::default();
        losses.iter().map(|loss| state.after(*loss, &rules, 1.0)).collect()
    }

    #[test]
    fn by_hand_with_cooldown_and_floor() {
        let rules = PlateauRules { patience: 1, factor: 0.5, min_lr: 0.2, threshold: 0.1, cooldown: 2 };
        // 10 is the best. 9.5 is no improvement (9 is the mark): bad 1. 9.2: bad 2 > 1, halved, cooldown 2.
        // 9.1 and 9.05 fall into the cooldown: not counted. 9.04: bad 1. 9.03: bad 2, halved to 0.25, cooldown 2.
        // 5 is the best (in the cooldown, still remembered); 5: the last of the cooldown.
        // 5: bad 1. 5: bad 2, 0.125 is below the floor: 0.2, cooldown 2. Four more, and it stays at the floor.
        let losses = [10.0, 9.5, 9.2, 9.1, 9.05, 9.04, 9.03, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0];
        let want = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2];
        assert_eq!(rates(rules, &losses), want);
    }

    #[test]
    fn an_improvement_starts_the_count_anew() {
        let rules = PlateauRules { patience: 1, threshold: 0.0, ..PlateauRules::default() };
        assert_eq!(rates(rules, &[3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0]), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        // A loss that is no number improves nothing, not even in the beginning.
        let mut state = Plateau::default();
        state.after(f64::NAN, &rules, 1.0);
        assert_eq!((state.best, state.bad), (None, 1));
    }

    #[test]
    fn a_state_that_was_written_and_read_goes_on_with_the_same_bits() {
        let rules = PlateauRules { patience: 0, factor: 1.0 / 3.0, threshold: 0.0, ..PlateauRules::default() };
        let mut state = Plateau::default();
        for loss in [0.1 + 0.2, 1.0, 2.0, 1.0 / 3.0] {
            let text = serde_json::to_string(&state).unwrap();
            let mut copy: Plateau = serde_json::from_str(&text).unwrap();
            assert_eq!(copy, state, "{text}");
            assert_eq!(copy.after(loss, &rules, 0.7).to_bits(), state.after(loss, &rules, 0.7).to_bits());
        }
        assert!(state.factor < 0.2);
    }
}
