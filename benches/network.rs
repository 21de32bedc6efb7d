//! The network alone: a forward pass of 1 and 1,000 windows, and a whole training step of 256 and 1,024, with what a step
//! asks of the allocator.

mod fixture;

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use burn::optim::Optimizer as _;
use burn::tensor::backend::AutodiffBackend;
use burn::train::TrainStep;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nhits::kernel::{Matrix, MatrixMut, product};
use nhits::loss::Loss;
use nhits::model::host::{HostForecaster, HostNetwork, Pass, weights_of};
use nhits::model::{DropoutKey, NHits};
use nhits::train::{Optimizer, Rule, StepSettings, TrainConfig, TrainInput, Trainee};
use nhits::window::WindowScaler;
use nhits::workers::Workers;
use nhits_backends::{Choice, Job, Taken, with_backend};

/// The program's allocator, counting what it is asked for.
struct Counted;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are those of this call.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { mimalloc::MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { mimalloc::MiMalloc.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Prints what `step` asks of the allocator, once its buffers have their sizes.
fn allocations(name: &str, mut step: impl FnMut()) {
    step();
    let before = (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    step();
    let (calls, bytes) = (CALLS.load(Ordering::Relaxed) - before.0, BYTES.load(Ordering::Relaxed) - before.1);
    println!("{name}: {calls} allocations, {:.2} MB a step", bytes as f64 / 1e6);
}

/// On whatever backend is taken.
struct Benches<'a>(&'a mut Criterion);

impl Job for Benches<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) {
        products(self.0);
        forward::<B>(self.0, taken, &device);
        forward_on_slices::<B>(self.0, &device);
        step::<B>(self.0, taken, &device);
        gradients_on_slices::<B>(self.0, &device);
    }
}

/// A hidden layer's product alone, on one core: what the rest is measured by (elements are multiplications with their
/// additions).
fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    let (rows, units) = (512, 512);
    let (x, w) = (vec![0.5f32; rows * units], vec![0.25f32; units * units]);
    let mut y = vec![0.0f32; rows * units];
    group.throughput(Throughput::Elements((rows * units * units) as u64));
    group.bench_function("512x512x512", |b| {
        b.iter(|| {
            product(
                Matrix::new(&x, rows, units),
                Matrix::new(&w, units, units),
                MatrixMut::new(&mut y, rows, units),
                false,
            );
        });
    });
    group.finish();
}

/// The same forward pass on slices, on one core.
fn forward_on_slices<B: AutodiffBackend>(c: &mut Criterion, device: &B::Device) {
    let checked = fixture::network().check().expect("the default network is allowed");
    let net = NHits::<B::InnerBackend>::new(&checked, 1, device);
    let forecaster = HostForecaster::new(&net).expect("the default network has no learnt slopes");
    let panel = fixture::panel(7, 5_000);
    let mut group = c.benchmark_group("forward/slices");
    for n in [1, 1000] {
        let (batcher, windows) = fixture::windows(&panel, WindowScaler::Robust, n);
        let batch = batcher.gather(&windows);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::from_parameter(n), |b| b.iter(|| forecaster.forecast(&batch.input())));
    }
    group.finish();
}

/// Forward and backward on slices, on all cores; the loss left out.
fn gradients_on_slices<B: AutodiffBackend>(c: &mut Criterion, device: &B::Device) {
    let job = fixture::job(fixture::panel(7, 5_000), TrainConfig::default());
    let weights = weights_of(&NHits::<B::InnerBackend>::new(&job.network, 1, device));
    let network = HostNetwork::new(&job.network).expect("the default network has no learnt slopes");
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(job.threads).build().expect("the system has threads to give");
    let mut group = c.benchmark_group("train/slices");
    group.sample_size(20);
    for n in [256, 1024] {
        let (batcher, windows) = fixture::windows(&job.panel, WindowScaler::Robust, n);
        let batch = batcher.gather(&windows);
        let (mut pass, mut gradients) = (Pass::new(), vec![0.0; weights.len()]);
        let towards = vec![1e-3; n * job.network.horizon * job.network.outputs];
        let key = DropoutKey { seed: 1, step: 0, first_row: 0 };
        group.throughput(Throughput::Elements(n as u64));
        let mut step = || {
            pass.forward(&network, &weights, &batch.input(), Some(&key), &pool);
            pass.backward(&network, &weights, &towards, &mut gradients, &pool);
        };
        allocations(&format!("train/slices/gradients/{n}"), &mut step);
        group.bench_function(BenchmarkId::new("gradients", n), |b| b.iter(&mut step));
    }
    group.finish();
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
        allocations(&format!("train/{}/gradients/{n}", taken.backend), || drop(TrainStep::step(&trainee, input())));
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
