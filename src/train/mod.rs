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
//! | `run` | the loop: steps, validation, early stopping, best weights, checkpoints, telling the callbacks |
//! | `strategy` | the loop as burn's custom strategy |
//! | `callback`, `callbacks/` | [`Callback`]: what looks on and may stop a run; those that come with the program |
//! | `checkpoint/` | [`Checkpoint`]: everything that a run needs to go on exactly where it was |
//! | `stopping` | [`EarlyStopping`] |
//! | `diagnosis` | the checklist for when learning fails, done by the program |
//! | `determinism` | the same steps twice, compared to the bit |
//! | `average` | the moving average of the weights |
//! | `view` | looking into a run: weights, gradients, sample forecasts |
//! | `engine` | what computes a step: the learner's tensors, or slices in host memory |
//! | `trainee` | one step on tensors: a batch shared by the workers |
//! | `devices`, `precision` | over which threads or devices a batch is spread; mixed precision |
//! | `host_steps`, `rule_on_slices` | one step on slices |
//! | `optimizer`, `memory`, `schedule`, `clip` | update rules, their moments, learning rates, clipping by the global norm |
//! | `finder`, `lr_picture` | the search for a learning rate, and its curve drawn |
//! | `expected` | the memory that a run will take |
//! | `feed` | the window loader as burn wants it |
//! | `saved` | [`Provenance`] and the bundle of a run |
//! | `series_use` | what training makes of each series: used, padded, skipped, and why |
//! | `progress` | progress bar, plain lines, burn's dashboard |

mod average;
mod callback;
mod callbacks;
mod checkpoint;
mod clip;
mod config;
mod determinism;
mod devices;
mod diagnosis;
mod engine;
mod error;
mod expected;
mod feed;
mod finder;
mod host_steps;
mod job;
#[cfg(test)]
mod leakage;
mod lr_picture;
mod memory;
mod optimizer;
mod precision;
mod progress;
mod rule_on_slices;
mod run;
mod saved;
mod schedule;
mod series_use;
mod start;
mod stopping;
mod strategy;
mod trainee;
mod view;

pub use callback::{
    Callback, CheckpointEvent, EpochEvent, ForecastSample, NetworkView, Next, RunEnd, RunStart, StepEvent,
    ValidationEvent, Written,
};
pub use callbacks::{
    Checkpoints, CsvLog, Every, FiledCheckpoints, GradientMonitor, GradientRecord, JsonLog, Monitor, RateMonitor,
    TensorBoard,
};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointFolder, RunIdentity, RunState, Section};
pub use clip::{clip_global_norm, global_norm};
pub use config::{Keep, OnNan, TrainConfig, TrainEngine};
pub use determinism::Determinism;
pub use devices::Manner;
pub use diagnosis::{Check, Facts, diagnose};
pub use error::TrainError;
pub use expected::ExpectedMemory;
pub use finder::{FindLr, FoundLr, LrBasis, LrPoint};
pub use job::{Plan, TrainJob, Trained, Watch, WindowChoice};
pub use optimizer::{Optimizer, OptimizerKind, Rule, RuleState};
pub use progress::Dashboard;
pub use saved::Provenance;
pub use schedule::{
    CosineRestarts, OneCycle, Plateau, PlateauRules, Schedule, ScheduleConfig, SchedulePer, ScheduleRecord,
};
pub use series_use::{SeriesUse, Use, UseCounts};
pub use stopping::EarlyStopping;
pub use trainee::{StepMetric, StepNumber, StepOutput, StepSettings, TrainInput, Trainee};
