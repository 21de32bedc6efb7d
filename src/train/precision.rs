//! Mixed precision: the network computes in half precision, weights and optimizer stay in f32.
//!
//! The weights are cast on the way into the network, so that gradients come back through the cast as f32, and layers
//! cast their results back: residuals, forecasts and the loss are sums of many, and stay in f32. f16 has 5 bits of
//! exponent: gradients below 6e-8 vanish in it. So the loss is scaled up before the backward pass, and the gradients
//! down after it. The scale depends on the batch alone, so that a run that is resumed repeats.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};

use super::clip::{global_norm, scale};
use super::error::TrainError;
use crate::error::InvalidSetting;
use crate::model::NHits;

/// How much smaller the scale becomes when a gradient overflows.
const SMALLER: f64 = 16.0;

/// Tries with smaller and smaller scales; what overflows still is an overflow.
const TRIES: usize = 8;

/// The half-precision type that a device computes with; bf16 before f16, because it needs no care.
///
/// # Errors
/// When it has none.
pub(super) fn half<B: Backend>(device: &B::Device) -> Result<DType, TrainError> {
    let types = [DType::BF16, DType::F16];
    types.into_iter().find(|dtype| B::supports_dtype(device, *dtype)).ok_or_else(|| {
        let allowed = format!("false: {} has no half precision", B::name(device));
        InvalidSetting::new("train.mixed_precision", true, allowed, "leave --mixed-precision out").into()
    })
}

/// Casts every weight.
struct To(DType);

impl<B: Backend> ModuleMapper<B> for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.cast(self.0), mapper)
    }
}

/// The network with its weights cast to `dtype`; gradients flow back to the weights of `net`.
pub(super) fn cast<B: Backend>(net: &NHits<B>, dtype: DType) -> NHits<B> {
    net.clone().map(&mut To(dtype))
}

/// The factor to start with for a batch of so many target values. A loss that is a mean over them has derivatives of
/// about one over their number, which this brings near 1/16; a power of two, so that scaling rounds nothing.
fn first_scale(weight: f64) -> f64 {
    (weight.max(16.0) / 16.0).log2().floor().exp2()
}

/// Gradients from `step(factor)`, which computes them with the loss multiplied by `factor`: scaled for f16, as they are for
/// other types.
pub(super) fn scaled<B: AutodiffBackend, T>(
    dtype: Option<DType>,
    weight: f64,
    net: &NHits<B>,
    mut step: impl FnMut(f64) -> (GradientsParams, T),
) -> (GradientsParams, T) {
    if dtype != Some(DType::F16) {
        return step(1.0);
    }
    let mut factor = first_scale(weight);
    for _ in 0..TRIES {
        let (mut grads, output) = step(factor);
        if global_norm::<B, _>(net, &grads).is_finite() {
            scale::<B, _>(net, &mut grads, 1.0 / factor);
            return (grads, output);
        }
        factor /= SMALLER;
    }
    step(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_a_power_of_two_that_grows_with_the_batch() {
        assert_eq!([1.0, 16.0, 40.0, 98_304.0].map(first_scale), [1.0, 1.0, 2.0, 4096.0]);
    }
}
