//! Real files with flaws, from the shell: they train and forecast, and the report says what became of each series. Without the
//! folder of data the tests say so and pass.

use std::path::PathBuf;

use serde_json::Value;

use crate::tool::{Folder, TINY, column, rows};

/// A file of the data folder (`NHITS_DATA_DIR`, else `../shared/data`), `None` with a message where it is absent.
fn data(name: &str) -> Option<String> {
    let folder = std::env::var_os("NHITS_DATA_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    let found = glob::glob(&path.display().to_string()).unwrap().count() > 0;
    if !found {
        println!("skipped: {} is not there", path.display());
    }
    found.then(|| path.display().to_string())
}

/// Trains on a file and forecasts what follows: the forecast, and the lines of the report.
fn trained(folder: &Folder, path: &str, flags: &str) -> (String, Vec<Value>) {
    let quick = "--val-windows 20 --steps-per-epoch 2 --threads 1";
    folder.ok(&format!("train --data {path} {flags} {TINY} {quick} --series-report r.json --quiet"));
    let forecast = folder.ok(&format!("predict --model model.st --data {path} --quiet")).stdout;
    assert!(column(&forecast, "NHITS").iter().all(|v| v.is_finite()), "{forecast}");
    (forecast, serde_json::from_str::<Value>(&folder.text("r.json")).unwrap().as_array().unwrap().clone())
}

#[test]
fn weeks_of_load_that_are_missing_are_masked_and_not_filled() {
    let Some(path) = data("gefcom2012_load.parquet") else { return };
    let folder = Folder::new();
    let (forecast, report) = trained(&folder, &path, "--targets zone_1,zone_9 --missing mask");
    assert_eq!((rows(&forecast).len(), rows(&forecast)[1][1].as_str()), (9, "2008-06-30 06:00:00"));
    for line in &report {
        assert_eq!(
            (&line["masked"], &line["filled"], &line["used"]),
            (&1344.into(), &0.into(), &"whole".into()),
            "{line}"
        );
    }
    let refused = folder.run(&format!("train --data {path} --targets zone_1 {TINY} --json"));
    assert_eq!(refused.json()["error"]["kind"], "missing-value");
}

#[test]
fn hours_without_a_measurement_are_masked_beside_covariates() {
    let Some(path) = data("beijing_pm25.csv") else { return };
    let folder = Folder::new();
    let flags = "--target pm2.5 --hist-exog TEMP,PRES --missing mask";
    let (forecast, report) = trained(&folder, &path, flags);
    assert_eq!(rows(&forecast)[1][1], "2015-01-01 00:00:00");
    assert_eq!((&report[0]["masked"], &report[0]["rows_in_file"]), (&2067.into(), &43_824.into()), "{report:?}");
}

#[test]
fn holes_of_an_exchange_and_holidays_of_another_train_and_go_on() {
    let folder = Folder::new();
    if let Some(path) = data("btcusdt_hourly.parquet") {
        let (forecast, report) = trained(&folder, &path, "--target close --gaps mask");
        assert_eq!(rows(&forecast)[1][1], "2021-08-11 01:00:00");
        assert_eq!((&report[0]["inserted"], &report[0]["masked"]), (&16.into(), &16.into()), "{report:?}");
    }
    if let Some(path) = data("spy_daily.csv") {
        let (forecast, report) = trained(&folder, &path, "--target close");
        let stamps: Vec<&str> = forecast.lines().skip(1).map(|l| l.split(',').nth(1).unwrap()).collect();
        assert_eq!(stamps, ["2021-04-01", "2021-04-02", "2021-04-05", "2021-04-06"]);
        assert_eq!((&report[0]["inserted"], &report[0]["rows_in_file"]), (&0.into(), &5849.into()));
    }
}

#[test]
fn a_thousand_short_series_are_used_padded_or_skipped() {
    let Some(path) = data("m3_monthly_t[re]*.parquet") else { return };
    let folder = Folder::new();
    let flags = "--input-size 60 --horizon 18 --hidden-size 8 --max-steps 2 --steps-per-epoch 2 --threads 1";
    let files = "--output m.st --run-dir run --series-report r.csv";
    let trained = folder.json(&format!("train --data {path} {flags} {files} --split */18/18"));
    assert_eq!((&trained["n_series"], &trained["series"]["used"]), (&1428.into(), &1428.into()));
    let report = folder.text("r.csv");
    let of = |name: &str| column(&report, name);
    // A series is padded where its training part is shorter than input and horizon.
    let padded = of("train_rows").iter().filter(|n| **n < 78.0).count();
    assert_eq!((trained["series"]["padded"].as_u64(), padded > 100), (Some(padded as u64), true));
    assert!(of("test_rows").iter().all(|n| *n == 18.0));
    // Series that are too short for the split.
    let left = folder.json(&format!("train --data {path} {flags} {files} --unusable skip --split */60/18"));
    let (used, skipped) = (left["series"]["used"].as_u64().unwrap(), left["series"]["skipped"].as_u64().unwrap());
    assert!(used + skipped == 1428 && skipped > 100, "{left}");
    assert!(folder.text("r.csv").contains("skipped,\"split */60/18 needs 78 rows"), "{}", &folder.text("r.csv")[..400]);
}
