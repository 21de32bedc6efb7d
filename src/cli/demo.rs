//! `nhits demo`: learns a small built-in series, judges the forecast of its last year and draws it.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use nhits_backends::{Job, Taken};
use serde_json::json;

use super::error::CliError;
use super::session::Session;
use super::train::{Run, Training, stop_on_ctrl_c};
use crate::bundle::Bundle;
use crate::data::{Panel, SplitSpec, read_panel};
use crate::evaluate::{Evaluation, Network, Protocol};
use crate::experiment::{Experiment, Preset};
use crate::forecast::{ForecastError, Forecasts, Model};
use crate::train::{Dashboard, Watch};

/// Monthly airline passengers 1949 to 1960, thousands (Box & Jenkins 1976).
const AIR_PASSENGERS: &str = include_str!("../../examples/data/air_passengers.csv");

/// Flags of `nhits demo`.
#[derive(Debug, Args, Default)]
pub(super) struct DemoArgs {
    /// Folder for data, model and forecast
    #[arg(long, value_name = "DIR", default_value = "artifacts/demo")]
    dir: PathBuf,
}

/// Judges the model on the test rows and forecasts them once more from their start.
struct Show<'a> {
    bundle: &'a Bundle,
    panel: Arc<Panel>,
    protocol: Protocol,
    threads: usize,
}

impl Job for Show<'_> {
    type Output = Result<(Evaluation, Forecasts), CliError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let model = Model::<B::InnerBackend>::new(self.bundle, &device, self.threads)?;
        let train: Vec<_> = self.protocol.splits.iter().map(|s| s.train.clone()).collect();
        let horizon = self.bundle.manifest.model.horizon;
        let (table, _) = model.on(self.panel.clone(), &train)?.ahead(&[horizon], &[])?;
        let mut network = Network::new(model.on(self.panel.clone(), &train)?, &self.bundle.manifest.loss);
        Ok((Evaluation::run(&self.panel, &self.protocol, &mut network, 1024)?, table))
    }
}

impl DemoArgs {
    pub fn run(mut self, session: Session) -> Result<(), CliError> {
        if self.dir.as_os_str().is_empty() {
            self.dir = PathBuf::from("artifacts/demo");
        }
        let taken = session.taken()?;
        let out = &session.output;
        let write_error = |e: std::io::Error| CliError::program("write", format!("cannot write {e}"));
        let data = self.dir.join("air_passengers.csv");
        crate::atomic_file::write_atomic(&data, |w| w.write_all(AIR_PASSENGERS.as_bytes())).map_err(write_error)?;
        out.note("N-HiTS learns 11 years of monthly airline passengers and forecasts the twelfth (`nhits --help` for all commands)\n");

        let mut experiment = Experiment::default();
        Preset::ShortSeries.apply(&mut experiment);
        experiment.data.path.clone_from(&data);
        experiment.split = SplitSpec::rows(120, 12, 12);
        experiment.model.horizon = 12;
        experiment.train.seed = session.seed.unwrap_or(1);
        let read = read_panel(&experiment.data)?;
        let run = Run::on(experiment, read, &session)?;
        out.note(format!("{}\n", run.announcement(&taken)));
        let dashboard = if out.quiet { Dashboard::None } else { Dashboard::Auto };
        let watch = Watch { dashboard, interrupter: stop_on_ctrl_c()?, ..Watch::default() };
        let (bundle, outcome) = session.on_backend(Training { run: &run, watch })??;
        if let Some(error) = outcome.failed {
            return Err(error.into());
        }
        let path = self.dir.join("model.safetensors");
        bundle.save(&path)?;

        let panel = run.job.panel.clone();
        let model = &bundle.manifest.model;
        let protocol = Protocol::new(model.input_size, model.horizon, panel.freq.season(), run.job.splits.clone());
        let job = Show { bundle: &bundle, panel: panel.clone(), protocol, threads: session.n_threads() };
        let (evaluation, table) = session.on_backend(job)??;
        let forecast = self.dir.join("forecast.csv");
        table.save(&forecast).map_err(|e: ForecastError| CliError::program("write", e.to_string()))?;
        let report = format!(
            "{}\n{}\nmodel     {}\nforecast  {}\n\nnext: nhits predict --model {} --data YOUR.csv, or nhits train --data YOUR.csv --horizon 12",
            draw(&panel, &table),
            evaluation.report(),
            path.display(),
            forecast.display(),
            path.display(),
        );
        out.result(report, &json!({"bundle": path, "forecast": forecast, "evaluation": evaluation}))
    }
}

/// The last years of the series with the forecast over its end, drawn in the terminal.
fn draw(panel: &Panel, table: &Forecasts) -> String {
    use textplots::{Chart, Plot, Shape};
    let y = panel.series(0);
    let (start, origin) = (y.len().saturating_sub(60), y.len() - table.len());
    let points = |from: usize, values: &mut dyn Iterator<Item = f64>| -> Vec<(f32, f32)> {
        values.enumerate().map(|(i, v)| ((from + i) as f32, v as f32)).collect()
    };
    let truth = points(start, &mut y[start..].iter().copied());
    let forecast = points(origin, &mut (0..table.len()).map(|i| table.row(i)[0]));
    let mut chart = Chart::new(150, 50, start as f32, y.len() as f32);
    let (lines, dots) = (Shape::Lines(&truth), Shape::Points(&forecast));
    let drawn = chart.lineplot(&lines).lineplot(&dots);
    drawn.axis();
    drawn.figures();
    format!(
        "passengers (line) and forecast of the last year (dots), from {}\n{drawn}",
        panel.clock.format(panel.times(0)[start])
    )
}
