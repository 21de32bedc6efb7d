//! Training: from a panel and settings to the best weights, on burn-train's `Learner` with a loop of our own.
//!
//! ```text
//! TrainJob --plan()--> Plan (windows, steps, parameters) --run(device)--> Trained (best weights, summary) --bundle()--> Bundle
//! ```
//!
//! | file | what |
//! |---|---|
//! | `config` | [`TrainConfig`] and its check |
//! | `job` | [`TrainJob`], [`Plan`], [`Trained`]: the way in and out |
//! | `strategy` | the loop: steps, validation, early stopping, best weights |
//! | `trainee` | one step: a batch shared by the workers |
//! | `optimizer`, `schedule`, `clip` | update rules, learning rates, clipping by the global norm |
//! | `finder`, `lr_picture` | the search for a learning rate, and its curve drawn |
//! | `feed` | the window loader as burn wants it |
//! | `saved` | [`Provenance`] and the bundle of a run |
//! | `progress` | progress bar, plain lines, burn's dashboard |

mod clip;
mod config;
mod error;
mod feed;
mod finder;
mod job;
mod lr_picture;
mod optimizer;
mod progress;
mod saved;
mod schedule;
mod strategy;
mod trainee;

pub use clip::{clip_global_norm, global_norm};
pub use config::{Keep, TrainConfig};
pub use error::TrainError;
pub use finder::{FindLr, FoundLr, LrBasis, LrPoint};
pub use job::{Plan, TrainJob, Trained, Watch, WindowChoice};
pub use optimizer::{Optimizer, OptimizerKind, Rule, RuleState};
pub use progress::{Dashboard, Observer};
pub use saved::Provenance;
pub use schedule::{
    CosineRestarts, OneCycle, Plateau, PlateauRules, Schedule, ScheduleConfig, SchedulePer, ScheduleRecord,
};
pub use trainee::{StepMetric, StepNumber, StepOutput, StepSettings, TrainInput, Trainee};
