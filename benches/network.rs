//! The network alone: a forward pass of 1 and 1,000 windows, and a whole training step of 256 and 1,024.

mod fixture;

use burn::optim::Optimizer as _;
use burn::tensor::backend::AutodiffBackend;
use burn::train::TrainStep;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nhits::loss::Loss;
use nhits::model::NHits;
use nhits::train::{Optimizer, Rule, StepSettings, TrainConfig, TrainInput, Trainee};
use nhits::window::WindowScaler;
use nhits::workers::Workers;
use nhits_backends::{Choice, Job, Taken, with_backend};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// On whatever backend is taken.
struct Benches<'a>(&'a mut Criterion);

impl Job for Benches<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) {
        forward::<B>(self.0, taken, &device);
        step::<B>(self.0, taken, &device);
    }
}

/// One forward pass without a graph, up to the values on the host.
fn forward<B: AutodiffBackend>(c: &mut Criterion, taken: &Taken, device: &B::Device) {
    let checked = fixture::network().check().expect("the default network is allowed");
    let net = NHits::<B::InnerBackend>::new(&checked, 1, device);
    let panel = fixture::panel(7, 5_000);
    let mut group = c.benchmark_group(format!("forward/{}", taken.backend));
    for n in [1, 1000] {
        let (batcher, windows) = fixture::windows(&panel, WindowScaler::Robust, n);
        let batch = batcher.gather(&windows).into_tensors::<B::InnerBackend>(device);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::from_parameter(n), |b| b.iter(|| net.forward(&batch.input).into_data()));
    }
    group.finish();
}

/// Forward, backward, optimizer: everything of a step but the gathering of its batch. `gradients` leaves the optimizer
/// out.
fn step<B: AutodiffBackend>(c: &mut Criterion, taken: &Taken, device: &B::Device) {
    let config = TrainConfig::default();
    let job = fixture::job(fixture::panel(7, 5_000), config.clone());
    let loss = Loss::new(job.loss.clone(), None, fixture::SHAPE.input_size, fixture::SHAPE.horizon);
    let workers = Workers::new(job.threads).expect("the system has threads to give");
    let settings =
        StepSettings { loss: loss.expect("mae fits every network"), workers, shares: config.shares, seed: config.seed };
    let trainee = Trainee::<B>::new(NHits::new(&job.network, config.seed, device), settings);
    let mut group = c.benchmark_group(format!("train/{}", taken.backend));
    group.sample_size(20);
    for n in [256, 1024] {
        let (batcher, windows) = fixture::windows(&job.panel, WindowScaler::Robust, n);
        let batch = batcher.gather(&windows).into_tensors::<B>(device);
        let input = || TrainInput { batch: batch.clone(), step: 0 };
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("gradients", n), |b| {
            b.iter_batched(input, |input| TrainStep::step(&trainee, input), BatchSize::LargeInput);
        });
        let mut optimizer = Optimizer::<Trainee<B>, B>::from(Rule::of(&config));
        let mut updated = Some(trainee.clone());
        group.bench_function(BenchmarkId::new("step", n), |b| {
            b.iter_batched(
                input,
                |input| {
                    let trainee = updated.take().expect("it is put back below");
                    let output = TrainStep::step(&trainee, input);
                    updated = Some(optimizer.step(config.lr, trainee, output.grads));
                    output.item
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn benches(c: &mut Criterion) {
    with_backend(&Choice::default(), Benches(c)).expect("a backend is compiled in");
}

criterion_group!(network, benches);
criterion_main!(network);
