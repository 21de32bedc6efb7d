//! A covariate that is known ahead: sales that follow planned promotions, forecast without and with the plan.

use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::calendar::{Clock, Frequency};
use nhits::data::{Column, Panel, SplitSpec};
use nhits::evaluate::{Network, Protocol, judge};
use nhits::forecast::Model;
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::random::{Purpose, Stream};
use nhits::train::{Provenance, TrainConfig, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Job, Taken, with_backend};

const ROWS: usize = 600;
const HORIZON: usize = 7;

/// Trains on a panel and judges the forecasts of its last rows; then forecasts the week after with promotions `plan`.
struct Sales<'a>(Panel, &'a [f64]);

impl Job for Sales<'_> {
    type Output = Result<(f64, Vec<f64>), Box<dyn std::error::Error>>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let Self(panel, plan) = self;
        let panel = Arc::new(panel);
        let splits = SplitSpec::rows(440, 60, 100).resolve_all(&panel)?;
        let futr_exog = panel.futr_exog.len();
        let mlp_units = vec![[64, 64]; 2];
        let network = NHitsConfig { input_size: 28, horizon: HORIZON, mlp_units, futr_exog, ..NHitsConfig::default() };
        let job = TrainJob {
            panel: panel.clone(),
            splits: splits.clone(),
            network: network.check()?,
            loss: LossConfig::Mae,
            target: Vec::new(),
            features: Default::default(),
            scaler: ScalerKind::Standard,
            window_scaler: WindowScaler::Identity,
            windows: WindowChoice::default(),
            config: TrainConfig { max_steps: Some(300), steps_per_epoch: Some(50), ..TrainConfig::default() },
            threads: 1,
        };
        let run_plan = job.plan()?;
        let trained = job.run::<B>(&run_plan, &device, Watch::default())?;
        let bundle = trained.bundle(&job, &run_plan, Provenance::default());
        let model = Model::<B::InnerBackend>::new(&bundle, &device, 1)?;
        let known: Vec<_> = splits.iter().map(|s| s.train.clone()).collect();
        let protocol = Protocol::new(network.input_size, HORIZON, 7, splits);
        let mut network = Network::new(model.on(panel.clone(), &known)?, &job.loss);
        let mae = judge(&panel, &protocol, &mut network, 256)?.original.mae;
        // `[series, step, column]`: the future covariates of the steps to be forecast.
        let (next_week, _) = model.on(panel, &known)?.ahead(&[0], plan)?;
        Ok((mae, next_week.values))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = Stream::new(1, Purpose::Synthetic, &[0]);
    let promotion: Vec<f64> = (0..ROWS).map(|_| f64::from(u8::from(stream.uniform() < 0.25))).collect();
    let week = |t: usize| 4.0 * (std::f64::consts::TAU * t as f64 / 7.0).sin();
    let sales = (0..ROWS).map(|t| 50.0 + week(t) + 12.0 * promotion[t] + 0.5 * stream.normal()).collect();
    let (time, freq) = ((0..ROWS as i64).collect(), "1".parse::<Frequency>()?);
    let without = Panel::new(vec!["shop".into()], vec![0, ROWS], time, Clock::Integer, freq, sales, "sales");
    let mut with = without.clone();
    with.futr_exog.push(Column { name: "promotion".into(), values: promotion });

    let planned = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    let (mae_without, _) = with_backend(&Choice::default(), Sales(without, &[]))??;
    let (mae_with, next_week) = with_backend(&Choice::default(), Sales(with, &planned))??;
    println!("mean absolute error on unseen days: {mae_without:.2} without the plan, {mae_with:.2} with it");
    for (day, (sales, promotion)) in next_week.iter().zip(planned).enumerate() {
        println!("day {}: {sales:.1}{}", ROWS + day, if promotion > 0.0 { "  (promotion)" } else { "" });
    }
    assert!(mae_with < 0.5 * mae_without, "the plan explains most of what is left");
    Ok(())
}
