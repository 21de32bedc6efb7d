//! The commands beside training and forecasting: data, backends, config, demo.

use serde_json::Value;

use crate::tool::{Folder, column, keys, rows};

#[test]
fn inspect_tells_what_is_in_a_file() {
    let folder = Folder::with_series();
    let found = folder.json("data inspect s.csv");
    assert_eq!(
        keys(&found),
        [
            "path",
            "format",
            "delimiter",
            "n_rows",
            "columns",
            "layout",
            "id_col",
            "time_col",
            "time_candidates",
            "target_candidates",
            "series",
            "values",
            "notes"
        ]
    );
    assert_eq!((found["n_rows"].as_u64(), found["layout"].as_str()), (Some(60), Some("long")));
    assert_eq!((found["series"]["freq"].as_str(), found["series"]["last"].as_str()), (Some("D"), Some("2020-02-29")));
    let report = folder.ok("data inspect --data s.csv").stdout;
    assert!(report.contains("60 rows, long layout") && report.contains("frequency D"), "{report}");
}

#[test]
fn check_lists_every_problem_and_says_so_in_its_exit_code() {
    let folder = Folder::with_series();
    assert_eq!(folder.json("data check s.csv")["ok"], true);
    folder.write("x.csv", "ds,y\n2020-01-01,1\n2020-01-01,2\n2020-01-02,\n2020-01-05,4\n2020-01-06,inf\n");
    let ran = folder.run("data check x.csv --json");
    assert_eq!(ran.code, Some(2));
    let found = ran.json();
    assert_eq!((found["ok"].as_bool(), found["problems"]["errors"].as_u64()), (Some(false), Some(4)), "{found}");
    for kind in ["duplicate", "missing-value", "gap", "infinite-value"] {
        assert_eq!(found["problems"]["by_kind"][kind], 1, "{kind}: {found}");
    }
    let report = folder.run("data check x.csv");
    assert!(report.code == Some(2) && report.stdout.contains("line 3") && report.stderr.is_empty(), "{report:#?}");
    // Policies decide what is a problem.
    let flags = "--duplicates first --missing mask --gaps observed";
    let left = folder.run(&format!("data check x.csv {flags} --json")).json();
    assert_eq!(left["problems"]["errors"], 1, "{left}");
}

#[test]
fn generate_makes_series_that_can_be_read_again() {
    let folder = Folder::new();
    for kind in ["sine", "trend", "random-walk", "ar", "ohlcv"] {
        let made = folder
            .json(&format!("data generate {kind} --n 30 --n-series 2 --freq D --start 2021-03-01 --output {kind}.csv"));
        assert_eq!((made["rows"].as_u64(), made["n_series"].as_u64()), (Some(60), Some(2)), "{kind}");
        let found = folder.json(&format!("data inspect {kind}.csv"));
        assert_eq!(
            (found["series"]["freq"].as_str(), found["series"]["first"].as_str()),
            (Some("D"), Some("2021-03-01")),
            "{kind}"
        );
    }
    // Alike with the same seed, on stdout as in a file; different with another.
    let one = folder.ok("data generate ar --n 30 --n-series 2 --freq D --start 2021-03-01").stdout;
    assert_eq!(one.trim_end(), folder.text("ar.csv").trim_end());
    let other = folder.ok("data generate ar --n 30 --n-series 2 --freq D --start 2021-03-01 --seed 2").stdout;
    assert_ne!(column(&one, "y"), column(&other, "y"));
    let counted = folder.ok("data generate sine --n 3 --start 5").stdout;
    assert_eq!(rows(&counted)[1..].iter().map(|r| r[1].clone()).collect::<Vec<_>>(), ["5", "6", "7"]);
}

#[test]
fn backends_pass_their_self_test() {
    let folder = Folder::new();
    let found = folder.json("backends");
    let taken = found["taken"].as_str().unwrap();
    let all = found["backends"].as_array().unwrap();
    let own = all.iter().find(|b| b["name"] == taken).unwrap();
    assert_eq!((&own["compiled_in"], &own["self_test"]["passed"]), (&Value::Bool(true), &Value::Bool(true)), "{found}");
    assert!(folder.ok("backends").stdout.contains("self-test passed"));
    assert_eq!(folder.json(&format!("backends --backend {taken} --device cpu"))["taken"], taken);
}

#[test]
fn a_printed_configuration_reads_back_as_itself() {
    let folder = Folder::new();
    let flags = "--preset long-horizon --data x.csv --horizon 7 --loss huber --huber-delta 0.5 --lr-schedule cosine --split 0.6/0.2/0.2 --seed 9";
    let printed = folder.ok(&format!("config print {flags}")).stdout;
    folder.write("c.toml", &printed);
    assert_eq!(folder.ok("config print --config c.toml").stdout, printed);
    let checked = folder.json("config check --config c.toml");
    assert_eq!(checked["valid"], true);
    let config = &checked["config"];
    assert_eq!(
        (&config["split"], &config["model"]["horizon"], &config["train"]["seed"]),
        (&"0.6/0.2/0.2".into(), &7.into(), &9.into())
    );
    // A flag overrides the file, the file the preset.
    let other = folder.json("config print --config c.toml --preset short-series --horizon 3");
    assert_eq!((&other["model"]["horizon"], &other["loss"]["name"]), (&3.into(), &"huber".into()));
    let schema = folder.json("config schema");
    for section in keys(config) {
        assert!(schema["properties"][section].is_object(), "{section} is not in the schema");
    }
}

#[test]
fn the_demo_trains_judges_and_forecasts_in_its_folder_only() {
    let folder = Folder::new();
    let report = folder.ok("demo --dir d --threads 1").stdout;
    assert!(report.contains("seasonal_naive") && report.contains("d/model.safetensors"), "{report}");
    let mut files: Vec<_> = std::fs::read_dir(folder.path("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["air_passengers.csv", "forecast.csv", "model.safetensors"]);
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 1);
    let forecast = folder.text("d/forecast.csv");
    assert_eq!(rows(&forecast).len(), 13);
    // Its model forecasts the year after the data.
    let next = folder.ok("predict --model d/model.safetensors --data d/air_passengers.csv --quiet").stdout;
    assert_eq!((rows(&next)[1][1].as_str(), rows(&next)[12][1].as_str()), ("1961-01-01", "1961-12-01"));
    assert!(column(&next, "NHITS").iter().all(|v| (200.0..900.0).contains(v)), "{next}");
}

#[test]
fn help_and_version_end_well() {
    let folder = Folder::new();
    assert!(folder.ok("--version").stdout.starts_with("nhits "));
    for command in ["", "train", "predict", "evaluate", "data", "data generate", "import", "backends", "config", "demo"]
    {
        assert!(folder.ok(&format!("{command} --help")).stdout.contains("--json"), "{command}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nhits"))
        .args(["data", "generate", "sine", "--n", "20000"])
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
