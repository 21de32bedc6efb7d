//! Half cosines one after the other: warm restarts (Loshchilov and Hutter 2017, arXiv 1608.03983).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{at_least_one, floor, half_cosine};
use crate::error::InvalidSetting;

/// From `lr` down to `eta_min` along half a cosine within `t_0` steps (epochs), then from `lr` again within `t_0 * t_mult`,
/// and so on (PyTorch's `CosineAnnealingWarmRestarts`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosineRestarts {
    /// Count until the first restart, >= 1; if absent, such that the run is filled by three cycles.
    pub t_0: Option<usize>,
    /// How many times longer each cycle is than the one before it, >= 1.
    pub t_mult: usize,
    /// The rate at the end of each cycle, 0 <= eta_min <= lr.
    pub eta_min: f64,
}

impl Default for CosineRestarts {
    fn default() -> Self {
        Self { t_0: None, t_mult: 1, eta_min: 0.0 }
    }
}

impl CosineRestarts {
    pub(super) fn check(&self, lr: f64) -> Result<(), InvalidSetting> {
        at_least_one("t_0", self.t_0, "leave it out for three cycles")?;
        at_least_one("t_mult", Some(self.t_mult), "1 makes all cycles as long as the first")?;
        floor("eta_min", self.eta_min, lr)
    }

    pub(super) fn rate(&self, lr: f64, n: usize, all: usize) -> f64 {
        let m = self.t_mult;
        // Rounded up: a fourth cycle of a few steps would end the run at the highest rate.
        let cycles = m.saturating_mul(m).saturating_add(m).saturating_add(1);
        let mut length = self.t_0.unwrap_or_else(|| all.div_ceil(cycles)).max(1);
        let mut n = n;
        if m <= 1 {
            n %= length;
        } else {
            // Lengths at least double, so this ends after some 60 rounds whatever `n` is.
            while n >= length {
                n -= length;
                length = length.saturating_mul(m);
            }
        }
        half_cosine(lr, self.eta_min, n, length)
    }
}
