//! `[data]` of the configuration: where the series are and what to do about their flaws.

use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::Frequency;
use crate::error::{InvalidSetting, listed};

/// Where the data is, which column is what, and what to do about flaws.
///
/// | Name | Default | Purpose |
/// |---|---|---|
/// | `path` | | csv, csv.gz, parquet or tsf file, or a pattern such as `dir/*.csv`; `-` is standard input |
/// | `id_col` | `unique_id`, else `item_id`, if there is such a column | its existence makes the layout long |
/// | `time_col` | `ds`, else `timestamp`, else the one column that reads as time | |
/// | `target` | `y`, else `target`, else the one numeric column, else `close` | long: the value column; wide: one column as one series |
/// | `targets` | | wide: several columns, each a series |
/// | `freq` | inferred | step between rows, a pandas alias |
/// | `hist_exog`, `futr_exog`, `stat_exog` | none | covariates |
/// | `stat_cat` | none | static covariates that are names: each category has a learned vector |
/// | `static_file` | | table with one row per series for `stat_exog` and `stat_cat` |
/// | `missing`, `gaps`, `duplicates` | `error`, `auto`, `error` | what to do about flaws |
/// | `unusable` | `error` | what to do about series without a value, or too short for the split |
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The file, or a pattern that names several; `-` is standard input.
    pub path: PathBuf,
    /// Column with the name of the series (long layout). Default `unique_id` or `item_id` where there is one.
    pub id_col: Option<String>,
    /// Column with the time. Default `ds`, else `timestamp`, else the one column that reads as time.
    pub time_col: Option<String>,
    /// Column to forecast. Default `y`, else `target`, else the only numeric column, else `close`.
    pub target: Option<String>,
    /// Wide layout: several columns, each a series of its own.
    pub targets: Option<Targets>,
    /// Step between rows; inferred from the stamps by default.
    pub freq: Option<Frequency>,
    /// Columns known up to the forecast origin.
    pub hist_exog: Vec<String>,
    /// Columns known over the horizon too.
    pub futr_exog: Vec<String>,
    /// Columns with one value per series.
    pub stat_exog: Vec<String>,
    /// Columns with one category per series, for embeddings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stat_cat: Vec<String>,
    /// File with one row per series that has the `stat_exog` and `stat_cat` columns (all its numeric columns if none are named).
    pub static_file: Option<PathBuf>,
    /// What to do about missing values.
    pub missing: Missing,
    /// What to do about holes in the calendar.
    pub gaps: Gaps,
    /// What to do about rows with the same series and time.
    pub duplicates: Duplicates,
    /// What to do about series that cannot be used.
    pub unusable: Unusable,
}

/// The columns of a wide table that are series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TargetsForm", into = "TargetsForm")]
#[schemars(with = "TargetsForm")]
pub enum Targets {
    /// Every numeric column that is nothing else (`"all"`).
    All,
    /// These columns, in this order.
    Names(Vec<String>),
}

/// How [`Targets`] are written: the word `all`, or a list of names.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum TargetsForm {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<TargetsForm> for Targets {
    type Error = InvalidSetting;
    fn try_from(form: TargetsForm) -> Result<Self, InvalidSetting> {
        match form {
            TargetsForm::Word(text) => text.parse(),
            TargetsForm::List(names) => Targets::named(names),
        }
    }
}

impl From<Targets> for TargetsForm {
    fn from(targets: Targets) -> Self {
        match targets {
            Targets::All => TargetsForm::Word("all".to_owned()),
            Targets::Names(names) => TargetsForm::List(names),
        }
    }
}

impl Targets {
    fn named(names: Vec<String>) -> Result<Self, InvalidSetting> {
        let bad = |value: &str, allowed: &str| {
            Err(InvalidSetting::new("data.targets", value, allowed, "write `all`, or column names such as `HUFL,OT`"))
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return bad(&names.join(","), "`all` or names of columns");
        }
        if let Some(twice) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)) {
            return bad(twice.1, "each column once");
        }
        Ok(Targets::Names(names))
    }
}

/// `all`, or names with commas between them.
impl FromStr for Targets {
    type Err = InvalidSetting;
    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        match text.trim() {
            "all" => Ok(Targets::All),
            names => Targets::named(names.split(',').map(|n| n.trim().to_owned()).collect()),
        }
    }
}

/// An enum of plain words: the same word in TOML, on the command line and in messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $field:literal, default $default:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl Default for $name {
            fn default() -> Self {
                $name::$default
            }
        }

        impl $name {
            /// The words that are understood.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for this value.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = InvalidSetting;
            fn from_str(text: &str) -> Result<Self, InvalidSetting> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => {
                        let remedy = crate::error::nearest(text, $name::WORDS.iter())
                            .map(|n| format!("did you mean `{n}`?"))
                            .unwrap_or_default();
                        Err(InvalidSetting::new($field, text, listed($name::WORDS, 9), remedy))
                    }
                }
            }
        }
    };
}

words! {
    /// What to do about missing values (empty fields, `NA`, `NaN`, `null`, `None`, nulls).
    ///
    /// Covariates cannot be masked: under `mask` a missing covariate takes its last value before it. Rows ahead of a
    /// covariate's first value take that first value. Both are said in a notice.
    Missing, "data.missing", default Error {
        /// List them and stop.
        Error = "error",
        /// Leave out rows whose target or covariate is missing and take what is left as a sequence of observations.
        Drop = "drop",
        /// Repeat the last value; rows ahead of the first one are left out.
        Ffill = "ffill",
        /// A straight line between the neighbours; rows ahead of the first and after the last value are left out.
        Interpolate = "interpolate",
        /// Keep the rows; their targets take no part in inputs, losses and scores.
        Mask = "mask",
    }
}

words! {
    /// What to do about holes in a regular calendar.
    Gaps, "data.gaps", default Auto {
        /// Take a trading calendar (business days without holidays, sessions without nights) as the sequence of
        /// observations it is; any other hole is an error.
        Auto = "auto",
        /// Any hole is an error.
        Error = "error",
        /// Insert the absent rows, with a straight line between the neighbours.
        Fill = "fill",
        /// Insert the absent rows with a masked target; covariates repeat their last value.
        Mask = "mask",
        /// Take the rows as they come, whatever their stamps.
        Observed = "observed",
    }
}

words! {
    /// What to do about rows with the same series and time.
    Duplicates, "data.duplicates", default Error {
        /// List them and stop.
        Error = "error",
        /// Keep the first row of the file.
        First = "first",
        /// Keep the last row of the file.
        Last = "last",
        /// One row with the mean of the values that are there.
        Mean = "mean",
        /// Keep every row, in file order: the rows are taken as a sequence of observations. With `gaps = "observed"` no
        /// row of the file is touched.
        Keep = "keep",
    }
}

words! {
    /// What to do about series that cannot be used: those without a single value, and those with fewer rows than the
    /// split needs.
    Unusable, "data.unusable", default Error {
        /// List them and stop.
        Error = "error",
        /// Leave them out, with a line that says so.
        Skip = "skip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_word_or_a_list() {
        assert_eq!("all".parse::<Targets>().unwrap(), Targets::All);
        let two = Targets::Names(vec!["HUFL".into(), "OT".into()]);
        assert_eq!("HUFL, OT".parse::<Targets>().unwrap(), two);
        for config in [
            DataConfig { targets: Some(Targets::All), ..Default::default() },
            DataConfig {
                targets: Some(two),
                gaps: Gaps::Mask,
                freq: Some("15min".parse().unwrap()),
                ..Default::default()
            },
        ] {
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<DataConfig>(&text).unwrap(), config, "{text}");
        }
        assert!("OT,OT".parse::<Targets>().unwrap_err().to_string().contains("OT"));
        assert!("OT,".parse::<Targets>().is_err());
    }

    #[test]
    fn words_are_the_same_in_toml_and_on_the_command_line() {
        for word in Gaps::WORDS {
            let config: DataConfig = toml::from_str(&format!("gaps = \"{word}\"")).unwrap();
            assert_eq!(config.gaps, word.parse().unwrap());
            assert_eq!(config.gaps.to_string(), *word);
        }
        let error = "ignroe".parse::<Gaps>().unwrap_err();
        assert!(error.to_string().contains("`observed`"), "{error}");
        assert_eq!("interpolat".parse::<Missing>().unwrap_err().remedy, "did you mean `interpolate`?");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(toml::from_str::<DataConfig>("tagret = \"y\"").unwrap_err().to_string().contains("tagret"));
    }
}
