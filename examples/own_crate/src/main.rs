//! A program that is generic over burn's `Backend`: it trains on one backend, saves the model, and forecasts on another.

use std::path::Path;
use std::sync::Arc;

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::backend::{AutodiffBackend, Backend};
use nhits::bundle::Bundle;
use nhits::data::{DataConfig, Panel, SplitSpec, read_panel};
use nhits::forecast::{ForecastError, Model};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{Provenance, TrainConfig, TrainError, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;

/// Training needs a backend that can differentiate.
fn train<B: AutodiffBackend>(job: &TrainJob, device: &B::Device) -> Result<Bundle, TrainError> {
    let plan = job.plan()?;
    let trained = job.run::<B>(&plan, device, Watch::default())?;
    let backend = B::name(device);
    Ok(trained.bundle(job, &plan, Provenance { backend, ..Provenance::default() }))
}

/// Forecasting needs any backend: the twelve months after the data.
fn forecast<B: Backend>(bundle: &Bundle, panel: &Arc<Panel>, device: &B::Device) -> Result<Vec<f64>, ForecastError> {
    let model = Model::<B>::new(bundle, device, 1)?;
    let known: Vec<_> = (0..panel.n_series()).map(|s| 0..panel.len_of(s)).collect();
    let (forecasts, _without) = model.on(panel.clone(), &known)?.ahead(&[0], &[])?;
    Ok((0..forecasts.time.len()).map(|row| forecasts.row(row)[0]).collect())
}

// The two lines to change for other backends, yours among them.
type Learner = Autodiff<NdArray<f32>>;
type Forecaster = Flex;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/air_passengers.csv");
    let panel = Arc::new(read_panel(&DataConfig { path, ..DataConfig::default() })?.panel);
    let network = NHitsConfig { input_size: 36, horizon: 12, mlp_units: vec![[64, 64]; 2], ..NHitsConfig::default() };
    let job = TrainJob {
        splits: SplitSpec::rows(132, 12, 0).resolve_all(&panel)?,
        panel: panel.clone(),
        network: network.check()?,
        target: Vec::new(),
        loss: LossConfig::Mae,
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config: TrainConfig { max_steps: Some(150), steps_per_epoch: Some(50), ..TrainConfig::default() },
        threads: 1,
    };

    let file = std::env::temp_dir().join(format!("own-crate-{}.safetensors", std::process::id()));
    train::<Learner>(&job, &Default::default())?.save(&file)?;
    let bundle = Bundle::load(&file)?;
    std::fs::remove_file(&file)?;

    let here = forecast::<Forecaster>(&bundle, &panel, &Default::default())?;
    let there = forecast::<<Learner as AutodiffBackend>::InnerBackend>(&bundle, &panel, &Default::default())?;
    let furthest = here.iter().zip(&there).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("trained on {}, forecast on {}", Learner::name(&Default::default()), Forecaster::name(&Default::default()));
    println!("{here:.1?}");
    println!("the two backends' forecasts differ by {furthest:.1e} at most");
    if furthest.is_nan() || furthest > 1e-2 {
        return Err(format!("the backends disagree: {here:?} and {there:?}").into());
    }
    Ok(())
}
