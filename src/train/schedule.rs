//! The learning rate over the steps: a pure function of the step, so that it needs no state to resume.

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::InvalidSetting;

/// How the learning rate changes with the steps (`[train.schedule]`, `--lr-schedule`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// The same rate throughout.
    #[default]
    Constant,
    /// Multiplied by `gamma` after every `step_size` steps. Without a step size it is a third of all steps
    /// (the reference's `num_lr_decays = 3`).
    Step {
        /// Steps between two decays.
        #[serde(default)]
        step_size: Option<usize>,
        /// Factor at each decay.
        #[serde(default = "half")]
        gamma: f64,
    },
    /// From the start rate down to `eta_min` along half a cosine over `t_max` steps (all steps if absent), then stays
    /// there: it does not restart.
    Cosine {
        /// Steps until the minimum.
        #[serde(default)]
        t_max: Option<usize>,
        /// The rate at the end.
        #[serde(default)]
        eta_min: f64,
    },
}

fn half() -> f64 {
    0.5
}

impl ScheduleConfig {
    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step { .. } => "step",
            Self::Cosine { .. } => "cosine",
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// The first one out of its range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        match *self {
            Self::Step { step_size: Some(0), .. } => Err(InvalidSetting::new(
                "train.schedule.step_size",
                0,
                "at least 1",
                "leave it out for a third of all steps",
            )),
            Self::Step { gamma, .. } if !(gamma.is_finite() && gamma > 0.0 && gamma <= 1.0) => {
                Err(InvalidSetting::new("train.schedule.gamma", gamma, "0 < gamma <= 1", "0.5 halves the rate"))
            }
            Self::Cosine { t_max: Some(0), .. } => {
                Err(InvalidSetting::new("train.schedule.t_max", 0, "at least 1", "leave it out for all steps"))
            }
            Self::Cosine { eta_min, .. } if !(eta_min.is_finite() && eta_min >= 0.0) => {
                Err(InvalidSetting::new("train.schedule.eta_min", eta_min, "a finite number >= 0", "0 is usual"))
            }
            _ => Ok(()),
        }
    }
}

/// A schedule with its numbers filled in: the rate of every step.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    lr: f64,
    warmup_steps: usize,
    total_steps: usize,
    next: usize,
    factor: f64,
}

impl Schedule {
    /// The schedule of a run of `total_steps` steps that starts at rate `lr`.
    pub fn new(config: ScheduleConfig, lr: f64, warmup_steps: usize, total_steps: usize) -> Self {
        Self { config, lr, warmup_steps, total_steps: total_steps.max(1), next: 0, factor: 1.0 }
    }

    /// The rate of step `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        let rate = match self.config {
            ScheduleConfig::Constant => self.lr,
            ScheduleConfig::Step { step_size, gamma } => {
                let size = step_size.unwrap_or_else(|| (self.total_steps / 3).max(1));
                self.lr * gamma.powi((step / size).min(i32::MAX as usize) as i32)
            }
            ScheduleConfig::Cosine { t_max, eta_min } => {
                let t_max = t_max.unwrap_or(self.total_steps);
                let phase = (step.min(t_max) as f64 / t_max as f64) * std::f64::consts::PI;
                eta_min + (self.lr - eta_min) * 0.5 * (1.0 + phase.cos())
            }
        };
        if step < self.warmup_steps { rate * (step + 1) as f64 / self.warmup_steps as f64 } else { rate }
    }
}

impl LrScheduler for Schedule {
    /// The next step and a factor of all rates from there on.
    type Record<B: Backend> = (usize, f64);

    fn step(&mut self) -> f64 {
        let rate = self.at(self.next) * self.factor;
        self.next += 1;
        rate
    }

    fn to_record<B: Backend>(&self) -> (usize, f64) {
        (self.next, self.factor)
    }

    fn load_record<B: Backend>(mut self, record: (usize, f64)) -> Self {
        (self.next, self.factor) = record;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_schedule_halves_three_times_like_the_reference() {
        // num_lr_decays = 3 over 30 steps: StepLR(step_size = 10, gamma = 0.5).
        let s = Schedule::new(ScheduleConfig::Step { step_size: None, gamma: 0.5 }, 1e-3, 0, 30);
        let rates: Vec<f64> = [0, 9, 10, 19, 20, 29].iter().map(|&i| s.at(i)).collect();
        assert_eq!(rates, vec![1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4]);
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
    fn warm_up_rises_linearly_to_the_rate() {
        let s = Schedule::new(ScheduleConfig::Constant, 1.0, 4, 10);
        assert_eq!((0..6).map(|i| s.at(i)).collect::<Vec<_>>(), vec![0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn the_scheduler_counts_its_own_steps() {
        let mut s = Schedule::new(ScheduleConfig::Step { step_size: Some(1), gamma: 0.5 }, 1.0, 0, 10);
        assert_eq!([s.step(), s.step(), s.step()], [1.0, 0.5, 0.25]);
    }

    #[test]
    fn bad_numbers_are_named() {
        let error = ScheduleConfig::Step { step_size: None, gamma: 1.5 }.check().unwrap_err();
        assert!(error.to_string().contains("train.schedule.gamma = 1.5"));
        assert!(ScheduleConfig::Cosine { t_max: Some(0), eta_min: 0.0 }.check().is_err());
    }
}
