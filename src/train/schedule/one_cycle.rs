//! One rise and one long fall of the rate (Smith and Topin 2018, arXiv 1708.07120).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::within;
use crate::error::InvalidSetting;

/// From `lr / div_factor` up to `lr` along half a cosine over the share `pct_start` of the run, then down to
/// `lr / div_factor / final_div_factor` along another (PyTorch's `OneCycleLR` with two phases and cosines; the momentum
/// is left alone).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycle {
    /// Share of the run in which the rate rises, 0 to 1.
    pub pct_start: f64,
    /// How many times smaller than `lr` the first rate is, >= 1.
    pub div_factor: f64,
    /// How many times smaller than the first rate the last one is, >= 1.
    pub final_div_factor: f64,
}

impl Default for OneCycle {
    fn default() -> Self {
        Self { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }
}

impl OneCycle {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let Self { pct_start, div_factor, final_div_factor } = *self;
        within("pct_start", pct_start, (0.0..=1.0).contains(&pct_start), "0 to 1", "0.3 is usual")?;
        for (field, value, usual) in
            [("div_factor", div_factor, "25 is usual"), ("final_div_factor", final_div_factor, "10000 is usual")]
        {
            within(field, value, value.is_finite() && value >= 1.0, "a finite number >= 1", usual)?;
        }
        Ok(())
    }

    pub(super) fn rate(&self, lr: f64, n: usize, all: usize) -> f64 {
        let first = lr / self.div_factor;
        let last = first / self.final_div_factor;
        // PyTorch's borders: the peak is the last step of the rise, and below 0 where there is no step to rise in.
        let (n, peak, end) = (n as f64, self.pct_start * all as f64 - 1.0, all as f64 - 1.0);
        if n < peak {
            cosine(first, lr, n / peak)
        } else if peak < end {
            cosine(lr, last, ((n - peak) / (end - peak)).min(1.0))
        } else {
            lr
        }
    }
}

/// From `from` (`share = 0`) to `to` (`share = 1`) along half a cosine.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
}
