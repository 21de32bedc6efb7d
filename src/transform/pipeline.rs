//! `TargetPipeline`: the transforms of the target in their order, fitted for many series, applied and undone.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::TransformError;
use super::places::Places;
use super::step::{Ahead, Step};

/// A transform fitted on one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedStep {
    /// The transform.
    pub step: Step,
    /// What was fitted.
    pub values: Vec<f64>,
}

impl FittedStep {
    /// Transforms rows that begin where those that it was fitted on began.
    ///
    /// # Errors
    /// [`TransformError::Domain`] for a value that has no image.
    pub fn apply(&self, rows: &[f64]) -> Result<Vec<f64>, TransformError> {
        let mut rows = rows.to_vec();
        self.step.transform().apply(&self.values, &mut rows, Places::counted(0))?;
        Ok(rows)
    }

    /// Undoes the transform in forecasts of the steps after `history`, which are the untransformed rows from the first one
    /// on: `[H, outputs]` row-major.
    pub fn invert(&self, history: &[f64], forecast: &[f64], outputs: usize) -> Vec<f64> {
        let mut values = forecast.to_vec();
        let places = Places::counted(history.len() as i64);
        self.step.transform().invert(&self.values, &mut Ahead { values: &mut values, outputs, places, history });
        values
    }
}

/// The rows of one series, as a pipeline is fitted on them and applied to them.
#[derive(Debug, Clone, Copy)]
pub struct SeriesRows<'a> {
    /// `unique_id`, for messages.
    pub id: &'a str,
    /// The values.
    pub values: &'a [f64],
    /// Where they stand on the calendar.
    pub places: Places<'a>,
}

/// Transforms of the target, fitted per series on train rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPipeline {
    /// The transforms, the first one first.
    pub steps: Vec<Step>,
    /// Per step what was fitted, `[n_series, width]` row-major.
    pub fitted: Vec<Vec<f64>>,
    /// Number of series.
    pub n_series: usize,
}

/// Series as a pipeline has transformed them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transformed {
    /// The values, series after series.
    pub y: Vec<f64>,
    /// Per step that looks back, what it took in, aligned with `y`; empty for the others.
    pub taken: Vec<Vec<f64>>,
}

impl TargetPipeline {
    /// The pipeline that does nothing.
    pub fn none(n_series: usize) -> Self {
        Self { n_series, ..Self::default() }
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Fits `steps` on the rows `train[s]` of each series, each step on what those before it make of them. The second value
    /// lists, for people, the series that a step leaves as they are.
    ///
    /// # Errors
    /// [`TransformError`] with series and row for a setting or a value that cannot be.
    pub fn fit<'a>(
        steps: &[Step],
        series: impl Iterator<Item = (SeriesRows<'a>, Range<usize>)>,
    ) -> Result<(Self, Vec<String>), TransformError> {
        steps.iter().try_for_each(Step::check)?;
        let mut pipeline = Self { steps: steps.to_vec(), fitted: vec![Vec::new(); steps.len()], n_series: 0 };
        let mut left: Vec<Vec<String>> = vec![Vec::new(); steps.len()];
        for (rows, train) in series {
            let named = |e: TransformError| e.of(rows.id);
            // Transforms look back only, so what comes after the train rows need not be read.
            let train = train.start.min(train.end)..train.end.min(rows.values.len());
            let mut values = rows.values[..train.end].to_vec();
            for (k, step) in steps.iter().enumerate() {
                let transform = step.transform();
                let seen = &values[train.start.min(train.end)..];
                let fitted = transform.fit(seen, rows.places.from(train.start)).map_err(named)?;
                let fitted = fitted.filter(|f| f.iter().all(|v| v.is_finite())).unwrap_or_else(|| {
                    left[k].push(rows.id.to_owned());
                    transform.identity()
                });
                transform.apply(&fitted, &mut values, rows.places).map_err(named)?;
                pipeline.fitted[k].extend(fitted);
            }
            pipeline.n_series += 1;
        }
        let notices = steps.iter().zip(&left).filter(|(_, ids)| !ids.is_empty()).map(|(step, ids)| {
            format!(
                "the transform {step} leaves {} of {} series as they are, their train rows are too few or all alike: {}",
                ids.len(),
                pipeline.n_series,
                crate::error::listed(ids, 5)
            )
        });
        let notices = notices.collect();
        Ok((pipeline, notices))
    }

    /// Checks a pipeline that came from a file against the number of series it is wanted for.
    ///
    /// # Errors
    /// [`TransformError::Setting`] or [`TransformError::FittedValues`].
    pub fn check(&self, n_series: usize) -> Result<(), TransformError> {
        let wrong = |step: &Step, detail: String| TransformError::FittedValues { step: step.to_string(), detail };
        for (k, step) in self.steps.iter().enumerate() {
            step.check()?;
            let width = step.transform().width();
            let values = self.fitted.get(k).map(Vec::as_slice).unwrap_or_default();
            if self.n_series != n_series || Some(values.len()) != n_series.checked_mul(width) {
                return Err(wrong(
                    step,
                    format!("has {} fitted values, expected {width} for each of {n_series} series", values.len()),
                ));
            }
            if width > 0 {
                let bad = values
                    .chunks_exact(width)
                    .position(|f| !f.iter().all(|v| v.is_finite()) || !step.transform().usable(f));
                if let Some(s) = bad {
                    return Err(wrong(step, format!("has values for series number {s} that cannot be")));
                }
            }
        }
        Ok(())
    }

    /// What step `k` fitted on series `s`.
    fn values(&self, k: usize, s: usize) -> &[f64] {
        let width = self.steps[k].transform().width();
        &self.fitted[k][s * width..(s + 1) * width]
    }

    /// Copies what was fitted on series `from` of `other`, which has the same steps, to series `to`.
    pub fn take(&mut self, to: usize, other: &Self, from: usize) {
        for k in 0..self.steps.len() {
            let width = self.steps[k].transform().width();
            self.fitted[k][to * width..(to + 1) * width].copy_from_slice(other.values(k, from));
        }
    }

    /// Transforms every series.
    ///
    /// # Errors
    /// [`TransformError::Domain`] with series and row for a value that has no image.
    ///
    /// # Panics
    /// If there are more series than were fitted.
    pub fn apply<'a>(&self, series: impl Iterator<Item = SeriesRows<'a>>) -> Result<Transformed, TransformError> {
        let mut out = Transformed { y: Vec::new(), taken: vec![Vec::new(); self.steps.len()] };
        for (s, rows) in series.enumerate() {
            let start = out.y.len();
            out.y.extend_from_slice(rows.values);
            for (k, step) in self.steps.iter().enumerate() {
                if step.transform().looks_back() {
                    out.taken[k].extend_from_slice(&out.y[start..]);
                }
                step.transform()
                    .apply(self.values(k, s), &mut out.y[start..], rows.places)
                    .map_err(|e| e.of(rows.id))?;
            }
        }
        Ok(out)
    }

    /// Undoes every step in forecasts of series `s`, `[H, outputs]` row-major, the last step first. `history` gives what a
    /// step took in for the rows before the forecast, and `places` are those of the forecast's steps.
    ///
    /// # Panics
    /// If series `s` was not fitted.
    pub fn invert<'h>(
        &self,
        s: usize,
        values: &mut [f64],
        outputs: usize,
        places: Places<'_>,
        history: impl Fn(usize) -> &'h [f64],
    ) {
        for (k, step) in self.steps.iter().enumerate().rev() {
            let transform = step.transform();
            let history = if transform.looks_back() { history(k) } else { &[] };
            transform.invert(self.values(k, s), &mut Ahead { values: &mut *values, outputs, places, history });
        }
    }

    /// Transforms values that follow the rows of series `s` before them, as if they had been observed: the way of
    /// [`TargetPipeline::invert`] in the other direction. A value without an image is missing.
    ///
    /// # Panics
    /// If series `s` was not fitted.
    pub fn apply_ahead<'h>(
        &self,
        s: usize,
        values: &mut [f64],
        places: Places<'_>,
        history: impl Fn(usize) -> &'h [f64],
    ) {
        for (k, step) in self.steps.iter().enumerate() {
            let (transform, fitted) = (step.transform(), self.values(k, s));
            let before = if transform.looks_back() { history(k) } else { &[] };
            if before.is_empty() {
                if transform.apply(fitted, values, places).is_err() {
                    values.fill(f64::NAN);
                }
            } else {
                let mut rows = [before, &*values].concat();
                // A step that looks back does not look at the calendar.
                if transform.apply(fitted, &mut rows, Places::counted(0)).is_err() {
                    rows.fill(f64::NAN);
                }
                values.copy_from_slice(&rows[before.len()..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Vec<Vec<f64>> {
        let wave = |level: f64, n: usize| {
            (0..n)
                .map(|i| level * (2.0 + 0.02 * i as f64 + (i as f64 * 0.9).sin() + 0.1 * (i * 7 % 11) as f64))
                .collect()
        };
        vec![wave(1.0, 60), wave(50.0, 45)]
    }

    fn rows<'a>(values: &'a [f64], id: &'a str, first: i64) -> SeriesRows<'a> {
        SeriesRows { id, values, places: Places::counted(first) }
    }

    const ALL: &str = "winsorize=0:1,outliers=iqr:50,box-cox,standard,deseasonalize=7,detrend,difference=7,difference,\
                       yeo-johnson,robust=iqr,minmax,max-abs";

    #[test]
    fn the_inverse_of_each_step_alone_and_of_all_in_a_row_gives_the_values_back() {
        let data = series();
        let mut texts: Vec<&str> = ALL.split(',').collect();
        texts.extend([ALL, "log", "log1p,difference=24", "deseasonalize=7:stl:multiplicative,log,difference"]);
        for text in texts {
            let steps = Step::parse_all(text).unwrap();
            // All rows, so that nothing is cut off: what is, cannot come back.
            let train = |s: usize| 0..data[s].len();
            let views = || data.iter().enumerate().map(|(s, y)| rows(y, "s", 100 * s as i64));
            let (pipeline, _) = TargetPipeline::fit(&steps, views().enumerate().map(|(s, r)| (r, train(s)))).unwrap();
            pipeline.check(2).unwrap();
            let applied = pipeline.apply(views()).unwrap();
            let mut offset = 0;
            for (s, y) in data.iter().enumerate() {
                let origin = y.len() - 8;
                let places = Places::counted(100 * s as i64 + origin as i64);
                let history = |k: usize| &applied.taken[k][offset..offset + origin];
                let ahead = &applied.y[offset + origin..offset + y.len()];
                let mut values = ahead.to_vec();
                pipeline.invert(s, &mut values, 1, places, history);
                for (a, b) in values.iter().zip(&y[origin..]) {
                    assert!((a - b).abs() < 1e-6 * b.abs(), "{text}: {a} for {b}");
                }
                let mut forward = y[origin..].to_vec();
                pipeline.apply_ahead(s, &mut forward, places, history);
                assert!(forward.iter().zip(ahead).all(|(a, b)| (a - b).abs() < 1e-9), "{text}");
                offset += y.len();
            }
        }
    }

    #[test]
    fn rows_after_the_train_rows_change_no_fit_and_no_earlier_value() {
        let data = series();
        let mut changed = data.clone();
        changed[0][52..].iter_mut().for_each(|v| *v += 1e6);
        let steps = Step::parse_all(ALL).unwrap();
        let fit =
            |data: &[Vec<f64>]| TargetPipeline::fit(&steps, data.iter().map(|y| (rows(y, "s", 0), 0..40))).unwrap().0;
        let pipeline = fit(&data);
        assert_eq!(pipeline, fit(&changed));
        let apply = |data: &[Vec<f64>]| pipeline.apply(data.iter().map(|y| rows(y, "s", 0))).unwrap().y;
        let (was, is) = (apply(&data), apply(&changed));
        let bits = |y: &[f64]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&was[..52]), bits(&is[..52]));
        assert_ne!(was[55], is[55]);
    }

    #[test]
    fn saved_and_loaded_it_is_the_same() {
        let data = series();
        let steps = Step::parse_all(ALL).unwrap();
        let (pipeline, _) = TargetPipeline::fit(&steps, data.iter().map(|y| (rows(y, "s", 0), 0..40))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.json");
        crate::transform::save_parameters(&pipeline, &path).unwrap();
        assert_eq!(crate::transform::load_parameters::<TargetPipeline>(&path).unwrap(), pipeline);
    }

    #[test]
    fn missing_values_pass_and_damaged_ones_are_refused() {
        let y = [1.0, f64::NAN, 3.0, 4.0, 9.0, 6.0];
        let steps = Step::parse_all("log,standard").unwrap();
        let (mut pipeline, notices) = TargetPipeline::fit(&steps, [(rows(&y, "a", 0), 0..6)].into_iter()).unwrap();
        assert!(notices.is_empty());
        let applied = pipeline.apply([rows(&y, "a", 0)].into_iter()).unwrap();
        assert!(applied.y.iter().enumerate().all(|(i, v)| v.is_nan() == (i == 1)));
        assert!(pipeline.check(2).is_err());
        pipeline.fitted[1][1] = 0.0;
        assert!(pipeline.check(1).unwrap_err().to_string().contains("series number 0"));
        pipeline.fitted[1].pop();
        assert!(pipeline.check(1).is_err());
        let error = pipeline.apply([rows(&[1.0, -2.0], "store 7", 0)].into_iter()).unwrap_err().to_string();
        assert_eq!(error, "series `store 7`, row 1: log cannot take -2, expected values > 0");
    }

    #[test]
    fn a_series_with_too_few_rows_is_left_and_named() {
        let steps = Step::parse_all("deseasonalize=4").unwrap();
        let (short, long) = ([1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 5.0]);
        let series = [(rows(&short, "short", 0), 0..2), (rows(&long, "long", 0), 0..8)];
        let (pipeline, notices) = TargetPipeline::fit(&steps, series.into_iter()).unwrap();
        assert_eq!(pipeline.fitted[0][..4], [0.0; 4]);
        assert!(notices[0].contains("1 of 2 series") && notices[0].contains("`short`"), "{notices:?}");
    }

    #[test]
    fn one_step_on_one_series() {
        let fitted = "difference=2".parse::<Step>().unwrap().fit(&[1.0, 2.0, 4.0]).unwrap();
        let differences = fitted.apply(&[1.0, 2.0, 4.0, 8.0]).unwrap();
        assert_eq!(differences[2..], [3.0, 6.0]);
        assert_eq!(fitted.invert(&[1.0, 2.0], &differences[2..], 1), [4.0, 8.0]);
    }
}
