//! `nhits data`: what is in a file, what is wrong with it, synthetic series.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::data_features::FeaturesArgs;
use super::data_shown::describe;
use super::error::CliError;
use super::flags::DataFlags;
use super::output::check_file;
use super::session::Session;
use crate::atomic_file::write_atomic;
use crate::calendar::{Clock, Frequency, parse_stamp};
use crate::data::{DataConfig, Generated, Request, SyntheticKind, check, generate, inspect};

/// What to do with data.
#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// What is in a file: columns, series, calendar, seasons, flaws, a picture, and settings to begin with
    Inspect(FileArgs),
    /// Everything that is wrong with a file, at once; exit code 2 if training would refuse it
    Check(FileArgs),
    /// The columns that transforms and features make of a file
    Features(Box<FeaturesArgs>),
    /// Make synthetic series
    Generate(GenerateArgs),
}

/// A file and how to read it.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The file, if it is not given with --data
    #[arg(value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: DataFlags,
}

/// Flags of `nhits data generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// sine, trend, random-walk, ar or ohlcv
    #[arg(value_name = "KIND")]
    kind: String,
    /// Rows of each series
    #[arg(long, value_name = "N", default_value_t = 1000)]
    n: usize,
    /// Series
    #[arg(long, value_name = "N", default_value_t = 1)]
    n_series: usize,
    /// Time of the first row; an integer makes the times integers
    #[arg(long, value_name = "STAMP", default_value = "2020-01-01 00:00:00")]
    start: String,
    /// Step between rows
    #[arg(long, value_name = "ALIAS", default_value = "h")]
    freq: String,
    /// csv file to write; stdout by default
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Rows per season (sine, trend)
    #[arg(long, value_name = "N")]
    period: Option<f64>,
    /// Height of the season (sine, trend)
    #[arg(long, value_name = "X")]
    amplitude: Option<f64>,
    /// Standard deviation of the noise; volatility of ohlcv
    #[arg(long, value_name = "X")]
    noise: Option<f64>,
    /// Rise per row (trend, random-walk, ohlcv)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    slope: Option<f64>,
    /// Coefficients of the past values, latest first (ar)
    #[arg(long, value_name = "A,B", value_delimiter = ',', allow_negative_numbers = true)]
    coefficients: Vec<f64>,
}

impl FileArgs {
    pub(super) fn config(&self, session: &Session) -> Result<DataConfig, CliError> {
        let mut experiment = session.experiment(None)?;
        if let Some(file) = &self.file {
            experiment.data.path.clone_from(file);
        }
        self.flags.apply_named(&mut experiment)?;
        Ok(experiment.data)
    }
}

impl DataCommand {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        match self {
            Self::Inspect(args) => {
                let inspection = inspect(&args.config(&session)?)?;
                session.output.result(describe(&inspection), &inspection)
            }
            Self::Check(args) => {
                let problems = check(&args.config(&session)?)?;
                let verdict = match (problems.errors, problems.total) {
                    (0, 0) => "nothing is wrong".to_string(),
                    (0, n) => format!("{n} things to know, none of them stops training:\n{problems}"),
                    (errors, _) => format!("{errors} problems that stop training:\n{problems}"),
                };
                session.output.result(verdict, &json!({"ok": !problems.has_errors(), "problems": problems}))?;
                if problems.has_errors() {
                    // The list is the message; only the exit code is left to say.
                    std::process::exit(2);
                }
                Ok(())
            }
            Self::Features(args) => args.run(session),
            Self::Generate(args) => args.run(session),
        }
    }
}

impl GenerateArgs {
    /// The kind with the numbers of the flags; a flag that the kind has no use for is refused.
    fn configured(&self) -> Result<SyntheticKind, CliError> {
        let mut kind: SyntheticKind = self.kind.parse()?;
        let (mut period, mut amplitude, mut slope) = (self.period, self.amplitude, self.slope);
        let mut noise = self.noise;
        let mut coefficients = Some(self.coefficients.clone()).filter(|c| !c.is_empty());
        fn put<T>(to: &mut T, from: &mut Option<T>) {
            if let Some(value) = from.take() {
                *to = value;
            }
        }
        match &mut kind {
            SyntheticKind::Sine(c) => {
                put(&mut c.period, &mut period);
                put(&mut c.amplitude, &mut amplitude);
                put(&mut c.noise, &mut noise);
            }
            SyntheticKind::Trend(c) => {
                put(&mut c.period, &mut period);
                put(&mut c.amplitude, &mut amplitude);
                put(&mut c.noise, &mut noise);
                put(&mut c.slope, &mut slope);
            }
            SyntheticKind::RandomWalk(c) => {
                put(&mut c.noise, &mut noise);
                put(&mut c.drift, &mut slope);
            }
            SyntheticKind::Autoregressive(c) => {
                put(&mut c.noise, &mut noise);
                put(&mut c.coefficients, &mut coefficients);
            }
            SyntheticKind::Ohlcv(c) => {
                put(&mut c.volatility, &mut noise);
                put(&mut c.drift, &mut slope);
            }
        }
        let unused = [
            ("--period", period.is_some()),
            ("--amplitude", amplitude.is_some()),
            ("--noise", noise.is_some()),
            ("--slope", slope.is_some()),
            ("--coefficients", coefficients.is_some()),
        ];
        match unused.iter().find(|(_, left)| *left) {
            Some((flag, _)) => {
                Err(CliError::input("usage", format!("{flag} is not for {} series", kind.name())).hint("leave it out"))
            }
            None => Ok(kind),
        }
    }

    fn run(self, session: Session) -> Result<(), CliError> {
        self.output.as_deref().map(check_file).transpose()?;
        let kind = self.configured()?;
        let start = parse_stamp(&self.start)?;
        let integer = start.kind == Clock::Integer;
        let freq = if integer && self.freq == "h" { Frequency::integer(1) } else { None };
        let freq = match freq {
            Some(freq) => freq,
            None => self.freq.parse::<Frequency>()?,
        };
        // A date can step by hours: its first stamp is midnight.
        let clock = if start.kind == Clock::Date && freq.is_sub_daily() { Clock::Local } else { start.kind };
        let request = Request {
            start: start.value,
            clock,
            freq,
            n: self.n,
            n_series: self.n_series,
            seed: session.seed.unwrap_or(1),
        };
        let table = generate(&kind, &request)?;
        let Some(path) = &self.output else {
            let mut text = Vec::new();
            write_csv(&table, &mut text).map_err(|e| CliError::program("output", format!("cannot write csv: {e}")))?;
            if session.output.json {
                return Err(
                    CliError::input("usage", "--json needs a file for the series").hint("give --output FILE.csv")
                );
            }
            return session.output.print(String::from_utf8_lossy(&text).trim_end());
        };
        write_atomic(path, |out| write_csv(&table, out))
            .map_err(|e| CliError::program("write", format!("cannot write {e}")))?;
        session.output.result(
            format!(
                "wrote {} rows of {} {} series to {}",
                table.times.len(),
                self.n_series,
                kind.name(),
                path.display()
            ),
            &json!({"output": path, "kind": kind.name(), "rows": table.times.len(), "n_series": self.n_series}),
        )
    }
}

/// The long layout: `unique_id, ds` and the columns.
fn write_csv(table: &Generated, out: &mut dyn Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut header = vec!["unique_id", "ds"];
    header.extend(table.columns.iter().map(|(name, _)| name.as_str()));
    writer.write_record(&header)?;
    for (row, time) in table.times.iter().enumerate() {
        writer.write_field(table.id_of(row))?;
        writer.write_field(table.clock.format(*time))?;
        for (_, values) in &table.columns {
            writer.write_field(values[row].to_string())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}
