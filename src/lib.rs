#![doc = include_str!("../README.md")]

/// Runs a test on the fastest backend that is compiled in, without naming it.
#[cfg(test)]
macro_rules! on_backend {
    (|$backend:ident, $device:ident| $body:block) => {{
        #[allow(unused_imports)]
        use burn::tensor::ElementConversion;
        struct Body;
        impl nhits_backends::Job for Body {
            type Output = ();
            fn run<$backend: burn::tensor::backend::AutodiffBackend>(
                self,
                _: &nhits_backends::Taken,
                $device: $backend::Device,
            ) $body
        }
        nhits_backends::with_backend(&nhits_backends::Choice::default(), Body).unwrap();
    }};
}

pub mod atomic_file;
pub mod bundle;
pub mod calendar;
pub mod cli;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod features;
pub mod forecast;
pub mod kernel;
pub mod loss;
pub mod metric;
pub mod model;
pub mod quantize;
pub mod random;
pub mod registry;
pub mod tensorboard;
pub mod train;
pub mod transform;
pub mod window;
pub mod workers;
