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

use super::callback::{Callback, EpochEvent, Next, RunEnd, RunStart, StepEvent};
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

impl Dashboard {
    /// The callback for this way; burn's dashboard and `None` show nothing here.
    pub fn callback(self) -> Box<dyn Callback> {
        match self {
            Self::Auto if std::io::stderr().is_terminal() => Box::new(Bar::new()),
            Self::Auto | Self::Plain => Box::new(Lines),
            Self::Tui | Self::None => Box::new(Nothing),
        }
    }
}

/// The epoch in one line.
fn line(record: &EpochRecord, epochs: usize, best: bool) -> String {
    let validation = match (record.val_loss, record.val_mae, record.val_rmse) {
        (Some(loss), Some(mae), Some(rmse)) => {
            format!("  val loss {loss:.5}  val mae {mae:.5}  val rmse {rmse:.5}{}", if best { "  best" } else { "" })
        }
        _ => String::new(),
    };
    format!(
        "epoch {}/{epochs}  step {}  loss {:.5}  mae {:.5}  rmse {:.5}{validation}  lr {:.2e}  {:.0} windows/s  {:.1} s",
        record.epoch,
        record.step,
        record.train_loss,
        record.train_mae,
        record.train_rmse,
        record.lr,
        record.windows_per_s,
        record.seconds
    )
}

/// One line per epoch on stderr.
struct Lines;

impl Callback for Lines {
    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        // A closed stderr must not end a run.
        let _ = writeln!(std::io::stderr(), "{}", line(event.record, event.epochs, event.best));
        Next::Go
    }
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

impl Callback for Bar {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        self.bar.set_length(run.plan.total_steps as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  eta {eta}  {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_position(run.done as u64);
        self.bar.reset_eta();
    }
    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        self.bar.set_position(event.step as u64);
        self.bar.set_message(format!("loss {:.4}{}", event.loss, self.note));
        Next::Go
    }
    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        let (record, epochs) = (event.record, event.epochs);
        self.note = match record.val_mae {
            Some(mae) => format!("  epoch {}/{epochs}: val mae {mae:.4}", record.epoch),
            None => format!("  epoch {}/{epochs}", record.epoch),
        };
        Next::Go
    }
    fn on_train_end(&mut self, _: &RunEnd<'_>) {
        self.bar.abandon();
    }
}

/// Nothing to see.
struct Nothing;

impl Callback for Nothing {}

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
