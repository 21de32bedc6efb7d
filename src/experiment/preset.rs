//! Named settings that were good on several data sets.

use std::str::FromStr;

use super::Experiment;
use crate::error::{InvalidSetting, nearest};
use crate::loss::LossConfig;
use crate::train::{Keep, OptimizerKind, ScheduleConfig};
use crate::window::WindowScaler;

/// A named set of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// For a series that nobody tuned.
    #[default]
    Default,
    /// For long horizons on long series (hourly, quarter-hourly): the settings of the benchmarks.
    LongHorizon,
    /// For short series (monthly, quarterly, yearly): a small network.
    ShortSeries,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Default, Self::LongHorizon, Self::ShortSeries];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::LongHorizon => "long-horizon",
            Self::ShortSeries => "short-series",
        }
    }

    /// Puts the preset's settings into an experiment; what it does not name stays.
    pub fn apply(self, experiment: &mut Experiment) {
        let Experiment { transform, model, loss, train, .. } = experiment;
        match self {
            Self::Default => {}
            Self::LongHorizon => {
                transform.window_scaler = WindowScaler::Robust;
                model.input_horizons = 5;
                model.mlp_units = Some(vec![512; 3]);
                model.n_pool_kernel_size = Some(vec![2, 2, 2]);
                model.n_freq_downsample = Some(vec![24, 12, 1]);
                model.dropout = 0.3;
                *loss = LossConfig::Huber { delta: 0.5 };
                train.optimizer = OptimizerKind::Adam;
                train.weight_decay = 0.0;
                train.gradient_clip = 0.0;
                train.batch_size = 256;
                train.max_steps = Some(1000);
                train.steps_per_epoch = Some(200);
                train.lr = 3e-4;
                train.schedule = ScheduleConfig::Step { step_size: None, gamma: 0.5 };
                train.patience = 0;
                train.keep = Keep::Last;
            }
            Self::ShortSeries => {
                model.input_horizons = 3;
                model.hidden_size = 128;
                train.batch_size = 128;
                train.steps_per_epoch = Some(50);
                train.max_steps = Some(1000);
                train.patience = 5;
            }
        }
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let remedy = nearest(text, names.iter()).map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
            InvalidSetting::new("--preset", text, names.join(", "), remedy)
        })
    }
}
