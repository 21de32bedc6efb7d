//! `Transform`, what every transform of the target can do, and `Step`, the transforms by the names that settings use.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::affine::{MaxAbs, MinMax, Robust, Standard};
use super::difference::Difference;
use super::outliers::{Outliers, Winsorize};
use super::places::Places;
use super::power::{BoxCox, Log, Log1p, YeoJohnson};
use super::seasonal::Deseasonalize;
use super::trend::Detrend;
use super::{FittedStep, TransformError};
use crate::error::{InvalidSetting, nearest};

/// Forecasts of one series whose transform is to be undone.
#[derive(Debug)]
pub struct Ahead<'a> {
    /// `[H, Q]` row-major: `Q` outputs (points, quantiles) for each of `H` steps.
    pub values: &'a mut [f64],
    /// `Q`, at least 1.
    pub outputs: usize,
    /// Where the steps stand on the calendar.
    pub places: Places<'a>,
    /// What the transform took in for the rows before the first step, oldest first; NaN is missing. Only transforms that
    /// [look back](Transform::looks_back) need it.
    pub history: &'a [f64],
}

impl Ahead<'_> {
    /// Changes each value, given the place of its step.
    pub(super) fn each(&mut self, change: impl Fn(f64, i64) -> f64) {
        let outputs = self.outputs.max(1);
        for (k, step) in self.values.chunks_mut(outputs).enumerate() {
            let place = self.places.at(k);
            for v in step {
                *v = change(*v, place);
            }
        }
    }
}

/// A transform of one series: fitted on its train rows, applied to any of its rows, undone in forecasts.
///
/// Missing values (NaN) are skipped when fitting and stay missing when applied. What was fitted is a fixed number of
/// values per series, so that thousands of series are one table. Every inverse rises with the value that it is given, so
/// the quantiles of a step stay in order, and a quantile of a transformed value is the same quantile of the value itself.
/// [`Difference`] adds steps up on the way back: see there what that means for intervals.
pub trait Transform {
    /// Number of values that are fitted per series.
    fn width(&self) -> usize;

    /// Fits on train rows, which stand at `places`; `None` where they do not tell enough, and the series is best left as
    /// it is.
    ///
    /// # Errors
    /// [`TransformError::Domain`] for a value that the transform has no image for.
    fn fit(&self, train: &[f64], places: Places<'_>) -> Result<Option<Vec<f64>>, TransformError>;

    /// The fitted values that change nothing, or as little as the transform can.
    fn identity(&self) -> Vec<f64>;

    /// Checks fitted values that came from a file; there are [`Transform::width`] of them, all finite.
    fn usable(&self, fitted: &[f64]) -> bool;

    /// Transforms the rows of a series, from its first one on, in place.
    ///
    /// # Errors
    /// [`TransformError::Domain`] for a value that the transform has no image for.
    fn apply(&self, fitted: &[f64], rows: &mut [f64], places: Places<'_>) -> Result<(), TransformError>;

    /// Undoes the transform in forecasts, points and quantiles together.
    fn invert(&self, fitted: &[f64], ahead: &mut Ahead<'_>);

    /// Whether undoing it takes the rows before the forecast.
    fn looks_back(&self) -> bool {
        false
    }
}

/// One transform of a pipeline, as `[transform] target = [{ name = "log1p" }, { name = "difference", lag = 24 }]` or
/// `--transform 'log1p,difference=24'` name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Step {
    /// Minus mean, by standard deviation.
    Standard(Standard),
    /// Minus median, by median absolute deviation or interquartile range.
    Robust(Robust),
    /// To 0..1.
    #[serde(rename = "minmax")]
    MinMax(MinMax),
    /// By the largest absolute value.
    MaxAbs(MaxAbs),
    /// Natural logarithm.
    Log(Log),
    /// Natural logarithm of 1 + x.
    Log1p(Log1p),
    /// Box and Cox's power transform.
    BoxCox(BoxCox),
    /// Yeo and Johnson's power transform.
    YeoJohnson(YeoJohnson),
    /// Difference to an earlier row.
    Difference(Difference),
    /// Without a straight line.
    Detrend(Detrend),
    /// Without a seasonal profile.
    Deseasonalize(Deseasonalize),
    /// Values beyond quantiles of the train rows cut off.
    Winsorize(Winsorize),
    /// Outliers marked as missing, or replaced.
    Outliers(Outliers),
}

impl Step {
    /// The names that settings use.
    pub const NAMES: [&'static str; 13] = [
        "standard",
        "robust",
        "minmax",
        "max-abs",
        "log",
        "log1p",
        "box-cox",
        "yeo-johnson",
        "difference",
        "detrend",
        "deseasonalize",
        "winsorize",
        "outliers",
    ];

    /// The transform.
    pub fn transform(&self) -> &dyn Transform {
        match self {
            Self::Standard(t) => t,
            Self::Robust(t) => t,
            Self::MinMax(t) => t,
            Self::MaxAbs(t) => t,
            Self::Log(t) => t,
            Self::Log1p(t) => t,
            Self::BoxCox(t) => t,
            Self::YeoJohnson(t) => t,
            Self::Difference(t) => t,
            Self::Detrend(t) => t,
            Self::Deseasonalize(t) => t,
            Self::Winsorize(t) => t,
            Self::Outliers(t) => t,
        }
    }

    /// The name in settings and files.
    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::Standard(_) => 0,
            Self::Robust(_) => 1,
            Self::MinMax(_) => 2,
            Self::MaxAbs(_) => 3,
            Self::Log(_) => 4,
            Self::Log1p(_) => 5,
            Self::BoxCox(_) => 6,
            Self::YeoJohnson(_) => 7,
            Self::Difference(_) => 8,
            Self::Detrend(_) => 9,
            Self::Deseasonalize(_) => 10,
            Self::Winsorize(_) => 11,
            Self::Outliers(_) => 12,
        }]
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`TransformError::Setting`] with the one that is out of its range.
    pub fn check(&self) -> Result<(), TransformError> {
        match self {
            Self::BoxCox(t) => t.check(),
            Self::YeoJohnson(t) => t.check(),
            Self::Difference(t) => t.check(),
            Self::Deseasonalize(t) => t.check(),
            Self::Winsorize(t) => t.check(),
            Self::Outliers(t) => t.check(),
            _ => Ok(()),
        }
    }

    /// Fits one series on its train rows, which follow each other without a gap.
    ///
    /// # Errors
    /// As [`Step::check`] and [`Transform::fit`].
    pub fn fit(&self, train: &[f64]) -> Result<FittedStep, TransformError> {
        self.check()?;
        let values = self.transform().fit(train, Places::counted(0))?.unwrap_or_else(|| self.transform().identity());
        Ok(FittedStep { step: self.clone(), values })
    }

    /// Reads a pipeline: steps between commas, the settings of a step after `=`, with `:` between them.
    ///
    /// # Errors
    /// [`TransformError::Setting`] with the step that cannot be read.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, TransformError> {
        let steps: Vec<Self> =
            text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        steps.iter().try_for_each(Self::check)?;
        Ok(steps)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Robust(t) => write!(f, "={}", t.spread.name()),
            Self::BoxCox(BoxCox { lambda: Some(l) }) | Self::YeoJohnson(YeoJohnson { lambda: Some(l) }) => {
                write!(f, "={l}")
            }
            Self::Difference(t) => write!(f, "={}", t.lag),
            Self::Deseasonalize(t) => write!(f, "={}:{}:{}", t.period, t.method.name(), t.model.name()),
            Self::Winsorize(t) => write!(f, "={}:{}", t.lower, t.upper),
            Self::Outliers(t) => write!(f, "={}:{}:{}", t.rule.name(), t.k(), t.replace.name()),
            _ => Ok(()),
        }
    }
}

impl FromStr for Step {
    type Err = TransformError;

    fn from_str(text: &str) -> Result<Self, TransformError> {
        let text = text.trim();
        let (name, rest) = text.split_once('=').unwrap_or((text, ""));
        let words: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split(':').map(str::trim).collect() };
        let mut words = Words { step: text, words: words.into_iter() };
        let step = match name.trim().to_ascii_lowercase().as_str() {
            "standard" => Self::Standard(Standard {}),
            "robust" => Self::Robust(Robust { spread: words.word("mad, iqr", "mad")? }),
            "minmax" => Self::MinMax(MinMax {}),
            "max-abs" => Self::MaxAbs(MaxAbs {}),
            "log" => Self::Log(Log {}),
            "log1p" => Self::Log1p(Log1p {}),
            "box-cox" => Self::BoxCox(BoxCox { lambda: words.number()? }),
            "yeo-johnson" => Self::YeoJohnson(YeoJohnson { lambda: words.number()? }),
            "difference" => Self::Difference(Difference { lag: words.number()?.unwrap_or(1) }),
            "detrend" => Self::Detrend(Detrend {}),
            "deseasonalize" => {
                let Some(period) = words.number()? else {
                    return Err(words.wrong("a period, as in deseasonalize=24"));
                };
                Self::Deseasonalize(Deseasonalize {
                    period,
                    method: words.word("classical, stl", "classical")?,
                    model: words.word("additive, multiplicative", "additive")?,
                })
            }
            "winsorize" => {
                let default = Winsorize::default();
                let lower = words.number()?.unwrap_or(default.lower);
                Self::Winsorize(Winsorize { lower, upper: words.number()?.unwrap_or(1.0 - lower) })
            }
            "outliers" => {
                let rule = words.word("iqr, z-score", "iqr")?;
                let k = words.number()?;
                Self::Outliers(Outliers {
                    rule,
                    k,
                    replace: words.word("missing, median, previous, limit", "missing")?,
                })
            }
            other => {
                let remedy = match nearest(other, Self::NAMES.iter()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "name one of these transforms".into(),
                };
                return Err(InvalidSetting::new("transform.target", text, Self::NAMES.join(", "), remedy).into());
            }
        };
        match words.words.next() {
            Some(_) => Err(words.wrong("no more settings than the transform has")),
            None => Ok(step),
        }
    }
}

/// The settings of a step in a text, from left to right.
struct Words<'a> {
    step: &'a str,
    words: std::vec::IntoIter<&'a str>,
}

impl Words<'_> {
    fn wrong(&self, allowed: impl Into<String>) -> TransformError {
        let remedy = "as in 'log1p,difference=24,winsorize=0.01:0.99,outliers=iqr:3:median'";
        InvalidSetting::new("transform.target", self.step, allowed, remedy).into()
    }

    fn number<T: FromStr>(&mut self) -> Result<Option<T>, TransformError> {
        match self.words.next() {
            None => Ok(None),
            Some(word) => word.parse().map(Some).map_err(|_| self.wrong(format!("a number in place of `{word}`"))),
        }
    }

    /// A word that serde knows as one of an enum's.
    fn word<T: serde::de::DeserializeOwned>(&mut self, allowed: &str, default: &str) -> Result<T, TransformError> {
        let word = self.words.next().unwrap_or(default);
        serde_json::from_value(serde_json::Value::String(word.to_ascii_lowercase()))
            .map_err(|_| self.wrong(format!("one of {allowed} in place of `{word}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Advise;

    #[test]
    fn what_a_step_prints_reads_back() {
        let text = "standard,robust=iqr,minmax,max-abs,log,log1p,box-cox=0.5,box-cox,yeo-johnson,difference=24,detrend,\
                    deseasonalize=12:stl:additive,winsorize=0.01:0.95,outliers=z-score:4:median";
        let steps = Step::parse_all(text).unwrap();
        let printed = steps.iter().map(Step::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(printed, text);
        for step in &steps {
            assert!(Step::NAMES.contains(&step.name()));
            let json = serde_json::to_string(step).unwrap();
            assert_eq!(&serde_json::from_str::<Step>(&json).unwrap(), step, "{json}");
        }
    }

    #[test]
    fn settings_that_are_left_out_have_defaults() {
        let steps = Step::parse_all("robust, difference, winsorize=0.1, outliers, deseasonalize=7").unwrap();
        let printed = steps.iter().map(Step::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(
            printed,
            "robust=mad,difference=1,winsorize=0.1:0.9,outliers=iqr:1.5:missing,deseasonalize=7:classical:additive"
        );
        let toml: Step = serde_json::from_str(r#"{"name": "difference"}"#).unwrap();
        assert_eq!(toml, Step::Difference(Difference { lag: 1 }));
    }

    #[test]
    fn what_is_wrong_in_a_pipeline_is_said_with_its_place() {
        for (text, part, hint) in [
            ("diference", "transform.target = diference ", "did you mean `difference`?"),
            ("difference=x", "a number in place of `x`", ""),
            ("difference=0", "transform.target.lag = 0", ""),
            ("log=2", "no more settings", ""),
            ("deseasonalize", "a period", ""),
            ("outliers=sigma", "one of iqr, z-score in place of `sigma`", ""),
            ("winsorize=0.9:0.1", "transform.target.lower", ""),
            ("box-cox=NaN", "transform.target.lambda", ""),
        ] {
            let error = Step::parse_all(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().unwrap().contains(hint), "{text}");
        }
        assert!(serde_json::from_str::<Step>(r#"{"name": "difference", "lags": 3}"#).is_err());
        assert!(serde_json::from_str::<Step>(r#"{"name": "log", "base": 3}"#).is_err());
    }
}
