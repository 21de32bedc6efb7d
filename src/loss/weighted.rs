//! The values of the losses: weighted means over observed steps, differentiable in the forecast.

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::{LossConfig, LossError};
use crate::error::InvalidSetting;

/// Divisors below this are taken as zero, and what is divided by them as 0; above it the reciprocal is finite.
const ZERO: f32 = f32::MIN_POSITIVE;

/// A checked loss with an optional weight for each step of the horizon.
///
/// With `w[b, h] = mask[b, h] * horizon_weight[h]` the value is `sum(w * l) / sum(w)`, and 0 where nothing is observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    config: LossConfig,
    horizon_weight: Option<Vec<f32>>,
}

impl Loss {
    /// A loss for windows of `input_size` and `horizon` steps; without `horizon_weight` all steps weigh the same.
    ///
    /// # Errors
    /// Settings that are not allowed, a season that does not fit into the input, and weights that are not one
    /// number >= 0 for each step with a sum above 0.
    pub fn new(
        config: LossConfig,
        horizon_weight: Option<Vec<f32>>,
        input_size: usize,
        horizon: usize,
    ) -> Result<Self, LossError> {
        config.check()?;
        if let LossConfig::Mase { season } = config
            && season >= input_size
        {
            let allowed = format!("a season shorter than input_size = {input_size}");
            return Err(InvalidSetting::new("loss.season", season, allowed, "use a longer input_size").into());
        }
        if let Some(weights) = &horizon_weight {
            let invalid = |value: String, allowed: String| {
                let remedy = "give one weight per step of the horizon, or none at all";
                LossError::Setting(InvalidSetting::new("loss.horizon_weight", value, allowed, remedy))
            };
            if weights.len() != horizon {
                return Err(invalid(format!("{} numbers", weights.len()), format!("{horizon} numbers, one per step")));
            }
            if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
                return Err(invalid(bad.to_string(), "numbers >= 0".to_string()));
            }
            if weights.iter().all(|w| *w == 0.0) {
                return Err(invalid("only zeros".to_string(), "at least one number > 0".to_string()));
            }
        }
        Ok(Self { config, horizon_weight })
    }

    /// The settings.
    pub fn config(&self) -> &LossConfig {
        &self.config
    }

    /// The loss of a batch, `[1]`.
    ///
    /// # Shapes
    /// `y`, `mask` `[B, H]`, `y_hat` `[B, H, Q]` with `Q` of [`LossConfig::n_outputs`], `insample_y` `[B, L]`. Where
    /// `mask` is 0, `y` must still be a finite number.
    ///
    /// # Panics
    /// When the shapes are not those.
    pub fn forward<B: Backend>(
        &self,
        y: Tensor<B, 2>,
        y_hat: Tensor<B, 3>,
        mask: Tensor<B, 2>,
        insample_y: Tensor<B, 2>,
    ) -> Tensor<B, 1> {
        let weights = self.weights(mask);
        let total = weights.clone().sum().clamp_min(ZERO);
        let mean = self.weighted_sum(y, y_hat, weights, insample_y) / total;
        match self.config {
            // Clamped so that the gradient of a perfect forecast is 0 and not 0 times infinity.
            LossConfig::Rmse => mean.clamp_min(1e-30).sqrt(),
            _ => mean,
        }
    }

    /// The numerator `sum(w * l)`, `[1]`: for an additive loss, that of some rows of a batch divided by the
    /// [`Loss::weight`] of the whole batch are its rows' parts of the loss. For the root mean square, of the square.
    ///
    /// Shapes as for [`Loss::forward`].
    ///
    /// # Panics
    /// When the shapes are not those.
    pub fn sum<B: Backend>(
        &self,
        y: Tensor<B, 2>,
        y_hat: Tensor<B, 3>,
        mask: Tensor<B, 2>,
        insample_y: Tensor<B, 2>,
    ) -> Tensor<B, 1> {
        let weights = self.weights(mask);
        self.weighted_sum(y, y_hat, weights, insample_y)
    }

    /// The denominator `sum(w)` of a batch whose mask `[B * H]`, row-major, is on the host.
    pub fn weight(&self, mask: &[f32]) -> f64 {
        match &self.horizon_weight {
            None => mask.iter().map(|m| f64::from(*m)).sum(),
            Some(weights) => mask
                .chunks(weights.len())
                .flat_map(|row| row.iter().zip(weights).map(|(m, w)| f64::from(*m) * f64::from(*w)))
                .sum(),
        }
    }

    /// The loss whose weighted mean over all batches is `mean`, that is, all [`Loss::sum`] over all [`Loss::weight`].
    pub fn of_mean(&self, mean: f64) -> f64 {
        match self.config {
            LossConfig::Rmse => mean.sqrt(),
            _ => mean,
        }
    }

    /// `mask * horizon_weight`, `[B, H]`.
    fn weights<B: Backend>(&self, mask: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.horizon_weight {
            None => mask,
            Some(weights) => {
                let weights = TensorData::new(weights.clone(), [1, weights.len()]);
                let weights = Tensor::from_data(weights, &mask.device());
                mask * weights
            }
        }
    }

    fn weighted_sum<B: Backend>(
        &self,
        y: Tensor<B, 2>,
        y_hat: Tensor<B, 3>,
        weights: Tensor<B, 2>,
        insample_y: Tensor<B, 2>,
    ) -> Tensor<B, 1> {
        let [rows, steps] = y.dims();
        if let LossConfig::MultiQuantile { quantiles } = &self.config {
            let tilts: Vec<f32> = quantiles.iter().map(|q| (q - 0.5) as f32).collect();
            let tilts = TensorData::new(tilts, [1, 1, quantiles.len()]);
            let tilts = Tensor::from_data(tilts, &y.device());
            let d = y.reshape([rows, steps, 1]) - y_hat;
            let pinball = d.clone().abs().mul_scalar(0.5) + d * tilts;
            return (pinball * weights.reshape([rows, steps, 1])).sum();
        }
        let y_hat: Tensor<B, 2> = y_hat.reshape([rows, steps]);
        let d = y.clone() - y_hat.clone();
        let (losses, weights) = match &self.config {
            LossConfig::Mae | LossConfig::MultiQuantile { .. } => (d.abs(), weights),
            LossConfig::Mse | LossConfig::Rmse => (d.clone() * d, weights),
            LossConfig::Mape => (d.abs(), weights * reciprocal(y.abs())),
            LossConfig::Smape => {
                // 1 / s as r (2 - s r) with the constant r = 1 / s: the same value, and the slope -r² without burn's
                // gradient of a division, whose reciprocal ndarray gives to 14 bits only.
                let scale = y.abs() + y_hat.abs();
                let r = reciprocal(scale.clone().detach());
                let share = d.abs() * r.clone() * (scale * r).neg().add_scalar(2.0);
                (share, weights.mul_scalar(2.0))
            }
            LossConfig::Mase { season } => {
                let length = insample_y.dims()[1];
                let later = insample_y.clone().slice([0..rows, *season..length]);
                let earlier = insample_y.slice([0..rows, 0..length - season]);
                (d.abs(), weights * reciprocal((later - earlier).abs().mean_dim(1)))
            }
            LossConfig::Huber { delta } => {
                // With c = min(|d|, delta): c (|d| - c / 2) is d²/2 below delta and delta (|d| - delta / 2) above.
                let d = d.abs();
                let c = d.clone().clamp_max(*delta);
                (c.clone() * (d - c.mul_scalar(0.5)), weights)
            }
            LossConfig::Quantile { q } => {
                // max(q d, (q - 1) d) = |d| / 2 + (q - 1/2) d
                (d.clone().abs().mul_scalar(0.5) + d.mul_scalar(q - 0.5), weights)
            }
        };
        (losses * weights).sum()
    }
}

/// `1 / x` for `x >= 0`, and 0 where `x` is 0.
fn reciprocal<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let nothing = x.clone().lower_elem(ZERO);
    // Divided, because the reciprocal of some backends is approximate.
    (x.ones_like() / x.mask_fill(nothing.clone(), 1.0)).mask_fill(nothing, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two windows of three steps; the last step of the second is not observed.
    fn batch<B: Backend>(device: &B::Device) -> (Tensor<B, 2>, Tensor<B, 3>, Tensor<B, 2>, Tensor<B, 2>) {
        let y = Tensor::from_floats([[1.0, 2.0, -4.0], [0.0, 5.0, 0.0]], device);
        let y_hat = Tensor::from_floats([[[2.0], [2.0], [0.0]], [[0.0], [3.0], [9.0]]], device);
        let mask = Tensor::from_floats([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], device);
        let insample_y = Tensor::from_floats([[1.0, 2.0, 3.0, 5.0], [4.0, 4.0, 4.0, 4.0]], device);
        (y, y_hat, mask, insample_y)
    }

    fn number<B: Backend>(x: Tensor<B, 1>) -> f64 {
        f64::from(x.into_data().convert::<f32>().to_vec::<f32>().unwrap()[0])
    }

    #[test]
    fn hand_worked_values() {
        // |d| = 1, 0, 4, 0, 2 over five observed steps.
        on_backend!(|B, device| {
            for (config, want) in [
                (LossConfig::Mae, 7.0 / 5.0),
                (LossConfig::Mse, 21.0 / 5.0),
                (LossConfig::Rmse, (21.0f64 / 5.0).sqrt()),
                (LossConfig::Mape, (1.0 + 1.0 + 0.4) / 5.0),
                (LossConfig::Smape, 2.0 * (1.0 / 3.0 + 1.0 + 0.25) / 5.0),
                // Season 1: the first window's scale is 4/3, the second's is 0 and counts nothing.
                (LossConfig::Mase { season: 1 }, (5.0 * 0.75) / 5.0),
                (LossConfig::Huber { delta: 1.0 }, (0.5 + 3.5 + 1.5) / 5.0),
                // d = -1, 0, -4, 0, 2
                (LossConfig::Quantile { q: 0.9 }, (0.1 + 0.4 + 1.8) / 5.0),
            ] {
                let loss = Loss::new(config.clone(), None, 4, 3).unwrap();
                let (y, y_hat, mask, insample_y) = batch::<B>(&device);
                let value = number(loss.forward(y, y_hat, mask, insample_y));
                assert!((value - want).abs() < 1e-6, "{}: {value}, expected {want}", config.name());
            }
        });
    }

    #[test]
    fn several_quantiles_are_summed() {
        on_backend!(|B, device| {
            let quantiles = vec![0.5, 0.1];
            let loss = Loss::new(LossConfig::MultiQuantile { quantiles }, None, 4, 2).unwrap();
            let y = Tensor::<B, 2>::from_floats([[1.0, 2.0]], &device);
            let y_hat = Tensor::from_floats([[[0.0, 3.0], [2.0, 1.0]]], &device);
            // d = (1, -2), (0, 1): 0.5 + 1.8, 0 + 0.1
            let value = number(loss.forward(y.clone(), y_hat, y.ones_like(), y));
            assert!((value - 2.4 / 2.0).abs() < 1e-6, "{value}");
        });
    }

    #[test]
    fn steps_weigh_as_told() {
        on_backend!(|B, device| {
            let loss = Loss::new(LossConfig::Mae, Some(vec![1.0, 0.0, 3.0]), 4, 3).unwrap();
            let (y, y_hat, mask, insample_y) = batch::<B>(&device);
            // Weighted |d|: 1 + 3 * 4 + 0; weights: 1 + 3 + 1.
            let value = number(loss.forward(y, y_hat, mask, insample_y));
            assert!((value - 13.0 / 5.0).abs() < 1e-6, "{value}");
        });
    }

    #[test]
    fn an_additive_loss_may_be_split() {
        on_backend!(|B, device| {
            let weights = Some(vec![1.0, 2.0, 0.5]);
            for config in [
                LossConfig::Mae,
                LossConfig::Mse,
                LossConfig::Rmse,
                LossConfig::Mape,
                LossConfig::Smape,
                LossConfig::Mase { season: 2 },
                LossConfig::Huber { delta: 0.5 },
                LossConfig::Quantile { q: 0.2 },
            ] {
                let loss = Loss::new(config, weights.clone(), 4, 3).unwrap();
                let (y, y_hat, mask, insample_y) = batch::<B>(&device);
                let whole = number(loss.forward(y.clone(), y_hat.clone(), mask.clone(), insample_y.clone()));
                let part = |r: std::ops::Range<usize>| {
                    number(loss.sum(
                        y.clone().slice([r.clone()]),
                        y_hat.clone().slice([r.clone()]),
                        mask.clone().slice([r.clone()]),
                        insample_y.clone().slice([r]),
                    ))
                };
                let weight = loss.weight(&mask.to_data().to_vec::<f32>().unwrap());
                let mean = (part(0..1) + part(1..2)) / weight;
                assert!((loss.of_mean(mean) - whole).abs() < 1e-6, "{}: {mean}, {whole}", loss.config().name());
            }
        });
    }

    #[test]
    fn nothing_observed_or_nothing_wrong_is_zero_with_zero_gradients() {
        on_backend!(|B, device| {
            for config in [
                LossConfig::Mae,
                LossConfig::Rmse,
                LossConfig::Mape,
                LossConfig::Smape,
                LossConfig::Mase { season: 1 },
                LossConfig::Huber { delta: 1.0 },
                LossConfig::Quantile { q: 0.5 },
                LossConfig::MultiQuantile { quantiles: vec![0.5] },
            ] {
                let loss = Loss::new(config.clone(), None, 4, 3).unwrap();
                let (y, y_hat, mask, insample_y) = batch::<B>(&device);
                let perfect = y.clone().reshape([2, 3, 1]);
                for (y_hat, mask) in [(y_hat, mask.zeros_like()), (perfect, mask)] {
                    let y_hat = y_hat.require_grad();
                    let value = loss.forward(y.clone(), y_hat.clone(), mask, insample_y.clone());
                    let gradient = y_hat.grad(&value.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
                    assert!(gradient.iter().all(|g| *g == 0.0), "{}: {gradient:?}", config.name());
                    assert!(number(value) < 1e-12);
                }
            }
        });
    }

    #[test]
    fn gradients_of_relative_losses_are_right_to_rounding() {
        use crate::random::{Purpose, Stream};
        on_backend!(|B, device| {
            const ROWS: usize = 8;
            const STEPS: usize = 50;
            let mut stream = Stream::new(5, Purpose::Synthetic, &[]);
            let mut draw = || (0..ROWS * STEPS).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
            let (y, y_hat) = (draw(), draw());
            let plane = |v: &[f32]| Tensor::<B, 2>::from_data(TensorData::new(v.to_vec(), [ROWS, STEPS]), &device);
            let n = (ROWS * STEPS) as f64;
            type Slope = fn(f64, f64, f64) -> f64;
            let naive: f64 = (1..STEPS).map(|t| f64::from((y[t] - y[t - 1]).abs())).sum::<f64>() / (STEPS - 1) as f64;
            let slopes: [(LossConfig, Slope); 4] = [
                (LossConfig::Rmse, |y, f, loss| (f - y) / loss),
                (LossConfig::Mape, |y, f, _| (f - y).signum() / y.abs()),
                (LossConfig::Smape, |y, f, _| {
                    let s = y.abs() + f.abs();
                    2.0 * ((f - y).signum() / s - (f - y).abs() * f.signum() / (s * s))
                }),
                (LossConfig::Mase { season: 1 }, |y, f, naive| (f - y).signum() / naive),
            ];
            for (config, slope) in slopes {
                let loss = Loss::new(config.clone(), None, STEPS, STEPS).unwrap();
                let forecast = plane(&y_hat).reshape([ROWS, STEPS, 1]).require_grad();
                let value = loss.forward(plane(&y), forecast.clone(), plane(&y).ones_like(), plane(&y));
                let gradient = forecast.grad(&value.clone().backward()).unwrap();
                let gradient = gradient.into_data().to_vec::<f32>().unwrap();
                let extra = if config == LossConfig::Rmse { number(value) } else { naive };
                // The naive error is that of the first window only.
                for i in 0..STEPS {
                    let (y, f) = (f64::from(y[i]), f64::from(y_hat[i]));
                    let want = slope(y, f, extra) / n;
                    let off = (f64::from(gradient[i]) - want).abs();
                    // The symmetric one is the difference of two terms, which cancel where y and its forecast differ in sign.
                    let terms = want.abs() + 1.0 / (n * (y.abs() + f.abs()));
                    assert!(off < 3e-6 * terms, "{} step {i}: {} and {want}", config.name(), gradient[i]);
                }
            }
        });
    }

    #[test]
    fn what_does_not_fit_the_windows_is_refused() {
        let field = |loss: Result<Loss, LossError>| match loss {
            Err(LossError::Setting(error)) => error.field,
            Ok(loss) => panic!("{loss:?}"),
        };
        assert_eq!(field(Loss::new(LossConfig::Mase { season: 4 }, None, 4, 3)), "loss.season");
        for weights in [vec![1.0, 1.0], vec![1.0, -1.0, 1.0], vec![0.0; 3], vec![f32::NAN, 1.0, 1.0]] {
            assert_eq!(field(Loss::new(LossConfig::Mae, Some(weights), 4, 3)), "loss.horizon_weight");
        }
        assert_eq!(field(Loss::new(LossConfig::Quantile { q: 2.0 }, None, 4, 3)), "loss.q");
    }
}
