//! The library from a file to a forecast: read, split, train, save, load, forecast. `cargo run --example quickstart`

use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::Bundle;
use nhits::data::{DataConfig, Panel, SplitSpec, read_panel};
use nhits::forecast::{ForecastError, Forecasts, Model};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{Provenance, TrainConfig, TrainError, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Job, Taken, with_backend};

/// Training, on whatever backend is taken.
struct Train<'a>(&'a TrainJob, Provenance);

impl Job for Train<'_> {
    type Output = Result<Bundle, TrainError>;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output {
        let Self(job, provenance) = self;
        let plan = job.plan()?;
        println!("training on {} windows, {} steps, {taken}", plan.train_windows, plan.total_steps);
        let trained = job.run::<B>(&plan, &device, Watch::default())?;
        let (backend, device) = (taken.backend.to_string(), taken.device.to_string());
        Ok(trained.bundle(job, &plan, Provenance { backend, device, ..provenance }))
    }
}

/// Forecasting what follows the data, likewise.
struct Forecast<'a>(&'a Bundle, Arc<Panel>);

impl Job for Forecast<'_> {
    type Output = Result<Forecasts, ForecastError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let Self(bundle, panel) = self;
        let model = Model::<B::InnerBackend>::new(bundle, &device, 1)?;
        // A series that the model has not seen would be scaled by these rows: all that are known.
        let known: Vec<_> = (0..panel.n_series()).map(|s| 0..panel.len_of(s)).collect();
        let (forecasts, _without) = model.on(panel, &known)?.ahead(&[0], &[])?;
        Ok(forecasts)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/air_passengers.csv");
    let data = DataConfig { path, ..DataConfig::default() };
    let read = read_panel(&data)?;
    let panel = Arc::new(read.panel);
    let network = NHitsConfig { input_size: 36, horizon: 12, mlp_units: vec![[64, 64]; 2], ..NHitsConfig::default() };
    let job = TrainJob {
        splits: SplitSpec::rows(132, 12, 0).resolve_all(&panel)?,
        panel: panel.clone(),
        network: network.check()?,
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config: TrainConfig { max_steps: Some(300), steps_per_epoch: Some(50), ..TrainConfig::default() },
        threads: 2,
    };
    let provenance = Provenance { data, data_fingerprint: Some(read.fingerprint), ..Provenance::default() };
    let bundle = with_backend(&Choice::default(), Train(&job, provenance))??;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.safetensors");
    bundle.save(&file)?;
    let loaded = Bundle::load(&file)?;
    let forecasts = with_backend(&Choice::default(), Forecast(&loaded, panel))??;
    for (row, time) in forecasts.time.iter().enumerate() {
        println!("{}  {:6.1}", forecasts.clock.format(*time), forecasts.row(row)[0]);
    }
    Ok(())
}
