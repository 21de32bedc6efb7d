//! Clipping by the global norm: one norm over all gradients, as PyTorch's `clip_grad_norm_` (burn's is per parameter).

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// Sums the squares of the gradients of every parameter.
struct SquareSum<'a, B: Backend> {
    grads: &'a GradientsParams,
    sums: Vec<Tensor<B, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SquareSum<'_, B::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id) {
            self.sums.push(grad.square().sum());
        }
    }
}

/// Multiplies the gradients of every parameter.
struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.grads.register(param.id, grad.mul_scalar(self.factor));
        }
    }
}

/// Multiplies the gradients of every parameter of `module` by `factor`.
pub(super) fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M, grads: &mut GradientsParams, factor: f64) {
    module.visit(&mut Scale { grads, factor });
}

/// The Euclidean norm over all gradients of `module`.
pub fn global_norm<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M, grads: &GradientsParams) -> f64 {
    let mut visitor = SquareSum::<B::InnerBackend> { grads, sums: Vec::new() };
    module.visit(&mut visitor);
    if visitor.sums.is_empty() {
        return 0.0;
    }
    // Read together: each reading waits for a GPU. Added up in f64.
    let sums = Tensor::cat(visitor.sums, 0).into_data().convert::<f64>();
    sums.iter::<f64>().sum::<f64>().sqrt()
}

/// Scales the gradients so that their global norm is at most `limit`; returns the norm before.
///
/// As in PyTorch the factor is `limit / (norm + 1e-6)`.
pub fn clip_global_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: &mut GradientsParams,
    limit: f64,
) -> f64 {
    let norm = global_norm::<B, M>(module, grads);
    if norm.is_finite() && norm > limit {
        scale::<B, M>(module, grads, limit / (norm + 1e-6));
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::LinearConfig;
    use nhits_backends::{Choice, Job, Taken, with_backend};

    struct Clip;

    impl Job for Clip {
        type Output = (f64, f64, f64);
        fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
            let module = LinearConfig::new(2, 1).init::<B>(&device);
            let x = Tensor::<B, 2>::from_floats([[3.0, 0.0], [0.0, 3.0]], &device);
            // dL/dw = [3, 3], dL/db = 2: the norm is sqrt(22).
            let mut grads = GradientsParams::from_grads(module.forward(x).sum().backward(), &module);
            let before = clip_global_norm::<B, _>(&module, &mut grads, 100.0);
            let untouched = global_norm::<B, _>(&module, &grads);
            clip_global_norm::<B, _>(&module, &mut grads, 1.0);
            (before, untouched, global_norm::<B, _>(&module, &grads))
        }
    }

    #[test]
    fn the_norm_is_over_all_parameters_together() {
        let (before, untouched, after) = with_backend(&Choice::default(), Clip).unwrap();
        assert!((before - 22f64.sqrt()).abs() < 1e-5);
        assert_eq!(before, untouched);
        assert!((after - 1.0).abs() < 1e-5);
    }
}
