//! Which column is what: long or wide, the time column, the targets and the covariates.

use crate::error::{InvalidSetting, listed};

use super::config::{DataConfig, Targets};
use super::error::DataError;
use super::problems::Problems;
use super::table::{ColumnKind, Head, Table};

/// The columns that make a file long, and the usual names of the other two: neuralforecast's, then AutoGluon's.
pub(super) const IDS: [&str; 2] = ["unique_id", "item_id"];
const TIMES: [&str; 2] = ["ds", "timestamp"];
const TARGETS: [&str; 2] = ["y", "target"];
/// The target where there is no `y` and more than one column of numbers.
const CLOSE: &str = "close";

/// What a static column of text is told to be.
pub(super) const NUMBERS_OR_CATEGORIES: &str = "numbers (--stat-cat takes names)";

/// Names under which plain counters are taken for the time.
const COUNTERS: &[&str] =
    &["time", "timestamp", "date", "datetime", "t", "step", "period", "index", "year", "__index_level_0__"];

/// Column indices by role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roles {
    /// The id column: the layout is long.
    pub id: Option<usize>,
    pub time: usize,
    /// The target, or the wide columns that are series.
    pub targets: Vec<usize>,
    pub hist_exog: Vec<usize>,
    pub futr_exog: Vec<usize>,
    /// Static columns of this file (none where a static file has them).
    pub stat_exog: Vec<usize>,
    /// Static columns of this file that are names.
    pub stat_cat: Vec<usize>,
    /// What was decided without being asked for.
    pub notices: Vec<String>,
}

/// Decides the roles of the columns.
///
/// # Errors
/// All absent columns at once; contradictions; and what the file leaves open.
pub(super) fn resolve(table: &Table, config: &DataConfig) -> Result<Roles, DataError> {
    let mut absent = Problems::default();
    let mut notices = Vec::new();
    let mut find = |name: &str, flag: &str| {
        let index = table.find(name);
        if index.is_none() {
            absent.push(table.absent(name, flag));
        }
        index
    };
    let mut find_all = |names: &[String], flag| names.iter().filter_map(|n| find(n, flag)).collect::<Vec<_>>();
    let hist_exog = find_all(&config.hist_exog, "--hist-exog");
    let futr_exog = find_all(&config.futr_exog, "--futr-exog");
    let stat_exog = match config.static_file {
        None => find_all(&config.stat_exog, "--stat-exog"),
        Some(_) => Vec::new(),
    };
    let stat_cat = match config.static_file {
        None => find_all(&config.stat_cat, "--stat-cat"),
        Some(_) => Vec::new(),
    };
    let named_targets: Option<Vec<usize>> = match (&config.target, &config.targets) {
        (Some(_), Some(_)) => {
            return Err(InvalidSetting::new(
                "data.target",
                "a name beside data.targets",
                "one of the two",
                "leave out --target or --targets",
            )
            .into());
        }
        (Some(name), None) => Some(find(name, "--target").into_iter().collect()),
        (None, Some(Targets::Names(names))) => Some(names.iter().filter_map(|n| find(n, "--targets")).collect()),
        (None, Some(Targets::All) | None) => None,
    };
    let id = match &config.id_col {
        Some(name) => find(name, "--id-col"),
        None => find_id(table, config),
    };
    let named_time = config.time_col.as_ref().map(|name| find(name, "--time-col"));
    if absent.has_errors() {
        return Err(table.place.problems(absent));
    }

    let mut taken: Vec<(usize, &str)> = Vec::new();
    let groups = [
        (id.as_slice(), "the id column"),
        (named_targets.as_deref().unwrap_or_default(), "a target"),
        (&hist_exog[..], "a hist_exog column"),
        (&futr_exog[..], "a futr_exog column"),
        (&stat_exog[..], "a stat_exog column"),
        (&stat_cat[..], "a stat_cat column"),
        (
            named_time.as_ref().and_then(|t| t.as_slice().first()).map(std::slice::from_ref).unwrap_or_default(),
            "the time",
        ),
    ];
    for (columns, role) in groups {
        for &column in columns {
            if let Some((_, other)) = taken.iter().find(|(c, _)| *c == column) {
                let name = &table.heads[column].name;
                let message = format!("column `{name}` is named as {other} and as {role}");
                return Err(table.place.layout(message, "give each column one role"));
            }
            taken.push((column, role));
        }
    }
    let is_taken = |index: usize| taken.iter().any(|(c, _)| *c == index);

    let time = match named_time.flatten() {
        Some(index) => index,
        None => find_time(table, &is_taken, &mut notices)?,
    };
    let free = |index: usize| index != time && !is_taken(index);
    let targets = match named_targets {
        Some(columns) => columns,
        None if config.targets == Some(Targets::All) => numeric(table, &free),
        None => vec![find_target(table, &free, &mut notices)?],
    };
    if targets.is_empty() {
        return Err(no_numbers(table));
    }
    if id.is_some() && targets.len() > 1 {
        let names: Vec<&str> = targets.iter().map(|c| table.heads[*c].name.as_str()).collect();
        let message = format!("a file with an id column has one value column, but {} are targets", listed(&names, 8));
        return Err(table.place.layout(message, "choose one with --target"));
    }
    for &column in targets.iter().chain(&hist_exog).chain(&futr_exog).chain(&stat_exog) {
        let head = &table.heads[column];
        // Decimal commas are read, so that each of them is shown.
        if !head.kind.is_numeric() && head.kind != ColumnKind::DecimalComma {
            let expected = if stat_exog.contains(&column) { NUMBERS_OR_CATEGORIES } else { "numbers" };
            return Err(table.place.column_type(&head.name, head.kind.words(), expected));
        }
    }
    Ok(Roles { id, time, targets, hist_exog, futr_exog, stat_exog, stat_cat, notices })
}

/// The id column, whose existence makes the layout long.
pub(super) fn find_id(table: &Table, config: &DataConfig) -> Option<usize> {
    match &config.id_col {
        Some(name) => table.find(name),
        None => IDS.iter().find_map(|name| table.find(name)),
    }
}

/// Columns that read as dates or times.
pub(super) fn time_columns(heads: &[Head]) -> Vec<usize> {
    (0..heads.len()).filter(|i| heads[*i].kind == ColumnKind::Time).collect()
}

/// The time column where none was named: `ds`, the only one that reads as dates, else a counter.
pub(super) fn find_time(
    table: &Table,
    is_taken: &dyn Fn(usize) -> bool,
    notices: &mut Vec<String>,
) -> Result<usize, DataError> {
    let usual = TIMES.iter().filter_map(|name| table.find(name)).find(|i| !is_taken(*i));
    // A `timestamp` may be anything, a `ds` is the time.
    if let Some(index) = usual.filter(|i| {
        let head = &table.heads[*i];
        head.name == TIMES[0] || matches!(head.kind, ColumnKind::Time | ColumnKind::Integer)
    }) {
        return Ok(index);
    }
    let heads = &table.heads;
    let dates: Vec<usize> = time_columns(heads).into_iter().filter(|i| !is_taken(*i)).collect();
    let names = |columns: &[usize]| listed(&columns.iter().map(|c| heads[*c].name.as_str()).collect::<Vec<_>>(), 8);
    match dates[..] {
        [only] => return Ok(only),
        [] => {}
        _ => {
            let message = format!("{} columns read as time: {}", dates.len(), names(&dates));
            return Err(table.place.layout(message, "choose one with --time-col"));
        }
    }
    let counters: Vec<usize> = (0..heads.len())
        .filter(|i| {
            heads[*i].kind == ColumnKind::Integer && !is_taken(*i) && !TARGETS.contains(&heads[*i].name.as_str())
        })
        .collect();
    let well_named: Vec<usize> = counters
        .iter()
        .copied()
        .filter(|i| COUNTERS.iter().any(|name| heads[*i].name.eq_ignore_ascii_case(name)))
        .collect();
    match (&well_named[..], &counters[..]) {
        ([only], _) => Ok(*only),
        ([], [only]) if heads.len() > 1 => {
            notices.push(format!("`{}` is taken as the time: the only column of whole numbers", heads[*only].name));
            Ok(*only)
        }
        (_, []) => {
            let all: Vec<usize> = (0..heads.len()).collect();
            let message = format!("no column reads as time (the columns are {})", names(&all));
            Err(table
                .place
                .layout(message, "name it with --time-col, or write times as 2020-01-31 23:59:00 or integers"))
        }
        (_, many) => {
            let message = format!("no column reads as dates, and several could be a counter: {}", names(many));
            Err(table.place.layout(message, "choose one with --time-col"))
        }
    }
}

/// Numeric columns that are free to be targets; what pandas writes as an index is none.
pub(super) fn numeric(table: &Table, free: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let is_index = |head: &Head| head.name.starts_with("__index_level_") || head.name.starts_with("Unnamed: ");
    (0..table.heads.len())
        .filter(|i| free(*i) && table.heads[*i].kind.is_numeric() && !is_index(&table.heads[*i]))
        .collect()
}

fn find_target(table: &Table, free: &dyn Fn(usize) -> bool, notices: &mut Vec<String>) -> Result<usize, DataError> {
    if let Some(index) = TARGETS.iter().filter_map(|name| table.find(name)).find(|i| free(*i)) {
        return Ok(index);
    }
    let columns = numeric(table, free);
    let names: Vec<&str> = columns.iter().map(|c| table.heads[*c].name.as_str()).collect();
    match columns[..] {
        [only] => {
            notices.push(format!("target is `{}`, the only column of numbers", names[0]));
            Ok(only)
        }
        [] => Err(no_numbers(table)),
        // A table of prices (open, high, low, close, volume): the closing price is what is forecast.
        _ if names.contains(&CLOSE) => {
            notices
                .push(format!("target is `{CLOSE}`, of {} columns of numbers (--target names another)", names.len()));
            Ok(columns[names.iter().position(|n| *n == CLOSE).unwrap_or(0)])
        }
        _ => {
            let message = format!("{} columns hold numbers: {}", names.len(), listed(&names, 12));
            Err(table.place.layout(message, "choose one with --target, several with --targets A,B or --targets all"))
        }
    }
}

fn no_numbers(table: &Table) -> DataError {
    let comma = table.heads.iter().find(|h| h.kind == ColumnKind::DecimalComma);
    match comma {
        Some(head) => table.place.layout(
            format!("column `{}` holds numbers with a decimal comma", head.name),
            "write decimals with a point: 3.14",
        ),
        None => table.place.layout("no column holds numbers that could be the target", "name one with --target"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Place;
    use super::super::source::from_bytes;
    use super::*;
    use crate::error::Advise;

    #[test]
    fn prices_are_forecast_by_their_close() {
        let found = roles("ds,open,close,volume\n2020-01-01,1,2,3\n2020-01-02,1,2,3\n", DataConfig::default()).unwrap();
        assert_eq!(found.targets, [2]);
        assert!(found.notices.iter().any(|n| n.contains("target is `close`")), "{:?}", found.notices);
    }

    fn roles(text: &str, config: DataConfig) -> Result<Roles, DataError> {
        let source = from_bytes(Place { path: "f".into() }, text.as_bytes().to_vec(), false)?;
        resolve(&Table::from_source(source)?, &config)
    }

    fn message(text: &str, config: DataConfig) -> String {
        let error = roles(text, config).unwrap_err();
        format!("{error} | {}", error.hint().unwrap_or_default())
    }

    fn config() -> DataConfig {
        DataConfig::default()
    }

    #[test]
    fn a_file_with_unique_id_is_long() {
        let r = roles("unique_id,ds,y,x\nA,1,2,3\n", config()).unwrap();
        assert_eq!((r.id, r.time, r.targets), (Some(0), 1, vec![2]));
        let named = DataConfig { id_col: Some("shop".into()), target: Some("sold".into()), ..config() };
        let r = roles("day,shop,sold,left\n2020-01-01,A,2,3\n", named).unwrap();
        assert_eq!((r.id, r.time, r.targets), (Some(1), 0, vec![2]));
    }

    #[test]
    fn the_names_of_autogluon_are_known() {
        let r = roles("item_id,timestamp,target,promo,updated\nA,2020-01-01,1,0,2024-05-05\n", config()).unwrap();
        assert_eq!((r.id, r.time, r.targets, r.notices.len()), (Some(0), 1, vec![2], 0));
        let r = roles("item_id,unique_id,ds,timestamp,y,target\nA,B,2020-01-01,2020-01-01,1,0\n", config()).unwrap();
        assert_eq!((r.id, r.time, r.targets), (Some(1), 2, vec![4]), "neuralforecast's come first");
        let r = roles("timestamp,target,x\n3,1.5,2\n", config()).unwrap();
        assert_eq!((r.id, r.time, r.targets), (None, 0, vec![1]));
    }

    #[test]
    fn the_time_column_is_found() {
        assert_eq!(roles("a,when,y\n1.5,2020-01-01,2\n", config()).unwrap().time, 1);
        assert_eq!(roles("value,ds\n1,1\n", config()).unwrap().time, 1);
        let r = roles("n,value\n1,1.5\n", config()).unwrap();
        assert_eq!((r.time, r.notices.len()), (0, 2), "{:?}", r.notices);
        assert_eq!(roles("y,step,other\n1,1,4\n", config()).unwrap().time, 1);
        let two = message("a,b,y\n2020-01-01,2020-01-01,2\n", config());
        assert!(two.contains("2 columns read as time: `a`, `b`") && two.contains("--time-col"), "{two}");
        assert!(message("a,b\nx,1.5\n", config()).contains("no column reads as time"));
        assert!(message("a,b,y\n1,1,2.5\n", config()).contains("several could be a counter: `a`, `b`"));
    }

    #[test]
    fn the_target_is_y_or_the_only_numbers() {
        assert_eq!(roles("ds,x,y\n1,2,3\n", config()).unwrap().targets, [2]);
        let r = roles("date,passengers\n1949-01-01,112\n", config()).unwrap();
        assert_eq!((r.targets, r.notices[0].as_str()), (vec![1], "target is `passengers`, the only column of numbers"));
        let text = message("date,open,shut\n2020-01-01,1,2\n", config());
        assert!(text.contains("2 columns hold numbers: `open`, `shut`") && text.contains("--targets all"), "{text}");
        assert!(message("date,name\n2020-01-01,x\n", config()).contains("no column holds numbers"));
        assert!(message("date;v\n2020-01-01;1,5\n", config()).contains("decimal comma"));
    }

    #[test]
    fn wide_targets_leave_out_time_text_and_covariates() {
        let text = "date,A,B,name,x\n2020-01-01,1,2,n,3\n";
        let all = DataConfig { targets: Some(Targets::All), futr_exog: vec!["x".into()], ..config() };
        let r = roles(text, all).unwrap();
        assert_eq!((r.targets, r.futr_exog), (vec![1, 2], vec![4]));
        let r = roles(text, DataConfig { targets: Some("B,A".parse().unwrap()), ..config() }).unwrap();
        assert_eq!(r.targets, [2, 1], "in the order asked");
        let text = message(text, DataConfig { target: Some("name".into()), ..config() });
        assert!(text.contains("column `name` holds text, expected numbers"), "{text}");
    }

    #[test]
    fn all_absent_columns_are_told_at_once_with_the_nearest_name() {
        let wanted = DataConfig {
            target: Some("clse".into()),
            hist_exog: vec!["rain".into()],
            time_col: Some("Date".into()),
            ..config()
        };
        let text = message("date,open,close\n2020-01-01,1,2\n", wanted);
        for part in [
            "`clse` (--target); did you mean `close`?",
            "`rain` (--hist-exog); the columns are",
            "did you mean `date`?",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let both = DataConfig { target: Some("y".into()), targets: Some(Targets::All), ..config() };
        assert!(message("ds,y\n1,2\n", both).contains("--targets"));
        let twice = DataConfig { target: Some("y".into()), hist_exog: vec!["y".into()], ..config() };
        assert!(message("ds,y\n1,2\n", twice).contains("named as a target and as a hist_exog column"));
        let many = DataConfig { targets: Some(Targets::All), ..config() };
        assert!(
            message("unique_id,ds,y,x\nA,1,2,3\n", many).contains("has one value column, but `y`, `x` are targets")
        );
        assert!(message("ds,y,y\n1,2,3\n", config()).contains("more than one column is named `y`"));
    }
}
