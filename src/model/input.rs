//! What the network receives: a batch of windows as tensors.

use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// A batch of windows, already scaled, as the network reads it.
///
/// `B` windows, `L` input steps, `H` horizon steps, `X`/`F`/`S` historical / future / static columns.
#[derive(Debug, Clone)]
pub struct ModelInput<B: Backend> {
    /// The history, `[B, L]`, oldest first. Missing values are 0 here and 0 in the mask.
    pub insample_y: Tensor<B, 2>,
    /// 1 where the history is observed, 0 where it is padding or missing, `[B, L]`.
    pub insample_mask: Tensor<B, 2>,
    /// Covariates known up to the origin, `[B, L, X]`.
    pub hist_exog: Option<Tensor<B, 3>>,
    /// Covariates known ahead, `[B, L + H, F]`.
    pub futr_exog: Option<Tensor<B, 3>>,
    /// Covariates that do not change with time, `[B, S]`; codes of categories behind them, `[B, S + E]`.
    pub stat_exog: Option<Tensor<B, 2>>,
}

impl<B: Backend> ModelInput<B> {
    /// Number of windows in the batch.
    pub fn n_windows(&self) -> usize {
        self.insample_y.dims()[0]
    }

    /// The windows `start..end` of the batch.
    pub fn rows(&self, start: usize, end: usize) -> Self {
        Self {
            insample_y: self.insample_y.clone().slice([start..end]),
            insample_mask: self.insample_mask.clone().slice([start..end]),
            hist_exog: self.hist_exog.clone().map(|t| t.slice([start..end])),
            futr_exog: self.futr_exog.clone().map(|t| t.slice([start..end])),
            stat_exog: self.stat_exog.clone().map(|t| t.slice([start..end])),
        }
    }
}

impl<B: AutodiffBackend> ModelInput<B> {
    /// The same batch for a network that is not trained.
    pub fn inner(&self) -> ModelInput<B::InnerBackend> {
        ModelInput {
            insample_y: self.insample_y.clone().inner(),
            insample_mask: self.insample_mask.clone().inner(),
            hist_exog: self.hist_exog.clone().map(Tensor::inner),
            futr_exog: self.futr_exog.clone().map(Tensor::inner),
            stat_exog: self.stat_exog.clone().map(Tensor::inner),
        }
    }
}
