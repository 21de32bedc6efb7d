//! From a polars frame to a forecast in one: `cargo run --example polars_frame --features polars`.

use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::data::{Panel, SplitSpec};
use nhits::forecast::{Forecasts, Model};
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{Provenance, TrainConfig, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Job, Taken, with_backend};
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

type Failed = Box<dyn std::error::Error>;

/// Trains on a panel and forecasts the week after it.
struct NextWeek(Panel);

impl Job for NextWeek {
    type Output = Result<Forecasts, Failed>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let panel = Arc::new(self.0);
        let splits = SplitSpec::val_split(0.2)?.resolve_all(&panel)?;
        let known: Vec<_> = (0..panel.n_series()).map(|s| 0..panel.len_of(s)).collect();
        let network =
            NHitsConfig { input_size: 28, horizon: 7, mlp_units: vec![[64, 64]; 2], ..NHitsConfig::default() };
        let job = TrainJob {
            panel: panel.clone(),
            splits,
            network: network.check()?,
            loss: LossConfig::Mae,
            target: Vec::new(),
            features: Default::default(),
            scaler: ScalerKind::Standard,
            window_scaler: WindowScaler::Identity,
            windows: WindowChoice::default(),
            config: TrainConfig { max_steps: Some(100), steps_per_epoch: Some(50), ..TrainConfig::default() },
            threads: 1,
        };
        let plan = job.plan()?;
        let bundle = job.run::<B>(&plan, &device, Watch::default())?.bundle(&job, &plan, Provenance::default());
        let (forecasts, _without) =
            Model::<B::InnerBackend>::new(&bundle, &device, 1)?.on(panel, &known)?.ahead(&[0], &[])?;
        Ok(forecasts)
    }
}

fn main() -> Result<(), Failed> {
    // Two shops, daily sales with a weekly wave, from the first of 2020 on.
    let days: Vec<i32> = (0..2).flat_map(|_| 18_262..18_262 + 300).collect();
    let shops: Vec<&str> = (0..600).map(|i| if i < 300 { "north" } else { "south" }).collect();
    let sold: Vec<f64> =
        days.iter().map(|d| 100.0 + 20.0 * (f64::from(*d) * std::f64::consts::TAU / 7.0).sin()).collect();
    let frame = DataFrame::new(
        600,
        vec![
            Series::new("unique_id".into(), shops).into_column(),
            Series::new("ds".into(), days).into_date().into_column(),
            Series::new("y".into(), sold).into_column(),
        ],
    )?;
    let forecasts = with_backend(&Choice::default(), NextWeek(Panel::try_from(&frame)?))??;
    let frame = DataFrame::try_from(&forecasts)?;
    assert_eq!((frame.height(), frame.width()), (14, 3));
    println!("{} rows of {:?}", frame.height(), frame.get_column_names());
    Ok(())
}
