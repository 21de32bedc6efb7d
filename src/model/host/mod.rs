//! The network on slices in host memory: the same formulas as [`super::NHits`], without tensors in between.
//!
//! A CPU backend spends half of a training step on what surrounds its matrix products: outputs that are zeroed and copied,
//! biases and activations in passes of their own, gradients that are added up, an autodiff graph. Here all weights
//! lie in one vector, a batch's values in buffers that stay from step to step, and nothing is computed that no one reads
//! (the last block's backcast, gradients to the input).
//!
//! | file | what |
//! |---|---|
//! | `layout` | where each weight lies in the one vector |
//! | `input` | a batch of windows as slices; pooling |
//! | `units` | bias, activation, dropout and their slopes |
//! | `fold` | the first two layers of a block, which have nothing between them, as one |
//! | `forward` | from windows to forecasts, with or without what the way back needs |
//! | `backward` | from the forecast's gradient to that of every weight |
//! | `forecaster` | a trained network that only forecasts, in f32 or with layers in 8-bit integers |
//!
//! Learnt slopes (`prelu`) and embeddings are left to the tensors: [`HostNetwork::new`] gives none for them.

mod backward;
mod fold;
mod forecaster;
mod forward;
mod input;
mod layout;
mod units;

pub use forecaster::{HostForecaster, Int8Layer};
pub use forward::Pass;
pub use input::HostInput;
pub use layout::{HostNetwork, in_host_memory, weights_of, with_weights, without_weights};

#[cfg(test)]
mod int8_tests;
#[cfg(test)]
mod tests;
