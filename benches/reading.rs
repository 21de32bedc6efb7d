//! Reading: a csv file of 100,000 rows into a panel, long (10 series) and wide (7 columns, with 4 decimals and with as
//! many digits as single precision has when it is written as double).

use std::fmt::Write;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nhits::calendar::Clock;
use nhits::data::{DataConfig, Targets, read_panel};
use nhits::random::{Purpose, Stream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 100_000;
/// A quarter of an hour in microseconds.
const QUARTER: i64 = 900_000_000;

/// One row per series and time.
fn long(n_series: usize) -> String {
    let mut stream = Stream::new(1, Purpose::Synthetic, &[0]);
    let mut text = String::from("unique_id,ds,y\n");
    for s in 0..n_series {
        for t in 0..ROWS / n_series {
            let ds = Clock::Local.format(t as i64 * QUARTER);
            writeln!(text, "series-{s},{ds},{:.4}", 20.0 + stream.normal()).expect("a string takes all text");
        }
    }
    text
}

/// One column per series.
fn wide(n_series: usize, all_digits: bool) -> String {
    let mut stream = Stream::new(1, Purpose::Synthetic, &[1]);
    let heads: Vec<String> = (0..n_series).map(|s| format!("series-{s}")).collect();
    let mut text = format!("date,{}\n", heads.join(","));
    for t in 0..ROWS {
        text.push_str(&Clock::Local.format(t as i64 * QUARTER));
        for _ in 0..n_series {
            let value = 20.0 + stream.normal();
            let written = match all_digits {
                true => write!(text, ",{}", f64::from(value as f32)),
                false => write!(text, ",{value:.4}"),
            };
            written.expect("a string takes all text");
        }
        text.push('\n');
    }
    text
}

fn read(c: &mut Criterion, name: &str, folder: &Path, text: &str, targets: Option<Targets>) {
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, text).expect("the temporary folder can be written to");
    let config = DataConfig { path, targets, ..DataConfig::default() };
    let mut group = c.benchmark_group("read-csv");
    group.throughput(Throughput::Bytes(text.len() as u64)).sample_size(20);
    group.bench_function(name, |b| b.iter(|| read_panel(&config).expect("the file is flawless")));
    group.finish();
}

fn benches(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    read(c, "long", folder.path(), &long(10), None);
    read(c, "wide", folder.path(), &wide(7, false), Some(Targets::All));
    read(c, "wide-all-digits", folder.path(), &wide(7, true), Some(Targets::All));
}

criterion_group!(reading, benches);
criterion_main!(reading);
