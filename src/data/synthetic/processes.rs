//! The processes behind synthetic series: settings with checks, and the formula of each.

use std::f64::consts::TAU;

use super::SyntheticError;
use crate::error::InvalidSetting;
use crate::random::Stream;

/// A finite number in a range, or the error that says so.
fn number(
    field: &str,
    value: f64,
    allowed: &str,
    ok: impl Fn(f64) -> bool,
    remedy: &str,
) -> Result<(), InvalidSetting> {
    if value.is_finite() && ok(value) { Ok(()) } else { Err(InvalidSetting::new(field, value, allowed, remedy)) }
}

fn finite(field: &str, value: f64) -> Result<(), InvalidSetting> {
    number(field, value, "a finite number", |_| true, "give a plain number such as 1.5")
}

fn at_least_zero(field: &str, value: f64) -> Result<(), InvalidSetting> {
    number(field, value, "a finite number >= 0", |v| v >= 0.0, "0 switches it off")
}

fn positive(field: &str, value: f64) -> Result<(), InvalidSetting> {
    number(field, value, "a finite number > 0", |v| v > 0.0, "give a positive number such as 1")
}

/// `level + amplitude * sin(2 pi (t / period) + phase) + noise * z`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sine {
    /// Height above and below the level.
    pub amplitude: f64,
    /// Rows per wave, more than 0.
    pub period: f64,
    /// Shift of the wave in radians.
    pub phase: f64,
    /// The middle of the wave.
    pub level: f64,
    /// Standard deviation of the noise.
    pub noise: f64,
}

impl Default for Sine {
    /// A clean daily wave in hours: amplitude 1, period 24, phase 0, level 0, noise 0.
    fn default() -> Self {
        Self { amplitude: 1.0, period: 24.0, phase: 0.0, level: 0.0, noise: 0.0 }
    }
}

impl Sine {
    /// Whether the settings are usable.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        finite("amplitude", self.amplitude)?;
        positive("period", self.period)?;
        finite("phase", self.phase)?;
        finite("level", self.level)?;
        at_least_zero("noise", self.noise)
    }

    /// The first `n` values.
    ///
    /// # Errors
    /// Those of [`Sine::check`], and [`SyntheticError::Overflow`].
    pub fn generate(&self, n: usize, stream: &mut Stream) -> Result<Vec<f64>, SyntheticError> {
        self.check()?;
        let wave = |t: usize| self.level + self.amplitude * (TAU * (t as f64 / self.period) + self.phase).sin();
        usable("sine", (0..n).map(|t| wave(t) + self.noise * stream.normal()).collect())
    }
}

/// `level + slope * t + amplitude * sin(2 pi t / period) + noise * z`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendSeasonal {
    /// Value of the trend at the first row.
    pub level: f64,
    /// Growth per row.
    pub slope: f64,
    /// Height of the season above and below the trend.
    pub amplitude: f64,
    /// Rows per season, more than 0.
    pub period: f64,
    /// Standard deviation of the noise.
    pub noise: f64,
}

impl Default for TrendSeasonal {
    /// Level 10, slope 0.05, amplitude 2, period 24, noise 0.1.
    fn default() -> Self {
        Self { level: 10.0, slope: 0.05, amplitude: 2.0, period: 24.0, noise: 0.1 }
    }
}

impl TrendSeasonal {
    /// Whether the settings are usable.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        finite("level", self.level)?;
        finite("slope", self.slope)?;
        finite("amplitude", self.amplitude)?;
        positive("period", self.period)?;
        at_least_zero("noise", self.noise)
    }

    /// The first `n` values.
    ///
    /// # Errors
    /// Those of [`TrendSeasonal::check`], and [`SyntheticError::Overflow`].
    pub fn generate(&self, n: usize, stream: &mut Stream) -> Result<Vec<f64>, SyntheticError> {
        self.check()?;
        let value = |t: usize| {
            let t = t as f64;
            self.level + self.slope * t + self.amplitude * (TAU * (t / self.period)).sin()
        };
        usable("trend", (0..n).map(|t| value(t) + self.noise * stream.normal()).collect())
    }
}

/// `x[0] = start`, `x[t] = x[t - 1] + drift + noise * z`.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomWalk {
    /// The first value.
    pub start: f64,
    /// Expected step.
    pub drift: f64,
    /// Standard deviation of a step.
    pub noise: f64,
}

impl Default for RandomWalk {
    /// From 0 without drift, steps of standard deviation 1.
    fn default() -> Self {
        Self { start: 0.0, drift: 0.0, noise: 1.0 }
    }
}

impl RandomWalk {
    /// Whether the settings are usable.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        finite("start", self.start)?;
        finite("drift", self.drift)?;
        at_least_zero("noise", self.noise)
    }

    /// The first `n` values.
    ///
    /// # Errors
    /// Those of [`RandomWalk::check`], and [`SyntheticError::Overflow`].
    pub fn generate(&self, n: usize, stream: &mut Stream) -> Result<Vec<f64>, SyntheticError> {
        self.check()?;
        let mut x = self.start;
        let mut values = Vec::with_capacity(n);
        for _ in 0..n {
            values.push(x);
            x += self.drift + self.noise * stream.normal();
        }
        usable("random-walk", values)
    }
}

/// `x[t] - level = sum_j coefficients[j] * (x[t - 1 - j] - level) + noise * z`, started in its stationary law.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoregressive {
    /// The coefficients, of lag 1 first; the process must be stationary.
    pub coefficients: Vec<f64>,
    /// The mean.
    pub level: f64,
    /// Standard deviation of the innovations.
    pub noise: f64,
}

impl Default for Autoregressive {
    /// AR(1) with coefficient 0.8, mean 0 and innovations of standard deviation 1.
    fn default() -> Self {
        Self { coefficients: vec![0.8], level: 0.0, noise: 1.0 }
    }
}

impl Autoregressive {
    /// Whether the settings are usable and the process is stationary.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        self.predictors().map(|_| ())
    }

    /// The best linear predictors from 0, 1, ..., p past values and the standard deviations of their errors.
    ///
    /// The Durbin-Levinson recursion run backwards from the coefficients; the process is stationary just where every
    /// partial autocorrelation it meets lies inside (-1, 1).
    fn predictors(&self) -> Result<Vec<(Vec<f64>, f64)>, InvalidSetting> {
        if self.coefficients.is_empty() {
            let remedy = "give one coefficient per lag, e.g. 0.8";
            return Err(InvalidSetting::new("coefficients", "[]", "at least one coefficient", remedy));
        }
        for c in &self.coefficients {
            finite("coefficients", *c)?;
        }
        finite("level", self.level)?;
        at_least_zero("noise", self.noise)?;
        let mut orders = vec![(self.coefficients.clone(), self.noise)];
        while let Some((phi, deviation)) = orders.last() {
            let Some((partial, shorter)) = phi.split_last() else { break };
            let left = 1.0 - partial * partial;
            // Not `left <= 0`: a NaN from an overflow must be refused too.
            if !(left > 0.0 && left.is_finite()) {
                return Err(InvalidSetting::new(
                    "coefficients",
                    format!("{:?}", self.coefficients),
                    format!(
                        "a stationary process: the partial autocorrelation at lag {} is {partial:.4}, not inside (-1, 1)",
                        phi.len()
                    ),
                    "use smaller coefficients (for one lag: between -1 and 1), or a random walk",
                ));
            }
            let m = shorter.len();
            let next = (0..m).map(|j| (shorter[j] + partial * shorter[m - 1 - j]) / left).collect();
            let next = (next, deviation / left.sqrt());
            orders.push(next);
        }
        orders.reverse();
        Ok(orders)
    }

    /// The first `n` values.
    ///
    /// # Errors
    /// Those of [`Autoregressive::check`], and [`SyntheticError::Overflow`].
    pub fn generate(&self, n: usize, stream: &mut Stream) -> Result<Vec<f64>, SyntheticError> {
        let orders = self.predictors()?;
        let mut x: Vec<f64> = Vec::with_capacity(n);
        for t in 0..n {
            let (phi, deviation) = &orders[t.min(orders.len() - 1)];
            let mean: f64 = phi.iter().zip(x.iter().rev()).map(|(phi, past)| phi * past).sum();
            x.push(mean + deviation * stream.normal());
        }
        x.iter_mut().for_each(|v| *v += self.level);
        usable("ar", x)
    }
}

/// Open, high, low, close and volume of a geometric random walk: each bar opens where the last one closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Ohlcv {
    /// Price at the first open, more than 0.
    pub start_price: f64,
    /// Expected growth of the logarithm of the price per bar.
    pub drift: f64,
    /// Standard deviation of the logarithmic return of a bar.
    pub volatility: f64,
    /// Median volume of a quiet bar, more than 0; bars with large moves trade more.
    pub volume: f64,
    /// Standard deviation of the logarithm of the volume.
    pub volume_noise: f64,
}

impl Default for Ohlcv {
    /// From 100, drift 0.0002, volatility 0.01, volume 1,000,000 with noise 0.3.
    fn default() -> Self {
        Self { start_price: 100.0, drift: 2e-4, volatility: 0.01, volume: 1e6, volume_noise: 0.3 }
    }
}

/// The columns of [`Ohlcv`]; in every row `0 < low <= open, close <= high` and `volume > 0`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Bars {
    pub open: Vec<f64>,
    pub high: Vec<f64>,
    pub low: Vec<f64>,
    pub close: Vec<f64>,
    pub volume: Vec<f64>,
}

impl Ohlcv {
    /// Whether the settings are usable.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        positive("start_price", self.start_price)?;
        finite("drift", self.drift)?;
        at_least_zero("volatility", self.volatility)?;
        positive("volume", self.volume)?;
        at_least_zero("volume_noise", self.volume_noise)
    }

    /// The first `n` bars.
    ///
    /// # Errors
    /// Those of [`Ohlcv::check`], and [`SyntheticError::Overflow`] where a price or volume leaves the positive numbers.
    pub fn generate(&self, n: usize, stream: &mut Stream) -> Result<Bars, SyntheticError> {
        self.check()?;
        let columns = || Vec::with_capacity(n);
        let mut bars = Bars { open: columns(), high: columns(), low: columns(), close: columns(), volume: columns() };
        let mut price = self.start_price;
        for _ in 0..n {
            let open = price;
            let z = stream.normal();
            let close = open * (self.drift + self.volatility * z).exp();
            // Wicks of about half a usual move beyond the body.
            let wick = |z: f64| (0.5 * self.volatility * z.abs()).exp();
            bars.high.push(open.max(close) * wick(stream.normal()));
            bars.low.push(open.min(close) / wick(stream.normal()));
            bars.volume.push(self.volume * (0.25 * z.abs() + self.volume_noise * stream.normal()).exp());
            bars.open.push(open);
            bars.close.push(close);
            price = close;
        }
        for column in [&bars.high, &bars.low, &bars.volume] {
            if let Some(row) = column.iter().position(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(SyntheticError::Overflow { kind: "ohlcv", row, value: column[row].to_string() });
            }
        }
        Ok(bars)
    }
}

/// The values, if each is a number.
fn usable(kind: &'static str, values: Vec<f64>) -> Result<Vec<f64>, SyntheticError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(row) => Err(SyntheticError::Overflow { kind, row, value: values[row].to_string() }),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn stream(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Synthetic, &[0])
    }

    fn autocorrelation(x: &[f64], lag: usize) -> f64 {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let product = |k: usize| x.iter().zip(&x[k..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
        product(lag) / product(0)
    }

    #[test]
    fn a_clean_sine_is_the_formula() {
        let config = Sine { amplitude: 2.0, period: 4.0, level: 1.0, ..Sine::default() };
        let y = config.generate(5, &mut stream(1)).unwrap();
        for (y, expected) in y.iter().zip([1.0, 3.0, 1.0, -1.0, 1.0]) {
            assert!((y - expected).abs() < 1e-12, "{y} {expected}");
        }
    }

    #[test]
    fn the_slope_of_a_trend_is_recovered() {
        let config = TrendSeasonal { slope: 0.3, noise: 0.5, ..TrendSeasonal::default() };
        let y = config.generate(2_400, &mut stream(3)).unwrap();
        let n = y.len() as f64;
        let middle = (n - 1.0) / 2.0;
        let covariance: f64 = y.iter().enumerate().map(|(t, y)| (t as f64 - middle) * y).sum();
        let slope = covariance / (n * (n * n - 1.0) / 12.0);
        assert!((slope - 0.3).abs() < 0.002, "{slope}");
    }

    #[test]
    fn a_random_walk_has_independent_steps_of_the_given_size() {
        let config = RandomWalk { start: 5.0, drift: 0.25, noise: 2.0 };
        let x = config.generate(20_001, &mut stream(4)).unwrap();
        let steps: Vec<f64> = x.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = steps.iter().sum::<f64>() / 20_000.0;
        let variance = steps.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(x[0] == 5.0 && (mean - 0.25).abs() < 0.06 && (variance - 4.0).abs() < 0.2, "{mean} {variance}");
        assert!(autocorrelation(&steps, 1).abs() < 0.03);
    }

    #[test]
    fn an_ar_process_has_the_autocorrelations_of_its_coefficients() {
        for phi in [0.8, -0.5] {
            let config = Autoregressive { coefficients: vec![phi], level: 3.0, noise: 1.0 };
            let x = config.generate(50_000, &mut stream(5)).unwrap();
            assert!((autocorrelation(&x, 1) - phi).abs() < 0.02);
            assert!((autocorrelation(&x, 2) - phi * phi).abs() < 0.03);
        }
        // Yule-Walker: rho_1 = phi_1 / (1 - phi_2), rho_2 = phi_1 rho_1 + phi_2.
        let config = Autoregressive { coefficients: vec![0.5, 0.3], ..Autoregressive::default() };
        let x = config.generate(50_000, &mut stream(6)).unwrap();
        let rho = 0.5 / 0.7;
        assert!((autocorrelation(&x, 1) - rho).abs() < 0.02);
        assert!((autocorrelation(&x, 2) - (0.5 * rho + 0.3)).abs() < 0.03);
    }

    #[test]
    fn an_ar_process_starts_in_its_stationary_law() {
        let config = Autoregressive { coefficients: vec![0.5, 0.3], ..Autoregressive::default() };
        // gamma_0 = sigma^2 / (1 - phi_1 rho_1 - phi_2 rho_2)
        let (r1, r2) = (0.5 / 0.7, 0.25 / 0.7 + 0.3);
        let variance = 1.0 / (1.0 - 0.5 * r1 - 0.3 * r2);
        let starts: Vec<Vec<f64>> = (0..20_000).map(|s| config.generate(3, &mut stream(s)).unwrap()).collect();
        for t in 0..3 {
            let found = starts.iter().map(|x| x[t] * x[t]).sum::<f64>() / starts.len() as f64;
            assert!((found / variance - 1.0).abs() < 0.05, "variance at {t}: {found}, expected {variance}");
        }
        let lag: f64 = starts.iter().map(|x| x[0] * x[2]).sum::<f64>() / starts.len() as f64;
        assert!((lag / variance - r2).abs() < 0.05, "{lag}");
    }

    #[test]
    fn coefficients_that_are_not_stationary_are_refused_with_the_reason() {
        for coefficients in [vec![1.0], vec![-1.2], vec![0.6, 0.5], vec![1.5, -1.0], vec![f64::MAX, 0.5]] {
            let config = Autoregressive { coefficients: coefficients.clone(), ..Autoregressive::default() };
            let error = config.generate(10, &mut stream(1)).unwrap_err();
            assert!(error.to_string().contains("stationary"), "{coefficients:?}: {error}");
        }
        // 1.5, -0.6 has a root pair inside the unit circle although its first coefficient is above 1.
        let config = Autoregressive { coefficients: vec![1.5, -0.6], ..Autoregressive::default() };
        assert!(config.check().is_ok());
        assert!(Autoregressive { coefficients: vec![], ..config }.check().is_err());
    }

    #[test]
    fn every_bar_holds_its_body_and_volume_is_positive() {
        for volatility in [0.0, 0.01, 0.2] {
            let config = Ohlcv { volatility, ..Ohlcv::default() };
            let b = config.generate(2_000, &mut stream(9)).unwrap();
            for t in 0..2_000 {
                assert!(0.0 < b.low[t] && b.low[t] <= b.open[t].min(b.close[t]), "low {t}");
                assert!(b.open[t].max(b.close[t]) <= b.high[t], "high {t}");
                assert!(b.volume[t] > 0.0, "volume {t}");
                assert!(t == 0 || b.open[t] == b.close[t - 1], "open {t}");
            }
        }
    }
}
