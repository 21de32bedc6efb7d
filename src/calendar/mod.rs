//! Time as files write it and as forecasts need it: stamps, frequencies with pandas' aliases, and their inference.
//!
//! A [`Stamp`] is one parsed time; a column of them shares one [`Clock`]. A [`Frequency`] steps from row to row
//! (business days, weeks, month ends ... as pandas' offsets do), and [`infer`] finds the one a table follows.

mod alias;
mod civil;
mod frequency;
mod infer;
mod parts;
mod stamp;

pub use frequency::{Frequency, MonthDay, Weekday};
pub use infer::{Inferred, infer};
pub use parts::Parts;
pub use stamp::{Clock, Stamp, join, parse_stamp};

use crate::error::Advise;

/// Examples of frequencies for messages and help texts.
pub const FREQUENCY_EXAMPLES: &str =
    "s, min, 15min, h, 2h, D, B, W-SUN, MS, ME, QS, QE, YS, YE, or 1 for plain integers";

/// What can be wrong with times and frequencies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalendarError {
    /// Text that is no stamp.
    #[error("`{text}` is not a time: {reason}")]
    Stamp {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Stamps that no single clock can hold.
    #[error("{first} and {second} stand in one time column")]
    MixedClocks {
        /// The clock found first.
        first: Clock,
        /// The one that does not go with it.
        second: Clock,
    },
    /// A time column without a single stamp.
    #[error("the time column has no values")]
    NoStamps,
    /// Text that is no frequency.
    #[error("frequency `{alias}` is not known: {reason}")]
    UnknownFrequency {
        /// The text.
        alias: String,
        /// What is wrong with it.
        reason: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// No series has two rows at different times.
    #[error("the frequency cannot be told from the data: no series has two rows at different times")]
    NoSteps,
    /// No frequency describes a fair part of the steps.
    #[error("the rows follow no frequency: the nearest is `{best}`, but only {regular} of {steps} steps follow it")]
    Irregular {
        /// The frequency that most steps follow.
        best: Frequency,
        /// How many do.
        regular: usize,
        /// How many steps there are.
        steps: usize,
    },
}

impl Advise for CalendarError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Stamp { .. } => "bad-time",
            Self::MixedClocks { .. } => "mixed-times",
            Self::NoStamps => "no-times",
            Self::UnknownFrequency { .. } => "unknown-frequency",
            Self::NoSteps => "no-steps",
            Self::Irregular { .. } => "irregular-times",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Stamp { .. } => {
                "write times as 2020-01-31, 2020-01-31 23:59:00, 2020-01-31T23:59:00Z or as integers".into()
            }
            Self::MixedClocks { .. } => {
                "write every time of the column in the same way: all with an offset, all without, or all integers"
                    .into()
            }
            Self::NoStamps => return None,
            Self::UnknownFrequency { meant: Some(meant), .. } => {
                format!("did you mean `{meant}`? frequencies are pandas' aliases: {FREQUENCY_EXAMPLES}")
            }
            Self::UnknownFrequency { meant: None, .. } => {
                format!("frequencies are pandas' aliases: {FREQUENCY_EXAMPLES}")
            }
            Self::NoSteps => format!("say what the step is with --freq ({FREQUENCY_EXAMPLES})"),
            Self::Irregular { .. } => {
                "check the time column and the id column; --freq says what the step should be, e.g. --freq h".into()
            }
        };
        Some(hint)
    }
}
