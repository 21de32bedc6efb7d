//! `WindowIndex`: every window of a panel by its number, stored as runs of evenly spaced origins.

use std::ops::Range;
use std::sync::Arc;

use burn::data::dataset::Dataset;

use super::{Window, WindowError, WindowRules, WindowShape};
use crate::data::Panel;

/// Whether a value is there; anything but a finite number counts as missing.
#[inline]
pub(super) fn observed(value: f64) -> bool {
    value.is_finite()
}

/// The windows of a panel, numbered series by series in time order.
///
/// Memory grows with the number of series and of holes that no window may touch, never with the number of windows.
/// Finding a window is a binary search in the runs.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowIndex {
    shape: WindowShape,
    stride: usize,
    /// The first window of each run; those that follow have the same series and later origins by strides.
    runs: Vec<Window>,
    /// The number of the first window of each run, and the number of windows at the end.
    starts: Vec<usize>,
    /// Per series, the row at which nothing may be read any more.
    ends: Arc<[usize]>,
}

impl WindowIndex {
    /// The windows whose targets lie in the rows `ranges[s]` of each series `s` of `panel`.
    ///
    /// # Errors
    /// [`WindowError`] where a rule is not allowed, a range does not fit its series or the panel is too large to number.
    /// That there is no window at all is no error here; see [`WindowIndex::non_empty`].
    pub fn new(panel: &Panel, ranges: &[Range<usize>], rules: &WindowRules) -> Result<Self, WindowError> {
        Self::over(panel, &panel.y, ranges, rules)
    }

    /// The same for a transformed target `y` in place of the panel's: what it lacks counts as missing.
    ///
    /// # Errors
    /// As [`WindowIndex::new`], and where `y` is not as long as the panel.
    pub fn over(panel: &Panel, y: &[f64], ranges: &[Range<usize>], rules: &WindowRules) -> Result<Self, WindowError> {
        if y.len() != panel.n_rows() {
            return Err(WindowError::Ranges { expected: panel.n_rows(), got: y.len() });
        }
        rules.check()?;
        if ranges.len() != panel.n_series() {
            return Err(WindowError::Ranges { expected: panel.n_series(), got: ranges.len() });
        }
        check_size(panel)?;
        let mut index = Self::empty(rules.shape, rules.stride, ranges.iter().map(|r| r.end).collect());
        for (s, range) in ranges.iter().enumerate() {
            let y = &y[panel.rows(s)];
            if range.end > y.len() {
                return Err(WindowError::RangeOutside {
                    series: panel.ids[s].clone(),
                    start: range.start,
                    end: range.end,
                    rows: y.len(),
                });
            }
            index.add_series(s, &y[..range.end], range.start, rules);
        }
        Ok(index)
    }

    /// One window per series, whose origin is the end of the series: what a forecast starts from. Its targets lie ahead.
    ///
    /// The second value lists the series that have no observed value among their last `input_size` rows: no forecast
    /// can be made for them, and they have no window.
    ///
    /// # Errors
    /// [`WindowError`] where the shape is not allowed or the panel is too large to number.
    pub fn at_ends(panel: &Panel, shape: WindowShape) -> Result<(Self, Vec<usize>), WindowError> {
        shape.check()?;
        check_size(panel)?;
        let lengths: Vec<usize> = (0..panel.n_series()).map(|s| panel.len_of(s)).collect();
        let mut silent = Vec::new();
        let mut index = Self::empty(shape, 1, lengths);
        for s in 0..panel.n_series() {
            let y = panel.series(s);
            if y[y.len().saturating_sub(shape.input_size)..].iter().any(|v| observed(*v)) {
                index.push_run(s, y.len(), 1);
            } else {
                silent.push(s);
            }
        }
        Ok((index, silent))
    }

    fn empty(shape: WindowShape, stride: usize, ends: Vec<usize>) -> Self {
        Self { shape, stride, runs: Vec::new(), starts: vec![0], ends: ends.into() }
    }

    /// Adds the windows of series `s`, whose rows up to the end of its range are `y`.
    fn add_series(&mut self, s: usize, y: &[f64], start: usize, rules: &WindowRules) {
        let Some((first, last)) = rules.origins(start, y.len()) else { return };
        let (input, horizon) = (self.shape.input_size, self.shape.horizon);
        let (inputs, targets) = (rules.needed_inputs(), rules.needed_targets());
        // Where nothing is missing, the first window has the fewest inputs and the last one the fewest targets.
        let enough = input.min(first) >= inputs && horizon.min(y.len() - last) >= targets;
        if enough && y[first.saturating_sub(input)..].iter().fold(true, |all, v| all & observed(*v)) {
            return self.push_run(s, first, (last - first) / self.stride + 1);
        }
        let mut behind = Count::new(first.saturating_sub(input));
        let mut ahead = Count::new(first);
        let mut run: Option<(usize, usize)> = None;
        for origin in (first..=last).step_by(self.stride) {
            behind.slide(y, origin.saturating_sub(input)..origin);
            ahead.slide(y, origin..(origin + horizon).min(y.len()));
            if behind.count >= inputs && ahead.count >= targets {
                run = Some(run.map_or((origin, 1), |(first, count)| (first, count + 1)));
            } else if let Some((first, count)) = run.take() {
                self.push_run(s, first, count);
            }
        }
        if let Some((first, count)) = run {
            self.push_run(s, first, count);
        }
    }

    fn push_run(&mut self, series: usize, first: usize, count: usize) {
        let name = |n: usize| u32::try_from(n).expect("check_size keeps series and rows within u32");
        self.runs.push(Window { series: name(series), origin: name(first) });
        self.starts.push(self.len() + count);
    }

    /// This index, if it has a window; `part` says what the windows are for.
    ///
    /// # Errors
    /// [`WindowError::NoWindows`] with the sizes that do not fit.
    pub fn non_empty(self, part: &str) -> Result<Self, WindowError> {
        if !self.is_empty() {
            return Ok(self);
        }
        Err(WindowError::NoWindows {
            part: part.into(),
            input_size: self.shape.input_size,
            horizon: self.shape.horizon,
            n_series: self.ends.len(),
            longest: self.ends.iter().copied().max().unwrap_or(0),
        })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Window number `i`, `None` from [`WindowIndex::len`] on.
    pub fn get(&self, i: usize) -> Option<Window> {
        if i >= self.len() {
            return None;
        }
        let run = self.starts.partition_point(|start| *start <= i) - 1;
        let Window { series, origin } = self.runs[run];
        let origin = origin as usize + (i - self.starts[run]) * self.stride;
        Some(Window { series, origin: u32::try_from(origin).expect("check_size keeps rows within u32") })
    }

    /// Every window in order.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Per series, how many windows there are, and how many of them begin before its first row, so that the beginning of
    /// their input is padding.
    pub fn by_series(&self) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); self.ends.len()];
        for (run, bounds) in self.runs.iter().zip(self.starts.windows(2)) {
            let n = bounds[1] - bounds[0];
            let short = self.shape.input_size.saturating_sub(run.origin as usize);
            let (all, padded) = &mut counts[run.series as usize];
            *all += n;
            *padded += short.div_ceil(self.stride).min(n);
        }
        counts
    }

    /// The size of the windows.
    pub fn shape(&self) -> WindowShape {
        self.shape
    }

    /// Per series, the row from which on nothing is read.
    pub fn ends(&self) -> &Arc<[usize]> {
        &self.ends
    }

    /// Number of runs stored; what the memory of the index grows with.
    pub fn n_runs(&self) -> usize {
        self.runs.len()
    }
}

impl Dataset<Window> for WindowIndex {
    fn get(&self, index: usize) -> Option<Window> {
        WindowIndex::get(self, index)
    }

    fn len(&self) -> usize {
        WindowIndex::len(self)
    }
}

/// Origins and series are numbered in 32 bits, which halves what a batch of windows takes.
fn check_size(panel: &Panel) -> Result<(), WindowError> {
    for (what, value) in [("number of series", panel.n_series()), ("rows of one series", panel.max_len())] {
        if u32::try_from(value).is_err() {
            return Err(WindowError::TooMany { what: what.into(), value });
        }
    }
    Ok(())
}

/// The number of observed values in a range that only moves forward, so that a whole series costs one pass.
struct Count {
    range: Range<usize>,
    count: usize,
}

impl Count {
    fn new(at: usize) -> Self {
        Self { range: at..at, count: 0 }
    }

    fn slide(&mut self, y: &[f64], to: Range<usize>) {
        let seen = |rows: &[f64]| rows.iter().filter(|v| observed(**v)).count();
        self.count += seen(&y[self.range.end..to.end]);
        self.count -= seen(&y[self.range.start..to.start]);
        self.range = to;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::calendar::{Clock, Frequency};
    use crate::window::Start;
    use proptest::prelude::*;

    #[test]
    fn windows_are_counted_by_series() {
        let long: Vec<f64> = (0..12).map(f64::from).collect();
        let mut holes = long.clone();
        holes[3..8].fill(f64::NAN);
        let p = panel(&[&long, &long[..3], &long[..1], &holes]);
        let all: Vec<_> = (0..4).map(|s| 0..p.len_of(s)).collect();
        let shape = WindowShape { input_size: 4, horizon: 2 };
        for rules in [
            WindowRules::train(shape),
            WindowRules { start: Start::OneInput { align: None }, ..WindowRules::train(shape) },
            WindowRules { start: Start::OneInput { align: None }, stride: 3, ..WindowRules::train(shape) },
        ] {
            let index = WindowIndex::new(&p, &all, &rules).unwrap();
            let mut expected = vec![(0, 0); 4];
            for w in index.windows() {
                expected[w.series as usize].0 += 1;
                expected[w.series as usize].1 += usize::from(w.origin < 4);
            }
            assert_eq!(index.by_series(), expected);
        }
        let train = WindowIndex::new(&p, &all, &WindowRules::train(shape)).unwrap().by_series();
        assert_eq!((train[0], train[1], train[2]), ((8, 0), (2, 2), (0, 0)));
    }

    /// A panel of these targets.
    pub(crate) fn panel(series: &[&[f64]]) -> Panel {
        let mut offsets = vec![0];
        let mut time = Vec::new();
        for y in series {
            offsets.push(offsets[offsets.len() - 1] + y.len());
            time.extend(0..y.len() as i64);
        }
        let ids = (0..series.len()).map(|s| format!("s{s}")).collect();
        let freq: Frequency = "1".parse().unwrap();
        Panel::new(ids, offsets, time, Clock::Integer, freq, series.concat(), "y")
    }

    fn whole(panel: &Panel) -> Vec<Range<usize>> {
        (0..panel.n_series()).map(|s| 0..panel.len_of(s)).collect()
    }

    fn pairs(index: &WindowIndex) -> Vec<(u32, u32)> {
        index.windows().map(|w| (w.series, w.origin)).collect()
    }

    const SHAPE: WindowShape = WindowShape { input_size: 3, horizon: 2 };

    #[test]
    fn two_series_are_numbered_one_after_the_other() {
        let p = panel(&[&[1.0; 6], &[1.0; 4]]);
        let index = WindowIndex::new(&p, &whole(&p), &WindowRules::train(SHAPE)).unwrap();
        // The second is padded to 5 rows, so its first origin is 2.
        assert_eq!(pairs(&index), [(0, 3), (0, 4), (0, 5), (1, 2), (1, 3)]);
        assert_eq!((index.len(), index.n_runs()), (5, 2));
        assert_eq!(index.get(5), None);
        assert_eq!(Dataset::get(&index, 3), Some(Window { series: 1, origin: 2 }));
    }

    #[test]
    fn windows_without_an_observed_input_or_target_are_left_out() {
        let hole = f64::NAN;
        let p = panel(&[&[1.0, 1.0, 1.0, hole, hole, hole, 1.0, 1.0, 1.0]]);
        let index = WindowIndex::new(&p, &whole(&p), &WindowRules::train(SHAPE)).unwrap();
        // Origins 3 and 4 have targets 3 4 and 4 5 in the hole; origin 6 has inputs 3 4 5 in the hole.
        assert_eq!(pairs(&index), [(0, 5), (0, 7), (0, 8)]);
        assert_eq!(index.n_runs(), 2);
    }

    #[test]
    fn evaluation_windows_reach_back_before_the_range() {
        let p = panel(&[&[1.0; 12]]);
        let index = WindowIndex::new(&p, std::slice::from_ref(&(7..11)), &WindowRules::evaluate(SHAPE)).unwrap();
        assert_eq!(pairs(&index), [(0, 7), (0, 8), (0, 9)]);
        assert_eq!(index.ends()[0], 11);
    }

    #[test]
    fn a_million_windows_are_one_run() {
        let y = vec![1.0; 1_000_000];
        let p = panel(&[&y]);
        let index = WindowIndex::new(&p, &whole(&p), &WindowRules::train(SHAPE)).unwrap();
        assert_eq!((index.len(), index.n_runs()), (999_997, 1));
        assert_eq!(index.get(999_996).unwrap().origin, 999_999);
    }

    #[test]
    fn forecasts_start_at_the_end_of_each_series_that_was_seen() {
        let p = panel(&[&[1.0; 4], &[], &[1.0, f64::NAN, f64::NAN, f64::NAN], &[1.0]]);
        let (index, silent) = WindowIndex::at_ends(&p, SHAPE).unwrap();
        assert_eq!(pairs(&index), [(0, 4), (3, 1)]);
        assert_eq!(silent, [1, 2]);
    }

    #[test]
    fn ranges_that_do_not_fit_are_errors() {
        let p = panel(&[&[1.0; 4]]);
        let rules = WindowRules::train(SHAPE);
        assert!(matches!(WindowIndex::new(&p, &[], &rules), Err(WindowError::Ranges { expected: 1, got: 0 })));
        let message = WindowIndex::new(&p, std::slice::from_ref(&(0..5)), &rules).unwrap_err().to_string();
        assert_eq!(message, "series `s0` has 4 rows, but windows are wanted from its rows 0..5");
        let none = WindowIndex::new(&p, std::slice::from_ref(&(3..4)), &WindowRules::evaluate(SHAPE)).unwrap();
        assert!(none.non_empty("test").unwrap_err().to_string().starts_with("no test window"));
    }

    /// Every origin of the padded series is tried, and values are counted one by one.
    fn brute_force(p: &Panel, ranges: &[Range<usize>], rules: &WindowRules) -> Vec<(u32, u32)> {
        let (l, h) = (rules.shape.input_size as i64, rules.shape.horizon as i64);
        let mut found = Vec::new();
        for (s, range) in ranges.iter().enumerate() {
            let y = p.series(s);
            let (start, end) = (range.start as i64, range.end as i64);
            let pad = |align: Option<usize>| (align.map_or(l + h, |a| a as i64) - end).max(0);
            let anchor = match rules.start {
                Start::RangeStart => start.max(1),
                Start::WholeInput { align } => l - pad(align),
                Start::OneInput { align } => 1 - pad(align),
            };
            for origin in start..end {
                let seen = |rows: Range<i64>| rows.filter(|r| (0..end).contains(r) && observed(y[*r as usize])).count();
                let on_grid = origin >= anchor && (origin - anchor) % rules.stride as i64 == 0;
                let fits = !rules.whole_targets || origin + h <= end;
                let inputs = seen(origin - l..origin) >= ((l as f64 * rules.min_input) as usize).max(1);
                let targets = seen(origin..origin + h) >= ((h as f64 * rules.min_target) as usize).max(1);
                if on_grid && fits && inputs && targets {
                    found.push((s as u32, origin as u32));
                }
            }
        }
        found
    }

    fn start() -> impl Strategy<Value = Start> {
        let align = proptest::option::of(0usize..40);
        prop_oneof![
            Just(Start::RangeStart),
            align.clone().prop_map(|align| Start::WholeInput { align }),
            align.prop_map(|align| Start::OneInput { align }),
        ]
    }

    fn series() -> impl Strategy<Value = (Vec<f64>, usize, usize)> {
        let value = prop_oneof![3 => Just(1.0), 1 => Just(f64::NAN)];
        proptest::collection::vec(value, 0..30).prop_flat_map(|y| {
            let n = y.len();
            (Just(y), 0..=n, 0..=n)
        })
    }

    proptest! {
        #[test]
        fn the_index_lists_exactly_the_windows_that_fit(
            series in proptest::collection::vec(series(), 0..6),
            input_size in 1usize..9,
            horizon in 1usize..6,
            stride in 1usize..5,
            min_input in 0.0f64..=1.0,
            min_target in 0.0f64..=1.0,
            whole_targets: bool,
            start in start(),
        ) {
            let shape = WindowShape { input_size, horizon };
            let rules = WindowRules { shape, stride, min_input, min_target, whole_targets, start };
            let p = panel(&series.iter().map(|(y, ..)| y.as_slice()).collect::<Vec<_>>());
            let ranges: Vec<_> = series.iter().map(|(_, a, b)| *a.min(b)..*a.max(b)).collect();
            let index = WindowIndex::new(&p, &ranges, &rules).unwrap();
            let listed = pairs(&index);
            prop_assert_eq!(&listed, &brute_force(&p, &ranges, &rules));
            let mut unique = listed.clone();
            unique.dedup();
            prop_assert_eq!(unique.len(), index.len());
        }
    }
}
