//! What can go wrong in a training run.

use super::checkpoint::CheckpointError;
use crate::error::{Advise, InvalidSetting};
use crate::loss::LossError;
use crate::model::ModelError;
use crate::window::WindowError;

/// Why a model could not be trained.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The loss does not fit.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// There are no windows, or none can be made.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The loss is no longer a number.
    #[error("the loss became {loss} at step {step} (epoch {epoch}){}", .window.as_ref().map(|w| format!(" on {w}")).unwrap_or_default())]
    NonFiniteLoss {
        /// The step, from 1.
        step: usize,
        /// The epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
        /// The window that spoilt it, in words, if it is known.
        window: Option<String>,
    },
    /// The gradient is no longer a number.
    #[error("the gradient became infinite or NaN at step {step} (epoch {epoch})")]
    NonFiniteGradient {
        /// The step, from 1.
        step: usize,
        /// The epoch, from 1.
        epoch: usize,
    },
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model to start from cannot be read.
    #[error("cannot start from this model: {detail}")]
    Start {
        /// What is wrong with it.
        detail: String,
        /// The kind of that error.
        kind: &'static str,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Worker threads cannot be started.
    #[error("cannot start {n} worker threads: {detail}")]
    Threads {
        /// How many were wanted.
        n: usize,
        /// What the system says.
        detail: String,
    },
    /// The dashboard ended the run the hard way before anything was learned.
    #[error("training was ended from the dashboard before the first epoch was done")]
    Killed,
}

impl Advise for TrainError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(_) => "invalid-setting",
            Self::Model(e) => e.kind(),
            Self::Loss(e) => e.kind(),
            Self::Window(e) => e.kind(),
            Self::NonFiniteLoss { .. } => "non-finite-loss",
            Self::NonFiniteGradient { .. } => "non-finite-gradient",
            Self::Checkpoint(e) => e.kind(),
            Self::Start { kind, .. } => kind,
            Self::Threads { .. } => "threads",
            Self::Killed => "killed",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::Model(e) => e.hint(),
            Self::Loss(e) => e.hint(),
            Self::Window(e) => e.hint(),
            Self::NonFiniteLoss { .. } | Self::NonFiniteGradient { .. } => Some(
                "try a smaller --lr, --gradient-clip 1, --on-nan rollback, or a scaler (--scaler standard, --window-scaler \
                 standard)"
                    .into(),
            ),
            Self::Checkpoint(e) => e.hint(),
            Self::Start { hint, .. } => hint.clone(),
            Self::Threads { .. } => Some("give a smaller --threads".into()),
            Self::Killed => None,
        }
    }
}
