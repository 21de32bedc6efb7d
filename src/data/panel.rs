//! `Panel`: many series in columns, one arena per column and the offsets of each series in it.

use std::ops::Range;

use crate::calendar::{Clock, Frequency};

use super::category::StaticCategory;

/// A real column beside the target, aligned row by row with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The column's name in the file.
    pub name: String,
    /// One value per row of the panel; NaN is missing.
    pub values: Vec<f64>,
}

/// A value per series that does not change with time.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticColumn {
    /// The column's name in the file.
    pub name: String,
    /// One value per series.
    pub values: Vec<f64>,
}

/// Many series of ragged lengths, in columns.
///
/// Rows of one series lie together, in time order, without duplicates. A `y` of NaN is a missing observation that is
/// masked (`--missing mask`): it takes no part in inputs, losses and scores. Fields are public for reading; make one
/// with [`Panel::new`], which checks that the lengths agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// `unique_id` of each series.
    pub ids: Vec<String>,
    /// Row offsets, `ids.len() + 1` of them: series `s` has rows `offsets[s]..offsets[s + 1]`.
    pub offsets: Vec<usize>,
    /// `ds` of each row, in the units of `clock`.
    pub time: Vec<i64>,
    /// How `time` is to be read and written.
    pub clock: Clock,
    /// The step between rows.
    pub freq: Frequency,
    /// The target of each row; NaN is missing.
    pub y: Vec<f64>,
    /// Name of the target column (`y` in the long layout, the column's name for one wide column, else `value`).
    pub target: String,
    /// Columns known up to the forecast origin (`hist_exog`).
    pub hist_exog: Vec<Column>,
    /// Columns known ahead over the horizon too (`futr_exog`).
    pub futr_exog: Vec<Column>,
    /// Columns with one value per series (`stat_exog`).
    pub stat_exog: Vec<StaticColumn>,
    /// Columns with one category per series (`stat_cat`).
    pub stat_cat: Vec<StaticCategory>,
}

impl Panel {
    /// A panel of target values alone.
    ///
    /// # Panics
    /// If the lengths do not agree; readers build them together, so that would be a bug of the caller.
    pub fn new(
        ids: Vec<String>,
        offsets: Vec<usize>,
        time: Vec<i64>,
        clock: Clock,
        freq: Frequency,
        y: Vec<f64>,
        target: impl Into<String>,
    ) -> Self {
        assert_eq!(offsets.len(), ids.len() + 1, "one offset per series and the end");
        assert_eq!(offsets.last().copied().unwrap_or(0), y.len(), "the last offset is the number of rows");
        assert_eq!(time.len(), y.len(), "one time stamp per row");
        assert!(offsets.windows(2).all(|w| w[0] <= w[1]), "offsets ascend");
        Self {
            ids,
            offsets,
            time,
            clock,
            freq,
            y,
            target: target.into(),
            hist_exog: Vec::new(),
            futr_exog: Vec::new(),
            stat_exog: Vec::new(),
            stat_cat: Vec::new(),
        }
    }

    /// Number of series.
    pub fn n_series(&self) -> usize {
        self.ids.len()
    }

    /// Number of rows over all series.
    pub fn n_rows(&self) -> usize {
        self.y.len()
    }

    /// The rows of series `s` in the arenas.
    pub fn rows(&self, s: usize) -> Range<usize> {
        self.offsets[s]..self.offsets[s + 1]
    }

    /// Number of rows of series `s`.
    pub fn len_of(&self, s: usize) -> usize {
        self.offsets[s + 1] - self.offsets[s]
    }

    /// The target of series `s`.
    pub fn series(&self, s: usize) -> &[f64] {
        &self.y[self.rows(s)]
    }

    /// The time stamps of series `s`.
    pub fn times(&self, s: usize) -> &[i64] {
        &self.time[self.rows(s)]
    }

    /// Length of the longest series, 0 when there is none.
    pub fn max_len(&self) -> usize {
        self.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }

    /// Length of the shortest series, 0 when there is none.
    pub fn min_len(&self) -> usize {
        self.offsets.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(0)
    }

    /// Gives the categories the codes of `levels` (column by column, as a model was trained with them), and says which
    /// categories are none of these, a line for each column.
    pub fn recode_categories(&mut self, levels: &[Vec<String>]) -> Vec<String> {
        let mut lines = Vec::new();
        for (column, levels) in self.stat_cat.iter_mut().zip(levels) {
            let (recoded, unknown) = column.recoded(levels);
            if !unknown.is_empty() {
                lines.push(format!(
                    "column `{}`: the model was not trained on {}: the mean of all its categories stands for {}",
                    column.name,
                    crate::error::listed(&unknown, 5),
                    if unknown.len() == 1 { "it" } else { "them" }
                ));
            }
            *column = recoded;
        }
        lines
    }

    /// A copy with only the series for which `keep[s]` holds.
    pub fn keep_series(&self, keep: &[bool]) -> Panel {
        let kept: Vec<usize> = (0..self.n_series()).filter(|s| keep.get(*s).copied().unwrap_or(false)).collect();
        let rest = self.slice_rows(|s| if keep.get(s).copied().unwrap_or(false) { 0..self.len_of(s) } else { 0..0 });
        let mut offsets = vec![0];
        offsets.extend(kept.iter().map(|s| rest.offsets[s + 1]));
        let of_kept = |values: &[f64]| kept.iter().map(|s| values[*s]).collect();
        let stat = self.stat_exog.iter();
        Panel {
            ids: kept.iter().map(|s| self.ids[*s].clone()).collect(),
            offsets,
            stat_exog: stat.map(|c| StaticColumn { name: c.name.clone(), values: of_kept(&c.values) }).collect(),
            stat_cat: self.stat_cat.iter().map(|c| c.of_series(&kept)).collect(),
            ..rest
        }
    }

    /// A copy with only the rows `keep(s)` (relative to the series) of each series, columns cut alike.
    pub fn slice_rows(&self, keep: impl Fn(usize) -> Range<usize>) -> Panel {
        let ranges: Vec<Range<usize>> = (0..self.n_series())
            .map(|s| {
                let k = keep(s);
                let n = self.len_of(s);
                let end = k.end.min(n);
                self.offsets[s] + k.start.min(end)..self.offsets[s] + end
            })
            .collect();
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        for r in &ranges {
            offsets.push(offsets[offsets.len() - 1] + r.len());
        }
        let cut = |values: &[f64]| ranges.iter().flat_map(|r| values[r.clone()].iter().copied()).collect::<Vec<_>>();
        let cut_columns = |columns: &[Column]| {
            columns.iter().map(|c| Column { name: c.name.clone(), values: cut(&c.values) }).collect::<Vec<_>>()
        };
        Panel {
            ids: self.ids.clone(),
            offsets,
            time: ranges.iter().flat_map(|r| self.time[r.clone()].iter().copied()).collect(),
            clock: self.clock,
            freq: self.freq,
            y: cut(&self.y),
            target: self.target.clone(),
            hist_exog: cut_columns(&self.hist_exog),
            futr_exog: cut_columns(&self.futr_exog),
            stat_exog: self.stat_exog.clone(),
            stat_cat: self.stat_cat.clone(),
        }
    }
}
