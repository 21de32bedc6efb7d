//! What a forecast costs in a program that stays: one model, one panel, many forecasts, and how long each of them took.
//!
//! `cargo run --release --example latency -- MODEL DATA [FORECASTS] [THREADS]` prints one JSON object: the times in
//! milliseconds from the panel to the table of forecasts, sorted, with their median and 99th percentile. Without
//! arguments it trains a small model on the passengers first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::Bundle;
use nhits::data::{DataConfig, Panel, SplitSpec, read_panel};
use nhits::forecast::{ForecastError, Model};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{Provenance, TrainConfig, TrainError, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Job, Taken, with_backend};

// As the program has it: what is measured here should be what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Forecasts until the caches are warm; not counted.
const WARM_UP: usize = 5;

/// Forecasting what follows the panel, again and again.
struct Repeat<'a> {
    bundle: &'a Bundle,
    panel: &'a Arc<Panel>,
    forecasts: usize,
    threads: usize,
}

impl Job for Repeat<'_> {
    type Output = Result<Vec<f64>, ForecastError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let model = Model::<B::InnerBackend>::new(self.bundle, &device, self.threads)?;
        let known: Vec<_> = (0..self.panel.n_series()).map(|s| 0..self.panel.len_of(s)).collect();
        let mut took = Vec::with_capacity(self.forecasts);
        for i in 0..WARM_UP + self.forecasts {
            let began = Instant::now();
            // Binding the panel is part of it: a program that serves gets new rows with every request.
            let (table, _without) = model.on(Arc::clone(self.panel), &known)?.ahead(&[0], &[])?;
            let ms = began.elapsed().as_secs_f64() * 1e3;
            assert!(!table.is_empty(), "a forecast has rows");
            if i >= WARM_UP {
                took.push(ms);
            }
        }
        Ok(took)
    }
}

/// A small model, where none is given.
struct Train<'a>(&'a TrainJob);

impl Job for Train<'_> {
    type Output = Result<Bundle, TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let plan = self.0.plan()?;
        let trained = self.0.run::<B>(&plan, &device, Watch::default())?;
        Ok(trained.bundle(self.0, &plan, Provenance::default()))
    }
}

fn small_model(panel: &Arc<Panel>) -> Result<Bundle, Box<dyn std::error::Error>> {
    let network = NHitsConfig { input_size: 36, horizon: 12, mlp_units: vec![[16, 16]; 2], ..NHitsConfig::default() };
    let job = TrainJob {
        splits: SplitSpec::rows(144, 0, 0).resolve_all(panel)?,
        panel: panel.clone(),
        network: network.check()?,
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Identity,
        windows: WindowChoice::default(),
        config: TrainConfig { max_steps: Some(5), steps_per_epoch: Some(5), ..TrainConfig::default() },
        threads: 1,
    };
    Ok(with_backend(&Choice::default(), Train(&job))??)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (model, data) = (args.next().map(PathBuf::from), args.next().map(PathBuf::from));
    let forecasts = args.next().map_or(Ok(100), |n| n.parse::<usize>())?.max(1);
    let threads = match args.next() {
        Some(n) => n.parse::<usize>()?.max(1),
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let path = data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/air_passengers.csv"));
    let panel = Arc::new(read_panel(&DataConfig { path, ..DataConfig::default() })?.panel);
    let bundle = match &model {
        Some(path) => Bundle::load(path)?,
        None => small_model(&panel)?,
    };
    let repeat = Repeat { bundle: &bundle, panel: &panel, forecasts, threads };
    let mut took = with_backend(&Choice::default(), repeat)??;
    took.sort_by(f64::total_cmp);
    // The smallest time that so many of the forecasts did not exceed.
    let at_most = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
    println!(
        "{}",
        serde_json::json!({"n_series": panel.n_series(), "threads": threads, "forecasts": took.len(),
            "p50_ms": at_most(0.5), "p99_ms": at_most(0.99), "ms": took})
    );
    Ok(())
}
