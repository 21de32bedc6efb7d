//! `nhits config`: the configuration with every default, its check, its JSON Schema.

use clap::{Args, Subcommand};

use super::error::CliError;
use super::feature_flags::FeatureFlags;
use super::flags::{DataFlags, SplitFlags};
use super::quantize::RoundingFlags;
use super::schedule_flags::ScheduleFlags;
use super::session::Session;
use super::train_flags::{LossFlags, NetworkFlags, TrainerFlags};
use crate::experiment::Experiment;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the resolved configuration: preset, then --config, then flags
    Print(Box<ExperimentArgs>),
    /// Check the configuration without reading the data
    Check(Box<ExperimentArgs>),
    /// Print the JSON Schema of a configuration file
    Schema,
}

/// Every flag that has a place in a configuration file.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ExperimentArgs {
    /// Named settings: default, long-horizon or short-series
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub split: SplitFlags,
    #[command(flatten)]
    pub features: FeatureFlags,
    #[command(flatten)]
    pub network: NetworkFlags,
    #[command(flatten)]
    pub loss: LossFlags,
    #[command(flatten)]
    pub schedule: ScheduleFlags,
    /// Float model whose weights the run starts from; settings that neither flags nor a preset or --config name are its
    #[arg(long, value_name = "BUNDLE", help_heading = "Training")]
    pub from: Option<std::path::PathBuf>,
    /// Train with rounding in the forward pass: qat (quantization-aware training), which ends in an int8 model
    #[arg(long, value_name = "HOW", help_heading = "Quantization")]
    pub quantize: Option<String>,
    #[command(flatten)]
    pub rounding: RoundingFlags,
    // Last, so that what a command adds stands under its heading, too.
    #[command(flatten)]
    pub trainer: TrainerFlags,
}

impl ExperimentArgs {
    /// The experiment: preset, file, flags, in this order.
    pub fn resolve(&self, session: &Session) -> Result<Experiment, CliError> {
        self.resolve_on(session.experiment(self.preset.as_deref())?)
    }

    /// The flags on top of an experiment.
    pub fn resolve_on(&self, mut experiment: Experiment) -> Result<Experiment, CliError> {
        self.data.apply(&mut experiment.data)?;
        if let Some(split) = self.split.spec()? {
            experiment.split = split;
        }
        self.features.apply(&mut experiment)?;
        self.network.apply(&mut experiment)?;
        self.loss.apply(&mut experiment)?;
        self.schedule.apply(&mut experiment.train)?;
        self.trainer.apply(&mut experiment)?;
        self.apply_rounding(&mut experiment)?;
        if self.from.is_some() {
            experiment.train.from.clone_from(&self.from);
        }
        experiment.check()?;
        Ok(experiment)
    }

    fn apply_rounding(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        match self.quantize.as_deref() {
            None => {}
            Some("qat") => drop(experiment.train.quantize.get_or_insert_default()),
            Some(other) => return Err(super::train_flags::unknown("--quantize", other, &["qat"])),
        }
        match &mut experiment.train.quantize {
            Some(config) => self.rounding.apply(config),
            None if self.rounding.any() => {
                let message = "the flags of quantization need --quantize";
                Err(CliError::input("usage", message).hint("add --quantize qat, or use `nhits quantize` on a model"))
            }
            None => Ok(()),
        }
    }
}

impl ConfigCommand {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        match self {
            Self::Print(args) => {
                let experiment = args.resolve(&session)?;
                session.output.result(experiment.to_toml()?.trim_end(), &experiment)
            }
            Self::Check(args) => {
                let experiment = args.resolve(&session)?;
                session
                    .output
                    .result("the configuration is valid", &serde_json::json!({"valid": true, "config": experiment}))
            }
            Self::Schema => {
                let schema = Experiment::schema();
                let text = serde_json::to_string_pretty(&schema)
                    .map_err(|e| CliError::program("output", format!("cannot write JSON: {e}")))?;
                session.output.result(text, &schema)
            }
        }
    }
}
