//! Which schedule, with which numbers, and the checks of them.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::cosine_restarts::CosineRestarts;
use super::one_cycle::OneCycle;
use super::plateau::PlateauRules;
use crate::error::InvalidSetting;

/// What the counts of a schedule are counts of (`train.schedule_per`, `--lr-per`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchedulePer {
    /// Optimizer steps: the rate may change with every step.
    #[default]
    Step,
    /// Epochs: the rate changes at the borders of epochs only.
    Epoch,
}

impl SchedulePer {
    /// Both units, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Step, Self::Epoch];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Epoch => "epoch",
        }
    }
}

/// How the learning rate changes in the course of a run (`[train.schedule]`, `--lr-schedule`).
///
/// Counts are steps, or epochs with [`SchedulePer::Epoch`]; `lr` is [`TrainConfig::lr`](crate::train::TrainConfig::lr), `n`
/// the steps (epochs) done, and "all" the steps (epochs) of the whole plan. Each is the class of PyTorch that it names,
/// except where it says otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// The same rate throughout.
    #[default]
    #[serde(deserialize_with = "nothing_more")]
    Constant,
    /// Multiplied by `gamma` after every `step_size` (`StepLR`).
    Step {
        /// Count between two decays, >= 1; a third of all if absent.
        #[serde(default)]
        step_size: Option<usize>,
        /// Factor at each decay, 0 < gamma <= 1.
        #[serde(default = "half")]
        gamma: f64,
    },
    /// Halved after each of `num` equal parts of the run (the last halving comes with its end): neuralforecast's
    /// `num_lr_decays`, which is `StepLR` with
    /// `step_size = max(all / num, 1)`, rounded down, and `gamma = 0.5`.
    Decays {
        /// How many times, >= 1.
        #[serde(default = "three")]
        num: usize,
    },
    /// From `lr` down to `eta_min` along half a cosine within `t_max`, then it stays there (`CosineAnnealingLR`, which would
    /// rise again after `t_max`).
    Cosine {
        /// Count until the minimum, >= 1; all if absent.
        #[serde(default)]
        t_max: Option<usize>,
        /// The rate at the end, 0 <= eta_min <= lr.
        #[serde(default)]
        eta_min: f64,
    },
    /// Half cosines one after the other, each starting at `lr` again.
    CosineRestarts(CosineRestarts),
    /// In a straight line from `lr` to `lr * end_factor` within `t_max`, then it stays there (`LinearLR` with
    /// `start_factor = 1`).
    Linear {
        /// Count until the end of the line, >= 1; all if absent.
        #[serde(default)]
        t_max: Option<usize>,
        /// The rate at the end as a share of `lr`, 0 to 1.
        #[serde(default)]
        end_factor: f64,
    },
    /// `lr * gamma^n` (`ExponentialLR`).
    Exponential {
        /// Factor of each step (epoch), 0 < gamma <= 1; if absent, such that all of them together come to 1 %.
        #[serde(default)]
        gamma: Option<f64>,
    },
    /// One rise and one long fall; `lr` is the rate at the peak.
    OneCycle(OneCycle),
    /// Lowered whenever the validation loss no longer improves; counts are validations, whatever the unit.
    Plateau(PlateauRules),
}

fn half() -> f64 {
    0.5
}

fn three() -> usize {
    3
}

/// serde lets unknown fields pass beside a variant without fields: read as an empty table, it has none.
fn nothing_more<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(from).map(|Nothing {}| ())
}

impl ScheduleConfig {
    /// The names on the command line, in the order of the help.
    pub const NAMES: [&str; 9] =
        ["constant", "step", "decays", "cosine", "cosine-restarts", "linear", "exponential", "one-cycle", "plateau"];

    /// The name on the command line, and the `name` of the table in TOML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step { .. } => "step",
            Self::Decays { .. } => "decays",
            Self::Cosine { .. } => "cosine",
            Self::CosineRestarts(_) => "cosine-restarts",
            Self::Linear { .. } => "linear",
            Self::Exponential { .. } => "exponential",
            Self::OneCycle(_) => "one-cycle",
            Self::Plateau(_) => "plateau",
        }
    }

    /// The schedule of this name with its default numbers; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "constant" => Self::Constant,
            "step" => Self::Step { step_size: None, gamma: half() },
            "decays" => Self::Decays { num: three() },
            "cosine" => Self::Cosine { t_max: None, eta_min: 0.0 },
            "cosine-restarts" => Self::CosineRestarts(CosineRestarts::default()),
            "linear" => Self::Linear { t_max: None, end_factor: 0.0 },
            "exponential" => Self::Exponential { gamma: None },
            "one-cycle" => Self::OneCycle(OneCycle::default()),
            "plateau" => Self::Plateau(PlateauRules::default()),
            _ => return None,
        })
    }

    /// Checks the numbers of a schedule whose start (or peak) is the rate `lr`.
    ///
    /// # Errors
    /// The first one out of its range.
    pub fn check(&self, lr: f64) -> Result<(), InvalidSetting> {
        let whole = "leave it out for the whole run";
        match self {
            Self::Constant => Ok(()),
            Self::Step { step_size, gamma } => {
                at_least_one("step_size", *step_size, "leave it out for a third of the run")?;
                decay("gamma", *gamma)
            }
            Self::Decays { num } => at_least_one("num", Some(*num), "the constant schedule has no decays"),
            Self::Cosine { t_max, eta_min } => {
                at_least_one("t_max", *t_max, whole)?;
                floor("eta_min", *eta_min, lr)
            }
            Self::CosineRestarts(rules) => rules.check(lr),
            Self::Linear { t_max, end_factor } => {
                at_least_one("t_max", *t_max, whole)?;
                within("end_factor", *end_factor, (0.0..=1.0).contains(end_factor), "0 to 1", "0 ends at a rate of 0")
            }
            Self::Exponential { gamma } => gamma.map_or(Ok(()), |gamma| decay("gamma", gamma)),
            Self::OneCycle(rules) => rules.check(),
            Self::Plateau(rules) => rules.check(lr),
        }
    }

    /// The rate after `n` of `all` steps (epochs), without warm-up. What the plateau schedule does to it is not in here.
    pub(super) fn rate(&self, lr: f64, n: usize, all: usize) -> f64 {
        match *self {
            Self::Constant | Self::Plateau(_) => lr,
            Self::Step { step_size, gamma } => lr * power(gamma, n / step_size.unwrap_or(all / 3).max(1)),
            Self::Decays { num } => lr * power(0.5, n / (all / num.max(1)).max(1)),
            Self::Cosine { t_max, eta_min } => half_cosine(lr, eta_min, n, t_max.unwrap_or(all)),
            Self::CosineRestarts(rules) => rules.rate(lr, n, all),
            Self::Linear { t_max, end_factor } => {
                let t_max = t_max.unwrap_or(all).max(1);
                lr * (1.0 + (end_factor - 1.0) * (n.min(t_max) as f64 / t_max as f64))
            }
            Self::Exponential { gamma: Some(gamma) } => lr * power(gamma, n),
            Self::Exponential { gamma: None } => lr * 0.01f64.powf(n as f64 / all as f64),
            Self::OneCycle(rules) => rules.rate(lr, n, all),
        }
    }
}

/// `base^n` for a base of at most 1.
fn power(base: f64, n: usize) -> f64 {
    base.powi(n.min(i32::MAX as usize) as i32)
}

/// From `high` (`n = 0`) to `low` (`n >= of`) along half a cosine.
pub(super) fn half_cosine(high: f64, low: f64, n: usize, of: usize) -> f64 {
    let of = of.max(1);
    let phase = n.min(of) as f64 / of as f64 * std::f64::consts::PI;
    low + (high - low) * 0.5 * (1.0 + phase.cos())
}

/// An error that names `train.schedule.FIELD` unless `holds`.
pub(super) fn within(field: &str, value: f64, holds: bool, allowed: &str, remedy: &str) -> Result<(), InvalidSetting> {
    if holds { Ok(()) } else { Err(InvalidSetting::new(format!("train.schedule.{field}"), value, allowed, remedy)) }
}

/// A count, if there is one, is at least 1.
pub(super) fn at_least_one(field: &str, count: Option<usize>, remedy: &str) -> Result<(), InvalidSetting> {
    match count {
        Some(0) => Err(InvalidSetting::new(format!("train.schedule.{field}"), 0, "at least 1", remedy)),
        _ => Ok(()),
    }
}

/// A factor that lowers, or leaves, the rate.
fn decay(field: &str, value: f64) -> Result<(), InvalidSetting> {
    within(field, value, value > 0.0 && value <= 1.0, &format!("0 < {field} <= 1"), "0.5 halves the rate")
}

/// The lowest rate of a schedule is not above the highest.
pub(super) fn floor(field: &str, value: f64, lr: f64) -> Result<(), InvalidSetting> {
    within(field, value, (0.0..=lr).contains(&value), &format!("0 to the learning rate, {lr}"), "0 is usual")
}
