//! The callbacks that come with the program, one file per subject.

mod checkpoints;
mod filed;
mod gradients;
mod logs;
mod rates;
mod tensorboard;

pub use checkpoints::{Checkpoints, Every, Monitor};
pub use filed::FiledCheckpoints;
pub use gradients::{GradientMonitor, GradientRecord};
pub use logs::{CsvLog, JsonLog};
pub use rates::RateMonitor;
pub use tensorboard::TensorBoard;
