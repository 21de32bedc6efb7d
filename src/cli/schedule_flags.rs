//! The flags of the learning rate's schedule, put into a training configuration.

use clap::Args;

use super::error::CliError;
use super::train_flags::{set, unknown};
use crate::train::{ScheduleConfig, SchedulePer, TrainConfig};

/// The learning rate in the course of the run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Learning rate schedule")]
pub(super) struct ScheduleFlags {
    /// constant, step, decays, cosine, cosine-restarts, linear, exponential, one-cycle or plateau [default: constant]
    #[arg(long, value_name = "NAME")]
    pub lr_schedule: Option<String>,
    /// What the schedule counts: step or epoch [default: step]
    #[arg(long, value_name = "UNIT")]
    pub lr_per: Option<String>,
    /// Steps of linear warm-up
    #[arg(long, value_name = "N")]
    pub warmup_steps: Option<usize>,
    /// step: count between two decays [default: a third of the run]
    #[arg(long, value_name = "N")]
    pub lr_step_size: Option<usize>,
    /// step: factor of each decay [default: 0.5]; exponential: factor of each step or epoch [default: 1 % in the end]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub lr_gamma: Option<f64>,
    /// decays: how often the rate is halved [default: 3]
    #[arg(long, value_name = "N")]
    pub lr_decays: Option<usize>,
    /// cosine, linear: count until the end of the fall [default: the whole run]
    #[arg(long, value_name = "N")]
    pub lr_t_max: Option<usize>,
    /// cosine, cosine-restarts, plateau: the lowest rate [default: 0]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr_min: Option<f64>,
    /// cosine-restarts: count until the first restart [default: three cycles]
    #[arg(long, value_name = "N")]
    pub lr_restart: Option<usize>,
    /// cosine-restarts: how many times longer each cycle is than the one before [default: 1]
    #[arg(long, value_name = "M")]
    pub lr_restart_mult: Option<usize>,
    /// linear: the last rate as a share of --lr [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub lr_end_factor: Option<f64>,
    /// one-cycle: share of the run in which the rate rises to --lr [default: 0.3]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub lr_pct_start: Option<f64>,
    /// one-cycle: how many times smaller than --lr the first rate is [default: 25]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub lr_div_factor: Option<f64>,
    /// one-cycle: how many times smaller than the first rate the last one is [default: 10000]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub lr_final_div_factor: Option<f64>,
    /// plateau: validations without improvement before the next one lowers the rate [default: 3]
    #[arg(long, value_name = "N")]
    pub lr_patience: Option<usize>,
    /// plateau: what the rate is multiplied by [default: 0.5]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub lr_factor: Option<f64>,
    /// plateau: the least improvement that counts, as a share of the best loss [default: 1e-4]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub lr_threshold: Option<f64>,
    /// plateau: validations after a reduction that are not counted [default: 0]
    #[arg(long, value_name = "N")]
    pub lr_cooldown: Option<usize>,
}

impl ScheduleFlags {
    /// Each number: its flag, whether it was given, and the schedules that take it.
    fn numbers(&self) -> [(&'static str, bool, &'static [&'static str]); 15] {
        [
            ("--lr-step-size", self.lr_step_size.is_some(), &["step"]),
            ("--lr-gamma", self.lr_gamma.is_some(), &["step", "exponential"]),
            ("--lr-decays", self.lr_decays.is_some(), &["decays"]),
            ("--lr-t-max", self.lr_t_max.is_some(), &["cosine", "linear"]),
            ("--lr-min", self.lr_min.is_some(), &["cosine", "cosine-restarts", "plateau"]),
            ("--lr-restart", self.lr_restart.is_some(), &["cosine-restarts"]),
            ("--lr-restart-mult", self.lr_restart_mult.is_some(), &["cosine-restarts"]),
            ("--lr-end-factor", self.lr_end_factor.is_some(), &["linear"]),
            ("--lr-pct-start", self.lr_pct_start.is_some(), &["one-cycle"]),
            ("--lr-div-factor", self.lr_div_factor.is_some(), &["one-cycle"]),
            ("--lr-final-div-factor", self.lr_final_div_factor.is_some(), &["one-cycle"]),
            ("--lr-patience", self.lr_patience.is_some(), &["plateau"]),
            ("--lr-factor", self.lr_factor.is_some(), &["plateau"]),
            ("--lr-threshold", self.lr_threshold.is_some(), &["plateau"]),
            ("--lr-cooldown", self.lr_cooldown.is_some(), &["plateau"]),
        ]
    }

    pub fn apply(&self, train: &mut TrainConfig) -> Result<(), CliError> {
        if let Some(word) = &self.lr_per {
            train.schedule_per = SchedulePer::ALL
                .into_iter()
                .find(|unit| unit.name() == word)
                .ok_or_else(|| unknown("--lr-per", word, &SchedulePer::ALL.map(SchedulePer::name)))?;
        }
        set(&mut train.warmup_steps, &self.warmup_steps);
        // A schedule that the flag only names again keeps the numbers of the file or preset.
        if let Some(name) = self.lr_schedule.as_deref().filter(|name| *name != train.schedule.name()) {
            train.schedule =
                ScheduleConfig::named(name).ok_or_else(|| unknown("--lr-schedule", name, &ScheduleConfig::NAMES))?;
        }
        let name = train.schedule.name();
        if let Some((flag, _, takers)) =
            self.numbers().iter().find(|(_, given, takers)| *given && !takers.contains(&name))
        {
            let message = format!("the {name} schedule takes no {flag}");
            let hint = format!("{flag} is for --lr-schedule {}", takers.join(" or "));
            return Err(CliError::input("usage", message).hint(hint));
        }
        self.fill(&mut train.schedule);
        Ok(())
    }

    /// Puts the numbers that were given into a schedule.
    fn fill(&self, schedule: &mut ScheduleConfig) {
        match schedule {
            ScheduleConfig::Constant => {}
            ScheduleConfig::Step { step_size, gamma } => {
                *step_size = self.lr_step_size.or(*step_size);
                set(gamma, &self.lr_gamma);
            }
            ScheduleConfig::Decays { num } => set(num, &self.lr_decays),
            ScheduleConfig::Cosine { t_max, eta_min } => {
                *t_max = self.lr_t_max.or(*t_max);
                set(eta_min, &self.lr_min);
            }
            ScheduleConfig::CosineRestarts(rules) => {
                rules.t_0 = self.lr_restart.or(rules.t_0);
                set(&mut rules.t_mult, &self.lr_restart_mult);
                set(&mut rules.eta_min, &self.lr_min);
            }
            ScheduleConfig::Linear { t_max, end_factor } => {
                *t_max = self.lr_t_max.or(*t_max);
                set(end_factor, &self.lr_end_factor);
            }
            ScheduleConfig::Exponential { gamma } => *gamma = self.lr_gamma.or(*gamma),
            ScheduleConfig::OneCycle(rules) => {
                set(&mut rules.pct_start, &self.lr_pct_start);
                set(&mut rules.div_factor, &self.lr_div_factor);
                set(&mut rules.final_div_factor, &self.lr_final_div_factor);
            }
            ScheduleConfig::Plateau(rules) => {
                set(&mut rules.patience, &self.lr_patience);
                set(&mut rules.factor, &self.lr_factor);
                set(&mut rules.min_lr, &self.lr_min);
                set(&mut rules.threshold, &self.lr_threshold);
                set(&mut rules.cooldown, &self.lr_cooldown);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        flags: ScheduleFlags,
    }

    fn flags(args: &[&str]) -> ScheduleFlags {
        Alone::parse_from(std::iter::once(&"nhits").chain(args)).flags
    }

    #[test]
    fn every_number_reaches_the_schedules_that_take_it_and_no_other() {
        for (flag, _, takers) in ScheduleFlags::default().numbers() {
            for name in ScheduleConfig::NAMES {
                let mut train = TrainConfig::default();
                let given = flags(&["--lr-schedule", name, flag, "7"]);
                match given.apply(&mut train) {
                    Ok(()) => {
                        assert!(takers.contains(&name), "{name} took {flag}");
                        assert_ne!(Some(&train.schedule), ScheduleConfig::named(name).as_ref(), "{flag} did nothing");
                    }
                    Err(error) => {
                        assert!(!takers.contains(&name), "{name} refused {flag}");
                        let (message, hint) = (error.message, error.hint.unwrap());
                        assert!(message.contains(name) && message.contains(flag), "{message}");
                        assert!(takers.iter().all(|t| hint.contains(t)), "{hint}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_schedule_that_is_named_again_keeps_its_numbers() {
        let mut train = TrainConfig::default();
        flags(&["--lr-schedule", "cosine", "--lr-t-max", "9", "--lr-per", "epoch"]).apply(&mut train).unwrap();
        flags(&["--lr-schedule", "cosine", "--lr-min", "1e-5"]).apply(&mut train).unwrap();
        assert_eq!(train.schedule, ScheduleConfig::Cosine { t_max: Some(9), eta_min: 1e-5 });
        assert_eq!(train.schedule_per, SchedulePer::Epoch);
        flags(&["--lr-schedule", "linear"]).apply(&mut train).unwrap();
        assert_eq!(train.schedule, ScheduleConfig::Linear { t_max: None, end_factor: 0.0 });
    }
}
