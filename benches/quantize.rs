//! A float model and its int8 version, side by side: one window and 1,000, with the bytes that the weights take.
//!
//! Both are timed in turns, one after the other in every round: machines are faster and slower from one second to the next,
//! and what is compared must have had the same seconds. Without `--bench` (as in `cargo test`) each is run once.

mod fixture;

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::QuantizedBy;
use nhits::forecast::Model;
use nhits::kernel::Instructions;
use nhits::model::{LayerInput, QuantizationConfig};
use nhits::train::{Provenance, TrainConfig, Watch};
use nhits::window::Window;
use nhits_backends::{Choice, Job, Taken, with_backend};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// On whatever backend is taken; whether to measure, or only to run once.
struct Both(bool);

/// Median, and the first and third quartile.
fn quartiles(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[(values.len() - 1) * share / 4];
    (at(2), at(1), at(3))
}

impl Job for Both {
    type Output = ();

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) {
        // One small step: how good the weights are does not change what they cost.
        let config =
            TrainConfig { batch_size: 8, steps_per_epoch: Some(1), max_steps: Some(1), ..TrainConfig::default() };
        let job = fixture::job(fixture::panel(1, 700), config);
        let plan = job.plan().expect("there are windows to train on");
        let trained = job.run::<B>(&plan, &device, Watch::default()).expect("one step can be trained");
        let float = trained.bundle(&job, &plan, Provenance::default());
        let n_layers = job.network.layer_names().len();
        let inputs = vec![Some(LayerInput::Dynamic); n_layers];
        let int8 = float
            .quantized(&QuantizationConfig::default(), &inputs, QuantizedBy::PostTraining, None)
            .expect("the settings are allowed");
        let bytes = |b: &nhits::bundle::Bundle| b.to_bytes().map_or(0, |bytes| bytes.len());
        println!("{} and {} bytes, {} instructions", bytes(&float), bytes(&int8), Instructions::best().name());
        let panel = fixture::panel(1, 2000);
        for (n, rounds) in [(1u32, 5_000), (1000, 101)] {
            let windows: Vec<_> = (0..n).map(|i| Window { series: 0, origin: 600 + i }).collect();
            let models = [&float, &int8]
                .map(|bundle| Model::<B::InnerBackend>::new(bundle, &device, job.threads).expect("the weights fit"));
            let bound = models
                .each_ref()
                .map(|m| m.on(Arc::clone(&panel), &[0..2000]).expect("the panel has the model's columns"));
            let mut times = [vec![], vec![]];
            for _ in 0..if self.0 { rounds } else { 1 } {
                for (bound, times) in bound.iter().zip(&mut times) {
                    let began = Instant::now();
                    std::hint::black_box(bound.at(&windows).expect("the windows are the panel's"));
                    times.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
            let ratios = quartiles(times[0].iter().zip(&times[1]).map(|(float, int8)| float / int8).collect());
            for (name, times) in ["float32", "int8"].into_iter().zip(times) {
                let (median, low, high) = quartiles(times);
                println!("{n} windows, {name}: {median:.4} ms ({low:.4} to {high:.4}), on {}", taken.backend);
            }
            println!("{n} windows, float32 / int8: {:.2} ({:.2} to {:.2})", ratios.0, ratios.1, ratios.2);
        }
    }
}

fn main() {
    let measure = std::env::args().any(|a| a == "--bench");
    with_backend(&Choice::default(), Both(measure)).expect("a backend is compiled in");
}
