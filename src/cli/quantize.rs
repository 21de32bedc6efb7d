//! `nhits quantize`: a float bundle -> an int8 bundle, if it forecasts as well as was asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use nhits_backends::{Job, Taken};

use super::error::CliError;
use super::flags::{DataFlags, SplitFlags};
use super::model_flag::ModelFlag;
use super::output::{Output, check_file};
use super::predict::data_like;
use super::session::Session;
use crate::bundle::Bundle;
use crate::data::{Read, SplitSpec, read_panel};
use crate::error::InvalidSetting;
use crate::model::{Activations, QuantizationConfig};
use crate::quantize::{CalibrationData, Gated, QuantizeError, gated};

/// Flags of `nhits quantize`.
#[derive(Debug, Args)]
pub(super) struct QuantizeArgs {
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    split: SplitFlags,
    #[command(flatten)]
    rounding: RoundingFlags,
    /// How much worse the int8 model may be on the validation rows, in mse and in mae: 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share, allow_hyphen_values = true)]
    max_degradation: f64,
    /// File to write the int8 model to
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

/// What is rounded how.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Quantization")]
pub(super) struct RoundingFlags {
    /// How the inputs of layers are laid on integers: dynamic (each window by its own range), minmax or percentile (by
    /// the ranges of calibration windows), none (only weights are integers) [default: dynamic]
    #[arg(long, value_name = "HOW")]
    pub activations: Option<String>,
    /// Share of the calibration values that lies within a range, for --activations percentile [default: 99.99]
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub percentile: Option<f64>,
    /// One scale for each layer instead of one for each of its outputs
    #[arg(long)]
    pub per_tensor: bool,
    /// Weights with zero points, which lopsided ranges use better
    #[arg(long)]
    pub affine: bool,
    /// Windows of the train rows that ranges and errors are measured on [default: 1000]
    #[arg(long, value_name = "N")]
    pub calibration_samples: Option<usize>,
    /// Layers that stay in f32, for instance blocks.0.layers.0
    #[arg(long, value_name = "LAYER,LAYER", value_delimiter = ',')]
    pub float_layers: Vec<String>,
}

impl RoundingFlags {
    /// The settings with the flags that were given.
    pub fn apply(&self, config: &mut QuantizationConfig) -> Result<(), CliError> {
        if let Some(word) = &self.activations {
            config.activations = word.parse::<Activations>()?;
        }
        if let Some(percentile) = self.percentile {
            if config.activations != Activations::Percentile {
                let hint = "add --activations percentile";
                return Err(CliError::input("usage", "--percentile is for --activations percentile").hint(hint));
            }
            config.percentile = percentile;
        }
        config.per_channel &= !self.per_tensor;
        config.symmetric &= !self.affine;
        if let Some(n) = self.calibration_samples {
            config.calibration_samples = n;
        }
        if !self.float_layers.is_empty() {
            config.float_layers.clone_from(&self.float_layers);
        }
        Ok(config.check()?)
    }

    /// Whether any flag was given.
    pub fn any(&self) -> bool {
        self.activations.is_some()
            || self.percentile.is_some()
            || self.per_tensor
            || self.affine
            || self.calibration_samples.is_some()
            || !self.float_layers.is_empty()
    }
}

/// `1%`, `0.5 %` or `0.01`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim(), 0.01),
        None => (text.trim(), 1.0),
    };
    match number.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value * unit),
        _ => Err("expected a share >= 0, such as 1% or 0.01".into()),
    }
}

/// Quantizing on whatever backend is taken.
struct Quantizing<'a> {
    bundle: &'a Bundle,
    data: CalibrationData,
    config: &'a QuantizationConfig,
    limit: f64,
    output: &'a Output,
}

impl Job for Quantizing<'_> {
    type Output = Result<(Bundle, Gated), QuantizeError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let progress = |what: &str| self.output.note(what);
        gated::<B::InnerBackend>(self.bundle, &self.data, self.config, self.limit, &device, &progress)
    }
}

/// Refuses to write over the model that is read.
fn check_other(model: &Path, output: &Path) -> Result<(), CliError> {
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(model, output) {
        let allowed = "another file than --model";
        return Err(InvalidSetting::new("--output", output.display(), allowed, "the float model is its parent").into());
    }
    Ok(())
}

impl QuantizeArgs {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        session.taken()?;
        check_file(&self.output)?;
        check_other(self.model.path(), &self.output)?;
        let mut config = QuantizationConfig::default();
        self.rounding.apply(&mut config)?;
        let bundle = self.model.bundle()?;
        let manifest = &bundle.manifest;
        let read = data_like(manifest, &self.data)?;
        let trained: Option<SplitSpec> =
            manifest.experiment.get("split").and_then(|v| serde_json::from_value(v.clone()).ok());
        let split = self.split.spec()?.or(trained).ok_or_else(|| {
            CliError::input("usage", "no split is named, and the model does not know one").hint(
                "give --split TRAIN/VAL/TEST, as rows or shares: ranges come from train, the gate from validation",
            )
        })?;
        let Read { panel, notices, .. } = read_panel(&read)?;
        notices.iter().for_each(|n| session.output.note(n));
        let splits = split.resolve_all(&panel)?;
        let data = CalibrationData { panel: Arc::new(panel), splits, threads: session.n_threads() };
        let job =
            Quantizing { bundle: &bundle, data, config: &config, limit: self.max_degradation, output: &session.output };
        let (quantized, mut found) = session.on_backend(job)??;
        if !found.passed {
            session.output.note(found.report());
            let report = serde_json::to_value(&found)
                .map_err(|e| CliError::program("output", format!("cannot write JSON: {e}")))?;
            return Err(CliError::from(QuantizeError::Gate(Box::new(found))).report(report));
        }
        quantized.save(&self.output)?;
        found.output = Some(self.output);
        session.output.result(found.report(), &found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_percentage() {
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share(" 0.5 % "), Ok(0.005));
        assert_eq!(share("0"), Ok(0.0));
        for bad in ["-1%", "x", "%", "nan", "inf"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
