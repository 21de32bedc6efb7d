//! `ndarray`: burn's CPU backend on the ndarray crate, slower than flex and the oldest of burn's backends.

use burn::backend::{Autodiff, NdArray};

use crate::{Job, Taken};

/// Runs a job on the CPU with ndarray.
pub(crate) fn run<J: Job>(taken: &Taken, job: J) -> J::Output {
    job.run::<Autodiff<NdArray<f32>>>(taken, Default::default())
}
