//! `ExpectedMemory`: what a run will take of the machine's memory, told before it begins.

use serde::Serialize;

use crate::data::Panel;
use crate::model::Checked;
use crate::model::host::HostNetwork;

use super::config::{TrainConfig, TrainEngine};

/// What a run holds at once, by what it grows with. [`total`](Self::total) says what that comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExpectedMemory {
    /// One copy of the series: times, targets and covariates, in MB.
    pub data_mb: f64,
    /// One copy of the network's weights, in MB.
    pub weights_mb: f64,
    /// What the layers of the network hold of one batch, in MB.
    pub layers_mb: f64,
    /// The windows of one batch, what becomes of them from block to block, and their forecast, in MB.
    pub windows_mb: f64,
    /// What they hold of one batch of validation windows, in MB; 0 without validation.
    pub validation_mb: f64,
    /// What one MB of each comes to, and the program itself.
    #[serde(skip)]
    factors: Factors,
}

/// How often each part is held at the moment of the peak; the first is the program with its libraries and threads.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Factors {
    program_mb: f64,
    data: f64,
    weights: f64,
    layers: f64,
    windows: f64,
    validation: f64,
    /// Copies of the weights that validation keeps: on the device, to forecast with, and the best so far.
    validated_weights: f64,
}

/// Fitted by `benches/compare/memory.py` to the runs that docs/benchmarks.md lists.
const ON_SLICES: Factors = Factors {
    program_mb: 22.40,
    data: 1.60,
    weights: 6.95,
    layers: 0.75,
    windows: 6.06,
    validation: 7.68,
    validated_weights: 1.02,
};
/// The same for steps on tensors (`memory.py --engine tensors`), where one formula comes within 12 % of the runs.
const ON_TENSORS: Factors = Factors {
    program_mb: 22.47,
    data: 1.57,
    weights: 9.14,
    layers: 0.75,
    windows: 6.64,
    validation: 6.91,
    validated_weights: 0.00,
};

impl ExpectedMemory {
    /// What training of `network` on `panel` comes to, with `batch_size` windows a step and `val_batch_size` windows of
    /// validation at once.
    ///
    /// Backends that keep their values elsewhere take less than this of the machine's memory.
    pub(super) fn of(
        network: &Checked,
        panel: &Panel,
        config: &TrainConfig,
        batch_size: usize,
        val_batch_size: usize,
    ) -> Self {
        // Numbers, not counts: with settings that no machine could run their product is beyond any count.
        let columns = 2 + panel.hist_exog.len() + panel.futr_exog.len();
        let first = network.mlp_units.first().map_or(0, |units| units[0]);
        let hidden = (first + network.mlp_units.iter().map(|units| units[1]).sum::<usize>()) as f64;
        let blocks = network.n_blocks.iter().sum::<usize>() as f64;
        let (input, output) = (network.input_size as f64, (network.horizon * network.outputs) as f64);
        // Forwards every block keeps its input and its layers; backwards one block at a time does.
        let layers = (blocks + 1.0) * hidden;
        let windows = (blocks + 3.0) * input + 3.0 * output;
        // A forecast alone keeps nothing: the window, two layers, and what becomes of it.
        let forecast = first as f64 + hidden / network.mlp_units.len().max(1) as f64 + 3.0 * input + 3.0 * output;
        let on_tensors = config.engine == TrainEngine::Tensors || HostNetwork::new(network).is_none();
        Self {
            data_mb: 8e-6 * (columns as f64) * panel.n_rows() as f64,
            weights_mb: 4e-6 * network.n_parameters() as f64,
            layers_mb: 4e-6 * batch_size as f64 * layers,
            windows_mb: 4e-6 * batch_size as f64 * windows,
            validation_mb: 4e-6 * val_batch_size as f64 * forecast,
            factors: if on_tensors { ON_TENSORS } else { ON_SLICES },
        }
    }

    /// The peak that is expected, in MB.
    pub fn total(&self) -> f64 {
        let f = &self.factors;
        f.program_mb
            + f.data * self.data_mb
            + f.weights * self.weights_mb
            + f.layers * self.layers_mb
            + f.windows * self.windows_mb
            + f.validation * self.validation_mb
            + if self.validation_mb > 0.0 { f.validated_weights * self.weights_mb } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table of docs/benchmarks.md: data, weights, layers, windows, validation, measured and expected.
    fn runs() -> Vec<[f64; 7]> {
        let text = include_str!("../../docs/benchmarks.md");
        let rows = text.lines().skip_while(|line| {
            !line.starts_with("| run | data | weights | layers | windows | validation | measured |")
        });
        let number = |cell: &str| cell.trim().parse::<f64>().unwrap();
        rows.skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
                [1, 2, 3, 4, 5, 6, 7].map(|i| number(cells[i]))
            })
            .collect()
    }

    #[test]
    fn what_is_expected_is_near_the_measured_peaks() {
        let runs = runs();
        assert!(runs.len() >= 8, "the table has {} runs", runs.len());
        for [data_mb, weights_mb, layers_mb, windows_mb, validation_mb, measured, expected] in runs {
            let run = ExpectedMemory { data_mb, weights_mb, layers_mb, windows_mb, validation_mb, factors: ON_SLICES };
            let total = run.total();
            assert!(
                (total - expected).abs() <= 1.0 + 0.005 * total,
                "the table says {expected}: {run:?} comes to {total}"
            );
            assert!((total / measured - 1.0).abs() <= 0.2, "measured {measured}: {run:?} comes to {total}");
        }
    }
}
