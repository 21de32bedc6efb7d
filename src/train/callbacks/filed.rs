//! `FiledCheckpoints`: every checkpoint that is written goes into the registry, too.

use std::sync::Arc;
use std::time::Instant;

use crate::bundle::EpochRecord;
use crate::registry::{NewCheckpoint, Registry, Retention};

use super::super::callback::{Callback, CheckpointEvent, EpochEvent, Next, RunStart, StepEvent};

/// Files a copy of each checkpoint that another callback asked for, with epoch, step, losses and metrics of that moment.
#[derive(Debug)]
pub struct FiledCheckpoints {
    registry: Arc<Registry>,
    run: String,
    keep: Retention,
    /// Loss of the last step.
    loss: Option<f64>,
    last: Option<EpochRecord>,
}

impl FiledCheckpoints {
    /// Files checkpoints as those of `run`; of them, those that `keep` names stay.
    pub fn new(registry: Arc<Registry>, run: impl Into<String>, keep: Retention) -> Self {
        Self { registry, run: run.into(), keep, loss: None, last: None }
    }
}

impl Callback for FiledCheckpoints {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        self.last = run.history.last().copied();
    }

    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        self.loss = Some(event.loss);
        Next::Go
    }

    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        self.last = Some(*event.record);
        Next::Go
    }

    fn on_checkpoint(&mut self, event: &CheckpointEvent<'_>) {
        if event.written.is_err() {
            return;
        }
        let last = self.last.as_ref();
        let known = [
            ("loss", self.loss),
            ("train_loss", last.map(|r| r.train_loss)),
            ("val_loss", last.and_then(|r| r.val_loss)),
            ("val_mae", last.and_then(|r| r.val_mae)),
            ("val_rmse", last.and_then(|r| r.val_rmse)),
        ];
        let metrics = known.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect();
        let new = NewCheckpoint { run: self.run.clone(), epoch: event.epoch, step: event.step, metrics };
        let began = Instant::now();
        let filed = self.registry.save_checkpoint(event.path, &new);
        // Older ones go only when the newer one is safe.
        let pruned = filed.and_then(|id| Ok((id, self.registry.prune_checkpoints(&self.run, &self.keep)?.len())));
        match pruned {
            Ok((id, gone)) => {
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!("filed the checkpoint as {id} in {seconds:.3} s; {gone} older ones went");
            }
            Err(error) => tracing::warn!("the checkpoint was not filed in the registry: {error}; training goes on"),
        }
    }
}
