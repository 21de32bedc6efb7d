//! `TensorBoard`: the run as event files that TensorBoard shows while it goes.

use std::io;
use std::path::{Path, PathBuf};

use crate::tensorboard::{EventWriter, Picture};

use super::super::callback::{Callback, EpochEvent, Next, RunEnd, RunStart, StepEvent, ValidationEvent};

/// Writes event files into a folder.
///
/// | what | tag | when |
/// |---|---|---|
/// | loss and errors of a step, learning rate, gradient norm | `loss/train`, `mae/train`, `learning_rate`, `gradient_norm` | every `update_freq` steps |
/// | loss and errors of a validation | `loss/validation`, `mae/validation`, `rmse/validation` | each validation |
/// | speed | `windows_per_second` | each epoch |
/// | histograms of the gradients | `gradients/<weight>` | every `histogram_freq` steps |
/// | histograms of weights and forecasts, a picture of forecasts beside what came | `weights/<weight>`, `forecasts`, `forecast` | the validations, `histogram_freq` steps apart |
#[derive(Debug)]
pub struct TensorBoard {
    dir: PathBuf,
    /// Steps between two points of a curve; 10 unless told otherwise.
    pub update_freq: usize,
    /// Steps between two histograms or pictures, 200 unless told otherwise; 0 is none.
    pub histogram_freq: usize,
    /// `None` before the run, and after a write failed: the log ends there, the run goes on.
    events: Option<EventWriter>,
    /// The step of the last picture.
    pictured: Option<usize>,
}

impl TensorBoard {
    /// Event files in `dir`: one run is one folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), update_freq: 10, histogram_freq: 200, events: None, pictured: None }
    }

    fn write(&mut self, write: impl FnOnce(&mut EventWriter) -> io::Result<()>) {
        let Some(events) = &mut self.events else { return };
        if let Err(e) = write(events) {
            tracing::warn!("cannot write events for TensorBoard: {e}; they end here");
            self.events = None;
        }
    }
}

impl Callback for TensorBoard {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        match EventWriter::create(&self.dir) {
            Ok(events) => self.events = Some(events),
            Err(e) => tracing::warn!("no events are written for TensorBoard: {e}"),
        }
        if run.done > 0 {
            // Steps after the checkpoint that were shown before come again.
            self.write(|events| events.session_start(run.done as u64 + 1));
        }
    }

    fn wants_gradients(&self, step: usize) -> bool {
        self.events.is_some() && self.histogram_freq > 0 && step.is_multiple_of(self.histogram_freq)
    }

    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        let step = event.step as u64;
        if event.step == 1 || event.step.is_multiple_of(self.update_freq.max(1)) {
            self.write(|events| {
                events.scalar("loss/train", step, event.loss)?;
                events.scalar("mae/train", step, event.mae)?;
                events.scalar("learning_rate", step, event.lr)?;
                event.gradient_norm.map_or(Ok(()), |norm| events.scalar("gradient_norm", step, norm))
            });
        }
        if let Some(gradients) = event.gradients.filter(|_| self.wants_gradients(event.step)) {
            self.write(|events| {
                for gradient in gradients {
                    events.histogram(&format!("gradients/{}", gradient.name), step, &gradient.data)?;
                }
                Ok(())
            });
        }
        Next::Go
    }

    fn on_validation(&mut self, event: &ValidationEvent<'_>) -> Next {
        let step = event.step as u64;
        self.write(|events| {
            events.scalar("loss/validation", step, event.loss)?;
            events.scalar("mae/validation", step, event.mae)?;
            events.scalar("rmse/validation", step, event.rmse)
        });
        let due = self.pictured.is_none_or(|last| event.step >= last + self.histogram_freq);
        if self.events.is_some() && self.histogram_freq > 0 && due {
            self.pictured = Some(event.step);
            let (weights, samples) = (event.network.weights(), event.network.forecasts());
            self.write(|events| {
                for weight in &weights {
                    events.histogram(&format!("weights/{}", weight.name), step, &weight.data)?;
                }
                let forecasts: Vec<f32> = samples.iter().flat_map(|s| s.forecast.iter().map(|v| *v as f32)).collect();
                events.histogram("forecasts", step, &forecasts)?;
                let panels: Vec<Picture> =
                    samples.iter().map(|s| Picture::forecast(&s.input, &s.target, &s.forecast)).collect();
                events.image("forecast", step, &Picture::stacked(&panels))
            });
        }
        Next::Go
    }

    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        let record = event.record;
        self.write(|events| {
            events.scalar("windows_per_second", record.step as u64, record.windows_per_s)?;
            // Who watches wants to see it now.
            events.flush()
        });
        Next::Go
    }

    fn on_train_end(&mut self, _: &RunEnd<'_>) {
        self.write(EventWriter::flush);
    }
}
