//! What several test programs share: every backend of the build, and a small panel.

use nhits::calendar::Clock;
use nhits::data::Panel;
use nhits_backends::{Choice, Device, Job, usable, with_backend};

/// Runs a job on every backend of this build that has a device here; `tests/parity.rs` says which those are.
pub fn on_each<J: Job>(job: impl Fn() -> J) -> Vec<(&'static str, J::Output)> {
    usable()
        .map(|info| {
            let choice = Choice { backend: Some(info.name.into()), device: Device::Auto };
            (info.name, with_backend(&choice, job()).unwrap())
        })
        .collect()
}

/// Noisy waves of two series.
pub fn panel(rows: usize) -> Panel {
    let noise = |i: usize| ((i as f64 * 12.9898).sin() * 43758.5453).fract() * 0.3;
    let y: Vec<f64> = (0..2 * rows).map(|i| 10.0 + (i as f64 * 0.7).sin() * 3.0 + noise(i)).collect();
    let time = (0..rows as i64).chain(0..rows as i64).collect();
    let freq = "1".parse().unwrap();
    Panel::new(vec!["a".into(), "b".into()], vec![0, rows, 2 * rows], time, Clock::Integer, freq, y, "y")
}
