//! Whether training repeats to the bit here: a few steps twice, and once more on another number of threads.

use burn::tensor::backend::AutodiffBackend;
use sha2::{Digest, Sha256};

use super::config::TrainConfig;
use super::error::TrainError;
use super::job::{TrainJob, Watch};

/// What the comparison brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Determinism {
    /// Steps of each run.
    pub steps: usize,
    /// SHA-256 of the weights after each of the two runs.
    pub twice: [String; 2],
    /// Threads of the third run, and its SHA-256.
    pub other_threads: (usize, String),
}

impl Determinism {
    /// Whether the same run gave the same bits.
    pub fn repeats(&self) -> bool {
        self.twice[0] == self.twice[1]
    }

    /// Whether another number of threads did, too.
    pub fn threads_do_not_matter(&self) -> bool {
        self.twice[0] == self.other_threads.1
    }
}

impl TrainJob {
    /// Trains `steps` steps twice with these settings, and once more on one thread (two, where one is what was asked
    /// for), and compares every bit of the weights.
    ///
    /// # Errors
    /// As [`TrainJob::run`].
    pub fn determinism<B: AutodiffBackend>(&self, device: &B::Device, steps: usize) -> Result<Determinism, TrainError> {
        let config = TrainConfig { max_steps: Some(steps), max_seconds: None, ..self.config.clone() };
        let after = |threads: usize| -> Result<String, TrainError> {
            let job = TrainJob { config: config.clone(), threads, ..self.clone() };
            let trained = job.run::<B>(&job.plan()?, device, Watch::default())?;
            if let Some(error) = trained.failed {
                return Err(error);
            }
            let mut hash = Sha256::new();
            for tensor in trained.net.tensors() {
                tensor.data.iter().for_each(|v| hash.update(v.to_le_bytes()));
            }
            Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
        };
        let other = if self.threads == 1 { 2 } else { 1 };
        Ok(Determinism {
            steps,
            twice: [after(self.threads)?, after(self.threads)?],
            other_threads: (other, after(other)?),
        })
    }
}
