//! The command line as scripts see it: the real binary, its exit codes, its JSON, its files.

mod bad_inputs;
mod bundles;
mod categories;
mod commands;
mod data_files;
mod features;
mod forecasting;
mod hard_data;
mod leakage;
mod learning_rates;
mod memory;
mod models;
mod quantizing;
mod resuming;
mod stopping;
mod survival;
mod tool;
mod training;
