//! The registry: save and load of a model of 1 MB, a list of 10,000, full text and neighbours among 100,000.

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use nhits::registry::{Filter, Metadata, Registry, Similarity};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn metadata(i: usize) -> Metadata {
    let mut m = Metadata::new(format!("model-{}", i / 100), "nhits");
    m.description = format!("hourly prices of market {}", i % 1000);
    m.tags = ["crypto".to_string(), format!("fold-{}", i % 5)].into();
    m.hyperparameters =
        json!({"lr": 0.001 * (1 + i % 50) as f64, "batch_size": 32 << (i % 4), "model": {"dropout": 0.1}});
    m.metrics = [("val_mae".to_string(), 0.1 + (i * 7919 % 10_007) as f64 / 10_007.0), ("val_loss".into(), 0.3)].into();
    m.architecture.input_size = Some(168);
    m.architecture.horizon = Some(24 + (i % 30) as u64);
    m.architecture.hidden = vec![512, 512];
    m.architecture.parameters = Some(2_000_000 + i as u64);
    m.data.fingerprint = Some(format!("{:064x}", i % 300));
    m
}

/// A registry of `n` models that share one file: through an archive, which comes in as one transaction.
fn filled(folder: &Path, n: usize) -> Registry {
    let source = Registry::open(folder.join("source")).expect("the temporary folder can be written to");
    let id = source.save(b"weights", &metadata(0)).expect("it is new");
    let one = serde_json::to_value(source.metadata(&id).expect("it was saved")).expect("JSON holds it");
    let model = |i: usize| {
        let mut value = one.clone();
        let about = serde_json::to_value(metadata(i)).expect("JSON holds it");
        about.as_object().into_iter().flatten().for_each(|(k, v)| value[k] = v.clone());
        value["id"] = format!("{i:016x}").into();
        value["version"] = format!("1.{}.0", i % 100).into();
        value
    };
    let models: Vec<Value> = (0..n).map(model).collect();
    let manifest =
        json!({"format": "nhits-models", "format_version": 1, "program": "bench", "models": models}).to_string();
    let path = folder.join("models.tar.zst");
    let file = std::fs::File::create(&path).expect("the temporary folder can be written to");
    let mut tar = tar::Builder::new(zstd::Encoder::new(file, 1).expect("zstd is there"));
    let sha256 = one["sha256"].as_str().expect("it has one");
    for (name, bytes) in [("manifest.json".to_string(), manifest.as_bytes()), (format!("objects/{sha256}"), b"weights")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).expect("there is room");
    }
    tar.into_inner().and_then(|z| z.finish()).expect("there is room");
    let registry = Registry::open(folder.join(format!("{n}"))).expect("the temporary folder can be written to");
    registry.import(&path).expect("the archive is flawless");
    registry
}

fn benches(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let registry = Registry::open(folder.path().join("small")).expect("the temporary folder can be written to");
    let mut group = c.benchmark_group("registry");
    group.sample_size(20);
    let (mut i, mut bytes) = (0usize, vec![7u8; 1_000_000]);
    group.bench_function("save 1 MB", |b| {
        b.iter(|| {
            i += 1;
            bytes[..8].copy_from_slice(&i.to_le_bytes());
            registry.save(&bytes, &metadata(i)).expect("there is room")
        })
    });
    group.bench_function("load 1 MB", |b| b.iter(|| registry.load("model-0@latest").expect("it was saved")));
    // In test mode (without `--bench`) everything runs once: a hundredth is enough then.
    let scale = if std::env::args().any(|a| a == "--bench") { 1 } else { 100 };
    let many = filled(folder.path(), 10_000 / scale);
    group.bench_function("list 10,000", |b| b.iter(|| many.list(&Filter::default()).expect("it is sound").len()));
    let best = Filter { metrics: vec!["val_mae<0.2".parse().expect("a range")], ..Filter::default() };
    group.bench_function("list val_mae<0.2 of 10,000", |b| b.iter(|| many.list(&best).expect("it is sound").len()));
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let most = filled(folder.path(), 100_000 / scale);
    group.bench_function("search among 100,000", |b| b.iter(|| most.search("market 77", 20).expect("it is sound")));
    for (name, by) in [("cosine", Similarity::Cosine), ("l2", Similarity::L2), ("dot", Similarity::Dot)] {
        group.bench_function(format!("similar {name} among 100,000"), |b| {
            b.iter(|| most.similar("000000000000002a", 5, by).expect("it is sound"))
        });
    }
    group.finish();
}

criterion_group!(registry, benches);
criterion_main!(registry);
