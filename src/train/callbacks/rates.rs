//! `RateMonitor`: the learning rate of every step.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::callback::{Callback, Next, StepEvent};

/// Remembers the step of each change of the learning rate, and says so in the log (`-v`) where it does not change with
/// every step.
#[derive(Debug, Clone, Default)]
pub struct RateMonitor {
    changes: Arc<Mutex<Vec<(usize, f64)>>>,
}

impl RateMonitor {
    /// Steps and the rate from each on; a clone of the monitor can be asked while and after the run.
    pub fn changes(&self) -> Vec<(usize, f64)> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Callback for RateMonitor {
    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = changes.last().copied();
        if last.is_none_or(|(_, rate)| rate != event.lr) {
            if last.is_some_and(|(step, _)| step + 1 < event.step) {
                tracing::info!("step {}: learning rate {:.3e}", event.step, event.lr);
            }
            changes.push((event.step, event.lr));
        }
        Next::Go
    }
}
