//! Any bytes as a bundle, or as the weights of another program: refused with an error, or a model that forecasts.
#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::tensor::backend::AutodiffBackend;
use libfuzzer_sys::fuzz_target;
use nhits::bundle::{Bundle, ImportOptions, import_neuralforecast};
use nhits::calendar::Clock;
use nhits::data::Panel;
use nhits::forecast::Model;
use nhits_backends::{Choice, Job, Taken, with_backend};

/// What is allowed may still be slow: a horizon of a million steps is no finding.
const LONGEST: usize = 10_000;

struct Forecast<'a>(&'a Bundle);

impl Job for Forecast<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) {
        let Ok(model) = Model::<B::InnerBackend>::new(self.0, &device, 1) else { return };
        let panel = panel();
        let rows = vec![0..panel.len_of(0)];
        if let Ok(bound) = model.on(panel, &rows) {
            let _ = bound.ahead(&[0], &[]);
        }
    }
}

/// Thirty days of one series.
fn panel() -> Arc<Panel> {
    static PANEL: OnceLock<Arc<Panel>> = OnceLock::new();
    let make = || {
        let time = (0..30i64).map(|i| (18_262 + i) * 86_400_000_000).collect();
        let y = (0..30i32).map(|i| f64::from(i * 7 % 11)).collect();
        let freq = "D".parse().expect("a frequency");
        Arc::new(Panel::new(vec!["A".into()], vec![0, 30], time, Clock::Date, freq, y, "y"))
    };
    PANEL.get_or_init(make).clone()
}

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed");
    // The sizes of the smallest reference case, which is in the corpus.
    let options = ImportOptions { input_size: Some(5), h: Some(1), ..Default::default() };
    let read = Bundle::from_bytes(bytes, path).or_else(|_| import_neuralforecast(bytes, path, &options));
    let Ok(bundle) = read else { return };
    let model = &bundle.manifest.model;
    if model.horizon > LONGEST || model.input_size > LONGEST {
        return;
    }
    let written = bundle.to_bytes().expect("what was read can be written");
    Bundle::from_bytes(&written, path).expect("what was written can be read");
    with_backend(&Choice::default(), Forecast(&bundle)).expect("there is a backend");
});
