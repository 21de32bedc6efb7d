//! `nhits evaluate`: how good a model is on its test windows, beside baselines.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use clap::{Args, ValueEnum};
use nhits_backends::{Job, Taken};

use super::error::CliError;
use super::flags::{DataFlags, SplitFlags};
use super::model_flag::ModelFlag;
use super::output::check_file;
use super::predict::data_like;
use super::session::Session;
use crate::atomic_file::write_atomic;
use crate::bundle::Bundle;
use crate::data::{Panel, Read, SplitSpec, Unusable, read_panel};
use crate::evaluate::{Evaluation, Network, Protocol};
use crate::forecast::Model;

/// Which rows are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// The test rows
    Test,
    /// The validation rows
    Val,
}

/// Flags of `nhits evaluate`.
#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    split: SplitFlags,
    /// Rows to judge on
    #[arg(long, value_enum, default_value = "test")]
    on: On,
    /// Rows between two windows
    #[arg(long, value_name = "N", default_value_t = 1)]
    step: usize,
    /// Season of the seasonal naive baseline and of mase [default: from the frequency]
    #[arg(long, value_name = "STEPS")]
    season: Option<usize>,
    /// File to write the whole evaluation to, as JSON
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Judging on whatever backend is taken.
struct Judging<'a> {
    bundle: &'a Bundle,
    panel: Arc<Panel>,
    protocol: &'a Protocol,
    threads: usize,
}

impl Job for Judging<'_> {
    type Output = Result<Evaluation, CliError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let model = Model::<B::InnerBackend>::new(self.bundle, &device, self.threads)?;
        let rows: Vec<_> = self.protocol.splits.iter().map(|s| s.train.clone()).collect();
        let bound = model.on(self.panel.clone(), &rows)?;
        let mut network = Network::new(bound, &self.bundle.manifest.loss);
        // Enough windows for every worker; the judge holds the forecasts of one batch.
        Ok(Evaluation::run(&self.panel, self.protocol, &mut network, 1024)?)
    }
}

impl EvaluateArgs {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        session.taken()?;
        self.output.as_deref().map(check_file).transpose()?;
        let bundle = self.model.bundle()?;
        let manifest = &bundle.manifest;
        let config = data_like(manifest, &self.data)?;
        let trained: Option<SplitSpec> =
            manifest.experiment.get("split").and_then(|v| serde_json::from_value(v.clone()).ok());
        let split = self.split.spec()?.or(trained).ok_or_else(|| {
            CliError::input("usage", "no split is named, and the model does not know one")
                .hint("give --split TRAIN/VAL/TEST, as rows or shares")
        })?;
        let mut read = read_panel(&config)?;
        if config.unusable == Unusable::Skip {
            read.skip_short(&split)?;
        }
        let Read { mut panel, notices, .. } = read;
        notices.iter().for_each(|n| session.output.note(n));
        if panel.stat_cat.len() == manifest.columns.stat_cat.len() {
            let unknown = panel.recode_categories(&manifest.columns.levels());
            unknown.iter().for_each(|line| session.output.note(line));
        }
        let splits = split.resolve_all(&panel)?;
        let mut protocol = Protocol::new(
            manifest.model.input_size,
            manifest.model.horizon,
            self.season.unwrap_or(manifest.season),
            splits,
        );
        protocol.step = self.step;
        if self.on == On::Val {
            protocol = protocol.on_validation();
        }
        protocol.check(&panel)?;
        let job =
            Judging { bundle: &bundle, panel: Arc::new(panel), protocol: &protocol, threads: session.n_threads() };
        let evaluation = session.on_backend(job)??;
        if let Some(path) = &self.output {
            let text = serde_json::to_string_pretty(&evaluation)
                .map_err(|e| CliError::program("output", format!("cannot write JSON: {e}")))?;
            write_atomic(path, |w| w.write_all(text.as_bytes()))
                .map_err(|e| CliError::program("write", format!("cannot write {e}")))?;
        }
        session.output.result(evaluation.report(), &evaluation)
    }
}
