//! `flex`: burn's pure-Rust CPU backend, SIMD products with AVX-512 code paths where the CPU has them.

use burn::backend::{Autodiff, Flex};

use crate::{Job, Taken};

/// Runs a job on the CPU with flex.
pub(crate) fn run<J: Job>(taken: &Taken, job: J) -> J::Output {
    job.run::<Autodiff<Flex>>(taken, Default::default())
}
