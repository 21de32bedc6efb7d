//! The shared parts of error messages: every room's error says place, value, expectation and remedy in the same words.
//!
//! Each room has one `#[non_exhaustive]` enum of its own made with `thiserror`; it implements [`Advise`] so that the
//! command line can print a stable `kind` and a hint beside the message without knowing the room.

use std::fmt;

/// What an error tells beside its message.
pub trait Advise: std::error::Error {
    /// A stable machine-readable word for the error, in kebab case (`"missing-values"`).
    fn kind(&self) -> &'static str;
    /// What the user can do about it, if there is something short to say.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A setting whose value is not allowed: field, value, what is allowed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The field as the user writes it (`train.lr`, `--lr`).
    pub field: String,
    /// The value that was given.
    pub value: String,
    /// The values that are allowed, in words (`a number > 0`).
    pub allowed: String,
    /// What to do about it.
    pub remedy: String,
}

impl InvalidSetting {
    /// Makes one from its four parts.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), value: value.to_string(), allowed: allowed.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} is not allowed: expected {}", self.field, self.value, self.allowed)
    }
}

impl std::error::Error for InvalidSetting {}

impl Advise for InvalidSetting {
    fn kind(&self) -> &'static str {
        "invalid-setting"
    }
    fn hint(&self) -> Option<String> {
        (!self.remedy.is_empty()).then(|| self.remedy.clone())
    }
}

/// The candidate nearest to `name` by edit distance, if it is near enough to be what was meant.
///
/// Case is ignored; "near enough" is at most a third of the longer name, and at least one edit.
pub fn nearest<'a, S>(name: &str, candidates: impl IntoIterator<Item = &'a S>) -> Option<&'a str>
where
    S: AsRef<str> + 'a + ?Sized,
{
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (edit_distance(&wanted, &c.as_ref().to_lowercase()), c.as_ref()))
        .filter(|(d, c)| {
            let longer = wanted.chars().count().max(c.chars().count());
            // One letter in place of another one is another name.
            *d <= 1.max(longer / 3) && *d < longer
        })
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Edits between two words, in characters: insertions, deletions, substitutions, and neighbours that changed places.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Names for a message: the first `limit` quoted, then how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S], limit: usize) -> String {
    let mut out = names.iter().take(limit).map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > limit {
        out.push_str(&format!(" and {} more", names.len() - limit));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_typo_and_refuses_a_stranger() {
        let columns = ["unique_id", "ds", "passengers"];
        assert_eq!(nearest("pasengers", columns.iter()), Some("passengers"));
        assert_eq!(nearest("DS", columns.iter()), Some("ds"));
        assert_eq!(nearest("temperature", columns.iter()), None);
        assert_eq!(nearest("B", ["A", "AB"].iter()), Some("AB"));
        assert_eq!(nearest("B", ["A", "C"].iter()), None);
        assert_eq!(nearest("colse", ["open", "close"].iter()), Some("close"), "two letters that changed places");
    }

    #[test]
    fn listed_says_how_many_more() {
        assert_eq!(listed(&["a", "b", "c"], 2), "`a`, `b` and 1 more");
    }
}
