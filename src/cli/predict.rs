//! `nhits predict`: bundle + data -> forecasts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use nhits_backends::{Job, Taken};
use serde_json::json;

use super::error::{CliError, Fault};
use super::flags::DataFlags;
use super::model_flag::ModelFlag;
use super::output::check_file;
use super::session::Session;
use crate::bundle::{Bundle, Layout, Manifest};
use crate::data::{DataConfig, Panel, Read, Targets, read_future, read_panel};
use crate::forecast::{ForecastError, Forecasts, Format, Model};
use crate::loss::quantile_name;

/// Flags of `nhits predict`.
#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    data: DataFlags,
    /// File with the future covariates: series, time and one column each
    #[arg(long, value_name = "FILE")]
    future: Option<PathBuf>,
    /// Forecast from so many rows before the end (0 is the end; several give several cutoffs)
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "0")]
    window: Vec<usize>,
    /// Intervals in percent; the model must have been trained with their quantiles
    #[arg(long, value_name = "80,90", value_delimiter = ',', allow_negative_numbers = true)]
    level: Vec<f64>,
    /// csv, parquet or json file to write; csv on stdout by default
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The data configuration of a bundle with the flags on top: fresh data is read as the training data was.
pub(super) fn data_like(manifest: &Manifest, flags: &DataFlags) -> Result<DataConfig, CliError> {
    let trained = manifest.experiment.get("data").cloned();
    let mut data: DataConfig = match trained {
        Some(value) => serde_json::from_value(value)
            .map_err(|e| CliError::input("bad-manifest", format!("the bundle's data settings are not valid: {e}")))?,
        None => DataConfig::default(),
    };
    let columns = &manifest.columns;
    if manifest.imported_from.is_some() {
        data.hist_exog.clone_from(&columns.hist_exog);
        data.futr_exog.clone_from(&columns.futr_exog);
        data.stat_exog.clone_from(&columns.stat_exog);
    }
    // The training file is not a default for fresh data.
    data.path = PathBuf::new();
    if columns.layout == Layout::Wide && flags.target.is_none() && flags.targets.is_none() && data.targets.is_none() {
        data.targets = Some(Targets::All);
    }
    flags.apply(&mut data)?;
    if data.path.as_os_str().is_empty() {
        return Err(CliError::input("usage", "no data file is named")
            .hint("give --data FILE (csv, csv.gz, parquet, or `-` for stdin)"));
    }
    Ok(data)
}

/// Forecasting on whatever backend is taken.
struct Forecasting<'a> {
    bundle: &'a Bundle,
    panel: Arc<Panel>,
    back: &'a [usize],
    future: &'a [f64],
    /// The times of the steps ahead as the file of future covariates has them; empty without one.
    times: &'a [i64],
    threads: usize,
}

/// The table, the series without a forecast, and milliseconds that the forecast itself took.
type Forecasted = Result<(Forecasts, Vec<String>, f64), ForecastError>;

impl Job for Forecasting<'_> {
    type Output = Forecasted;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Forecasted {
        let model = Model::<B::InnerBackend>::new(self.bundle, &device, self.threads)?;
        let began = Instant::now();
        // What is known of a new series is all that lies before the earliest origin.
        let most = self.back.iter().max().copied().unwrap_or(0);
        let rows: Vec<_> = (0..self.panel.n_series()).map(|s| 0..self.panel.len_of(s).saturating_sub(most)).collect();
        let (table, silent) = model.on(self.panel, &rows)?.ahead_at(self.back, self.future, self.times)?;
        Ok((table, silent, began.elapsed().as_secs_f64() * 1e3))
    }
}

/// Refuses intervals that the model has no quantiles for.
fn check_levels(levels: &[f64], manifest: &Manifest) -> Result<(), CliError> {
    if levels.is_empty() {
        return Ok(());
    }
    let wanted = crate::loss::quantiles_from_levels(levels)?;
    let has = manifest.loss.quantiles().unwrap_or_default();
    let missing: Vec<String> =
        wanted.iter().filter(|q| !has.iter().any(|h| (h - **q).abs() < 1e-9)).map(|q| quantile_name(*q)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::input(
        "no-such-level",
        format!("the model has no output for {} (loss {})", missing.join(", "), manifest.loss.name()),
    )
    .hint("train with --level, which teaches the quantiles of these intervals"))
}

/// Keeps the columns of the wanted levels, and the median.
fn keep_levels(table: &mut Forecasts, levels: &[f64], manifest: &Manifest) -> Result<(), CliError> {
    let (Some(has), false) = (manifest.loss.quantiles(), levels.is_empty()) else { return Ok(()) };
    let wanted = crate::loss::quantiles_from_levels(levels)?;
    let kept: Vec<usize> = (0..has.len()).filter(|i| wanted.iter().any(|q| (q - has[*i]).abs() < 1e-9)).collect();
    table.values = (0..table.len()).flat_map(|r| kept.iter().map(|c| table.row(r)[*c]).collect::<Vec<_>>()).collect();
    table.columns = kept.iter().map(|c| table.columns[*c].clone()).collect();
    Ok(())
}

impl PredictArgs {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        let began = Instant::now();
        session.taken()?;
        if let Some(path) = &self.output {
            Format::of(path)?;
            check_file(path)?;
        }
        let bundle = self.model.bundle()?;
        let manifest = &bundle.manifest;
        check_levels(&self.level, manifest)?;
        let config = data_like(manifest, &self.data)?;
        let Read { mut panel, notices, .. } = read_panel(&config)?;
        notices.iter().for_each(|n| session.output.note(n));
        manifest.features.notice(&panel).iter().for_each(|n| session.output.note(n));
        if panel.stat_cat.len() == manifest.columns.stat_cat.len() {
            let unknown = panel.recode_categories(&manifest.columns.levels());
            unknown.iter().for_each(|line| session.output.note(line));
        }
        let (future, times) = match (&self.future, manifest.given_futr().is_empty()) {
            (Some(path), false) => {
                let names = manifest.given_futr();
                let rows = read_future(path, &config, &panel, manifest.model.horizon, names)?;
                // One column after the other becomes series by series, step by step, column by column.
                let of_steps = 0..rows.time.len();
                let values = of_steps.flat_map(|i| rows.columns.iter().map(move |c| c.values[i])).collect();
                (values, rows.time)
            }
            (Some(_), true) => {
                return Err(CliError::input("usage", "--future is given, but the model has no future covariates")
                    .hint("leave --future out"));
            }
            (None, _) => (Vec::new(), Vec::new()),
        };
        let job = Forecasting {
            bundle: &bundle,
            panel: Arc::new(panel),
            back: &self.window,
            future: &future,
            times: &times,
            threads: session.n_threads(),
        };
        let (mut table, silent, latency_ms) = session.on_backend(job)??;
        keep_levels(&mut table, &self.level, manifest)?;
        if !silent.is_empty() {
            session.output.note(format!(
                "no forecast for {} series that have no observed value among their last rows: {}",
                silent.len(),
                crate::error::listed(&silent, 5)
            ));
        }
        match &self.output {
            Some(path) => {
                table.save(path).map_err(|e| match e {
                    ForecastError::Write { .. } => CliError { fault: Fault::Program, ..e.into() },
                    other => other.into(),
                })?;
                let n_series = table.ids.len() - silent.len();
                session.output.result(
                    format!("wrote {} forecasts of {n_series} series to {}", table.len(), path.display()),
                    &json!({"output": path, "n_series": n_series, "rows": table.len(),
                        "wall_s": began.elapsed().as_secs_f64(), "latency_ms": latency_ms}),
                )
            }
            None if session.output.json => session.output.result(
                "",
                &json!({"forecasts": table.to_json(), "wall_s": began.elapsed().as_secs_f64(), "latency_ms": latency_ms}),
            ),
            None => {
                let mut text = Vec::new();
                table
                    .write(Format::Csv, &mut text)
                    .map_err(|e| CliError::program("output", format!("cannot write csv: {e}")))?;
                session.output.print(String::from_utf8_lossy(&text).trim_end())
            }
        }
    }
}
