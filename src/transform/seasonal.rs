//! A seasonal profile, taken out of a series and put back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::functions::{Decomposition, Seasonality, seasonal_decompose};
use super::places::Places;
use super::step::{Ahead, Transform};
use super::stl::Stl;
use crate::error::InvalidSetting;

/// A grid of the calendar may be so many times as long as the rows on it.
const SPARSEST: i64 = 50;
/// The longest period: two years of minutes.
const LONGEST: usize = 1_100_000;

/// Without the seasonal profile of the train rows: one value per phase of the calendar, the same in every season and
/// beyond the train rows. A series with fewer than two seasons of train rows is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deseasonalize {
    /// Steps per season, at least 2.
    pub period: usize,
    /// How the profile is found.
    #[serde(default)]
    pub method: Method,
    /// Whether the season adds to the level or multiplies it.
    #[serde(default)]
    pub model: Seasonality,
}

/// How a seasonal profile is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Means per phase of what a centred moving average leaves.
    #[default]
    Classical,
    /// The last season of an STL decomposition, which follows a season that changes.
    Stl,
}

impl Method {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classical => "classical",
            Self::Stl => "stl",
        }
    }
}

impl Deseasonalize {
    pub(super) fn check(&self) -> Result<(), TransformError> {
        if !(2..=LONGEST).contains(&self.period) {
            let remedy = "24 for the days of hourly data, 12 for the years of monthly data";
            let allowed = format!("2 to {LONGEST} steps");
            return Err(InvalidSetting::new("transform.target.period", self.period, allowed, remedy).into());
        }
        Ok(())
    }

    fn decompose(&self, values: &[f64]) -> Result<Decomposition, TransformError> {
        match (self.method, self.model) {
            (Method::Classical, model) => seasonal_decompose(values, self.period, model),
            (Method::Stl, model) => {
                // Long windows are computed at every tenth row, as R does.
                let stl = Stl { jump: (self.period / 20).max(1), ..Stl::new(self.period) };
                match model {
                    Seasonality::Additive => stl.decompose(values),
                    Seasonality::Multiplicative => {
                        let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
                        let mut found = stl.decompose(&logs)?;
                        found.seasonal.iter_mut().for_each(|v| *v = v.exp());
                        Ok(found)
                    }
                }
            }
        }
    }
}

impl Transform for Deseasonalize {
    fn width(&self) -> usize {
        self.period
    }

    fn fit(&self, train: &[f64], places: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
        let multiplies = self.model == Seasonality::Multiplicative;
        if let Some(row) = train.iter().position(|v| multiplies && v.is_finite() && *v <= 0.0) {
            return Err(TransformError::Domain {
                step: "deseasonalize".into(),
                series: None,
                row,
                value: train[row],
                expected: "values > 0 for a multiplicative season",
            });
        }
        let Some(last) = train.len().checked_sub(1) else { return Ok(None) };
        let first = places.at(0);
        let length = places.at(last).saturating_sub(first).saturating_add(1);
        if length < 1 || length > SPARSEST.saturating_mul(train.len() as i64) {
            return Ok(None);
        }
        // Rows with holes between them are put where the calendar has them.
        let mut grid = vec![f64::NAN; length as usize];
        for (i, v) in train.iter().enumerate() {
            if let Some(cell) = usize::try_from(places.at(i).saturating_sub(first)).ok().and_then(|at| grid.get_mut(at))
            {
                *cell = *v;
            }
        }
        if grid.len() < 2 * self.period || !train.iter().any(|v| v.is_finite()) {
            return Ok(None);
        }
        let found = self.decompose(&grid)?;
        let mut profile = vec![0.0; self.period];
        for (i, value) in found.seasonal.iter().enumerate().skip(grid.len() - self.period) {
            profile[phase(first + i as i64, self.period)] = *value;
        }
        let usable = profile.iter().all(|v| v.is_finite()) && self.usable(&profile);
        Ok(usable.then_some(profile))
    }

    fn identity(&self) -> Vec<f64> {
        let nothing = if self.model == Seasonality::Additive { 0.0 } else { 1.0 };
        vec![nothing; self.period]
    }

    fn usable(&self, fitted: &[f64]) -> bool {
        self.model == Seasonality::Additive || fitted.iter().all(|v| *v > 0.0)
    }

    fn apply(&self, fitted: &[f64], rows: &mut [f64], places: Places<'_>) -> Result<(), TransformError> {
        for (i, v) in rows.iter_mut().enumerate() {
            let season = fitted[phase(places.at(i), self.period)];
            *v = if self.model == Seasonality::Additive { *v - season } else { *v / season };
        }
        Ok(())
    }

    fn invert(&self, fitted: &[f64], ahead: &mut Ahead<'_>) {
        let (period, additive) = (self.period, self.model == Seasonality::Additive);
        ahead.each(|z, place| {
            let season = fitted[phase(place, period)];
            if additive { z + season } else { z * season }
        });
    }
}

/// The phase of a place; `period` is at least 2.
fn phase(place: i64, period: usize) -> usize {
    place.rem_euclid(period as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEASON: [f64; 4] = [3.0, -1.0, -2.0, 0.0];

    fn step(method: Method, model: Seasonality) -> Deseasonalize {
        Deseasonalize { period: 4, method, model }
    }

    #[test]
    fn the_season_goes_on_where_the_calendar_says() {
        let y: Vec<f64> = (0..40).map(|i| 100.0 + i as f64 + SEASON[i % 4]).collect();
        for method in [Method::Classical, Method::Stl] {
            let step = step(method, Seasonality::Additive);
            // Row 0 stands at place 6, which is phase 2.
            let fitted = step.fit(&y, Places::counted(6)).unwrap().unwrap();
            for (k, season) in SEASON.iter().enumerate() {
                assert!((fitted[(k + 2) % 4] - season).abs() < 0.02, "{method:?} {fitted:?}");
            }
            let mut rows = y[8..].to_vec();
            step.apply(&fitted, &mut rows, Places::counted(14)).unwrap();
            assert!(rows.iter().enumerate().all(|(i, v)| (v - 108.0 - i as f64).abs() < 0.02));
            let mut values = rows[..3].to_vec();
            step.invert(
                &fitted,
                &mut Ahead { values: &mut values, outputs: 1, places: Places::counted(14), history: &[] },
            );
            assert!(values.iter().zip(&y[8..]).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn holes_of_the_calendar_do_not_shift_the_season() {
        let places: Vec<i64> = (0..60).filter(|t| t % 7 != 5).collect();
        let y: Vec<f64> = places.iter().map(|t| 10.0 + SEASON[*t as usize % 4]).collect();
        let step = step(Method::Classical, Seasonality::Additive);
        let fitted = step.fit(&y, Places::listed(&places)).unwrap().unwrap();
        assert!(fitted.iter().zip(SEASON).all(|(a, b)| (a - b).abs() < 0.5), "{fitted:?}");
        let far = [0, 1_000_000];
        assert_eq!(step.fit(&[1.0, 2.0], Places::listed(&far)).unwrap(), None);
    }

    #[test]
    fn a_season_that_multiplies() {
        let y: Vec<f64> = (0..40).map(|i| (50.0 + i as f64) * (1.0 + SEASON[i % 4] / 10.0)).collect();
        for method in [Method::Classical, Method::Stl] {
            let step = step(method, Seasonality::Multiplicative);
            let fitted = step.fit(&y, Places::counted(0)).unwrap().unwrap();
            let mean = 1.0 + SEASON.iter().sum::<f64>() / 40.0;
            assert!((fitted[0] / (1.3 / mean) - 1.0).abs() < 0.02, "{fitted:?}");
            let error = step.fit(&[1.0, 0.0], Places::counted(0)).unwrap_err();
            assert!(error.to_string().contains("values > 0"), "{error}");
        }
    }

    #[test]
    fn too_few_rows_are_left_as_they_are() {
        let step = step(Method::Stl, Seasonality::Additive);
        assert_eq!(step.fit(&[1.0; 7], Places::counted(0)).unwrap(), None);
        assert_eq!(step.fit(&[f64::NAN; 9], Places::counted(0)).unwrap(), None);
        assert_eq!(step.fit(&[], Places::counted(0)).unwrap(), None);
    }
}
