//! Backends and devices from the shell: which are there, which are refused with what remedy, and what is shared.

use nhits_backends::{BACKENDS, Choice, Device, compiled_in, resolve, usable};
use serde_json::{Value, json};

use crate::tool::{Folder, Ran, TINY};

/// Runs it and expects a refusal of this kind: exit code, the error object.
#[track_caller]
fn refused(folder: &Folder, args: &str, kind: &str) -> (Ran, Value) {
    let ran = folder.run(&format!("{args} --json"));
    assert_eq!(ran.code, Some(2), "{args}: {ran:#?}");
    let error = ran.json()["error"].clone();
    assert_eq!(error["kind"], kind, "{args}: {ran:#?}");
    assert!(error["hint"].as_str().is_some_and(|h| !h.is_empty()), "{args}: {ran:#?}");
    (ran, error)
}

#[test]
fn backends_pass_their_self_test() {
    let folder = Folder::new();
    let found = folder.json("backends");
    let taken = found["taken"].as_str().unwrap();
    let all = found["backends"].as_array().unwrap();
    assert_eq!(
        all.iter().map(|b| b["name"].as_str().unwrap()).collect::<Vec<_>>(),
        BACKENDS.iter().map(|b| b.name).collect::<Vec<_>>()
    );
    let own = all.iter().find(|b| b["name"] == taken).unwrap();
    let device = &own["devices"][0];
    assert_eq!((&own["compiled_in"], &device["self_test"]["passed"]), (&json!(true), &json!(true)), "{found}");
    assert_eq!(found["device"], device["device"]);
    for backend in all.iter().filter(|b| b["compiled_in"] == true) {
        let devices = backend["devices"].as_array().unwrap();
        // A backend has devices, or says what is missing and what to do.
        assert_eq!(devices.is_empty(), backend["missing"]["remedy"].is_string(), "{backend}");
        for device in devices {
            assert!(device["name"].as_str().is_some_and(|n| !n.is_empty()), "{device}");
            assert!(device["floats"].as_array().unwrap().contains(&json!("f32")), "{device}");
            assert_ne!(device["mixed_precision"].is_string(), device["no_mixed_precision_because"].is_string());
            let test = &device["self_test"];
            assert!(test["forecast_difference"].as_f64().is_some_and(|d| d < 1e-5), "{backend}");
            assert!(
                test["after_step_difference"].as_f64().is_some_and(|d| d < 1e-5) && test["ms"].is_f64(),
                "{backend}"
            );
        }
    }
    let shown = folder.ok("backends").stdout;
    assert!(shown.contains("self-test passed"), "{shown}");
    assert!(shown.contains(&format!("taken without --backend and --device: {taken}")), "{shown}");
    let again = folder.json(&format!("backends --backend {taken} --device {}", found["device"].as_str().unwrap()));
    assert_eq!(again["taken"], taken);
}

#[test]
fn what_is_not_there_is_refused_and_never_replaced() {
    let folder = Folder::with_series();
    let train = format!("train --data s.csv {TINY}");
    refused(&folder, &format!("{train} --backend flox"), "unknown-backend");
    for info in BACKENDS.iter().filter(|b| !b.compiled_in) {
        let (ran, _) = refused(&folder, &format!("{train} --backend {}", info.name), "backend-not-compiled-in");
        assert!(ran.stdout.contains(&format!("--features {}", info.feature)), "{ran:#?}");
    }
    for info in compiled_in() {
        match resolve(&Choice { backend: Some(info.name.into()), device: Device::Auto }) {
            Ok(_) => refused(&folder, &format!("{train} --backend {} --gpu 9999", info.name), "no-such-device"),
            // A driver that is missing: what and what to do.
            Err(e) => {
                let (ran, error) = refused(&folder, &format!("{train} --backend {}", info.name), "device-missing");
                assert!(!ran.stderr.contains("panicked") && error["hint"] == e.hint(), "{ran:#?}");
                refused(&folder, &format!("{train} --backend {} --gpu 0", info.name), "device-missing")
            }
        };
    }
    refused(&folder, &format!("{train} --gpu 9999"), "no-such-device");
    assert!(!folder.path("model.st").exists(), "something was trained all the same");
}

#[test]
fn a_backend_that_is_passed_over_is_named_in_one_line() {
    let folder = Folder::with_series();
    let ran = folder.ok(&format!("train --data s.csv {TINY}"));
    let taken = resolve(&Choice::default()).unwrap();
    let better: Vec<&str> = compiled_in().map(|b| b.name).take_while(|n| *n != taken.backend).collect();
    let lines: Vec<&str> = ran.stderr.lines().filter(|l| l.contains("computing with")).collect();
    assert_eq!(lines.len(), usize::from(!better.is_empty()), "{ran:#?}");
    for name in better {
        assert!(lines[0].contains(&format!("{name}: ")), "{lines:?}");
    }
    // Who asks for the CPU has what was asked for.
    let asked = folder.ok(&format!("train --data s.csv {TINY} --device cpu"));
    assert!(!asked.stderr.contains("computing with"), "{asked:#?}");
}

#[test]
fn every_usable_backend_trains_resumes_predicts_and_evaluates_with_the_same_commands() {
    for info in usable() {
        let folder = Folder::with_series();
        let on = format!("--backend {}", info.name);
        let train = format!("train --data s.csv {TINY} --val-split 0.2 --checkpoint-every 1step {on}");
        let trained = folder.json(&train);
        assert_eq!(trained["backend"], info.name);
        assert_eq!(folder.json(&format!("{train} --resume"))["resumed_at"], 2);
        let here = folder.json(&format!("predict --model model.st --data s.csv {on}"));
        // Elsewhere the same numbers up to rounding.
        for other in usable() {
            let there = folder.json(&format!("predict --model model.st --data s.csv --backend {}", other.name));
            let value = |v: &Value| v["forecasts"][3]["NHITS"].as_f64().unwrap();
            assert!((value(&here) - value(&there)).abs() < 1e-3, "{} {}: {here} {there}", info.name, other.name);
        }
        let judged = folder.json(&format!("evaluate --model model.st --data s.csv --split 0.6/0.2/0.2 {on}"));
        assert!(judged["scaled"]["mae"].is_f64(), "{judged}");
    }
}

#[test]
fn mixed_precision_is_refused_with_the_reason_where_it_does_not_pay() {
    let folder = Folder::with_series();
    for info in usable() {
        let device = &info.devices().unwrap()[0];
        let args = format!("train --data s.csv {TINY} --mixed-precision --backend {}", info.name);
        match &device.mixed_precision {
            Ok(_) => {
                folder.ok(&args);
            }
            Err(reason) => {
                let (ran, _) = refused(&folder, &args, "no-mixed-precision");
                assert!(ran.stdout.contains(reason), "{ran:#?}");
            }
        }
    }
    // The setting of a file means the same.
    folder.write("c.toml", "[train]\nmixed_precision = true\n");
    if usable().all(|b| b.devices().unwrap()[0].mixed_precision.is_err()) {
        refused(&folder, &format!("train --data s.csv {TINY} --config c.toml"), "no-mixed-precision");
    }
}

#[test]
fn devices_of_a_shared_batch_are_checked() {
    let folder = Folder::with_series();
    let train = format!("train --data s.csv {TINY}");
    let device = resolve(&Choice::default()).unwrap().device;
    refused(&folder, &format!("{train} --devices {device},{device}"), "device-twice");
    refused(&folder, &format!("{train} --devices {device},gpu:9999"), "no-such-device");
    refused(&folder, &format!("{train} --devices {device} --device {device}"), "usage");
    assert_eq!(folder.run(&format!("{train} --devices {device},tpu")).code, Some(2));
    // One is what --device means.
    folder.ok(&format!("{train} --devices {device}"));
    let one = folder.read("model.st");
    folder.ok(&format!("{train} --device {device}"));
    if usable().next().is_some_and(|b| b.deterministic) {
        assert_eq!(one, folder.read("model.st"));
    }
}
