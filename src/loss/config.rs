//! Which loss: its name and settings, their check, and what the network's outputs mean under it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::LossError;
use super::quantiles::quantile_name;
use crate::error::InvalidSetting;

/// A loss and its settings, unchecked; [`LossConfig::check`] checks them.
///
/// `y` is observed, `ŷ` forecast, `d = y - ŷ`; each is a weighted mean over the observed steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum LossConfig {
    /// Mean absolute error `|d|`.
    #[default]
    Mae,
    /// Mean squared error `d²`.
    Mse,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute percentage error `|d| / |y|`, as a fraction; steps with `y = 0` count as 0.
    Mape,
    /// Symmetric percentage error `2 |d| / (|y| + |ŷ|)`, as a fraction between 0 and 2.
    Smape,
    /// Absolute error over the window's own in-sample error of the seasonal naive forecast (Hyndman and Koehler 2006);
    /// windows whose seasonal naive forecast is perfect count as 0.
    Mase {
        /// Steps in a season, >= 1 and below `input_size`.
        season: usize,
    },
    /// `d²/2` up to `|d| = delta`, straight lines beyond.
    Huber {
        /// Where the square ends, > 0.
        #[serde(default = "one")]
        delta: f64,
    },
    /// Pinball loss `max(q d, (q - 1) d)` of one quantile.
    Quantile {
        /// The quantile, in `(0, 1)`.
        #[serde(default = "half")]
        q: f64,
    },
    /// The *sum* of the pinball losses of several quantiles, one output each.
    #[serde(alias = "mqloss")]
    MultiQuantile {
        /// The quantiles, each in `(0, 1)`, in the order of the outputs.
        #[serde(default = "usual_quantiles")]
        quantiles: Vec<f64>,
    },
}

/// As [`LossConfig`] is read: serde lets unknown fields pass beside a variant without fields, so none is without here.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Mae {},
    Mse {},
    Rmse {},
    Mape {},
    Smape {},
    Mase {
        season: usize,
    },
    Huber {
        #[serde(default = "one")]
        delta: f64,
    },
    Quantile {
        #[serde(default = "half")]
        q: f64,
    },
    #[serde(alias = "mqloss")]
    MultiQuantile {
        #[serde(default = "usual_quantiles")]
        quantiles: Vec<f64>,
    },
}

impl<'de> Deserialize<'de> for LossConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Mae {} => LossConfig::Mae,
            Written::Mse {} => LossConfig::Mse,
            Written::Rmse {} => LossConfig::Rmse,
            Written::Mape {} => LossConfig::Mape,
            Written::Smape {} => LossConfig::Smape,
            Written::Mase { season } => LossConfig::Mase { season },
            Written::Huber { delta } => LossConfig::Huber { delta },
            Written::Quantile { q } => LossConfig::Quantile { q },
            Written::MultiQuantile { quantiles } => LossConfig::MultiQuantile { quantiles },
        })
    }
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

/// The median with 80% and 90% intervals, as [`super::quantiles_from_levels`] orders them.
fn usual_quantiles() -> Vec<f64> {
    vec![0.5, 0.05, 0.1, 0.9, 0.95]
}

/// The most quantiles one network may forecast.
const MOST_QUANTILES: usize = 1000;

impl LossConfig {
    /// The word for it in files.
    pub fn name(&self) -> &'static str {
        match self {
            LossConfig::Mae => "mae",
            LossConfig::Mse => "mse",
            LossConfig::Rmse => "rmse",
            LossConfig::Mape => "mape",
            LossConfig::Smape => "smape",
            LossConfig::Mase { .. } => "mase",
            LossConfig::Huber { .. } => "huber",
            LossConfig::Quantile { .. } => "quantile",
            LossConfig::MultiQuantile { .. } => "multi_quantile",
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`LossError::Setting`] with field, value, allowed range and remedy.
    pub fn check(&self) -> Result<(), LossError> {
        let invalid = |field: &str, value: String, allowed: &str, remedy: &str| {
            Err(LossError::Setting(InvalidSetting::new(field, value, allowed, remedy)))
        };
        let inside = |q: f64| q > 0.0 && q < 1.0;
        match self {
            LossConfig::Mase { season: 0 } => {
                invalid("loss.season", "0".into(), "a whole number from 1", "give the steps in a season, or 1 for none")
            }
            LossConfig::Huber { delta } if !(delta.is_finite() && *delta > 0.0) => {
                invalid("loss.delta", delta.to_string(), "a number > 0", "use 1")
            }
            LossConfig::Quantile { q } if !inside(*q) => {
                invalid("loss.q", q.to_string(), "a number above 0 and below 1", "use 0.5 for the median")
            }
            LossConfig::MultiQuantile { quantiles } => {
                const FIELD: &str = "loss.quantiles";
                const REMEDY: &str = "use 0.1, 0.5, 0.9";
                if quantiles.is_empty() || quantiles.len() > MOST_QUANTILES {
                    let value = format!("a list of {}", quantiles.len());
                    return invalid(FIELD, value, &format!("1 to {MOST_QUANTILES} quantiles"), REMEDY);
                }
                for (i, q) in quantiles.iter().enumerate() {
                    if !inside(*q) {
                        return invalid(FIELD, q.to_string(), "numbers above 0 and below 1", REMEDY);
                    }
                    if quantiles[..i].contains(q) {
                        return invalid(FIELD, q.to_string(), "each quantile once", REMEDY);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Values per forecast step that the network must give, `Q`.
    pub fn n_outputs(&self) -> usize {
        match self {
            LossConfig::MultiQuantile { quantiles } => quantiles.len(),
            _ => 1,
        }
    }

    /// The quantiles that the outputs are, in their order; none for a point loss.
    pub fn quantiles(&self) -> Option<Vec<f64>> {
        match self {
            LossConfig::Quantile { q } => Some(vec![*q]),
            LossConfig::MultiQuantile { quantiles } => Some(quantiles.clone()),
            _ => None,
        }
    }

    /// The suffix of each output's forecast column, neuralforecast's: `""`, `"_ql0.9"`, `"-median"`, `"-lo-80"`.
    pub fn output_names(&self) -> Vec<String> {
        match self {
            LossConfig::Quantile { q } => vec![format!("_ql{q}")],
            LossConfig::MultiQuantile { quantiles } => quantiles.iter().map(|q| quantile_name(*q)).collect(),
            _ => vec![String::new()],
        }
    }

    /// Which output is the point forecast: the median of several quantiles, or the nearest to it.
    pub fn point_output(&self) -> usize {
        let LossConfig::MultiQuantile { quantiles } = self else { return 0 };
        let from_median = |q: &f64| (q - 0.5).abs();
        let nearest = quantiles.iter().enumerate().min_by(|(_, a), (_, b)| from_median(a).total_cmp(&from_median(b)));
        nearest.map_or(0, |(i, _)| i)
    }

    /// Whether the loss of a batch is [`super::Loss::sum`] over [`super::Loss::weight`], so that its rows may be worked
    /// on separately.
    pub fn is_additive(&self) -> bool {
        !matches!(self, LossConfig::Rmse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LossConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn files_name_the_loss_and_its_settings() {
        assert_eq!(read(r#"{"name": "mae"}"#).unwrap(), LossConfig::Mae);
        assert_eq!(read(r#"{"name": "huber"}"#).unwrap(), LossConfig::Huber { delta: 1.0 });
        assert_eq!(read(r#"{"name": "mase", "season": 24}"#).unwrap(), LossConfig::Mase { season: 24 });
        let quantiles = vec![0.1, 0.5];
        let text = r#"{"name": "mqloss", "quantiles": [0.1, 0.5]}"#;
        assert_eq!(read(text).unwrap(), LossConfig::MultiQuantile { quantiles });
        for bad in [
            r#"{"name": "huber", "detla": 1.0}"#,
            r#"{"name": "mea"}"#,
            r#"{"name": "mase"}"#,
            r#"{"name": "mae", "q": 1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_name_is_the_one_in_files() {
        for loss in [
            LossConfig::Mae,
            LossConfig::Mse,
            LossConfig::Rmse,
            LossConfig::Mape,
            LossConfig::Smape,
            LossConfig::Mase { season: 1 },
            LossConfig::Huber { delta: 1.0 },
            LossConfig::Quantile { q: 0.5 },
            LossConfig::MultiQuantile { quantiles: vec![0.5] },
        ] {
            assert_eq!(serde_json::to_value(&loss).unwrap()["name"], loss.name());
            assert_eq!(loss.output_names().len(), loss.n_outputs());
            loss.check().unwrap();
        }
    }

    #[test]
    fn each_bad_setting_is_named() {
        let quantiles = |quantiles: Vec<f64>| LossConfig::MultiQuantile { quantiles };
        for (loss, field) in [
            (LossConfig::Mase { season: 0 }, "loss.season"),
            (LossConfig::Huber { delta: 0.0 }, "loss.delta"),
            (LossConfig::Huber { delta: f64::NAN }, "loss.delta"),
            (LossConfig::Quantile { q: 1.0 }, "loss.q"),
            (quantiles(vec![]), "loss.quantiles"),
            (quantiles(vec![0.1, 1.5]), "loss.quantiles"),
            (quantiles(vec![0.1, 0.1]), "loss.quantiles"),
        ] {
            let LossError::Setting(error) = loss.check().unwrap_err();
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn the_median_is_the_point_forecast() {
        let loss = LossConfig::MultiQuantile { quantiles: vec![0.1, 0.5, 0.9] };
        assert_eq!((loss.point_output(), loss.n_outputs()), (1, 3));
        assert_eq!(loss.output_names(), ["-lo-80", "-median", "-hi-80"]);
        assert_eq!(LossConfig::MultiQuantile { quantiles: vec![0.05, 0.4] }.point_output(), 1);
    }
}
