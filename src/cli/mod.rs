//! The command line: one file per subcommand; the only room that names `nhits_backends` and joins the rooms' errors.

mod backends;
mod config;
mod data;
mod data_features;
mod data_shown;
mod demo;
mod error;
mod evaluate;
mod feature_flags;
mod flags;
mod import;
mod lr_find;
mod model_flag;
mod models;
mod models_shown;
mod output;
mod predict;
mod quantize;
mod register_flags;
mod schedule_flags;
mod series_report;
mod session;
mod train;
mod train_flags;
mod watch_flags;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nhits_backends::{Choice, Device};

use error::CliError;
use output::Output;
use session::Session;

/// N-HiTS forecasting: train, judge and run models of time series.
#[derive(Debug, Parser)]
#[command(name = "nhits", version, about, max_term_width = 110)]
#[command(after_help = "Without a command: a demonstration on a small built-in series (`nhits demo`).")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// One JSON object on stdout, everything else on stderr
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Log more (twice for everything)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Backend to compute on; the fastest one that is there by default
    #[arg(long, global = true, value_name = "NAME")]
    backend: Option<String>,
    /// cpu, gpu, gpu:N or auto
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: Device,
    /// Threads to compute with; all cores by default
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Configuration file (TOML); flags override it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Seed of everything random
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
}

/// The most threads that may be asked for.
const MOST_THREADS: usize = 1024;

fn device(text: &str) -> Result<Device, String> {
    text.parse().map_err(|e: nhits_backends::BackendError| e.to_string())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model: data -> bundle
    #[command(alias = "train-neural")]
    Train(Box<train::TrainArgs>),
    /// Forecast: bundle + data -> csv, parquet or json
    Predict(Box<predict::PredictArgs>),
    /// Judge a model on its test windows, beside naive, seasonal naive, drift and linear baselines
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Turn a model's weights into 8-bit integers, if it forecasts as well as was asked for
    Quantize(Box<quantize::QuantizeArgs>),
    /// Look into a file, check it, or make synthetic series
    #[command(subcommand)]
    Data(Box<data::DataCommand>),
    /// Turn a neuralforecast NHITS file into a bundle
    Import(Box<import::ImportArgs>),
    /// The registry: file, find, compare, promote, export and import models
    Models(Box<models::ModelsArgs>),
    /// What is compiled in, which devices are there, and whether they compute right
    Backends,
    /// Print, check or describe the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Train on a small built-in series and show the forecast
    Demo(demo::DemoArgs),
}

/// Runs the program and says with what code to end: 0 done, 2 the input is wrong, 1 the program failed.
pub fn main() -> ExitCode {
    // Flags may be refused before `--json` is known, so it is looked for by hand.
    let json = std::env::args_os().any(|a| a == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return Output::new(json, false).refused(&e),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => output.failed(&e),
    }
}

fn run(cli: Cli, output: &Output) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    session::start_logs(global.verbose);
    // More threads than any machine has cores only take their time to start.
    if let Some(n) = global.threads.filter(|n| !(1..=MOST_THREADS).contains(n)) {
        let message = format!("--threads = {n} is not allowed: expected 1 to {MOST_THREADS}");
        return Err(CliError::input("invalid-setting", message).hint("leave it out to use every core"));
    }
    let session = Session {
        choice: Choice { backend: global.backend, device: global.device },
        threads: global.threads,
        config: global.config,
        seed: global.seed,
        output: output.clone(),
    };
    session.start_threads()?;
    match command.unwrap_or(Command::Demo(demo::DemoArgs::default())) {
        Command::Train(args) => args.run(session),
        Command::Predict(args) => args.run(session),
        Command::Evaluate(args) => args.run(session),
        Command::Quantize(args) => args.run(session),
        Command::Data(command) => command.run(session),
        Command::Import(args) => args.run(session),
        Command::Models(args) => args.run(session),
        Command::Backends => backends::run(session),
        Command::Config(command) => command.run(session),
        Command::Demo(args) => args.run(session),
    }
}
