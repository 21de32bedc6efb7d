//! `RunState`: where a run is and what it has decided so far, apart from its tensors.

use serde::{Deserialize, Serialize};

use super::super::schedule::Plateau;
use super::super::stopping::EarlyStopping;
use super::super::trainee::StepOutput;
use crate::bundle::{EpochRecord, StoppedBy};
use crate::window::Position;

/// Where a run is: with the tensors of its checkpoint, all that the rest of the run depends on. Window draws and dropout
/// masks are functions of the seed and the position, so there is no generator to remember.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// The next batch.
    pub position: Position,
    /// Batches seen so far in the whole run: the dropout masks of a batch follow from its number.
    pub batches: u64,
    /// Optimizer steps done.
    pub step: usize,
    /// What the steps of the epoch under way have brought so far.
    pub epoch_so_far: StepOutput,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Factor of the learning rate after rollbacks; 1 without.
    pub lr_factor: f64,
    /// Rollbacks after losses that were no numbers.
    pub rollbacks: usize,
    /// Seconds that the run has taken so far.
    pub seconds: f64,
    /// Seconds of the epoch under way.
    pub epoch_seconds: f64,
    /// Seconds of its steps alone.
    pub stepping_seconds: f64,
    /// Every epoch that is over.
    pub history: Vec<EpochRecord>,
    /// The epoch with the lowest validation loss (or the last one, if that is what is kept).
    pub best: Option<EpochRecord>,
    /// Validations without improvement.
    pub stopping: EarlyStopping,
    /// What the plateau schedule has seen of the validation losses.
    pub plateau: Plateau,
    /// Updates of each weight's moments, in the order of the weights.
    pub updates: Vec<usize>,
    /// The same in the state that a rollback goes back to; empty where there is none.
    pub updates_of_snapshot: Vec<usize>,
    /// Why the run ended, if it has.
    pub ended: Option<StoppedBy>,
}

impl RunState {
    /// The state of a run before its first step.
    pub fn new() -> Self {
        Self { lr_factor: 1.0, ..Self::default() }
    }
}
