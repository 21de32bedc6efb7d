//! `Forecaster`: whatever can be judged, a network or a rule of thumb.

use crate::data::Panel;
use crate::window::Window;

/// What a forecaster says when it cannot forecast.
pub type ForecastFailure = Box<dyn std::error::Error + Send + Sync>;

/// What the numbers are that a forecaster gives for each step.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// The quantile of each output, between 0 and 1; empty for one output that is no quantile.
    pub quantiles: Vec<f64>,
    /// The output that is judged as the point forecast.
    pub point: usize,
}

impl Outputs {
    /// One number per step.
    pub fn point() -> Self {
        Self { quantiles: Vec::new(), point: 0 }
    }

    /// One number per quantile; the one nearest to the median is the point forecast.
    pub fn quantiles(quantiles: Vec<f64>) -> Self {
        let distance = |i: &usize| (quantiles[*i] - 0.5).abs();
        let point = (0..quantiles.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
        Self { quantiles, point }
    }

    /// Numbers per step, `Q`.
    pub fn width(&self) -> usize {
        self.quantiles.len().max(1)
    }
}

/// Something that forecasts windows of a panel.
pub trait Forecaster {
    /// The name it is listed under.
    fn name(&self) -> &str;

    /// What it gives for each step.
    fn outputs(&self) -> Outputs {
        Outputs::point()
    }

    /// Forecasts each of `windows` from the rows of its series **before** its origin, in the units of the data.
    ///
    /// `out` is `[windows, horizon, Q]`, row-major, filled with NaN; a value left NaN is counted as no forecast.
    ///
    /// # Errors
    /// Whatever keeps it from forecasting.
    fn forecast(&mut self, panel: &Panel, windows: &[Window], out: &mut [f64]) -> Result<(), ForecastFailure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_nearest_the_median_is_the_point() {
        assert_eq!(Outputs::quantiles(vec![0.1, 0.9, 0.45, 0.6]).point, 2);
        assert_eq!(Outputs::quantiles(vec![]).width(), 1);
    }
}
