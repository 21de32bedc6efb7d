//! `ColumnScalers`: the fitted per-series scalers of a panel's columns, applied while windows are gathered.

use std::ops::Range;

use super::WindowError;
use crate::data::{Column, Panel};
use crate::transform::{ScalerKind, SeriesScaler, TransformError};

/// One scaler per column of a panel. Values are scaled as they are read, so no scaled copy of the panel exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnScalers {
    /// The target's.
    pub y: SeriesScaler,
    /// One per historical covariate.
    pub hist: Vec<SeriesScaler>,
    /// One per future covariate.
    pub futr: Vec<SeriesScaler>,
    /// Shift and scale of each static covariate.
    pub stat: Vec<(f64, f64)>,
    /// So many of the last future covariates are used as they are, by the scaler of windows too: they were made between -1
    /// and 1, and a window in which a rare one does not occur would blow it up.
    pub as_is: usize,
}

impl ColumnScalers {
    /// Scalers that change nothing.
    pub fn none(panel: &Panel) -> Self {
        let same = |columns: &[Column]| vec![SeriesScaler::none(panel.n_series()); columns.len()];
        Self {
            y: SeriesScaler::none(panel.n_series()),
            hist: same(&panel.hist_exog),
            futr: same(&panel.futr_exog),
            stat: vec![(0.0, 1.0); panel.stat_exog.len()],
            as_is: 0,
        }
    }

    /// Fits `kind` on the rows `train[s]` of each series `s`: target and covariates per series, static covariates over
    /// the series. A series without train rows is left as it is.
    ///
    /// # Errors
    /// [`WindowError::Ranges`] or [`WindowError::RangeOutside`] if the ranges do not fit the panel.
    pub fn fit(kind: ScalerKind, panel: &Panel, train: &[Range<usize>]) -> Result<Self, WindowError> {
        Self::fit_to(kind, panel, &panel.y, 0, train)
    }

    /// The same for a transformed target `y` in place of the panel's, with the last `as_is` future covariates left as they
    /// are.
    ///
    /// # Errors
    /// As [`ColumnScalers::fit`].
    pub fn fit_to(
        kind: ScalerKind,
        panel: &Panel,
        y: &[f64],
        as_is: usize,
        train: &[Range<usize>],
    ) -> Result<Self, WindowError> {
        if train.len() != panel.n_series() {
            return Err(WindowError::Ranges { expected: panel.n_series(), got: train.len() });
        }
        for (s, range) in train.iter().enumerate() {
            if range.end > panel.len_of(s) {
                return Err(WindowError::RangeOutside {
                    series: panel.ids[s].clone(),
                    start: range.start,
                    end: range.end,
                    rows: panel.len_of(s),
                });
            }
        }
        let fit = |values: &[f64]| {
            let rows = train.iter().enumerate().map(|(s, range)| {
                let start = panel.offsets[s];
                &values[start + range.start.min(range.end)..start + range.end]
            });
            SeriesScaler::fit(kind, rows)
        };
        let over_series = |values: &[f64]| {
            let fitted = SeriesScaler::fit(kind, std::iter::once(values));
            (fitted.shift[0], fitted.scale[0])
        };
        Ok(Self {
            y: fit(y),
            hist: panel.hist_exog.iter().map(|c| fit(&c.values)).collect(),
            futr: (panel.futr_exog.iter().enumerate())
                .map(|(i, c)| {
                    if i + as_is < panel.futr_exog.len() {
                        fit(&c.values)
                    } else {
                        SeriesScaler::none(panel.n_series())
                    }
                })
                .collect(),
            stat: panel.stat_exog.iter().map(|c| over_series(&c.values)).collect(),
            as_is: as_is.min(panel.futr_exog.len()),
        })
    }

    /// Checks that there is one usable scaler per column of `panel` and one value in it per series.
    ///
    /// # Errors
    /// [`WindowError::Scalers`] or [`WindowError::Transform`] with the column.
    pub fn check(&self, panel: &Panel) -> Result<(), WindowError> {
        let per_column = |columns: &'static str, expected: usize, got: usize| {
            if expected == got { Ok(()) } else { Err(WindowError::Scalers { columns, expected, got }) }
        };
        per_column("hist_exog", panel.hist_exog.len(), self.hist.len())?;
        per_column("futr_exog", panel.futr_exog.len(), self.futr.len())?;
        per_column("stat_exog", panel.stat_exog.len(), self.stat.len())?;
        let usable = |column: &str, scaler: &SeriesScaler| {
            scaler
                .check(panel.n_series())
                .map_err(|source| WindowError::Transform { column: column.to_string(), source })
        };
        usable(&panel.target, &self.y)?;
        for (column, scaler) in panel.hist_exog.iter().zip(&self.hist).chain(panel.futr_exog.iter().zip(&self.futr)) {
            usable(&column.name, scaler)?;
        }
        for (column, &(shift, scale)) in panel.stat_exog.iter().zip(&self.stat) {
            if !shift.is_finite() || !scale.is_finite() || scale <= 0.0 {
                let source = TransformError::Fitted { series: 0, shift, scale };
                return Err(WindowError::Transform { column: column.name.clone(), source });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::StaticColumn;
    use crate::window::index::tests::panel;

    fn with_columns() -> Panel {
        let mut p = panel(&[&[1.0, 3.0, 100.0], &[10.0, 30.0]]);
        p.hist_exog.push(Column { name: "price".into(), values: vec![5.0, 7.0, 9.0, 0.0, 8.0] });
        p.stat_exog.push(StaticColumn { name: "area".into(), values: vec![2.0, 4.0] });
        p
    }

    #[test]
    fn scalers_see_the_train_rows_only() {
        let p = with_columns();
        let fitted = ColumnScalers::fit(ScalerKind::Standard, &p, &[0..2, 0..2]).unwrap();
        assert_eq!(fitted.y.shift, [2.0, 20.0]);
        assert_eq!(fitted.y.scale, [1.0, 10.0]);
        assert_eq!(fitted.hist[0].shift, [6.0, 4.0]);
        assert_eq!(fitted.stat, [(3.0, 1.0)]);
        assert_eq!(fitted.check(&p), Ok(()));
        let mut other = p.clone();
        other.y[2] = -1e9;
        other.hist_exog[0].values[2] = 1e9;
        assert_eq!(ColumnScalers::fit(ScalerKind::Standard, &other, &[0..2, 0..2]).unwrap(), fitted);
    }

    #[test]
    fn columns_that_were_made_are_left_as_they_are() {
        let mut p = with_columns();
        p.futr_exog =
            ["given", "made"].map(|n| Column { name: n.into(), values: vec![0.5, 0.1, 0.2, 0.5, 0.9] }).into();
        let fitted = ColumnScalers::fit_to(ScalerKind::MinMax, &p, &p.y, 1, &[0..3, 0..2]).unwrap();
        assert_eq!((fitted.futr[0].shift[0], fitted.futr[0].scale[0], fitted.as_is), (0.1, 0.4, 1));
        assert_eq!((&fitted.futr[1].shift[..], &fitted.futr[1].scale[..]), (&[0.0, 0.0][..], &[1.0, 1.0][..]));
    }

    #[test]
    fn a_series_without_train_rows_is_left_as_it_is() {
        let fitted = ColumnScalers::fit(ScalerKind::Standard, &with_columns(), &[0..2, 0..0]).unwrap();
        assert_eq!((fitted.y.shift[1], fitted.y.scale[1]), (0.0, 1.0));
    }

    #[test]
    fn scalers_of_another_panel_are_refused() {
        let p = with_columns();
        let message = |c: &ColumnScalers| c.check(&p).unwrap_err().to_string();
        let mut scalers = ColumnScalers::none(&p);
        assert_eq!(scalers.check(&p), Ok(()));
        scalers.stat[0].1 = f64::NAN;
        assert!(message(&scalers).starts_with("column `area`"));
        scalers.y.shift.pop();
        assert!(message(&scalers).starts_with("column `y`"));
        scalers.hist.clear();
        assert_eq!(message(&scalers), "0 fitted scalers for 1 hist_exog columns: expected one per column");
        assert!(ColumnScalers::fit(ScalerKind::None, &p, &[0..2, 0..3]).is_err());
        assert!(ColumnScalers::fit(ScalerKind::None, &p, std::slice::from_ref(&(0..2))).is_err());
    }
}
