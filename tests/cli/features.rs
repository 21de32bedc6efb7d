//! Transforms and features from raw data to a forecast in its units.

use crate::bundles::Parts;
use crate::tool::{Folder, TINY, day, wave};
use serde_json::Value;

const FEATURES: &str =
    "lags=1,7;rolling_mean=5;rolling_std=5;ema=0.3;roc=1;calendar=dow,month;fourier=7:1;holidays=days.csv";

/// Two series, cut at a row, with rows for which `changed` holds far from what they were.
fn data(rows: usize, changed: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("unique_id,ds,y\n");
    for (s, id) in ["A", "B"].iter().enumerate() {
        for i in 0..rows {
            let off = if changed(i) { 1e4 * (1 + i % 3) as f64 } else { 0.0 };
            text.push_str(&format!("{id},{},{}\n", day(i), wave(i) * (s + 1) as f64 + off));
        }
    }
    text
}

/// A folder with `x.csv`, holidays, and `model.st` trained with these flags.
fn trained(flags: &str) -> Folder {
    let folder = Folder::new();
    folder.write("x.csv", data(70, |_| false));
    folder.write("days.csv", format!("ds,name\n{},one\n{},ahead\n", day(20), day(71)));
    folder.ok(&format!("train --data x.csv {TINY} --split 48/10/12 {flags}"));
    folder
}

fn values(forecasts: &Value, column: &str) -> Vec<f64> {
    forecasts["forecasts"].as_array().unwrap().iter().map(|row| row[column].as_f64().unwrap()).collect()
}

#[test]
fn a_model_makes_its_columns_from_raw_data_again() {
    let folder = trained(&format!("--transform log1p,difference=7 --features {FEATURES}"));
    let manifest = Parts::of(&folder.read("model.st")).manifest;
    assert_eq!(manifest["format_version"], 2);
    assert_eq!(manifest["features"]["holidays"], serde_json::json!([day(20), day(71)]));
    assert_eq!(manifest["model"]["hist_exog"], 6);
    assert_eq!(manifest["model"]["futr_exog"], 5);
    // The file of holidays is in the bundle now.
    std::fs::remove_file(folder.path("days.csv")).unwrap();
    let now = folder.json("predict --model model.st --data x.csv");
    let found = values(&now, "NHITS");
    assert_eq!(found.len(), 8);
    // In the units of the data: A around 10 to 17, B twice that.
    assert!(found[..4].iter().all(|v| (5.0..25.0).contains(v)), "{found:?}");
    assert!(found[4..].iter().all(|v| (10.0..50.0).contains(v)), "{found:?}");
    let judged = folder.json("evaluate --model model.st --data x.csv");
    assert_eq!(judged["n_windows"], 18);
    assert!(judged["original"]["mae"].as_f64().unwrap() < 20.0);
    assert_eq!(judged["original"]["n"], 72);
}

#[test]
fn a_forecast_does_not_depend_on_what_comes_after_its_origin() {
    let transforms = "--transform box-cox,detrend,deseasonalize=7,difference=7,outliers=iqr:3:previous";
    let folder = trained(&format!("{transforms} --features {FEATURES}"));
    folder.write("short.csv", data(60, |_| false));
    folder.write("odd.csv", data(70, |i| i >= 60));
    let short = values(&folder.json("predict --model model.st --data short.csv"), "NHITS");
    let back = values(&folder.json("predict --model model.st --data x.csv --window 10"), "NHITS");
    let odd = values(&folder.json("predict --model model.st --data odd.csv --window 10"), "NHITS");
    assert_eq!(short, back);
    assert_eq!(short, odd);
    // Fresh data need not begin where the training data did: seasons and lines stand on the calendar.
    let text = folder.text("x.csv");
    let late: Vec<&str> =
        text.lines().enumerate().filter(|(i, _)| *i == 0 || (*i - 1) % 70 >= 20).map(|l| l.1).collect();
    folder.write("late.csv", late.join("\n"));
    let whole = values(&folder.json("predict --model model.st --data x.csv"), "NHITS");
    let late = values(&folder.json("predict --model model.st --data late.csv"), "NHITS");
    // The moving averages of the whole history differ by a little.
    assert!(whole.iter().zip(&late).all(|(a, b)| (a - b).abs() < 0.02 * a.abs()), "{whole:?} {late:?}");
}

#[test]
fn rows_after_the_training_rows_do_not_reach_a_fit() {
    let learned = |text: String| {
        let folder = Folder::new();
        folder.write("x.csv", text);
        folder.ok(&format!(
            "train --data x.csv {TINY} --split 48/10/12 --scaler standard --keep last --transform \
             winsorize,box-cox,detrend,deseasonalize=7,difference --features lags=1;rolling_mean=3;calendar=dow"
        ));
        let parts = Parts::of(&folder.read("model.st"));
        assert!(parts.tensors.contains_key("series.target.3"));
        parts.learned().into_iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect::<Vec<_>>()
    };
    let model = learned(data(70, |_| false));
    assert_eq!(model, learned(data(70, |i| i >= 48)));
    assert_ne!(model, learned(data(70, |i| i == 47)));
}

#[test]
fn intervals_are_undone_with_the_points_and_stay_in_order() {
    let folder = trained("--transform log,difference=1 --level 80");
    let forecasts = folder.json("predict --model model.st --data x.csv --level 80");
    let [low, median, high] = ["NHITS-lo-80", "NHITS-median", "NHITS-hi-80"].map(|c| values(&forecasts, c));
    for i in 0..8 {
        // Two steps of training do not put every quantile in its place; the transforms leave the order as it is.
        assert!(low[i] > 0.0 && median[i] > 0.0 && high[i] > 0.0, "{low:?} {median:?} {high:?}");
    }
    // The differences are those of the logarithms, so a forecast begins at the last value and not at 0.
    assert!((median[0] / wave(69) - 1.0).abs() < 0.5, "{median:?}");
}

#[test]
fn the_file_and_the_flags_say_the_same() {
    let folder = trained("");
    assert_eq!(Parts::of(&folder.read("model.st")).manifest["format_version"], 1);
    assert!(Parts::of(&folder.read("model.st")).manifest.get("features").is_none());
    folder.write(
        "e.toml",
        "[transform]\ntarget = [{ name = \"log1p\" }, { name = \"difference\", lag = 24 }]\n\
         [features]\nlags = [1, 7]\ncalendar = [\"dow\"]\nfourier = [\"24:3\"]\n",
    );
    let file = folder.json("config print --config e.toml");
    let flags =
        folder.json("config print --transform log1p,difference=24 --features lags=1,7;calendar=dow;fourier=24:3");
    assert_eq!(file, flags);
    assert_eq!(flags["transform"]["target"][1]["lag"], 24);
}

#[test]
fn the_columns_are_written_as_the_network_sees_them() {
    let folder = trained("");
    let told = folder.json(&format!("data features x.csv --features {FEATURES} --transform log --ahead 2 -o f.csv"));
    assert_eq!((told["rows"].as_u64(), told["n_series"].as_u64()), (Some(144), Some(2)));
    let text = folder.text("f.csv");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let expected = "unique_id,ds,y,y_transformed,lag_1,lag_7,rolling_mean_5,rolling_std_5,ema_0.3,roc_1,dow,month,\
                    fourier_7_sin1,fourier_7_cos1,holiday";
    assert_eq!(names.join(","), expected);
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    let cell =
        |row: usize, name: &str| rows[row][names.iter().position(|n| *n == name).unwrap()].parse::<f64>().unwrap();
    assert!(cell(0, "lag_1").is_nan());
    assert_eq!(cell(9, "lag_7"), wave(2));
    assert_eq!(cell(9, "y_transformed"), wave(9).ln());
    let mean = (5..10).map(wave).sum::<f64>() / 5.0;
    assert!((cell(9, "rolling_mean_5") - mean).abs() < 1e-12);
    // 2020-01-01 is a Wednesday.
    assert_eq!((cell(0, "dow"), cell(20, "holiday"), cell(21, "holiday")), (2.0 / 6.0 - 0.5, 1.0, 0.0));
    // Beyond the end only what is known ahead has values.
    assert_eq!(rows[71][1], day(71));
    assert!(cell(71, "y").is_nan() && cell(71, "lag_1").is_nan());
    assert_eq!((cell(71, "holiday"), cell(70, "holiday")), (1.0, 0.0));
    assert!(
        folder.ok("data features x.csv --features lags=1").stdout.starts_with("unique_id,ds,y,lag_1\nA,2020-01-01,")
    );
    assert_eq!(folder.json("data features x.csv --features lags=1")["columns"], serde_json::json!(["y", "lag_1"]));
}

#[test]
fn what_cannot_be_made_is_said_with_its_remedy() {
    let folder = Folder::new();
    folder.write("x.csv", data(70, |_| false));
    folder.write("n.csv", data(70, |_| false).replace("y\n", "lag_1\n"));
    folder.write("zero.csv", data(70, |_| false).replacen(&wave(30).to_string(), "0", 1));
    folder.write("bad.csv", "ds\n2020-01-01\nEaster\n");
    for (args, parts) in [
        ("--features lag=1", &["features = lag=1", "did you mean `lags=...`?"][..]),
        ("--features lags=0", &["features.lags = 0", "at least 1"]),
        ("--features holidays=none.csv", &["none.csv"]),
        ("--features holidays=bad.csv", &["bad.csv", "line 3", "Easter"]),
        ("--transform log2", &["transform.target = log2", "log"]),
        ("--transform difference=0", &["transform.target.lag = 0"]),
        ("--data n.csv --target lag_1 --features lags=1", &["`lag_1` already"]),
        ("--data zero.csv --transform log", &["series `A`", "row 30", "log cannot take 0", "log1p takes zeros"]),
    ] {
        let data = if args.contains("--data") { "" } else { "--data x.csv " };
        let ran = folder.run(&format!("train {data}{TINY} {args}"));
        assert_eq!(ran.code, Some(2), "{args}: {ran:#?}");
        for part in parts {
            assert!(ran.stderr.contains(part), "{args}: no {part} in {}", ran.stderr);
        }
    }
    let ran = folder.run("data features x.csv");
    assert!(ran.code == Some(2) && ran.stderr.contains("--features"), "{ran:#?}");
}

#[test]
fn a_model_with_transforms_and_features_is_rounded_on_what_it_reads() {
    let folder = trained(&format!("--transform log1p,difference=7 --features {FEATURES}"));
    let data = "--data x.csv --split 48/10/12";
    // Ranges of calibration windows that were not transformed, or had no features, would cut nearly everything off.
    let rounded = "--activations minmax --max-degradation 20%";
    let report = folder.json(&format!("quantize --model model.st {data} {rounded} --output int8.st"));
    assert_eq!(report["passed"], true, "{report}");
    let forecasts = |model: &str| values(&folder.json(&format!("predict --model {model} --data x.csv")), "NHITS");
    let (float, int8) = (forecasts("model.st"), forecasts("int8.st"));
    let spread = float.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (a, b) in float.iter().zip(&int8) {
        assert!((a - b).abs() < 0.1 * spread, "{float:?} {int8:?}");
    }
    assert_ne!(float, int8);
}
