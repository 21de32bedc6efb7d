//! `Places`: where the rows of a series stand on the calendar, for transforms that depend on time.

/// The place of each row of a series: a number of calendar steps from some common row.
///
/// Rows that follow each other without a gap are counted from the first; a sequence of observations with holes lists its
/// places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places<'a> {
    first: i64,
    listed: &'a [i64],
}

impl<'a> Places<'a> {
    /// Rows at `first`, `first + 1`, ...
    pub const fn counted(first: i64) -> Self {
        Self { first, listed: &[] }
    }

    /// Rows at the places that are listed, which ascend; those after the last one follow it step by step.
    pub const fn listed(places: &'a [i64]) -> Self {
        Self { first: 0, listed: places }
    }

    /// The place of row `i`.
    #[inline]
    pub fn at(&self, i: usize) -> i64 {
        match (self.listed.get(i), self.listed.last()) {
            (Some(place), _) => *place,
            (None, Some(last)) => last.saturating_add((i - self.listed.len()) as i64 + 1),
            (None, None) => self.first.saturating_add(i as i64),
        }
    }

    /// The places from row `start` on.
    pub fn from(&self, start: usize) -> Self {
        match self.listed.get(start..) {
            Some(rest) if !rest.is_empty() => Self::listed(rest),
            _ => Self::counted(self.at(start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_on_after_the_last_row() {
        let counted = Places::counted(7);
        assert_eq!((counted.at(0), counted.at(3), counted.from(2).at(1)), (7, 10, 10));
        let listed = Places::listed(&[1, 2, 5]);
        assert_eq!((0..5).map(|i| listed.at(i)).collect::<Vec<_>>(), [1, 2, 5, 6, 7]);
        assert_eq!((0..3).map(|i| listed.from(2).at(i)).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(listed.from(4).at(1), 8);
    }
}
