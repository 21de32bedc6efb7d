//! The update rules: Adam, AdamW, SGD and RMSprop as one burn optimizer.
//!
//! One type for all four keeps the number of instantiations of the training loop at one per backend. The factors are
//! computed in f64: with f32 ones (`1 - 0.999f32` is off by 1e-5) the weights leave the reference's after some steps.

use burn::optim::{SimpleOptimizer, adaptor::OptimizerAdaptor};
use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;

/// The update rule, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    #[default]
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// RMSprop.
    RmsProp,
}

impl OptimizerKind {
    /// All rules, in the order of the help.
    pub const ALL: [OptimizerKind; 4] = [Self::AdamW, Self::Adam, Self::Sgd, Self::RmsProp];

    fn is_adam(self) -> bool {
        matches!(self, Self::Adam | Self::AdamW)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::Sgd => "sgd",
            Self::RmsProp => "rmsprop",
        }
    }
}

/// An update rule with its numbers; formulas and defaults are PyTorch's.
///
/// * Adam: `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`.
/// * AdamW: the same after `w *= 1 - lr * decay`.
/// * SGD: `m = mu m + g; w -= lr * m`, with Nesterov `w -= lr * (g + mu m)`.
/// * RMSprop: `v = alpha v + (1 - alpha) g^2; w -= lr * g / (sqrt(v) + eps)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which formula.
    pub kind: OptimizerKind,
    /// Weight decay.
    pub weight_decay: f64,
    /// `b1` of Adam.
    pub beta_1: f64,
    /// `b2` of Adam.
    pub beta_2: f64,
    /// `eps` of Adam and RMSprop.
    pub epsilon: f64,
    /// `mu` of SGD.
    pub momentum: f64,
    /// Nesterov's variant of SGD.
    pub nesterov: bool,
    /// `alpha` of RMSprop.
    pub alpha: f64,
}

impl Rule {
    /// The rule of `kind` with PyTorch's defaults and no weight decay.
    pub fn new(kind: OptimizerKind) -> Self {
        Self {
            kind,
            weight_decay: 0.0,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            momentum: 0.0,
            nesterov: false,
            alpha: 0.99,
        }
    }

    /// The rule that a training configuration asks for.
    pub fn of(config: &TrainConfig) -> Self {
        Self {
            weight_decay: config.weight_decay,
            momentum: config.momentum,
            nesterov: config.nesterov,
            ..Self::new(config.optimizer)
        }
    }
}

/// What a rule remembers of one parameter.
#[derive(Record, Debug, Clone)]
pub struct RuleState<B: Backend, const D: usize> {
    /// Updates done.
    pub time: usize,
    /// First moment of Adam, velocity of SGD.
    pub first: Option<Tensor<B, D>>,
    /// Second moment of Adam and RMSprop.
    pub second: Option<Tensor<B, D>>,
}

/// `decay * old + (1 - decay) * new`.
fn blend<B: Backend, const D: usize>(old: Option<Tensor<B, D>>, new: Tensor<B, D>, decay: f64) -> Tensor<B, D> {
    let new = new.mul_scalar(1.0 - decay);
    match old {
        Some(old) => old.mul_scalar(decay).add(new),
        None => new,
    }
}

impl<B: Backend> SimpleOptimizer<B> for Rule {
    type State<const D: usize> = RuleState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<RuleState<B, D>>,
    ) -> (Tensor<B, D>, Option<RuleState<B, D>>) {
        // The moments were made of gradients, here or before a checkpoint, and are of their type.
        let single = tensor.dtype() == DType::F32 && grad.dtype() == DType::F32;
        if self.kind.is_adam() && single && in_host_memory::<B>(&tensor.device()) {
            return self.adam_on_host(lr, tensor, grad, state);
        }
        self.on_tensors(lr, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: RuleState<B, D>, device: &B::Device) -> RuleState<B, D> {
        RuleState {
            time: state.time,
            first: state.first.map(|t| t.to_device(device)),
            second: state.second.map(|t| t.to_device(device)),
        }
    }
}

impl Rule {
    /// The update as operations on tensors, for any backend.
    fn on_tensors<B: Backend, const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<RuleState<B, D>>,
    ) -> (Tensor<B, D>, Option<RuleState<B, D>>) {
        let RuleState { time, first, second } = state.unwrap_or(RuleState { time: 0, first: None, second: None });
        let time = time + 1;
        let (mut tensor, mut grad) = (tensor, grad);
        if self.weight_decay > 0.0 {
            if self.kind == OptimizerKind::AdamW {
                tensor = tensor.mul_scalar(1.0 - lr * self.weight_decay);
            } else {
                grad = grad.add(tensor.clone().mul_scalar(self.weight_decay));
            }
        }
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                let exponent = time.min(i32::MAX as usize) as i32;
                let correction_1 = 1.0 - self.beta_1.powi(exponent);
                let correction_2 = (1.0 - self.beta_2.powi(exponent)).sqrt();
                let first = blend(first, grad.clone(), self.beta_1);
                let second = blend(second, grad.square(), self.beta_2);
                let scale = second.clone().sqrt().div_scalar(correction_2).add_scalar(self.epsilon);
                let update = first.clone().div(scale).mul_scalar(lr / correction_1);
                (tensor.sub(update), Some(RuleState { time, first: Some(first), second: Some(second) }))
            }
            OptimizerKind::Sgd => {
                if self.momentum == 0.0 {
                    return (tensor.sub(grad.mul_scalar(lr)), None);
                }
                let velocity = match first {
                    Some(v) => v.mul_scalar(self.momentum).add(grad.clone()),
                    None => grad.clone(),
                };
                let update =
                    if self.nesterov { velocity.clone().mul_scalar(self.momentum).add(grad) } else { velocity.clone() };
                (tensor.sub(update.mul_scalar(lr)), Some(RuleState { time, first: Some(velocity), second: None }))
            }
            OptimizerKind::RmsProp => {
                let second = blend(second, grad.clone().square(), self.alpha);
                let update = grad.div(second.clone().sqrt().add_scalar(self.epsilon)).mul_scalar(lr);
                (tensor.sub(update), Some(RuleState { time, first: None, second: Some(second) }))
            }
        }
    }

    /// Adam and AdamW in one pass over the values where they lie: the same operations in the same order as on tensors,
    /// so the same bits, without the nineteen passes that those take.
    fn adam_on_host<B: Backend, const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<RuleState<B, D>>,
    ) -> (Tensor<B, D>, Option<RuleState<B, D>>) {
        let device = tensor.device();
        let (mut weights, mut grad) = (tensor.into_data(), grad.into_data());
        let (time, first, second) = match state {
            Some(RuleState { time, first, second }) => (time + 1, first, second),
            None => (1, None, None),
        };
        let begun = first.is_some() && second.is_some();
        // In the first step the moments are the gradient's own: `1 - b` times it, with nothing to add to.
        let moment = |old: Option<Tensor<B, D>>| old.map_or_else(|| grad.clone(), Tensor::into_data);
        let (mut first, mut second) = (moment(first), moment(second));
        let exponent = time.min(i32::MAX as usize) as i32;
        let numbers = AdamNumbers {
            decayed: (self.weight_decay > 0.0 && self.kind == OptimizerKind::AdamW)
                .then_some((1.0 - lr * self.weight_decay) as f32),
            added_decay: (self.weight_decay > 0.0 && self.kind == OptimizerKind::Adam)
                .then_some(self.weight_decay as f32),
            beta_1: self.beta_1 as f32,
            rest_1: (1.0 - self.beta_1) as f32,
            beta_2: self.beta_2 as f32,
            rest_2: (1.0 - self.beta_2) as f32,
            scale_2: (1.0 - self.beta_2.powi(exponent)).sqrt() as f32,
            epsilon: self.epsilon as f32,
            rate: (lr / (1.0 - self.beta_1.powi(exponent))) as f32,
            begun,
        };
        match (weights.as_mut_slice(), grad.as_mut_slice(), first.as_mut_slice(), second.as_mut_slice()) {
            (Ok(w), Ok(g), Ok(m), Ok(v)) => numbers.update(w, g, m, v),
            _ => unreachable!("`step` sends values of type f32 here only"),
        }
        let tensor = |data: TensorData| Tensor::from_data(data, &device);
        (tensor(weights), Some(RuleState { time, first: Some(tensor(first)), second: Some(tensor(second)) }))
    }
}

/// The factors of one Adam step.
struct AdamNumbers {
    /// What AdamW multiplies the weights by before the step.
    decayed: Option<f32>,
    /// How much of the weights Adam adds to the gradient.
    added_decay: Option<f32>,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    scale_2: f32,
    epsilon: f32,
    rate: f32,
    /// Whether there are moments to go on from.
    begun: bool,
}

impl AdamNumbers {
    fn update(&self, weights: &mut [f32], grads: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let n = weights.len();
        let (grads, first, second) = (&mut grads[..n], &mut first[..n], &mut second[..n]);
        if let Some(factor) = self.decayed {
            weights.iter_mut().for_each(|w| *w *= factor);
        }
        if let Some(decay) = self.added_decay {
            grads.iter_mut().zip(&*weights).for_each(|(g, w)| *g += *w * decay);
        }
        if !self.begun {
            for i in 0..n {
                first[i] = grads[i] * self.rest_1;
                second[i] = (grads[i] * grads[i]) * self.rest_2;
            }
        } else {
            for i in 0..n {
                first[i] = first[i] * self.beta_1 + grads[i] * self.rest_1;
                second[i] = second[i] * self.beta_2 + (grads[i] * grads[i]) * self.rest_2;
            }
        }
        for i in 0..n {
            let scale = second[i].sqrt() / self.scale_2 + self.epsilon;
            weights[i] -= (first[i] / scale) * self.rate;
        }
    }
}

/// Whether a backend keeps its values in this process's memory and gives them out without a copy. Found out by trying:
/// what comes back from a tensor lies where it was put.
pub(super) fn in_host_memory<B: Backend>(device: &B::Device) -> bool {
    let data = TensorData::new(vec![0.0f32; 64], [64]);
    let Ok(put) = data.as_slice::<f32>().map(<[f32]>::as_ptr) else { return false };
    let back = Tensor::<B, 1>::from_data(data, device).into_data();
    back.as_slice::<f32>().is_ok_and(|values| values.as_ptr() == put)
}

/// The optimizer of a module `M` on backend `B`.
pub type Optimizer<M, B> = OptimizerAdaptor<Rule, M, B>;

#[cfg(test)]
mod tests {
    use super::*;
    use nhits_backends::{Choice, Job, Taken, with_backend};

    /// Three updates of the weight `w = 1` with gradients 0.5, -0.25, 0.125 at rate 0.1.
    struct ThreeSteps(Rule);

    impl Job for ThreeSteps {
        type Output = Vec<f32>;
        fn run<B: burn::tensor::backend::AutodiffBackend>(self, _: &Taken, device: B::Device) -> Vec<f32> {
            let mut w = Tensor::<B::InnerBackend, 1>::from_floats([1.0], &device);
            let mut state = None;
            [0.5f32, -0.25, 0.125]
                .into_iter()
                .map(|g| {
                    let grad = Tensor::from_floats([g], &device);
                    let (next, s) = SimpleOptimizer::step(&self.0, 0.1, w.clone(), grad, state.take());
                    (w, state) = (next, s);
                    w.clone().into_data().to_vec::<f32>().unwrap()[0]
                })
                .collect()
        }
    }

    fn after(rule: Rule) -> Vec<f32> {
        with_backend(&Choice::default(), ThreeSteps(rule)).unwrap()
    }

    fn close(got: &[f32], want: [f64; 3]) {
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() < 2e-6, "got {got:?}, worked out by hand {want:?}");
        }
    }

    #[test]
    fn sgd_by_hand() {
        close(&after(Rule::new(OptimizerKind::Sgd)), [0.95, 0.975, 0.9625]);
        // velocities 0.5, 0.2, 0.305
        let rule = Rule { momentum: 0.9, ..Rule::new(OptimizerKind::Sgd) };
        close(&after(rule.clone()), [0.95, 0.93, 0.8995]);
        // updates 0.95, -0.07, 0.3995
        close(&after(Rule { nesterov: true, ..rule }), [0.905, 0.912, 0.87205]);
    }

    #[test]
    fn adam_by_hand() {
        // m = .05, .02, .0305; v = 2.5e-4, 3.1225e-4, 3.2756275e-4; corrected by 1 - .9^t and 1 - .999^t.
        let (mut w, mut want) = (1.0f64, [0.0; 3]);
        for (i, (m, v)) in [(0.05, 2.5e-4), (0.02, 3.1225e-4), (0.0305, 3.2756275e-4)].into_iter().enumerate() {
            let t = i as i32 + 1;
            let v: f64 = v;
            w -= 0.1 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            want[i] = w;
        }
        assert!((want[0] - 0.9).abs() < 1e-6, "the first Adam step is the learning rate");
        close(&after(Rule::new(OptimizerKind::Adam)), want);
    }

    /// Some steps on many weights, by both ways; the weights' bits.
    struct BothWays(Rule);

    impl Job for BothWays {
        type Output = [Vec<u32>; 2];
        fn run<B: burn::tensor::backend::AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
            use crate::random::{Purpose, Stream};
            let mut stream = Stream::new(4, Purpose::Synthetic, &[1]);
            let mut drawn = |scale: f64| -> Vec<f32> { (0..1000).map(|_| (stream.normal() * scale) as f32).collect() };
            let tensor =
                |v: &[f32]| Tensor::<B::InnerBackend, 2>::from_data(TensorData::new(v.to_vec(), [40, 25]), &device);
            let start = drawn(1.0);
            // Gradients of very different sizes, zeros among them.
            let mut grads: Vec<Vec<f32>> = [1.0, 1e-20, 3.0, 1e3, 1e-4].iter().map(|s| drawn(*s)).collect();
            grads[2][..100].fill(0.0);
            let run = |host: bool| {
                let (mut w, mut state) = (tensor(&start), None);
                for (i, g) in grads.iter().enumerate() {
                    let lr = 1e-3 * (i + 1) as f64;
                    let step = if host { Rule::adam_on_host } else { Rule::on_tensors };
                    (w, state) = step(&self.0, lr, w, tensor(g), state.take());
                }
                w.into_data().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
            };
            [run(true), run(false)]
        }
    }

    #[test]
    fn one_pass_over_the_values_gives_the_bits_of_the_tensor_operations() {
        for kind in [OptimizerKind::Adam, OptimizerKind::AdamW] {
            for weight_decay in [0.0, 0.01] {
                let rule = Rule { weight_decay, ..Rule::new(kind) };
                let [host, tensors] = with_backend(&Choice::default(), BothWays(rule)).unwrap();
                assert!(host == tensors, "{kind:?}, decay {weight_decay}");
            }
        }
    }

    #[test]
    fn weight_decay_is_decoupled_in_adamw_only() {
        let decayed = |kind| after(Rule { weight_decay: 0.5, ..Rule::new(kind) })[0];
        // AdamW: 1 * (1 - 0.1 * 0.5) - 0.1; Adam: the decayed gradient is still normalised to 1.
        assert!((decayed(OptimizerKind::AdamW) - 0.85).abs() < 1e-6);
        assert!((decayed(OptimizerKind::Adam) - 0.9).abs() < 1e-6);
        assert!((decayed(OptimizerKind::Sgd) - 0.9).abs() < 1e-6, "1 - 0.1 * (0.5 + 0.5)");
    }

    #[test]
    fn rmsprop_by_hand() {
        // v = .0025, .0031, .00322525
        let mut w = 1.0f64;
        let want = [(0.5, 0.0025f64), (-0.25, 0.0031), (0.125, 0.00322525)].map(|(g, v)| {
            w -= 0.1 * g / (v.sqrt() + 1e-8);
            w
        });
        close(&after(Rule::new(OptimizerKind::RmsProp)), want);
    }
}
