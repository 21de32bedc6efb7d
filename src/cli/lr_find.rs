//! `nhits train --find-lr`: the search for a learning rate, drawn in the terminal and as a picture.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use nhits_backends::{Job, Taken};
use serde_json::json;

use super::error::CliError;
use super::session::Session;
use super::train::{Run, write_text};
use crate::train::{FindLr, FoundLr};

/// The search on whatever backend is taken.
struct Search<'a> {
    run: &'a Run,
    settings: FindLr,
}

impl Job for Search<'_> {
    type Output = Result<FoundLr, CliError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        Ok(self.run.job.find_lr::<B>(&self.run.plan, &device, &self.settings)?)
    }
}

/// The file of the picture in the folder of a run.
pub(super) fn picture(run_dir: &Path) -> PathBuf {
    run_dir.join("lr-find.svg")
}

/// Searches, draws and tells. Nothing is trained further.
pub(super) fn find(run: &Run, run_dir: &Path, taken: &Taken, session: &Session) -> Result<(), CliError> {
    let settings = FindLr::default();
    let FindLr { from, to, steps, .. } = settings;
    session.output.note(format!("search    {steps} steps with a learning rate rising from {from:e} to {to}"));
    let began = Instant::now();
    let found = session.on_backend(Search { run, settings })??;
    let path = picture(run_dir);
    write_text(&path, &found.svg())?;
    let end = if found.stopped_early { ", where the loss diverged" } else { "" };
    let report = format!(
        "{}\nsuggested learning rate {:.2e}: {}\nlowest loss at {:.2e}; {} steps{end}\nwrote {}\n\nnext: the same command with \
         --lr {:.2e} instead of --find-lr",
        draw(&found),
        found.suggested,
        found.basis,
        found.lowest,
        found.curve.len(),
        path.display(),
        found.suggested,
    );
    let value = json!({
        "suggested_lr": found.suggested, "basis": found.basis, "lowest_lr": found.lowest,
        "stopped_early": found.stopped_early, "steps": found.curve.len(), "picture": path, "backend": taken.backend,
        "device": taken.device.to_string(), "wall_s": began.elapsed().as_secs_f64(), "curve": found.curve,
    });
    session.output.result(report, &value)
}

/// The smoothed loss over the rate, drawn in the terminal.
fn draw(found: &FoundLr) -> String {
    use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};
    let (low, high) = found.borders();
    // The line ends where it leaves the picture.
    let ends = found.curve.iter().position(|p| p.lr > found.lowest && p.smoothed > high).unwrap_or(found.curve.len());
    let points: Vec<(f32, f32)> =
        found.curve[..ends].iter().map(|p| (p.lr.log10() as f32, p.smoothed as f32)).collect();
    let (Some(first), Some(last)) = (found.curve.first(), found.curve.last()) else { return String::new() };
    let (left, right) = (first.lr.log10() as f32, last.lr.max(first.lr * 1.01).log10() as f32);
    let mark = found.suggested.log10() as f32;
    let mark: Vec<(f32, f32)> = (0..=12).map(|i| (mark, (low + (high - low) * f64::from(i) / 12.0) as f32)).collect();
    let (line, dots) = (Shape::Lines(&points), Shape::Points(&mark));
    let mut chart = Chart::new_with_y_range(150, 50, left, right, low as f32, high as f32);
    let drawn = chart
        .x_label_format(LabelFormat::Custom(Box::new(|x| format!("{:.0e}", 10f32.powf(x)))))
        .y_label_format(LabelFormat::Custom(Box::new(|y| format!("{y:.3}"))))
        .lineplot(&line)
        .lineplot(&dots);
    drawn.axis();
    drawn.figures();
    format!("training loss, smoothed, over the learning rate (logarithmic); the suggestion is dotted\n{drawn}")
}
