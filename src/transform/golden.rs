//! Transforms beside values of pandas, scipy and statsmodels (`tests/fixtures/make_series.py`).

use serde_json::Value;

use super::*;

pub(crate) fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/series.json")).unwrap()
}

/// A list of numbers, null is missing.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

#[track_caller]
pub(crate) fn near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(expected.iter().any(|v| v.is_finite()), "{what}: nothing to compare");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let same = (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(same, "{what}, row {i}: {a}, expected {b}");
    }
}

#[test]
fn powers_and_their_fits_are_those_of_scipy() {
    let f = fixture();
    for name in ["passengers", "skewed"] {
        let data = numbers(&f["data"][name]);
        let expected = f["box_cox"][name]["lambda"].as_f64().unwrap();
        let lambda = box_cox_lambda(&data).unwrap();
        // Likelihoods are flat at their top: half the digits of f64.
        assert!((lambda - expected).abs() < 1e-5, "{name}: {lambda}, scipy {expected}");
        let z: Vec<f64> = data.iter().map(|v| box_cox(*v, expected)).collect();
        near(&z, &numbers(&f["box_cox"][name]["values"]), 1e-10, name);
    }
    for name in ["passengers", "skewed", "signed"] {
        let data = numbers(&f["data"][name]);
        let expected = f["yeo_johnson"][name]["lambda"].as_f64().unwrap();
        let lambda = yeo_johnson_lambda(&data).unwrap();
        assert!((lambda - expected).abs() < 1e-5, "{name}: {lambda}, scipy {expected}");
        let z: Vec<f64> = data.iter().map(|v| yeo_johnson(*v, expected)).collect();
        near(&z, &numbers(&f["yeo_johnson"][name]["values"]), 1e-9, name);
    }
}

#[test]
fn decompositions_are_those_of_statsmodels() {
    let f = fixture();
    for case in f["decompose"].as_array().unwrap() {
        let data = numbers(&f["data"][case["data"].as_str().unwrap()]);
        let period = case["period"].as_u64().unwrap() as usize;
        let what = format!("{} {period} {}", case["method"], case["model"]);
        let found = match case["method"].as_str().unwrap() {
            "stl" => {
                let robust = case["robust"].as_bool().unwrap();
                let jump = case["jump"].as_u64().unwrap() as usize;
                Stl { robust, jump, ..Stl::new(period) }.decompose(&data).unwrap()
            }
            _ => {
                let model: Seasonality = serde_json::from_value(case["model"].clone()).unwrap();
                seasonal_decompose(&data, period, model).unwrap()
            }
        };
        near(&found.trend, &numbers(&case["trend"]), 1e-8, &format!("{what} trend"));
        near(&found.seasonal, &numbers(&case["seasonal"]), 1e-8, &format!("{what} seasonal"));
        near(&found.residual, &numbers(&case["residual"]), 1e-8, &format!("{what} residual"));
        if case["model"] == "additive" {
            for (t, y) in data.iter().enumerate() {
                let sum = found.trend[t] + found.seasonal[t] + found.residual[t];
                assert!((sum - y).abs() <= 1e-12 * y.abs(), "{what}: the parts of row {t} do not add up");
            }
        }
    }
}

#[test]
fn scalings_and_fences_are_those_of_numpy_and_pandas() {
    let f = fixture();
    let data = numbers(&f["data"]["holes"]);
    let e = &f["functions"];
    near(&normalize(&data).0, &numbers(&e["normalize"]), 1e-12, "normalize");
    near(&min_max_scale(&data).0, &numbers(&e["min_max"]), 1e-12, "min-max");
    near(&robust_scale(&data).0, &numbers(&e["robust"]), 1e-12, "robust");
    near(&difference(&data, 3), &numbers(&e["difference_3"]), 1e-12, "difference");
    near(&remove_outliers(&data, 1.5), &numbers(&e["remove_outliers"]), 1e-12, "outliers");
    near(&winsorize(&data, 0.1, 0.85), &numbers(&e["winsorize"]), 1e-12, "winsorize");
    let (values, slope, intercept) = detrend(&data);
    near(&values, &numbers(&e["detrend"]["values"]), 1e-9, "detrend");
    near(&[slope, intercept], &numbers(&e["detrend"]["line"]), 1e-9, "line");
}
