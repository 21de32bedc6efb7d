//! What lies after the training rows must not reach the model.

use crate::bundles::Parts;
use crate::tool::{Folder, day, wave};

const ROWS: usize = 70;

/// Two series with covariates; the values of rows for which `changed` holds are far from what they were.
fn data(changed: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("unique_id,ds,y,rain,weekday\n");
    for (s, id) in ["A", "B"].iter().enumerate() {
        for i in 0..ROWS {
            let off = if changed(i) { 1e4 * (1 + i % 3) as f64 } else { 0.0 };
            let y = wave(i) * (s + 1) as f64 + off;
            text.push_str(&format!("{id},{},{y},{},{}\n", day(i), (i % 5) as f64 - off, (i % 7) as f64 + off));
        }
    }
    text
}

/// Weights and scalers of a model trained on `text`, rows 0..40 for training, 40..50 for validation, 50..60 for testing.
fn learned(text: String, flags: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Folder::new();
    folder.write("x.csv", text);
    let run = "--horizon 4 --input-size 8 --hidden-size 8 --batch-size 16 --split 40/10/10 --output m.st --run-dir r";
    folder.ok(&format!("train --data x.csv --target y --hist-exog rain --futr-exog weekday {run} {flags}"));
    let parts = Parts::of(&folder.read("m.st"));
    parts.learned().into_iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect()
}

#[test]
fn rows_after_the_validation_rows_change_nothing() {
    // Best epochs and early stopping are chosen on the validation rows, which stay as they are.
    let flags = "--epochs 6 --patience 2 --scaler standard";
    let model = learned(data(|_| false), flags);
    assert_eq!(model, learned(data(|i| (50..60).contains(&i)), flags), "test rows");
    assert_eq!(model, learned(data(|i| i >= 60), flags), "rows after the split");
    assert_ne!(model, learned(data(|i| i == 39), flags), "the last training row does count");
}

#[test]
fn validation_rows_choose_the_epoch_and_nothing_else() {
    // With a single epoch there is nothing to choose.
    for flags in [
        "--epochs 1 --scaler standard",
        "--epochs 1 --scaler minmax --window-scaler standard",
        "--epochs 1 --scaler robust --window-scaler identity",
    ] {
        let model = learned(data(|_| false), flags);
        assert_eq!(model, learned(data(|i| i >= 40), flags), "{flags}");
    }
}
