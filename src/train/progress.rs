//! How a run is shown: a progress bar, plain lines, burn's dashboard, or not at all.

use std::io::{IsTerminal, Write};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bundle::EpochRecord;

/// Which way of showing a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dashboard {
    /// A progress bar in a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// burn's full-screen dashboard.
    Tui,
    /// One line per epoch.
    Plain,
    /// Nothing.
    None,
}

/// What looks on while a run goes.
pub trait Observer: Send {
    /// Before the first step of `total_steps`.
    fn on_start(&mut self, total_steps: usize);
    /// After a step, with its loss.
    fn on_step(&mut self, step: usize, loss: f64);
    /// After an epoch, with whether it was the best so far.
    fn on_epoch(&mut self, record: &EpochRecord, epochs: usize, best: bool);
    /// After the last step.
    fn on_end(&mut self);
}

impl Dashboard {
    /// The observer for this way; the dashboard and `None` show nothing here.
    pub fn observer(self) -> Box<dyn Observer> {
        match self {
            Self::Auto if std::io::stderr().is_terminal() => Box::new(Bar::new()),
            Self::Auto | Self::Plain => Box::new(Lines),
            Self::Tui | Self::None => Box::new(Nothing),
        }
    }
}

/// The epoch in one line.
fn line(record: &EpochRecord, epochs: usize, best: bool) -> String {
    let validation = match (record.val_loss, record.val_mae) {
        (Some(loss), Some(mae)) => {
            format!("  val loss {loss:.5}  val mae {mae:.5}{}", if best { "  best" } else { "" })
        }
        _ => String::new(),
    };
    format!(
        "epoch {}/{epochs}  step {}  loss {:.5}  mae {:.5}{validation}  lr {:.2e}  {:.0} windows/s  {:.1} s",
        record.epoch, record.step, record.train_loss, record.train_mae, record.lr, record.windows_per_s, record.seconds
    )
}

/// One line per epoch on stderr.
struct Lines;

impl Observer for Lines {
    fn on_start(&mut self, _: usize) {}
    fn on_step(&mut self, _: usize, _: f64) {}
    fn on_epoch(&mut self, record: &EpochRecord, epochs: usize, best: bool) {
        // A closed stderr must not end a run.
        let _ = writeln!(std::io::stderr(), "{}", line(record, epochs, best));
    }
    fn on_end(&mut self) {}
}

/// A progress bar over the steps, the last epoch beside it.
struct Bar {
    bar: ProgressBar,
    note: String,
}

impl Bar {
    fn new() -> Self {
        Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5)), note: String::new() }
    }
}

impl Observer for Bar {
    fn on_start(&mut self, total_steps: usize) {
        self.bar.set_length(total_steps as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  eta {eta}  {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }
    fn on_step(&mut self, step: usize, loss: f64) {
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {loss:.4}{}", self.note));
    }
    fn on_epoch(&mut self, record: &EpochRecord, epochs: usize, _: bool) {
        self.note = match record.val_mae {
            Some(mae) => format!("  epoch {}/{epochs}: val mae {mae:.4}", record.epoch),
            None => format!("  epoch {}/{epochs}", record.epoch),
        };
    }
    fn on_end(&mut self) {
        self.bar.abandon();
    }
}

/// Nothing to see.
struct Nothing;

impl Observer for Nothing {
    fn on_start(&mut self, _: usize) {}
    fn on_step(&mut self, _: usize, _: f64) {}
    fn on_epoch(&mut self, _: &EpochRecord, _: usize, _: bool) {}
    fn on_end(&mut self) {}
}

/// burn's renderer when its dashboard is not wanted: its own fallback prints a debug line per batch.
#[derive(Debug)]
pub(super) struct Unseen;

impl MetricsRendererTraining for Unseen {
    fn update_train(&mut self, _: MetricState) {}
    fn update_valid(&mut self, _: MetricState) {}
    fn render_train(&mut self, _: TrainingProgress, _: Vec<ProgressType>) {}
    fn render_valid(&mut self, _: TrainingProgress, _: Vec<ProgressType>) {}
}

impl MetricsRendererEvaluation for Unseen {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    fn render_test(&mut self, _: EvaluationProgress, _: Vec<ProgressType>) {}
}

impl MetricsRenderer for Unseen {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

/// burn's metric logger: the strategy keeps its own record of every epoch, so burn need not write one file per metric.
#[derive(Debug)]
pub(super) struct Unlogged;

impl MetricLogger for Unlogged {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}
    fn read_numeric(&mut self, name: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Err(format!("{name} is not kept by this logger"))
    }
    fn log_metric_definition(&mut self, _: MetricDefinition) {}
    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}
