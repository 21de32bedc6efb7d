//! Bundles that are damaged, of another program, or made to do harm.

use serde_json::json;

use super::{Bad, bad};
use crate::bundles::{Parts, file};
use crate::tool::{Folder, TINY, model_bytes, panel};

/// The tiny model with something changed.
fn model_with(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(model_bytes());
    change(&mut parts);
    parts.bytes()
}

/// A model with a static covariate.
fn model_with_static() -> Parts {
    let folder = Folder::new();
    folder.write("x.csv", panel(&[("A", 40), ("B", 40)]));
    folder.write("t.csv", "unique_id,area\nA,3\nB,5\n");
    folder.ok(&format!("train --data x.csv --static t.csv {TINY}"));
    Parts::of(&folder.read("model.st"))
}

pub fn table() -> Vec<Bad> {
    let whole = model_bytes();
    let weight = "blocks.0.layers.0.weight";
    vec![
        bad("absent bundle", "predict --model no.st --data s.csv", "bundle-io", &["no.st"]),
        bad("folder as bundle", "predict --model folder --data s.csv", "bundle-io", &["folder"]),
        bad("csv as bundle", "predict --model s.csv --data s.csv", "not-safetensors", &["s.csv"]),
        bad("empty bundle", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "0 bytes"])
            .with("x.st", ""),
        bad("truncated bundle", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"])
            .with("x.st", &whole[..whole.len() / 2]),
        bad("bundle without its last byte", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"])
            .with("x.st", &whole[..whole.len() - 1]),
        bad("hostile header length", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "header"])
            .with("x.st", [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat()),
        bad("header that is not JSON", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "JSON"])
            .with("x.st", file("{not json", &[])),
        bad("hostile offsets", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"]).with(
            "x.st",
            model_with(|p| {
                p.tensors[weight]["data_offsets"] = json!([0, u64::MAX]);
            }),
        ),
        bad("hostile shape", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"]).with(
            "x.st",
            model_with(|p| {
                p.tensors[weight]["shape"] = json!([1u64 << 40, 1u64 << 40]);
            }),
        ),
        bad("no manifest", "predict --model x.st --data s.csv", "not-a-bundle", &["x.st", "`nhits`", "nhits import"])
            .with("x.st", model_with(|p| p.manifest = json!(null))),
        bad("manifest without a network", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "model"])
            .with(
                "x.st",
                model_with(|p| {
                    p.manifest.as_object_mut().unwrap().remove("model");
                }),
            ),
        bad(
            "newer format",
            "predict --model x.st --data s.csv",
            "newer-format",
            &["x.st", "format 3", "up to 2", "newer version"],
        )
        .with("x.st", model_with(|p| p.manifest["format_version"] = json!(3))),
        bad("format 0", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "`format_version` is 0"])
            .with("x.st", model_with(|p| p.manifest["format_version"] = json!(0))),
        bad("format of letters", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "`format_version`"])
            .with("x.st", model_with(|p| p.manifest["format_version"] = json!("one"))),
        bad(
            "transforms in an old format",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "`format_version` is 1", "came with 2"],
        )
        .with("x.st", model_with(|p| p.manifest["target"] = json!([{"name": "detrend"}]))),
        bad(
            "transform without its values",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "series.target.0", "missing"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["format_version"] = json!(2);
                p.manifest["target"] = json!([{"name": "detrend"}]);
            }),
        ),
        bad(
            "transform with a wild setting",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "transform.target.period"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["format_version"] = json!(2);
                p.manifest["target"] = json!([{"name": "deseasonalize", "period": 1u64 << 60}]);
            }),
        ),
        bad(
            "features without their columns",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "`columns`", "`features`"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["format_version"] = json!(2);
                p.manifest["features"] = json!({"columns": {"lags": [1]}});
            }),
        ),
        bad(
            "feature without a row",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "features.lags = 0"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["format_version"] = json!(2);
                p.manifest["features"] = json!({"columns": {"lags": [0]}});
            }),
        ),
        bad("network without input", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "input_size = 0"])
            .with("x.st", model_with(|p| p.manifest["model"]["input_size"] = json!(0))),
        bad("network of a terabyte", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "weights"])
            .with("x.st", model_with(|p| p.manifest["model"]["mlp_units"] = json!([[1_000_000, 1_000_000]]))),
        bad("a million layers", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "100 hidden layers"])
            .with("x.st", model_with(|p| p.manifest["model"]["mlp_units"] = json!(vec![[8, 8]; 1_000_000]))),
        bad(
            "hostile horizon",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "horizon = 1000000000000"],
        )
        .with(
            "x.st",
            model_with(|p| {
                // The shapes of the weights stay the same: knots are horizon / downsampling.
                p.manifest["model"]["horizon"] = json!(1_000_000_000_000u64);
                p.manifest["model"]["n_freq_downsample"] =
                    json!([1_000_000_000_000u64, 500_000_000_000u64, 250_000_000_000u64]);
            }),
        ),
        bad(
            "outputs of another loss",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "1 outputs", "3"],
        )
        .with("x.st", model_with(|p| p.manifest["model"]["outputs"] = json!(3))),
        bad(
            "covariates without names",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "`columns.hist_exog`"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["model"]["hist_exog"] = json!(1);
                p.manifest["imported_from"] = json!("neuralforecast: x");
            }),
        ),
        bad(
            "tensor missing",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "missing", "[8, 6]"],
        )
        .with(
            "x.st",
            model_with(|p| {
                let tensor = p.tensors.remove(weight).unwrap();
                p.tensors.insert("blocks.9.layers.0.weight".into(), tensor);
            }),
        ),
        bad(
            "tensor of another shape",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "[6, 8]", "[8, 6]"],
        )
        .with("x.st", model_with(|p| p.tensors[weight]["shape"] = json!([6, 8]))),
        bad(
            "tensor of another type",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "I32", "F32"],
        )
        .with("x.st", model_with(|p| p.tensors[weight]["dtype"] = json!("I32"))),
        bad(
            "NaN weight",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "value 0 is NaN"],
        )
        .with("x.st", model_with(|p| p.poke(weight, &f32::NAN.to_le_bytes()))),
        bad(
            "series scale 0",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.y.scale`", "0", "> 0"],
        )
        .with("x.st", model_with(|p| p.poke("series.y.scale", &0f64.to_le_bytes()))),
        bad(
            "series shift NaN",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.y.shift`", "NaN", "finite"],
        )
        .with("x.st", model_with(|p| p.poke("series.y.shift", &f64::NAN.to_le_bytes()))),
        bad(
            "series without names",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.ids`", "JSON"],
        )
        .with("x.st", model_with(|p| p.poke("series.ids", b"{"))),
        bad(
            "static scale 0",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.stat`", "scale of 0", "> 0"],
        )
        .with("x.st", {
            let mut parts = model_with_static();
            let mut pair = parts.tensor("series.stat").to_vec();
            pair[8..16].copy_from_slice(&0f64.to_le_bytes());
            parts.poke("series.stat", &pair);
            parts.bytes()
        }),
    ]
}
