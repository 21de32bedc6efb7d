//! The names of the scalers, as settings write them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use crate::error::{InvalidSetting, nearest};

/// How each series is scaled before anything else sees it; see the table of [`crate::transform`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScalerKind {
    /// Not at all.
    #[default]
    None,
    /// By mean and population standard deviation.
    Standard,
    /// By median and median absolute deviation.
    Robust,
    /// By median and interquartile range.
    RobustIqr,
    /// To 0..1 by the smallest and largest value.
    #[serde(rename = "minmax")]
    MinMax,
}

impl ScalerKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::None, Self::Standard, Self::Robust, Self::RobustIqr, Self::MinMax];

    /// The name in settings and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Robust => "robust",
            Self::RobustIqr => "robust-iqr",
            Self::MinMax => "minmax",
        }
    }
}

impl fmt::Display for ScalerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ScalerKind {
    type Err = TransformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|k| k.name().eq_ignore_ascii_case(text.trim())).ok_or_else(|| {
            let remedy = match nearest(text, names.iter()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of these scalers".into(),
            };
            InvalidSetting::new("scaler", text, names.join(", "), remedy).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Advise;

    #[test]
    fn names_are_the_same_in_flags_and_files() {
        for kind in ScalerKind::ALL {
            assert_eq!(kind.name().parse::<ScalerKind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!(" MinMax ".parse::<ScalerKind>().unwrap(), ScalerKind::MinMax);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = "standart".parse::<ScalerKind>().unwrap_err();
        assert!(error.to_string().contains("standart"), "{error}");
        assert_eq!(error.hint().unwrap(), "did you mean `standard`?");
        assert_eq!(error.kind(), "invalid-setting");
    }
}
