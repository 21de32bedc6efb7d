//! `FeatureConfig`, the features that a user asks for, and `FeatureSpec`, all that it takes to make them again.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FeatureError;
use super::calendar::{CalendarField, DAY, Holidays, Waves};
use super::columns::{angle, create_lags, ema, rate_of_change};
use super::rolling::Rolling;
use crate::calendar::Clock;
use crate::data::{Column, Panel};
use crate::error::{InvalidSetting, nearest};

/// Columns made from the data (`[features]`, or `--features 'lags=1,7;rolling_mean=24;calendar=dow'`).
///
/// Those of the target's past are historical covariates: row `t` knows the rows up to and with `t`. Calendar, waves and
/// holidays are known ahead, and are future covariates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
    /// The target so many rows before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lags: Vec<usize>,
    /// Means over so many rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rolling_mean: Vec<usize>,
    /// Sample standard deviations over so many rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rolling_std: Vec<usize>,
    /// Smallest of so many rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rolling_min: Vec<usize>,
    /// Largest of so many rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rolling_max: Vec<usize>,
    /// Observed values that a rolling window needs; all of its rows if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_periods: Option<usize>,
    /// Exponential moving averages with these weights of the newest value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ema: Vec<f64>,
    /// Rates of change over so many rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roc: Vec<usize>,
    /// Parts of the calendar.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calendar: Vec<CalendarField>,
    /// Waves of a period, as `"24:3"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fourier: Vec<Waves>,
    /// File with holidays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holidays: Option<PathBuf>,
}

/// The names of the settings.
const NAMES: [&str; 11] = [
    "lags",
    "rolling_mean",
    "rolling_std",
    "rolling_min",
    "rolling_max",
    "min_periods",
    "ema",
    "roc",
    "calendar",
    "fourier",
    "holidays",
];

/// A list of holidays that ends so long before the data is not kept up.
const QUIET: i64 = 100 * DAY;

/// The most columns that are made: more would be a slip of the pen, and take the machine's memory.
const MOST_COLUMNS: usize = 1000;

impl FeatureConfig {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self { min_periods: self.min_periods, ..Self::default() }
    }

    /// Number of historical columns.
    pub fn n_hist(&self) -> usize {
        let rolling =
            [&self.lags, &self.rolling_mean, &self.rolling_std, &self.rolling_min, &self.rolling_max, &self.roc];
        rolling.iter().map(|list| list.len()).sum::<usize>() + self.ema.len()
    }

    /// Number of columns that are known ahead.
    pub fn n_futr(&self) -> usize {
        let waves = self.fourier.iter().fold(0usize, |n, w| n.saturating_add(w.order.saturating_mul(2)));
        (self.calendar.len() + usize::from(self.holidays.is_some())).saturating_add(waves)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`FeatureError::Setting`] with the one that is not allowed.
    pub fn check(&self) -> Result<(), FeatureError> {
        let wrong = |name: &str, value: String, allowed: &str, remedy: &str| -> Result<(), FeatureError> {
            Err(InvalidSetting::new(format!("features.{name}"), value, allowed, remedy).into())
        };
        let windows = [
            ("rolling_mean", &self.rolling_mean),
            ("rolling_std", &self.rolling_std),
            ("rolling_min", &self.rolling_min),
            ("rolling_max", &self.rolling_max),
        ];
        for (name, list) in windows.into_iter().chain([("lags", &self.lags), ("roc", &self.roc)]) {
            let least = if name == "rolling_std" { 2 } else { 1 };
            if let Some(n) = list.iter().find(|n| **n < least) {
                let allowed = format!("numbers of rows of at least {least}");
                return wrong(name, n.to_string(), &allowed, "columns look back only; the row itself is the target");
            }
        }
        if let Some(a) = self.ema.iter().find(|a| !(**a > 0.0 && **a <= 1.0)) {
            return wrong(
                "ema",
                a.to_string(),
                "numbers above 0 and at most 1",
                "0.3 weighs the newest value with 0.3",
            );
        }
        if let Some(least) = self.min_periods {
            let narrow = windows.iter().flat_map(|(_, list)| list.iter()).find(|w| least > **w);
            if least == 0 || narrow.is_some() {
                let allowed = "at least 1 and at most the rows of every rolling window";
                return wrong("min_periods", least.to_string(), allowed, "leave it out for whole windows");
            }
        }
        if let Some(w) = self.fourier.iter().find(|w| !(w.period > 1.0 && w.period.is_finite() && w.order > 0)) {
            return wrong("fourier", w.to_string(), "a period above 1 and an order of at least 1", "as in 24:3");
        }
        let n = self.n_hist().saturating_add(self.n_futr());
        if n > MOST_COLUMNS {
            let remedy = "ask for fewer lags, windows or waves";
            return Err(InvalidSetting::new(
                "features",
                format!("{n} columns"),
                format!("at most {MOST_COLUMNS}"),
                remedy,
            )
            .into());
        }
        let mut names: Vec<String> = self.hist_names().into_iter().chain(self.futr_names()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(InvalidSetting::new("features", format!("`{}` twice", pair[0]), "each column once", "name it once")
                    .into())
            }
            None => Ok(()),
        }
    }

    /// Names of the historical columns.
    pub fn hist_names(&self) -> Vec<String> {
        let of = |word: &str, list: &[usize]| list.iter().map(|n| format!("{word}_{n}")).collect::<Vec<_>>();
        let mut names = of("lag", &self.lags);
        names.extend(of("rolling_mean", &self.rolling_mean));
        names.extend(of("rolling_std", &self.rolling_std));
        names.extend(of("rolling_min", &self.rolling_min));
        names.extend(of("rolling_max", &self.rolling_max));
        names.extend(self.ema.iter().map(|a| format!("ema_{a}")));
        names.extend(of("roc", &self.roc));
        names
    }

    /// Names of the columns that are known ahead.
    pub fn futr_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.calendar.iter().map(|f| f.name().replace('-', "_")).collect();
        for waves in &self.fourier {
            for k in 1..=waves.order {
                names.extend(["sin", "cos"].map(|f| format!("fourier_{}_{f}{k}", waves.period)));
            }
        }
        names.extend(self.holidays.iter().map(|_| "holiday".to_owned()));
        names
    }

    /// Checks the settings and reads the holidays.
    ///
    /// # Errors
    /// [`FeatureError`] for a setting that is not allowed or a file that cannot be read.
    pub fn resolve(&self) -> Result<FeatureSpec, FeatureError> {
        self.check()?;
        let holidays = match &self.holidays {
            Some(path) => Holidays::read(path)?,
            None => Holidays::default(),
        };
        Ok(FeatureSpec { columns: self.clone(), holidays })
    }
}

impl fmt::Display for FeatureConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: ToString>(items: &[T]) -> String {
            items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        let fields: Vec<&str> = self.calendar.iter().map(|c| c.name()).collect();
        let parts = [
            ("lags", list(&self.lags)),
            ("rolling_mean", list(&self.rolling_mean)),
            ("rolling_std", list(&self.rolling_std)),
            ("rolling_min", list(&self.rolling_min)),
            ("rolling_max", list(&self.rolling_max)),
            ("min_periods", self.min_periods.map(|n| n.to_string()).unwrap_or_default()),
            ("ema", list(&self.ema)),
            ("roc", list(&self.roc)),
            ("calendar", list(&fields)),
            ("fourier", list(&self.fourier)),
            ("holidays", self.holidays.as_ref().map(|p| p.display().to_string()).unwrap_or_default()),
        ];
        let parts = parts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}"));
        f.write_str(&parts.collect::<Vec<_>>().join(";"))
    }
}

impl FromStr for FeatureConfig {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<Self, FeatureError> {
        fn list<T: FromStr>(name: &str, value: &str, allowed: &str) -> Result<Vec<T>, FeatureError> {
            let one = |word: &str| {
                let remedy = "as in 'lags=1,3,7;rolling_mean=20;ema=0.3;calendar=dow,month;fourier=24:3'";
                let wrong = || InvalidSetting::new(format!("features.{name}"), word.trim(), allowed, remedy).into();
                word.trim().parse::<T>().map_err(|_| wrong())
            };
            value.split(',').map(one).collect()
        }
        const ROWS: &str = "numbers of rows between commas";
        let mut config = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim().to_ascii_lowercase().replace('-', "_");
            if seen.contains(&name) {
                let remedy = "put all of them behind one name, between commas";
                return Err(InvalidSetting::new("features", format!("`{name}` twice"), "each name once", remedy).into());
            }
            match name.as_str() {
                "lags" => config.lags = list("lags", value, ROWS)?,
                "rolling_mean" => config.rolling_mean = list("rolling_mean", value, ROWS)?,
                "rolling_std" => config.rolling_std = list("rolling_std", value, ROWS)?,
                "rolling_min" => config.rolling_min = list("rolling_min", value, ROWS)?,
                "rolling_max" => config.rolling_max = list("rolling_max", value, ROWS)?,
                "min_periods" => config.min_periods = list("min_periods", value, "one number of rows")?.pop(),
                "ema" => config.ema = list("ema", value, "numbers above 0 and at most 1")?,
                "roc" => config.roc = list("roc", value, ROWS)?,
                "calendar" => config.calendar = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "fourier" => config.fourier = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "holidays" if !value.trim().is_empty() => config.holidays = Some(value.trim().into()),
                other => {
                    let remedy = match nearest(other, NAMES.iter()) {
                        Some(name) => format!("did you mean `{name}=...`?"),
                        None => "as in 'lags=1,3,7;rolling_mean=20;calendar=dow,month;fourier=24:3'".into(),
                    };
                    return Err(InvalidSetting::new("features", part, NAMES.join(", "), remedy).into());
                }
            }
            seen.push(name);
        }
        config.check()?;
        Ok(config)
    }
}

/// Features with all that it takes to make them from raw data: what a bundle keeps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureSpec {
    /// The columns.
    pub columns: FeatureConfig,
    /// The holidays themselves; the file is not needed again.
    pub holidays: Holidays,
}

impl FeatureSpec {
    /// Whether no column is made.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Checks a spec that came from a file.
    ///
    /// # Errors
    /// [`FeatureError::Setting`], or [`FeatureError::NoHolidays`].
    pub fn check(&self) -> Result<(), FeatureError> {
        self.columns.check()?;
        if self.columns.holidays.is_some() && self.holidays.is_empty() {
            return Err(FeatureError::NoHolidays);
        }
        Ok(())
    }

    /// That the holidays end before the data does, in words; a list that is not kept up is worse than none.
    pub fn notice(&self, panel: &Panel) -> Option<String> {
        let (ends, last) = (self.holidays.last()?, *panel.time.iter().max()?);
        let [ends_at, last_at] = [ends, last].map(|t| Clock::Date.format(t - t.rem_euclid(DAY)));
        (ends.saturating_add(QUIET) < last).then(|| {
            format!("the holidays end on {ends_at}, before the data does on {last_at}: no later day counts as one")
        })
    }

    /// The panel with the columns of the features behind its own: those of the past last in `hist_exog`, those that are
    /// known ahead last in `futr_exog`.
    ///
    /// # Errors
    /// [`FeatureError`] where a column of that name is there already, or the data has no dates to take parts of.
    pub fn extend(&self, mut panel: Panel) -> Result<Panel, FeatureError> {
        if self.is_empty() {
            return Ok(panel);
        }
        self.check()?;
        let config = &self.columns;
        if panel.clock == Clock::Integer && !(config.calendar.is_empty() && config.holidays.is_none()) {
            return Err(FeatureError::NoDates);
        }
        let (hist_names, futr_names) = (config.hist_names(), config.futr_names());
        let taken = |name: &String| {
            let dynamic = panel.hist_exog.iter().chain(&panel.futr_exog).map(|c| &c.name);
            let fixed = panel.stat_exog.iter().map(|c| &c.name).chain(panel.stat_cat.iter().map(|c| &c.name));
            dynamic.chain(fixed).any(|n| n == name) || *name == panel.target
        };
        if let Some(name) = hist_names.iter().chain(&futr_names).find(|name| taken(name)) {
            return Err(FeatureError::Taken { name: name.clone() });
        }
        let mut hist: Vec<Column> = hist_names.into_iter().map(|name| Column { name, values: Vec::new() }).collect();
        let mut futr: Vec<Column> = futr_names.into_iter().map(|name| Column { name, values: Vec::new() }).collect();
        for s in 0..panel.n_series() {
            for (column, values) in hist.iter_mut().zip(self.historical(panel.series(s))) {
                column.values.extend(values);
            }
            for (k, column) in futr.iter_mut().enumerate() {
                column.values.extend(panel.times(s).iter().map(|t| self.known(k, *t, &panel)));
            }
        }
        panel.hist_exog.extend(hist);
        panel.futr_exog.extend(futr);
        Ok(panel)
    }

    /// The historical columns of one series, each row from the rows up to and with it.
    pub fn historical(&self, y: &[f64]) -> Vec<Vec<f64>> {
        let config = &self.columns;
        let rolling = |window: usize| Rolling { window, min_periods: config.min_periods.unwrap_or(window) };
        let mut columns = create_lags(y, &config.lags);
        columns.extend(config.rolling_mean.iter().map(|w| rolling(*w).mean(y)));
        columns.extend(config.rolling_std.iter().map(|w| rolling(*w).std(y)));
        columns.extend(config.rolling_min.iter().map(|w| rolling(*w).min(y)));
        columns.extend(config.rolling_max.iter().map(|w| rolling(*w).max(y)));
        columns.extend(config.ema.iter().map(|a| ema(y, *a)));
        columns.extend(config.roc.iter().map(|p| rate_of_change(y, *p)));
        columns
    }

    /// The columns that are known ahead at the given times, `[times, columns]` row-major; times are those of `panel`.
    pub fn ahead(&self, times: &[i64], panel: &Panel) -> Vec<f64> {
        let n = self.columns.n_futr();
        times.iter().flat_map(|t| (0..n).map(|k| self.known(k, *t, panel))).collect()
    }

    /// Column `k` of those that are known ahead, at a time.
    fn known(&self, k: usize, t: i64, panel: &Panel) -> f64 {
        let config = &self.columns;
        if let Some(field) = config.calendar.get(k) {
            return field.scaled(t);
        }
        let mut k = k - config.calendar.len();
        for waves in &config.fourier {
            if k < 2 * waves.order {
                let angle = angle(panel.freq.place(t), waves.period, k / 2 + 1);
                return if k.is_multiple_of(2) { angle.sin() } else { angle.cos() };
            }
            k -= 2 * waves.order;
        }
        f64::from(u8::from(self.holidays.holds(t)))
    }
}
