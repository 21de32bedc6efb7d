//! The moving average of the weights (EMA): what is validated and kept when `train.ema` is set.

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::model::{NHits, Weight};

/// Weights that follow those of the network slowly.
///
/// After step `t` each is `d * average + (1 - d) * weight` with `d = min(decay, (1 + t) / (10 + t))`: the first weights,
/// which are random, are forgotten quickly.
#[derive(Debug, Clone)]
pub(super) struct Average<B: AutodiffBackend> {
    pub net: NHits<B::InnerBackend>,
    pub decay: f64,
}

/// Collects the weights by their identifiers; burn's container of gradients holds any tensors by parameter.
struct Collect<'a>(&'a mut GradientsParams);

impl<B: Backend> ModuleVisitor<B> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.register::<B, D>(param.id, param.val());
    }
}

struct Blend<'a> {
    weights: &'a mut GradientsParams,
    decay: f64,
}

impl<B: Backend> ModuleMapper<B> for Blend<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, average, mapper) = param.consume();
        let average = match self.weights.remove::<B, D>(id) {
            Some(weight) if self.decay == 0.0 => weight,
            Some(weight) => average.mul_scalar(self.decay).add(weight.mul_scalar(1.0 - self.decay)),
            None => average,
        };
        Param::from_mapped_value(id, average, mapper)
    }
}

/// The weights of `values` under the identifiers of `like`, a network of the same shape: what is known of parameters by
/// their identifiers (moments, averages) fits them then.
pub(super) fn with_identifiers<B: Backend>(values: &NHits<B>, like: &NHits<B>) -> NHits<B> {
    let mut weights = GradientsParams::new();
    for ((_, value), (_, place)) in values.weights().into_iter().zip(like.weights()) {
        match (value, place) {
            (Weight::Matrix(a), Weight::Matrix(b)) => weights.register::<B, 2>(b.id, a.val()),
            (Weight::Vector(a), Weight::Vector(b)) => weights.register::<B, 1>(b.id, a.val()),
            _ => {}
        }
    }
    // With a decay of 0 each weight becomes the value that was collected.
    like.clone().map(&mut Blend { weights: &mut weights, decay: 0.0 })
}

impl<B: AutodiffBackend> Average<B> {
    /// The same values under the identifiers of `net`'s parameters.
    pub fn of(self, net: &NHits<B::InnerBackend>) -> Self {
        Self { net: with_identifiers(&self.net, net), decay: self.decay }
    }

    /// Takes the weights of `net` after step `step`, counted from 1.
    pub fn follow(&mut self, net: &NHits<B>, step: usize) {
        let t = step as f64;
        let decay = self.decay.min((1.0 + t) / (10.0 + t));
        let mut weights = GradientsParams::new();
        net.valid().visit(&mut Collect(&mut weights));
        self.net = self.net.clone().map(&mut Blend { weights: &mut weights, decay });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NHitsConfig;

    #[test]
    fn it_is_the_weighted_mean_worked_out_by_hand() {
        on_backend!(|B, device| {
            let config = NHitsConfig { input_size: 4, horizon: 2, ..Default::default() };
            let config = NHitsConfig { mlp_units: vec![[3, 3]; 2], ..config }.check().unwrap();
            let (a, b) = (NHits::<B>::new(&config, 1, &device), NHits::<B>::new(&config, 2, &device));
            let (first, second) = (a.tensors()[0].data[0], b.tensors()[0].data[0]);
            // The average knows weights by their identifiers: the values of `b` are put under those of `a`.
            let other = Average::<B> { net: b.valid(), decay: 0.25 }.of(&a.valid());
            assert_eq!(other.net.tensors(), b.tensors());
            let mut weights = GradientsParams::new();
            other.net.visit(&mut Collect(&mut weights));
            let mut average = Average::<B> { net: a.valid(), decay: 0.25 };
            average.net = average.net.clone().map(&mut Blend { weights: &mut weights, decay: 0.25 });
            let got = average.net.tensors()[0].data[0];
            assert!((got - (0.25 * first + 0.75 * second)).abs() < 1e-6, "{first} {second} {got}");
            // Following the same network again comes nearer to it; early on the decay is small: 2 / 11 after a step.
            average.follow(&a, 1);
            let want = (2.0 / 11.0) * f64::from(got) + (9.0 / 11.0) * f64::from(first);
            assert!((f64::from(average.net.tensors()[0].data[0]) - want).abs() < 1e-6);
        });
    }
}
