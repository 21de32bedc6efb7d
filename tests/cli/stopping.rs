//! The ends of a training run other than its last step.

use serde_json::Value;

use crate::tool::{Folder, daily, rows};

#[test]
fn early_stopping_keeps_the_best_epoch() {
    let folder = Folder::with_series();
    // No improvement is large enough, so the second validation is the second without one.
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --epochs 50 --patience 3 --min-delta 1000 --output m.st --run-dir r";
    let trained = folder.json(&format!("train --data s.csv {run}"));
    assert_eq!((&trained["stopped_by"], &trained["epochs"]), (&"early-stopping".into(), &4.into()), "{trained}");
    let history: Vec<Value> =
        folder.text("r/metrics.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let best = history
        .iter()
        .min_by(|a, b| a["val_loss"].as_f64().unwrap().total_cmp(&b["val_loss"].as_f64().unwrap()))
        .unwrap();
    assert_eq!((&trained["best_epoch"], &trained["val_loss"]), (&best["epoch"], &best["val_loss"]));
    // The weights are those of the best epoch: validation says the same as in training.
    let judged = folder.json("evaluate --model m.st --data s.csv --on val");
    let (scored, told) = (judged["scaled"]["mae"].as_f64().unwrap(), trained["val_mae"].as_f64().unwrap());
    assert!((scored - told).abs() < 1e-4, "{scored} by evaluate, {told} in training");
}

#[test]
fn a_loss_that_is_no_number_ends_with_code_1_and_advice() {
    let folder = Folder::with_series();
    let wild = "--optimizer sgd --lr 1e30 --gradient-clip 0 --scaler none --window-scaler identity --epochs 5";
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --batch-size 8 --output m.st --run-dir r";
    let ran = folder.run(&format!("train --data s.csv {run} {wild}"));
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    for part in ["error: the loss became", "step 2", "epoch 1", "smaller --lr"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let ran = folder.run(&format!("train --data s.csv {run} {wild} --json"));
    let error = &ran.json()["error"];
    assert_eq!((ran.code, error["kind"].as_str()), (Some(1), Some("non-finite-loss")));
    assert!(!folder.path("m.st").exists(), "a model of no epoch was saved");
}

#[test]
fn a_run_that_fails_later_saves_its_best_epoch() {
    let folder = Folder::with_series();
    // The rate rises with every step of the warm-up until the steps are too long.
    let wild = "--optimizer sgd --loss mse --lr 1e9 --warmup-steps 1000000000000 --gradient-clip 0 --scaler none \
                --window-scaler identity";
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --batch-size 8 --epochs 200 --patience 0 --output m.st --run-dir r";
    let ran = folder.run(&format!("train --data s.csv {run} {wild}"));
    if ran.code == Some(1) {
        assert!(ran.stderr.contains("were saved to m.st"), "{}", ran.stderr);
        let forecast = folder.ok("predict --model m.st --data s.csv --quiet").stdout;
        assert_eq!(rows(&forecast).len(), 5);
    } else {
        panic!("the run did not diverge: {ran:#?}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_with_its_best_weights() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let folder = Folder::new();
    folder.write("s.csv", daily(400));
    let run = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 8 --epochs 1000000 --patience 0 --output m.st --run-dir r --json";
    let mut child = Command::new(env!("CARGO_BIN_EXE_nhits"))
        .args(run.split_whitespace())
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let third = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("epoch 3/"));
    assert!(third.is_some(), "it ended before its third epoch");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // Keeps the pipe empty while the run ends.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("it did not stop within 30 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(status.code(), Some(0), "{stdout}");
    let trained: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(trained["stopped_by"], "interrupted");
    assert!(trained["epochs"].as_u64().is_some_and(|n| n >= 3), "{trained}");
    assert!(rest.join().unwrap().contains("stopping after this step"));
    assert_eq!(rows(&folder.ok("predict --model m.st --data s.csv --quiet").stdout).len(), 5);
}
