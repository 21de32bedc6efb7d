//! `nhits models`, and models that are named as the registry knows them.

use serde_json::Value;

use crate::tool::{Folder, TINY, daily};

/// The ids of a list of models.
fn ids(value: &Value) -> Vec<&str> {
    value["models"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect()
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id: {value}")).into()
}

#[test]
fn a_model_is_filed_found_tagged_promoted_and_removed() {
    let folder = Folder::with_model();
    let added =
        folder.json("models add model.st --name btc --tag a,b --description hourly --metric mase=0.9 --meta desk=4");
    assert_eq!(
        (&added["version"], &added["type"], &added["size"]),
        (&"1.0.0".into(), &"nhits".into(), &folder.read("model.st").len().into())
    );
    assert_eq!((&added["architecture"]["input_size"], &added["architecture"]["horizon"]), (&12.into(), &4.into()));
    assert!(added["metrics"]["val_mae"].is_number() && added["data"]["fingerprint"].is_string(), "{added}");
    let first = id(&added);
    let second = id(&folder.json("models add model.st --name btc --bump minor --parent btc@1.0.0"));
    folder.write("notes.bin", "not a bundle");
    let third = id(&folder.json("models add notes.bin --name other --type table --metric mase=0.5"));
    assert!(folder.path("artifacts/registry/registry.sqlite").is_file(), "the default folder");

    let list = |flags: &str| folder.json(&format!("models list {flags}"));
    assert_eq!(ids(&list("")), [&third, &second, &first]);
    assert_eq!(ids(&list("--name btc --tag a")), [&first]);
    assert_eq!(ids(&list("--any-tag a,zz")), [&first]);
    assert_eq!(ids(&list("--metric mase<0.8")), [&third]);
    assert_eq!(ids(&list("--meta desk=4")), [&first]);
    assert_eq!(ids(&list("--type table")), [&third]);
    assert_eq!(ids(&list("--after 2020-01-01 --limit 1")), [&third]);
    assert!(ids(&list("--before 2020-01-01")).is_empty());
    assert_eq!(ids(&folder.json("models search hour")), [&first]);
    let near = folder.json(&format!("models similar {first} --k 1 --metric l2"));
    assert_eq!(ids(&near), [&second]);
    assert!(near["models"][0]["score"].as_f64().unwrap() >= 0.0);

    let tagged = folder.json("models tag btc@1.0.0 c --remove a --note checked");
    assert_eq!(tagged["tags"], serde_json::json!(["b", "c"]));
    assert_eq!(folder.json("models show btc@1.0.0")["notes"][0]["text"], "checked");
    folder.json("models promote btc@1.0.0");
    let promoted = folder.json("models promote btc@1.1.0 production");
    assert_eq!((&promoted["former"], &promoted["stage"]), (&first.as_str().into(), &"production".into()));
    assert_eq!(ids(&list("--stage production")), [&second]);
    assert_eq!(folder.json("models lineage btc@1.1.0")["ancestors"][0]["id"], first.as_str());
    assert_eq!(folder.json("models stats")["models"], 3);
    let verified = folder.json("models verify");
    assert_eq!((&verified["ok"], &verified["good"]), (&true.into(), &2.into()));

    let refused = folder.run(&format!("models rm {first} --json"));
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (Some(2), &"model-in-use".into()));
    assert_eq!(folder.json("models rm other")["deleted"][0]["id"], third.as_str());
    assert_eq!(folder.json("models gc")["orphaned"], 0);
    // For a person, without JSON.
    for command in
        ["list", "show btc", "search btc", "similar btc", "lineage btc", "checkpoints", "stats", "verify", "gc"]
    {
        assert!(!folder.ok(&format!("models {command}")).stdout.trim().is_empty(), "{command}");
    }
}

#[test]
fn a_bundle_path_may_be_a_name_of_the_registry() {
    let folder = Folder::with_model();
    let first = id(&folder.json("models add model.st --name wave --registry r"));
    folder.json("models promote wave --registry r");
    let by_path = folder.ok("predict --model model.st --data s.csv").stdout;
    for reference in ["wave", "wave@production", "wave@1.0.0", "wave@latest", &first] {
        let said = folder.ok(&format!("predict --model {reference} --registry r --data s.csv")).stdout;
        assert_eq!(said, by_path, "{reference}");
    }
    let judged =
        |model: &str| folder.json(&format!("evaluate --model {model} --data s.csv --split 40/10/10"))["scaled"].clone();
    assert_eq!(judged("wave@production --registry r"), judged("model.st"));
    // A path that exists wins.
    folder.write("wave", "not a bundle");
    assert_eq!(
        folder.run("predict --model wave --registry r --data s.csv --json").json()["error"]["kind"],
        "not-safetensors"
    );
    for (model, kind) in [("wave@2.0.0", "unknown-model"), ("sea", "unknown-model"), ("no/file", "bundle-io")] {
        let ran = folder.run(&format!("predict --model {model} --registry r --data s.csv --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &kind.into()), "{model}");
    }
    let ran = folder.run("predict --model wave@latest --registry nowhere --data s.csv --json");
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &"no-registry".into()));
    assert!(!folder.path("nowhere").exists());
}

/// A run of 20 steps with a checkpoint every 5.
const RUN: &str = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 8 --dropout 0.2 --batch-size 16 \
                   --max-steps 20 --patience 0 --seed 5 --dashboard none --checkpoint-every 5steps";

#[test]
fn training_files_its_checkpoints_and_its_model() {
    let folder = Folder::new();
    folder.write("s.csv", daily(120));
    let run = format!("{RUN} --run-dir run --registry r --keep-checkpoints 3");
    let trained = folder.json(&format!("{run} --register wave --tag x --tag y --description weekly"));
    assert_eq!(trained["registered"]["model"], "wave@1.0.0");
    let model = folder.json(&format!("models show {} --registry r", id(&trained["registered"])));
    assert_eq!((&model["tags"], &model["description"]), (&serde_json::json!(["x", "y"]), &"weekly".into()));
    assert_eq!((&model["metrics"]["val_mae"], &model["seed"]), (&trained["val_mae"], &5.into()));
    assert_eq!((&model["data"]["n_rows"], &model["data"]["from"]), (&120.into(), &"2020-01-01".into()));
    assert!(model["data"]["statistics"]["autocorrelation"].as_f64().unwrap() > 0.3, "{model}");
    assert_eq!(model["hardware"]["backend"], trained["backend"]);
    let listed = folder.json("models checkpoints wave --registry r");
    let steps: Vec<u64> =
        listed["checkpoints"].as_array().unwrap().iter().map(|c| c["step"].as_u64().unwrap()).collect();
    assert!(steps.starts_with(&[20, 15, 10]) && steps.len() <= 4, "the last three and the best one: {steps:?}");
    assert!(listed["checkpoints"][0]["metrics"]["loss"].is_number(), "{listed}");
    let best = folder.json("models checkpoints wave --best --metric loss --registry r");
    assert_eq!(best["checkpoints"].as_array().unwrap().len(), 1);

    // Going on from one of them ends with the same bytes.
    let at = |step: u64| {
        let found = listed["checkpoints"].as_array().unwrap().iter().find(|c| c["step"] == step).unwrap();
        id(found)
    };
    let resumed = folder.json(&format!("{RUN} --run-dir again --registry r --resume {}", at(10)));
    assert_eq!((&resumed["resumed_at"], &resumed["steps"]), (&10.into(), &20.into()));
    assert!(folder.read("again/model.safetensors") == folder.read("run/model.safetensors"));
    let pruned = folder.json("models checkpoints wave --keep-last 1 --registry r");
    assert_eq!(pruned["checkpoints"].as_array().unwrap().len(), 1);
    let ran = folder.run(&format!("{RUN} --run-dir z --registry r --resume 0123456789abcdef --json"));
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &"unknown-checkpoint".into()));
    // What could not be filed at the end is refused before the start.
    for (flags, kind) in [
        ("--register a/b", "invalid-setting"),
        ("--register wave --bump 1.0.0", "version-taken"),
        ("--register wave --parent nobody", "unknown-model"),
        ("--tag x", "usage"),
    ] {
        let ran = folder.run(&format!("{RUN} --run-dir z --registry r {flags} --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &kind.into()), "{flags}");
    }
    assert!(!folder.path("z/model.safetensors").exists());
    let plain = folder.json(&format!("train --data s.csv {TINY} --register wave"));
    assert_eq!(plain["registered"]["registry"], "artifacts/registry");
    assert!(folder.json("models checkpoints")["checkpoints"].as_array().unwrap().is_empty(), "only with --registry");
}

#[test]
fn models_travel_in_an_archive() {
    let folder = Folder::with_model();
    let first = id(&folder.json("models add model.st --name wave --registry a"));
    folder.json("models export wave --registry a --output out/x.tar.zst");
    let imported = folder.json("models import out/x.tar.zst --registry b");
    assert_eq!(imported["added"], serde_json::json!([first]));
    let predict = |r: &str| folder.ok(&format!("predict --model wave --registry {r} --data s.csv")).stdout;
    assert_eq!(predict("a"), predict("b"));
    folder.write("bad.tar.zst", "no archive");
    for archive in ["bad.tar.zst", "missing.tar.zst"] {
        let ran = folder.run(&format!("models import {archive} --registry b --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &"bad-archive".into()), "{archive}");
    }
    assert_eq!(ids(&folder.json("models export --all --registry b -o all.tar.zst")).len(), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_code() {
    let folder = Folder::with_model();
    for command in ["list", "stats", "show x", "gc", "verify", "rm x"] {
        let ran = folder.run(&format!("models {command} --registry nowhere --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &"no-registry".into()), "{command}");
    }
    for (command, kind) in [
        ("add missing.st --name x", "bundle-io"),
        ("add s.csv --name x", "not-safetensors"),
        ("add model.st --name ../x", "invalid-setting"),
        ("add model.st --name x --bump 1.x", "invalid-setting"),
        ("add model.st --name x --metric a", "usage"),
        ("add model.st", "usage"),
    ] {
        let ran = folder.run(&format!("models {command} --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &kind.into()), "{command}");
    }
    let model = folder.json("models add model.st --name x");
    for command in
        ["list --metric val_mae", "list --after noon", "similar x --metric far", "promote x nowhere", "search ..."]
    {
        let ran = folder.run(&format!("models {command} --json"));
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(2), &"invalid-setting".into()), "{command}");
    }
    // A damaged file is the program's failure to keep it: code 1.
    let sha256 = model["sha256"].as_str().unwrap();
    folder.write(&format!("artifacts/registry/objects/{}/{}", &sha256[..2], &sha256[2..]), "damaged");
    for command in ["models verify", "predict --model x --data s.csv"] {
        let ran = folder.run(&format!("{command} --json --quiet"));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("damaged"), "{ran:?}");
    }
    folder.write("artifacts/registry/registry.sqlite", "this was a database once, and it is one no more");
    let ran = folder.run("models list --json");
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (Some(1), &"registry-damaged".into()));
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_that_was_filed() {
    let folder = Folder::with_model();
    folder.json("models add model.st --name wave");
    folder.write("large.bin", vec![7; 2_000_000]);
    // No file may grow beyond this: first the model's file, then the database cannot be written.
    for limit in [1000, 16] {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let file = if limit == 1000 { "large.bin" } else { "s.csv" };
        let output = std::process::Command::new("bash")
            .args([
                "-c",
                &script,
                env!("CARGO_BIN_EXE_nhits"),
                "models",
                "add",
                file,
                "--name",
                "big",
                "--type",
                "x",
                "--json",
            ])
            .current_dir(folder.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("large") || said.contains("disk") || said.contains("I/O"), "{said}");
        assert_eq!(ids(&folder.json("models list")).len(), 1);
        assert_eq!(folder.json("models verify")["ok"], true);
    }
    folder.json("models add large.bin --name big --type x");
    assert_eq!(folder.json("models verify")["good"], 2);
}
