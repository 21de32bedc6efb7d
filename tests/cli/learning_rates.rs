//! Schedules of the learning rate.

use serde_json::Value;

use crate::tool::Folder;

/// The learning rate of the last step of each epoch.
fn rates(folder: &Folder) -> Vec<f64> {
    let lines = folder.text("r/metrics.jsonl");
    lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["lr"].as_f64().unwrap()).collect()
}

#[test]
fn every_schedule_trains_per_step_and_per_epoch() {
    let folder = Folder::with_series();
    // Six epochs of two steps; validation after each.
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --epochs 6 --steps-per-epoch 2 --patience 0 --lr 0.008 \
               --output m.st --run-dir r";
    for (flags, want) in [
        ("", [8.0; 6]),
        ("--lr-schedule step --lr-step-size 4 --lr-gamma 0.1", [8.0, 8.0, 0.8, 0.8, 0.08, 0.08]),
        ("--lr-schedule step --lr-step-size 4 --lr-gamma 0.1 --lr-per epoch", [8.0, 8.0, 8.0, 8.0, 0.8, 0.8]),
        ("--lr-schedule decays --lr-decays 2 --lr-per epoch", [8.0, 8.0, 8.0, 4.0, 4.0, 4.0]),
        ("--lr-schedule cosine --lr-t-max 2 --lr-min 0.002 --lr-per epoch", [8.0, 5.0, 2.0, 2.0, 2.0, 2.0]),
        (
            "--lr-schedule cosine-restarts --lr-restart 2 --lr-restart-mult 2 --lr-per epoch",
            [8.0, 4.0, 8.0, 6.82842712474619, 4.0, 1.1715728752538097],
        ),
        ("--lr-schedule linear --lr-end-factor 0.25 --lr-t-max 4 --lr-per epoch", [8.0, 6.5, 5.0, 3.5, 2.0, 2.0]),
        ("--lr-schedule exponential --lr-gamma 0.5 --lr-per epoch", [8.0, 4.0, 2.0, 1.0, 0.5, 0.25]),
        ("--lr-schedule exponential --lr-gamma 0.5 --warmup-steps 4 --lr-per epoch", [4.0, 4.0, 2.0, 1.0, 0.5, 0.25]),
        // No loss is better than the best by 99 %: bad from the second validation on, lowered after two and a pause.
        (
            "--lr-schedule plateau --lr-patience 1 --lr-factor 0.5 --lr-threshold 0.99 --lr-cooldown 1 --lr-min 0.003",
            [8.0, 8.0, 8.0, 4.0, 4.0, 4.0],
        ),
        (
            "--lr-schedule plateau --lr-patience 0 --lr-factor 0.5 --lr-threshold 0.99 --lr-min 0.003",
            [8.0, 8.0, 4.0, 3.0, 3.0, 3.0],
        ),
    ] {
        folder.ok(&format!("train --data s.csv {run} {flags}"));
        let got = rates(&folder);
        let near = got.len() == 6 && got.iter().zip(want).all(|(a, b)| (a * 1e3 - b).abs() < 1e-9);
        assert!(near, "{flags}: {got:?}, expected thousandths {want:?}");
    }
    // Per step, with the numbers that follow from the run.
    for name in ["cosine", "cosine-restarts", "linear", "exponential", "one-cycle", "decays"] {
        folder.ok(&format!("train --data s.csv {run} --lr-schedule {name}"));
        let got = rates(&folder);
        assert!(got.iter().any(|r| *r < 0.004) && got.iter().all(|r| (0.0..=0.008).contains(r)), "{name}: {got:?}");
    }
}

#[test]
fn a_patience_that_early_stopping_cuts_short_is_told() {
    let folder = Folder::with_series();
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --patience 4 --lr-schedule plateau --dry-run";
    let ran = folder.ok(&format!("train --data s.csv {run}"));
    assert!(ran.stderr.contains("--lr-patience"), "{}", ran.stderr);
    let ran = folder.ok(&format!("train --data s.csv {run} --lr-patience 2"));
    assert!(!ran.stderr.contains("--lr-patience"), "{}", ran.stderr);
}
