//! The ranges that the inputs of a network's layers have over some windows.

use std::cell::RefCell;

use burn::tensor::{ElementConversion, Tensor, backend::Backend};

use super::{ModelInput, NHits, to_host};

/// Bins of a layer's histogram, from which percentiles are read.
const BINS: usize = 4096;

/// The least and the largest value of the input of each layer over `n_batches` batches, in the order of
/// [`Checked::layer_names`](super::Checked::layer_names); 0 is always among them.
///
/// With a `percentile` (in percent), the range holds that share of the values: as many are cut off at its upper end, and
/// at its lower end where there are negative ones. Percentiles are those of a histogram of 4096 bins.
pub fn measured_ranges<B: Backend>(
    net: &NHits<B>,
    n_batches: usize,
    batch: &dyn Fn(usize) -> ModelInput<B>,
    percentile: Option<f64>,
) -> Vec<(f32, f32)> {
    let n_layers = net.checked().layers_per_block() * net.checked().blocks().len();
    let ranges = RefCell::new(vec![(0.0f32, 0.0f32); n_layers]);
    let see = |layer: usize, x: &Tensor<B, 2>| {
        let (low, high) = (x.clone().min().into_scalar().elem::<f32>(), x.clone().max().into_scalar().elem::<f32>());
        let range = &mut ranges.borrow_mut()[layer];
        *range = (range.0.min(low), range.1.max(high));
    };
    (0..n_batches).for_each(|i| drop(net.observe(&batch(i), &see)));
    let mut ranges = ranges.into_inner();
    let Some(percentile) = percentile.filter(|p| *p < 100.0) else { return ranges };
    let histograms = RefCell::new(vec![vec![0u64; BINS]; n_layers]);
    let count = |layer: usize, x: &Tensor<B, 2>| {
        let (low, high) = ranges[layer];
        let width = f64::from(high) - f64::from(low);
        let bins = &mut histograms.borrow_mut()[layer];
        for v in to_host(x.clone()) {
            let share = if width > 0.0 { (f64::from(v) - f64::from(low)) / width } else { 0.0 };
            // Beyond the last bin lies only the largest value itself.
            bins[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
    };
    (0..n_batches).for_each(|i| drop(net.observe(&batch(i), &count)));
    let histograms = histograms.into_inner();
    for (range, bins) in ranges.iter_mut().zip(&histograms) {
        let (low, width) = (f64::from(range.0), f64::from(range.1) - f64::from(range.0));
        let total: u64 = bins.iter().sum();
        let cut = (total as f64 * (1.0 - percentile / 100.0)).floor() as u64;
        // The outer bins that hold no more than may be cut off.
        let outside = |bins: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            bins.take_while(|n| {
                sum += **n;
                sum <= cut
            })
            .count()
        };
        let (below, above) = (outside(&mut bins.iter()), outside(&mut bins.iter().rev()));
        let at = |bin: usize| (low + width * bin as f64 / BINS as f64) as f32;
        *range = (if range.0 < 0.0 { at(below).min(0.0) } else { 0.0 }, at(BINS - above).max(0.0));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::model::NHitsConfig;

    #[test]
    fn ranges_are_those_of_the_inputs_and_percentiles_leave_out_the_outliers() {
        on_backend!(|B, device| {
            let config = NHitsConfig {
                input_size: 100,
                horizon: 2,
                n_blocks: vec![1],
                mlp_units: vec![[4, 4]],
                n_pool_kernel_size: vec![1],
                n_freq_downsample: vec![1],
                dropout: 0.0,
                ..NHitsConfig::default()
            };
            let net = NHits::<B>::new(&config.check().unwrap(), 1, &device);
            // Two batches of one window: 0.00, 0.01, ... 0.99, with an outlier in the second.
            let batch = |i: usize| {
                let mut values: Vec<f32> = (0..100).map(|v| v as f32 / 100.0).collect();
                values[50] = if i == 1 { 400.0 } else { values[50] };
                ModelInput {
                    insample_y: Tensor::from_data(TensorData::new(values, [1, 100]), &device),
                    insample_mask: Tensor::ones([1, 100], &device),
                    hist_exog: None,
                    futr_exog: None,
                    stat_exog: None,
                }
            };
            let whole = measured_ranges(&net, 2, &batch, None);
            assert_eq!(whole.len(), 3);
            assert_eq!(whole[0], (0.0, 400.0));
            assert!(whole[1].0 < 0.0 && whole[1].1 > 0.0, "a layer without activation gives both signs: {whole:?}");
            assert_eq!(whole[2].0, 0.0, "what a relu gives is not negative");
            let most = measured_ranges(&net, 2, &batch, Some(99.0));
            assert!(most[0].1 < 1.1 && most[0].1 >= 0.98, "{:?}", most[0]);
            assert_eq!(measured_ranges(&net, 2, &batch, Some(100.0)), whole);
            assert_eq!(measured_ranges(&net, 1, &batch, None)[0].1, 0.99);
        });
    }
}
