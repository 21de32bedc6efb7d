//! Any bytes as a data file (csv, gzip or parquet, by content): refused with an error, or read.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nhits::data::{DataConfig, Duplicates, Gaps, Missing, Targets, check, inspect, read_panel};

/// A file in memory: the readers take paths, parquet wants to seek.
fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = if PathBuf::from("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        folder.join(format!("nhits-fuzz-{}", std::process::id()))
    })
}

fuzz_target!(|bytes: &[u8]| {
    if std::fs::write(path(), bytes).is_err() {
        return;
    }
    let plain = DataConfig { path: path().clone(), ..Default::default() };
    let lenient = DataConfig {
        missing: Missing::Interpolate,
        gaps: Gaps::Fill,
        duplicates: Duplicates::Mean,
        targets: Some(Targets::All),
        ..plain.clone()
    };
    let observed =
        DataConfig { missing: Missing::Mask, gaps: Gaps::Observed, duplicates: Duplicates::Keep, ..plain.clone() };
    let _ = inspect(&plain);
    let _ = check(&plain);
    for config in [plain, lenient, observed] {
        let _ = read_panel(&config);
    }
});
