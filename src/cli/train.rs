//! `nhits train`: data -> bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn::train::Interrupter;
use clap::Args;
use nhits_backends::{Device, Job, Taken};
use serde_json::json;

use super::config::ExperimentArgs;
use super::error::CliError;
use super::lr_find;
use super::output::check_file;
use super::session::{Session, peak_rss_mb};
use crate::atomic_file::write_atomic;
use crate::bundle::{Bundle, EpochRecord, StoppedBy};
use crate::data::{Panel, Read, SeriesSplit, SplitSpec, read_panel};
use crate::experiment::Experiment;
use crate::train::{Dashboard, Plan, Provenance, TrainError, TrainJob, Trained, Watch, WindowChoice};

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
    #[arg(long, value_name = "N")]
    gpu: Option<usize>,
    /// auto (a progress bar in a terminal, lines elsewhere), tui (burn's dashboard), plain or none
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = dashboard)]
    dashboard: Dashboard,
    /// Print what would be done, and stop
    #[arg(long)]
    dry_run: bool,
    /// Search for a learning rate instead of training: draws the loss over a rising rate, also as RUN_DIR/lr-find.svg
    #[arg(long)]
    find_lr: bool,
}

fn dashboard(text: &str) -> Result<Dashboard, String> {
    match text {
        "auto" => Ok(Dashboard::Auto),
        "tui" => Ok(Dashboard::Tui),
        "plain" => Ok(Dashboard::Plain),
        "none" => Ok(Dashboard::None),
        _ => Err("expected auto, tui, plain or none".to_string()),
    }
}

/// A run with its data read and its settings resolved.
pub(super) struct Run {
    pub experiment: Experiment,
    pub data: Read,
    pub job: TrainJob,
    pub plan: Plan,
}

impl Run {
    /// Reads the data of an experiment and works out what training comes to.
    pub fn prepare(experiment: Experiment, session: &Session) -> Result<Self, CliError> {
        let data = read_panel(&experiment.data)?;
        for notice in &data.notices {
            session.output.note(notice);
        }
        Self::on(experiment, data, session)
    }

    /// The same for data that was read already.
    pub fn on(mut experiment: Experiment, data: Read, session: &Session) -> Result<Self, CliError> {
        experiment.check()?;
        let panel = Arc::new(data.panel.clone());
        let splits = resolve_split(&experiment.split, &panel)?;
        let columns = [panel.hist_exog.len(), panel.futr_exog.len(), panel.stat_exog.len()];
        let mut lengths: Vec<usize> = splits.iter().map(|s| s.train.len()).collect();
        lengths.sort_unstable();
        let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
        let network =
            experiment.model.network(experiment.loss.n_outputs(), columns, Some((usual, panel.freq.season())));
        // What was left to follow from the data is written down with the rest.
        experiment.model.input_size = Some(network.input_size);
        let job = TrainJob {
            panel,
            splits,
            network: network.check()?,
            loss: experiment.loss.clone(),
            scaler: experiment.transform.scaler,
            window_scaler: experiment.transform.window_scaler,
            windows: WindowChoice {
                stride: experiment.window.stride,
                min_input: experiment.window.min_input,
                min_target: experiment.window.min_target,
            },
            config: experiment.train.clone(),
            threads: session.n_threads(),
        };
        let plan = job.plan()?;
        for notice in &plan.notices {
            session.output.note(notice);
        }
        Ok(Self { experiment, data, job, plan })
    }

    /// What will be done, in a few lines.
    pub fn announcement(&self, taken: &Taken) -> String {
        let (panel, plan) = (&self.job.panel, &self.plan);
        let rows = |part: fn(&SeriesSplit) -> usize| self.job.splits.iter().map(part).sum::<usize>();
        let naive = naive_mae(panel, &self.job.splits, self.job.network.horizon, &self.plan);
        format!(
            "data      {} series, {} rows ({} train, {} validation, {} test), frequency {}\n\
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
            plan.expected_mb,
            self.job.threads,
            match naive {
                Some(mae) => format!("\nbaseline  repeating the last value has mae {mae:.5} on the validation windows"),
                None => String::new(),
            }
        )
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
            data_fingerprint: Some(self.data.fingerprint.clone()),
            backend: taken.backend.to_string(),
            device: taken.device.to_string(),
            experiment,
        };
        Ok(trained.bundle(&self.job, &self.plan, provenance))
    }
}

/// The rows of each part, with an error that names the flag.
pub(super) fn resolve_split(spec: &SplitSpec, panel: &Panel) -> Result<Vec<SeriesSplit>, CliError> {
    Ok(spec.resolve_all(panel)?)
}

/// Mean absolute error of the last value repeated over the validation windows, on the scale of the per-series scaler:
/// comparable with the validation mae that training prints.
fn naive_mae(panel: &Panel, splits: &[SeriesSplit], horizon: usize, plan: &Plan) -> Option<f64> {
    let scalers = plan.scalers();
    let (mut sum, mut n) = (0.0, 0u64);
    for (s, split) in splits.iter().enumerate() {
        let y = panel.series(s);
        for origin in split.val.start.max(1)..(split.val.end + 1).saturating_sub(horizon) {
            let Some(last) = y[..origin].iter().rev().find(|v| v.is_finite()) else { continue };
            let last = scalers.y.apply(s, *last);
            for target in y[origin..origin + horizon].iter().filter(|v| v.is_finite()) {
                sum += (scalers.y.apply(s, *target) - last).abs();
                n += 1;
            }
        }
    }
    (n > 0).then(|| sum / n as f64)
}

/// Training on whatever backend is taken.
pub(super) struct Training<'a> {
    pub run: &'a Run,
    pub watch: Watch,
}

impl Job for Training<'_> {
    type Output = Result<(Bundle, Outcome), CliError>;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output {
        let trained = self.run.job.run::<B>(&self.run.plan, &device, self.watch)?;
        let bundle = self.run.bundle(&trained, taken)?;
        Ok((
            bundle,
            Outcome {
                best: trained.best,
                history: trained.history,
                steps: trained.steps,
                stopped_by: trained.stopped_by,
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
    pub failed: Option<TrainError>,
}

impl TrainArgs {
    pub fn run(self, mut session: Session) -> Result<(), CliError> {
        let began = Instant::now();
        if let Some(n) = self.gpu {
            session.choice.device = Device::Gpu(n);
        }
        // An absent backend or device is told before anything is read.
        let taken = session.taken()?;
        let mut experiment = self.experiment.resolve(&session)?;
        self.experiment.data.apply_named(&mut experiment)?;
        let bundle_path = self.output.clone().unwrap_or_else(|| self.run_dir.join("model.safetensors"));
        let picture = lr_find::picture(&self.run_dir);
        check_file(if self.find_lr { &picture } else { &bundle_path })?;
        let run = Run::prepare(experiment, &session)?;
        session.output.note(run.announcement(&taken));
        if self.dry_run {
            let plan = &run.plan;
            return session.output.result(
                "dry run: nothing was trained",
                &json!({"dry_run": true, "n_series": run.job.panel.n_series(), "n_windows": plan.train_windows,
                    "n_parameters": plan.n_parameters, "steps": plan.total_steps, "epochs": plan.epochs,
                    "expected_mb": plan.expected_mb, "backend": taken.backend, "device": taken.device.to_string()}),
            );
        }
        if self.find_lr {
            return lr_find::find(&run, &self.run_dir, &taken, &session);
        }
        write_text(&self.run_dir.join("config.toml"), &run.experiment.to_toml()?)?;
        let interrupter = stop_on_ctrl_c()?;
        let dashboard =
            if session.output.quiet && self.dashboard == Dashboard::Auto { Dashboard::None } else { self.dashboard };
        let watch = Watch { dashboard, observer: None, interrupter };
        let trained_at = Instant::now();
        let (bundle, outcome) = session.on_backend(Training { run: &run, watch })??;
        let training_s = trained_at.elapsed().as_secs_f64();
        bundle.save(&bundle_path)?;
        let lines: Vec<String> = outcome.history.iter().filter_map(|r| serde_json::to_string(r).ok()).collect();
        write_text(&self.run_dir.join("metrics.jsonl"), &format!("{}\n", lines.join("\n")))?;
        let best = &outcome.best;
        let windows = outcome.steps * run.job.config.batch_size.min(run.plan.train_windows);
        let value = json!({
            "bundle": bundle_path, "run_dir": self.run_dir, "backend": taken.backend, "device": taken.device.to_string(),
            "n_series": run.job.panel.n_series(), "n_windows": run.plan.train_windows, "n_parameters": run.plan.n_parameters,
            "steps": outcome.steps, "epochs": outcome.history.len(), "best_epoch": best.epoch, "train_loss": best.train_loss,
            "val_loss": best.val_loss, "val_mae": best.val_mae, "wall_s": began.elapsed().as_secs_f64(),
            "steps_per_s": outcome.steps as f64 / training_s, "windows_per_s": windows as f64 / training_s,
            "peak_rss_mb": peak_rss_mb(), "stopped_by": outcome.stopped_by,
        });
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
        };
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

/// Writes a small text file beside the run.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), CliError> {
    write_atomic(path, |w| w.write_all(text.as_bytes()))
        .map_err(|e| CliError::program("write", format!("cannot write {e}")).hint("check the folder and its rights"))
}

/// The first Ctrl-C ends the run after its step, with the best weights saved; the second ends the program at once.
pub(super) fn stop_on_ctrl_c() -> Result<Interrupter, CliError> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step, the best weights are kept (again: stop at once)");
        handle.stop(Some("Ctrl-C"));
    })
    .map_err(|e| CliError::program("signal", format!("cannot listen to Ctrl-C: {e}")))?;
    Ok(interrupter)
}
