//! `[model]`: the network's settings as a user writes them, before the data says how many columns there are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    Activation, InterpolationMode, NHitsConfig, PoolingMode, default_freq_downsample, default_pool_kernels,
};

/// The network as the user describes it; what is left out follows from the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Input steps; left out it is `input_horizons` horizons, but at most half of a short series.
    pub input_size: Option<usize>,
    /// Horizons of input where `input_size` is left out.
    pub input_horizons: usize,
    /// Steps to forecast.
    pub horizon: usize,
    /// Number of stacks.
    pub n_stacks: usize,
    /// Blocks of each stack; one each if left out.
    pub n_blocks: Option<Vec<usize>>,
    /// Width of the hidden layers where `mlp_units` is left out.
    pub hidden_size: usize,
    /// Widths of the hidden layers of every block.
    pub mlp_units: Option<Vec<usize>>,
    /// Pooling kernel of each stack.
    pub n_pool_kernel_size: Option<Vec<usize>>,
    /// Steps per knot of each stack's forecast.
    pub n_freq_downsample: Option<Vec<usize>>,
    /// What pooling keeps.
    pub pooling_mode: PoolingMode,
    /// How knots are spread over the horizon.
    pub interpolation_mode: InterpolationMode,
    /// The function after each hidden layer.
    pub activation: Activation,
    /// Share of hidden units dropped in training.
    pub dropout: f64,
    /// Length of the vectors of categories (`data.stat_cat`); half the number of categories, from 2 to 50, if left out.
    pub embedding_dim: Option<usize>,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            input_size: None,
            input_horizons: 7,
            horizon: 24,
            n_stacks: 3,
            n_blocks: None,
            hidden_size: 512,
            mlp_units: None,
            n_pool_kernel_size: None,
            n_freq_downsample: None,
            pooling_mode: PoolingMode::default(),
            interpolation_mode: InterpolationMode::default(),
            activation: Activation::default(),
            dropout: 0.1,
            embedding_dim: None,
        }
    }
}

impl ModelSection {
    /// The input steps: as given, else `input_horizons` horizons, but at most half of what a series of `rows` training
    /// rows leaves beside the horizon, cut to whole seasons, and never less than one horizon.
    pub fn input_steps(&self, rows: Option<(usize, usize)>) -> usize {
        if let Some(given) = self.input_size {
            return given;
        }
        let wanted = self.horizon.saturating_mul(self.input_horizons.max(1));
        match rows {
            Some((rows, season)) => {
                let most = rows.saturating_sub(self.horizon) / 2;
                if wanted <= most {
                    return wanted;
                }
                let season = season.max(1);
                let whole = if most >= season { most / season * season } else { most };
                whole.max(self.horizon.min(wanted)).max(1)
            }
            None => wanted,
        }
    }

    /// The network for a loss with `outputs` values per step and `[historical, future, static]` columns; `rows` are the
    /// training rows of a usual series and its season, for the default input size.
    pub fn network(&self, outputs: usize, columns: [usize; 3], rows: Option<(usize, usize)>) -> NHitsConfig {
        // One number stands for every stack; a list says how many stacks there are.
        let n_stacks = [&self.n_blocks, &self.n_pool_kernel_size, &self.n_freq_downsample]
            .into_iter()
            .flatten()
            .map(Vec::len)
            .next()
            .unwrap_or(self.n_stacks);
        let widths = self.mlp_units.clone().unwrap_or_else(|| vec![self.hidden_size; 2]);
        let mlp_units = widths.iter().enumerate().map(|(i, w)| [widths[i.saturating_sub(1)], *w]).collect();
        NHitsConfig {
            input_size: self.input_steps(rows),
            horizon: self.horizon,
            outputs,
            n_blocks: self.n_blocks.clone().unwrap_or_else(|| vec![1; n_stacks]),
            mlp_units,
            n_pool_kernel_size: self.n_pool_kernel_size.clone().unwrap_or_else(|| default_pool_kernels(n_stacks)),
            n_freq_downsample: self.n_freq_downsample.clone().unwrap_or_else(|| default_freq_downsample(n_stacks)),
            pooling_mode: self.pooling_mode,
            interpolation_mode: self.interpolation_mode,
            activation: self.activation,
            dropout: self.dropout,
            hist_exog: columns[0],
            futr_exog: columns[1],
            stat_exog: columns[2],
            embeddings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_follows_from_horizon_and_rows() {
        let section = ModelSection { horizon: 12, ..ModelSection::default() };
        assert_eq!(section.input_steps(None), 84);
        assert_eq!(section.input_steps(Some((10_000, 12))), 84);
        assert_eq!(section.input_steps(Some((115, 12))), 48, "half of 115 - 12, in whole years");
        assert_eq!(section.input_steps(Some((20, 12))), 12, "never less than the horizon");
        assert_eq!(ModelSection { input_size: Some(7), ..section }.input_steps(Some((10_000, 12))), 7);
        assert_eq!(ModelSection::default().input_steps(None), 168);
    }

    #[test]
    fn other_numbers_of_stacks_get_kernels_of_their_own() {
        let network = |n| ModelSection { n_stacks: n, ..ModelSection::default() }.network(1, [0; 3], None);
        assert_eq!(network(5).n_freq_downsample, vec![16, 8, 4, 2, 1]);
        assert_eq!(network(1).n_freq_downsample, vec![1]);
        for n in 1..=8 {
            network(n).check().unwrap();
        }
    }

    #[test]
    fn widths_become_pairs() {
        let section = ModelSection { mlp_units: Some(vec![64, 32, 16]), ..ModelSection::default() };
        assert_eq!(section.network(1, [0; 3], None).mlp_units, vec![[64, 64], [64, 32], [32, 16]]);
    }
}
