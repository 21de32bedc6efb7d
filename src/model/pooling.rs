//! Pooling of a block's input along time: the first of the two rates that make N-HiTS hierarchical (equation 2).

use burn::tensor::{Tensor, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::word_enum;
use super::tensors::reshaped;

/// What becomes of the values under one pooling kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PoolingMode {
    /// The largest.
    #[default]
    #[serde(rename = "max", alias = "MaxPool1d")]
    Max,
    /// The mean.
    #[serde(rename = "avg", alias = "AvgPool1d")]
    Avg,
}

word_enum!(PoolingMode, "model.pooling_mode", {
    Max => "max" | "MaxPool1d",
    Avg => "avg" | "AvgPool1d",
});

/// Pooling with kernel and stride `kernel`; a last, partial kernel uses only what is there (ceil mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) mode: PoolingMode,
    pub(crate) kernel: usize,
}

impl Pool {
    /// Pools series `[B, T]` to `[B, ceil(T / kernel)]`.
    pub(crate) fn series<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        if self.kernel == 1 {
            return x;
        }
        let [rows, steps] = x.dims();
        let (whole, rest) = (steps / self.kernel, steps % self.kernel);
        let pooled = |x: Tensor<B, 2>, n: usize, kernel: usize| {
            reshaped(self.reduce(reshaped(x, [rows, n, kernel]), 2), [rows, n])
        };
        match (whole, rest) {
            (n, 0) => pooled(x, n, self.kernel),
            (0, rest) => pooled(x, 1, rest),
            (n, rest) => {
                let cut = n * self.kernel;
                let head = pooled(x.clone().slice([0..rows, 0..cut]), n, self.kernel);
                let tail = pooled(x.slice([0..rows, cut..steps]), 1, rest);
                Tensor::cat(vec![head, tail], 1)
            }
        }
    }

    /// Pools columns `[B, T, C]` along time and lays them flat, time-major: `[B, ceil(T / kernel) * C]`.
    pub(crate) fn columns<B: Backend>(self, x: Tensor<B, 3>) -> Tensor<B, 2> {
        let [rows, steps, columns] = x.dims();
        if self.kernel == 1 {
            return x.reshape([rows, steps * columns]);
        }
        let (whole, rest) = (steps / self.kernel, steps % self.kernel);
        let pooled = |x: Tensor<B, 3>, n: usize, kernel: usize| {
            reshaped(self.reduce(reshaped(x, [rows, n, kernel, columns]), 2), [rows, n * columns])
        };
        match (whole, rest) {
            (n, 0) => pooled(x, n, self.kernel),
            (0, rest) => pooled(x, 1, rest),
            (n, rest) => {
                let cut = n * self.kernel;
                let head = pooled(x.clone().slice([0..rows, 0..cut]), n, self.kernel);
                let tail = pooled(x.slice([0..rows, cut..steps]), 1, rest);
                Tensor::cat(vec![head, tail], 1)
            }
        }
    }

    fn reduce<B: Backend, const D: usize>(self, x: Tensor<B, D>, dim: usize) -> Tensor<B, D> {
        match self.mode {
            PoolingMode::Max => x.max_dim(dim),
            PoolingMode::Avg => x.mean_dim(dim),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ragged_end_uses_only_what_is_there() {
        on_backend!(|B, device| {
            let x = Tensor::<B, 2>::from_floats([[1.0, 4.0, -3.0, -2.0, -5.0], [0.0, 0.0, 2.0, 6.0, 1.0]], &device);
            for (mode, kernel, want) in [
                (PoolingMode::Max, 2, vec![4.0f32, -2.0, -5.0, 0.0, 6.0, 1.0]),
                (PoolingMode::Avg, 2, vec![2.5, -2.5, -5.0, 0.0, 4.0, 1.0]),
                (PoolingMode::Max, 9, vec![4.0, 6.0]),
                (PoolingMode::Avg, 9, vec![-1.0, 1.8]),
                (PoolingMode::Max, 5, vec![4.0, 6.0]),
                (PoolingMode::Avg, 1, vec![1.0, 4.0, -3.0, -2.0, -5.0, 0.0, 0.0, 2.0, 6.0, 1.0]),
            ] {
                let pool = Pool { mode, kernel };
                let got: Vec<f32> = pool.series(x.clone()).into_data().to_vec().unwrap();
                assert_eq!(got, want, "{mode} {kernel}");
                let columns: Vec<f32> = pool.columns(x.clone().unsqueeze_dim(2)).into_data().to_vec().unwrap();
                assert_eq!(columns, want, "{mode} {kernel}, as a column");
            }
        });
    }

    #[test]
    fn columns_are_laid_flat_time_major() {
        on_backend!(|B, device| {
            // Three steps of two columns: (1, 10), (2, 20), (3, -30).
            let x = Tensor::<B, 3>::from_floats([[[1.0, 10.0], [2.0, 20.0], [3.0, -30.0]]], &device);
            for (kernel, want) in [(1, vec![1.0f32, 10.0, 2.0, 20.0, 3.0, -30.0]), (2, vec![2.0, 20.0, 3.0, -30.0])] {
                let pool = Pool { mode: PoolingMode::Max, kernel };
                assert_eq!(pool.columns(x.clone()).into_data().to_vec::<f32>().unwrap(), want);
            }
        });
    }
}
