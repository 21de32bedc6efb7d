//! The update rules in one pass over values in host memory: the same operations in the same order as on tensors, so the
//! same bits, without a pass for each operation.

use super::optimizer::{OptimizerKind, Rule};

/// The factors of one step.
struct Numbers {
    /// What AdamW multiplies the weights by before the step.
    decayed: Option<f32>,
    /// How much of the weights the other rules add to the gradient.
    added_decay: Option<f32>,
    /// Whether there are moments to go on from.
    begun: bool,
}

/// The factors of one step of Adam.
struct Adam {
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    scale_2: f32,
    epsilon: f32,
    rate: f32,
}

impl Rule {
    /// One step of learning rate `lr`, the `time`-th from 1, over weights, their gradients and moments, all of one length.
    /// The gradients are used up. Without moments to go on from (`begun`), those there are overwritten. Values that lie
    /// apart may be updated apart.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn on_slices(
        &self,
        lr: f64,
        time: usize,
        begun: bool,
        weights: &mut [f32],
        grads: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let n = weights.len();
        let (grads, first, second) = (&mut grads[..n], &mut first[..n], &mut second[..n]);
        let decays = self.weight_decay > 0.0;
        let decoupled = self.kind == OptimizerKind::AdamW;
        let numbers = Numbers {
            decayed: (decays && decoupled).then_some((1.0 - lr * self.weight_decay) as f32),
            added_decay: (decays && !decoupled).then_some(self.weight_decay as f32),
            begun,
        };
        if let Some(factor) = numbers.decayed {
            weights.iter_mut().for_each(|w| *w *= factor);
        }
        if let Some(decay) = numbers.added_decay {
            grads.iter_mut().zip(&*weights).for_each(|(g, w)| *g += *w * decay);
        }
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                let exponent = time.min(i32::MAX as usize) as i32;
                let adam = Adam {
                    beta_1: self.beta_1 as f32,
                    rest_1: (1.0 - self.beta_1) as f32,
                    beta_2: self.beta_2 as f32,
                    rest_2: (1.0 - self.beta_2) as f32,
                    scale_2: (1.0 - self.beta_2.powi(exponent)).sqrt() as f32,
                    epsilon: self.epsilon as f32,
                    rate: (lr / (1.0 - self.beta_1.powi(exponent))) as f32,
                };
                adam.update(&numbers, weights, grads, first, second);
            }
            OptimizerKind::Sgd => self.sgd(lr as f32, &numbers, weights, grads, first),
            OptimizerKind::RmsProp => {
                let (alpha, rest) = (self.alpha as f32, (1.0 - self.alpha) as f32);
                let (epsilon, rate) = (self.epsilon as f32, lr as f32);
                for i in 0..n {
                    let new = (grads[i] * grads[i]) * rest;
                    second[i] = if begun { second[i] * alpha + new } else { new };
                    weights[i] -= (grads[i] / (second[i].sqrt() + epsilon)) * rate;
                }
            }
        }
    }

    fn sgd(&self, rate: f32, numbers: &Numbers, weights: &mut [f32], grads: &[f32], velocity: &mut [f32]) {
        if self.momentum == 0.0 {
            weights.iter_mut().zip(grads).for_each(|(w, g)| *w -= g * rate);
            return;
        }
        let momentum = self.momentum as f32;
        for ((w, g), v) in weights.iter_mut().zip(grads).zip(velocity) {
            *v = if numbers.begun { *v * momentum + g } else { *g };
            let update = if self.nesterov { *v * momentum + g } else { *v };
            *w -= update * rate;
        }
    }

    /// Which moments the rule remembers: the first, the second.
    pub(super) fn remembers(&self) -> [bool; 2] {
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => [true, true],
            OptimizerKind::Sgd => [self.momentum != 0.0, false],
            OptimizerKind::RmsProp => [false, true],
        }
    }
}

impl Adam {
    fn update(&self, numbers: &Numbers, weights: &mut [f32], grads: &[f32], first: &mut [f32], second: &mut [f32]) {
        let n = weights.len();
        if !numbers.begun {
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
