//! The learning rate in the course of a run.
//!
//! Every schedule is a pure function of the step, so that it needs no state to resume; the plateau schedule alone has one,
//! [`Plateau`], which the training loop keeps and which comes to a factor on the rate.
//!
//! | name | rate | numbers (default) |
//! |---|---|---|
//! | `constant` | `lr` | |
//! | `step` | `lr * gamma^(n / step_size)` | `step_size` (a third of all), `gamma` (0.5) |
//! | `decays` | halved so many times, evenly over the run | `num` (3) |
//! | `cosine` | half a cosine down, then flat | `t_max` (all), `eta_min` (0) |
//! | `cosine-restarts` | half cosines, each from `lr` | `t_0` (three cycles in all), `t_mult` (1), `eta_min` (0) |
//! | `linear` | a straight line down, then flat | `t_max` (all), `end_factor` (0) |
//! | `exponential` | `lr * gamma^n` | `gamma` (1 % of `lr` in the end) |
//! | `one-cycle` | up to `lr` and down | `pct_start` (0.3), `div_factor` (25), `final_div_factor` (1e4) |
//! | `plateau` | lowered when validation no longer improves | `patience` (3), `factor` (0.5), `min_lr` (0), `threshold` (1e-4), `cooldown` (0) |
//!
//! Warm-up multiplies the rate of any of them by `(step + 1) / warmup_steps`; it counts steps in either unit, because it is
//! for the first steps, when the optimizer's moments are still means of a few gradients.

mod config;
mod cosine_restarts;
#[cfg(test)]
mod golden;
mod one_cycle;
mod plateau;

use burn::lr_scheduler::LrScheduler;
use burn::record::Record;
use burn::tensor::backend::Backend;

pub use config::{ScheduleConfig, SchedulePer};
pub use cosine_restarts::CosineRestarts;
pub use one_cycle::OneCycle;
pub use plateau::{Plateau, PlateauRules};

use super::config::TrainConfig;
use crate::error::InvalidSetting;

/// A schedule with its numbers filled in: the rate of every step.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    lr: f64,
    warmup_steps: usize,
    total_steps: usize,
    /// Steps of one count: 1, or those of an epoch.
    unit: usize,
    at: ScheduleRecord,
}

/// Where a [`Schedule`] stands. burn's `Learner` gives no other access to its scheduler than to load one of these.
#[derive(Record, Debug, Clone, Copy, PartialEq)]
pub struct ScheduleRecord {
    /// The step whose rate comes next, from 0.
    pub next: usize,
    /// What the rate is multiplied by: [`Plateau::factor`], 1 for every other schedule.
    pub factor: f64,
}

impl Schedule {
    /// The schedule of a run of `total_steps` steps with `lr` as its first (or highest) rate, counting in steps.
    pub fn new(config: ScheduleConfig, lr: f64, warmup_steps: usize, total_steps: usize) -> Self {
        let at = ScheduleRecord { next: 0, factor: 1.0 };
        Self { config, lr, warmup_steps, total_steps: total_steps.max(1), unit: 1, at }
    }

    /// The same schedule counting in epochs of `steps_per_epoch` steps.
    pub fn per_epoch(self, steps_per_epoch: usize) -> Self {
        Self { unit: steps_per_epoch.max(1), ..self }
    }

    /// The schedule that a training configuration asks for.
    pub fn of(config: &TrainConfig, total_steps: usize, steps_per_epoch: usize) -> Self {
        let schedule = Self::new(config.schedule.clone(), config.lr, config.warmup_steps, total_steps);
        match config.schedule_per {
            SchedulePer::Step => schedule,
            SchedulePer::Epoch => schedule.per_epoch(steps_per_epoch),
        }
    }

    /// The rate of step `step`, counted from 0, with the factor that the validations so far came to.
    pub fn at(&self, step: usize) -> f64 {
        let all = self.total_steps.div_ceil(self.unit);
        let rate = self.config.rate(self.lr, step / self.unit, all) * self.at.factor;
        if step < self.warmup_steps { rate * (step + 1) as f64 / self.warmup_steps as f64 } else { rate }
    }

    /// Where a schedule stands after `steps` steps and a validation with this loss, to be loaded into burn's `Learner`;
    /// `None` where the schedule does not follow the validation loss.
    pub fn after_validation(&self, plateau: &mut Plateau, loss: f64, steps: usize) -> Option<ScheduleRecord> {
        match &self.config {
            ScheduleConfig::Plateau(rules) => {
                Some(ScheduleRecord { next: steps, factor: plateau.after(loss, rules, self.lr) })
            }
            _ => None,
        }
    }
}

impl ScheduleConfig {
    /// Whether the schedule can do its work beside `val_windows` validation windows and early stopping after `patience`
    /// validations (0 is off); what the user should know is returned.
    pub(super) fn beside_validation(
        &self,
        val_windows: usize,
        patience: usize,
    ) -> Result<Option<String>, InvalidSetting> {
        match self {
            Self::Plateau(_) if val_windows == 0 => Err(InvalidSetting::new(
                "train.schedule.name",
                self.name(),
                "validation windows, whose loss this schedule follows: there are none",
                "give validation rows (--split 0.8/0.1/0.1, as many rows as the horizon at least) or choose another \
                 --lr-schedule",
            )),
            Self::Plateau(rules) if patience > 0 && rules.patience.saturating_add(1) >= patience => Ok(Some(format!(
                "early stopping ends the run after {patience} validations without improvement (--patience), the plateau \
                 schedule waits for {} before it lowers the rate (--lr-patience)",
                rules.patience.saturating_add(1)
            ))),
            _ => Ok(None),
        }
    }
}

impl LrScheduler for Schedule {
    type Record<B: Backend> = ScheduleRecord;

    fn step(&mut self) -> f64 {
        let rate = self.at(self.at.next);
        self.at.next += 1;
        rate
    }

    fn to_record<B: Backend>(&self) -> ScheduleRecord {
        self.at
    }

    fn load_record<B: Backend>(mut self, record: ScheduleRecord) -> Self {
        self.at = record;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ScheduleConfig {
        ScheduleConfig::named(name).unwrap()
    }

    #[test]
    fn a_step_schedule_halves_three_times_like_the_reference() {
        // num_lr_decays = 3 over 30 steps: StepLR(step_size = 10, gamma = 0.5).
        for name in ["step", "decays"] {
            let s = Schedule::new(named(name), 1e-3, 0, 30);
            let rates: Vec<f64> = [0, 9, 10, 19, 20, 29].iter().map(|&i| s.at(i)).collect();
            assert_eq!(rates, vec![1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4], "{name}");
        }
    }

    #[test]
    fn cosine_falls_to_its_minimum_and_stays() {
        let s = Schedule::new(ScheduleConfig::Cosine { t_max: Some(10), eta_min: 1e-5 }, 1e-3, 0, 50);
        assert_eq!(s.at(0), 1e-3);
        assert!((s.at(5) - (1e-5 + (1e-3 - 1e-5) / 2.0)).abs() < 1e-12);
        assert!((s.at(10) - 1e-5).abs() < 1e-15 && s.at(20) == s.at(10), "no restart after t_max");
        assert!((0..10).all(|i| s.at(i + 1) < s.at(i)));
    }

    #[test]
    fn numbers_that_are_left_out_fit_the_run() {
        let at = |name: &str, step| Schedule::new(named(name), 1.0, 0, 100).at(step);
        assert!((at("exponential", 100) - 0.01).abs() < 1e-15);
        assert!(at("linear", 99) > 0.0 && at("linear", 100) == 0.0);
        // Cycles of 34 steps: the last one is under way at the end.
        assert_eq!([at("cosine-restarts", 34), at("cosine-restarts", 68)], [1.0, 1.0]);
        assert!(at("cosine-restarts", 99) < 0.05);
        // 1 + 3 + 9 parts: cycles of 8, 24 and 72 steps.
        let s = Schedule::new(
            ScheduleConfig::CosineRestarts(CosineRestarts { t_mult: 3, ..Default::default() }),
            1.0,
            0,
            100,
        );
        let peaks: Vec<usize> = (0..100).filter(|&i| s.at(i) == 1.0).collect();
        assert_eq!(peaks, [0, 8, 32]);
    }

    #[test]
    fn warm_up_rises_linearly_to_the_rate_of_every_schedule() {
        let s = Schedule::new(ScheduleConfig::Constant, 1.0, 4, 10);
        assert_eq!((0..6).map(|i| s.at(i)).collect::<Vec<_>>(), vec![0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        for name in ScheduleConfig::NAMES {
            let (cold, warm) = (Schedule::new(named(name), 1e-3, 0, 40), Schedule::new(named(name), 1e-3, 8, 40));
            for step in 0..40 {
                let share = if step < 8 { (step + 1) as f64 / 8.0 } else { 1.0 };
                assert!((warm.at(step) - cold.at(step) * share).abs() < 1e-18, "{name}, step {step}");
            }
        }
    }

    #[test]
    fn per_epoch_the_rate_changes_at_borders_only_and_as_it_would_per_step() {
        for name in ScheduleConfig::NAMES {
            // 46 steps are nine epochs of five and a last one of a single step.
            let (epochs, steps) =
                (Schedule::new(named(name), 1e-3, 0, 46).per_epoch(5), Schedule::new(named(name), 1e-3, 0, 10));
            for step in 0..46 {
                assert_eq!(epochs.at(step), steps.at(step / 5), "{name}, step {step}");
            }
        }
        let config =
            TrainConfig { schedule: named("step"), schedule_per: SchedulePer::Epoch, ..TrainConfig::default() };
        let rates: Vec<f64> = (0..6).map(|i| Schedule::of(&config, 6, 2).at(i)).collect();
        assert_eq!(rates, [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4]);
    }

    #[test]
    fn the_scheduler_counts_its_own_steps_and_takes_over_a_record() {
        let mut s = Schedule::new(ScheduleConfig::Step { step_size: Some(1), gamma: 0.5 }, 1.0, 0, 10);
        assert_eq!([s.step(), s.step(), s.step()], [1.0, 0.5, 0.25]);
        let rules = PlateauRules { patience: 0, ..PlateauRules::default() };
        let mut s = Schedule::new(ScheduleConfig::Plateau(rules), 1.0, 4, 10);
        assert_eq!(s.step(), 0.25);
        s.at = ScheduleRecord { next: 1, factor: 0.5 };
        assert_eq!(
            [s.step(), s.step(), s.step(), s.step()],
            [0.25, 0.375, 0.5, 0.5],
            "warm-up goes on beside the factor"
        );
    }

    #[test]
    fn only_the_plateau_schedule_answers_to_a_validation() {
        let mut state = Plateau::default();
        let s = Schedule::new(named("plateau"), 1.0, 0, 10);
        for steps in 1..=4 {
            assert_eq!(s.after_validation(&mut state, 2.0, steps), Some(ScheduleRecord { next: steps, factor: 1.0 }));
        }
        assert_eq!(s.after_validation(&mut state, 2.0, 5), Some(ScheduleRecord { next: 5, factor: 0.5 }));
        for name in &ScheduleConfig::NAMES[..8] {
            assert_eq!(Schedule::new(named(name), 1.0, 0, 10).after_validation(&mut state, 9.0, 5), None, "{name}");
        }
    }

    #[test]
    fn plateau_needs_validation_and_more_patience_of_early_stopping() {
        let config = named("plateau");
        let error = config.beside_validation(0, 10).unwrap_err().to_string();
        assert!(error.contains("train.schedule.name = plateau") && error.contains("there are none"), "{error}");
        assert_eq!(config.beside_validation(5, 10), Ok(None));
        assert_eq!(config.beside_validation(5, 0), Ok(None));
        assert!(config.beside_validation(5, 3).unwrap().unwrap().contains("--lr-patience"));
        assert_eq!(ScheduleConfig::Constant.beside_validation(0, 3), Ok(None));
    }

    #[test]
    fn numbers_out_of_their_range_are_named() {
        let cosines = |c: CosineRestarts| ScheduleConfig::CosineRestarts(c);
        let cycle = |c: OneCycle| ScheduleConfig::OneCycle(c);
        let plateau = |p: PlateauRules| ScheduleConfig::Plateau(p);
        for (schedule, says) in [
            (ScheduleConfig::Step { step_size: Some(0), gamma: 0.5 }, "step_size = 0"),
            (ScheduleConfig::Step { step_size: None, gamma: 1.5 }, "gamma = 1.5"),
            (ScheduleConfig::Decays { num: 0 }, "num = 0"),
            (ScheduleConfig::Cosine { t_max: Some(0), eta_min: 0.0 }, "t_max = 0"),
            (ScheduleConfig::Cosine { t_max: None, eta_min: -1.0 }, "eta_min = -1"),
            (ScheduleConfig::Cosine { t_max: None, eta_min: 0.2 }, "eta_min = 0.2"),
            (cosines(CosineRestarts { t_0: Some(0), ..Default::default() }), "t_0 = 0"),
            (cosines(CosineRestarts { t_mult: 0, ..Default::default() }), "t_mult = 0"),
            (cosines(CosineRestarts { eta_min: f64::NAN, ..Default::default() }), "eta_min = NaN"),
            (ScheduleConfig::Linear { t_max: Some(0), end_factor: 0.0 }, "t_max = 0"),
            (ScheduleConfig::Linear { t_max: None, end_factor: 1.1 }, "end_factor = 1.1"),
            (ScheduleConfig::Exponential { gamma: Some(0.0) }, "gamma = 0"),
            (cycle(OneCycle { pct_start: -0.1, ..Default::default() }), "pct_start = -0.1"),
            (cycle(OneCycle { div_factor: 0.5, ..Default::default() }), "div_factor = 0.5"),
            (cycle(OneCycle { final_div_factor: f64::INFINITY, ..Default::default() }), "final_div_factor = inf"),
            (plateau(PlateauRules { factor: 1.0, ..Default::default() }), "factor = 1"),
            (plateau(PlateauRules { threshold: 1.0, ..Default::default() }), "threshold = 1"),
            (plateau(PlateauRules { min_lr: 0.5, ..Default::default() }), "min_lr = 0.5"),
        ] {
            let error = schedule.check(0.1).unwrap_err().to_string();
            assert!(error.contains(&format!("train.schedule.{says} is not allowed")), "{says}: {error}");
        }
        for name in ScheduleConfig::NAMES {
            named(name).check(1e-3).unwrap();
            assert_eq!(named(name).name(), name);
        }
    }

    #[test]
    fn every_schedule_survives_toml_and_refuses_the_numbers_of_another() {
        for name in ScheduleConfig::NAMES {
            // The name alone is enough.
            let parsed: ScheduleConfig = toml::from_str(&format!("name = \"{name}\"")).unwrap();
            assert_eq!(parsed, named(name));
            let text = toml::to_string(&parsed).unwrap();
            assert!(text.contains(&format!("name = \"{name}\"")), "{text}");
            assert_eq!(toml::from_str::<ScheduleConfig>(&text).unwrap(), parsed, "{text}");
            assert!(toml::from_str::<ScheduleConfig>(&format!("{text}\nn_decays = 1")).is_err(), "{name}");
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<ScheduleConfig>(&json).unwrap(), parsed, "{json}");
        }
    }
}
