//! Files of every layout on their way from the shell to a forecast; what inspection tells of them.

use serde_json::Value;

use crate::tool::{Folder, TINY, day, hour, panel, rows, wave};

/// Ids, stamps and whole lines of a forecast.
fn forecast(folder: &Folder, data: &str) -> Vec<Vec<String>> {
    rows(&folder.ok(&format!("predict --model model.st --data {data} --quiet")).stdout)
}

#[test]
fn the_same_series_is_the_same_in_every_layout() {
    let folder = Folder::new();
    folder.write("long.csv", panel(&[("a", 60), ("b", 60)]));
    folder.ok(&format!("train --data long.csv {TINY}"));
    let expected = forecast(&folder, "long.csv");
    assert_eq!((expected.len(), expected[1][..2].join(" ")), (9, format!("a {}", day(60))));

    // AutoGluon's names.
    folder.write("autogluon.csv", panel(&[("a", 60), ("b", 60)]).replace("unique_id,ds,y", "item_id,timestamp,target"));
    assert_eq!(forecast(&folder, "autogluon.csv"), expected);

    // Monash.
    let line = |id: &str, by: usize| {
        let values: Vec<String> = (0..60).map(|i| format!("{:.4}", wave(i) * by as f64)).collect();
        format!("{id}:2020-01-01 00-00-00:{}\n", values.join(","))
    };
    let header = "# a comment\n@relation r\n@attribute series_name string\n@attribute start_timestamp date\n\
                  @frequency daily\n@horizon 4\n@missing false\n@equallength true\n@data\n";
    folder.write("s.tsf", format!("{header}{}{}", line("a", 1), line("b", 2)));
    assert_eq!(forecast(&folder, "s.tsf"), expected);

    // One file per series, csv and parquet.
    let one = |by: usize| {
        (0..60).fold("ds,y\n".to_owned(), |text, i| format!("{text}{},{:.4}\n", day(i), wave(i) * by as f64))
    };
    std::fs::create_dir(folder.path("dir")).unwrap();
    folder.write("dir/b.csv", one(2));
    folder.write("dir/a.csv", one(1));
    assert_eq!(forecast(&folder, "dir/*.csv"), expected);
    let notice = folder.ok("predict --model model.st --data dir/*.csv").stderr;
    assert!(notice.contains("2 files match `dir/*.csv`"), "{notice}");

    // A model can be trained on each of them, and knows how to read its like.
    for data in ["autogluon.csv", "s.tsf", "dir/*.csv"] {
        let trained = folder.json(&format!("train --data {data} {TINY}"));
        assert_eq!(trained["n_series"], 2, "{data}");
        assert_eq!(forecast(&folder, data).len(), 9);
    }
}

#[test]
fn parquet_files_of_a_folder_are_series_too() {
    let folder = Folder::with_model();
    std::fs::create_dir(folder.path("dir")).unwrap();
    // A forecast is a parquet file with `unique_id`: its parts make one long table.
    for (n, name) in [(0, "one"), (4, "two")] {
        folder.ok(&format!("predict --model model.st --data s.csv --window {n} --output dir/{name}.parquet"));
    }
    let found = folder.json("data inspect dir/*.parquet --target NHITS");
    assert_eq!((&found["n_rows"], &found["series"]["n_series"]), (&8.into(), &1.into()), "{found}");
    assert_eq!((&found["series"]["freq"], &found["series"]["holes"]), (&"D".into(), &0.into()));
}

#[test]
fn what_is_wrong_in_one_of_many_files_names_it() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("dir")).unwrap();
    folder.write("dir/a.csv", "ds,y\n2020-01-01,1\n2020-01-02,2\n");
    folder.write("dir/b.csv", "ds,y\n2020-01-01,1\n2020-01-02,oops\n");
    let ran = folder.run("data check dir/*.csv --json");
    assert_eq!(ran.code, Some(2));
    let problem = &ran.json()["problems"]["list"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&"dir/b.csv".into(), &3.into()), "{problem}");
    let none = folder.run("train --data nothing/*.csv --json");
    assert_eq!((none.code, none.json()["error"]["kind"].as_str()), (Some(2), Some("file-absent")));
    let hint = folder.run("train --data dir --json").json()["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("'dir/*.csv'"), "{hint}");
}

#[test]
fn inspection_finds_season_holes_flat_stretches_and_settings() {
    let folder = Folder::new();
    let mut text = "ds,y\n".to_owned();
    for i in (0..1200).filter(|i| !(300..310).contains(i)) {
        let value = match i {
            400..450 => "9".to_owned(),
            700..703 => String::new(),
            _ => format!("{:.4}", (i as f64 * std::f64::consts::TAU / 24.0).sin() + (i * 7919 % 101) as f64 / 505.0),
        };
        text += &format!("{},{value}\n", hour(i));
    }
    folder.write("h.csv", text);
    let found = folder.json("data inspect h.csv");
    let (series, values) = (&found["series"], &found["values"]);
    let longest = &series["longest_hole"];
    assert_eq!((&series["holes"], &series["absent_rows"], &series["trading"]), (&1.into(), &10.into(), &false.into()));
    assert_eq!((longest["from"].as_str(), longest["to"].as_str()), (Some(&*hour(300)), Some(&*hour(309))));
    assert_eq!(values["seasons"][0]["period"], 24, "{values}");
    assert_eq!((&values["missing"], &values["longest_missing"]["rows"]), (&13.into(), &10.into()));
    let flat = &values["longest_constant"];
    assert_eq!((&flat["rows"], &flat["value"], flat["from"].as_str()), (&50.into(), &9.0.into(), Some(&*hour(400))));
    let set = &values["suggested"];
    assert_eq!((&set["horizon"], &set["input_size"], &set["scaler"]), (&24.into(), &120.into(), &"robust".into()));
    let report = folder.ok("data inspect h.csv").stdout;
    for part in [
        "1 holes in the calendar, 10 rows absent",
        "seasons: 24 rows",
        "all 9",
        "to begin with: nhits train --data h.csv --horizon 24 --input-size 120 --scaler robust",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    assert!(report.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "a picture of dots: {report}");
    // The suggestion is a command that runs.
    let set = "--horizon 24 --input-size 120 --scaler robust --missing mask --gaps mask --hidden-size 8 --max-steps 1";
    folder.ok(&format!("train --data h.csv {set} --output m.st --run-dir run"));
}

#[test]
fn a_report_tells_what_became_of_each_series() {
    let folder = Folder::new();
    let mut text = panel(&[("long", 60), ("brief", 9), ("stub", 3)]);
    text += &format!("mute,{},\nmute,{},\n", day(0), day(1));
    // One value of `long` missing, one repeated.
    text += &format!("long,{},\nlong,{},7\n", day(60), day(5));
    folder.write("s.csv", text);
    let flags = "--missing mask --duplicates first --split */2/2";
    let refused = folder.run(&format!("train --data s.csv {flags} {TINY} --json"));
    assert_eq!(refused.json()["error"]["kind"], "no-observations");
    let trained = folder.json(&format!("train --data s.csv {flags} {TINY} --unusable skip --series-report r.json"));
    assert_eq!(trained["series"], serde_json::json!({"used": 2, "padded": 1, "skipped": 2}), "{trained}");
    let lines: Value = serde_json::from_str(&folder.text("r.json")).unwrap();
    let line = |id: &str| lines.as_array().unwrap().iter().find(|l| l["unique_id"] == id).unwrap();
    let long = line("long");
    assert_eq!((&long["used"], &long["rows_in_file"], &long["repeated"]), (&"whole".into(), &62.into(), &1.into()));
    assert_eq!((&long["masked"], &long["train_rows"], &long["last"]), (&1.into(), &57.into(), &day(60).into()));
    let brief = line("brief");
    assert_eq!((&brief["used"], &brief["train_rows"]), (&"padded".into(), &5.into()));
    assert!(brief["why"].as_str().unwrap().contains("begin before its first row: 5 training rows"), "{brief}");
    assert!(line("stub")["why"].as_str().unwrap().contains("needs"), "{lines}");
    assert_eq!((&line("mute")["used"], &line("mute")["rows_in_file"]), (&"skipped".into(), &2.into()));
    // The same as csv, before the first step, with the line for a person.
    let ran = folder.ok(&format!("train --data s.csv {flags} {TINY} --unusable skip --series-report r.csv --dry-run"));
    assert!(ran.stderr.contains("2 series used, 1 of them padded at the beginning, 2 skipped"), "{}", ran.stderr);
    assert_eq!(
        (rows(&folder.text("r.csv")).len(), folder.text("r.csv").lines().next().unwrap().split(',').count()),
        (5, 17)
    );
    let bad = folder.run(&format!("train --data s.csv {flags} {TINY} --series-report r.xls --json"));
    assert_eq!((bad.code, bad.json()["error"]["kind"].as_str()), (Some(2), Some("unknown-format")));
    // The judge leaves out the same ones.
    let judged = folder.json("evaluate --model model.st --data s.csv --split */0/4");
    assert_eq!(judged["n_series"], 2, "{judged}");
}
