//! The data flags that several commands share.

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use crate::calendar::Frequency;
use crate::data::{DataConfig, Duplicates, Gaps, Missing, SplitSpec, Targets, Unusable};
use crate::experiment::Experiment;

/// Where the series are and what to do about their flaws.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub(super) struct DataFlags {
    /// csv, csv.gz, parquet or tsf file, or a quoted pattern ('dir/*.csv') of several; `-` is stdin
    #[arg(long, short = 'd', value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Column with the series' identifiers (long layout)
    #[arg(long, value_name = "COLUMN")]
    pub id_col: Option<String>,
    /// Column with the time; found by itself where there is just one
    #[arg(long, value_name = "COLUMN")]
    pub time_col: Option<String>,
    /// Column to forecast
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Wide layout: columns that are a series each, or `all`
    #[arg(long, value_name = "A,B|all", conflicts_with = "target")]
    pub targets: Option<String>,
    /// Step between rows (pandas alias: h, 15min, D, B, W-SUN, MS, ...); inferred by default
    #[arg(long, value_name = "ALIAS")]
    pub freq: Option<String>,
    /// Covariates known up to the origin
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub hist_exog: Vec<String>,
    /// Covariates known ahead
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub futr_exog: Vec<String>,
    /// Covariates with one value per series
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub stat_exog: Vec<String>,
    /// Static covariates that are names: each category gets a learned vector
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub stat_cat: Vec<String>,
    /// File with one row per series for the static covariates
    #[arg(long = "static", value_name = "FILE")]
    pub static_file: Option<PathBuf>,
    /// Missing values: error, drop, ffill, interpolate or mask
    #[arg(long, value_name = "RULE")]
    pub missing: Option<String>,
    /// Holes in the calendar: auto, error, fill, mask or observed
    #[arg(long, value_name = "RULE")]
    pub gaps: Option<String>,
    /// Short for `--gaps fill`
    #[arg(long, conflicts_with = "gaps")]
    pub fill_gaps: bool,
    /// Rows with the same series and time: error, first, last, mean or keep
    #[arg(long, value_name = "RULE")]
    pub duplicates: Option<String>,
    /// Series without a value, or too short for the split: error or skip
    #[arg(long, value_name = "RULE")]
    pub unusable: Option<String>,
}

/// Train, validation and test rows.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub(super) struct SplitFlags {
    /// Train/validation/test in time order: rows (34560/11520/11520, */18/18) or shares (0.7/0.1/0.2)
    #[arg(long, value_name = "A/B/C", conflicts_with = "val_split")]
    pub split: Option<String>,
    /// Share of the rows to validate on (0.2 is short for 0.8/0.2)
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub val_split: Option<f64>,
}

impl SplitFlags {
    /// The split that the flags name.
    pub fn spec(&self) -> Result<Option<SplitSpec>, CliError> {
        match (&self.split, self.val_split) {
            (Some(text), _) => Ok(Some(text.parse::<SplitSpec>()?)),
            (None, Some(share)) => Ok(Some(SplitSpec::val_split(share)?)),
            (None, None) => Ok(None),
        }
    }
}

impl DataFlags {
    /// Puts the flags that were given into a data configuration.
    pub fn apply(&self, data: &mut DataConfig) -> Result<(), CliError> {
        let set = |to: &mut Option<String>, from: &Option<String>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        if let Some(path) = &self.data {
            data.path.clone_from(path);
        }
        set(&mut data.id_col, &self.id_col);
        set(&mut data.time_col, &self.time_col);
        if self.target.is_some() {
            data.target.clone_from(&self.target);
            data.targets = None;
        }
        if let Some(text) = &self.targets {
            data.targets = Some(text.parse::<Targets>()?);
            data.target = None;
        }
        if let Some(text) = &self.freq {
            data.freq = Some(text.parse::<Frequency>()?);
        }
        for (to, from) in [
            (&mut data.hist_exog, &self.hist_exog),
            (&mut data.futr_exog, &self.futr_exog),
            (&mut data.stat_exog, &self.stat_exog),
            (&mut data.stat_cat, &self.stat_cat),
        ] {
            if !from.is_empty() {
                to.clone_from(from);
            }
        }
        if self.static_file.is_some() {
            data.static_file.clone_from(&self.static_file);
        }
        if let Some(word) = &self.missing {
            data.missing = word.parse::<Missing>()?;
        }
        if let Some(word) = &self.gaps {
            data.gaps = word.parse::<Gaps>()?;
        }
        if self.fill_gaps {
            data.gaps = Gaps::Fill;
        }
        if let Some(word) = &self.duplicates {
            data.duplicates = word.parse::<Duplicates>()?;
        }
        if let Some(word) = &self.unusable {
            data.unusable = word.parse::<Unusable>()?;
        }
        Ok(())
    }

    /// The same, and the file must be named by now.
    pub fn apply_named(&self, experiment: &mut Experiment) -> Result<(), CliError> {
        self.apply(&mut experiment.data)?;
        if experiment.data.path.as_os_str().is_empty() {
            return Err(CliError::input("usage", "no data file is named")
                .hint("give --data FILE (csv, csv.gz, parquet, or `-` for stdin), or `path` in [data] of --config"));
        }
        Ok(())
    }
}
