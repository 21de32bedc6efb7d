//! An answer: binding a model to a panel and forecasting what follows it, for 1 and 1,000 series.

mod fixture;

use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nhits::forecast::Model;
use nhits::train::{Provenance, TrainConfig, Watch};
use nhits_backends::{Choice, Job, Taken, with_backend};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// On whatever backend is taken.
struct Ahead<'a>(&'a mut Criterion);

impl Job for Ahead<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) {
        // One small step: how good the weights are does not change what they cost.
        let config =
            TrainConfig { batch_size: 8, steps_per_epoch: Some(1), max_steps: Some(1), ..TrainConfig::default() };
        let job = fixture::job(fixture::panel(1, 700), config);
        let plan = job.plan().expect("there are windows to train on");
        let trained = job.run::<B>(&plan, &device, Watch::default()).expect("one step can be trained");
        let bundle = trained.bundle(&job, &plan, Provenance::default());
        let model = Model::<B::InnerBackend>::new(&bundle, &device, job.threads).expect("the weights fit");
        let mut group = self.0.benchmark_group(format!("ahead/{}", taken.backend));
        for n in [1, 1000] {
            let panel = fixture::panel(n, 600);
            let known: Vec<_> = (0..n).map(|s| 0..panel.len_of(s)).collect();
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter(n), |b| {
                b.iter(|| {
                    let bound = model.on(Arc::clone(&panel), &known).expect("the panel has the model's columns");
                    bound.ahead(&[0], &[]).expect("every series has observed values")
                });
            });
        }
        group.finish();
    }
}

fn benches(c: &mut Criterion) {
    with_backend(&Choice::default(), Ahead(c)).expect("a backend is compiled in");
}

criterion_group!(predict, benches);
criterion_main!(predict);
