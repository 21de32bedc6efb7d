//! The golden cases made with neuralforecast: the same numbers must come out here, on every backend compiled in.
//!
//! `NHITS_GOLDEN_DIR` names the folder of the whole set; a few small cases of it lie in `tests/fixtures/golden` and are
//! always checked. `cargo test --test golden -- --nocapture` prints one line per case.

mod cases;
mod loss_cases;
mod model_cases;
mod networks;
mod window_cases;
