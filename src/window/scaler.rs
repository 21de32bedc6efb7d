//! Scalers of one window: statistics of its observed inputs, applied to inputs, targets and covariates.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WindowError;
use crate::error::{InvalidSetting, nearest};
use crate::transform::statistics::{lower_median, mean_std, min_max};

/// Added to every scale, as the reference does (`TemporalNorm(eps=1e-6)`).
const EPS: f64 = 1e-6;
/// Median absolute deviation of a normal variable, in standard deviations.
const MAD_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
/// The least scale of `robust-floor`, in units of what a normal variable of the same deviation would have.
const FLOOR: f64 = 0.25;

/// How each window is scaled by the statistics of its own inputs (neuralforecast's `scaler_type`).
///
/// | name | `z` | shift `m` | scale `s` |
/// |---|---|---|---|
/// | `identity` | `x` | 0 | 1 |
/// | `standard`, `revin` | `(x - m) / s` | mean | population standard deviation |
/// | `robust` | `(x - m) / s` | lower median | median absolute deviation; where that is 0, 0.6745 standard deviations |
/// | `robust-floor` | `(x - m) / s` | lower median | the same, but at least 0.25 * 0.6745 standard deviations |
/// | `minmax` | `(x - m) / s` | smallest | largest - smallest |
/// | `minmax1` | `(x - m) / s` | middle of smallest and largest | half of largest - smallest |
/// | `invariant` | `asinh((x - m) / s)` | as `robust` | as `robust` |
///
/// Only observed inputs count; a scale of 0 becomes 1, and `1e-6` is added to it. A window without an observed value has
/// shift 0 and scale 1. Each covariate column is scaled like the target, by statistics of its own. All but `invariant`
/// are undone by `s z + m` alone.
///
/// `revin` scales like the reference's; the bias and weight that the reference learns and applies when it undoes the
/// scaling (they start at 0 and 1, and point losses never move them) are not part of it.
///
/// `robust-floor` is for windows in which most values are nearly equal, as rain or sunshine: there the median absolute
/// deviation can be a thousand times smaller than the values that matter, and `robust` lets them explode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WindowScaler {
    /// Not at all.
    #[default]
    Identity,
    /// By mean and standard deviation.
    Standard,
    /// By median and median absolute deviation.
    Robust,
    /// By median and median absolute deviation, which is not believed where it is far below the standard deviation.
    RobustFloor,
    /// To 0..1.
    #[serde(rename = "minmax")]
    MinMax,
    /// To -1..1.
    #[serde(rename = "minmax1")]
    MinMax1,
    /// By median and median absolute deviation, then `asinh`.
    Invariant,
    /// By mean and standard deviation, as reversible instance normalisation without its learned parameters.
    Revin,
}

/// Shift and scale of one column of one window, in the column's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowStatistics {
    /// What is subtracted.
    pub shift: f64,
    /// What is divided by, greater than 0.
    pub scale: f64,
}

impl WindowStatistics {
    /// Those that change nothing.
    pub const IDENTITY: Self = Self { shift: 0.0, scale: 1.0 };
}

/// What stands where a value of a window is missing or lies before the series or beyond the end of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// 0 after scaling: the middle of the window.
    #[default]
    Zero,
    /// 0 before scaling, as neuralforecast does it: far below a window of high level. For models trained there.
    Reference,
}

impl WindowScaler {
    /// Every scaler.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Standard,
        Self::Robust,
        Self::RobustFloor,
        Self::MinMax,
        Self::MinMax1,
        Self::Invariant,
        Self::Revin,
    ];

    /// The name in settings and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Standard => "standard",
            Self::Robust => "robust",
            Self::RobustFloor => "robust-floor",
            Self::MinMax => "minmax",
            Self::MinMax1 => "minmax1",
            Self::Invariant => "invariant",
            Self::Revin => "revin",
        }
    }

    /// The statistics of the observed inputs of one column, which are reordered and changed in place.
    pub fn statistics(self, observed: &mut [f64]) -> WindowStatistics {
        if self == Self::Identity {
            return WindowStatistics::IDENTITY;
        }
        let (shift, scale) = match self {
            Self::Identity => None,
            Self::Standard | Self::Revin => mean_std(observed),
            Self::Robust | Self::Invariant => robust(observed, 0.0),
            Self::RobustFloor => robust(observed, FLOOR),
            Self::MinMax | Self::MinMax1 => min_max(observed).map(|(low, high)| (low, high - low)),
        }
        // Sums of values near the end of the range of f64 overflow: such a window is better left as it is.
        .filter(|(shift, scale)| shift.is_finite() && scale.is_finite())
        .unwrap_or((0.0, 0.0));
        let scale = if scale == 0.0 { 1.0 } else { scale } + EPS;
        match self {
            // The reference writes 2 (x - low) / range - 1, which is the same.
            Self::MinMax1 => WindowStatistics { shift: shift + scale / 2.0, scale: scale / 2.0 },
            _ => WindowStatistics { shift, scale },
        }
    }

    /// `x` in scaled units.
    #[inline]
    pub fn apply(self, x: f64, by: WindowStatistics) -> f64 {
        let z = (x - by.shift) / by.scale;
        match self {
            Self::Identity => x,
            Self::Invariant => z.asinh(),
            _ => z,
        }
    }

    /// The scaled value `z` in the column's units.
    #[inline]
    pub fn invert(self, z: f64, by: WindowStatistics) -> f64 {
        let z = match self {
            Self::Identity => return z,
            Self::Invariant => z.sinh(),
            _ => z,
        };
        z * by.scale + by.shift
    }
}

/// Lower median and median absolute deviation, the latter at least `floor` times what the standard deviation makes expected.
fn robust(x: &mut [f64], floor: f64) -> Option<(f64, f64)> {
    let (_, deviation) = mean_std(x)?;
    let centre = lower_median(x)?;
    for v in x.iter_mut() {
        *v = (*v - centre).abs();
    }
    let mad = lower_median(x)?;
    let expected = MAD_OF_NORMAL * deviation;
    Some((centre, if mad == 0.0 { expected } else { mad.max(floor * expected) }))
}

impl fmt::Display for WindowScaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WindowScaler {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|k| k.name().eq_ignore_ascii_case(text.trim())).ok_or_else(|| {
            let remedy = match nearest(text, names.iter()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of these scalers".into(),
            };
            InvalidSetting::new("window_scaler", text, names.join(", "), remedy).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Advise;

    fn of(scaler: WindowScaler, x: &[f64]) -> (f64, f64) {
        let by = scaler.statistics(&mut x.to_vec());
        (by.shift, by.scale)
    }

    #[test]
    fn each_scaler_by_hand() {
        // Mean 4, squared deviations 36 4 1 9 0 0; sorted 1 2 3 4 4 10, lower median 3.
        let x = [10.0, 2.0, 3.0, 1.0, 4.0, 4.0];
        let deviation = (50.0f64 / 6.0).sqrt();
        assert_eq!(of(WindowScaler::Identity, &x), (0.0, 1.0));
        assert_eq!(of(WindowScaler::Standard, &x), (4.0, deviation + 1e-6));
        assert_eq!(of(WindowScaler::Revin, &x), of(WindowScaler::Standard, &x));
        // Deviations from 3: 7 1 0 2 1 1, lower median 1.
        assert_eq!(of(WindowScaler::Robust, &x), (3.0, 1.0 + 1e-6));
        assert_eq!(of(WindowScaler::Invariant, &x), (3.0, 1.0 + 1e-6));
        assert_eq!(of(WindowScaler::RobustFloor, &x), (3.0, 1.0 + 1e-6));
        assert_eq!(of(WindowScaler::MinMax, &x), (1.0, 9.0 + 1e-6));
        assert_eq!(of(WindowScaler::MinMax1, &x), (1.0 + (9.0 + 1e-6) / 2.0, (9.0 + 1e-6) / 2.0));
    }

    #[test]
    fn robust_falls_back_on_the_deviation_where_most_values_are_equal() {
        // Mean 1, variance (3 * 1 + 9) / 4 = 3.
        let x = [0.0, 0.0, 4.0, 0.0];
        let (shift, scale) = of(WindowScaler::Robust, &x);
        assert_eq!(shift, 0.0);
        assert!((scale - 3.0f64.sqrt() * 0.674_489_750_196_081_7 - 1e-6).abs() < 1e-12);
        assert_eq!(of(WindowScaler::RobustFloor, &x), (shift, scale));
    }

    #[test]
    fn robust_floor_does_not_believe_a_tiny_deviation() {
        // Dawn of a solar series: nearly dark, then bright.
        let x = [0.0, 0.0, 0.001, 0.001, 0.9, 0.8];
        assert!(of(WindowScaler::Robust, &x).1 < 0.002);
        let (shift, scale) = of(WindowScaler::RobustFloor, &x);
        assert_eq!(shift, 0.001);
        let (_, deviation) = mean_std(&x).unwrap();
        assert!((scale - 0.25 * MAD_OF_NORMAL * deviation - 1e-6).abs() < 1e-12);
    }

    #[test]
    fn no_spread_and_no_values_have_scale_one() {
        for scaler in WindowScaler::ALL {
            if !matches!(scaler, WindowScaler::Identity | WindowScaler::MinMax1) {
                assert_eq!(of(scaler, &[0.1; 10]), (0.1, 1.0 + 1e-6), "{scaler}");
                assert_eq!(of(scaler, &[]), (0.0, 1.0 + 1e-6), "{scaler}");
            }
            assert!(of(scaler, &[f64::MAX, -f64::MAX]).1 <= 1.0 + 1e-6, "{scaler}");
        }
    }

    #[test]
    fn inverse_gives_the_value_back() {
        let x = [3.0, -1.0, 4.0, 1.5, 9.0];
        for scaler in WindowScaler::ALL {
            let by = scaler.statistics(&mut x.to_vec());
            for v in x {
                assert!((scaler.invert(scaler.apply(v, by), by) - v).abs() < 1e-12, "{scaler}");
            }
        }
        let by = WindowScaler::MinMax1.statistics(&mut x.to_vec());
        assert!((WindowScaler::MinMax1.apply(9.0, by) - 1.0).abs() < 1e-6);
        assert!((WindowScaler::MinMax1.apply(-1.0, by) + 1.0).abs() < 1e-12);
        let by = WindowStatistics { shift: 1.0, scale: 2.0 };
        assert_eq!(WindowScaler::Invariant.apply(5.0, by), 2.0f64.asinh());
    }

    #[test]
    fn names_are_the_same_in_flags_and_files() {
        for scaler in WindowScaler::ALL {
            assert_eq!(scaler.name().parse::<WindowScaler>().unwrap(), scaler);
            assert_eq!(serde_json::to_string(&scaler).unwrap(), format!("\"{scaler}\""));
        }
        assert_eq!("revinn".parse::<WindowScaler>().unwrap_err().hint().unwrap(), "did you mean `revin`?");
    }
}
