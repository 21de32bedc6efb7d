//! `nhits data features`: the columns that features make of a file, as the network would see them.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::data::FileArgs;
use super::error::CliError;
use super::feature_flags::FeatureFlags;
use super::output::check_file;
use super::session::Session;
use crate::data::{Panel, Read, read_panel};
use crate::features::FeatureSpec;
use crate::forecast::{Forecasts, Format};
use crate::window::Target;

/// Flags of `nhits data features`.
#[derive(Debug, Args)]
pub(super) struct FeaturesArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    flags: FeatureFlags,
    /// Rows beyond the end of each series; they have the columns that are known ahead
    #[arg(long, value_name = "N", default_value_t = 0)]
    ahead: usize,
    /// csv, parquet or json file to write; csv on stdout by default
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The most rows beyond the end of a series.
const MOST_AHEAD: usize = 100_000;

impl FeaturesArgs {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        if let Some(path) = &self.output {
            Format::of(path)?;
            check_file(path)?;
        }
        if self.ahead > MOST_AHEAD {
            let message = format!("--ahead = {} is not allowed: expected 0 to {MOST_AHEAD}", self.ahead);
            return Err(CliError::input("invalid-setting", message).hint("give the steps of a horizon"));
        }
        let mut experiment = session.experiment(None)?;
        experiment.data = self.file.config(&session)?;
        self.flags.apply(&mut experiment)?;
        let spec = experiment.features.resolve()?;
        if spec.is_empty() && experiment.transform.target.is_empty() {
            return Err(CliError::input("usage", "no features are asked for")
                .hint("give --features 'lags=1,7;rolling_mean=24;calendar=dow', or [features] in --config"));
        }
        let Read { panel, notices, .. } = read_panel(&experiment.data)?;
        notices.iter().for_each(|n| session.output.note(n));
        // The transforms as training would fit them: on the train rows of the split.
        let target = if experiment.transform.target.is_empty() {
            Target::default()
        } else {
            let splits = experiment.split.resolve_all(&panel)?;
            let train: Vec<_> = splits.iter().map(|s| s.train.clone()).collect();
            let (pipeline, left) = Target::fit(&experiment.transform.target, &panel, &train)?;
            left.iter().for_each(|n| session.output.note(n));
            Target::new(&panel, pipeline)?
        };
        let panel = spec.extend(panel)?;
        let table = table(&panel, &spec, &target, self.ahead)?;
        let names = &table.columns;
        match &self.output {
            Some(path) => {
                table.save(path)?;
                session.output.result(
                    format!(
                        "wrote {} rows of {} series with {} columns to {}: {}",
                        table.len(),
                        table.ids.len(),
                        names.len(),
                        path.display(),
                        names.join(", ")
                    ),
                    &json!({"output": path, "rows": table.len(), "n_series": table.ids.len(), "columns": names,
                        "hist_exog": experiment.features.hist_names(), "futr_exog": experiment.features.futr_names()}),
                )
            }
            None if session.output.json => {
                session.output.result("", &json!({"columns": names, "rows": table.to_json()}))
            }
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

/// Target, transformed target, and the columns of the features; rows beyond the end have those that are known ahead.
fn table(panel: &Panel, spec: &FeatureSpec, target: &Target, ahead: usize) -> Result<Forecasts, CliError> {
    let (n_hist, n_futr) = (spec.columns.n_hist(), spec.columns.n_futr());
    let hist = &panel.hist_exog[panel.hist_exog.len() - n_hist..];
    let futr = &panel.futr_exog[panel.futr_exog.len() - n_futr..];
    let transformed = (!target.is_plain()).then(|| target.y(panel));
    let mut columns = vec![panel.target.clone()];
    columns.extend(transformed.map(|_| format!("{}_transformed", panel.target)));
    columns.extend(hist.iter().chain(futr).map(|c| c.name.clone()));
    let mut table = Forecasts {
        ids: panel.ids.clone(),
        series: Vec::new(),
        time: Vec::new(),
        cutoff: None,
        clock: panel.clock,
        columns,
        values: Vec::new(),
    };
    for s in 0..panel.n_series() {
        // As many as there are bytes of memory for; `check_size` of windows says the same.
        let series = u32::try_from(s).map_err(|_| CliError::input("panel-too-large", "too many series"))?;
        for row in panel.rows(s) {
            table.series.push(series);
            table.time.push(panel.time[row]);
            table.values.push(panel.y[row]);
            table.values.extend(transformed.map(|y| y[row]));
            table.values.extend(hist.iter().chain(futr).map(|c| c.values[row]));
        }
        let Some(last) = panel.times(s).last() else { continue };
        let times: Vec<i64> = (1..=ahead as i64).map_while(|k| panel.freq.advance(*last, k)).collect();
        if times.len() < ahead {
            let message = format!("series `{}`: the calendar ends before row {ahead} ahead", panel.ids[s]);
            return Err(CliError::input("calendar", message));
        }
        let known = spec.ahead(&times, panel);
        for (k, time) in times.iter().enumerate() {
            table.series.push(series);
            table.time.push(*time);
            let unknown = 1 + usize::from(transformed.is_some()) + n_hist;
            table.values.extend(std::iter::repeat_n(f64::NAN, unknown));
            table.values.extend_from_slice(&known[k * n_futr..(k + 1) * n_futr]);
        }
    }
    Ok(table)
}
