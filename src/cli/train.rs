//! `nhits train`: data -> bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn::train::Interrupter;
use clap::Args;
use nhits_backends::{Device, Job, Taken, resolve_all};
use serde_json::json;

use super::config::ExperimentArgs;
use super::error::CliError;
use super::lr_find;
use super::output::check_file;
use super::register_flags::RegisterFlags;
use super::series_report::SeriesReport;
use super::session::{Session, peak_rss_mb};
use super::watch_flags::{WatchFlags, Watched};
use crate::atomic_file::write_atomic;
use crate::bundle::{Bundle, EpochRecord, StoppedBy};
use crate::data::{Read, SeriesSplit, Unusable, read_panel};
use crate::experiment::Experiment;
use crate::train::{
    Check, Determinism, Facts, GradientMonitor, Plan, Provenance, TrainError, TrainJob, Trained, Watch, diagnose,
};

/// Flags of `nhits train`.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// File to write the model to [default: RUN_DIR/model.safetensors]
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Folder for the run's configuration and metrics
    #[arg(long, value_name = "DIR", default_value = "artifacts/run")]
    run_dir: PathBuf,
    /// Number of the GPU to train on (short for --device gpu:N)
    #[arg(long, value_name = "N", conflicts_with = "devices")]
    gpu: Option<usize>,
    /// File (csv or json) with a line per series: what was used, padded or skipped, and why
    #[arg(long, value_name = "FILE")]
    series_report: Option<PathBuf>,
    /// Devices of one backend that share every batch; the first holds the weights
    #[arg(long, value_name = "gpu:0,gpu:1", value_delimiter = ',', value_parser = super::device)]
    #[arg(conflicts_with_all = ["find_lr", "verify_determinism"])]
    devices: Vec<Device>,
    #[command(flatten)]
    watching: WatchFlags,
    /// Print what would be done, and stop
    #[arg(long)]
    dry_run: bool,
    /// Train a few steps twice, and once on another number of threads, compare every bit, and stop
    #[arg(long, conflicts_with = "dry_run")]
    verify_determinism: bool,
    /// Search for a learning rate instead of training: draws the loss over a rising rate, also as RUN_DIR/lr-find.svg
    #[arg(long)]
    find_lr: bool,
    // Last: a heading of the help holds until the next one.
    #[command(flatten)]
    register: RegisterFlags,
}

/// A run with its data read and its settings resolved.
pub(super) struct Run {
    pub experiment: Experiment,
    /// Of the data, see [`Read::fingerprint`].
    pub fingerprint: String,
    pub series: SeriesReport,
    pub job: TrainJob,
    pub plan: Plan,
    /// Of the last value repeated, see [`TrainJob::naive_mae`].
    pub naive_mae: Option<f64>,
}

impl Run {
    /// Reads the data of an experiment and works out what training comes to.
    pub fn prepare(experiment: Experiment, session: &Session) -> Result<Self, CliError> {
        let mut data = read_panel(&experiment.data)?;
        if experiment.data.unusable == Unusable::Skip {
            data.skip_short(&experiment.split)?;
        }
        for notice in &data.notices {
            session.output.note(notice);
        }
        Self::on(experiment, data, session)
    }

    /// The same for data that was read already.
    pub fn on(mut experiment: Experiment, data: Read, session: &Session) -> Result<Self, CliError> {
        // The one copy of the data: a large file would not fit twice.
        let Read { panel, fingerprint, rows, skipped, .. } = data;
        let job = experiment.job(Arc::new(panel), session.n_threads())?;
        let plan = job.plan()?;
        for notice in &plan.notices {
            session.output.note(notice);
        }
        let naive_mae = job.naive_mae(&plan);
        let series = SeriesReport { rows, used: plan.series(&job), skipped };
        Ok(Self { experiment, fingerprint, series, job, plan, naive_mae })
    }

    /// What will be done, in a few lines.
    pub fn announcement(&self, taken: &Taken) -> String {
        let (panel, plan) = (&self.job.panel, &self.plan);
        let rows = |part: fn(&SeriesSplit) -> usize| self.job.splits.iter().map(part).sum::<usize>();
        let naive = self.naive_mae;
        format!(
            "data      {} series, {} rows ({} train, {} validation, {} test), frequency {}{}\n\
             windows   {} to train on, {} to validate on, {} -> {} steps\n\
             network   {} parameters, {} stacks, loss {}\n\
             steps     {} ({} epochs of {}), {:.1} passes over the windows\n\
             memory    about {:.0} MB expected\n\
             backend   {taken}, {} threads{}",
            panel.n_series(),
            panel.n_rows(),
            rows(|s| s.train.len()),
            rows(|s| s.val.len()),
            rows(|s| s.test.len()),
            panel.freq,
            self.series.summary(),
            plan.train_windows,
            plan.val_windows,
            self.job.network.input_size,
            self.job.network.horizon,
            plan.n_parameters,
            self.job.network.n_stacks(),
            self.job.loss.name(),
            plan.total_steps,
            plan.epochs,
            plan.steps_per_epoch,
            plan.passes,
            plan.expected.total(),
            self.job.threads,
            match naive {
                Some(mae) => format!("\nbaseline  repeating the last value has mae {mae:.5} on the validation windows"),
                None => String::new(),
            }
        )
    }

    /// The checklist of a finished run.
    fn checks(&self, outcome: &Outcome, gradient_warnings: Option<&[String]>) -> Vec<Check> {
        diagnose(&Facts {
            history: &outcome.history,
            best: Some(&outcome.best),
            stopped_by: Some(outcome.stopped_by),
            naive_mae: self.naive_mae,
            n_windows: self.plan.train_windows,
            n_parameters: self.plan.n_parameters,
            horizon: self.job.network.horizon,
            rollbacks: outcome.rollbacks,
            gradient_warnings,
        })
    }

    /// The bundle of a finished run.
    pub fn bundle<B: burn::tensor::backend::Backend>(
        &self,
        trained: &Trained<B>,
        taken: &Taken,
    ) -> Result<Bundle, CliError> {
        let experiment = serde_json::to_value(&self.experiment)
            .map_err(|e| CliError::program("output", format!("cannot write the configuration as JSON: {e}")))?;
        let provenance = Provenance {
            data: self.experiment.data.clone(),
            data_fingerprint: Some(self.fingerprint.clone()),
            backend: taken.backend.to_string(),
            device: taken.device.to_string(),
            experiment,
        };
        Ok(trained.bundle(&self.job, &self.plan, provenance))
    }
}

/// Training on whatever backend is taken.
pub(super) struct Training<'a> {
    pub run: &'a Run,
    pub watch: Watch,
}

impl Job for Training<'_> {
    type Output = Result<(Bundle, Outcome), CliError>;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output {
        self.run_on::<B>(taken, vec![device])
    }

    fn run_on<B: AutodiffBackend>(self, taken: &Taken, devices: Vec<B::Device>) -> Self::Output {
        let trained = self.run.job.run_on::<B>(&self.run.plan, &devices, self.watch)?;
        let bundle = self.run.bundle(&trained, taken)?;
        Ok((
            bundle,
            Outcome {
                best: trained.best,
                history: trained.history,
                steps: trained.steps,
                stopped_by: trained.stopped_by,
                rollbacks: trained.rollbacks,
                failed: trained.failed,
            },
        ))
    }
}

/// A [`Trained`] without its network.
pub(super) struct Outcome {
    pub best: EpochRecord,
    pub history: Vec<EpochRecord>,
    pub steps: usize,
    pub stopped_by: StoppedBy,
    pub rollbacks: usize,
    pub failed: Option<TrainError>,
}

impl TrainArgs {
    /// The experiment, which begins with that of the model to start from.
    fn resolved(&self, session: &Session) -> Result<Experiment, CliError> {
        let Some(path) = &self.experiment.from else { return self.experiment.resolve(session) };
        let bundle = Bundle::load(path)?;
        let experiment = match &self.experiment.preset {
            Some(_) => session.experiment(self.experiment.preset.as_deref())?,
            None => session.experiment_like(&bundle)?,
        };
        self.experiment.resolve_on(experiment)
    }

    /// The devices that share a batch, as they were named.
    fn device_names(&self) -> Vec<String> {
        self.devices.iter().map(ToString::to_string).collect()
    }

    pub fn run(self, mut session: Session) -> Result<(), CliError> {
        let began = Instant::now();
        if let Some(n) = self.gpu {
            session.choice.device = Device::Gpu(n);
        }
        if let Some(first) = self.devices.first() {
            if session.choice.device != Device::Auto {
                return Err(CliError::input("usage", "--device and --devices exclude each other")
                    .hint("name every device in --devices"));
            }
            // The first device decides on the backend, as --device would.
            session.choice.device = *first;
        }
        // An absent backend or device is told before anything is read.
        let taken = session.taken()?;
        resolve_all(&session.choice, &self.devices).map_err(super::error::backend)?;
        let mut experiment = self.resolved(&session)?;
        if experiment.train.mixed_precision {
            session.check_mixed_precision(&self.devices)?;
        }
        self.experiment.data.apply_named(&mut experiment)?;
        let bundle_path = self.output.clone().unwrap_or_else(|| self.run_dir.join("model.safetensors"));
        let picture = lr_find::picture(&self.run_dir);
        check_file(if self.find_lr { &picture } else { &bundle_path })?;
        self.series_report.as_deref().map(SeriesReport::check_name).transpose()?;
        let run = Run::prepare(experiment, &session)?;
        session.output.note(run.announcement(&taken));
        if let Some(path) = &self.series_report {
            run.series.save(path)?;
        }
        if self.devices.len() > 1 {
            session.output.note(format!("devices   {} share every batch", self.device_names().join(", ")));
        }
        if self.dry_run {
            let plan = &run.plan;
            return session.output.result(
                "dry run: nothing was trained",
                &json!({"dry_run": true, "n_series": run.job.panel.n_series(),
                    "series": run.series.counts(), "n_windows": plan.train_windows,
                    "n_parameters": plan.n_parameters, "steps": plan.total_steps, "epochs": plan.epochs,
                    "expected_mb": plan.expected.total(),
                    "memory": plan.expected, "backend": taken.backend, "device": taken.device.to_string()}),
            );
        }
        if self.find_lr {
            return lr_find::find(&run, &self.run_dir, &taken, &session);
        }
        if self.verify_determinism {
            return verify_determinism(&run, &session);
        }
        let filing = self.register.filing()?;
        let registry = (&self.register, filing.as_ref());
        let Watched { watch, gradients, resumed } =
            self.watching.watch(&self.run_dir, stop_on_ctrl_c()?, registry, &session.output)?;
        write_text(&self.run_dir.join("config.toml"), &run.experiment.to_toml()?)?;
        let trained_at = Instant::now();
        let (bundle, outcome) = session.on_devices(&self.devices, Training { run: &run, watch })??;
        let training_s = trained_at.elapsed().as_secs_f64();
        bundle.save(&bundle_path)?;
        let warnings = gradients.as_ref().map(GradientMonitor::warnings);
        let checks = run.checks(&outcome, warnings.as_deref());
        let best = &outcome.best;
        let resumed_at = resumed.as_ref().map(|(_, step)| *step);
        // Speed is that of this process; steps and epochs are those of the whole run.
        let done = outcome.steps - resumed_at.unwrap_or(0).min(outcome.steps);
        let batch = run.job.config.batch_size * run.job.config.accumulate;
        let windows = done * batch.min(run.plan.train_windows);
        // A run that failed is kept as a file, and not filed as a result.
        let registered = match &filing {
            Some(filing) if outcome.failed.is_none() => filing.model(&bundle, &run)?,
            _ => None,
        };
        let mut value = json!({
            "bundle": bundle_path, "run_dir": self.run_dir, "backend": taken.backend, "device": taken.device.to_string(),
            "n_series": run.job.panel.n_series(), "series": run.series.counts(),
            "n_windows": run.plan.train_windows, "n_parameters": run.plan.n_parameters,
            "steps": outcome.steps, "epochs": outcome.history.len(), "best_epoch": best.epoch, "train_loss": best.train_loss,
            "val_loss": best.val_loss, "val_mae": best.val_mae, "wall_s": began.elapsed().as_secs_f64(),
            "steps_per_s": done as f64 / training_s, "windows_per_s": windows as f64 / training_s,
            "peak_rss_mb": peak_rss_mb(), "stopped_by": outcome.stopped_by, "resumed_at": resumed_at,
            "rollbacks": outcome.rollbacks, "checks": checks,
        });
        if self.devices.len() > 1 {
            value["devices"] = json!(self.device_names());
        }
        if let Some(registered) = &registered {
            value["registered"] = registered.clone();
            let text = |key: &str| registered[key].as_str().unwrap_or_default();
            session.output.note(format!("filed as {} ({})", text("model"), text("id")));
        }
        if let Some(error) = outcome.failed {
            let path = bundle_path.display();
            session.output.note(format!("the weights of epoch {} were saved to {path}", best.epoch));
            return Err(error.into());
        }
        let validation = match (best.val_loss, best.val_mae) {
            (Some(loss), Some(mae)) => format!(", val loss {loss:.5}, val mae {mae:.5}"),
            _ => String::new(),
        };
        let stopped = match outcome.stopped_by {
            StoppedBy::Finished => "finished",
            StoppedBy::EarlyStopping => "stopped early",
            StoppedBy::Interrupted => "interrupted",
            StoppedBy::TimeLimit => "out of time",
            StoppedBy::Callback => "stopped by a callback",
        };
        for check in &checks {
            session.output.note(shown(check));
        }
        session.output.result(
            format!(
                "{stopped} after {} steps in {:.1} s; kept epoch {}: train loss {:.5}{validation}\nwrote {}",
                outcome.steps,
                training_s,
                best.epoch,
                best.train_loss,
                bundle_path.display()
            ),
            &value,
        )
    }
}

/// A line of the checklist; what to try stands below it.
fn shown(check: &Check) -> String {
    let (mark, advice) =
        if check.ok { ("ok   ", String::new()) } else { ("look ", format!("\n      -> {}", check.advice)) };
    format!("{mark} {}: {}{advice}", check.name, check.measured)
}

/// Steps of each run of `--verify-determinism`.
const DETERMINISM_STEPS: usize = 5;

struct Twice<'a>(&'a TrainJob);

impl Job for Twice<'_> {
    type Output = Result<Determinism, TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        self.0.determinism::<B>(&device, DETERMINISM_STEPS)
    }
}

/// Says whether training repeats to the bit on this backend; code 1 where it does not.
fn verify_determinism(run: &Run, session: &Session) -> Result<(), CliError> {
    let found = session.on_backend(Twice(&run.job))??;
    let (threads, other) = &found.other_threads;
    let value = json!({
        "deterministic": found.repeats(), "independent_of_threads": found.threads_do_not_matter(), "steps": found.steps,
        "threads": [run.job.threads, run.job.threads, threads],
        "weights_sha256": [&found.twice[0], &found.twice[1], other],
    });
    if !found.repeats() {
        let message = format!("{} steps with the same seed gave other weights the second time", found.steps);
        return Err(CliError::program("not-deterministic", message)
            .hint("flex and ndarray repeat to the bit; on a GPU sums are taken in an order that may change"));
    }
    let same = if found.threads_do_not_matter() { "the same" } else { "other" };
    session.output.result(
        format!(
            "{} steps twice: the same bits ({}...); on {threads} thread(s): {same} bits",
            found.steps,
            &found.twice[0][..12]
        ),
        &value,
    )
}

/// Writes a small text file beside the run.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), CliError> {
    write_atomic(path, |w| w.write_all(text.as_bytes()))
        .map_err(|e| CliError::program("write", format!("cannot write {e}")).hint("check the folder and its rights"))
}

/// The first Ctrl-C (or SIGTERM, as schedulers and containers send it) ends the run after its step, with a checkpoint and
/// the best weights saved; the second ends the program at once.
pub(super) fn stop_on_ctrl_c() -> Result<Interrupter, CliError> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step, with a checkpoint and the best weights saved (again: stop at once)");
        handle.stop(Some("Ctrl-C"));
    })
    .map_err(|e| CliError::program("signal", format!("cannot listen to Ctrl-C: {e}")))?;
    Ok(interrupter)
}
