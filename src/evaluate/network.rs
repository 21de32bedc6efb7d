//! A trained network as a [`Forecaster`], judged like any rule of thumb.

use burn::tensor::backend::Backend;

use super::{ForecastFailure, Forecaster, Outputs};
use crate::data::Panel;
use crate::forecast::OnPanel;
use crate::loss::LossConfig;
use crate::window::Window;

/// A model bound to the panel that is judged.
#[derive(Debug)]
pub struct Network<'a, B: Backend> {
    bound: OnPanel<'a, B>,
    outputs: Outputs,
}

impl<'a, B: Backend> Network<'a, B> {
    /// The network of `bound`, whose outputs are those of `loss`.
    pub fn new(bound: OnPanel<'a, B>, loss: &LossConfig) -> Self {
        let outputs = match loss.quantiles() {
            Some(quantiles) => Outputs { quantiles, point: loss.point_output() },
            None => Outputs::point(),
        };
        Self { bound, outputs }
    }
}

impl<B: Backend> Forecaster for Network<'_, B> {
    fn name(&self) -> &str {
        "NHITS"
    }

    fn outputs(&self) -> Outputs {
        self.outputs.clone()
    }

    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure> {
        if panel.n_rows() != self.bound.panel().n_rows() || panel.ids != self.bound.panel().ids {
            return Err("the model is bound to another panel".into());
        }
        let values = self.bound.at(windows)?;
        if values.len() != out.len() {
            return Err(format!("the network gave {} values, {} were asked for", values.len(), out.len()).into());
        }
        out.copy_from_slice(&values);
        Ok(())
    }
}
