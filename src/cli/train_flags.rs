//! The flags of `nhits train`, put into an experiment.

use clap::Args;

use super::error::CliError;
use crate::error::{InvalidSetting, nearest};
use crate::experiment::Experiment;
use crate::loss::LossConfig;
use crate::train::{Keep, OnNan, OptimizerKind, TrainEngine};

/// The network.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkFlags {
    /// Input steps [default: 7 horizons, at most half of a short series]
    #[arg(long, value_name = "L")]
    pub input_size: Option<usize>,
    /// Steps to forecast [default: 24]
    #[arg(long, value_name = "H")]
    pub horizon: Option<usize>,
    /// Width of the hidden layers [default: 512]
    #[arg(long, value_name = "N")]
    pub hidden_size: Option<usize>,
    /// Number of stacks [default: 3]
    #[arg(long, value_name = "N")]
    pub n_stacks: Option<usize>,
    /// Blocks of each stack [default: 1 each]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub n_blocks: Vec<usize>,
    /// Widths of the hidden layers of every block [default: 512,512]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub mlp_units: Vec<usize>,
    /// Pooling kernel of each stack [default: 2,2,1]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub pool_kernels: Vec<usize>,
    /// Steps per knot of each stack's forecast [default: 4,2,1]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub freq_downsample: Vec<usize>,
    /// max or avg
    #[arg(long, value_name = "MODE")]
    pub pooling: Option<String>,
    /// linear, nearest or cubic
    #[arg(long, value_name = "MODE")]
    pub interpolation: Option<String>,
    /// relu, softplus, tanh, selu, leaky-relu, prelu or sigmoid
    #[arg(long, value_name = "NAME")]
    pub activation: Option<String>,
    /// Length of the vectors of categories [default: half the categories, 2 to 50]
    #[arg(long, value_name = "N")]
    pub embedding_dim: Option<usize>,
    /// Share of hidden units dropped in training [default: 0.1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout: Option<f64>,
}

/// The loss and the scaling.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Loss and scaling")]
pub(super) struct LossFlags {
    /// mae, mse, rmse, mape, smape, mase, huber, quantile or mqloss [default: mae]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<String>,
    /// Where the huber loss turns linear [default: 1.0]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub huber_delta: Option<f64>,
    /// Quantiles of quantile (one) and mqloss
    #[arg(long, value_name = "0.1,0.5,0.9", value_delimiter = ',', allow_negative_numbers = true)]
    pub quantiles: Vec<f64>,
    /// Intervals for mqloss, in percent: 80,90 is the quantiles .05 .1 .5 .9 .95
    #[arg(
        long,
        value_name = "80,90",
        value_delimiter = ',',
        conflicts_with = "quantiles",
        allow_negative_numbers = true
    )]
    pub level: Vec<f64>,
    /// Weight of each step of the horizon in the loss
    #[arg(long, value_name = "W1,W2,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub horizon_weight: Vec<f32>,
    /// Season of the mase loss
    #[arg(long, value_name = "STEPS")]
    pub loss_season: Option<usize>,
    /// Scaler per series, fitted on the training rows: none, standard, robust, robust-iqr or minmax
    #[arg(long, value_name = "NAME")]
    pub scaler: Option<String>,
    /// Scaler per window: identity, standard, robust, robust-floor, minmax, minmax1, invariant or revin
    #[arg(long, value_name = "NAME")]
    pub window_scaler: Option<String>,
}

/// The trainer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training")]
pub(super) struct TrainerFlags {
    /// Passes over the training windows [default: 100]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Windows per step [default: 32]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// End after so many steps
    #[arg(long, value_name = "N")]
    pub max_steps: Option<usize>,
    /// Draw windows at random, so many steps an epoch, instead of a full pass
    #[arg(long, value_name = "N")]
    pub steps_per_epoch: Option<usize>,
    /// Steps between the origins of two training windows [default: 1]
    #[arg(long, value_name = "N")]
    pub window_stride: Option<usize>,
    /// Learning rate [default: 1e-3]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// adamw, adam, sgd or rmsprop
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<String>,
    /// Weight decay [default: 1e-5]
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Nesterov's variant of sgd
    #[arg(long)]
    pub nesterov: bool,
    /// Limit of the global gradient norm, 0 is off [default: 1.0]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub gradient_clip: Option<f64>,
    /// Epochs between validations [default: 1]
    #[arg(long, value_name = "N")]
    pub val_every: Option<usize>,
    /// Validation windows at most, evenly spaced; 0 is all [default: 20000]
    #[arg(long, value_name = "N")]
    pub val_windows: Option<usize>,
    /// Validations without improvement before training stops, 0 is off [default: 10]
    #[arg(long, value_name = "N")]
    pub patience: Option<usize>,
    /// Weights to end with: best (lowest validation loss) or last [default: best]
    #[arg(long, value_name = "WHICH")]
    pub keep: Option<String>,
    /// The least improvement that counts [default: 1e-4]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub min_delta: Option<f64>,
    /// Batches whose gradients make one step [default: 1]
    #[arg(long, value_name = "N")]
    pub accumulate: Option<usize>,
    /// Validate and keep a moving average of the weights, with this decay (0.999)
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub ema: Option<f64>,
    /// When a loss is not a number: stop, or rollback to the last good weights with half the rate [default: stop]
    #[arg(long, value_name = "WHAT")]
    pub on_nan: Option<String>,
    /// End after so long: 90s, 10m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = super::watch_flags::seconds)]
    pub max_time: Option<f64>,
    /// Parts that a batch is computed in, side by side [default: 2]
    #[arg(long, value_name = "N")]
    pub shares: Option<usize>,
    /// What computes a step: tensors, slices (in host memory, faster on CPUs) or auto [default: auto]
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,
}

pub(super) fn set<T: Clone>(to: &mut T, from: &Option<T>) {
    if let Some(value) = from {
        *to = value.clone();
    }
}

fn set_list(to: &mut Option<Vec<usize>>, from: &[usize]) {
    if !from.is_empty() {
        *to = Some(from.to_vec());
    }
}

/// One of `names`, or an error that names the nearest.
pub(super) fn unknown(flag: &str, given: &str, names: &[&str]) -> CliError {
    let remedy = nearest(given, names.iter()).map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
    InvalidSetting::new(flag, given, format!("one of {}", names.join(", ")), remedy).into()
}

impl NetworkFlags {
    pub fn apply(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        let model = &mut experiment.model;
        if self.input_size.is_some() {
            model.input_size = self.input_size;
        }
        set(&mut model.horizon, &self.horizon);
        if let Some(hidden) = self.hidden_size {
            model.hidden_size = hidden;
            // A preset's list of widths gives way to a width that the user names.
            if let Some(widths) = &mut model.mlp_units {
                widths.fill(hidden);
            }
        }
        if let Some(n) = self.n_stacks {
            model.n_stacks = n;
            (model.n_blocks, model.n_pool_kernel_size, model.n_freq_downsample) = (None, None, None);
        }
        set_list(&mut model.n_blocks, &self.n_blocks);
        set_list(&mut model.mlp_units, &self.mlp_units);
        set_list(&mut model.n_pool_kernel_size, &self.pool_kernels);
        set_list(&mut model.n_freq_downsample, &self.freq_downsample);
        if let Some(word) = &self.pooling {
            model.pooling_mode = word.parse::<crate::model::PoolingMode>()?;
        }
        if let Some(word) = &self.interpolation {
            model.interpolation_mode = word.parse::<crate::model::InterpolationMode>()?;
        }
        if let Some(word) = &self.activation {
            model.activation = word.parse::<crate::model::Activation>()?;
        }
        set(&mut model.dropout, &self.dropout);
        if self.embedding_dim.is_some() {
            model.embedding_dim = self.embedding_dim;
        }
        // A list says how many stacks there are; beside --n-stacks it must say the same.
        if let Some(n) = self.n_stacks {
            for (flag, list) in [
                ("--n-blocks", &self.n_blocks),
                ("--pool-kernels", &self.pool_kernels),
                ("--freq-downsample", &self.freq_downsample),
            ] {
                if !list.is_empty() && list.len() != n {
                    let given = list.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
                    let allowed = format!("{n} numbers, one per stack (--n-stacks {n})");
                    return Err(InvalidSetting::new(flag, given, allowed, "leave --n-stacks out").into());
                }
            }
        }
        Ok(())
    }
}

impl LossFlags {
    /// The loss that the flags name, if they name one.
    pub fn loss(&self, now: &LossConfig) -> Result<LossConfig, CliError> {
        let quantiles = || -> Result<Vec<f64>, CliError> {
            if self.level.is_empty() {
                Ok(self.quantiles.clone())
            } else {
                Ok(crate::loss::quantiles_from_levels(&self.level)?)
            }
        };
        let given = !self.level.is_empty() || !self.quantiles.is_empty();
        let name = match &self.loss {
            Some(name) => name.as_str(),
            None if given => "mqloss",
            None => "",
        };
        let loss = match name {
            "" => match (now, self.huber_delta) {
                (LossConfig::Huber { .. }, Some(delta)) => LossConfig::Huber { delta },
                _ => now.clone(),
            },
            "mae" => LossConfig::Mae,
            "mse" => LossConfig::Mse,
            "rmse" => LossConfig::Rmse,
            "mape" => LossConfig::Mape,
            "smape" => LossConfig::Smape,
            "mase" => LossConfig::Mase { season: self.loss_season.unwrap_or(1) },
            "huber" => LossConfig::Huber { delta: self.huber_delta.unwrap_or(1.0) },
            "quantile" => match self.quantiles.as_slice() {
                [] => LossConfig::Quantile { q: 0.5 },
                [q] => LossConfig::Quantile { q: *q },
                many => {
                    let shown = many.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
                    return Err(InvalidSetting::new(
                        "--quantiles",
                        shown,
                        "one quantile for --loss quantile",
                        "use --loss mqloss",
                    )
                    .into());
                }
            },
            "mqloss" => {
                let quantiles = if given { quantiles()? } else { (1..10).map(|i| f64::from(i) / 10.0).collect() };
                LossConfig::MultiQuantile { quantiles }
            }
            other => {
                let names = ["mae", "mse", "rmse", "mape", "smape", "mase", "huber", "quantile", "mqloss"];
                return Err(unknown("--loss", other, &names));
            }
        };
        if self.huber_delta.is_some() && !matches!(loss, LossConfig::Huber { .. }) {
            return Err(CliError::input("usage", "--huber-delta is for the huber loss").hint("add --loss huber"));
        }
        if given && !matches!(loss, LossConfig::Quantile { .. } | LossConfig::MultiQuantile { .. }) {
            return Err(CliError::input("usage", "--quantiles and --level are for the losses quantile and mqloss")
                .hint("add --loss mqloss"));
        }
        if self.loss_season.is_some() && !matches!(loss, LossConfig::Mase { .. }) {
            return Err(CliError::input("usage", "--loss-season is for the mase loss").hint("add --loss mase"));
        }
        Ok(loss)
    }

    pub fn apply(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        experiment.loss = self.loss(&experiment.loss)?;
        if !self.horizon_weight.is_empty() {
            experiment.train.horizon_weight = Some(self.horizon_weight.clone());
        }
        if let Some(word) = &self.scaler {
            experiment.transform.scaler = word.parse::<crate::transform::ScalerKind>()?;
        }
        if let Some(word) = &self.window_scaler {
            experiment.transform.window_scaler = word.parse::<crate::window::WindowScaler>()?;
        }
        Ok(())
    }
}

impl TrainerFlags {
    pub fn apply(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        let train = &mut experiment.train;
        set(&mut train.epochs, &self.epochs);
        set(&mut train.batch_size, &self.batch_size);
        if self.max_steps.is_some() {
            train.max_steps = self.max_steps;
        }
        if self.steps_per_epoch.is_some() {
            train.steps_per_epoch = self.steps_per_epoch;
        }
        set(&mut experiment.window.stride, &self.window_stride);
        set(&mut train.lr, &self.lr);
        if let Some(word) = &self.optimizer {
            let names = OptimizerKind::ALL.map(OptimizerKind::name);
            train.optimizer = OptimizerKind::ALL
                .into_iter()
                .find(|k| k.name() == word)
                .ok_or_else(|| unknown("--optimizer", word, &names))?;
        }
        set(&mut train.weight_decay, &self.weight_decay);
        set(&mut train.momentum, &self.momentum);
        train.nesterov |= self.nesterov;
        set(&mut train.gradient_clip, &self.gradient_clip);
        set(&mut train.val_every, &self.val_every);
        set(&mut train.val_windows, &self.val_windows);
        set(&mut train.patience, &self.patience);
        set(&mut train.min_delta, &self.min_delta);
        set(&mut train.accumulate, &self.accumulate);
        set(&mut train.shares, &self.shares);
        if let Some(word) = &self.engine {
            let names = TrainEngine::ALL.map(TrainEngine::name);
            train.engine = TrainEngine::ALL
                .into_iter()
                .find(|k| k.name() == word)
                .ok_or_else(|| unknown("--engine", word, &names))?;
        }
        if self.ema.is_some() {
            train.ema = self.ema;
        }
        if self.max_time.is_some() {
            train.max_seconds = self.max_time;
        }
        match self.on_nan.as_deref() {
            None => {}
            Some("stop") => train.on_nan = OnNan::Stop,
            Some("rollback") => train.on_nan = OnNan::Rollback,
            Some(other) => return Err(unknown("--on-nan", other, &["stop", "rollback"])),
        }
        match self.keep.as_deref() {
            None => {}
            Some("best") => train.keep = Keep::Best,
            Some("last") => train.keep = Keep::Last,
            Some(other) => return Err(unknown("--keep", other, &["best", "last"])),
        }
        Ok(())
    }
}
