//! Rounds a trained model to 8 bits, if it stays within 5 % of the float model on the validation rows.
//!
//! `cargo run --example quantize`

use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::Bundle;
use nhits::data::{DataConfig, SplitSpec, read_panel};
use nhits::experiment::{Experiment, ModelSection};
use nhits::model::{Activations, QuantizationConfig};
use nhits::quantize::{CalibrationData, save_quantized};
use nhits::train::{Provenance, TrainConfig, Watch};
use nhits_backends::{Choice, Job, Taken, with_backend};

type Failure = Box<dyn std::error::Error>;

struct Both<'a>(&'a Path);

impl Job for Both<'_> {
    type Output = Result<(), Failure>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        // A float model of the airline passengers: the last year but one validates, the last is for testing.
        let data = DataConfig {
            path: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/air_passengers.csv").into(),
            ..DataConfig::default()
        };
        let panel = Arc::new(read_panel(&data)?.panel);
        let split: SplitSpec = "108/24/12".parse()?;
        let mut experiment = Experiment {
            split,
            data,
            model: ModelSection { horizon: 12, input_size: Some(36), hidden_size: 64, ..ModelSection::default() },
            train: TrainConfig { max_steps: Some(200), ..TrainConfig::default() },
            ..Experiment::default()
        };
        let job = experiment.job(panel.clone(), 1)?;
        let plan = job.plan()?;
        let float = job.run::<B>(&plan, &device, Watch::default())?.bundle(&job, &plan, Provenance::default());

        // Ranges from the train rows, the verdict from the validation rows.
        let data = CalibrationData { splits: split.resolve_all(&panel)?, panel, threads: 1 };
        let config = QuantizationConfig { activations: Activations::MinMax, ..QuantizationConfig::default() };
        let path = self.0.join("int8.safetensors");
        let found = save_quantized::<B::InnerBackend>(&float, &data, &config, 0.05, &path, &device)?;
        println!("{}", found.report());

        let int8 = Bundle::load(&path)?;
        println!("\n{} layers are integers, the model is {}", int8.integers.len(), int8.precision());
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    with_backend(&Choice::default(), Both(folder.path()))?
}
