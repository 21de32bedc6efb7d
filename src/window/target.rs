//! `Target`: the target of a panel as its transforms have made it, with what it takes to undo them in a forecast.

use std::ops::Range;

use super::{Window, WindowError};
use crate::data::Panel;
use crate::transform::{Places, SeriesRows, Step, TargetPipeline, Transformed};

/// The rows of one series on the calendar; no list where they follow each other.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    first: i64,
    listed: Vec<i64>,
}

impl Rows {
    fn of(panel: &Panel, s: usize) -> Self {
        let times = panel.times(s);
        let place = |t: &i64| panel.freq.place(*t);
        let first = times.first().map_or(0, place);
        let counted = times.iter().enumerate().all(|(i, t)| place(t) == first.saturating_add(i as i64));
        Self { first, listed: if counted { Vec::new() } else { times.iter().map(place).collect() } }
    }

    fn places(&self) -> Places<'_> {
        if self.listed.is_empty() { Places::counted(self.first) } else { Places::listed(&self.listed) }
    }
}

/// The target of a panel, transformed once and read by windows. Without transforms it is the panel's own column, and
/// nothing is copied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Target {
    pipeline: TargetPipeline,
    transformed: Transformed,
    rows: Vec<Rows>,
}

fn of_target(panel: &Panel) -> impl Fn(crate::transform::TransformError) -> WindowError + '_ {
    |source| WindowError::Transform { column: panel.target.clone(), source }
}

impl Target {
    /// Fits transforms on the rows `train[s]` of each series `s`. The second value lists, for people, what was left as it
    /// is.
    ///
    /// # Errors
    /// [`WindowError::Ranges`], or [`WindowError::Transform`] with series and row.
    pub fn fit(
        steps: &[Step],
        panel: &Panel,
        train: &[Range<usize>],
    ) -> Result<(TargetPipeline, Vec<String>), WindowError> {
        if train.len() != panel.n_series() {
            return Err(WindowError::Ranges { expected: panel.n_series(), got: train.len() });
        }
        if steps.is_empty() {
            return Ok((TargetPipeline::none(panel.n_series()), Vec::new()));
        }
        let rows: Vec<Rows> = (0..panel.n_series()).map(|s| Rows::of(panel, s)).collect();
        let series = rows.iter().enumerate().map(|(s, rows)| (view(panel, s, rows), train[s].clone()));
        TargetPipeline::fit(steps, series).map_err(of_target(panel))
    }

    /// The target of a panel under a fitted pipeline.
    ///
    /// # Errors
    /// [`WindowError::Transform`] where the pipeline is not one of these series, or a value has no image under it.
    pub fn new(panel: &Panel, pipeline: TargetPipeline) -> Result<Self, WindowError> {
        if pipeline.is_empty() {
            return Ok(Self::default());
        }
        pipeline.check(panel.n_series()).map_err(of_target(panel))?;
        let rows: Vec<Rows> = (0..panel.n_series()).map(|s| Rows::of(panel, s)).collect();
        let series = rows.iter().enumerate().map(|(s, rows)| view(panel, s, rows));
        let transformed = pipeline.apply(series).map_err(of_target(panel))?;
        Ok(Self { pipeline, transformed, rows })
    }

    /// Whether nothing is transformed.
    pub fn is_plain(&self) -> bool {
        self.pipeline.is_empty()
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &TargetPipeline {
        &self.pipeline
    }

    /// The transformed values of `panel`, which it was made for, series after series.
    pub fn y<'a>(&'a self, panel: &'a Panel) -> &'a [f64] {
        if self.is_plain() { &panel.y } else { &self.transformed.y }
    }

    /// Undoes the transforms in forecasts of a window, `[H, outputs]` row-major.
    pub fn invert(&self, panel: &Panel, window: Window, values: &mut [f64], outputs: usize) {
        if self.is_plain() {
            return;
        }
        let (s, origin) = (window.series as usize, window.origin as usize);
        let places = self.rows[s].places().from(origin);
        self.pipeline.invert(s, values, outputs, places, |k| self.history(panel, k, s, origin));
    }

    /// Values of the rows from an origin on, transformed as if they had been observed.
    pub fn apply_ahead(&self, panel: &Panel, window: Window, values: &mut [f64]) {
        if self.is_plain() {
            return;
        }
        let (s, origin) = (window.series as usize, window.origin as usize);
        let places = self.rows[s].places().from(origin);
        self.pipeline.apply_ahead(s, values, places, |k| self.history(panel, k, s, origin));
    }

    /// What step `k` took in for the rows of a series before an origin.
    fn history(&self, panel: &Panel, k: usize, s: usize, origin: usize) -> &[f64] {
        let first = panel.offsets[s];
        &self.transformed.taken[k][first..first + origin]
    }
}

fn view<'a>(panel: &'a Panel, s: usize, rows: &'a Rows) -> SeriesRows<'a> {
    SeriesRows { id: &panel.ids[s], values: panel.series(s), places: rows.places() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::index::tests::panel;

    fn trending() -> Panel {
        let y: Vec<f64> = (0..40).map(|t| 10.0 + 2.0 * t as f64 + [3.0, -3.0][t % 2]).collect();
        panel(&[&y, &y[5..30]])
    }

    fn target(panel: &Panel, text: &str) -> Target {
        let steps = Step::parse_all(text).unwrap();
        let train: Vec<_> = (0..2).map(|s| 0..panel.len_of(s) - 10).collect();
        let (pipeline, notices) = Target::fit(&steps, panel, &train).unwrap();
        assert!(notices.is_empty());
        Target::new(panel, pipeline).unwrap()
    }

    #[test]
    fn forecasts_come_back_where_they_belong() {
        let p = trending();
        for text in ["log,difference", "detrend,deseasonalize=2", "difference=2,difference", ""] {
            let target = target(&p, text);
            let z = target.y(&p);
            for (series, origin) in [(0, 33), (1, 20)] {
                let window = Window { series, origin };
                let first = p.offsets[series as usize] + origin as usize;
                let mut values = z[first..first + 4].to_vec();
                target.invert(&p, window, &mut values, 1);
                let y = &p.y[first..first + 4];
                assert!(values.iter().zip(y).all(|(a, b)| (a - b).abs() < 1e-9), "{text}");
                target.apply_ahead(&p, window, &mut values);
                assert!(values.iter().zip(&z[first..]).all(|(a, b)| (a - b).abs() < 1e-9), "{text}");
            }
        }
    }

    #[test]
    fn data_that_begins_later_has_the_same_line_and_season() {
        let p = trending();
        let target = target(&p, "detrend,deseasonalize=2");
        let later = p.slice_rows(|_| 7..25);
        let other = Target::new(&later, target.pipeline().clone()).unwrap();
        for (a, b) in other.y(&later)[..18].iter().zip(&target.y(&p)[7..25]) {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn what_has_no_image_is_named() {
        let mut p = trending();
        let good = target(&p, "log");
        p.y[41] = -1.0;
        let error = Target::new(&p, good.pipeline().clone()).unwrap_err().to_string();
        assert_eq!(error, "column `y`: series `s1`, row 1: log cannot take -1, expected values > 0");
        let one = p.slice_rows(|_| 0..1);
        assert!(Target::fit(&Step::parse_all("log").unwrap(), &one, &[]).is_err());
    }
}
