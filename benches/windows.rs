//! Gathering a batch: windows of 480 + 96 steps out of 7 series of 35,000 rows, read, scaled and laid out.

mod fixture;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nhits::window::WindowScaler;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn gather(c: &mut Criterion) {
    let panel = fixture::panel(7, 35_000);
    for (name, scaler) in [("identity", WindowScaler::Identity), ("robust", WindowScaler::Robust)] {
        let mut group = c.benchmark_group(format!("gather/{name}"));
        for n in [256, 1024] {
            let (batcher, windows) = fixture::windows(&panel, scaler, n);
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter(n), |b| b.iter(|| batcher.gather(black_box(&windows))));
        }
        group.finish();
    }
}

criterion_group!(benches, gather);
criterion_main!(benches);
