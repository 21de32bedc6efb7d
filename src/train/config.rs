//! The settings of a training run, and the checks that make them safe to use.

use burn::tensor::backend::Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerKind;
use super::schedule::{ScheduleConfig, SchedulePer};
use crate::error::InvalidSetting;
use crate::model::host::{HostNetwork, in_host_memory};
use crate::model::{Checked, QuantizationConfig};

/// Which weights a run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those of the epoch with the lowest validation loss.
    #[default]
    Best,
    /// Those of the last step: what a schedule that lowers the learning rate ends in, as the reference keeps them.
    Last,
}

/// What happens when a loss or a gradient is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// The run ends with the best weights so far, and an error says where it happened.
    #[default]
    Stop,
    /// The run goes back to the last good weights and on from there with half the learning rate.
    Rollback,
}

/// What computes a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainEngine {
    /// `slices` where the backend's values lie in host memory and the network allows it, else `tensors`.
    #[default]
    Auto,
    /// The network as operations of burn's tensors, with burn's autodiff: any backend.
    Tensors,
    /// The network on slices in host memory ([`crate::model::host`]): CPU backends only, no activation `prelu`, no embeddings.
    Slices,
}

impl TrainEngine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Tensors, Self::Slices];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tensors => "tensors",
            Self::Slices => "slices",
        }
    }

    /// Whether steps of `network` on `device` are computed on slices.
    ///
    /// # Errors
    /// When slices were asked for and cannot be had.
    pub fn on_slices<B: Backend>(self, network: &Checked, device: &B::Device) -> Result<bool, InvalidSetting> {
        let refused = |why: &str| {
            Err(InvalidSetting::new("train.engine", "slices", why, "`auto` takes what the backend and network allow"))
        };
        let (known, near) = (HostNetwork::new(network).is_some(), in_host_memory::<B>(device));
        match self {
            Self::Tensors => Ok(false),
            Self::Slices if !known => {
                refused("tensors, for a network with activation prelu or embeddings, or trained with rounding")
            }
            Self::Slices if !near => refused("tensors, on a backend that keeps its values on a device"),
            Self::Auto | Self::Slices => Ok(known && near),
        }
    }
}

/// Settings of the trainer (`[train]` in TOML).
///
/// | name | default | range | purpose |
/// |---|---|---|---|
/// | `batch_size` | 32 | 1..=1,000,000 | windows per step |
/// | `epochs` | 100 | >= 1 | passes over the training windows (see `steps_per_epoch`) |
/// | `max_steps` | none | >= 1 | ends training after so many steps, if `epochs` does not end it before |
/// | `steps_per_epoch` | none | >= 1 | draws `batch_size` windows at random per step, so many steps an epoch, instead of a full pass |
/// | `lr` | 1e-3 | > 0, finite | learning rate at the start, or at the peak of one-cycle |
/// | `weight_decay` | 1e-5 | >= 0 | decoupled for adamw, added to the gradient for the others |
/// | `optimizer` | adamw | adam, adamw, sgd, rmsprop | update rule |
/// | `momentum` | 0.9 | 0..1 | of sgd |
/// | `nesterov` | false | | of sgd |
/// | `gradient_clip` | 1.0 | >= 0, 0 is off | limit of the global norm of the gradient |
/// | `schedule` | constant | constant, step, decays, cosine, cosine-restarts, linear, exponential, one-cycle, plateau | learning rate in the course of the run, see [`ScheduleConfig`] |
/// | `schedule_per` | step | step, epoch | what the counts of the schedule are counts of |
/// | `warmup_steps` | 0 | >= 0 | steps in which the rate rises linearly from 0, also where the schedule counts epochs |
/// | `val_every` | 1 | >= 1 | epochs between validations |
/// | `val_windows` | 20000 | 0 is all | validation windows, evenly spaced where there are more |
/// | `patience` | 10 | 0 is off | validations without improvement before training stops |
/// | `min_delta` | 1e-4 | >= 0 | the least improvement that counts |
/// | `keep` | best | best, last | which weights a run ends with |
/// | `accumulate` | 1 | 1..=10,000 | batches whose gradients make one step: as one batch of their sum, in less memory |
/// | `ema` | none | 0 < ema < 1 | decay of a moving average of the weights, which is validated and kept instead of them |
/// | `on_nan` | stop | stop, rollback | when a loss is not a number: end with the best weights, or go back and halve the rate |
/// | `max_seconds` | none | > 0 | ends training after so long |
/// | `shares` | 2 | 1..=64 | parts that a batch (on slices: its loss) is computed in, side by side; the result depends on them, not on threads |
/// | `engine` | auto | auto, tensors, slices | what computes a step: tensors of the backend, or slices in host memory, faster on CPUs |
/// | `horizon_weight` | none | one number >= 0 per step | weight of each step of the horizon in the loss |
/// | `quantize` | none | see [`QuantizationConfig`] | quantization-aware training: what is rounded in the forward pass |
/// | `from` | none | a float bundle | the model whose weights the run starts from |
/// | `seed` | 1 | | of weights, window draws and dropout |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Windows per step.
    pub batch_size: usize,
    /// Passes over the training windows.
    pub epochs: usize,
    /// Ends training after so many steps.
    pub max_steps: Option<usize>,
    /// Random windows, so many steps an epoch, instead of a full pass.
    pub steps_per_epoch: Option<usize>,
    /// Learning rate at the start, or at the peak of the one-cycle schedule.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Update rule.
    pub optimizer: OptimizerKind,
    /// Momentum of sgd.
    pub momentum: f64,
    /// Nesterov's variant of sgd.
    pub nesterov: bool,
    /// Limit of the global gradient norm; 0 is off.
    pub gradient_clip: f64,
    /// The learning rate in the course of the run.
    pub schedule: ScheduleConfig,
    /// What the counts of the schedule are counts of.
    pub schedule_per: SchedulePer,
    /// Steps of linear warm-up; steps also where the schedule counts epochs.
    pub warmup_steps: usize,
    /// Epochs between validations.
    pub val_every: usize,
    /// Validation windows at most, evenly spaced where there are more; 0 is all. Neighbouring windows tell nearly the same.
    pub val_windows: usize,
    /// Validations without improvement before training stops; 0 is off.
    pub patience: usize,
    /// The least improvement of the validation loss that counts.
    pub min_delta: f64,
    /// Which weights a run ends with.
    pub keep: Keep,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// Decay of a moving average of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// What happens when a loss is not a number.
    pub on_nan: OnNan,
    /// Ends training after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Parts that a batch is computed in.
    pub shares: usize,
    /// What computes a step.
    pub engine: TrainEngine,
    /// Weight of each step of the horizon in the loss; all the same if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon_weight: Option<Vec<f32>>,
    /// What is rounded to 8 bits in the forward pass; the run ends in an int8 model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantize: Option<QuantizationConfig>,
    /// The bundle whose weights the run starts from; random weights without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<std::path::PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 32,
            epochs: 100,
            max_steps: None,
            steps_per_epoch: None,
            lr: 1e-3,
            weight_decay: 1e-5,
            optimizer: OptimizerKind::AdamW,
            momentum: 0.9,
            nesterov: false,
            gradient_clip: 1.0,
            schedule: ScheduleConfig::Constant,
            schedule_per: SchedulePer::Step,
            warmup_steps: 0,
            val_every: 1,
            val_windows: 20_000,
            patience: 10,
            min_delta: 1e-4,
            keep: Keep::Best,
            accumulate: 1,
            ema: None,
            on_nan: OnNan::Stop,
            max_seconds: None,
            shares: 2,
            engine: TrainEngine::Auto,
            horizon_weight: None,
            quantize: None,
            from: None,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range, with what is allowed.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let bad = |field: &str, value: &dyn std::fmt::Display, allowed: &str, remedy: &str| {
            Err(InvalidSetting::new(format!("train.{field}"), value, allowed, remedy))
        };
        if !(1..=1_000_000).contains(&self.batch_size) {
            return bad("batch_size", &self.batch_size, "1..=1000000", "32 to 1024 windows a step are usual");
        }
        if self.epochs == 0 || self.epochs > 1_000_000 {
            return bad("epochs", &self.epochs, "1..=1000000", "leave it out for 100");
        }
        if self.max_steps == Some(0) {
            return bad("max_steps", &0, "at least 1", "leave it out to train all epochs");
        }
        if self.steps_per_epoch == Some(0) {
            return bad("steps_per_epoch", &0, "at least 1", "leave it out for a full pass per epoch");
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return bad("lr", &self.lr, "a finite number > 0", "1e-3 is a usual start");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return bad("weight_decay", &self.weight_decay, "a finite number >= 0", "0 switches it off");
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return bad("momentum", &self.momentum, "0 <= momentum < 1", "0.9 is usual");
        }
        if self.nesterov && (self.optimizer != OptimizerKind::Sgd || self.momentum == 0.0) {
            return bad("nesterov", &true, "false, or sgd with momentum > 0", "use --optimizer sgd with momentum");
        }
        if !(self.gradient_clip.is_finite() && self.gradient_clip >= 0.0) {
            return bad("gradient_clip", &self.gradient_clip, "a finite number >= 0", "0 switches it off");
        }
        if self.val_every == 0 {
            return bad("val_every", &0, "at least 1", "1 validates after every epoch");
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            return bad("min_delta", &self.min_delta, "a finite number >= 0", "0 counts any improvement");
        }
        if !(1..=10_000).contains(&self.accumulate) {
            return bad("accumulate", &self.accumulate, "1..=10000", "1 steps after every batch");
        }
        if let Some(ema) = self.ema.filter(|ema| !(*ema > 0.0 && *ema < 1.0)) {
            return bad("ema", &ema, "0 < ema < 1", "0.999 is usual; leave it out to keep the weights themselves");
        }
        if let Some(seconds) = self.max_seconds.filter(|s| !(s.is_finite() && *s > 0.0)) {
            return bad("max_seconds", &seconds, "a finite number > 0", "leave it out for no limit");
        }
        if !(1..=64).contains(&self.shares) {
            return bad("shares", &self.shares, "1..=64", "2 is the default; more pay on many cores");
        }
        if let Some(quantize) = &self.quantize {
            quantize.check().map_err(|e| InvalidSetting { field: format!("train.{}", e.field), ..e })?;
        }
        self.schedule.check(self.lr)
    }
}
