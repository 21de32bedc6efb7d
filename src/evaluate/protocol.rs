//! `Protocol`: which windows are judged, and what is known of each series from its train rows.

use std::ops::Range;

use super::EvaluateError;
use crate::data::{Panel, SeriesSplit};
use crate::error::InvalidSetting;
use crate::metric::seasonal_difference;
use crate::transform::{ScalerKind, SeriesScaler};
use crate::window::Window;

/// How a panel is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    /// Rows before the origin that forecasters with a fixed input see.
    pub input_size: usize,
    /// Rows to be forecast.
    pub horizon: usize,
    /// Rows per season, for the seasonal naive baseline and the scale of mase; 1 when there is none.
    pub season: usize,
    /// Train, validation and test rows of each series, relative to the series.
    pub splits: Vec<SeriesSplit>,
    /// Rows by which the window moves on; the published protocol has 1.
    pub step: usize,
}

impl Protocol {
    /// The protocol with a window at every test row (`step` 1).
    pub fn new(input_size: usize, horizon: usize, season: usize, splits: Vec<SeriesSplit>) -> Self {
        Self { input_size, horizon, season, splits, step: 1 }
    }

    /// The same on the validation rows: they are judged, and nothing is chosen by them.
    #[must_use]
    pub fn on_validation(&self) -> Self {
        let splits = self.splits.iter().map(|s| SeriesSplit {
            train: s.train.clone(),
            val: s.val.start..s.val.start,
            test: s.val.clone(),
        });
        Self { splits: splits.collect(), ..self.clone() }
    }

    /// Checks the settings, and that the split fits the panel.
    ///
    /// # Errors
    /// [`EvaluateError::Setting`], [`EvaluateError::SeriesCount`], [`EvaluateError::TooLarge`], [`EvaluateError::Split`]
    /// or, when there is nothing to judge, [`EvaluateError::NoWindows`].
    pub fn check(&self, panel: &Panel) -> Result<(), EvaluateError> {
        for (field, value) in
            [("input_size", self.input_size), ("horizon", self.horizon), ("season", self.season), ("step", self.step)]
        {
            if value == 0 {
                return Err(
                    InvalidSetting::new(field, value, "a number > 0", format!("set {field} to 1 or more")).into()
                );
            }
        }
        if self.splits.len() != panel.n_series() {
            return Err(EvaluateError::SeriesCount { expected: panel.n_series(), found: self.splits.len() });
        }
        if panel.n_series().max(panel.max_len()) > u32::MAX as usize {
            return Err(EvaluateError::TooLarge { n_series: panel.n_series(), longest: panel.max_len() });
        }
        for (s, split) in self.splits.iter().enumerate() {
            let SeriesSplit { train, val, test } = split;
            let len = panel.len_of(s);
            let in_order = |a: &Range<usize>, b: &Range<usize>| a.is_empty() || b.is_empty() || a.end <= b.start;
            let inside = |r: &Range<usize>| r.start <= r.end && r.end <= len;
            let whole = inside(train) && inside(val) && inside(test);
            if !(whole && in_order(train, val) && in_order(val, test) && in_order(train, test)) {
                let (train, val, test) = (train.clone(), val.clone(), test.clone());
                return Err(EvaluateError::Split { series: panel.ids[s].clone(), len, train, val, test });
            }
        }
        if self.n_windows() == 0 {
            let longest = self.splits.iter().map(|s| s.test.len()).max().unwrap_or(0);
            return Err(EvaluateError::NoWindows { horizon: self.horizon, longest });
        }
        Ok(())
    }

    /// Test windows of series `s`: `n_test - horizon + 1` at step 1.
    pub fn windows_of(&self, s: usize) -> usize {
        (self.splits[s].test.len() + 1).saturating_sub(self.horizon).div_ceil(self.step)
    }

    /// Test windows over all series.
    pub fn n_windows(&self) -> usize {
        (0..self.splits.len()).map(|s| self.windows_of(s)).sum()
    }

    /// Every test window, series by series, in time order.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        (0..self.splits.len()).flat_map(move |series| {
            let first = self.splits[series].test.start;
            // `check` refuses panels with numbers that do not fit
            (0..self.windows_of(series))
                .map(move |i| Window { series: series as u32, origin: (first + i * self.step) as u32 })
        })
    }

    /// Train rows of series `s`.
    pub(super) fn train_rows<'a>(&self, panel: &'a Panel, s: usize) -> &'a [f64] {
        &panel.series(s)[self.splits[s].train.clone()]
    }

    /// Mean and population standard deviation of the train rows of each series.
    pub(super) fn train_scaler(&self, panel: &Panel) -> SeriesScaler {
        SeriesScaler::fit(ScalerKind::Standard, (0..panel.n_series()).map(|s| self.train_rows(panel, s)))
    }

    /// The scale of mase of each series, from its train rows.
    pub(super) fn mase_scales(&self, panel: &Panel) -> Vec<f64> {
        (0..panel.n_series()).map(|s| seasonal_difference(self.train_rows(panel, s), self.season)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::calendar::{Clock, Frequency};
    use crate::error::Advise;

    /// A panel of plain counters, one series per slice.
    pub(in crate::evaluate) fn panel(series: &[&[f64]]) -> Panel {
        let mut offsets = vec![0];
        let mut time = Vec::new();
        for s in series {
            time.extend(1..=s.len() as i64);
            offsets.push(time.len());
        }
        let ids = (0..series.len()).map(|s| format!("s{s}")).collect();
        let freq: Frequency = "1".parse().unwrap();
        Panel::new(ids, offsets, time, Clock::Integer, freq, series.concat(), "y")
    }

    pub(in crate::evaluate) fn split(train: usize, val: usize, test: usize) -> SeriesSplit {
        SeriesSplit { train: 0..train, val: train..train + val, test: train + val..train + val + test }
    }

    #[test]
    fn there_are_n_test_minus_horizon_plus_one_windows_and_each_is_inside_the_test_rows() {
        let protocol = Protocol::new(4, 3, 1, vec![split(4, 1, 5), split(4, 0, 2), split(2, 0, 3)]);
        let windows: Vec<_> = protocol.windows().map(|w| (w.series, w.origin)).collect();
        assert_eq!(windows, [(0, 5), (0, 6), (0, 7), (2, 2)]);
        assert_eq!(protocol.n_windows(), 4);
        let wide = Protocol { step: 2, ..protocol };
        assert_eq!(wide.windows().map(|w| w.origin).collect::<Vec<_>>(), [5, 7, 2]);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let data = panel(&[&[1.0; 10]]);
        let kind = |p: &Protocol| p.check(&data).unwrap_err().kind();
        let good = Protocol::new(4, 3, 1, vec![split(5, 2, 3)]);
        assert!(good.check(&data).is_ok());
        assert_eq!(kind(&Protocol { horizon: 0, ..good.clone() }), "invalid-setting");
        assert_eq!(kind(&Protocol { horizon: 4, ..good.clone() }), "no-test-windows");
        assert_eq!(kind(&Protocol { splits: vec![], ..good.clone() }), "split-series-count");
        assert_eq!(kind(&Protocol { splits: vec![split(5, 2, 4)], ..good.clone() }), "split-out-of-order");
        let overlapping = SeriesSplit { train: 0..8, val: 8..8, test: 7..10 };
        assert_eq!(kind(&Protocol { splits: vec![overlapping], ..good }), "split-out-of-order");
    }

    #[test]
    fn on_validation_judges_validation_rows() {
        let protocol = Protocol::new(4, 2, 1, vec![split(5, 3, 2)]).on_validation();
        assert_eq!(protocol.windows().map(|w| w.origin).collect::<Vec<_>>(), [5, 6]);
        assert!(protocol.check(&panel(&[&[1.0; 10]])).is_ok());
    }
}
