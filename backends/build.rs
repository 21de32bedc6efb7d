//! Passes on where libtorch lies, so that programs find it without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by torch-sys for those who depend on it.
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        if std::env::var("CARGO_CFG_UNIX").is_ok() {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        }
        println!("cargo:libtorch_lib={folder}");
    }
}
