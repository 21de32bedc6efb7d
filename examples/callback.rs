//! A callback of one's own: looks at forecasts in the units of the data while a run goes, and stops it when they are good
//! enough. `cargo run --example callback`

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::StoppedBy;
use nhits::data::{DataConfig, SplitSpec, read_panel};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{Callback, ForecastSample, Next, TrainConfig, TrainError, TrainJob, ValidationEvent};
use nhits::train::{Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Job, Taken, with_backend};

/// Stops the run once the mean absolute percentage error of the sample forecasts is below `percent`.
struct GoodEnough {
    percent: f64,
    /// Step and error of each validation; shared, so that whoever started the run can read it afterwards.
    seen: Arc<Mutex<Vec<(usize, f64)>>>,
}

impl Callback for GoodEnough {
    fn on_validation(&mut self, event: &ValidationEvent<'_>) -> Next {
        let error = percentage(&event.network.forecasts());
        self.seen.lock().expect("no thread panicked with it").push((event.step, error));
        if error < self.percent { Next::Stop(format!("{error:.1} % is good enough")) } else { Next::Go }
    }
}

/// Mean absolute percentage error over what was observed.
fn percentage(samples: &[ForecastSample]) -> f64 {
    let pairs = samples.iter().flat_map(|s| s.target.iter().zip(&s.forecast)).filter(|(y, _)| y.is_finite());
    let errors: Vec<f64> = pairs.map(|(y, forecast)| 100.0 * ((forecast - y) / y).abs()).collect();
    errors.iter().sum::<f64>() / errors.len() as f64
}

/// A run with the callback, on whatever backend is taken.
struct Watched<'a>(&'a TrainJob, GoodEnough);

impl Job for Watched<'_> {
    type Output = Result<(usize, StoppedBy), TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let watch = Watch { callbacks: vec![Box::new(self.1)], ..Watch::default() };
        let trained = self.0.run::<B>(&self.0.plan()?, &device, watch)?;
        Ok((trained.steps, trained.stopped_by))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/air_passengers.csv");
    let panel = Arc::new(read_panel(&DataConfig { path, ..DataConfig::default() })?.panel);
    let network = NHitsConfig { input_size: 36, horizon: 12, mlp_units: vec![[64, 64]; 2], ..NHitsConfig::default() };
    let job = TrainJob {
        splits: SplitSpec::rows(120, 24, 0).resolve_all(&panel)?,
        panel,
        network: network.check()?,
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config: TrainConfig { max_steps: Some(1000), steps_per_epoch: Some(25), patience: 0, ..TrainConfig::default() },
        threads: 2,
    };
    let seen = Arc::default();
    let callback = GoodEnough { percent: 4.0, seen: Arc::clone(&seen) };
    let (steps, stopped_by) = with_backend(&Choice::default(), Watched(&job, callback))??;
    for (step, error) in seen.lock().expect("the run is over").iter() {
        println!("step {step:4}: off by {error:.1} % on average");
    }
    println!("ended after {steps} steps: {stopped_by:?}");
    Ok(())
}
