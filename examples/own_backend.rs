//! Choosing the backend: one generic function, run on each backend that is compiled in, and by name on others.
//!
//! `cargo run --example own_backend --features ndarray` has a second backend to show. A program that brings a backend
//! of its own calls [`train`] on it and needs no `Choice`.

use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::calendar::{Clock, Frequency};
use nhits::data::{Panel, Sine, SplitSpec};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::random::{Purpose, Stream};
use nhits::train::{TrainConfig, TrainError, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Device, Job, Taken, compiled_in, with_backend};

/// Trains on any backend that can differentiate, and gives the mean absolute error on the validation rows.
fn train<B: AutodiffBackend>(job: &TrainJob, device: &B::Device) -> Result<Option<f64>, TrainError> {
    let trained = job.run::<B>(&job.plan()?, device, Watch::default())?;
    Ok(trained.best.val_mae)
}

/// The same as something that [`with_backend`] can run on the backend that it takes.
struct Training<'a>(&'a TrainJob);

impl Job for Training<'_> {
    type Output = Result<Option<f64>, TrainError>;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output {
        println!("training with {taken}");
        train::<B>(self.0, &device)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = 300;
    let wave = Sine { noise: 0.1, ..Sine::default() };
    let y = wave.generate(rows, &mut Stream::new(1, Purpose::Synthetic, &[0]))?;
    let (ids, time, freq) = (vec!["wave".to_string()], (0..rows as i64).collect(), "1".parse::<Frequency>()?);
    let panel = Panel::new(ids, vec![0, rows], time, Clock::Integer, freq, y, "y");
    let network = NHitsConfig { input_size: 48, horizon: 12, mlp_units: vec![[32, 32]; 2], ..NHitsConfig::default() };
    let job = TrainJob {
        splits: SplitSpec::rows(240, 60, 0).resolve_all(&panel)?,
        panel: Arc::new(panel),
        network: network.check()?,
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Identity,
        windows: WindowChoice::default(),
        config: TrainConfig { max_steps: Some(60), steps_per_epoch: Some(30), ..TrainConfig::default() },
        threads: 1,
    };

    for backend in compiled_in() {
        println!("{}: {}", backend.name, backend.about);
        let choice = Choice { backend: Some(backend.name.to_string()), device: Device::Cpu };
        let mae = with_backend(&choice, Training(&job))??;
        println!("  validation mae {:.4}", mae.ok_or("there are validation rows")?);
    }
    // Nothing is replaced silently: a backend or device that is not there is an error, and the job is not run.
    for (name, device) in [("ndarray", Device::Auto), ("cuda", Device::Auto), ("flex", Device::Gpu(0))] {
        let choice = Choice { backend: Some(name.to_string()), device };
        match nhits_backends::resolve(&choice) {
            Ok(taken) => println!("{name}: {taken}"),
            Err(error) => println!("{name} on {device}: {error}"),
        }
    }
    Ok(())
}
