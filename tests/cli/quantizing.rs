//! `nhits quantize`, `nhits train --quantize qat`, and quantized models in every other command.

use serde_json::json;

use crate::bundles::Parts;
use crate::tool::{Folder, TINY, daily, keys, model_bytes};

const SPLIT: &str = "--data s.csv --split 40/10/10";

/// The tiny model as integers.
fn quantized(folder: &Folder) {
    folder.ok(&format!("quantize --model model.st {SPLIT} --max-degradation 100% --output int8.st"));
}

#[test]
fn a_model_is_quantized_and_every_command_takes_it() {
    let folder = Folder::with_model();
    let found = folder.json(&format!(
        "quantize --model model.st {SPLIT} --max-degradation 50% --activations minmax --calibration-samples 20 \
         --output int8.st"
    ));
    assert_eq!(
        keys(&found),
        [
            "passed",
            "limit",
            "comparison",
            "layers",
            "calibration_windows",
            "bytes_before",
            "bytes_after",
            "suggestion",
            "output"
        ]
    );
    assert_eq!(
        (&found["passed"], &found["calibration_windows"], &found["limit"]),
        (&json!(true), &json!(20), &json!(0.5))
    );
    let compared = &found["comparison"];
    assert_eq!(keys(compared), ["n_windows", "before", "after", "degradation", "per_step", "per_series"]);
    assert_eq!(compared["n_windows"], 7, "10 validation rows, 4 steps");
    assert_eq!(compared["per_step"].as_array().unwrap().len(), 4);
    assert_eq!(compared["per_series"][0]["unique_id"], "A");
    assert_eq!(keys(&found["layers"][0]), ["layer", "precision", "weights", "sqnr_db", "share"]);
    // The float model's figures are those that `evaluate` prints for the validation rows.
    let evaluated = folder.json(&format!("evaluate --model model.st {SPLIT} --on val"));
    let (a, b) = (compared["before"]["mae"].as_f64().unwrap(), evaluated["scaled"]["mae"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-9, "{a} {b}");
    let evaluated = folder.json(&format!("evaluate --model int8.st {SPLIT} --on val"));
    let (a, b) = (compared["after"]["mae"].as_f64().unwrap(), evaluated["scaled"]["mae"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-9, "{a} {b}");
    let forecasts = |model: &str| {
        let object = folder.json(&format!("predict --model {model} --data s.csv"));
        let list = object["forecasts"].as_array().unwrap().clone();
        list.iter().map(|f| f["NHITS"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    for (a, b) in forecasts("model.st").iter().zip(forecasts("int8.st")) {
        assert!((a - b).abs() < 0.5 && *a != b, "{a} {b}");
    }
    // The same again gives the same bytes.
    folder.ok(&format!(
        "quantize --model model.st {SPLIT} --max-degradation 50% --activations minmax --calibration-samples 20 \
         --output again.st"
    ));
    assert_eq!(folder.read("int8.st"), folder.read("again.st"));
    let report = folder.ok(&format!("quantize --model model.st {SPLIT} --max-degradation 50% -o int8.st")).stdout;
    for part in ["7 validation windows", "times smaller", "mae int8", "signal to noise", "wrote int8.st"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn beyond_the_limit_nothing_is_written_and_the_code_says_so() {
    let folder = Folder::with_model();
    let args = format!("quantize --model model.st {SPLIT} --max-degradation 0 --per-tensor --output int8.st");
    // The float model may be worse by chance; weights that are rounded to one scale and cut-off ranges are not better.
    let args = format!("{args} --activations percentile --percentile 51");
    let ran = folder.run(&format!("{args} --json"));
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let value = ran.json();
    assert_eq!(value["error"]["kind"], "accuracy-gate");
    assert_eq!(value["report"]["passed"], false);
    assert!(value["report"]["suggestion"]["float_layers"][0].as_str().unwrap().starts_with("blocks."));
    let hint = value["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("qat"), "{hint}");
    assert!(!folder.path("int8.st").exists());
    let plain = folder.run(&args);
    assert_eq!(plain.code, Some(1));
    assert!(plain.stderr.contains("nothing was written") && plain.stderr.contains("share of the error"), "{plain:#?}");
}

#[test]
fn layers_stay_in_f32_by_name() {
    let folder = Folder::with_model();
    folder.ok(&format!(
        "quantize --model model.st {SPLIT} --max-degradation 100% --float-layers blocks.0.layers.0,blocks.2.layers.0 -o a.st"
    ));
    let parts = Parts::of(&folder.read("a.st"));
    assert_eq!(parts.tensors["blocks.0.layers.0.weight"]["dtype"], "F32");
    assert_eq!(parts.tensors["blocks.1.layers.0.weight"]["dtype"], "I8");
    assert_eq!(parts.tensors["quantized.blocks.1.layers.0.weight.scale"]["shape"], json!([8]));
    assert_eq!(parts.manifest["format_version"], 2);
    // A float model is what older programs read.
    assert_eq!(Parts::of(model_bytes()).manifest["format_version"], 1);
}

#[test]
fn training_with_rounding_ends_in_an_int8_model() {
    let folder = Folder::with_series();
    folder.ok(&format!("train --data s.csv {TINY} --quantize qat --activations minmax"));
    let parts = Parts::of(&folder.read("model.st"));
    assert_eq!(parts.manifest["quantization"]["method"], "qat");
    assert_eq!(parts.tensors["blocks.0.layers.0.weight"]["dtype"], "I8");
    folder.ok("predict --model model.st --data s.csv");
    // From a float model: its settings, but for those that flags name.
    folder.write("float.st", model_bytes());
    folder.ok(
        "train --data s.csv --from float.st --quantize qat --max-steps 3 --lr 1e-5 --output tuned.st --run-dir run2",
    );
    let tuned = Parts::of(&folder.read("tuned.st"));
    assert_eq!(tuned.manifest["model"], Parts::of(model_bytes()).manifest["model"]);
    assert_eq!(tuned.manifest["quantization"]["float_parent"].as_str().unwrap().len(), 64);
    assert_eq!(tuned.manifest["training"]["steps"], 3);
}

#[test]
fn a_run_with_rounding_is_resumed_to_the_same_bytes() {
    let folder = Folder::with_series();
    let args = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 8 --steps-per-epoch 4 --batch-size 8 \
                --quantize qat --activations minmax --checkpoint-every 2steps";
    folder.ok(&format!("{args} --max-steps 8 --output whole.st --run-dir a"));
    // Another folder with the checkpoint after step 4 only.
    std::fs::create_dir_all(folder.path("b/checkpoints")).unwrap();
    let mut kept = false;
    for entry in std::fs::read_dir(folder.path("a/checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains('6') {
            std::fs::copy(&path, folder.path("b/checkpoints").join(name)).unwrap();
            kept = true;
        }
    }
    assert!(kept, "a checkpoint after step 6");
    folder.ok(&format!("{args} --max-steps 8 --output resumed.st --run-dir b --resume"));
    assert_eq!(Parts::of(&folder.read("whole.st")).learned(), Parts::of(&folder.read("resumed.st")).learned());
}

#[test]
fn the_registry_shows_precision_and_float_parent() {
    let folder = Folder::with_model();
    quantized(&folder);
    let float = folder.json("models --registry r add model.st --name m");
    let int8 = folder.json("models --registry r add int8.st --name m");
    assert_eq!(int8["extra"]["precision"], "int8");
    assert_eq!(int8["extra"]["float_parent"], float["sha256"]);
    assert_eq!(int8["parent"], float["id"]);
    assert!(float["architecture"]["parameters"].as_u64().unwrap() > 0);
    assert_eq!(int8["architecture"], float["architecture"], "integers are parameters too");
    let shown = folder.ok("models --registry r show m@latest").stdout;
    for part in ["precision", "int8", "float_parent", float["id"].as_str().unwrap()] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let predicted = folder.json("predict --model m@latest --registry r --data s.csv");
    assert_eq!(predicted["forecasts"].as_array().unwrap().len(), 4);
    assert!(float["extra"].get("precision").is_none());
}

#[test]
fn damaged_int8_files_are_refused_by_name() {
    let folder = Folder::with_model();
    quantized(&folder);
    folder.ok(&format!("quantize --model model.st {SPLIT} --max-degradation 100% --affine --output affine.st"));
    let (int8, affine) = (Parts::of(&folder.read("int8.st")), Parts::of(&folder.read("affine.st")));
    let scale = "quantized.blocks.0.layers.0.weight.scale";
    let zero = "quantized.blocks.0.layers.0.weight.zero_point";
    let weight = "blocks.0.layers.0.weight";
    let poked = |value: f32| {
        let mut p = int8.clone();
        p.poke(scale, &value.to_le_bytes());
        p
    };
    let with = |p: &Parts, change: &dyn Fn(&mut Parts)| {
        let mut p = p.clone();
        change(&mut p);
        p
    };
    // A tensor that is taken out would leave a hole in the file.
    let rename = |p: &mut Parts, name: &str| {
        let tensor = p.tensors.remove(name).unwrap();
        p.tensors.insert("other".into(), tensor);
    };
    let layer = |p: &mut Parts, change: &dyn Fn(&mut serde_json::Value)| {
        change(&mut p.manifest["quantization"]["layers"][0]);
    };
    let cases: Vec<(&str, Parts, Vec<&str>)> = vec![
        ("scale of zero", poked(0.0), vec![scale, "0 at position 0", "> 0"]),
        ("negative scale", poked(-1.0), vec![scale, "-1 at position 0"]),
        ("scale that is no number", poked(f32::NAN), vec![scale, "NaN at position 0"]),
        ("infinite scale", poked(f32::INFINITY), vec![scale, "inf"]),
        ("absent scale", with(&int8, &|p| rename(p, scale)), vec![scale, "missing"]),
        ("absent zero point", with(&affine, &|p| rename(p, zero)), vec![zero, "missing"]),
        ("scales of another type", with(&int8, &|p| p.tensors[scale]["dtype"] = json!("I32")), vec![scale, "F32"]),
        ("integers of another type", with(&int8, &|p| p.tensors[weight]["dtype"] = json!("U8")), vec![weight, "I8"]),
        (
            "integers of another shape",
            with(&int8, &|p| p.tensors[weight]["shape"] = json!([6, 8])),
            vec![weight, "[8, 6]"],
        ),
        (
            "scales of another shape",
            with(&int8, &|p| p.tensors[scale]["shape"] = json!([4, 2])),
            vec![scale, "[4, 2]", "[1] or [8]"],
        ),
        (
            "a layer that is not there",
            with(&int8, &|p| layer(p, &|l| l["layer"] = json!("blocks.9.layers.0"))),
            vec!["blocks.9.layers.0", "lacks"],
        ),
        (
            "a layer twice",
            with(&int8, &|p| layer(p, &|l| l["layer"] = json!("blocks.0.layers.1"))),
            vec!["blocks.0.layers.1", "twice"],
        ),
        (
            "input scale of zero",
            with(&int8, &|p| layer(p, &|l| l["input"] = json!({"fixed": {"scale": 0.0, "zero": 3}}))),
            vec!["blocks.0.layers.0", "> 0"],
        ),
        (
            "input range that is not settled",
            with(&int8, &|p| layer(p, &|l| l["input"] = json!({"learned": {"signed": true}}))),
            vec!["blocks.0.layers.0", "settled"],
        ),
        ("no layers", with(&int8, &|p| p.manifest["quantization"]["layers"] = json!([])), vec!["at least one layer"]),
        ("other bits", with(&int8, &|p| p.manifest["quantization"]["config"]["bits"] = json!(4)), vec!["bits", "8"]),
        (
            "format 1",
            with(&int8, &|p| p.manifest["format_version"] = json!(1)),
            vec!["format_version", "integer weights"],
        ),
        ("a later format", with(&int8, &|p| p.manifest["format_version"] = json!(99)), vec!["format 99"]),
        (
            "integers without a word about them",
            with(&int8, &|p| drop(p.manifest.as_object_mut().unwrap().remove("quantization"))),
            vec!["I8", "expected F32"],
        ),
    ];
    for (name, parts, says) in cases {
        folder.write("x.st", parts.bytes());
        let ran = folder.run("predict --model x.st --data s.csv");
        assert_eq!(ran.code, Some(2), "{name}: {ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "{name}: {ran:#?}");
        for part in says {
            assert!(ran.stderr.contains(part), "{name} lacks {part:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn wrong_flags_are_refused_with_what_is_allowed() {
    let folder = Folder::with_model();
    quantized(&folder);
    folder.write("short.csv", daily(20));
    for (args, says) in [
        ("quantize --model model.st --data s.csv --split 40/10/10", vec!["--output"]),
        ("quantize --model model.st --data s.csv --split 40/10/10 -o model.st", vec!["--output", "parent"]),
        ("quantize --model int8.st --data s.csv --split 40/10/10 -o x.st", vec!["int8 model", "float"]),
        ("quantize --model model.st --data s.csv --split 40/2/18 -o x.st", vec!["validation rows", "--split"]),
        ("quantize --model model.st --data s.csv --split 40/10/10 --max-degradation -1% -o x.st", vec!["share >= 0"]),
        ("quantize --model model.st --data s.csv --split 40/10/10 --activations static -o x.st", vec!["dynamic"]),
        ("quantize --model model.st --data s.csv --split 40/10/10 --percentile 99 -o x.st", vec!["percentile"]),
        (
            "quantize --model model.st --data s.csv --split 40/10/10 --activations percentile --percentile 10 -o x.st",
            vec!["above 50"],
        ),
        ("quantize --model model.st --data s.csv --split 40/10/10 --calibration-samples 0 -o x.st", vec!["1..=100000"]),
        (
            "quantize --model model.st --data s.csv --split 40/10/10 --float-layers blocks.0.layers.00 -o x.st",
            vec!["did you mean `blocks.0.layers.0`"],
        ),
        ("quantize --model model.st --data short.csv --split 40/10/10 -o x.st", vec!["20"]),
        ("train --data s.csv --horizon 4 --quantize int4", vec!["--quantize", "qat"]),
        ("train --data s.csv --horizon 4 --affine", vec!["--quantize qat"]),
        ("train --data s.csv --from no.st --quantize qat", vec!["no.st"]),
        ("train --data s.csv --from int8.st --quantize qat", vec!["a float model"]),
        ("train --data s.csv --from model.st --horizon 5", vec!["horizon 4, here it is 5"]),
        ("train --data s.csv --horizon 4 --quantize qat --float-layers x", vec!["train.quantize.float_layers"]),
    ] {
        let ran = folder.run(args);
        assert_eq!(ran.code, Some(2), "{args}: {ran:#?}");
        for part in says {
            assert!(ran.stderr.contains(part), "{args} lacks {part:?}: {}", ran.stderr);
        }
        assert!(!folder.path("x.st").exists(), "{args}");
    }
}
