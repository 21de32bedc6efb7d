//! The burn backends that `nhits` can be compiled with: one small file per backend, one visitor over all of them.
//!
//! This crate is the only place where concrete backends are named. A program hands over a [`Job`], generic over
//! burn's `AutodiffBackend`; [`with_backend`] runs it on the backend that a [`Choice`] names, or on the fastest one
//! that is compiled in and has a usable device. Whether a device is there is found out before burn touches it, so that a
//! missing driver is an error with a remedy.

mod choice;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "wgpu")]
mod graphics;
// Without any, as a crate has it that names burn's own, there is nothing for it to do.
#[cfg_attr(
    not(any(
        feature = "flex",
        feature = "ndarray",
        feature = "wgpu",
        feature = "tch-cpu",
        feature = "tch-cuda",
        feature = "cuda"
    )),
    allow(dead_code)
)]
mod kind;
#[cfg(feature = "metal")]
mod metal;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(any(feature = "cuda", feature = "tch-cuda"))]
mod nvidia;
#[cfg(any(feature = "flex", feature = "ndarray", feature = "tch-cpu", test))]
mod processor;
#[cfg(feature = "tch-cpu")]
mod tch_cpu;
#[cfg(feature = "tch-cuda")]
mod tch_cuda;
#[cfg(feature = "vulkan")]
mod vulkan;
#[cfg(feature = "webgpu")]
mod webgpu;
#[cfg(feature = "wgpu")]
mod wgpu;

pub use choice::{BackendError, Choice, Device, PassedOver, Taken, device_info, passed_over, resolve, resolve_all};
pub use kind::{BackendInfo, DeviceInfo, Float, Missing};

use burn::tensor::backend::AutodiffBackend;

/// Work that can be done on any backend.
pub trait Job {
    /// What the work gives back.
    type Output;

    /// Does the work on `device` of backend `B`.
    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output;

    /// Does the work on several devices of backend `B`, at least one; on the first alone where it is not shared out.
    fn run_on<B: AutodiffBackend>(self, taken: &Taken, devices: Vec<B::Device>) -> Self::Output
    where
        Self: Sized,
    {
        let first = devices.into_iter().next().unwrap_or_default();
        self.run::<B>(taken, first)
    }
}

/// Makes the table of backends, and the visitor, from one line per backend.
macro_rules! backends {
    ($($name:literal if $feature:tt: $module:ident, $about:literal, deterministic $same:literal, quantized $q:literal,
        kernels $kernels:literal;)*) => {
        /// Every backend this crate knows, fastest first: the order in which one is taken without `--backend`.
        pub const BACKENDS: &[BackendInfo] = &[$(BackendInfo {
            name: $name,
            feature: $feature,
            about: $about,
            compiled_in: cfg!(feature = $feature),
            deterministic: $same,
            quantized: $q,
            fusion: $kernels && cfg!(feature = "fusion"),
            #[cfg(feature = $feature)]
            probe: <$module::This as kind::Kind>::devices,
            #[cfg(not(feature = $feature))]
            probe: || Ok(Vec::new()),
            #[cfg(feature = $feature)]
            touch: kind::touch::<$module::This>,
            #[cfg(not(feature = $feature))]
            touch: |_| Ok(()),
        }),*];

        /// Hands the job to the backend that was taken.
        fn visit<J: Job>(taken: &Taken, infos: &[DeviceInfo], job: J) -> Result<J::Output, BackendError> {
            match taken.backend {
                $(#[cfg(feature = $feature)]
                $name => Ok(kind::run_on::<$module::This, J>(taken, infos, job)),)*
                other => {
                    // Only where no backend is compiled in.
                    let _ = (infos, job);
                    Err(BackendError::NotCompiledIn { name: other.into(), feature: other.into() })
                }
            }
        }
    };
}

// One line per backend: its name, feature and file. The order is that of `BACKENDS`: GPUs before CPUs, and among each
// the one first that was measured to be the fastest (docs/backends.md).
backends! {
    "tch-cuda" if "tch-cuda": tch_cuda, "NVIDIA GPUs through libtorch",
        deterministic false, quantized false, kernels false;
    "cuda" if "cuda": cuda, "NVIDIA GPUs, kernels compiled at run time", deterministic false, quantized true, kernels true;
    "metal" if "metal": metal, "Apple's GPUs, kernels in MSL", deterministic false, quantized true, kernels true;
    "vulkan" if "vulkan": vulkan, "GPUs through Vulkan, kernels in SPIR-V", deterministic false, quantized true, kernels true;
    "wgpu" if "wgpu": wgpu, "GPUs of every make, kernels in WGSL", deterministic false, quantized true, kernels true;
    "webgpu" if "webgpu": webgpu, "the same as wgpu", deterministic false, quantized true, kernels true;
    "flex" if "flex": flex, "pure-Rust CPU backend with SIMD (AVX-512 where the CPU has it)",
        deterministic true, quantized true, kernels false;
    "tch-cpu" if "tch-cpu": tch_cpu, "the CPU through libtorch", deterministic true, quantized false, kernels false;
    "ndarray" if "ndarray": ndarray, "CPU backend on the ndarray crate", deterministic true, quantized true, kernels false;
}

/// The backends of this build, fastest first.
pub fn compiled_in() -> impl Iterator<Item = &'static BackendInfo> {
    BACKENDS.iter().filter(|b| b.compiled_in)
}

/// The backends of this build that have a usable device here, fastest first.
pub fn usable() -> impl Iterator<Item = &'static BackendInfo> {
    compiled_in().filter(|b| resolve(&Choice { backend: Some(b.name.into()), device: Device::Auto }).is_ok())
}

/// Runs `job` on the backend that `choice` names, or on the fastest usable one.
///
/// # Errors
/// When the backend is unknown or not compiled in, or the device is not there; the message names the cargo feature or
/// the remedy. The job is not run then.
pub fn with_backend<J: Job>(choice: &Choice, job: J) -> Result<J::Output, BackendError> {
    let found = choice::find(choice)?;
    visit(&found.taken, &[found.device], job)
}

/// Runs `job` on several devices of the backend that `choice` names, or of the fastest one that has the first device.
///
/// # Errors
/// As [`with_backend`], and when a device is named twice.
pub fn with_devices<J: Job>(choice: &Choice, devices: &[Device], job: J) -> Result<J::Output, BackendError> {
    let (taken, infos) = resolve_all(choice, devices)?;
    visit(&taken, &infos, job)
}

/// How many threads libtorch may compute with on the CPU; other backends take the threads they are called on.
pub fn set_threads(n: usize) {
    #[cfg(feature = "tch-cpu")]
    tch::set_num_threads(i32::try_from(n).unwrap_or(i32::MAX));
    let _ = n;
}
