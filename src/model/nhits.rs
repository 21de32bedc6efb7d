//! The network: blocks that each explain a part of the input and add a part of the forecast (doubly residual stacking).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::block::{Block, Seen};
use super::config::{Checked, NHitsConfig};
use super::dropout::DropoutKey;
use super::input::ModelInput;
use super::pooling::Pool;
use super::tensors::reshaped;

/// N-HiTS, ready to forecast or to be trained.
///
/// The forecast is the last observed value (the level), plus one part per block; each block sees what the blocks before
/// it left unexplained:
///
/// ```text
/// r_0 = reverse(y)             mask = reverse(insample_mask)
/// backcast_k, knots_k = block_k(pool(r_k), pool(hist), pool(futr), stat)
/// r_{k+1} = (r_k - backcast_k) * mask
/// forecast = y_L + sum_k interpolate(knots_k)
/// ```
///
/// Only the target is reversed in time, as in neuralforecast; weights are compatible with it.
#[derive(Module, Debug)]
pub struct NHits<B: Backend> {
    pub(crate) blocks: Vec<Block<B>>,
    /// A table per column of categories, `[dim, rows]`.
    pub(crate) embeddings: Vec<Param<Tensor<B, 2>>>,
    pub(crate) config: Checked,
}

/// What one block saw and said.
#[derive(Debug, Clone)]
pub struct BlockTrace<B: Backend> {
    /// The stack of the block.
    pub stack: usize,
    /// What the blocks before left of the input, `[B, L]`, newest first.
    pub insample_y: Tensor<B, 2>,
    /// The pooled input with its columns, `[B, inputs]`.
    pub mlp_input: Tensor<B, 2>,
    /// The output of the last layer, `[B, L + Q * knots]`: backcast, then knots of each output.
    pub theta: Tensor<B, 2>,
    /// The part of the input that the block explains, `[B, L]`, newest first.
    pub backcast: Tensor<B, 2>,
    /// The part of the forecast that the block adds, `[B, H, Q]`.
    pub forecast: Tensor<B, 3>,
}

/// A forecast in its parts: `level` plus the forecasts of all blocks.
#[derive(Debug, Clone)]
pub struct Decomposition<B: Backend> {
    /// The last observed value, repeated, `[B, H, Q]`.
    pub level: Tensor<B, 3>,
    /// The blocks in order.
    pub blocks: Vec<BlockTrace<B>>,
}

impl<B: Backend> Decomposition<B> {
    /// The forecast of each stack, the sum of its blocks', `[B, H, Q]` each.
    pub fn stacks(&self) -> Vec<Tensor<B, 3>> {
        let mut stacks: Vec<Tensor<B, 3>> = vec![];
        for block in &self.blocks {
            let part = block.forecast.clone();
            match stacks.get_mut(block.stack) {
                Some(sum) => *sum = sum.clone() + part,
                // Blocks come in the order of their stacks, so the next new stack is the next place.
                None => stacks.push(part),
            }
        }
        stacks
    }

    /// The whole forecast, `[B, H, Q]`.
    pub fn forecast(&self) -> Tensor<B, 3> {
        self.blocks.iter().fold(self.level.clone(), |sum, block| sum + block.forecast.clone())
    }
}

impl<B: Backend> NHits<B> {
    /// The settings it was built from.
    pub fn config(&self) -> &NHitsConfig {
        &self.config
    }

    /// The checked settings it was built from.
    pub fn checked(&self) -> &Checked {
        &self.config
    }

    /// Number of weights that are trained.
    pub fn n_parameters(&self) -> usize {
        self.config.n_parameters()
    }

    /// The forecast `[B, H, Q]`, without dropout.
    ///
    /// # Shapes
    /// `insample_y`, `insample_mask` `[B, L]`; `hist_exog` `[B, L, X]`, `futr_exog` `[B, L + H, F]`, `stat_exog` `[B, S]`
    /// wherever the settings have such columns; with embeddings `stat_exog` is `[B, S + E]`, codes last.
    ///
    /// # Panics
    /// When the shapes of `input` are not those of the settings.
    pub fn forward(&self, input: &ModelInput<B>) -> Tensor<B, 3> {
        self.run(input, None, None, None)
    }

    /// The forecast `[B, H, Q]` with the dropout masks of `dropout`; shapes as for [`NHits::forward`].
    ///
    /// # Panics
    /// When the shapes of `input` are not those of the settings.
    pub fn forward_train(&self, input: &ModelInput<B>, dropout: &DropoutKey) -> Tensor<B, 3> {
        self.run(input, Some(dropout), None, None)
    }

    /// The forecast in its parts, without dropout; shapes as for [`NHits::forward`].
    ///
    /// # Panics
    /// When the shapes of `input` are not those of the settings.
    pub fn forward_decomposed(&self, input: &ModelInput<B>) -> Decomposition<B> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        self.run(input, None, Some(&mut blocks), None);
        let level = self.level(input).expand([input.n_windows(), self.config.horizon * self.config.outputs]);
        Decomposition { level: self.by_step(level), blocks }
    }

    /// The forecast `[B, H, Q]`, without dropout, while `see` is shown the number and the input `[B, in]` of every linear
    /// layer, in the order of [`Checked::layer_names`]; shapes as for [`NHits::forward`].
    ///
    /// # Panics
    /// When the shapes of `input` are not those of the settings.
    pub fn observe(&self, input: &ModelInput<B>, see: &dyn Fn(usize, &Tensor<B, 2>)) -> Tensor<B, 3> {
        self.run(input, None, None, Some(see))
    }

    /// The forward pass; where a `trace` is asked for, every block leaves one.
    fn run(
        &self,
        input: &ModelInput<B>,
        dropout: Option<&DropoutKey>,
        mut trace: Option<&mut Vec<BlockTrace<B>>>,
        seen: Seen<'_, B>,
    ) -> Tensor<B, 3> {
        let embedded;
        let input = match self.embeddings.is_empty() {
            true => input,
            false => {
                embedded = self.embedded(input);
                &embedded
            }
        };
        let mut residual = input.insample_y.clone().flip([1]);
        let mask = input.insample_mask.clone().flip([1]);
        let mut forecast = self.level(input);
        // Blocks with the same kernel see the same columns; only the pooled target changes between them.
        let mut pooled: Option<(usize, Option<Tensor<B, 2>>)> = None;
        let last = self.blocks.len() - 1;
        for (number, block) in self.blocks.iter().enumerate() {
            let shape = block.shape();
            let pool = Pool { mode: self.config.pooling_mode, kernel: shape.pool_kernel };
            if pooled.as_ref().is_none_or(|(kernel, _)| *kernel != pool.kernel) {
                pooled = Some((pool.kernel, self.pooled_columns(input, pool)));
            }
            let mlp_input = match pooled.as_ref().and_then(|(_, columns)| columns.clone()) {
                Some(columns) => Tensor::cat(vec![pool.series(residual.clone()), columns], 1),
                None => pool.series(residual.clone()),
            };
            let features = block.features(mlp_input.clone(), dropout, seen);
            let part = match &mut trace {
                None if number == last => block.interpolate(block.knots(features, seen)),
                None => {
                    let (backcast, knots) = block.split(block.theta(features, seen));
                    residual = (residual - backcast) * mask.clone();
                    block.interpolate(knots)
                }
                Some(trace) => {
                    let theta = block.theta(features, seen);
                    let (backcast, knots) = block.split(theta.clone());
                    let part = block.interpolate(knots);
                    trace.push(BlockTrace {
                        stack: shape.stack,
                        insample_y: residual.clone(),
                        mlp_input,
                        theta,
                        backcast: backcast.clone(),
                        // A copy: burn's libtorch backend would add the next part to a view of it in place.
                        forecast: self.by_step(part.clone().mul_scalar(1.0)),
                    });
                    residual = (residual - backcast) * mask.clone();
                    part
                }
            };
            forecast = part + forecast;
        }
        self.by_step(forecast)
    }

    /// The last input value of each window, `[B, 1]`.
    fn level(&self, input: &ModelInput<B>) -> Tensor<B, 2> {
        let last = self.config.input_size - 1;
        input.insample_y.clone().slice([0..input.n_windows(), last..last + 1])
    }

    /// The columns beside the target as the blocks of one kernel see them, `[B, n]`; none where there are none.
    fn pooled_columns(&self, input: &ModelInput<B>, pool: Pool) -> Option<Tensor<B, 2>> {
        let parts: Vec<_> = [
            input.hist_exog.clone().filter(|_| self.config.hist_exog > 0).map(|t| pool.columns(t)),
            input.futr_exog.clone().filter(|_| self.config.futr_exog > 0).map(|t| pool.columns(t)),
            input.stat_exog.clone().filter(|_| self.config.stat_exog > 0 || !self.embeddings.is_empty()),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| Tensor::cat(parts, 1))
    }

    /// `[B, Q * H]`, quantile-major, as `[B, H, Q]`.
    fn by_step(&self, x: Tensor<B, 2>) -> Tensor<B, 3> {
        let (rows, horizon, outputs) = (x.dims()[0], self.config.horizon, self.config.outputs);
        match outputs {
            // Only `[B, 1]` needs the way around.
            1 if horizon == 1 => reshaped(x, [rows, 1, 1]),
            1 => x.reshape([rows, horizon, 1]),
            _ => x.reshape([rows, outputs, horizon]).swap_dims(1, 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

    use super::super::{Activation, InterpolationMode, PoolingMode};
    use super::*;
    use crate::random::{Purpose, Stream};

    fn small() -> NHitsConfig {
        NHitsConfig {
            input_size: 11,
            horizon: 6,
            outputs: 3,
            n_blocks: vec![2, 1],
            mlp_units: vec![[8, 7], [7, 5]],
            n_pool_kernel_size: vec![3, 1],
            n_freq_downsample: vec![4, 1],
            hist_exog: 2,
            futr_exog: 1,
            stat_exog: 1,
            ..Default::default()
        }
    }

    fn tensor<B: Backend, const D: usize>(shape: [usize; D], device: &B::Device) -> Tensor<B, D> {
        let mut stream = Stream::new(11, Purpose::Synthetic, &[shape.iter().sum::<usize>() as u64]);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn input<B: Backend>(config: &NHitsConfig, rows: usize, device: &B::Device) -> ModelInput<B> {
        let (steps, horizon) = (config.input_size, config.horizon);
        ModelInput {
            insample_y: tensor([rows, steps], device),
            insample_mask: Tensor::ones([rows, steps], device),
            hist_exog: Some(tensor([rows, steps, config.hist_exog], device)),
            futr_exog: Some(tensor([rows, steps + horizon, config.futr_exog], device)),
            stat_exog: Some(tensor([rows, config.stat_exog], device)),
        }
    }

    #[test]
    fn the_parts_add_up_to_the_forecast() {
        on_backend!(|B, device| {
            for interpolation_mode in [InterpolationMode::Linear, InterpolationMode::Nearest, InterpolationMode::Cubic]
            {
                let config = NHitsConfig { interpolation_mode, ..small() }.check().unwrap();
                let model = NHits::<B>::new(&config, 3, &device);
                let input = input(&config, 4, &device);
                let forecast = model.forward(&input);
                assert_eq!(forecast.dims(), [4, 6, 3]);
                let parts = model.forward_decomposed(&input);
                let stacks = parts.stacks();
                assert_eq!((parts.blocks.len(), stacks.len()), (3, 2));
                let sum = stacks.into_iter().fold(parts.level.clone(), |sum, stack| sum + stack);
                let tolerance = Tolerance::<f32>::absolute(1e-6);
                sum.into_data().assert_approx_eq(&forecast.to_data(), tolerance);
                parts.forecast().into_data().assert_approx_eq(&forecast.to_data(), tolerance);
                let residual = parts.blocks[0].insample_y.clone() - parts.blocks[0].backcast.clone();
                parts.blocks[1].insample_y.to_data().assert_approx_eq(&residual.into_data(), tolerance);
            }
        });
    }

    #[test]
    fn with_zero_last_layers_the_forecast_is_the_last_value() {
        on_backend!(|B, device| {
            let config = small().check().unwrap();
            let zeros = |_: &str| None::<(Vec<usize>, Vec<f32>)>;
            assert!(NHits::<B>::with_tensors(&config, zeros, &device).is_err(), "nothing is invented");
            let specs = config.tensor_specs();
            let zeros = |name: &str| {
                let spec = specs.iter().find(|s| s.name == name)?;
                Some((spec.shape.clone(), vec![0.0; spec.shape.iter().product()]))
            };
            let model = NHits::<B>::with_tensors(&config, zeros, &device).unwrap();
            let input = input(&config, 2, &device);
            let last = input.insample_y.clone().slice([0..2, 10..11]).reshape([2, 1, 1]).expand([2, 6, 3]);
            assert_eq!(model.forward(&input).into_data(), last.into_data());
        });
    }

    #[test]
    fn a_masked_step_never_returns_to_the_input_of_later_blocks() {
        on_backend!(|B, device| {
            let config = small().check().unwrap();
            let model = NHits::<B>::new(&config, 3, &device);
            let mut input = input(&config, 1, &device);
            let mask: Vec<f32> = (0..11).map(|i| if i < 4 { 0.0 } else { 1.0 }).collect();
            input.insample_mask = Tensor::from_data(TensorData::new(mask, [1, 11]), &device);
            let blocks = model.forward_decomposed(&input).blocks;
            // Newest first: the four oldest steps lie at the end.
            let residual: Vec<f32> = blocks[1].insample_y.to_data().to_vec().unwrap();
            assert!(residual[7..].iter().all(|v| *v == 0.0) && residual[..7].iter().all(|v| *v != 0.0), "{residual:?}");
        });
    }

    #[test]
    fn dropout_changes_training_only_and_not_with_the_split_of_the_batch() {
        on_backend!(|B, device| {
            let config = NHitsConfig { dropout: 0.5, ..small() }.check().unwrap();
            let model = NHits::<B>::new(&config, 3, &device);
            let input = input(&config, 6, &device);
            let key = DropoutKey { seed: 1, step: 2, first_row: 0 };
            let whole = model.forward_train(&input, &key).into_data();
            let plain = model.forward(&input).into_data();
            assert_ne!(whole, plain);
            assert_ne!(whole, model.forward_train(&input, &DropoutKey { step: 3, ..key }).into_data());
            let second = model.forward_train(&input.rows(2, 6), &DropoutKey { first_row: 2, ..key });
            let halves = Tensor::cat(vec![model.forward_train(&input.rows(0, 2), &key), second], 0);
            halves.into_data().assert_approx_eq(&whole, Tolerance::<f32>::absolute(1e-6));
            let none = NHits::<B>::new(&NHitsConfig { dropout: 0.0, ..small() }.check().unwrap(), 3, &device);
            assert_eq!(none.forward_train(&input, &key).into_data(), plain);
        });
    }

    #[test]
    fn large_inputs_give_finite_gradients_with_every_activation() {
        on_backend!(|B, device| {
            for activation in Activation::ALL {
                let config = NHitsConfig { activation: *activation, pooling_mode: PoolingMode::Avg, ..small() };
                let config = config.check().unwrap();
                let model = NHits::<B>::new(&config, 3, &device);
                let mut input = input(&config, 3, &device);
                input.insample_y = input.insample_y.mul_scalar(1e4);
                let loss = model.forward(&input).sum();
                assert!(loss.clone().into_scalar().elem::<f32>().is_finite(), "{activation}");
                for tensor in model.gradients(&loss.backward()) {
                    assert!(tensor.data.iter().all(|g| g.is_finite()), "{activation}: {}", tensor.name);
                }
            }
        });
    }
}
