//! `nhits import`: a neuralforecast NHITS file -> bundle.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::output::check_file;
use super::session::Session;
use super::train_flags::{LossFlags, NetworkFlags};
use crate::bundle::{ImportOptions, import_neuralforecast};
use crate::calendar::Frequency;
use crate::loss::LossConfig;
use crate::model::NHitsConfig;
use crate::window::WindowScaler;

/// Flags of `nhits import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// safetensors file with the state_dict of neuralforecast's NHITS
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File to write the bundle to
    #[arg(long, short = 'o', value_name = "BUNDLE")]
    output: PathBuf,
    /// JSON file with the model's settings, as neuralforecast names them
    #[arg(long, value_name = "FILE")]
    hparams: Option<PathBuf>,
    /// Frequency of the series
    #[arg(long, value_name = "ALIAS")]
    freq: Option<String>,
    /// Historical covariates, in the model's order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    hist_exog: Vec<String>,
    /// Future covariates, in the model's order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    futr_exog: Vec<String>,
    /// Static covariates, in the model's order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    stat_exog: Vec<String>,
    #[command(flatten)]
    network: NetworkFlags,
    #[command(flatten)]
    loss: LossFlags,
}

impl ImportArgs {
    fn options(&self) -> Result<ImportOptions, CliError> {
        let mut options = match &self.hparams {
            None => ImportOptions::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| CliError::input("config-io", format!("cannot read {}: {e}", path.display())))?;
                serde_json::from_str(&text).map_err(|e| {
                    CliError::input("config-syntax", format!("{} does not hold model settings: {e}", path.display()))
                        .hint("expected a JSON object such as {\"h\": 12, \"input_size\": 36, \"n_blocks\": [1, 1, 1]}")
                })?
            }
        };
        let flags = &self.network;
        options.input_size = flags.input_size.or(options.input_size);
        options.h = flags.horizon.or(options.h);
        let list = |to: &mut Option<Vec<usize>>, from: &[usize]| {
            if !from.is_empty() {
                *to = Some(from.to_vec());
            }
        };
        list(&mut options.n_blocks, &flags.n_blocks);
        list(&mut options.n_pool_kernel_size, &flags.pool_kernels);
        list(&mut options.n_freq_downsample, &flags.freq_downsample);
        if flags.hidden_size.is_some() || flags.n_stacks.is_some() || !flags.mlp_units.is_empty() {
            return Err(CliError::input("usage", "--hidden-size, --n-stacks and --mlp-units follow from the weights")
                .hint("leave them out; --n-blocks says how the blocks are divided into stacks"));
        }
        if let Some(word) = &flags.pooling {
            options.pooling_mode = Some(word.parse()?);
        }
        if let Some(word) = &flags.interpolation {
            options.interpolation_mode = Some(word.parse()?);
        }
        if let Some(word) = &flags.activation {
            options.activation = Some(word.parse()?);
        }
        options.dropout_prob_theta = flags.dropout.or(options.dropout_prob_theta);
        for (to, from) in [
            (&mut options.hist_exog_list, &self.hist_exog),
            (&mut options.futr_exog_list, &self.futr_exog),
            (&mut options.stat_exog_list, &self.stat_exog),
        ] {
            if !from.is_empty() {
                to.clone_from(from);
            }
        }
        if let Some(word) = &self.loss.window_scaler {
            options.scaler_type = Some(word.parse::<WindowScaler>()?);
        }
        if self.loss.scaler.is_some() {
            return Err(CliError::input(
                "usage",
                "--scaler is fitted in training; a neuralforecast file does not hold it",
            )
            .hint("use --window-scaler for neuralforecast's scaler_type"));
        }
        if !self.loss.horizon_weight.is_empty() {
            return Err(CliError::input("usage", "--horizon-weight is for training").hint("leave it out"));
        }
        if self.loss.loss.is_some() || !self.loss.quantiles.is_empty() || !self.loss.level.is_empty() {
            options.loss = Some(self.loss.loss(&options.loss.clone().unwrap_or(LossConfig::Mae))?);
        }
        if let Some(text) = &self.freq {
            options.freq = Some(text.parse::<Frequency>()?);
        }
        Ok(options)
    }

    pub fn run(self, session: Session) -> Result<(), CliError> {
        check_file(&self.output)?;
        let options = self.options()?;
        let bytes = std::fs::read(&self.file)
            .map_err(|e| CliError::input("bundle-io", format!("cannot read {}: {e}", self.file.display())))?;
        let bundle = import_neuralforecast(&bytes, &self.file, &options)?;
        bundle.save(&self.output)?;
        let model: &NHitsConfig = &bundle.manifest.model;
        session.output.result(
            format!(
                "imported {} -> {} steps, {} blocks, pool kernels {:?}, downsampling {:?}\nwrote {}",
                model.input_size,
                model.horizon,
                model.n_blocks.iter().sum::<usize>(),
                model.n_pool_kernel_size,
                model.n_freq_downsample,
                self.output.display()
            ),
            &json!({"bundle": self.output, "model": model, "loss": bundle.manifest.loss,
                "window_scaler": bundle.manifest.window_scaler}),
        )
    }
}
