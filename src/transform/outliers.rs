//! Values far out: cut off, marked as missing, or replaced; never removed, which would shift time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::places::Places;
use super::statistics::{mean_std, median, quantile};
use super::step::{Ahead, Transform};
use crate::error::InvalidSetting;

/// Values beyond two quantiles of the train rows become those quantiles. Forecasts are left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Winsorize {
    /// The lower quantile, from 0 to below `upper`.
    pub lower: f64,
    /// The upper quantile, up to 1.
    pub upper: f64,
}

impl Default for Winsorize {
    fn default() -> Self {
        Self { lower: 0.01, upper: 0.99 }
    }
}

/// Values far from the others of the train rows are marked as missing, or replaced. Forecasts are left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outliers {
    /// What is far.
    pub rule: Rule,
    /// How far, in interquartile ranges beyond the quartiles or in standard deviations from the mean; 1.5 and 3 if left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<f64>,
    /// What becomes of an outlier.
    pub replace: Replace,
}

/// When a value is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Beyond Tukey's fences: `k` interquartile ranges below the first or above the third quartile.
    #[default]
    Iqr,
    /// More than `k` population standard deviations from the mean.
    ZScore,
}

/// What becomes of an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replace {
    /// It is missing: masked in inputs, losses and scores.
    #[default]
    Missing,
    /// The median of the train rows.
    Median,
    /// The latest value before it that is none; missing where there is none.
    Previous,
    /// The border that it is beyond.
    Limit,
}

impl Rule {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iqr => "iqr",
            Self::ZScore => "z-score",
        }
    }

    /// The borders that the rule draws around `values`, of which NaN are skipped; `None` where there is no value.
    pub fn limits(self, values: &[f64], k: f64) -> Option<(f64, f64)> {
        let mut seen: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        match self {
            Self::Iqr => {
                let (q1, q3) = (quantile(&mut seen, 0.25)?, quantile(&mut seen, 0.75)?);
                Some((q1 - k * (q3 - q1), q3 + k * (q3 - q1)))
            }
            Self::ZScore => mean_std(&seen).map(|(mean, std)| (mean - k * std, mean + k * std)),
        }
    }
}

impl Replace {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Median => "median",
            Self::Previous => "previous",
            Self::Limit => "limit",
        }
    }

    /// Puts what belongs there in place of the values outside of `low..=high`.
    pub(super) fn put(self, values: &mut [f64], (low, high): (f64, f64), median: f64) {
        let mut previous = f64::NAN;
        for v in values {
            if *v < low || *v > high {
                *v = match self {
                    Self::Missing => f64::NAN,
                    Self::Median => median,
                    Self::Previous => previous,
                    Self::Limit => v.clamp(low, high),
                };
            } else if v.is_finite() {
                previous = *v;
            }
        }
    }
}

impl Winsorize {
    pub(super) fn check(&self) -> Result<(), TransformError> {
        if !(self.lower >= 0.0 && self.lower < self.upper && self.upper <= 1.0) {
            let given = format!("{} with upper = {}", self.lower, self.upper);
            let allowed = "quantiles with 0 <= lower < upper <= 1";
            return Err(
                InvalidSetting::new("transform.target.lower", given, allowed, "as in winsorize=0.01:0.99").into()
            );
        }
        Ok(())
    }

    /// The two quantiles of `values` (linear between neighbours, as numpy's), of which NaN are skipped.
    pub fn limits(&self, values: &[f64]) -> Option<(f64, f64)> {
        let mut seen: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        Some((quantile(&mut seen, self.lower)?, quantile(&mut seen, self.upper)?))
    }
}

impl Outliers {
    /// `k`, or the default of the rule.
    pub fn k(&self) -> f64 {
        self.k.unwrap_or(match self.rule {
            Rule::Iqr => 1.5,
            Rule::ZScore => 3.0,
        })
    }

    pub(super) fn check(&self) -> Result<(), TransformError> {
        if !(self.k() > 0.0 && self.k().is_finite()) {
            let allowed = "a number > 0";
            return Err(
                InvalidSetting::new("transform.target.k", self.k(), allowed, "leave it out for the usual").into()
            );
        }
        Ok(())
    }
}

impl Transform for Winsorize {
    fn width(&self) -> usize {
        2
    }

    fn fit(&self, train: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
        Ok(self.limits(train).map(|(low, high)| vec![low, high]))
    }

    fn identity(&self) -> Vec<f64> {
        vec![f64::MIN, f64::MAX]
    }

    fn usable(&self, fitted: &[f64]) -> bool {
        fitted[0] <= fitted[1]
    }

    fn apply(&self, fitted: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
        Replace::Limit.put(rows, (fitted[0], fitted[1]), f64::NAN);
        Ok(())
    }

    fn invert(&self, _: &[f64], _: &mut Ahead<'_>) {}
}

impl Transform for Outliers {
    fn width(&self) -> usize {
        3
    }

    fn fit(&self, train: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
        let mut seen: Vec<f64> = train.iter().copied().filter(|v| v.is_finite()).collect();
        let limits = self.rule.limits(train, self.k()).filter(|(low, high)| low.is_finite() && high.is_finite());
        Ok(limits.zip(median(&mut seen)).map(|((low, high), median)| vec![low, high, median]))
    }

    fn identity(&self) -> Vec<f64> {
        vec![f64::MIN, f64::MAX, 0.0]
    }

    fn usable(&self, fitted: &[f64]) -> bool {
        fitted[0] <= fitted[1]
    }

    fn apply(&self, fitted: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
        self.replace.put(rows, (fitted[0], fitted[1]), fitted[2]);
        Ok(())
    }

    fn invert(&self, _: &[f64], _: &mut Ahead<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(replace: Replace) -> Vec<f64> {
        let step = Outliers { replace, ..Outliers::default() };
        // Quartiles 2 and 4, so the fences are -1 and 7.
        let fitted = step.fit(&[1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN], Places::counted(0)).unwrap().unwrap();
        assert_eq!(fitted, [-1.0, 7.0, 3.0]);
        let mut rows = [100.0, 6.0, f64::NAN, -2.0, 7.0];
        step.apply(&fitted, &mut rows, Places::counted(0)).unwrap();
        rows.to_vec()
    }

    #[test]
    fn an_outlier_is_marked_or_replaced_and_no_row_is_removed() {
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        let hole = f64::NAN;
        for (replace, expected) in [
            (Replace::Missing, [hole, 6.0, hole, hole, 7.0]),
            (Replace::Median, [3.0, 6.0, hole, 3.0, 7.0]),
            (Replace::Previous, [hole, 6.0, hole, 6.0, 7.0]),
            (Replace::Limit, [7.0, 6.0, hole, -1.0, 7.0]),
        ] {
            assert!(same(&applied(replace), &expected), "{replace:?}: {:?}", applied(replace));
        }
    }

    #[test]
    fn winsorizing_cuts_at_quantiles_of_the_train_rows() {
        let step = Winsorize { lower: 0.25, upper: 0.75 };
        let fitted = step.fit(&[1.0, 2.0, 3.0, 4.0, 5.0], Places::counted(0)).unwrap().unwrap();
        let mut rows = [-9.0, 3.0, f64::NAN, 90.0];
        step.apply(&fitted, &mut rows, Places::counted(0)).unwrap();
        assert_eq!((rows[0], rows[1], rows[3]), (2.0, 3.0, 4.0));
        assert!(rows[2].is_nan());
        assert_eq!(step.fit(&[f64::NAN], Places::counted(0)).unwrap(), None);
    }
}
