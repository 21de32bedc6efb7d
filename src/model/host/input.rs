//! A batch of windows as slices, and the pooling of a block's input along time.

use std::ops::Range;

use super::super::{NHitsConfig, PoolingMode};
use super::layout::HostNetwork;

/// A batch of `B` windows, scaled, everything row-major; see [`super::super::ModelInput`].
#[derive(Debug, Clone, Copy)]
pub struct HostInput<'a> {
    /// `[B, L]`, oldest first.
    pub insample_y: &'a [f32],
    /// `[B, L]`.
    pub insample_mask: &'a [f32],
    /// `[B, L, X]`, empty without such columns.
    pub hist_exog: &'a [f32],
    /// `[B, L + H, F]`, empty without such columns.
    pub futr_exog: &'a [f32],
    /// `[B, S]`, empty without such columns.
    pub stat_exog: &'a [f32],
}

impl HostInput<'_> {
    /// The windows `rows` of the batch.
    pub(super) fn rows(&self, config: &NHitsConfig, rows: &Range<usize>) -> Self {
        let cut = |width: usize| rows.start * width..rows.end * width;
        let (steps, both) = (config.input_size, config.input_size + config.horizon);
        Self {
            insample_y: &self.insample_y[cut(steps)],
            insample_mask: &self.insample_mask[cut(steps)],
            hist_exog: &self.hist_exog[cut(steps * config.hist_exog)],
            futr_exog: &self.futr_exog[cut(both * config.futr_exog)],
            stat_exog: &self.stat_exog[cut(config.stat_exog)],
        }
    }

    /// Number of windows, if every slice has the length that the network asks for.
    pub(super) fn windows(&self, network: &HostNetwork) -> Option<usize> {
        let config = network.config();
        let n = self.insample_y.len() / config.input_size;
        let fits = self.insample_y.len() == n * config.input_size
            && self.insample_mask.len() == n * config.input_size
            && self.hist_exog.len() == n * config.input_size * config.hist_exog
            && self.futr_exog.len() == n * (config.input_size + config.horizon) * config.futr_exog
            && self.stat_exog.len() == n * config.stat_exog;
        fits.then_some(n)
    }
}

/// Pools one series `x` `[T]` to `out` `[ceil(T / kernel)]`; a last, partial kernel uses what is there. Where the largest
/// value is taken, `at` learns where it was.
pub(super) fn pool(mode: PoolingMode, kernel: usize, x: &[f32], out: &mut [f32], at: Option<&mut [u32]>) {
    if kernel == 1 {
        out.copy_from_slice(x);
        return;
    }
    match (mode, at) {
        (PoolingMode::Avg, _) => {
            for (out, part) in out.iter_mut().zip(x.chunks(kernel)) {
                *out = part.iter().sum::<f32>() / part.len() as f32;
            }
        }
        (PoolingMode::Max, None) => {
            for (out, part) in out.iter_mut().zip(x.chunks(kernel)) {
                *out = part[1..].iter().fold(part[0], |most, v| larger(most, *v));
            }
        }
        (PoolingMode::Max, Some(at)) => {
            for (i, ((out, at), part)) in out.iter_mut().zip(at).zip(x.chunks(kernel)).enumerate() {
                let mut most = 0;
                for (j, v) in part.iter().enumerate() {
                    if *v > part[most] || v.is_nan() {
                        most = j;
                    }
                }
                *out = part[most];
                // Windows are far shorter than 2^32 steps: their length is a setting that memory bounds.
                *at = (i * kernel + most) as u32;
            }
        }
    }
}

/// The larger of two values; what is no number stays.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// Adds the gradient `g` `[ceil(T / kernel)]` of a pooled series to that of the series, `[T]`.
pub(super) fn unpool(mode: PoolingMode, kernel: usize, g: &[f32], at: &[u32], to: &mut [f32]) {
    match mode {
        _ if kernel == 1 => to.iter_mut().zip(g).for_each(|(to, g)| *to += g),
        PoolingMode::Max => at.iter().zip(g).for_each(|(at, g)| to[*at as usize] += g),
        PoolingMode::Avg => {
            for (part, g) in to.chunks_mut(kernel).zip(g) {
                let share = g / part.len() as f32;
                part.iter_mut().for_each(|to| *to += share);
            }
        }
    }
}

/// Pools columns `x` `[T, C]` of one window along time into `out`, time-major `[ceil(T / kernel), C]`.
fn pool_columns(mode: PoolingMode, kernel: usize, columns: usize, x: &[f32], out: &mut [f32]) {
    if kernel == 1 {
        out.copy_from_slice(x);
        return;
    }
    for (out, part) in out.chunks_mut(columns).zip(x.chunks(kernel * columns)) {
        out.copy_from_slice(&part[..columns]);
        for step in part[columns..].chunks(columns) {
            match mode {
                PoolingMode::Max => out.iter_mut().zip(step).for_each(|(out, v)| *out = larger(*out, *v)),
                PoolingMode::Avg => out.iter_mut().zip(step).for_each(|(out, v)| *out += v),
            }
        }
        if mode == PoolingMode::Avg {
            let n = (part.len() / columns) as f32;
            out.iter_mut().for_each(|out| *out /= n);
        }
    }
}

/// Writes the pooled covariates of window `row` behind the pooled target into the block's input row `out`.
pub(super) fn covariates(network: &HostNetwork, kernel: usize, input: &HostInput, row: usize, out: &mut [f32]) {
    let config = network.config();
    let (input_size, mode) = (config.input_size, config.pooling_mode);
    let mut out = out;
    for (values, steps, columns) in [
        (input.hist_exog, input_size, config.hist_exog),
        (input.futr_exog, input_size + config.horizon, config.futr_exog),
    ] {
        if columns > 0 {
            let (now, later) = out.split_at_mut(steps.div_ceil(kernel) * columns);
            pool_columns(mode, kernel, columns, &values[row * steps * columns..(row + 1) * steps * columns], now);
            out = later;
        }
    }
    out.copy_from_slice(&input.stat_exog[row * config.stat_exog..(row + 1) * config.stat_exog]);
}
