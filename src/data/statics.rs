//! `stat_exog`: one value per series, from the rows of the file itself or from a table with one row per series.

use std::collections::HashMap;

use super::category::StaticCategory;
use super::config::DataConfig;
use super::error::DataError;
use super::layout::NUMBERS_OR_CATEGORIES;
use super::layout::find_id;
use super::panel::{Panel, StaticColumn};
use super::problems::{Problem, ProblemKind, Problems};
use super::table::{As, Cells, Head, NO_NAME, Places, Table};

/// Static columns by the name of the series; all series share them where `keys` is `None`.
#[derive(Debug)]
pub(super) struct Statics {
    columns: Vec<StaticValues>,
    codes: Option<HashMap<String, usize>>,
}

/// A column with one value per name of a series.
#[derive(Debug)]
struct StaticValues {
    name: String,
    /// NaN is missing; places in `names` where there are some.
    values: Vec<f64>,
    /// The categories of a column of names.
    names: Option<Vec<String>>,
}

impl Statics {
    /// Takes one value per series from columns that should not change within a series.
    pub(super) fn gather(
        keys: Option<&Cells>,
        columns: Vec<(String, Cells)>,
        places: &Places,
        problems: &mut Problems,
    ) -> Self {
        let (codes, names) = match keys {
            Some(Cells::Keys { codes, names }) => (Some(codes), names.as_slice()),
            _ => (None, &[][..]),
        };
        let n = if codes.is_some() { names.len() } else { 1 };
        let gathered = columns
            .into_iter()
            .map(|(name, cells)| {
                let (values, levels) = match cells {
                    Cells::Keys { codes, names } => {
                        let place = |c: u32| if c == NO_NAME { f64::NAN } else { f64::from(c) };
                        (codes.into_iter().map(place).collect(), Some(names))
                    }
                    other => (other.into_numbers(), None),
                };
                let shown = |value: f64| match &levels {
                    Some(levels) => format!("`{}`", levels[value as usize]),
                    None => value.to_string(),
                };
                let mut found = vec![f64::NAN; n];
                let mut told = vec![false; n];
                for (row, value) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                    let code = codes.map_or(0, |c| c[row] as usize);
                    if found[code].is_nan() {
                        found[code] = *value;
                    } else if found[code] != *value && !told[code] {
                        told[code] = true;
                        let (from, to) = (shown(found[code]), shown(*value));
                        let message = format!("a static column changes from {from} to {to}");
                        let problem = Problem::new(ProblemKind::StaticValue, message).at(places.of(row)).column(&name);
                        problems.push(match names.get(code) {
                            Some(id) => problem.series(id),
                            None => problem,
                        });
                    }
                }
                StaticValues { name, values: found, names: levels }
            })
            .collect();
        let codes = codes.map(|_| names.iter().enumerate().map(|(code, name)| (name.clone(), code)).collect());
        Self { columns: gathered, codes }
    }

    /// Reads the table of `config.static_file`.
    pub(super) fn read(
        config: &DataConfig,
        path: &std::path::Path,
        problems: &mut Problems,
    ) -> Result<Self, DataError> {
        let mut table = Table::open(path)?;
        let Some(id) = find_id(&table, config) else {
            let name = config.id_col.as_deref().unwrap_or(super::layout::IDS[0]);
            let mut absent = Problems::default();
            absent.push(table.absent(name, "the id column of --static"));
            return Err(table.place.problems(absent));
        };
        let mut absent = Problems::default();
        let mut wanted = vec![(id, As::Key)];
        if config.stat_exog.is_empty() && config.stat_cat.is_empty() {
            wanted.extend(
                (0..table.heads.len()).filter(|i| *i != id && numeric(&table.heads[*i])).map(|i| (i, As::Number)),
            );
            if wanted.len() == 1 {
                return Err(table
                    .place
                    .layout("no column holds numbers", "name columns of categories with --stat-cat"));
            }
        }
        for name in &config.stat_exog {
            match table.find(name) {
                Some(i) if numeric(&table.heads[i]) => wanted.push((i, As::Number)),
                Some(i) => {
                    return Err(table.place.column_type(name, table.heads[i].kind.words(), NUMBERS_OR_CATEGORIES));
                }
                None => absent.push(table.absent(name, "--stat-exog")),
            }
        }
        for name in &config.stat_cat {
            match table.find(name) {
                Some(i) => wanted.push((i, As::Text)),
                None => absent.push(table.absent(name, "--stat-cat")),
            }
        }
        if absent.has_errors() {
            return Err(table.place.problems(absent));
        }
        let columns = table.read(&wanted)?;
        let mut own = columns.problems;
        let mut cells = columns.cells.into_iter();
        let keys = cells.next();
        let names = wanted[1..].iter().map(|(i, _)| table.heads[*i].name.clone());
        let values = names.zip(cells).collect();
        let statics = Self::gather(keys.as_ref(), values, &columns.places, &mut own);
        problems.append(own.in_file(&table.place.path));
        Ok(statics)
    }

    /// Gives each series of the panel its values.
    pub(super) fn add_to(self, panel: &mut Panel, problems: &mut Problems) {
        for StaticValues { name, values: found, names } in self.columns {
            let mut values = Vec::with_capacity(panel.n_series());
            for id in &panel.ids {
                let code = match &self.codes {
                    None => Some(0),
                    Some(codes) => codes.get(id).copied(),
                };
                let value = code.map_or(f64::NAN, |c| found[c]);
                if value.is_nan() {
                    let message = match code {
                        None => "the static table has no row for it",
                        Some(_) => "the static value is missing",
                    };
                    problems.push(Problem::new(ProblemKind::StaticValue, message).series(id).column(&name));
                }
                values.push(value);
            }
            match names {
                None => panel.stat_exog.push(StaticColumn { name, values }),
                // A missing one was reported, so that this panel is not used.
                Some(names) => {
                    let text = |v: &f64| names.get(*v as usize).map(String::as_str).unwrap_or_default();
                    let texts: Vec<&str> = values.iter().map(text).collect();
                    panel.stat_cat.push(StaticCategory::new(name, &texts));
                }
            }
        }
    }
}

fn numeric(head: &Head) -> bool {
    head.kind.is_numeric()
}
