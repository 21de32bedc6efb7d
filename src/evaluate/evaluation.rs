//! `Evaluation`: a network's scores beside those of the baselines, in the form that scripts read.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{EvaluateError, Forecaster, Judged, Protocol, ScaledMetrics, baseline, judge};
use crate::data::Panel;
use crate::metric::{Metrics, nan_as_null};

/// A baseline's scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineScores {
    /// On the standardised series.
    pub scaled: ScaledMetrics,
    /// In the units of the data.
    pub original: Metrics,
    /// As in [`Judged`].
    pub missing_forecasts: u64,
    /// As in [`Evaluation`].
    #[serde(with = "nan_as_null")]
    pub skill: f64,
}

/// Everything `evaluate` tells: the network's scores at the top level, the baselines' under `baselines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the forecaster that was judged.
    pub model: String,
    /// Rows that it saw.
    pub input_size: usize,
    /// Rows to be forecast.
    pub horizon: usize,
    /// Rows per season.
    pub season: usize,
    /// The forecaster's scores (`n_series`, `n_windows`, `scaled`, `original`, `per_step`, `per_series` ...).
    #[serde(flatten)]
    pub judged: Judged,
    /// `1 - scaled mae / scaled mae of the seasonal naive`: 1 is perfect, 0 is no better than repeating the last season
    /// (with a season of 1: the last value).
    #[serde(with = "nan_as_null")]
    pub skill: f64,
    /// Scores of the baselines by name, over the same windows.
    pub baselines: BTreeMap<String, BaselineScores>,
    /// What the user should know, such as a baseline that could not be fitted.
    pub notices: Vec<String>,
    /// Seconds that all of it took.
    pub wall_s: f64,
}

impl Evaluation {
    /// Judges `network` and every [baseline](baseline::all) on the same windows.
    ///
    /// # Errors
    /// What [`judge()`] says.
    pub fn run(
        panel: &Panel,
        protocol: &Protocol,
        network: &mut dyn Forecaster,
        batch: usize,
    ) -> Result<Self, EvaluateError> {
        let started = Instant::now();
        let judged = judge(panel, protocol, network, batch)?;
        let (mut forecasters, mut notices) = baseline::all(panel, protocol)?;
        let mut scores = Vec::with_capacity(forecasters.len());
        for forecaster in &mut forecasters {
            let judged = judge(panel, protocol, forecaster.as_mut(), BASELINE_BATCH)?;
            scores.push((forecaster.name().to_owned(), judged));
        }
        let reference = scores.iter().find(|(n, _)| n == REFERENCE).map_or(f64::NAN, |(_, j)| j.scaled.mae);
        let skill = |mae: f64| if reference > 0.0 { 1.0 - mae / reference } else { f64::NAN };
        let without_windows = panel.n_series() - judged.n_series;
        if without_windows > 0 {
            notices.push(format!(
                "{without_windows} of {} series have fewer than {} test rows and were not judged",
                panel.n_series(),
                protocol.horizon
            ));
        }
        let silent = |name: &str, count: u64| {
            format!("`{name}` gave no forecast for {count} observed values: its scores leave them out")
        };
        if judged.missing_forecasts > 0 {
            notices.push(silent(network.name(), judged.missing_forecasts));
        }
        for (name, j) in scores.iter().filter(|(_, j)| j.missing_forecasts > 0) {
            notices.push(silent(name, j.missing_forecasts));
        }
        let baselines = scores.into_iter().map(|(name, j)| {
            let skill = skill(j.scaled.mae);
            let Judged { scaled, original, missing_forecasts, .. } = j;
            (name, BaselineScores { scaled, original, missing_forecasts, skill })
        });
        Ok(Self {
            model: network.name().to_owned(),
            input_size: protocol.input_size,
            horizon: protocol.horizon,
            season: protocol.season,
            skill: skill(judged.scaled.mae),
            baselines: baselines.collect(),
            judged,
            notices,
            wall_s: started.elapsed().as_secs_f64(),
        })
    }
}

/// The baseline that skill is measured against.
const REFERENCE: &str = "seasonal_naive";
/// Windows per batch of a baseline.
const BASELINE_BATCH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::baseline::Naive;
    use crate::evaluate::protocol::tests::{panel, split};

    fn evaluated() -> Evaluation {
        let saw: Vec<f64> = (0..60).map(|t| f64::from(t % 4) + 0.1 * f64::from(t % 7)).collect();
        let data = panel(&[&saw, &saw[..30]]);
        let protocol = Protocol::new(8, 3, 4, vec![split(40, 10, 10), split(28, 0, 2)]);
        Evaluation::run(&data, &protocol, &mut Naive::new(3), 5).unwrap()
    }

    #[test]
    fn json_has_the_promised_keys() {
        let json = serde_json::to_value(evaluated()).unwrap();
        for key in ["n_series", "n_windows", "horizon", "wall_s"] {
            assert!(json[key].is_number(), "{key}: {json}");
        }
        assert_eq!((json["n_series"].as_u64(), json["n_windows"].as_u64()), (Some(1), Some(8)));
        assert_eq!(json["per_step"].as_array().unwrap().len(), 3);
        for block in [&json, &json["baselines"]["naive"], &json["baselines"]["nlinear"]] {
            for key in ["mse", "mae"] {
                assert!(block["scaled"][key].is_number());
            }
            for key in ["mae", "rmse", "mape", "smape", "mase", "r2", "wape", "bias"] {
                assert!(block["original"].get(key).is_some(), "{key}");
            }
        }
        for name in ["naive", "seasonal_naive", "drift", "nlinear"] {
            assert!(json["baselines"][name]["skill"].is_number(), "{name}");
        }
    }

    #[test]
    fn it_comes_back_from_json() {
        let evaluation = evaluated();
        let back: Evaluation = serde_json::from_str(&serde_json::to_string(&evaluation).unwrap()).unwrap();
        assert_eq!(back.judged.scaled, evaluation.judged.scaled);
        assert_eq!(back.baselines["drift"].scaled, evaluation.baselines["drift"].scaled);
    }

    #[test]
    fn skill_is_measured_against_the_seasonal_naive() {
        let evaluation = evaluated();
        let seasonal = &evaluation.baselines["seasonal_naive"];
        assert_eq!(seasonal.skill, 0.0);
        assert!((evaluation.skill - (1.0 - evaluation.judged.scaled.mae / seasonal.scaled.mae)).abs() < 1e-15);
        assert!(evaluation.notices.iter().any(|n| n.contains("1 of 2 series")), "{:?}", evaluation.notices);
    }
}
