//! A float model and its int8 version, side by side: one window and 1,000, with the bytes that the weights take.

mod fixture;

use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nhits::bundle::QuantizedBy;
use nhits::forecast::Model;
use nhits::kernel::Instructions;
use nhits::model::{LayerInput, QuantizationConfig};
use nhits::train::{Provenance, TrainConfig, Watch};
use nhits::window::Window;
use nhits_backends::{Choice, Job, Taken, with_backend};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// On whatever backend is taken.
struct Both<'a>(&'a mut Criterion);

impl Job for Both<'_> {
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
        let mut group = self.0.benchmark_group(format!("forecast/{}", taken.backend));
        for n in [1u32, 1000] {
            let windows: Vec<_> = (0..n).map(|i| Window { series: 0, origin: 600 + i }).collect();
            group.throughput(Throughput::Elements(n.into()));
            for (name, bundle) in [("float32", &float), ("int8", &int8)] {
                let model = Model::<B::InnerBackend>::new(bundle, &device, job.threads).expect("the weights fit");
                let bound = model.on(Arc::clone(&panel), &[0..2000]).expect("the panel has the model's columns");
                group.bench_function(BenchmarkId::new(name, n), |b| {
                    b.iter(|| bound.at(&windows).expect("the windows are the panel's"));
                });
            }
        }
        group.finish();
    }
}

fn benches(c: &mut Criterion) {
    with_backend(&Choice::default(), Both(c)).expect("a backend is compiled in");
}

criterion_group!(quantize, benches);
criterion_main!(quantize);
