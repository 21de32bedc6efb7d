//! What comes after the training rows changes no feature, no fit and no training window.

use std::sync::Arc;

use super::{TrainConfig, TrainJob, WindowChoice};
use crate::calendar::{Clock, parse_stamp};
use crate::data::{Column, Panel, SplitSpec};
use crate::features::FeatureConfig;
use crate::loss::LossConfig;
use crate::model::NHitsConfig;
use crate::transform::{ScalerKind, Step};
use crate::window::{HostBatch, WindowIndex, WindowRules, WindowScaler, WindowShape};

const DAY: i64 = 86_400_000_000;
/// Rows of the two series.
const ROWS: [usize; 2] = [80, 60];

/// Two daily series with a covariate; rows of series `s` from `from[s]` on are far from what they would be.
fn panel(from: [usize; 2]) -> Panel {
    let first = parse_stamp("2024-01-01").unwrap().value;
    let (mut time, mut y, mut rain) = (Vec::new(), Vec::new(), Vec::new());
    for s in 0..2 {
        for i in 0..ROWS[s] {
            let off = if i >= from[s] { 1e4 * (1 + i % 3) as f64 } else { 0.0 };
            time.push(first + i as i64 * DAY);
            y.push((s + 1) as f64 * (20.0 + 0.1 * i as f64 + 5.0 * (i as f64 * 0.9).sin()) + off);
            rain.push((i % 5) as f64 - off);
        }
    }
    y[17] = f64::NAN;
    let ids = vec!["a".into(), "b".into()];
    let mut panel = Panel::new(ids, vec![0, 80, 140], time, Clock::Date, "D".parse().unwrap(), y, "y");
    panel.hist_exog.push(Column { name: "rain".into(), values: rain });
    panel
}

const TRANSFORMS: &str = "winsorize=0.02:0.98,outliers=iqr:2.5:previous,box-cox,robust,detrend,deseasonalize=7:stl,\
                          difference=7,yeo-johnson,minmax,max-abs,standard";
const FEATURES: &str = "lags=1,7;rolling_mean=5;rolling_std=5;rolling_min=3;rolling_max=3;min_periods=2;ema=0.3;roc=1;\
                        calendar=dow,month;fourier=7:2";

/// A job with every transform and every feature that needs no file.
fn job(panel: Panel) -> TrainJob {
    let features = FEATURES.parse::<FeatureConfig>().unwrap().resolve().unwrap();
    let panel = features.extend(panel).unwrap();
    let (hist_exog, futr_exog) = (panel.hist_exog.len(), panel.futr_exog.len());
    let network = NHitsConfig { input_size: 8, horizon: 4, hist_exog, futr_exog, ..NHitsConfig::default() };
    TrainJob {
        splits: SplitSpec::rows(40, 10, 10).resolve_all(&panel).unwrap(),
        panel: Arc::new(panel),
        network: network.check().unwrap(),
        loss: LossConfig::Mae,
        target: Step::parse_all(TRANSFORMS).unwrap(),
        features,
        scaler: ScalerKind::RobustIqr,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config: TrainConfig::default(),
        threads: 1,
    }
}

/// All windows of an index of a job.
fn windows(job: &TrainJob, index: &WindowIndex) -> HostBatch {
    let windows: Vec<_> = index.windows().collect();
    assert!(windows.len() > 20);
    job.batcher(&job.plan().unwrap(), index).unwrap().gather(&windows)
}

#[test]
fn what_comes_after_the_training_rows_changes_no_fit_and_no_training_window() {
    let job_of = |from| job(panel(from));
    let clean = job_of([99, 99]);
    let plan = clean.plan().unwrap();
    assert_eq!(clean.panel.hist_exog.len(), 1 + 8);
    assert_eq!(clean.panel.futr_exog.len(), 2 + 4);
    let before = windows(&clean, &plan.index);
    for from in [[40, 40], [50, 40], [60, 99], [79, 59]] {
        let other = job_of(from);
        let other_plan = other.plan().unwrap();
        assert_eq!(plan.target.pipeline(), other_plan.target.pipeline(), "{from:?}");
        assert_eq!(plan.scalers, other_plan.scalers, "{from:?}");
        assert_eq!(plan.index, other_plan.index, "{from:?}");
        assert_eq!(before, windows(&other, &other_plan.index), "{from:?}");
    }
    // The last training row does count: the test can see.
    let other = job_of([39, 99]);
    let other_plan = other.plan().unwrap();
    assert_ne!(plan.target.pipeline(), other_plan.target.pipeline());
    assert_ne!(before, windows(&other, &other_plan.index));
}

#[test]
fn what_comes_after_an_origin_changes_no_input_of_its_window() {
    // Windows of the test rows: inputs before row 55, targets from it on.
    let inputs = |from: [usize; 2]| {
        let job = job(panel(from));
        let plan = job.plan().unwrap();
        let rules = WindowRules::evaluate(WindowShape { input_size: 8, horizon: 4 });
        let y = plan.target.y(&job.panel);
        let index = WindowIndex::over(&job.panel, y, &[55..59, 55..59], &rules).unwrap();
        let batch = job.batcher(&plan, &index).unwrap().gather(&index.windows().collect::<Vec<_>>());
        assert_eq!(batch.windows.len(), 2);
        let known = (batch.insample_y, batch.insample_mask, batch.hist_exog, batch.futr_exog, batch.statistics);
        (known, batch.target)
    };
    let (clean, targets) = inputs([99, 99]);
    let (other, changed) = inputs([55, 55]);
    assert_eq!(clean, other);
    assert_ne!(targets, changed);
}
