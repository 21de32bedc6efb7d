//! Puts the folder of libtorch into the programs of builds that have it, so that they find it without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by nhits-backends where it has libtorch.
    if let Ok(folder) = std::env::var("DEP_NHITS_BACKENDS_LIBTORCH_LIB")
        && std::env::var("CARGO_CFG_UNIX").is_ok()
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
