//! The flags of transforms and features, which `train`, `config` and `data features` share.

use clap::Args;

use super::error::CliError;
use crate::experiment::Experiment;
use crate::features::FeatureConfig;
use crate::transform::Step;

/// What is made of the data before windows are cut.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Transforms and features")]
pub(super) struct FeatureFlags {
    /// Transforms of the target before its scaler, in their order: 'log1p,difference=24' (docs/data.md lists them)
    #[arg(long, value_name = "STEPS")]
    pub transform: Option<String>,
    /// Columns made from the data: 'lags=1,7;rolling_mean=24;ema=0.3;roc=1;calendar=dow,hour;fourier=24:3;holidays=FILE'
    #[arg(long, value_name = "COLUMNS")]
    pub features: Option<String>,
}

impl FeatureFlags {
    pub fn apply(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        if let Some(text) = &self.transform {
            experiment.transform.target = Step::parse_all(text)?;
        }
        if let Some(text) = &self.features {
            experiment.features = text.parse::<FeatureConfig>()?;
        }
        Ok(())
    }
}
