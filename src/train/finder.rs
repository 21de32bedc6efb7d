//! A search for a learning rate: one short training whose rate rises exponentially (Smith 2017, arXiv 1506.01186, 3.3).
//!
//! The network is a fresh one and thrown away. Windows, batches, seed and update rule are those of the training that would
//! follow; validation and test rows are not read.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::Optimizer as _;
use burn::tensor::backend::AutodiffBackend;
use burn::train::TrainStep;
use serde::Serialize;

use super::clip::clip_global_norm;
use super::error::TrainError;
use super::feed::Feed;
use super::job::{Plan, TrainJob};
use super::optimizer::{Optimizer, Rule};
use super::trainee::{StepSettings, Trainee};
use crate::error::InvalidSetting;
use crate::window::WindowLoader;
use crate::workers::Workers;

/// Settings of a search.
///
/// | name | default | range | purpose |
/// |---|---|---|---|
/// | `from` | 1e-7 | > 0, finite | the first rate |
/// | `to` | 1 | > `from`, finite | the last rate |
/// | `steps` | 100 | 10..=100,000 | rates that are tried, one step each, evenly spaced on a logarithmic scale |
/// | `smoothing` | 0.9 | 0 <= s < 1 | weight of the past in the smoothed loss |
/// | `diverged` | 4 | > 1, finite | ends the search where the smoothed loss is so many times its lowest |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FindLr {
    /// The first rate.
    pub from: f64,
    /// The last rate.
    pub to: f64,
    /// Rates that are tried, one step each.
    pub steps: usize,
    /// Weight of the past in the smoothed loss.
    pub smoothing: f64,
    /// Ends the search where the smoothed loss is so many times its lowest.
    pub diverged: f64,
}

impl Default for FindLr {
    fn default() -> Self {
        Self { from: 1e-7, to: 1.0, steps: 100, smoothing: 0.9, diverged: 4.0 }
    }
}

impl FindLr {
    /// Checks every field.
    ///
    /// # Errors
    /// The first one that is out of its range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let Self { from, to, steps, smoothing, diverged } = *self;
        let bad = |field: &str, value: &dyn std::fmt::Display, allowed: &str, remedy: &str| {
            Err(InvalidSetting::new(format!("find_lr.{field}"), value, allowed, remedy))
        };
        if !(from.is_finite() && from > 0.0) {
            return bad("from", &from, "a finite number > 0", "1e-7 is usual");
        }
        if !(to.is_finite() && to > from) {
            return bad("to", &to, &format!("a finite number above the first rate, {from}"), "1 is usual");
        }
        if !(10..=100_000).contains(&steps) {
            return bad("steps", &steps, "10..=100000", "100 is usual");
        }
        if !(0.0..1.0).contains(&smoothing) {
            return bad("smoothing", &smoothing, "0 <= smoothing < 1", "0.9 is usual, 0 does not smooth");
        }
        if !(diverged.is_finite() && diverged > 1.0) {
            return bad("diverged", &diverged, "a finite number > 1", "4 is usual");
        }
        Ok(())
    }

    /// The rate of step `step`, from 0.
    fn rate(&self, step: usize) -> f64 {
        let share = step as f64 / (self.steps - 1) as f64;
        // Not from * (to / from)^share: that quotient may be beyond every number.
        self.from.powf(1.0 - share) * self.to.powf(share)
    }
}

/// One step of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LrPoint {
    /// The learning rate.
    pub lr: f64,
    /// The training loss before the step was made.
    pub loss: f64,
    /// The mean of the losses so far, with weights that fall off by `smoothing` (corrected for the short past of the first
    /// ones, as in Adam).
    pub smoothed: f64,
}

/// What a suggestion rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrBasis {
    /// The smoothed loss falls fastest at this rate.
    SteepestDescent,
    /// The loss rose without a clear fall before: a tenth of the highest rate before the rise.
    BeforeTheRise,
    /// The loss did not clearly change: the rate that was configured.
    Flat,
}

impl std::fmt::Display for LrBasis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SteepestDescent => "the loss falls fastest there",
            Self::BeforeTheRise => {
                "the loss did not clearly fall before it rose: this is a tenth of the highest rate before the rise"
            }
            Self::Flat => "the loss did not clearly change at any rate: this is the rate that was configured",
        })
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundLr {
    /// Every step, in order. A step whose loss was no finite number ends the search and is not in here.
    pub curve: Vec<LrPoint>,
    /// The rate to train with.
    pub suggested: f64,
    /// What the suggestion rests on.
    pub basis: LrBasis,
    /// The rate at which the smoothed loss was lowest: training with it, or with a higher one, is on the edge.
    pub lowest: f64,
    /// The loss diverged before the last rate was tried.
    pub stopped_early: bool,
}

/// Part of the points at the beginning, one in so many, that is not looked at: their smoothed loss is a mean of few.
const SKIPPED_PART: usize = 10;

/// A change of the smoothed loss by a smaller share than this says nothing.
const LEAST_CHANGE: f64 = 0.02;

/// Nor does a change by fewer standard deviations of its noise.
const LEAST_DEVIATIONS: f64 = 3.0;

impl FoundLr {
    /// Reads a curve. The suggestion is the rate at which the smoothed loss falls fastest per decade, among the points from
    /// the end of the first tenth to the lowest one; the slope is taken over a tenth of the points. Where the smoothed loss
    /// falls by less than 2 %, or by less than three standard deviations of what batches differ by, there is no slope to
    /// see, and [`LrBasis`] says what is suggested instead.
    ///
    /// `configured` is the rate that training would have without a search; `curve` has one point at least.
    fn read(curve: Vec<LrPoint>, stopped_early: bool, settings: &FindLr, configured: f64) -> Self {
        let s = |i: usize| curve[i].smoothed;
        let n = curve.len();
        let first = (settings.steps / SKIPPED_PART).min(n - 1);
        let lowest = (first..n).min_by(|a, b| s(*a).total_cmp(&s(*b))).unwrap_or(first);
        let change =
            f64::max(LEAST_CHANGE * s(lowest), LEAST_DEVIATIONS * noise(&curve[..=lowest], settings.smoothing));
        // The points are evenly spaced on the logarithmic scale, so a difference of losses is a slope.
        let half = (settings.steps / 20).max(1);
        let slope = |i: usize| {
            let (a, b) = (i.saturating_sub(half).max(first), (i + half).min(lowest));
            (s(b) - s(a)) / (b - a) as f64
        };
        let steepest = (first + 1..lowest).min_by(|a, b| slope(*a).total_cmp(&slope(*b)));
        let (suggested, basis) = match steepest {
            Some(i) if s(first) - s(lowest) > change => (curve[i].lr, LrBasis::SteepestDescent),
            _ if stopped_early || s(n - 1) - s(lowest) > change => {
                let before = (0..n).rev().find(|&i| s(i) - s(lowest) <= change).unwrap_or(0);
                (curve[before].lr / 10.0, LrBasis::BeforeTheRise)
            }
            _ => (configured, LrBasis::Flat),
        };
        Self { suggested, basis, lowest: curve[lowest].lr, stopped_early, curve }
    }

    /// The losses at the lower and upper border of a picture of the curve: the fall fills most of it. The rise at the end is
    /// cut off, which would press everything else to the ground.
    pub fn borders(&self) -> (f64, f64) {
        let fall = || self.curve.iter().take_while(|p| p.lr <= self.lowest).flat_map(|p| [p.loss, p.smoothed]);
        let high = fall().fold(0.0, f64::max);
        let low = fall().fold(high, f64::min);
        // A flat curve still needs some height.
        let height = f64::max(high - low, 0.1 * high).max(1e-9);
        (low - 0.05 * height, high + 0.25 * height)
    }
}

/// Standard deviation of the smoothed loss on account of what batches differ by, from the differences of neighbouring
/// steps: a slow fall is hardly in them.
fn noise(curve: &[LrPoint], smoothing: f64) -> f64 {
    let squares: f64 = curve.windows(2).map(|pair| (pair[1].loss - pair[0].loss).powi(2)).sum();
    let variance = squares / 2.0 / curve.len().saturating_sub(1).max(1) as f64;
    (variance * (1.0 - smoothing) / (1.0 + smoothing)).sqrt()
}

impl TrainJob {
    /// Trains a fresh network with a rate that rises from `settings.from` to `settings.to`, reads the rate to train with from
    /// the loss, and throws the network away. The same job and seed give the same curve, bit for bit, on one
    /// backend.
    ///
    /// # Errors
    /// When a setting is out of its range, or the very first loss is no number.
    pub fn find_lr<B: AutodiffBackend>(
        &self,
        plan: &Plan,
        device: &B::Device,
        settings: &FindLr,
    ) -> Result<FoundLr, TrainError> {
        settings.check()?;
        let n = self.threads.max(1);
        let workers =
            Workers::sharing(n, self.config.shares).map_err(|e| TrainError::Threads { n, detail: e.to_string() })?;
        let seed = self.config.seed;
        let batcher = self.batcher(plan, &plan.index)?;
        let loader =
            WindowLoader::<B>::new(plan.index.clone(), Arc::new(batcher), plan.sampling, seed, device.clone())?;
        let feed = Feed::new(Arc::new(loader), 0);
        let mut optimizer = Optimizer::<Trainee<B>, B>::from(Rule::of(&self.config));
        let settings_of_steps = StepSettings { loss: self.loss()?, workers, shares: self.config.shares, seed };
        let mut trainee = Trainee::new(self.first_network(plan, self.parent()?.as_ref(), device)?, settings_of_steps);

        let mut curve: Vec<LrPoint> = Vec::with_capacity(settings.steps);
        let (mut mean, mut lowest, mut stopped_early) = (0.0, f64::INFINITY, false);
        // Epoch after epoch: each `iter` is one, and the plan has a window at least.
        let items = std::iter::repeat_with(|| feed.iter()).flatten().take(settings.steps);
        for (step, item) in items.enumerate() {
            let mut out = TrainStep::step(&trainee, item);
            let loss = out.item.loss;
            if step == 0 && !loss.is_finite() {
                return Err(TrainError::NonFiniteLoss { step: 1, epoch: 1, loss, window: None });
            }
            let mut diverged = !loss.is_finite();
            let lr = settings.rate(step);
            if !diverged {
                mean = settings.smoothing * mean + (1.0 - settings.smoothing) * loss;
                let smoothed = mean / (1.0 - settings.smoothing.powi(step as i32 + 1));
                curve.push(LrPoint { lr, loss, smoothed });
                lowest = f64::min(lowest, smoothed);
                diverged = smoothed > settings.diverged * lowest;
            }
            if self.config.gradient_clip > 0.0 {
                let norm = clip_global_norm::<B, _>(&trainee, &mut out.grads, self.config.gradient_clip);
                diverged |= !norm.is_finite();
            }
            if diverged {
                stopped_early = true;
                break;
            }
            trainee = optimizer.step(lr, trainee, out.grads);
        }
        Ok(FoundLr::read(curve, stopped_early, settings, self.config.lr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curve of a loss that is given as a function of the rate's decimal logarithm, smoothed as in a search.
    fn found(loss: impl Fn(f64) -> f64) -> FoundLr {
        let settings = FindLr::default();
        let (mut mean, mut curve) = (0.0, Vec::new());
        for step in 0..settings.steps {
            let (lr, past) = (settings.rate(step), settings.smoothing);
            let loss = loss(lr.log10());
            mean = past * mean + (1.0 - past) * loss;
            curve.push(LrPoint { lr, loss, smoothed: mean / (1.0 - past.powi(step as i32 + 1)) });
        }
        FoundLr::read(curve, false, &settings, 0.5)
    }

    #[test]
    fn rates_rise_evenly_on_a_logarithmic_scale() {
        let settings = FindLr { from: 1e-4, to: 1.0, steps: 5, ..FindLr::default() };
        for (step, want) in [1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
            assert!((settings.rate(step) / want - 1.0).abs() < 1e-12);
        }
        let widest = FindLr { from: 1e-300, to: 1e300, ..settings };
        assert_eq!([widest.rate(0), widest.rate(4)], [1e-300, 1e300]);
        assert!((widest.rate(2) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls_fastest() {
        // Falls around 1e-3, rises from 1e-1 on.
        let noise = |x: f64| 0.01 * (x * 1e4).sin();
        let found =
            found(|x| 1.0 - 0.6 / (1.0 + (-6.0 * (x + 3.0)).exp()) + (x + 1.0).max(0.0).powi(2) * 3.0 + noise(x));
        assert_eq!(found.basis, LrBasis::SteepestDescent);
        // The smoothed loss lags behind by some points, of which there are 14 to a decade.
        assert!((1e-3..6e-3).contains(&found.suggested), "{}", found.suggested);
        assert!(found.lowest > found.suggested && found.lowest < 1.0, "{}", found.lowest);
    }

    #[test]
    fn a_curve_that_says_nothing_is_said_to() {
        let flat = found(|x| 1.0 + 0.002 * (x * 1e4).sin());
        assert_eq!((flat.basis, flat.suggested), (LrBasis::Flat, 0.5));
        assert!(flat.basis.to_string().contains("did not clearly change"));
        // A fall of 5 %, of batches that differ by ten times as much.
        let noisy = found(|x| 1.0 - 0.05 * (x + 7.0) / 7.0 + 0.5 * (x * 1e4).sin());
        assert_eq!((noisy.basis, noisy.suggested), (LrBasis::Flat, 0.5));
        // Nothing is learned before it diverges at 1e-2.
        let rising = found(|x| if x < -2.0 { 1.0 } else { 1.0 + 5.0 * (x + 2.0) });
        assert_eq!(rising.basis, LrBasis::BeforeTheRise);
        assert!((5e-4..2e-3).contains(&rising.suggested), "{}", rising.suggested);
    }

    #[test]
    fn one_point_is_enough_to_go_on() {
        let point = LrPoint { lr: 1e-7, loss: 1.0, smoothed: 1.0 };
        let found = FoundLr::read(vec![point], true, &FindLr::default(), 0.5);
        assert_eq!((found.basis, found.lowest), (LrBasis::BeforeTheRise, 1e-7));
    }

    #[test]
    fn settings_out_of_their_range_are_named() {
        let usual = FindLr::default();
        usual.check().unwrap();
        for (settings, says) in [
            (FindLr { from: 0.0, ..usual }, "find_lr.from = 0"),
            (FindLr { to: 1e-8, ..usual }, "find_lr.to = 0.00000001"),
            (FindLr { steps: 9, ..usual }, "find_lr.steps = 9"),
            (FindLr { smoothing: 1.0, ..usual }, "find_lr.smoothing = 1"),
            (FindLr { diverged: f64::NAN, ..usual }, "find_lr.diverged = NaN"),
        ] {
            assert!(settings.check().unwrap_err().to_string().contains(says), "{says}");
        }
    }
}
