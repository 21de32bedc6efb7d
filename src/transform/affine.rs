//! Affine transforms `z = (x - shift) / scale` as steps of a pipeline; the formulas are those of the scalers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::places::Places;
use super::step::{Ahead, Transform};
use super::{ScalerKind, SeriesScaler, TransformError};

/// Minus the mean, by the population standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Standard {}

/// Minus the median, by a spread that outliers do not move.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Robust {
    /// The spread.
    pub spread: Spread,
}

/// The spread of [`Robust`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Median absolute deviation from the median.
    #[default]
    Mad,
    /// Third minus first quartile.
    Iqr,
}

impl Spread {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mad => "mad",
            Self::Iqr => "iqr",
        }
    }
}

/// To 0..1 by the smallest and largest train value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinMax {}

/// By the largest absolute train value; 0 stays 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxAbs {}

/// Shift and scale of the observed values.
fn fit(kind: ScalerKind, train: &[f64]) -> Option<Vec<f64>> {
    if !train.iter().any(|v| v.is_finite()) {
        return None;
    }
    let fitted = SeriesScaler::fit(kind, std::iter::once(train));
    Some(vec![fitted.shift[0], fitted.scale[0]])
}

fn max_abs(train: &[f64]) -> Option<Vec<f64>> {
    let most = train.iter().filter(|v| v.is_finite()).fold(0.0f64, |most, v| most.max(v.abs()));
    (most > 0.0).then(|| vec![0.0, most])
}

macro_rules! affine {
    ($name:ty, |$self:ident, $train:ident| $fit:expr) => {
        impl Transform for $name {
            fn width(&self) -> usize {
                2
            }

            fn fit(&self, $train: &[f64], _: Places<'_>) -> Result<Option<Vec<f64>>, TransformError> {
                let $self = self;
                Ok($fit)
            }

            fn identity(&self) -> Vec<f64> {
                vec![0.0, 1.0]
            }

            fn usable(&self, fitted: &[f64]) -> bool {
                fitted[1] > 0.0
            }

            fn apply(&self, fitted: &[f64], rows: &mut [f64], _: Places<'_>) -> Result<(), TransformError> {
                rows.iter_mut().for_each(|v| *v = (*v - fitted[0]) / fitted[1]);
                Ok(())
            }

            fn invert(&self, fitted: &[f64], ahead: &mut Ahead<'_>) {
                ahead.each(|z, _| z * fitted[1] + fitted[0]);
            }
        }
    };
}

affine!(Standard, |_this, train| fit(ScalerKind::Standard, train));
affine!(Robust, |this, train| match this.spread {
    Spread::Mad => fit(ScalerKind::Robust, train),
    Spread::Iqr => fit(ScalerKind::RobustIqr, train),
});
affine!(MinMax, |_this, train| fit(ScalerKind::MinMax, train));
affine!(MaxAbs, |_this, train| max_abs(train));
