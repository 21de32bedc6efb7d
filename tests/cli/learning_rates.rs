//! Schedules of the learning rate, and the search for one.

use serde_json::Value;

use crate::tool::{Folder, daily, keys};

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

#[test]
fn a_search_suggests_a_rate_draws_the_curve_and_trains_nothing() {
    let folder = Folder::new();
    folder.write("s.csv", daily(300));
    let run = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 32 --batch-size 64 --run-dir r --find-lr";
    let found = folder.json(run);
    assert_eq!(
        keys(&found),
        [
            "suggested_lr",
            "basis",
            "lowest_lr",
            "stopped_early",
            "steps",
            "picture",
            "backend",
            "device",
            "wall_s",
            "curve"
        ]
    );
    let suggested = found["suggested_lr"].as_f64().unwrap();
    assert!((1e-4..1e-1).contains(&suggested), "{suggested}");
    assert_eq!((&found["basis"], &found["picture"]), (&"steepest-descent".into(), &"r/lr-find.svg".into()));
    let curve = found["curve"].as_array().unwrap();
    assert_eq!(found["steps"].as_u64(), Some(curve.len() as u64));
    assert_eq!(keys(&curve[0]), ["lr", "loss", "smoothed"]);
    let picture = folder.text("r/lr-find.svg");
    assert!(picture.starts_with("<svg") && picture.contains("learning rate"), "{picture}");
    // Nothing else was written, and the search repeats bit for bit.
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(folder.path("r")).unwrap().count(), 1);
    assert_eq!(folder.json(run)["curve"], found["curve"]);
    assert_ne!(folder.json(&format!("{run} --seed 2"))["curve"], found["curve"]);
    let report = folder.ok(run).stdout;
    for part in ["suggested learning rate", "lowest loss", "r/lr-find.svg"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(report.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "no curve is drawn: {report}");
    // It takes the place of the training's other switches.
    assert_eq!(folder.json(&format!("{run} --dry-run"))["dry_run"], true);
}
