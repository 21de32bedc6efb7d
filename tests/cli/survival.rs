//! Valid files with random damage: whatever comes of them, it is an answer or an error, never a panic.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::{Bundle, ImportOptions, import_neuralforecast};
use nhits::data::{DataConfig, Duplicates, Gaps, Missing, Panel, Targets, check, inspect, read_panel};
use nhits::forecast::Model;
use nhits_backends::{Choice, Job, Taken, with_backend};
use rayon::prelude::*;

use crate::tool::{Folder, daily, hour, model_bytes, wave};

/// A small generator (splitmix64), so that damage number `n` is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn range(&mut self, n: usize) -> Range<usize> {
        let from = self.below(n);
        from..(from + 1 + self.below(40)).min(n)
    }

    /// A number in the text is replaced by one that nobody expects.
    fn odd_number(&mut self, bytes: &mut Vec<u8>, within: Range<usize>) {
        let is_digit = |b: &u8| b.is_ascii_digit();
        let from = within.start + self.below(within.len());
        let Some(start) = bytes[from..within.end].iter().position(is_digit).map(|i| from + i) else { return };
        let end = start + bytes[start..within.end].iter().take_while(|b| is_digit(b)).count();
        let odd: &[u8] = self.pick(&[
            b"0",
            b"1",
            b"7",
            b"-1",
            b"0.5",
            b"99",
            b"65536",
            b"1000000",
            b"4294967296",
            b"9223372036854775807",
            b"18446744073709551615",
            b"1e308",
            b"1e999",
            b"null",
            b"[]",
            b"",
        ]);
        bytes.splice(start..end, odd.iter().copied());
    }

    /// One to three damages.
    fn damage(&mut self, whole: &[u8], text: Range<usize>) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + self.below(3) {
            let n = bytes.len();
            if n == 0 {
                break;
            }
            let text = text.start..text.end.min(n).max(text.start.min(n));
            match self.below(8) {
                0 => {
                    let at = self.below(n);
                    bytes[at] ^= 1 << self.below(8);
                }
                1 => {
                    let at = self.below(n);
                    bytes[at] = self.next() as u8;
                }
                2 => bytes.truncate(self.below(n)),
                3 => {
                    let range = self.range(n);
                    bytes.drain(range);
                }
                4 => {
                    let piece = bytes[self.range(n)].to_vec();
                    let at = self.below(n);
                    bytes.splice(at..at, piece);
                }
                5 => {
                    let (from, to) = (self.range(n), self.range(n));
                    let piece = bytes[from].to_vec();
                    bytes.splice(to, piece);
                }
                _ if text.is_empty() => {}
                _ => self.odd_number(&mut bytes, text),
            }
        }
        bytes
    }
}

/// Runs `survive` on `n` damaged copies of `whole`; those that panic are listed by their number.
#[track_caller]
fn survives(what: &str, n: u64, whole: &[u8], text: Range<usize>, survive: impl Fn(u64, Vec<u8>) -> bool + Sync) {
    let outcomes: Vec<(u64, Option<bool>)> = (0..n)
        .into_par_iter()
        .map(|seed| {
            let bytes = Random(seed).damage(whole, text.clone());
            (seed, catch_unwind(AssertUnwindSafe(|| survive(seed, bytes))).ok())
        })
        .collect();
    let panics: Vec<u64> = outcomes.iter().filter(|(_, o)| o.is_none()).map(|(seed, _)| *seed).collect();
    let fine = outcomes.iter().filter(|(_, o)| *o == Some(true)).count();
    assert!(panics.is_empty(), "{what}: {} of {n} panicked: {panics:?}", panics.len());
    // Damage that always or never matters would test one path only.
    assert!(fine > 0 && fine < n as usize, "{what}: {fine} of {n} were read");
}

/// Forecasts of a bundle on the backend of this build.
struct Forecast<'a> {
    bundle: &'a Bundle,
    panel: Arc<Panel>,
}

impl Job for Forecast<'_> {
    type Output = bool;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> bool {
        let Ok(model) = Model::<B::InnerBackend>::new(self.bundle, &device, 1) else { return false };
        let rows: Vec<_> = (0..self.panel.n_series()).map(|s| 0..self.panel.len_of(s)).collect();
        match model.on(self.panel, &rows) {
            Ok(bound) => bound.ahead(&[0], &[]).is_ok(),
            Err(_) => false,
        }
    }
}

#[test]
fn damaged_bundles_forecast_or_say_why_not() {
    let folder = Folder::with_series();
    let panel = read_panel(&DataConfig { path: folder.path("s.csv"), ..Default::default() }).unwrap().panel;
    let panel = Arc::new(panel);
    let whole = model_bytes();
    let header = 8..8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    survives("bundles", 3000, whole, header, |seed, bytes| {
        let file = folder.path(&format!("damaged{seed}"));
        std::fs::write(&file, &bytes).unwrap();
        // From the file, of which parts are read as they are wanted, comes the same as from its bytes.
        match (Bundle::from_bytes(&bytes, &file), Bundle::load(&file)) {
            (Ok(bundle), Ok(loaded)) => {
                assert_eq!(bundle.to_bytes().unwrap(), loaded.to_bytes().unwrap());
                with_backend(&Choice::default(), Forecast { bundle: &bundle, panel: panel.clone() }).unwrap()
            }
            (Err(error), Err(of_file)) => {
                assert!(error.to_string().contains("damaged"), "{error}");
                assert_eq!(error.to_string(), of_file.to_string());
                false
            }
            (bytes, file) => panic!("{:?} from bytes, {:?} from the file", bytes.err(), file.err()),
        }
    });
}

#[test]
fn damaged_weights_are_imported_or_refused() {
    let whole: &[u8] = include_bytes!("../fixtures/golden/all_exog_partial_max/weights.safetensors");
    let header = 8..8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let options = ImportOptions {
        input_size: Some(35),
        h: Some(12),
        hist_exog_list: vec!["a".into()],
        futr_exog_list: vec!["b".into()],
        stat_exog_list: vec!["c".into()],
        ..Default::default()
    };
    assert!(import_neuralforecast(whole, Path::new("x"), &options).is_ok());
    survives("weights", 2000, whole, header, |_, bytes| {
        let Ok(bundle) = import_neuralforecast(&bytes, Path::new("x"), &options) else { return false };
        // What was imported can be saved and read again.
        Bundle::from_bytes(&bundle.to_bytes().unwrap(), Path::new("x")).unwrap();
        true
    });
}

/// Everything that reads a file, with the policies that do most to it.
fn read_every_way(path: &Path) -> bool {
    let config = DataConfig { path: path.into(), ..Default::default() };
    let lenient = DataConfig {
        missing: Missing::Interpolate,
        gaps: Gaps::Fill,
        duplicates: Duplicates::Mean,
        targets: Some(Targets::All),
        ..config.clone()
    };
    let masked =
        DataConfig { missing: Missing::Mask, gaps: Gaps::Mask, duplicates: Duplicates::Last, ..config.clone() };
    let _ = (inspect(&config), check(&config));
    [config, lenient, masked].iter().filter(|c| read_panel(c).is_ok()).count() > 0
}

#[test]
fn damaged_csv_files_are_read_or_refused() {
    let folder = Folder::new();
    let long = daily(30);
    let wide = (0..30).fold("date;A;B\r\n".to_string(), |text, i| format!("{text}{};\"{}\";{i}\r\n", hour(i), wave(i)));
    for (name, text) in [("long", long), ("wide", wide)] {
        survives(name, 1500, text.as_bytes(), 0..text.len(), |seed, bytes| {
            let file = format!("{name}{seed}.csv");
            folder.write(&file, &bytes);
            let read = read_every_way(&folder.path(&file));
            std::fs::remove_file(folder.path(&file)).unwrap();
            read
        });
    }
}

#[test]
fn damaged_gzip_and_parquet_files_are_read_or_refused() {
    use std::io::Write;
    let folder = Folder::with_model();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gz.write_all(daily(30).as_bytes()).unwrap();
    folder.ok("predict --model model.st --data s.csv --window 0,1,2,3,4,5 --output f.parquet");
    for (name, whole) in [("gz", gz.finish().unwrap()), ("parquet", folder.read("f.parquet"))] {
        survives(name, 800, &whole, 0..0, |seed, bytes| {
            let file = format!("{name}{seed}");
            folder.write(&file, &bytes);
            let config = DataConfig {
                path: folder.path(&file),
                gaps: Gaps::Observed,
                duplicates: Duplicates::Keep,
                ..Default::default()
            };
            let _ = inspect(&config);
            let read = read_panel(&config).is_ok();
            std::fs::remove_file(folder.path(&file)).unwrap();
            read
        });
    }
}
