//! What every command starts with: threads, logs, the configuration file, the backend.

use std::path::PathBuf;

use nhits_backends::{Choice, Job, Taken, resolve, with_backend};

use super::error::{CliError, backend};
use super::output::Output;
use crate::bundle::Bundle;
use crate::experiment::{Experiment, Preset};

/// The global flags, resolved.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub choice: Choice,
    pub threads: Option<usize>,
    pub config: Option<PathBuf>,
    pub seed: Option<u64>,
    pub output: Output,
}

impl Session {
    /// The number of threads to compute with.
    pub fn n_threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
    }

    /// Starts rayon's global pool with as many threads as were asked for.
    pub fn start_threads(&self) -> Result<(), CliError> {
        let Some(n) = self.threads else { return Ok(()) };
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build_global()
            .map_err(|e| CliError::program("threads", format!("cannot start {n} threads: {e}")))
    }

    /// The experiment to start from: the preset, then the file of `--config`, then `--seed`.
    pub fn experiment(&self, preset: Option<&str>) -> Result<Experiment, CliError> {
        let mut experiment = Experiment::default();
        if let Some(name) = preset {
            name.parse::<Preset>()?.apply(&mut experiment);
        }
        if let Some(path) = &self.config {
            experiment = experiment.overridden_by(path)?;
        }
        if let Some(seed) = self.seed {
            experiment.train.seed = seed;
        }
        Ok(experiment)
    }

    /// The experiment that a model was trained in, but for its data file; then the file of `--config`, then `--seed`.
    pub fn experiment_like(&self, bundle: &Bundle) -> Result<Experiment, CliError> {
        let mut experiment = match &bundle.manifest.experiment {
            serde_json::Value::Null => Experiment::default(),
            value => serde_json::from_value::<Experiment>(value.clone()).map_err(|e| {
                CliError::input("bad-manifest", format!("the settings in the model are not valid: {e}"))
                    .hint("name the settings with --preset or flags")
            })?,
        };
        experiment.data.path = PathBuf::new();
        if let Some(path) = &self.config {
            experiment = experiment.overridden_by(path)?;
        }
        if let Some(seed) = self.seed {
            experiment.train.seed = seed;
        }
        Ok(experiment)
    }

    /// The backend that a job would run on.
    pub fn taken(&self) -> Result<Taken, CliError> {
        resolve(&self.choice).map_err(backend)
    }

    /// Runs a job on it.
    pub fn on_backend<J: Job>(&self, job: J) -> Result<J::Output, CliError> {
        with_backend(&self.choice, job).map_err(backend)
    }
}

/// Logs to stderr: warnings, with `-v` what happens, with `-vv` everything.
pub(super) fn start_logs(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::TRACE,
    };
    // A second subscriber (in tests of the library) is no reason to stop.
    let _ = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).try_init();
}

/// The most memory that the process held so far, in MB; `None` where the system does not say.
pub(super) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kb| kb / 1024.0)
}
