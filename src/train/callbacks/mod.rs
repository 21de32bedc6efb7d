//! The callbacks that come with the program, one file per subject.

mod checkpoints;
mod gradients;
mod logs;
mod rates;

pub use checkpoints::{Checkpoints, Every, Monitor};
pub use gradients::{GradientMonitor, GradientRecord};
pub use logs::{CsvLog, JsonLog};
pub use rates::RateMonitor;
