//! Embeddings: each category of a static column has a vector of its own, learned with the network.
//!
//! They stand before the network: codes come in behind the static numbers, vectors take their places, and the blocks see
//! no difference between the two. A table has one row more than there are categories; it stands for categories that
//! training did not see, and becomes the mean of the others when the model is saved.

use burn::module::Param;
use burn::tensor::{Int, Tensor, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::ModelInput;
use super::tensors::NamedTensor;
use super::{ModelError, NHits};
use crate::error::InvalidSetting;

/// Categories are codes in float32, which counts exactly up to here.
const MOST_CATEGORIES: usize = 1 << 24;

/// The size of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Categories seen in training; the table has one row more.
    pub categories: usize,
    /// Length of the vectors.
    pub dim: usize,
}

impl EmbeddingConfig {
    /// The table for so many categories, with vectors of length `dim` or else half the number of categories, from 2 to 50.
    pub fn new(categories: usize, dim: Option<usize>) -> Self {
        Self { categories, dim: dim.unwrap_or((categories / 2 + 1).clamp(2, 50)) }
    }

    /// Rows of the table: the categories and the one for all others.
    pub fn rows(&self) -> usize {
        self.categories.saturating_add(1)
    }

    /// The name of table number `i`.
    pub fn tensor_name(i: usize) -> String {
        format!("embeddings.{i}.weight")
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        for (field, value, most) in [
            ("model.embeddings.categories", self.categories, MOST_CATEGORIES),
            ("model.embedding_dim", self.dim, 1 << 16),
        ] {
            if value == 0 || value > most {
                let allowed = format!("a whole number from 1 to {most}");
                return Err(InvalidSetting::new(field, value, allowed, "leave it out for half the categories").into());
            }
        }
        Ok(())
    }
}

impl<B: Backend> NHits<B> {
    /// The input with vectors in place of codes.
    ///
    /// # Shapes
    /// `stat_exog` `[B, S + E]`, the last `E` columns being codes, becomes `[B, S + sum of the vectors' lengths]`.
    pub(super) fn embedded(&self, input: &ModelInput<B>) -> ModelInput<B> {
        let mut input = input.clone();
        let Some(columns) = input.stat_exog.take() else { return input };
        let (rows, numbers) = (columns.dims()[0], self.config.stat_exog);
        let mut parts = Vec::with_capacity(1 + self.embeddings.len());
        if numbers > 0 {
            parts.push(columns.clone().slice([0..rows, 0..numbers]));
        }
        for (i, table) in self.embeddings.iter().enumerate() {
            let codes: Tensor<B, 2> = columns.clone().slice([0..rows, numbers + i..numbers + i + 1]);
            parts.push(vectors(table, codes.reshape([rows]).int()));
        }
        input.stat_exog = Some(Tensor::cat(parts, 1));
        input
    }
}

/// The vectors of some codes, `[n, dim]`; the table lies as layers do, `[dim, rows]`.
fn vectors<B: Backend>(table: &Param<Tensor<B, 2>>, codes: Tensor<B, 1, Int>) -> Tensor<B, 2> {
    table.val().select(1, codes).transpose()
}

/// Makes the last row of every table the mean of the others: what is known of a category that was never seen.
pub fn settle_unknown(weights: &mut [NamedTensor], embeddings: &[EmbeddingConfig]) {
    for (i, embedding) in embeddings.iter().enumerate() {
        let name = EmbeddingConfig::tensor_name(i);
        let Some(table) = weights.iter_mut().find(|t| t.name == name) else { continue };
        let (known, unknown) = table.data.split_at_mut(embedding.categories * embedding.dim);
        for (d, value) in unknown.iter_mut().enumerate() {
            let sum: f64 = known.iter().skip(d).step_by(embedding.dim).map(|v| f64::from(*v)).sum();
            *value = (sum / embedding.categories as f64) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::TensorData;

    use super::super::NHitsConfig;
    use super::*;

    fn config() -> NHitsConfig {
        NHitsConfig {
            input_size: 4,
            horizon: 2,
            n_blocks: vec![1, 1],
            mlp_units: vec![[6, 6]],
            n_pool_kernel_size: vec![2, 1],
            n_freq_downsample: vec![2, 1],
            stat_exog: 1,
            embeddings: vec![EmbeddingConfig::new(3, Some(2)), EmbeddingConfig::new(2, Some(4))],
            ..Default::default()
        }
    }

    fn input<B: Backend>(stat: &[[f32; 3]], device: &B::Device) -> ModelInput<B> {
        let n = stat.len();
        ModelInput {
            insample_y: Tensor::ones([n, 4], device),
            insample_mask: Tensor::ones([n, 4], device),
            hist_exog: None,
            futr_exog: None,
            stat_exog: Some(Tensor::from_data(TensorData::new(stat.concat(), [n, 3]), device)),
        }
    }

    #[test]
    fn codes_become_the_rows_of_their_tables() {
        on_backend!(|B, device| {
            let checked = config().check().unwrap();
            let net = NHits::<B>::new(&checked, 3, &device);
            let weights = net.tensors();
            let names: Vec<&str> = weights.iter().rev().take(2).map(|t| t.name.as_str()).collect();
            assert_eq!(names, ["embeddings.1.weight", "embeddings.0.weight"], "behind the names of the reference");
            let row = |i: usize, code: usize, dim: usize| {
                let table = weights.iter().find(|t| t.name == EmbeddingConfig::tensor_name(i)).unwrap();
                assert_eq!(table.shape, [[4, 2], [3, 4]][i]);
                table.data[code * dim..(code + 1) * dim].to_vec()
            };
            let embedded = net.embedded(&input(&[[0.5, 2.0, 0.0], [7.0, 3.0, 2.0]], &device));
            let found: Vec<f32> = embedded.stat_exog.unwrap().into_data().to_vec().unwrap();
            let expected = [vec![0.5], row(0, 2, 2), row(1, 0, 4), vec![7.0], row(0, 3, 2), row(1, 2, 4)].concat();
            assert_eq!(found, expected);
            assert_eq!(net.num_params(), checked.n_parameters());
            let source =
                |name: &str| weights.iter().find(|t| t.name == name).map(|t| (t.shape.clone(), t.data.clone()));
            assert_eq!(NHits::<B>::with_tensors(&checked, source, &device).unwrap().tensors(), weights);
        });
    }

    #[test]
    fn a_plain_network_is_what_it_was_and_the_layers_do_not_depend_on_the_tables() {
        on_backend!(|B, device| {
            let plain = NHitsConfig { embeddings: Vec::new(), ..config() };
            assert!(!serde_json::to_string(&plain).unwrap().contains("embeddings"));
            let names = NHits::<B>::new(&plain.check().unwrap(), 3, &device).tensors();
            assert!(names.iter().all(|t| t.name.starts_with("blocks.")));
        });
    }

    #[test]
    fn only_the_rows_that_were_looked_up_learn() {
        on_backend!(|B, device| {
            let net = NHits::<B>::new(&config().check().unwrap(), 3, &device);
            let loss = net.forward(&input(&[[0.5, 1.0, 0.0]], &device)).sum();
            let gradients = net.gradients(&loss.backward());
            let table = gradients.iter().find(|t| t.name == "embeddings.0.weight").unwrap();
            let moved: Vec<bool> = table.data.chunks(2).map(|row| row.iter().any(|g| *g != 0.0)).collect();
            assert_eq!(moved, [false, true, false, false]);
        });
    }

    #[test]
    fn the_row_for_strangers_is_the_mean() {
        let embedding = EmbeddingConfig::new(2, Some(2));
        let table =
            NamedTensor { name: "embeddings.0.weight".into(), shape: vec![3, 2], data: vec![1., 2., 3., 6., 9., 9.] };
        let mut weights = vec![table];
        settle_unknown(&mut weights, &[embedding]);
        assert_eq!(weights[0].data, [1., 2., 3., 6., 2., 4.]);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (categories, dim) in [(0, 2), (3, 0), (usize::MAX, 2), (3, usize::MAX)] {
            let config = NHitsConfig { embeddings: vec![EmbeddingConfig { categories, dim }], ..config() };
            assert!(config.check().is_err(), "{categories} {dim}");
        }
        assert_eq!(EmbeddingConfig::new(1, None).dim, 2);
        assert_eq!(EmbeddingConfig::new(1000, None).dim, 50);
    }
}
