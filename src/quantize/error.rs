//! What can go wrong when a model is quantized.

use super::Gated;
use crate::bundle::BundleError;
use crate::error::{Advise, InvalidSetting};
use crate::evaluate::EvaluateError;
use crate::forecast::ForecastError;
use crate::model::ModelError;
use crate::window::WindowError;

/// An error of the quantize room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A setting that cannot be.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The model cannot be quantized.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The model does not forecast this data.
    #[error(transparent)]
    Forecast(Box<ForecastError>),
    /// There are no training windows to calibrate with.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The models cannot be compared.
    #[error(transparent)]
    Evaluate(Box<EvaluateError>),
    /// The quantized model is worse than was allowed; nothing was written.
    #[error(
        "the int8 model is {:.3} % worse than the float model on the validation rows, {:.3} % are allowed: nothing was \
         written", 100.0 * .0.comparison.degradation, 100.0 * .0.limit
    )]
    Gate(Box<Gated>),
}

impl From<ForecastError> for QuantizeError {
    fn from(error: ForecastError) -> Self {
        Self::Forecast(Box::new(error))
    }
}

impl From<EvaluateError> for QuantizeError {
    fn from(error: EvaluateError) -> Self {
        Self::Evaluate(Box::new(error))
    }
}

impl Advise for QuantizeError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::Model(e) => e.kind(),
            Self::Bundle(e) => e.kind(),
            Self::Forecast(e) => e.kind(),
            Self::Window(e) => e.kind(),
            Self::Evaluate(e) => e.kind(),
            Self::Gate(_) => "accuracy-gate",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::Model(e) => e.hint(),
            Self::Bundle(e) => e.hint(),
            Self::Forecast(e) => e.hint(),
            Self::Window(e) => e.hint(),
            Self::Evaluate(e) => match **e {
                EvaluateError::NoWindows { horizon, .. } => Some(format!(
                    "the gate judges on validation rows: give at least {horizon} of them with --split TRAIN/VAL/TEST"
                )),
                _ => e.hint(),
            },
            Self::Gate(gated) => Some(gated.advice()),
        }
    }
}
