//! `Checkpoints`: when checkpoints are written, and which are kept.

use std::str::FromStr;
use std::time::Instant;

use crate::bundle::EpochRecord;
use crate::error::{InvalidSetting, nearest};

use super::super::callback::{Callback, CheckpointEvent, EpochEvent, Next, RunStart, StepEvent};
use super::super::checkpoint::{CheckpointError, CheckpointFolder};

/// The number of an epoch that says whether it is a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Monitor {
    /// The validation loss.
    #[default]
    ValLoss,
    /// The validation MAE.
    ValMae,
    /// The validation RMSE.
    ValRmse,
    /// The training loss.
    TrainLoss,
}

impl Monitor {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::ValLoss, Self::ValMae, Self::ValRmse, Self::TrainLoss];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ValLoss => "val-loss",
            Self::ValMae => "val-mae",
            Self::ValRmse => "val-rmse",
            Self::TrainLoss => "train-loss",
        }
    }

    /// The number; `None` for an epoch that was not validated.
    pub fn of(self, record: &EpochRecord) -> Option<f64> {
        match self {
            Self::ValLoss => record.val_loss,
            Self::ValMae => record.val_mae,
            Self::ValRmse => record.val_rmse,
            Self::TrainLoss => Some(record.train_loss),
        }
    }
}

impl FromStr for Monitor {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| {
            let remedy = nearest(text, names.iter()).map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
            InvalidSetting::new("--checkpoint-monitor", text, names.join(", "), remedy)
        })
    }
}

/// How often a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Every {
    /// After so many steps.
    Steps(usize),
    /// After so many epochs.
    Epochs(usize),
    /// After the first step that ends so many seconds after the last one was written.
    Seconds(f64),
}

/// Writes checkpoints into a folder, and one before a stop that was not planned (Ctrl-C, the time limit).
#[derive(Debug)]
pub struct Checkpoints {
    folder: CheckpointFolder,
    /// How often; every minute unless told otherwise.
    pub every: Every,
    /// So many stay in the folder, the newest ones; at least one.
    pub keep_last: usize,
    /// Only epochs that are the best so far by `monitor`.
    pub save_best_only: bool,
    /// What "best" means; without validation rows it is always the training loss.
    pub monitor: Monitor,
    best: f64,
    last: Instant,
}

impl Checkpoints {
    /// Checkpoints in `folder`: one a minute, the newest two are kept.
    pub fn new(folder: CheckpointFolder) -> Self {
        Self {
            folder,
            every: Every::Seconds(60.0),
            keep_last: 2,
            save_best_only: false,
            monitor: Monitor::default(),
            best: f64::INFINITY,
            last: Instant::now(),
        }
    }

    fn save(&mut self, step: usize) -> Next {
        self.last = Instant::now();
        Next::Save(self.folder.next(step))
    }
}

impl Callback for Checkpoints {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        self.folder.sweep();
        if run.plan.val_windows == 0 {
            self.monitor = Monitor::TrainLoss;
        }
        self.last = Instant::now();
        self.best = run.history.iter().filter_map(|r| self.monitor.of(r)).fold(f64::INFINITY, f64::min);
    }

    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        let due = match self.every {
            Every::Steps(n) => event.step.is_multiple_of(n.max(1)),
            Every::Epochs(_) => false,
            Every::Seconds(s) => self.last.elapsed().as_secs_f64() >= s,
        };
        if due && !self.save_best_only { self.save(event.step) } else { Next::Go }
    }

    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        let better = self.monitor.of(event.record).is_some_and(|value| value < self.best);
        if better {
            self.best = self.monitor.of(event.record).unwrap_or(self.best);
        }
        let due = match self.every {
            _ if self.save_best_only => better,
            Every::Epochs(n) => event.record.epoch.is_multiple_of(n.max(1)),
            Every::Steps(_) | Every::Seconds(_) => false,
        };
        if due { self.save(event.record.step) } else { Next::Go }
    }

    fn on_stop(&mut self, step: usize, _: usize) -> Next {
        if self.save_best_only { Next::Go } else { self.save(step) }
    }

    fn on_checkpoint(&mut self, event: &CheckpointEvent<'_>) {
        match event.written {
            Ok(written) => {
                tracing::info!(
                    "checkpoint {} ({:.1} MB in {:.2} s)",
                    event.path.display(),
                    written.bytes as f64 / 1e6,
                    written.seconds
                );
                // Older ones go only when a newer one is safe on the disk.
                if event.path.parent() == Some(self.folder.path()) {
                    self.folder.prune(self.keep_last);
                }
            }
            Err(error) => tell(error),
        }
    }
}

/// A run goes on without its checkpoint: what was learned is still in memory, and the next one may succeed.
fn tell(error: &CheckpointError) {
    tracing::warn!("{error}; training goes on, and earlier checkpoints stay");
}
