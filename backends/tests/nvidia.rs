//! What the probe makes of NVIDIA drivers that are there, half there, or broken, without a GPU: a C compiler makes them.

#![cfg(all(target_os = "linux", any(feature = "cuda", feature = "tch-cuda")))]

use std::path::Path;
use std::process::Command;

use nhits_backends::{Choice, Device, compiled_in, resolve};

/// Says what the backends find, when the tests below start this program again beside a driver.
#[test]
fn report() {
    if std::env::var_os("NHITS_FAKE_DRIVER").is_none() {
        return;
    }
    for info in compiled_in().filter(|b| b.name.contains("cuda")) {
        match info.devices() {
            Ok(devices) => println!("{}: devices {devices:?}", info.name),
            Err(missing) => println!("{}: missing {} -> {}", info.name, missing.reason, missing.remedy),
        }
        let taken = resolve(&Choice { backend: Some(info.name.into()), device: Device::Gpu(0) });
        println!("{}: taken {:?}", info.name, taken.map_err(|e| e.to_string()));
    }
}

/// Makes a shared library of C.
fn library(source: &str, to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_driver").join(source);
    let done = Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).args([to, &source]).status();
    assert!(done.is_ok_and(|s| s.success()), "cc makes no {}", to.display());
}

/// What [`report`] says beside the libraries of a folder.
fn beside(folder: &Path) -> String {
    let before = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["report", "--exact", "--nocapture"])
        .env("NHITS_FAKE_DRIVER", "1")
        .env("LD_LIBRARY_PATH", format!("{}:{before}", folder.display()))
        .env("CUDA_PATH", folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Neither a panic nor an abort, whatever the driver does.
    assert!(output.status.success(), "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("taken Err("), "{text}");
    text
}

#[test]
fn gpus_are_read_and_what_else_is_missing_is_named_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    library("cuda.c", &folder.path().join("libcuda.so.1"));
    let text = beside(folder.path());
    if cfg!(feature = "cuda") {
        assert!(text.contains("\ncuda: missing NVIDIA's run-time compiler (libnvrtc) cannot be loaded"), "{text}");
    }
    library("none.c", &folder.path().join("libnvrtc.so.12"));
    let text = beside(folder.path());
    if cfg!(feature = "cuda") {
        assert!(text.contains("\ncuda: missing CUDA's headers are not there"), "{text}");
    }
    std::fs::create_dir(folder.path().join("include")).unwrap();
    std::fs::write(folder.path().join("include/cuda_runtime.h"), "").unwrap();
    let text = beside(folder.path());
    if cfg!(feature = "cuda") {
        for part in ["device: Gpu(0)", "New GPU", "memory: Some(85899345920)", "CUDA 12.8, compute capability 9.0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for part in ["device: Gpu(1)", "Old GPU", "compute capability 6.1", "no tensor cores"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Such a driver computes nothing, which is an error as well.
        assert!(text.contains("does not compute"), "{text}");
    }
}

#[test]
fn a_driver_without_a_gpu_is_told_apart_from_none() {
    let folder = tempfile::tempdir().unwrap();
    library("none.c", &folder.path().join("libcuda.so.1"));
    assert!(beside(folder.path()).contains("missing the NVIDIA driver finds no GPU"));
    std::fs::write(folder.path().join("libcuda.so.1"), "no library").unwrap();
    if resolve(&Choice { backend: Some("cuda".into()), device: Device::Auto }).is_err() {
        assert!(beside(folder.path()).contains("missing there is no NVIDIA driver"));
    }
}
