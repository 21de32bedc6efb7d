//! `nhits train` and what it leaves behind.

use serde_json::Value;

use crate::bundles::Parts;
use crate::tool::{Folder, TINY, column, daily, day, hour, keys, panel, rows, wave};

const TRAIN_KEYS: [&str; 22] = [
    "bundle",
    "run_dir",
    "backend",
    "device",
    "n_series",
    "series",
    "n_windows",
    "n_parameters",
    "steps",
    "epochs",
    "best_epoch",
    "train_loss",
    "val_loss",
    "val_mae",
    "wall_s",
    "steps_per_s",
    "windows_per_s",
    "peak_rss_mb",
    "stopped_by",
    "resumed_at",
    "rollbacks",
    "checks",
];

#[test]
fn generated_series_go_from_file_to_judged_forecast() {
    let folder = Folder::new();
    folder.ok("data generate trend --n 120 --n-series 2 --freq D --period 7 --start 2022-01-01 --output g.csv");
    let trained =
        folder.json("train --data g.csv --horizon 7 --hidden-size 16 --epochs 3 --split 80/20/20 --run-dir r");
    assert_eq!(keys(&trained), TRAIN_KEYS);
    assert_eq!(trained["bundle"], "r/model.safetensors");
    assert_eq!(
        (&trained["n_series"], &trained["epochs"], &trained["stopped_by"]),
        (&2.into(), &3.into(), &"finished".into())
    );
    for name in ["train_loss", "val_loss", "val_mae", "wall_s", "steps_per_s", "windows_per_s"] {
        assert!(trained[name].as_f64().is_some_and(|v| v > 0.0 && v.is_finite()), "{name}: {trained}");
    }
    assert_eq!(folder.text("r/metrics.jsonl").lines().count(), 3);
    // The run can be repeated from what it wrote down.
    let again = folder.json("train --config r/config.toml --run-dir r2");
    assert_eq!(again["val_loss"], trained["val_loss"]);
    assert_eq!(folder.read("r/model.safetensors"), folder.read("r2/model.safetensors"));

    let judged = folder.json("evaluate --model r/model.safetensors --data g.csv --output judged.json");
    for key in ["n_series", "n_windows", "horizon", "scaled", "original", "per_step", "baselines", "wall_s"] {
        assert!(judged.get(key).is_some(), "{key} is not in {:?}", keys(&judged));
    }
    assert_eq!((&judged["n_windows"], &judged["horizon"]), (&28.into(), &7.into()), "20 - 7 + 1 windows of 2 series");
    for key in ["mae", "rmse", "mape", "smape", "mase", "r2"] {
        assert!(judged["original"][key].is_number(), "{key}");
    }
    for key in ["mse", "mae"] {
        assert!(judged["scaled"][key].is_number(), "{key}");
    }
    assert_eq!(judged["per_step"].as_array().unwrap().len(), 7);
    for name in ["naive", "seasonal_naive", "drift"] {
        assert!(judged["baselines"][name]["scaled"]["mae"].is_number(), "{name}");
    }
    let written: Value = serde_json::from_str(&folder.text("judged.json")).unwrap();
    assert_eq!(written["scaled"], judged["scaled"]);
    let table = folder.ok("evaluate --model r/model.safetensors --data g.csv --on val").stdout;
    assert!(table.contains("NHITS") && table.contains("seasonal_naive"), "{table}");
}

#[test]
fn a_dry_run_announces_and_trains_nothing() {
    let folder = Folder::with_series();
    let ran = folder.ok(&format!("train --data s.csv {TINY} --dry-run --json"));
    let plan = ran.json();
    assert_eq!(plan["dry_run"], true);
    assert_eq!((&plan["n_series"], &plan["steps"]), (&1.into(), &2.into()));
    for part in ["1 series, 60 rows", "frequency D", "parameters", "passes over the windows", "memory", "baseline"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // What the expected memory is made of; there is no validation here.
    for part in ["data_mb", "weights_mb", "layers_mb", "windows_mb"] {
        assert!(plan["memory"][part].as_f64().unwrap() > 0.0, "{part}: {}", plan["memory"]);
    }
    let batch_of = |n: usize, part: &str| {
        let plan = folder.json(&format!("train --data s.csv {TINY} --batch-size {n} --dry-run"));
        plan["memory"][part].as_f64().unwrap()
    };
    for part in ["layers_mb", "windows_mb"] {
        assert!((batch_of(16, part) / batch_of(8, part) - 2.0).abs() < 1e-9, "{part}");
    }
    assert!(!folder.path("model.st").exists() && !folder.path("run").exists());
    // Steps beyond any count are announced like others.
    let run = "--horizon 4 --hidden-size 8 --epochs 1000000 --steps-per-epoch 18446744073709551615 --dry-run";
    assert_eq!(folder.json(&format!("train --data s.csv {run}"))["steps"], u64::MAX);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = Folder::with_series();
    let train = |name: &str, flags: &str| {
        let run = "--horizon 4 --input-size 12 --hidden-size 8 --max-steps 6 --batch-size 16 --run-dir run";
        folder.ok(&format!("train --data s.csv {run} --output {name} {flags}"));
        folder.read(name)
    };
    let first = train("a.st", "--threads 2");
    assert_eq!(first, train("b.st", "--threads 2"), "the same run twice");
    let other = train("c.st", "--threads 2 --seed 2");
    assert_ne!(
        Parts::of(&first).tensor("blocks.0.layers.0.weight"),
        Parts::of(&other).tensor("blocks.0.layers.0.weight")
    );
    // Sums are taken share by share, whoever computes the shares.
    assert_eq!(first, train("d.st", "--threads 1"), "another number of threads");
}

#[test]
fn text_parquet_gzip_and_stdin_train_the_same_model() {
    let folder = Folder::with_series();
    let text = daily(60);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, text.as_bytes()).unwrap();
    folder.write("s.csv.gz", gz.finish().unwrap());
    // Semicolons, quotes and line ends of another system.
    folder.write("w.csv", text.replace(',', ";").replace("A;", "\"A\";").replace('\n', "\r\n"));
    let run = "--horizon 4 --input-size 12 --hidden-size 8 --max-steps 2 --run-dir run --output";
    folder.ok(&format!("train --data s.csv {run} plain.st"));
    folder.ok(&format!("train --data s.csv.gz {run} gz.st"));
    folder.ok(&format!("train --data w.csv {run} w.st"));
    let ran = folder.run_on(&format!("train --data - {run} stdin.st"), text);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let learned = |name: &str| {
        let bytes = folder.read(name);
        let parts = Parts::of(&bytes);
        parts.learned().into_iter().map(|(n, b)| (n.to_string(), b.to_vec())).collect::<Vec<_>>()
    };
    for name in ["gz.st", "w.st", "stdin.st"] {
        assert_eq!(learned(name), learned("plain.st"), "{name}");
    }
    // Forecasts written as parquet are data like any other.
    folder.ok("predict --model plain.st --data s.csv --output f.parquet");
    let found = folder.json("data inspect f.parquet");
    assert_eq!((&found["format"], &found["n_rows"]), (&"parquet".into(), &4.into()));
    assert_eq!(found["columns"][2]["name"], "NHITS");
}

#[test]
fn wide_columns_are_series_and_forecasts_keep_their_names() {
    let folder = Folder::new();
    let line = |i: usize| format!("{},{},{},{}\n", hour(i), wave(i), 100.0 - wave(i), i % 3);
    folder.write("wide.csv", (0..80).fold("date,A,B,n\n".to_string(), |text, i| text + &line(i)));
    let trained = folder.json(&format!("train --data wide.csv --targets A,B {TINY}"));
    assert_eq!(trained["n_series"], 2);
    let forecast = folder.ok("predict --model model.st --data wide.csv --quiet").stdout;
    let ids: Vec<String> = rows(&forecast)[1..].iter().map(|r| r[0].clone()).collect();
    assert_eq!(ids, ["A", "A", "A", "A", "B", "B", "B", "B"]);
    assert_eq!(rows(&forecast)[1][1], hour(80), "the calendar goes on");
    let values = column(&forecast, "NHITS");
    assert!(values[..4].iter().all(|v| *v < 50.0) && values[4..].iter().all(|v| *v > 50.0), "{values:?}");
    // One column of it, and all of it.
    assert_eq!(folder.json(&format!("train --data wide.csv --target B {TINY}"))["n_series"], 1);
    assert_eq!(folder.json(&format!("train --data wide.csv --targets all {TINY}"))["n_series"], 3);
}

#[test]
fn ragged_and_short_series_train_together() {
    let folder = Folder::new();
    folder.write("r.csv", panel(&[("long", 60), ("middle", 25), ("short", 6)]));
    let trained = folder.json(&format!("train --data r.csv {TINY}"));
    assert_eq!(trained["n_series"], 3);
    let forecast = folder.ok("predict --model model.st --data r.csv --quiet").stdout;
    let stamps: Vec<String> = rows(&forecast)[1..].iter().step_by(4).map(|r| r[1].clone()).collect();
    assert_eq!(stamps, [day(60), day(25), day(6)]);
    assert!(column(&forecast, "NHITS").iter().all(|v| v.is_finite()));
    // A series that the model never saw.
    folder.write("new.csv", panel(&[("new", 20)]));
    assert_eq!(rows(&folder.ok("predict --model model.st --data new.csv --quiet").stdout).len(), 5);
}

#[test]
fn masked_and_filled_values_train() {
    let folder = Folder::new();
    let holes = |i: usize| if i % 11 == 5 { String::new() } else { wave(i).to_string() };
    folder.write("m.csv", (0..60).fold("ds,y\n".to_string(), |text, i| format!("{text}{},{}\n", day(i), holes(i))));
    for missing in ["mask", "interpolate", "ffill", "drop"] {
        let trained = folder.json(&format!("train --data m.csv --missing {missing} {TINY}"));
        assert!(trained["val_mae"].as_f64().is_some_and(f64::is_finite), "{missing}: {trained}");
        let forecast = folder.ok("predict --model model.st --data m.csv --quiet").stdout;
        assert!(column(&forecast, "NHITS").iter().all(|v| v.is_finite()), "{missing}: {forecast}");
    }
    // Rows that are absent.
    let all = daily(60);
    folder
        .write("g.csv", all.lines().filter(|l| !l.contains("2020-01-1")).map(|l| format!("{l}\n")).collect::<String>());
    for gaps in ["fill", "mask", "observed"] {
        folder.ok(&format!("train --data g.csv --gaps {gaps} {TINY}"));
    }
}

#[test]
fn every_loss_scaler_and_optimizer_trains() {
    let folder = Folder::with_series();
    for flags in [
        "--loss mse",
        "--loss rmse",
        "--loss mape",
        "--loss smape",
        "--loss mase --loss-season 7",
        "--loss huber --huber-delta 0.5",
        "--loss quantile --quantiles 0.9",
        "--scaler none --window-scaler identity",
        "--scaler robust --window-scaler minmax",
        "--scaler minmax --window-scaler revin",
        "--scaler robust-iqr --window-scaler invariant",
        "--window-scaler robust-floor --activation prelu",
        "--optimizer sgd --momentum 0.5 --nesterov",
        "--optimizer rmsprop --weight-decay 0",
        "--optimizer adam",
        "--pooling avg --interpolation cubic --n-stacks 2",
        "--interpolation nearest --n-blocks 2,1 --mlp-units 8,4",
        "--steps-per-epoch 1 --window-stride 2 --dropout 0 --gradient-clip 0",
        "--val-split 0",
        "--preset short-series",
    ] {
        let run = TINY.replace("--hidden-size 8", if flags.contains("--mlp-units") { "" } else { "--hidden-size 8" });
        let trained = folder.json(&format!("train --data s.csv {run} {flags}"));
        assert!(trained["train_loss"].as_f64().is_some_and(f64::is_finite), "{flags}: {trained}");
        let forecast = folder.ok("predict --model model.st --data s.csv --quiet").stdout;
        assert_eq!(rows(&forecast).len(), 5, "{flags}");
    }
}

#[test]
fn quiet_says_nothing_and_the_plain_run_says_every_epoch() {
    let folder = Folder::with_series();
    let quiet = folder.ok(&format!("train --data s.csv {TINY} --quiet"));
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("wrote model.st"), "{}", quiet.stdout);
    let loud = folder.ok(&format!("train --data s.csv {TINY} --dashboard plain"));
    assert!(loud.stderr.contains("epoch 1/"), "{}", loud.stderr);
    for args in ["predict --model model.st --data s.csv", "evaluate --model model.st --data s.csv --split 40/10/10"] {
        assert_eq!(folder.ok(&format!("{args} --quiet")).stderr, "", "{args}");
    }
}

#[test]
fn unsorted_rows_are_sorted_with_a_line_that_says_so() {
    let folder = Folder::with_series();
    folder.ok(&format!("train --data s.csv {TINY}"));
    let sorted = folder.read("model.st");
    let text = daily(60);
    let (head, body) = text.split_once('\n').unwrap();
    let reversed: Vec<&str> = body.lines().rev().collect();
    folder.write("s.csv", format!("{head}\n{}\n", reversed.join("\n")));
    let ran = folder.ok(&format!("train --data s.csv {TINY}"));
    assert!(ran.stderr.contains("sorted"), "{}", ran.stderr);
    let (a, b) = (Parts::of(&sorted), Parts::of(&folder.read("model.st")));
    assert_eq!(a.learned(), b.learned());
}
