//! `Callback`: what looks on while a run goes, and may stop it or ask for a checkpoint.

use std::path::{Path, PathBuf};

use super::checkpoint::CheckpointError;
use super::job::Plan;
use crate::bundle::{EpochRecord, StoppedBy};
use crate::model::NamedTensor;

/// What a callback wants to happen next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Next {
    /// Nothing: the run goes on.
    #[default]
    Go,
    /// A checkpoint of the run as it is now, written to this file; every callback is told when it is done.
    Save(PathBuf),
    /// The end of the run, with the reason in words.
    Stop(String),
}

/// What a run is before its first step.
#[derive(Debug, Clone, Copy)]
pub struct RunStart<'a> {
    /// Windows, steps and epochs.
    pub plan: &'a Plan,
    /// Steps that were done before, in the run that is resumed; 0 for a new one.
    pub done: usize,
    /// Epochs that were done before.
    pub history: &'a [EpochRecord],
}

/// One optimizer step.
#[derive(Debug, Clone, Copy)]
pub struct StepEvent<'a> {
    /// Number of the step in the whole run, from 1.
    pub step: usize,
    /// Number of its epoch, from 1.
    pub epoch: usize,
    /// Loss of its windows, before the step.
    pub loss: f64,
    /// Mean absolute error of its windows, on the scale of the per-series scaler.
    pub mae: f64,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the gradient before clipping, where it was computed: with clipping, or when a callback wants
    /// gradients.
    pub gradient_norm: Option<f64>,
    /// The gradients as applied (clipped), where a callback wants them: names, shapes and layout as the weights.
    pub gradients: Option<&'a [NamedTensor]>,
    /// The network after the step.
    pub network: &'a dyn NetworkView,
}

/// One validation.
#[derive(Debug, Clone, Copy)]
pub struct ValidationEvent<'a> {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Steps done.
    pub step: usize,
    /// The loss.
    pub loss: f64,
    /// Mean absolute error, on the scale of the per-series scaler.
    pub mae: f64,
    /// Root mean squared error, on that scale.
    pub rmse: f64,
    /// The network that was validated (the averaged one, where weights are averaged).
    pub network: &'a dyn NetworkView,
}

/// The end of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochEvent<'a> {
    /// What it brought.
    pub record: &'a EpochRecord,
    /// Epochs of the run, at most.
    pub epochs: usize,
    /// Whether its validation loss is the lowest so far.
    pub best: bool,
    /// The network after it.
    pub network: &'a dyn NetworkView,
}

/// A checkpoint that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointEvent<'a> {
    /// The file.
    pub path: &'a Path,
    /// Steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Bytes and seconds that it took, or why it could not be written; the run goes on without it.
    pub written: Result<Written, &'a CheckpointError>,
}

/// What a checkpoint took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Written {
    /// Size of the file.
    pub bytes: u64,
    /// Seconds until it was safe on the disk.
    pub seconds: f64,
}

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunEnd<'a> {
    /// Why.
    pub stopped_by: StoppedBy,
    /// Steps done.
    pub steps: usize,
    /// The epoch whose weights are kept.
    pub best: Option<&'a EpochRecord>,
    /// Every epoch.
    pub history: &'a [EpochRecord],
}

/// A forecast beside what came, in the units of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastSample {
    /// The series.
    pub id: String,
    /// The end of the input, `[L]` or shorter; NaN where nothing was observed.
    pub input: Vec<f64>,
    /// What came, `[H]`; NaN where nothing was observed.
    pub target: Vec<f64>,
    /// The point forecast, `[H]`.
    pub forecast: Vec<f64>,
}

/// The network, for who wants to look into it. Each call copies from the device.
pub trait NetworkView: std::fmt::Debug {
    /// The weights by their `state_dict` names.
    fn weights(&self) -> Vec<NamedTensor>;
    /// Forecasts of a few validation windows, evenly spaced; none where there are no validation rows.
    fn forecasts(&self) -> Vec<ForecastSample>;
}

/// What looks on while a run goes. Every method has a default that does nothing.
///
/// Methods are called on the thread that trains, in the order of the callbacks; what they take is training time. A
/// callback that fails (a full disk) says so once in the log and lets the run go on.
pub trait Callback: Send {
    /// Before the first step.
    fn on_train_start(&mut self, _run: &RunStart<'_>) {}
    /// Whether [`StepEvent::gradients`] are wanted for step `step`, counted from 1: they cost a copy of every weight.
    fn wants_gradients(&self, _step: usize) -> bool {
        false
    }
    /// After each step.
    fn on_step(&mut self, _event: &StepEvent<'_>) -> Next {
        Next::Go
    }
    /// After each validation.
    fn on_validation(&mut self, _event: &ValidationEvent<'_>) -> Next {
        Next::Go
    }
    /// After each epoch, when its validation and the decision about its weights are done.
    fn on_epoch(&mut self, _event: &EpochEvent<'_>) -> Next {
        Next::Go
    }
    /// Before a stop that was not planned (Ctrl-C, the time limit, another callback's [`Next::Stop`]), between two
    /// steps: the last chance to save. Only [`Next::Save`] is heeded.
    fn on_stop(&mut self, _step: usize, _epoch: usize) -> Next {
        Next::Go
    }
    /// After a checkpoint that some callback asked for.
    fn on_checkpoint(&mut self, _event: &CheckpointEvent<'_>) {}
    /// After the last step, whatever ended the run.
    fn on_train_end(&mut self, _end: &RunEnd<'_>) {}
}
