//! NLinear: a linear map of the last window, fitted in closed form.

use std::ops::Range;

use rayon::prelude::*;

use super::cholesky::{Cholesky, dot};
use super::gram::Gram;
use super::{filled, history};
use crate::data::Panel;
use crate::evaluate::{EvaluateError, ForecastFailure, Forecaster, Protocol};
use crate::window::Window;

/// Ridges to choose from, relative to the mean variance of a feature. The largest ones all but give the naive forecast.
const RIDGES: [f64; 7] = [1e-7, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// The ridge where there are no validation windows to choose by.
const RIDGE: f64 = 1e-3;
/// Windows, and steps, that are forecast together: four by four sums fit into registers.
const TILE: usize = 4;
/// Multiplications that fitting may cost; beyond it each series is fitted on the most recent part of its train rows.
const BUDGET: f64 = 6e9;

/// `y[k] = last + sum_i w[i][k] (x[i] - last) + b[k] std`, one `w` and `b` for all series (the NLinear of Zeng et al.
/// 2023, arXiv 2205.13504, shared over channels), fitted by ridge least squares over every window of the train rows.
///
/// Series are standardised by their train rows, so that each counts alike. The ridge is chosen by the squared error on
/// the validation rows, or [fixed](Self::ridge) at 1e-3 where there are none. Missing values take the last observed
/// value before them, in fitting too; inputs before the first row take the first observed value.
#[derive(Debug, Clone)]
pub struct NLinear {
    input_size: usize,
    horizon: usize,
    ridge: f64,
    /// `[tiles, features, TILE]`: the weights of four steps side by side, the last tile padded with zeros.
    weights: Vec<f64>,
    /// `[horizon]`, in standard deviations.
    bias: Vec<f64>,
    /// Standard deviation of the train rows of each series.
    scale: Vec<f64>,
}

impl NLinear {
    /// Fits on the train rows of `protocol`'s split.
    ///
    /// # Errors
    /// What [`Protocol::check`] finds, or [`EvaluateError::NoTrainWindows`] when no series has `input_size + horizon`
    /// train rows.
    pub fn fit(panel: &Panel, protocol: &Protocol) -> Result<Self, EvaluateError> {
        protocol.check(panel)?;
        let Protocol { input_size, horizon, .. } = *protocol;
        let needed = input_size.saturating_add(horizon);
        let scaler = protocol.train_scaler(panel);
        let longest = protocol.splits.iter().map(|s| s.train.len()).max().unwrap_or(0);
        if longest < needed {
            return Err(EvaluateError::NoTrainWindows { needed, input_size, horizon, longest });
        }
        let standardised = |s: usize, rows: Range<usize>| -> Vec<f64> {
            let mut values = vec![f64::NAN; rows.len()];
            filled(&panel.series(s)[..rows.end], &mut values);
            if values.iter().any(|v| !v.is_finite()) {
                return Vec::new();
            }
            scaler.apply_all(s, &mut values);
            values
        };
        let n_rows: usize = protocol.splits.iter().map(|s| s.train.len()).sum();
        let share = (BUDGET / (n_rows as f64 * needed as f64)).min(1.0);
        let train_rows = |s: usize| {
            let rows = protocol.splits[s].train.clone();
            let kept = ((rows.len() as f64 * share) as usize).max(needed).min(rows.len());
            standardised(s, rows.end - kept..rows.end)
        };
        // rows of which the validation windows are made: their inputs reach back into train rows
        let val_rows = |s: usize| {
            let rows = protocol.splits[s].val.clone();
            if rows.len() < horizon {
                Vec::new()
            } else {
                standardised(s, rows.start.saturating_sub(input_size)..rows.end)
            }
        };
        let gram = |rows: &(dyn Fn(usize) -> Vec<f64> + Sync)| {
            let series: Vec<Vec<f64>> = (0..panel.n_series()).into_par_iter().map(rows).collect();
            Gram::of(&series, input_size, horizon)
        };
        let train = gram(&train_rows);
        let val = gram(&val_rows);
        let (ridge, solution) = choose(&train, &val);
        Ok(Self {
            input_size,
            horizon,
            ridge,
            weights: tiled(&solution.weights, train.features, horizon),
            bias: solution.bias,
            scale: scaler.scale,
        })
    }

    /// The ridge that was chosen, relative to the mean variance of a feature.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }

    /// Forecasts up to [`TILE`] windows.
    fn tile(&self, panel: &Panel, windows: &[Window], out: &mut [f64]) {
        let features = self.input_size - 1;
        let mut window = vec![0.0; self.input_size];
        // [features, TILE]: the same feature of the windows side by side
        let mut inputs = vec![[0.0; TILE]; features];
        let mut last = [0.0; TILE];
        for (i, w) in windows.iter().enumerate() {
            filled(history(panel, w), &mut window);
            last[i] = window[features];
            for (row, x) in inputs.iter_mut().zip(&window) {
                row[i] = x - last[i];
            }
        }
        for (tile, first) in (0..self.horizon).step_by(TILE).enumerate() {
            let weights = &self.weights[tile * features * TILE..(tile + 1) * features * TILE];
            let mut sums = [[0.0; TILE]; TILE];
            for (x, w) in inputs.iter().zip(weights.as_chunks::<TILE>().0) {
                for i in 0..TILE {
                    for k in 0..TILE {
                        sums[i][k] += x[i] * w[k];
                    }
                }
            }
            for (i, w) in windows.iter().enumerate() {
                for k in first..self.horizon.min(first + TILE) {
                    out[i * self.horizon + k] =
                        last[i] + sums[i][k - first] + self.bias[k] * self.scale[w.series as usize];
                }
            }
        }
    }
}

impl Forecaster for NLinear {
    fn name(&self) -> &str {
        "nlinear"
    }

    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
        out.par_chunks_mut(TILE * self.horizon)
            .zip(windows.par_chunks(TILE))
            .with_min_len(16)
            .for_each(|(out, windows)| self.tile(panel, windows, out));
        Ok(())
    }
}

struct Solution {
    /// `[targets, features]`
    weights: Vec<f64>,
    /// `[targets]`
    bias: Vec<f64>,
}

/// The solution with the ridge that does best on the validation sums.
fn choose(train: &Gram, val: &Gram) -> (f64, Solution) {
    if val.windows == 0 {
        return (RIDGE, solve(train, RIDGE));
    }
    let candidates = RIDGES.iter().map(|r| (*r, solve(train, *r)));
    let scored = candidates.map(|(r, s)| (squared_error(val, &s), r, s));
    let best = scored.min_by(|a, b| a.0.total_cmp(&b.0)).expect("the list of ridges is a constant and not empty");
    (best.1, best.2)
}

/// Least squares with an intercept that carries no penalty: centre, add `ridge` times the mean variance to the diagonal,
/// factor. A matrix that rounding keeps from being positive definite gets ten times the ridge, and so on.
fn solve(gram: &Gram, ridge: f64) -> Solution {
    let (p, n) = (gram.features, gram.windows as f64);
    let centred = |products: &[f64], rows: &[f64]| -> Vec<f64> {
        (0..products.len()).map(|k| products[k] - rows[k / p] * gram.x[k % p] / n).collect()
    };
    let covariance = centred(&gram.xx, &gram.x);
    let mean_variance = (0..p).map(|i| covariance[i * p + i]).sum::<f64>() / p as f64;
    let mut weights = vec![0.0; gram.targets * p];
    // without variance (a constant series, or a window of one row) there is nothing to learn but the intercept
    if p > 0 && mean_variance > 0.0 {
        let mut penalty = ridge;
        for _ in 0..12 {
            let mut a = covariance.clone();
            for i in 0..p {
                a[i * p + i] += penalty * mean_variance;
            }
            if let Some(factor) = Cholesky::of(&a, p) {
                weights = centred(&gram.yx, &gram.y);
                factor.solve(&mut weights);
                break;
            }
            penalty *= 10.0;
        }
    }
    let row = |k: usize| &weights[k * p..(k + 1) * p];
    let bias = (0..gram.targets).map(|k| (gram.y[k] - dot(row(k), &gram.x)) / n).collect();
    Solution { weights, bias }
}

/// The squared error of `solution` over the windows of `gram`, less the part that no solution changes.
fn squared_error(gram: &Gram, solution: &Solution) -> f64 {
    let (p, n) = (gram.features, gram.windows as f64);
    let of_step = |k: usize| {
        let (w, b) = (&solution.weights[k * p..(k + 1) * p], solution.bias[k]);
        let quadratic: f64 = (0..p).map(|i| w[i] * dot(&gram.xx[i * p..(i + 1) * p], w)).sum();
        quadratic - 2.0 * dot(&gram.yx[k * p..(k + 1) * p], w) + b * (n * b - 2.0 * gram.y[k] + 2.0 * dot(w, &gram.x))
    };
    (0..gram.targets).into_par_iter().map(of_step).collect::<Vec<f64>>().iter().sum()
}

/// `[targets, features]` as `[tiles, features, TILE]`.
fn tiled(weights: &[f64], features: usize, targets: usize) -> Vec<f64> {
    let mut out = vec![0.0; targets.div_ceil(TILE) * features * TILE];
    for k in 0..targets {
        for i in 0..features {
            out[((k / TILE) * features + i) * TILE + k % TILE] = weights[k * features + i];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::judge;
    use crate::evaluate::protocol::tests::{panel, split};
    use crate::random::{Purpose, Stream};

    #[test]
    fn a_linear_recurrence_is_learnt_exactly_at_any_level_and_scale() {
        let wave = |scale: f64, level: f64| -> Vec<f64> {
            (0..200).map(|t| level + scale * ((0.3 * t as f64).sin() + 0.5 * (1.1 * t as f64).cos())).collect()
        };
        let data = panel(&[&wave(1.0, 0.0), &wave(1000.0, 5000.0)]);
        let protocol = Protocol::new(12, 5, 1, vec![split(120, 40, 40), split(120, 40, 40)]);
        let mut linear = NLinear::fit(&data, &protocol).unwrap();
        assert_eq!(linear.ridge(), RIDGES[0], "data without noise wants no penalty");
        let judged = judge(&data, &protocol, &mut linear, 7).unwrap();
        assert!(judged.scaled.mae < 1e-3, "{}", judged.scaled.mae);
        assert!(judged.per_series[1].scaled.mae < 1e-3);
    }

    #[test]
    fn a_random_walk_wants_a_penalty_and_its_forecast_is_near_the_last_value() {
        let mut noise = Stream::new(5, Purpose::Synthetic, &[1]);
        let mut y = 0.0;
        let walk: Vec<f64> = (0..300)
            .map(|_| {
                y += noise.normal();
                y
            })
            .collect();
        let data = panel(&[&walk]);
        let protocol = Protocol::new(60, 10, 1, vec![split(150, 80, 70)]);
        assert!(NLinear::fit(&data, &protocol).unwrap().ridge() > RIDGES[0]);
    }

    #[test]
    fn weights_are_those_of_the_normal_equations() {
        // input 2, horizon 1: y - last = w (x0 - last) + b, on x = 0, 1, 3, 4, 8: pairs (x0 - last, y - last) are
        // (-1, 2), (-2, 1), (-1, 4); centred on (-4/3, 7/3): sxy = 4/3... by hand below
        let x = [0.0, 1.0, 3.0, 4.0, 8.0];
        let gram = Gram::of(&[x.to_vec()], 2, 1);
        let solution = solve(&gram, 0.0);
        let pairs = [(-1.0, 2.0), (-2.0, 1.0), (-1.0, 4.0)];
        let (mx, my) = (-4.0 / 3.0, 7.0 / 3.0);
        let sxy: f64 = pairs.iter().map(|(a, b)| (a - mx) * (b - my)).sum();
        let sxx: f64 = pairs.iter().map(|(a, _)| (a - mx) * (a - mx)).sum();
        assert!((solution.weights[0] - sxy / sxx).abs() < 1e-12);
        assert!((solution.bias[0] - (my - sxy / sxx * mx)).abs() < 1e-12);
    }

    #[test]
    fn a_constant_series_is_forecast_as_constant() {
        let data = panel(&[&[4.0; 30]]);
        let protocol = Protocol::new(3, 6, 1, vec![split(15, 6, 9)]);
        let judged = judge(&data, &protocol, &mut NLinear::fit(&data, &protocol).unwrap(), 3).unwrap();
        assert_eq!(judged.original.mae, 0.0);
    }

    #[test]
    fn a_window_of_one_row_learns_the_mean_drift() {
        let line: Vec<f64> = (0..30).map(f64::from).collect();
        let data = panel(&[&line]);
        let protocol = Protocol::new(1, 2, 1, vec![split(20, 0, 10)]);
        let judged = judge(&data, &protocol, &mut NLinear::fit(&data, &protocol).unwrap(), 3).unwrap();
        assert!(judged.original.mae < 1e-9, "{}", judged.original.mae);
    }
}
