//! Scores of naive forecasts that others have published, where the data is at hand.

use std::path::PathBuf;

use super::baseline::{NLinear, Naive, SeasonalNaive};
use super::{Forecaster, Protocol, judge};
use crate::data::{DataConfig, Duplicates, Gaps, Panel, SeriesSplit, SplitSpec, Targets, read_panel};

/// A set of the benchmark: file, split, scores of the repeated last value at horizon 96 (mse, mae).
const SETS: [(&str, &str, f64, f64); 4] = [
    ("ETTm2.csv", "34560/11520/11520", 0.2665, 0.3278),
    ("ETTh1.csv", "8640/2880/2880", 1.2944, 0.7132),
    ("exchange_rate.csv", "0.7/0.1/0.2", 0.0811, 0.1964),
    ("weather.parquet", "0.7/0.1/0.2", 0.2591, 0.2542),
];

/// The path of a data file; `None`, with a line that says so, where it is not there. `NHITS_SHARED` names the folder when
/// it is not beside the repository.
fn at_hand(file: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("NHITS_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join("data").join(file);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// The panel of a wide file and its protocol.
fn read(file: &str, split: &str, input_size: usize, horizon: usize) -> Option<(Panel, Protocol)> {
    let path = at_hand(file)?;
    let config = DataConfig {
        path,
        targets: Some(Targets::All),
        gaps: Gaps::Observed,
        duplicates: Duplicates::Keep,
        ..DataConfig::default()
    };
    let panel = read_panel(&config).unwrap().panel;
    let splits = split.parse::<SplitSpec>().unwrap().resolve_all(&panel).unwrap();
    let season = panel.freq.season();
    Some((panel, Protocol::new(input_size, horizon, season, splits)))
}

#[test]
fn the_repeated_last_value_scores_what_is_published() {
    for (file, split, mse, mae) in SETS {
        let Some((panel, protocol)) = read(file, split, 96, 96) else { continue };
        let judged = judge(&panel, &protocol, &mut Naive::new(96), 1000).unwrap();
        let printed = |v: f64| (v * 1e4).round() / 1e4;
        assert_eq!((printed(judged.scaled.mse), printed(judged.scaled.mae)), (mse, mae), "{file}");
        if file == "ETTm2.csv" {
            assert_eq!((judged.n_series, judged.n_windows), (7, 7 * (11_520 - 96 + 1)));
        }
    }
}

#[test]
fn the_linear_baseline_is_as_good_as_published_ones_and_beats_the_last_value() {
    // published for ETTh1 at horizon 96 with a window of 336: 0.374 / 0.394, trained by gradient steps
    let Some((panel, protocol)) = read("ETTh1.csv", "8640/2880/2880", 336, 96) else { return };
    // every eighth window is enough to tell, and keeps unoptimised builds quick
    let protocol = Protocol { step: 8, ..protocol };
    let judged = judge(&panel, &protocol, &mut NLinear::fit(&panel, &protocol).unwrap(), 4096).unwrap();
    assert!(judged.scaled.mse < 0.385 && judged.scaled.mae < 0.405, "{:?}", judged.scaled);
}

/// The train and test files of a competition set as one panel; the test rows of each series are its one window.
fn competition(set: &str, horizon: usize, season: usize) -> Option<(Panel, Protocol)> {
    let read = |part: &str| -> Option<Panel> {
        let path = at_hand(&format!("{set}_{part}.parquet"))?;
        Some(read_panel(&DataConfig { path, ..DataConfig::default() }).unwrap().panel)
    };
    let (train, test) = (read("train")?, read("test")?);
    let (mut offsets, mut time, mut y, mut splits) = (vec![0], Vec::new(), Vec::new(), Vec::new());
    for (s, id) in train.ids.iter().enumerate() {
        let t = test.ids.iter().position(|other| other == id).unwrap();
        y.extend([train.series(s), test.series(t)].concat());
        time.extend([train.times(s), test.times(t)].concat());
        offsets.push(y.len());
        let (n, len) = (train.len_of(s), train.len_of(s) + test.len_of(t));
        assert_eq!(len - n, horizon, "{id}");
        splits.push(SeriesSplit { train: 0..n, val: n..n, test: n..len });
    }
    let panel = Panel::new(train.ids, offsets, time, train.clock, train.freq, y, "y");
    Some((panel, Protocol::new(horizon, horizon, season, splits)))
}

#[test]
fn naive_forecasts_of_competitions_have_the_published_smape() {
    let sets: [(&str, usize, usize, f64); 4] = [
        ("m3_yearly", 6, 1, 17.880),
        ("m3_quarterly", 8, 4, 11.065),
        ("tourism_monthly", 24, 12, 21.670),
        ("m4_weekly", 13, 1, 9.161),
    ];
    for (set, horizon, season, smape) in sets {
        let Some((panel, protocol)) = competition(set, horizon, season) else { continue };
        let mut naive: Box<dyn Forecaster> =
            if season == 1 { Box::new(Naive::new(horizon)) } else { Box::new(SeasonalNaive::new(horizon, season)) };
        let judged = judge(&panel, &protocol, naive.as_mut(), 100).unwrap();
        assert_eq!(judged.n_windows, panel.n_series());
        assert!((judged.original.smape - smape).abs() < 6e-4, "{set}: {}", judged.original.smape);
    }
}
