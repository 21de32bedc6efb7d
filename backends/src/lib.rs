//! The burn backends that `nhits` can be compiled with: one small file per backend, one visitor over all of them.
//!
//! This crate is the only place where concrete backends are named. A program hands over a [`Job`], generic over
//! burn's `AutodiffBackend`; [`with_backend`] runs it on the backend that a [`Choice`] names, or on the fastest one
//! that is compiled in and has a usable device.

mod choice;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;

pub use choice::{BACKENDS, BackendError, BackendInfo, Choice, Device, Taken, compiled_in, resolve};

use burn::tensor::backend::AutodiffBackend;

/// Work that can be done on any backend.
pub trait Job {
    /// What the work gives back.
    type Output;
    /// Does the work on `device` of backend `B`.
    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Self::Output;
}

/// Runs `job` on the backend that `choice` names, or on the fastest usable one.
///
/// # Errors
/// When the backend is unknown or not compiled in, or the device is not there; the message names the cargo feature or
/// the remedy. The job is not run then.
pub fn with_backend<J: Job>(choice: &Choice, job: J) -> Result<J::Output, BackendError> {
    let taken = resolve(choice)?;
    match taken.backend {
        #[cfg(feature = "flex")]
        "flex" => Ok(flex::run(&taken, job)),
        #[cfg(feature = "ndarray")]
        "ndarray" => Ok(ndarray::run(&taken, job)),
        other => Err(BackendError::NotCompiledIn { name: other.to_string(), feature: other.to_string() }),
    }
}
