//! `GradientMonitor`: the size of the gradients, layer by layer, and a warning when they vanish or explode.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::model::NamedTensor;

use super::super::callback::{Callback, Next, RunStart, StepEvent};
use super::logs::Lines;

/// Gradients whose mean size is smaller than this have vanished.
pub const VANISHING: f64 = 1e-7;
/// Gradients with a norm beyond this explode.
pub const EXPLODING: f64 = 10.0;

/// The gradient of one weight at one step, as applied (after clipping).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GradientRecord {
    /// The step.
    pub step: usize,
    /// The weight.
    pub name: String,
    /// Mean of the absolute values.
    pub mean_abs: f64,
    /// Largest absolute value.
    pub max_abs: f64,
    /// Euclidean norm.
    pub norm: f64,
}

impl GradientRecord {
    /// What a gradient's values come to.
    pub fn of(step: usize, gradient: &NamedTensor) -> Self {
        let (mut sum, mut max, mut squares) = (0.0, 0.0f64, 0.0);
        for v in &gradient.data {
            let v = f64::from(*v).abs();
            sum += v;
            max = max.max(v);
            squares += v * v;
        }
        let n = gradient.data.len().max(1) as f64;
        Self { step, name: gradient.name.clone(), mean_abs: sum / n, max_abs: max, norm: squares.sqrt() }
    }
}

/// Looks at the gradients every so many steps.
#[derive(Debug, Clone)]
pub struct GradientMonitor {
    every: usize,
    seen: Arc<Mutex<Seen>>,
    log: Arc<Mutex<Option<Lines>>>,
}

#[derive(Debug, Default)]
struct Seen {
    records: Vec<GradientRecord>,
    norms: Vec<(usize, f64)>,
    warned: BTreeSet<String>,
}

impl GradientMonitor {
    /// A monitor that looks at the first step and every `every` steps.
    pub fn new(every: usize) -> Self {
        Self { every: every.max(1), seen: Arc::default(), log: Arc::default() }
    }

    /// The same, with one JSON object per weight and look (a [`GradientRecord`]) written to the file `path` as it goes; a
    /// resumed run goes on with the file of the run before.
    pub fn with_log(self, path: &Path) -> Self {
        Self { log: Arc::new(Mutex::new(Some(Lines::new(path)))), ..self }
    }

    /// What was seen; a clone of the monitor can be asked while and after the run.
    pub fn records(&self) -> Vec<GradientRecord> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).records.clone()
    }

    /// Global norms before clipping, by step.
    pub fn norms(&self) -> Vec<(usize, f64)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).norms.clone()
    }

    /// The warnings that were given.
    pub fn warnings(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).warned.iter().cloned().collect()
    }
}

impl Callback for GradientMonitor {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = log.as_mut() else { return };
        // Of the run before, what was seen up to its checkpoint; the rest comes again.
        let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64();
        let before = if run.done > 0 { std::fs::read_to_string(log.path()).unwrap_or_default() } else { String::new() };
        let known = before.lines().filter(|line| step(line).is_some_and(|s| s <= run.done as u64));
        log.begin(&known.map(|line| format!("{line}\n")).collect::<String>());
    }

    fn wants_gradients(&self, step: usize) -> bool {
        step == 1 || step.is_multiple_of(self.every)
    }

    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        let Some(gradients) = event.gradients.filter(|_| self.wants_gradients(event.step)) else { return Next::Go };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let step = event.step;
        let warn = |warned: &mut BTreeSet<String>, key: String, text: String| {
            // Once per layer and kind: a warning per step helps nobody.
            if warned.insert(key) {
                tracing::warn!("step {step}: {text}");
            }
        };
        if let Some(norm) = event.gradient_norm {
            seen.norms.push((step, norm));
            if norm > EXPLODING {
                let advice = "try a smaller --lr, --gradient-clip 1, or a --window-scaler";
                let text = format!("gradients explode: their norm is {norm:.3e} (limit {EXPLODING}); {advice}");
                warn(&mut seen.warned, "gradients explode".into(), text);
            }
        }
        for gradient in gradients {
            let record = GradientRecord::of(step, gradient);
            if record.mean_abs < VANISHING {
                let key = format!("gradient of {} vanishes", record.name);
                let advice = "check the scaling of the data, try another --activation or fewer layers";
                let text = format!("{key}: mean size {:.1e} (limit {VANISHING:.0e}); {advice}", record.mean_abs);
                warn(&mut seen.warned, key, text);
            }
            if let Some(log) = self.log.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
                && let Ok(line) = serde_json::to_string(&record)
            {
                log.add(&line);
            }
            seen.records.push(record);
        }
        Next::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_gradient_by_hand() {
        let gradient = NamedTensor { name: "w".into(), shape: vec![3], data: vec![3.0, -4.0, 0.0] };
        let r = GradientRecord::of(5, &gradient);
        assert_eq!((r.step, r.mean_abs, r.max_abs, r.norm), (5, 7.0 / 3.0, 4.0, 5.0));
    }
}
