//! The curve of a search for a learning rate as an SVG picture: the loss over the rate on a logarithmic axis.

use std::fmt::Write;

use super::finder::{FoundLr, LrPoint};

/// Size of the picture and its plotting area, in pixels.
const SIZE: (f64, f64) = (860.0, 420.0);
const LEFT: f64 = 72.0;
const RIGHT: f64 = 844.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 360.0;

/// From data to pixels.
struct Axes {
    /// Decimal logarithms of the first and last rate.
    x: (f64, f64),
    /// The losses at the lower and upper border.
    y: (f64, f64),
}

impl Axes {
    fn of(found: &FoundLr) -> Self {
        let x = |p: Option<&LrPoint>| p.map_or(0.0, |p| p.lr.log10());
        let (first, last) = (x(found.curve.first()), x(found.curve.last()));
        Self { x: (first, last.max(first + 1e-6)), y: found.borders() }
    }

    fn x(&self, lr: f64) -> f64 {
        LEFT + (lr.log10() - self.x.0) / (self.x.1 - self.x.0) * (RIGHT - LEFT)
    }

    fn y(&self, loss: f64) -> f64 {
        let share = (loss - self.y.0) / (self.y.1 - self.y.0);
        // What lies outside is clipped; some programs that draw choke on very large numbers.
        (BOTTOM - share * (BOTTOM - TOP)).clamp(-1000.0, 2000.0)
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        points.enumerate().fold(String::new(), |mut path, (i, (lr, loss))| {
            let _ = write!(path, "{}{:.1} {:.1} ", if i == 0 { 'M' } else { 'L' }, self.x(lr), self.y(loss));
            path
        })
    }
}

/// Some round numbers between two, six at most.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = decade * [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * decade >= rough).unwrap_or(10.0);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high).take(6).collect()
}

impl FoundLr {
    /// The curve as an SVG picture: losses of single steps in grey, the smoothed loss in blue, the suggestion marked.
    pub fn svg(&self) -> String {
        let axes = Axes::of(self);
        let (width, height) = SIZE;
        let middle = (LEFT + RIGHT) / 2.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<title>Training loss over the learning rate</title>\n\
             <clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#222\">Training loss while the learning rate rises</text>\n\
             <text x=\"{LEFT}\" y=\"44\" fill=\"#666\">suggested {:.2e}: {}</text>\n",
            RIGHT - LEFT,
            BOTTOM - TOP,
            self.suggested,
            self.basis
        );
        // Writing to a string cannot fail.
        for loss in ticks(axes.y.0, axes.y.1) {
            let y = axes.y(loss);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e5e5e5\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#666\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                // Without the noise of binary fractions.
                (loss * 1e9).round() / 1e9
            );
        }
        for decade in axes.x.0.ceil() as i32..=axes.x.1.floor() as i32 {
            let x = axes.x(10f64.powi(decade));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#e5e5e5\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">1e{decade}</text>",
                BOTTOM + 18.0
            );
        }
        let (single, smooth) = (
            axes.path(self.curve.iter().map(|p| (p.lr, p.loss))),
            axes.path(self.curve.iter().map(|p| (p.lr, p.smoothed))),
        );
        let _ = write!(
            svg,
            "<path clip-path=\"url(#plot)\" d=\"{}\" fill=\"none\" stroke=\"#bbb\"/>\n\
             <path clip-path=\"url(#plot)\" d=\"{}\" fill=\"none\" stroke=\"#2962a5\" stroke-width=\"2\"/>\n",
            single.trim_end(),
            smooth.trim_end()
        );
        let at = axes.x(self.suggested);
        if (LEFT..=RIGHT).contains(&at) {
            let (anchor, beside) = if at > middle { ("end", at - 6.0) } else { ("start", at + 6.0) };
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#c0392b\" \
                 stroke-dasharray=\"5 4\"/>\
                 <text x=\"{beside:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#c0392b\">{:.2e}</text>",
                TOP + 14.0,
                self.suggested
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">learning rate (logarithmic)</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222\">training loss</text>\n\
             <text x=\"{:.1}\" y=\"24\" text-anchor=\"end\" fill=\"#999\">single steps</text>\n\
             <text x=\"{RIGHT}\" y=\"24\" text-anchor=\"end\" fill=\"#2962a5\">smoothed</text>\n</svg>\n",
            BOTTOM + 42.0,
            (TOP + BOTTOM) / 2.0,
            RIGHT - 80.0
        );
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::super::finder::LrBasis;
    use super::*;

    fn found(curve: Vec<LrPoint>) -> FoundLr {
        FoundLr { suggested: 1e-3, basis: LrBasis::SteepestDescent, lowest: 1e-2, stopped_early: false, curve }
    }

    #[test]
    fn axes_are_labelled_and_a_loss_beyond_all_bounds_is_no_trouble() {
        let point = |i: i32, loss: f64| LrPoint { lr: 10f64.powi(i), loss, smoothed: loss.min(3.0) };
        let svg = found(vec![point(-5, 1.0), point(-4, 0.9), point(-3, 0.5), point(-2, 0.4), point(-1, 1e30)]).svg();
        for part in
            ["learning rate (logarithmic)", "training loss", ">1e-5<", ">1e-1<", ">1.00e-3<", ">0.6<", "viewBox"]
        {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        let path = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let numbers: Vec<f64> =
            path.split(|c: char| c == ' ' || c.is_alphabetic()).filter_map(|n| n.parse().ok()).collect();
        assert_eq!(numbers.len(), 10);
        assert!(
            numbers.chunks(2).all(|p| (LEFT..=RIGHT).contains(&p[0]) && (-1000.0..=2000.0).contains(&p[1])),
            "{path}"
        );
    }

    #[test]
    fn one_point_and_a_loss_of_nought_make_a_picture() {
        let svg = found(vec![LrPoint { lr: 1e-7, loss: 0.0, smoothed: 0.0 }]).svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 4.9), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(0.13, 0.47), [0.2, 0.30000000000000004, 0.4]);
        assert_eq!(ticks(3.0, 42.0), [10.0, 20.0, 30.0, 40.0]);
    }
}
