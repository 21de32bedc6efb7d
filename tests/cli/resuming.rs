//! Runs that are killed, interrupted or starved of disk, and go on: `--resume` ends with the bytes of the straight run.

use std::process::{Command, Stdio};
use std::time::Duration;

use nhits::train::{CheckpointError, CheckpointFolder};

use crate::tool::{Folder, daily};

/// A run of 40 steps, dropout on, that takes no time but for its checkpoints.
const RUN: &str = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 8 --dropout 0.2 --batch-size 16 \
                   --max-steps 40 --patience 0 --seed 5 --dashboard none";

fn with_straight_run() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    folder.ok(&format!("{RUN} --run-dir straight --checkpoint-every never"));
    let bytes = folder.read("straight/model.safetensors");
    (folder, bytes)
}

/// Kills the binary after so many milliseconds, unless it is done before; says whether it was killed.
fn killed_after(folder: &Folder, args: &str, millis: u64) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nhits"))
        .args(args.split_whitespace())
        .current_dir(folder.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    // On Unix this is SIGKILL: nothing in the program can prepare for it.
    let killed = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(killed || status.success(), "{args}: {status}");
    killed && !status.success()
}

#[test]
fn kill_9_at_random_moments_leaves_a_good_checkpoint_and_the_same_model() {
    let (folder, straight) = with_straight_run();
    let kills: usize = std::env::var("NHITS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let (mut done, mut runs, mut random) = (0, 0, 12345u64);
    while done < kills {
        let dir = format!("run{runs}");
        runs += 1;
        let mut begun = false;
        for attempt in 0.. {
            assert!(attempt < 20 * kills + 100, "no end in sight");
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let millis = 15 + (random >> 33) % 350;
            // A checkpoint after every step: most of the time of such a run is spent writing them.
            let resume = if begun { "--resume" } else { "" };
            let args = format!("{RUN} --run-dir {dir} --checkpoint-every 1step {resume}");
            let killed = killed_after(&folder, &args, if done < kills { millis } else { 60_000 });
            let checkpoints = CheckpointFolder::new(folder.path(&format!("{dir}/checkpoints")));
            match checkpoints.newest() {
                Ok((_, checkpoint)) => {
                    assert!(checkpoint.state.step <= 40);
                    begun = true;
                }
                Err(CheckpointError::None { .. }) => assert!(!begun, "the last good checkpoint was lost"),
                Err(error) => panic!("{error}"),
            }
            if !killed {
                break;
            }
            done += 1;
        }
        assert!(folder.read(&format!("{dir}/model.safetensors")) == straight, "another model after {done} kills");
    }
    println!("{done} kills in {runs} runs");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on_from_there() {
    saves_and_goes_on("-INT");
}

/// Schedulers and containers send this one.
#[cfg(unix)]
#[test]
fn sigterm_saves_and_the_run_goes_on_from_there() {
    saves_and_goes_on("-TERM");
}

#[cfg(unix)]
fn saves_and_goes_on(signal: &str) {
    let (folder, straight) = with_straight_run();
    let child = Command::new(env!("CARGO_BIN_EXE_nhits"))
        .args(RUN.split_whitespace())
        .args(["--run-dir", "r", "--checkpoint-every", "1step", "--json"])
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while CheckpointFolder::new(folder.path("r/checkpoints")).list().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(2));
    }
    Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let stopped: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // A fast machine may have done all steps before the signal came.
    let steps = stopped["steps"].as_u64().unwrap();
    assert!(stopped["stopped_by"] == "interrupted" || steps == 40, "{stopped}");
    let resumed = folder.json(&format!("{RUN} --run-dir r --resume"));
    assert_eq!(resumed["resumed_at"], stopped["steps"]);
    assert_eq!((&resumed["steps"], &resumed["stopped_by"]), (&40.into(), &"finished".into()));
    assert!(folder.read("r/model.safetensors") == straight);
    // The metrics are those of the whole run.
    assert_eq!(folder.text("r/metrics.jsonl").lines().count(), folder.text("straight/metrics.jsonl").lines().count());
}

#[test]
fn the_time_limit_stops_a_run_that_goes_on_later() {
    let (folder, straight) = with_straight_run();
    let stopped = folder.json(&format!("{RUN} --run-dir r --max-time 0.000001s"));
    assert_eq!((&stopped["stopped_by"], &stopped["steps"]), (&"time-limit".into(), &1.into()));
    // Another limit is no other run.
    let resumed = folder.json(&format!("{RUN} --run-dir r --resume --max-time 1h"));
    assert_eq!((&resumed["resumed_at"], &resumed["steps"]), (&1.into(), &40.into()));
    let weights = |bytes: &[u8]| nhits::bundle::Bundle::from_bytes(bytes, "m".as_ref()).unwrap().weights;
    assert!(weights(&folder.read("r/model.safetensors")) == weights(&straight));
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_that_was_saved() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    let run = RUN.replace("--hidden-size 8", "--hidden-size 64");
    folder.ok(&format!("{run} --run-dir r --checkpoint-every 20steps"));
    let before = CheckpointFolder::new(folder.path("r/checkpoints")).newest().unwrap();
    // No file may grow beyond what the model takes: checkpoints, which hold it several times, cannot be written.
    let limit = folder.read("r/model.safetensors").len() / 1024 + 8;
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_nhits")])
        .args(run.split_whitespace())
        .args(["--run-dir", "r", "--checkpoint-every", "1step"])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("cannot write the checkpoint") && told.contains("training goes on"), "{told}");
    let after = CheckpointFolder::new(folder.path("r/checkpoints")).newest().unwrap();
    assert_eq!(
        (before.0, before.1.state.step),
        (after.0, after.1.state.step),
        "the last good checkpoint is the newest"
    );
    assert!(before.1 == after.1, "its content changed");
    let litter = std::fs::read_dir(folder.path("r/checkpoints")).unwrap().flatten();
    assert!(litter.into_iter().all(|f| f.file_name().to_string_lossy().ends_with(".ckpt")));
}

#[test]
fn what_cannot_be_resumed_says_why() {
    let (folder, _) = with_straight_run();
    let ran = folder.run(&format!("{RUN} --run-dir nowhere --resume"));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("there is no checkpoint in nowhere/checkpoints"), "{}", ran.stderr);
    folder.ok(&format!("{RUN} --run-dir r --checkpoint-every 20steps"));
    for (change, expected) in [
        ("--lr 0.1", "train.lr was 0.001, is 0.1"),
        ("--hidden-size 9", "model.mlp_units was"),
        ("--horizon 5", "model.horizon was 4, is 5"),
        ("--loss mse", "loss.name was \"mae\", is \"mse\""),
        ("--seed 6", "train.seed was 5, is 6"),
    ] {
        // The last of two flags of a name is refused by the parser: the change replaces the first.
        let flag = change.split(' ').next().unwrap();
        let words: Vec<&str> = RUN.split_whitespace().collect();
        let mut args = Vec::new();
        let mut i = 0;
        while i < words.len() {
            if words[i] == flag {
                i += 2;
                continue;
            }
            args.push(words[i]);
            i += 1;
        }
        let ran = folder.run(&format!("{} {change} --run-dir r --resume", args.join(" ")));
        assert_eq!(ran.code, Some(2), "{change}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{change}: {}", ran.stderr);
    }
    folder.write("s.csv", daily(121));
    let ran = folder.run(&format!("{RUN} --run-dir r --resume"));
    assert!(ran.code == Some(2) && ran.stderr.contains("the data was"), "{}", ran.stderr);
    let ran = folder.run(&format!("{RUN} --run-dir r --resume straight/model.safetensors"));
    assert!(ran.code == Some(2) && ran.stderr.contains("a model (bundle) is no checkpoint"), "{}", ran.stderr);
}

#[test]
fn logs_and_monitors_write_what_they_promise() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    folder.ok(&format!("{RUN} --run-dir r --log-csv log.csv --gradient-monitor 10"));
    let csv = folder.text("log.csv");
    let jsonl = folder.text("r/metrics.jsonl");
    assert_eq!(csv.lines().count(), jsonl.lines().count() + 1);
    for (line, row) in jsonl.lines().zip(csv.lines().skip(1)) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields: Vec<&str> = row.split(',').collect();
        for (at, name) in
            ["epoch", "step", "train_loss", "train_mae", "train_rmse", "val_loss", "val_mae", "val_rmse", "lr"]
                .into_iter()
                .enumerate()
        {
            assert_eq!(fields[at].parse::<f64>().unwrap(), value[name].as_f64().unwrap(), "{name}");
        }
    }
    let gradients: Vec<serde_json::Value> =
        folder.text("r/gradients.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let steps: std::collections::BTreeSet<u64> = gradients.iter().map(|g| g["step"].as_u64().unwrap()).collect();
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), [1, 10, 20, 30, 40]);
    assert!(gradients.iter().all(|g| g["max_abs"].as_f64() >= g["mean_abs"].as_f64()));
    let ran = folder.ok(&format!(
        "{} --gradient-monitor 1 --gradient-clip 0 --optimizer sgd --lr 1e-6 --scaler none --window-scaler identity --loss mse --run-dir r2",
        RUN.replace("--max-steps 40", "--max-steps 3")
    ));
    assert!(ran.stderr.contains("gradients explode") && ran.stderr.contains("--gradient-clip"), "{}", ran.stderr);
}

#[test]
fn determinism_is_verified_on_request() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    let found = folder.json(&format!("{RUN} --run-dir r --verify-determinism"));
    assert_eq!((&found["deterministic"], &found["independent_of_threads"]), (&true.into(), &true.into()), "{found}");
    assert!(!folder.path("r/model.safetensors").exists(), "nothing is trained");
}

#[test]
fn the_checklist_of_a_run_stands_on_what_was_measured() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    let trained = folder.json(&format!("{RUN} --run-dir r"));
    let checks = trained["checks"].as_array().unwrap();
    let named =
        |name: &str| checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {checks:?}"));
    assert_eq!(named("the training loss falls")["ok"], true);
    let naive = named("better than repeating the last value")["measured"].as_str().unwrap();
    assert!(naive.contains(&format!("{:.5}", trained["val_mae"].as_f64().unwrap())), "{naive}");
    // A rate that learns nothing is found out, with advice.
    let ran = folder.ok(&format!("{RUN} --lr 1e-12 --run-dir r2"));
    assert!(ran.stderr.contains("look  the training loss falls") && ran.stderr.contains("--find-lr"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_at_once() {
    use std::io::{BufRead, BufReader};

    let folder = Folder::new();
    folder.write("s.csv", daily(5000));
    // Steps of the better part of a second: the first Ctrl-C waits for the one under way, the second does not.
    let run =
        "train --data s.csv --horizon 24 --input-size 168 --batch-size 4096 --epochs 50 --run-dir r --dashboard none";
    let mut child = Command::new(env!("CARGO_BIN_EXE_nhits"))
        .args(run.split_whitespace())
        .current_dir(folder.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let interrupt = |child: &std::process::Child| {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    };
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|l| l.starts_with("backend")), "it ended before it began");
    // The handler is there some milliseconds after the announcement.
    std::thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    assert!(lines.any(|l| l.contains("stopping after this step")));
    interrupt(&child);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!folder.path("r/model.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_keeps_its_checkpoints() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, straight) = with_straight_run();
    folder.ok(&format!("{RUN} --run-dir r --checkpoint-every 20steps"));
    let checkpoints = folder.path("r/checkpoints");
    let before = CheckpointFolder::new(&checkpoints).list().unwrap();
    std::fs::set_permissions(&checkpoints, std::fs::Permissions::from_mode(0o555)).unwrap();
    let root = std::fs::write(checkpoints.join("probe"), "").is_ok();
    if root {
        // Rights do not bind the superuser: what can be seen here is that resuming works.
        std::fs::remove_file(checkpoints.join("probe")).unwrap();
    }
    let ran = folder.ok(&format!("{RUN} --run-dir r --resume --checkpoint-every 1step"));
    let after = CheckpointFolder::new(&checkpoints).list().unwrap();
    std::fs::set_permissions(&checkpoints, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(root || before == after, "{}", ran.stderr);
    assert!(folder.read("r/model.safetensors") == straight);
}

#[test]
fn checkpoints_are_kept_as_the_flags_say() {
    let (folder, _) = with_straight_run();
    let steps = |dir: &str| -> Vec<usize> {
        let files = CheckpointFolder::new(folder.path(&format!("{dir}/checkpoints"))).list().unwrap();
        let steps = files.iter().map(|f| nhits::train::Checkpoint::load(f).unwrap().state.step);
        steps.rev().collect()
    };
    folder.ok(&format!("{RUN} --run-dir r --checkpoint-every 10steps --keep-checkpoints 3"));
    assert_eq!(steps("r"), [20, 30, 40]);
    folder.ok(&format!("{RUN} --run-dir never --checkpoint-every never"));
    assert!(steps("never").is_empty());
    // A rate this large makes the validation loss jump about: not every epoch is the best so far.
    let wild = RUN.replace("--max-steps 40", "--max-steps 60 --lr 0.05");
    for (monitor, field) in [("val-loss", "val_loss"), ("val-rmse", "val_rmse"), ("train-loss", "train_loss")] {
        let flags = format!("--save-best-only --checkpoint-monitor {monitor} --keep-checkpoints 99");
        folder.ok(&format!("{wild} --run-dir {monitor} {flags}"));
        let (mut best, mut expected, mut epochs) = (f64::INFINITY, Vec::new(), 0);
        for line in folder.text(&format!("{monitor}/metrics.jsonl")).lines() {
            let epoch: serde_json::Value = serde_json::from_str(line).unwrap();
            epochs += 1;
            if epoch[field].as_f64().unwrap() < best {
                best = epoch[field].as_f64().unwrap();
                expected.push(epoch["step"].as_u64().unwrap() as usize);
            }
        }
        assert!(expected.len() < epochs, "{monitor}: every epoch is the best, nothing is shown");
        assert_eq!(steps(monitor), expected, "{monitor}");
    }
}

#[test]
fn a_loss_that_is_no_number_is_rolled_back_on_request() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    let wild = "--optimizer sgd --lr 1e20 --gradient-clip 0 --on-nan rollback";
    let ran = folder.run(&format!("{} {wild} --run-dir r --json", RUN.replace("--max-steps 40", "--max-steps 4")));
    let value = ran.json();
    assert!(value["rollbacks"].as_u64().is_some_and(|n| n > 0), "{ran:?}");
    assert!(ran.stderr.contains("going back to the last good weights"), "{}", ran.stderr);
    let checks = value["checks"].as_array().unwrap();
    assert!(checks.iter().any(|c| c["name"] == "every loss was a number" && c["ok"] == false), "{checks:?}");
}
