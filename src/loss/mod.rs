//! The losses that a network is trained with, on tensors, with the values of neuralforecast 3.3.
//!
//! ```text
//! LossConfig --Loss::new()--> Loss --forward(y, y_hat, mask, insample_y)--> [1]
//! ```
//!
//! Every loss is a weighted mean over the observed steps of a batch. For all but the root mean square the mean can be
//! taken apart ([`Loss::sum`], [`Loss::weight`]), so that the rows of a batch can be worked on separately.
//!
//! | file | what |
//! |---|---|
//! | `config` | [`LossConfig`]: which loss, its settings, what its outputs are |
//! | `quantiles` | levels, quantiles, and the names of their columns |
//! | `weighted` | [`Loss`]: the values, differentiable |

mod config;
mod quantiles;
mod weighted;

pub use config::LossConfig;
pub use quantiles::{quantile_name, quantiles_from_levels};
pub use weighted::Loss;

use crate::error::{Advise, InvalidSetting};

/// Why a loss cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// A setting that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
}

impl Advise for LossError {
    fn kind(&self) -> &'static str {
        match self {
            LossError::Setting(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            LossError::Setting(e) => e.hint(),
        }
    }
}
