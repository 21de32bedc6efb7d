//! The command line as scripts see it: the real binary, its exit codes, its JSON, its files.

mod bad_inputs;
mod bundles;
mod commands;
mod devices;
mod forecasting;
mod leakage;
mod learning_rates;
mod models;
mod resuming;
mod stopping;
mod survival;
mod tool;
mod training;
