//! Static columns whose values are names: one code per series, and the names that the codes stand for.

/// A category per series, for an embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticCategory {
    /// The column's name in the file.
    pub name: String,
    /// The categories, sorted; code `c` is `levels[c]`.
    pub levels: Vec<String>,
    /// The code of each series; `levels.len()` is a category that is none of them.
    pub codes: Vec<u32>,
}

impl StaticCategory {
    /// A column of one text per series; the levels are the texts that occur.
    pub fn new<S: AsRef<str>>(name: impl Into<String>, texts: &[S]) -> Self {
        let mut levels: Vec<String> = texts.iter().map(|t| t.as_ref().to_owned()).collect();
        levels.sort_unstable();
        levels.dedup();
        Self { codes: texts.iter().map(|t| code(&levels, t.as_ref())).collect(), name: name.into(), levels }
    }

    /// The category of series `s`; `None` where it is none of the levels.
    pub fn text(&self, s: usize) -> Option<&str> {
        self.levels.get(self.codes[s] as usize).map(String::as_str)
    }

    /// The same categories by other levels (those that a model was trained with, sorted), and the names that are none of
    /// these, each once.
    pub fn recoded(&self, levels: &[String]) -> (Self, Vec<String>) {
        let mut unknown = Vec::new();
        let of_level: Vec<u32> = self.levels.iter().map(|l| code(levels, l)).collect();
        let codes = self.codes.iter().map(|c| {
            let new = of_level.get(*c as usize).copied().unwrap_or(levels.len() as u32);
            if let (true, Some(name)) = (new as usize == levels.len(), self.levels.get(*c as usize))
                && !unknown.contains(name)
            {
                unknown.push(name.clone());
            }
            new
        });
        (Self { codes: codes.collect(), name: self.name.clone(), levels: levels.to_vec() }, unknown)
    }

    /// The same for some of the series; levels that none of them has are gone.
    pub(super) fn of_series(&self, kept: &[usize]) -> Self {
        let (texts, strangers): (Vec<_>, Vec<_>) = kept.iter().map(|s| self.text(*s)).partition(Option::is_some);
        if strangers.is_empty() {
            return Self::new(self.name.clone(), &texts.into_iter().flatten().collect::<Vec<_>>());
        }
        // A column that was recoded keeps the levels that it was recoded to.
        Self { codes: kept.iter().map(|s| self.codes[*s]).collect(), ..self.clone() }
    }
}

/// The place of `name` among sorted levels, their number where it is none.
fn code(levels: &[String], name: &str) -> u32 {
    levels.binary_search_by(|l| l.as_str().cmp(name)).unwrap_or(levels.len()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_sorted_and_strangers_are_told() {
        let column = StaticCategory::new("area", &["north", "east", "north"]);
        assert_eq!((column.levels.join(","), column.codes.clone()), ("east,north".into(), vec![1, 0, 1]));
        let (recoded, unknown) = column.recoded(&["north".into(), "west".into()]);
        assert_eq!((recoded.codes.clone(), unknown), (vec![0, 2, 0], vec!["east".to_owned()]));
        assert_eq!((recoded.text(0), recoded.text(1)), (Some("north"), None));
        assert_eq!(column.of_series(&[0]), StaticCategory::new("area", &["north"]));
        assert_eq!(recoded.of_series(&[1, 2]).codes, [2, 0]);
    }
}
