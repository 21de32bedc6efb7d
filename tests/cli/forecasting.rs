//! `nhits predict`, `evaluate` and `import`.

use serde_json::{Value, json};

use crate::tool::{Folder, TINY, column, daily, day, keys, panel, rows, wave};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden");

#[test]
fn forecasts_are_the_same_in_every_format() {
    let folder = Folder::with_model();
    let csv = folder.ok("predict --model model.st --data s.csv --quiet").stdout;
    assert_eq!(rows(&csv)[0], ["unique_id", "ds", "NHITS"]);
    let stamps: Vec<String> = rows(&csv)[1..].iter().map(|r| r[1].clone()).collect();
    assert_eq!(stamps, [day(60), day(61), day(62), day(63)], "the calendar goes on");
    let object = folder.json("predict --model model.st --data s.csv");
    assert_eq!(keys(&object), ["forecasts", "wall_s", "latency_ms"]);
    let list = object["forecasts"].as_array().unwrap();
    assert_eq!(keys(&list[0]), ["unique_id", "ds", "NHITS"]);
    let values: Vec<f64> = list.iter().map(|f| f["NHITS"].as_f64().unwrap()).collect();
    assert_eq!(values, column(&csv, "NHITS"));
    let wrote = folder.json("predict --model model.st --data s.csv --output f.csv");
    assert_eq!(keys(&wrote), ["output", "n_series", "rows", "wall_s", "latency_ms"]);
    assert_eq!(folder.text("f.csv").trim_end(), csv.trim_end());
    folder.ok("predict --model model.st --data s.csv --output f.json");
    assert_eq!(serde_json::from_str::<Value>(&folder.text("f.json")).unwrap(), object["forecasts"]);
    folder.ok("predict --model model.st --data s.csv --output f.parquet");
    let found = folder.json("data inspect f.parquet");
    assert_eq!((&found["n_rows"], &found["columns"][1]["first"]), (&4.into(), &day(60).into()));
    let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    assert_eq!((found["columns"][2]["min"].as_f64(), found["columns"][2]["max"].as_f64()), (Some(min), Some(max)));
    // Data on stdin, a model at an earlier origin.
    let piped = folder.run_on("predict --model model.st --data - --quiet", daily(60)).stdout;
    assert_eq!(piped, csv);
    // And the model on it: a pipe does not know its length.
    if cfg!(unix) {
        let model = folder.read("model.st");
        assert_eq!(folder.run_on("predict --model /dev/stdin --data s.csv --quiet", model).stdout, csv);
    }
    let cut = folder.run_on("predict --model model.st --data - --quiet", daily(50)).stdout;
    let back = folder.ok("predict --model model.st --data s.csv --window 10 --quiet").stdout;
    assert_eq!(rows(&back)[0], ["unique_id", "ds", "cutoff", "NHITS"]);
    assert_eq!((column(&cut, "NHITS"), &rows(&back)[1][2]), (column(&back, "NHITS"), &day(49)));
    let both = folder.ok("predict --model model.st --data s.csv --window 10,0 --quiet").stdout;
    assert_eq!(column(&both, "NHITS"), [column(&cut, "NHITS"), values].concat());
}

#[test]
fn calendars_go_on_over_month_ends_and_weekends() {
    let folder = Folder::new();
    let months = |i: usize| format!("{}-{:02}-01", 2000 + i / 12, i % 12 + 1);
    let workdays: Vec<String> = (0..70).filter(|i| ![3, 4].contains(&(i % 7))).map(day).collect();
    let counters: Vec<String> = (0..50).map(|i| (2 * i + 7).to_string()).collect();
    for (name, stamps, next) in [
        (
            "months",
            (0..50).map(months).collect::<Vec<_>>(),
            vec!["2004-03-01", "2004-04-01", "2004-05-01", "2004-06-01"],
        ),
        ("workdays", workdays, vec!["2020-03-11", "2020-03-12", "2020-03-13", "2020-03-16"]),
        ("counters", counters, vec!["107", "109", "111", "113"]),
    ] {
        let text =
            stamps.iter().enumerate().fold("ds,y\n".to_string(), |text, (i, s)| format!("{text}{s},{}\n", wave(i)));
        folder.write("c.csv", text);
        folder.ok(&format!("train --data c.csv {TINY}"));
        let forecast = folder.ok("predict --model model.st --data c.csv --quiet").stdout;
        let got: Vec<String> = rows(&forecast)[1..].iter().map(|r| r[1].clone()).collect();
        assert_eq!(got, next, "{name}");
    }
}

#[test]
fn stamps_go_on_alike_in_every_format() {
    let folder = Folder::new();
    // The last day of each month; business days; hours with offsets over the night in which clocks go forward.
    let ends = |i: usize| {
        let (year, month) = (2000 + i / 12, i % 12 + 1);
        let days = [31, if year % 4 == 0 { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
        format!("{year}-{month:02}-{days}")
    };
    let workdays: Vec<String> = (0..70).filter(|i| ![3, 4].contains(&(i % 7))).map(day).collect();
    let zoned = |i: usize| match i {
        // From the 30th of March 2024, 00:00 at +01:00; at 02:00 of the 31st it is 03:00 at +02:00.
        0..26 => format!("2024-03-{}T{:02}:00:00+01:00", 30 + i / 24, i % 24),
        _ => format!("2024-{}T{:02}:00:00+02:00", ["03-31", "04-01", "04-02"][(i + 1) / 24 - 1], (i + 1) % 24),
    };
    for (name, stamps, next) in [
        ("month ends", (0..50).map(ends).collect::<Vec<_>>(), ["2004-03-31", "2004-04-30", "2004-05-31", "2004-06-30"]),
        ("business days", workdays, ["2020-03-11", "2020-03-12", "2020-03-13", "2020-03-16"]),
        (
            "clock change",
            (0..30).map(zoned).collect(),
            ["2024-03-31T05:00:00Z", "2024-03-31T06:00:00Z", "2024-03-31T07:00:00Z", "2024-03-31T08:00:00Z"],
        ),
    ] {
        let text = stamps.iter().enumerate().fold("ds,y\n".to_string(), |t, (i, s)| format!("{t}{s},{}\n", wave(i)));
        folder.write("c.csv", text);
        folder.ok(&format!("train --data c.csv {TINY} --input-size 8").replace("--input-size 12 ", ""));
        for ending in ["csv", "json", "parquet"] {
            folder.ok(&format!("predict --model model.st --data c.csv --output f.{ending} --quiet"));
        }
        let csv: Vec<String> = rows(&folder.text("f.csv"))[1..].iter().map(|r| r[1].clone()).collect();
        assert_eq!(csv, next, "{name}");
        let json: Value = serde_json::from_str(&folder.text("f.json")).unwrap();
        let json: Vec<&str> = json.as_array().unwrap().iter().map(|f| f["ds"].as_str().unwrap()).collect();
        assert_eq!(json, next, "{name}");
        let found = folder.json("data inspect f.parquet --target NHITS");
        let of = |field: &str| found["columns"][1][field].as_str().unwrap().to_owned();
        assert_eq!((of("first"), of("last")), (next[0].into(), next[3].into()), "{name}");
        assert_eq!(found["series"]["clock"], if name == "clock change" { "utc" } else { "date" });
    }
    // Without offsets the absent hour of that night is a hole, and it is said where.
    let local = (0..30)
        .filter(|i| *i != 26)
        .fold("ds,y\n".to_string(), |t, i| format!("{t}2024-03-{} {:02}:00:00,{}\n", 30 + i / 24, i % 24, wave(i)));
    folder.write("local.csv", local);
    let ran = folder.run("data check local.csv --json");
    let problem = &ran.json()["problems"]["list"][0];
    assert_eq!((&problem["kind"], &problem["time"]), (&"gap".into(), &"2024-03-31 03:00:00".into()), "{problem}");
}

#[test]
fn a_trading_calendar_goes_on_as_the_future_file_has_it() {
    let folder = Folder::new();
    // Workdays without the 20th of January; the 17th of February is a holiday ahead that no frequency tells.
    let open = |i: usize| ![3, 4].contains(&(i % 7)) && i != 19 && i != 47;
    let line = |i: usize| format!("{},{},{}\n", day(i), wave(i), i % 5);
    folder.write("h.csv", (0..46).filter(|i| open(*i)).fold("ds,y,x\n".to_string(), |t, i| t + &line(i)));
    folder.ok(&format!("train --data h.csv --target y --futr-exog x {TINY}"));
    let future = (46..60).filter(|i| open(*i)).fold("ds,x\n".to_string(), |t, i| format!("{t}{},{}\n", day(i), i % 5));
    folder.write("f.csv", future);
    let stamps = |text: &str| rows(text)[1..].iter().map(|r| r[1].clone()).collect::<Vec<_>>();
    let ahead = folder.ok("predict --model model.st --data h.csv --future f.csv --quiet").stdout;
    let expected: Vec<String> = (46..60).filter(|i| open(*i)).take(4).map(day).collect();
    assert_eq!(stamps(&ahead), expected);
    // Within the data the times are those of its rows.
    let back = folder.ok("predict --model model.st --data h.csv --window 20 --quiet").stdout;
    let known: Vec<String> = (0..46).filter(|i| open(*i)).map(day).collect();
    assert_eq!(stamps(&back), known[known.len() - 20..known.len() - 16]);
    // What the future file lacks is listed.
    folder.write("f.csv", format!("ds,x\n{},1\n{},\n", expected[0], expected[1]));
    let error = folder.run("predict --model model.st --data h.csv --future f.csv --json").json();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("{}, column `x`: the value is missing", expected[1])), "{message}");
    assert!(message.contains("no rows for steps 3 to 4 of 4 ahead"), "{message}");
}

#[test]
fn covariates_of_every_kind_reach_the_forecast() {
    let folder = Folder::new();
    let line = |id: &str, i: usize| format!("{id},{},{},{},{}\n", day(i), wave(i), i % 5, i % 7);
    let body: String = ["A", "B"].iter().flat_map(|id| (0..50).map(move |i| line(id, i))).collect();
    folder.write("x.csv", format!("unique_id,ds,y,rain,weekday\n{body}"));
    folder.write("static.csv", "unique_id,area\nB,2\nA,5\n");
    let future = |from: usize, by: usize| {
        let rows =
            ["A", "B"].iter().flat_map(|id| (from..from + 6).map(move |i| format!("{id},{},{}\n", day(i), i * by % 7)));
        format!("unique_id,ds,weekday\n{}", rows.collect::<String>())
    };
    folder.write("f.csv", future(49, 1));
    folder.write("other.csv", future(49, 3));
    let flags = "--hist-exog rain --futr-exog weekday --stat-exog area --static static.csv";
    folder.ok(&format!("train --data x.csv --target y {flags} {TINY}"));
    let forecast = folder.ok("predict --model model.st --data x.csv --future f.csv --quiet").stdout;
    assert_eq!(rows(&forecast).len(), 9);
    let other = folder.ok("predict --model model.st --data x.csv --future other.csv --quiet").stdout;
    assert_ne!(column(&forecast, "NHITS"), column(&other, "NHITS"), "what lies ahead matters");
    // Inside the data, what lies ahead is there already.
    let back = folder.ok("predict --model model.st --data x.csv --window 10 --quiet").stdout;
    assert_eq!(rows(&back).len(), 9);
    // An origin near the end: what lies ahead is partly in the data, partly in the file.
    let near = folder.ok("predict --model model.st --data x.csv --future f.csv --window 2 --quiet").stdout;
    let earlier: String = ["A", "B"].iter().flat_map(|id| (0..48).map(move |i| line(id, i))).collect();
    folder.write("cut.csv", format!("unique_id,ds,y,rain,weekday\n{earlier}"));
    folder.write("ahead.csv", future(48, 1));
    let cut = folder.ok("predict --model model.st --data cut.csv --future ahead.csv --quiet").stdout;
    assert_eq!(column(&near, "NHITS"), column(&cut, "NHITS"));
    folder.write("static.csv", "unique_id,area\nB,2\nA,9\n");
    let moved = folder.ok("predict --model model.st --data x.csv --future f.csv --quiet").stdout;
    assert_ne!(column(&forecast, "NHITS")[..4], column(&moved, "NHITS")[..4], "the static value matters");
    assert_eq!(column(&forecast, "NHITS")[4..], column(&moved, "NHITS")[4..], "of its own series only");
    folder.ok("evaluate --model model.st --data x.csv --split 30/10/10");
}

#[test]
fn levels_are_columns_in_their_order() {
    let folder = Folder::with_series();
    folder.ok(&format!("train --data s.csv --level 80,90 {TINY}"));
    let all = folder.ok("predict --model model.st --data s.csv --quiet").stdout;
    assert_eq!(rows(&all)[0][2..], ["NHITS-median", "NHITS-lo-90", "NHITS-lo-80", "NHITS-hi-80", "NHITS-hi-90"]);
    let some = folder.ok("predict --model model.st --data s.csv --level 80 --quiet").stdout;
    assert_eq!(rows(&some)[0][2..], ["NHITS-median", "NHITS-lo-80", "NHITS-hi-80"]);
    assert_eq!(column(&some, "NHITS-hi-80"), column(&all, "NHITS-hi-80"));
    let judged = folder.json("evaluate --model model.st --data s.csv --split 40/10/10");
    assert!(judged["original"]["mae"].is_number(), "{judged}");
    folder.ok(&format!("train --data s.csv --loss mqloss --quantiles 0.1,0.5,0.9 {TINY}"));
    let three = folder.ok("predict --model model.st --data s.csv --quiet").stdout;
    assert_eq!(rows(&three)[0][2..], ["NHITS-lo-80", "NHITS-median", "NHITS-hi-80"]);
}

#[test]
fn models_of_neuralforecast_are_imported_with_their_settings() {
    let folder = Folder::with_series();
    let golden = |case: &str, file: &str| format!("{GOLDEN}/{case}/{file}");
    for (case, horizon, columns, flags) in [
        ("single_stack_h1", 1, vec!["NHITS"], ""),
        ("mqloss_l80_90", 12, vec!["NHITS-median", "NHITS-lo-90", "NHITS-lo-80", "NHITS-hi-80", "NHITS-hi-90"], ""),
        ("fit_fullbatch_standard", 6, vec!["NHITS"], "--freq D"),
    ] {
        let weights = if case.starts_with("fit") { "weights_final.safetensors" } else { "weights.safetensors" };
        let imported = folder.json(&format!(
            "import {} --hparams {} {flags} --output {case}.st",
            golden(case, weights),
            golden(case, "config.json")
        ));
        assert_eq!(keys(&imported), ["bundle", "model", "loss", "window_scaler"]);
        let settings: Value = serde_json::from_slice(&std::fs::read(golden(case, "config.json")).unwrap()).unwrap();
        for field in ["input_size", "n_blocks", "mlp_units", "n_pool_kernel_size", "n_freq_downsample"] {
            assert_eq!(imported["model"][field], settings[field], "{case}: {field}");
        }
        let forecast = folder.ok(&format!("predict --model {case}.st --data s.csv --quiet")).stdout;
        assert_eq!(rows(&forecast).len(), 1 + horizon, "{case}");
        assert_eq!(rows(&forecast)[0][2..], columns, "{case}");
    }
    // Without settings what the shapes say is enough.
    let weights = golden("mqloss_l80_90", "weights.safetensors");
    let imported = folder
        .json(&format!("import {weights} --horizon 12 --input-size 36 --loss mqloss --level 80,90 --output shapes.st"));
    assert_eq!(
        (&imported["model"]["n_pool_kernel_size"], &imported["model"]["n_freq_downsample"]),
        (&json!([2, 2, 1]), &json!([4, 2, 1]))
    );
    let forecast = |name: &str| folder.ok(&format!("predict --model {name}.st --data s.csv --quiet")).stdout;
    assert_eq!(forecast("shapes"), forecast("mqloss_l80_90"));
}

#[test]
fn an_imported_model_forecasts_what_neuralforecast_did() {
    let folder = Folder::new();
    let case = format!("{GOLDEN}/fit_fullbatch_standard");
    folder.ok(&format!("import {case}/weights_final.safetensors --hparams {case}/config.json --freq ME --output m.st"));
    let ours = folder.ok(&format!("predict --model m.st --data {case}/train.csv --quiet")).stdout;
    let theirs = std::fs::read_to_string(format!("{case}/predictions.csv")).unwrap();
    let stamps =
        |text: &str, at: usize| rows(text)[1..].iter().map(|r| (r[at].clone(), r[at + 1].clone())).collect::<Vec<_>>();
    assert_eq!(stamps(&ours, 0), stamps(&theirs, 1));
    for (a, b) in column(&ours, "NHITS").iter().zip(column(&theirs, "NHITS")) {
        assert!((a - b).abs() < 1e-3, "{a} here, {b} there");
    }
}

#[test]
fn an_imported_model_takes_covariates_by_name() {
    let folder = Folder::new();
    let case = format!("{GOLDEN}/all_exog_partial_max");
    let named = "--hist-exog h --futr-exog f --stat-exog s";
    folder.ok(&format!("import {case}/weights.safetensors --hparams {case}/config.json {named} --output m.st"));
    let line = |i: usize| format!("A,{},{},{},{},3\n", day(i), wave(i), i % 3, i % 4);
    folder.write("x.csv", (0..60).fold("unique_id,ds,y,h,f,s\n".to_string(), |text, i| text + &line(i)));
    folder.write("f.csv", (60..72).fold("ds,f\n".to_string(), |text, i| format!("{text}{},{}\n", day(i), i % 4)));
    let forecast = folder.ok("predict --model m.st --data x.csv --future f.csv --quiet").stdout;
    assert_eq!(rows(&forecast).len(), 13);
}

#[test]
fn a_series_without_a_recent_value_is_left_out_with_a_line() {
    let folder = Folder::with_model();
    let silent: String = (0..40).map(|i| format!("Z,{},{}\n", day(i), if i < 20 { "1" } else { "" })).collect();
    folder.write("z.csv", panel(&[("A", 40)]) + &silent);
    let ran = folder.ok("predict --model model.st --data z.csv --missing mask");
    assert_eq!(rows(&ran.stdout).len(), 5);
    assert!(ran.stderr.contains("no forecast for 1 series") && ran.stderr.contains("`Z`"), "{}", ran.stderr);
    folder.write("z.csv", format!("unique_id,ds,y\n{silent}"));
    let ran = folder.run("predict --model model.st --data z.csv --missing mask --json");
    assert_eq!((ran.code, ran.json()["error"]["kind"].as_str()), (Some(2), Some("nothing-observed")));
}
