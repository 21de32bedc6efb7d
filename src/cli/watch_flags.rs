//! The flags of `nhits train` that say how a run is watched, saved and continued: put into a [`Watch`].

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use burn::train::Interrupter;
use clap::Args;

use super::error::CliError;
use super::output::Output;
use super::register_flags::{Filing, RegisterFlags};
use crate::train::{
    Callback, Checkpoint, CheckpointFolder, Checkpoints, CsvLog, Dashboard, Every, GradientMonitor, JsonLog, Monitor,
    RateMonitor, TensorBoard, Watch,
};

/// Watching and continuing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Watching and continuing")]
pub(super) struct WatchFlags {
    /// auto (a progress bar in a terminal, lines elsewhere), tui (burn's dashboard), plain or none
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = dashboard)]
    pub dashboard: Dashboard,
    /// Folder for checkpoints [default: RUN_DIR/checkpoints]
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// How often a checkpoint is written: 60s, 5m, 200steps, 2epochs, or never
    #[arg(long, value_name = "WHEN", default_value = "60s", value_parser = every)]
    pub checkpoint_every: When,
    /// Checkpoints that stay, the newest ones
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub keep_checkpoints: usize,
    /// Write a checkpoint only after an epoch that is the best so far
    #[arg(long)]
    pub save_best_only: bool,
    /// What "best" means for checkpoints: val-loss, val-mae, val-rmse or train-loss
    #[arg(long, value_name = "NAME", default_value = "val-loss")]
    pub checkpoint_monitor: String,
    /// Go on from the newest good checkpoint of the run, or from the one named: a file, a folder, or an id of the registry
    #[arg(long, value_name = "CHECKPOINT")]
    pub resume: Option<Option<PathBuf>>,
    /// Look at the gradients every N steps: their sizes go to RUN_DIR/gradients.jsonl, and a warning says when they
    /// vanish or explode
    #[arg(long, value_name = "N")]
    pub gradient_monitor: Option<usize>,
    /// Write event files for TensorBoard into this folder
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Steps between two points of TensorBoard's curves
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub tensorboard_every: usize,
    /// Steps between two of TensorBoard's histograms and pictures, 0 is none
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub tensorboard_histograms: usize,
    /// Write the metrics of each epoch as csv, too
    #[arg(long, value_name = "FILE")]
    pub log_csv: Option<PathBuf>,
}

/// How often a checkpoint is written, if at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    Never,
    Every(Every),
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

fn every(text: &str) -> Result<When, String> {
    let count =
        |suffix: &str| text.strip_suffix(suffix).and_then(|n| n.trim().parse::<usize>().ok()).filter(|n| *n > 0);
    let epochs = count("epochs").or_else(|| count("epoch"));
    let steps = count("steps").or_else(|| count("step"));
    match (text, steps, epochs) {
        ("never", ..) => Ok(When::Never),
        (_, Some(n), _) => Ok(When::Every(Every::Steps(n))),
        (_, _, Some(n)) => Ok(When::Every(Every::Epochs(n))),
        _ => match seconds(text) {
            Ok(s) => Ok(When::Every(Every::Seconds(s))),
            Err(_) => Err("expected a time (60s, 5m), a count (200steps, 2epochs) or never".to_string()),
        },
    }
}

/// Seconds of `90s`, `10m`, `1h 30m`, or of a plain number.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let plain = text.trim().parse::<f64>().ok();
    let seconds = match plain {
        Some(seconds) => seconds,
        None => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| "expected a time such as 90s, 10m or 1h30m".to_string())?
            .as_secs_f64(),
    };
    if seconds.is_finite() && seconds > 0.0 { Ok(seconds) } else { Err("expected a time greater than 0".to_string()) }
}

/// Who watches a run, and what can be asked of them afterwards.
pub(super) struct Watched {
    pub watch: Watch,
    pub gradients: Option<GradientMonitor>,
    /// The checkpoint that the run goes on from, and its steps.
    pub resumed: Option<(PathBuf, usize)>,
}

impl WatchFlags {
    /// The checkpoint to go on from, if one is asked for.
    fn resumed(
        &self,
        folder: &CheckpointFolder,
        register: &RegisterFlags,
    ) -> Result<Option<(PathBuf, Checkpoint)>, CliError> {
        match &self.resume {
            None => Ok(None),
            Some(None) => Ok(Some(folder.newest()?)),
            Some(Some(path)) if path.is_dir() => Ok(Some(CheckpointFolder::new(path).newest()?)),
            Some(Some(id)) if register.is_id(id) => Ok(Some((id.clone(), register.checkpoint(id)?))),
            Some(Some(path)) => Ok(Some((path.clone(), Checkpoint::load(path)?))),
        }
    }

    /// The watch of a run whose files lie in `run_dir`.
    pub fn watch(
        &self,
        run_dir: &Path,
        interrupter: Interrupter,
        (register, filing): (&RegisterFlags, Option<&Filing>),
        output: &Output,
    ) -> Result<Watched, CliError> {
        let folder = CheckpointFolder::new(self.checkpoint_dir.clone().unwrap_or_else(|| run_dir.join("checkpoints")));
        let resume = self.resumed(&folder, register)?;
        let resumed = resume.as_ref().map(|(path, c)| (path.clone(), c.state.step));
        if let Some((path, step)) = &resumed {
            output.note(format!("resuming after step {step}, from {}", path.display()));
        }
        let mut callbacks: Vec<Box<dyn Callback>> = vec![Box::new(JsonLog::new(&run_dir.join("metrics.jsonl")))];
        if let Some(path) = &self.log_csv {
            callbacks.push(Box::new(CsvLog::new(path)));
        }
        if let Some(dir) = &self.tensorboard {
            let mut board = TensorBoard::new(dir);
            (board.update_freq, board.histogram_freq) = (self.tensorboard_every, self.tensorboard_histograms);
            callbacks.push(Box::new(board));
        }
        let gradients =
            self.gradient_monitor.map(|n| GradientMonitor::new(n).with_log(&run_dir.join("gradients.jsonl")));
        callbacks.extend(gradients.clone().map(|g| Box::new(g) as Box<dyn Callback>));
        callbacks.push(Box::new(RateMonitor::default()));
        let monitor: Monitor = self.checkpoint_monitor.parse()?;
        if let When::Every(every) = self.checkpoint_every {
            let mut checkpoints = Checkpoints::new(folder);
            checkpoints.every = every;
            checkpoints.keep_last = self.keep_checkpoints;
            checkpoints.save_best_only = self.save_best_only;
            checkpoints.monitor = monitor;
            callbacks.push(Box::new(checkpoints));
            let filed = filing.and_then(|f| f.callback(run_dir, self.keep_checkpoints));
            callbacks.extend(filed.map(|f| Box::new(f) as Box<dyn Callback>));
        }
        let dashboard = match self.dashboard {
            // burn draws it on stdout, and panics in a thread of its own where there is no terminal.
            Dashboard::Tui if !std::io::stdout().is_terminal() => {
                let message = "--dashboard tui needs a terminal, and stdout is none";
                return Err(CliError::input("usage", message).hint("use --dashboard plain, or leave it out"));
            }
            Dashboard::Auto if output.quiet => Dashboard::None,
            other => other,
        };
        Ok(Watched { watch: Watch { dashboard, callbacks, interrupter, resume }, gradients, resumed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_told_apart() {
        assert_eq!(every("60s"), Ok(When::Every(Every::Seconds(60.0))));
        assert_eq!(every("5m"), Ok(When::Every(Every::Seconds(300.0))));
        assert_eq!(every("200steps"), Ok(When::Every(Every::Steps(200))));
        assert_eq!(every("1 epoch"), Ok(When::Every(Every::Epochs(1))));
        assert_eq!(every("never"), Ok(When::Never));
        assert!(every("0steps").is_err() && every("soon").is_err() && every("-5s").is_err());
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("0.5"), Ok(0.5));
    }
}
