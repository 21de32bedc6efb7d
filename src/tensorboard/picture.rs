//! Small line charts as pixels: forecasts against what came, without fonts and without a drawing library.

use std::io;

/// Size of a chart.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 240;
/// Pixels between the frame and the lines.
const MARGIN: u32 = 8;

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// What was known.
    pub const GREY: Self = Self([150, 150, 150]);
    /// What came.
    pub const BLACK: Self = Self([0, 0, 0]);
    /// What was forecast.
    pub const BLUE: Self = Self([31, 92, 220]);
    /// A second forecast.
    pub const ORANGE: Self = Self([230, 120, 20]);

    const PAPER: Self = Self([255, 255, 255]);
    const FRAME: Self = Self([225, 225, 225]);
    const SPLIT: Self = Self([215, 80, 80]);
}

/// A raster of RGB pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// White paper, at least one pixel wide and high (a PNG cannot be less).
    pub fn blank(width: u32, height: u32) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, rgb: Colour::PAPER.0.repeat(width as usize * height as usize) }
    }

    /// A forecast beside what came, 640 x 240: `history` in grey, then `truth` in black and `forecast` in blue, with a
    /// vertical line between what was known and what was not.
    ///
    /// The three may be of any length, and hold NaN where nothing is known.
    pub fn forecast(history: &[f64], truth: &[f64], forecast: &[f64]) -> Self {
        let start = history.len();
        // What came goes on from the last known value; a forecast is not tied to it.
        let before = start.saturating_sub(1);
        let came = [&vec![f64::NAN; before][..], &history[before..], truth].concat();
        let forecast = [&vec![f64::NAN; start][..], forecast].concat();
        let series = [(history, Colour::GREY), (&came[..], Colour::BLACK), (&forecast[..], Colour::BLUE)];
        Self::lines(&series, Some(start))
    }

    /// A chart of series over one axis of rows, 640 x 240, later ones over earlier ones; a vertical line in front of row
    /// `split_at`.
    ///
    /// A series begins at row 0; values that are not finite are gaps, and a value between two gaps is a dot. The
    /// vertical axis reaches from the least to the greatest value; where they are the same, it lies in the middle.
    pub fn lines(series: &[(&[f64], Colour)], split_at: Option<usize>) -> Self {
        let mut picture = Self::blank(WIDTH, HEIGHT);
        picture.frame();
        let rows = series.iter().map(|(values, _)| values.len()).max().unwrap_or(0);
        let scale = Scale::new(rows, series.iter().flat_map(|(values, _)| values.iter().copied()));
        if let Some(row) = split_at {
            let x = scale.x((row as f64 - 0.5).clamp(0.0, rows.saturating_sub(1) as f64));
            for y in 1..HEIGHT - 1 {
                picture.set(x, y.into(), Colour::SPLIT);
            }
        }
        for (values, colour) in series {
            picture.line(values, &scale, *colour);
        }
        picture
    }

    /// Pictures under each other, as wide as the widest; of none, one white pixel.
    pub fn stacked(pictures: &[Picture]) -> Self {
        let width = pictures.iter().map(|p| p.width).max().unwrap_or(1);
        let mut rgb = Vec::new();
        for picture in pictures {
            let right = Colour::PAPER.0.repeat((width - picture.width) as usize);
            for row in picture.rgb.chunks(3 * picture.width as usize) {
                rgb.extend_from_slice(row);
                rgb.extend_from_slice(&right);
            }
        }
        match pictures {
            [] => Self::blank(1, 1),
            _ => Self { width, height: pictures.iter().map(|p| p.height).sum(), rgb },
        }
    }

    /// Pixels from left to right.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Three bytes per pixel (red, green, blue), row by row from the top.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The picture as a PNG.
    ///
    /// # Errors
    /// A size that PNG cannot hold.
    pub fn png(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(out)
    }

    /// Colours a pixel; nothing where there is none.
    fn set(&mut self, x: i64, y: i64, colour: Colour) {
        if (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y) {
            let at = 3 * (y as usize * self.width as usize + x as usize);
            self.rgb[at..at + 3].copy_from_slice(&colour.0);
        }
    }

    fn frame(&mut self) {
        let (right, bottom) = (i64::from(self.width) - 1, i64::from(self.height) - 1);
        for x in 0..=right {
            self.set(x, 0, Colour::FRAME);
            self.set(x, bottom, Colour::FRAME);
        }
        for y in 0..=bottom {
            self.set(0, y, Colour::FRAME);
            self.set(right, y, Colour::FRAME);
        }
    }

    /// The line of a series, two pixels thick.
    fn line(&mut self, values: &[f64], scale: &Scale, colour: Colour) {
        let mut before = None;
        for (row, value) in values.iter().enumerate() {
            if !value.is_finite() {
                before = None;
                continue;
            }
            let here = (scale.x(row as f64), scale.y(*value));
            let goes_on = values.get(row + 1).is_some_and(|v| v.is_finite());
            match before {
                Some(from) => self.stroke(from, here, colour),
                None if !goes_on => self.block(here.0 - 1, here.1 - 1, 4, colour),
                None => {}
            }
            before = Some(here);
        }
    }

    fn stroke(&mut self, from: (i64, i64), to: (i64, i64), colour: Colour) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = dx.abs().max(dy.abs()).max(1);
        for i in 0..=steps {
            self.block(from.0 + dx * i / steps, from.1 + dy * i / steps, 2, colour);
        }
    }

    fn block(&mut self, left: i64, top: i64, size: i64, colour: Colour) {
        for y in top..top + size {
            for x in left..left + size {
                self.set(x, y, colour);
            }
        }
    }
}

/// From rows and values to pixels.
#[derive(Debug)]
struct Scale {
    rows: usize,
    /// Halves of the least value and of the span: twice the greatest f64 would be infinite.
    least: f64,
    span: f64,
}

impl Scale {
    fn new(rows: usize, values: impl Iterator<Item = f64>) -> Self {
        let (least, greatest) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), v| (least.min(v), greatest.max(v)));
        Self { rows, least: least / 2.0, span: greatest / 2.0 - least / 2.0 }
    }

    fn x(&self, row: f64) -> i64 {
        let part = if self.rows > 1 { row / (self.rows - 1) as f64 } else { 0.5 };
        i64::from(MARGIN) + (part * f64::from(WIDTH - 2 * MARGIN - 1)).round() as i64
    }

    fn y(&self, value: f64) -> i64 {
        let part = if self.span > 0.0 { (value / 2.0 - self.least) / self.span } else { 0.5 };
        i64::from(HEIGHT - MARGIN - 1) - (part * f64::from(HEIGHT - 2 * MARGIN - 1)).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(picture: &Picture, x: u32, y: u32) -> Colour {
        let at = 3 * (y * picture.width + x) as usize;
        Colour(picture.rgb[at..at + 3].try_into().unwrap())
    }

    /// Columns and rows between which a colour is found, as (left, right, top, bottom).
    fn reach(picture: &Picture, colour: Colour) -> Option<(u32, u32, u32, u32)> {
        let all = (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y)));
        all.filter(|(x, y)| pixel(picture, *x, *y) == colour).fold(None, |reach, (x, y)| {
            let (left, right, top, bottom) = reach.unwrap_or((x, x, y, y));
            Some((left.min(x), right.max(x), top.min(y), bottom.max(y)))
        })
    }

    #[test]
    fn a_forecast_has_its_lines_where_they_belong() {
        let history: Vec<f64> = (0..60).map(|i| (i as f64 * 0.3).sin()).collect();
        let picture = Picture::forecast(&history, &[0.5; 20], &[-0.5; 20]);
        assert_eq!((picture.width(), picture.height(), picture.rgb().len()), (640, 240, 3 * 640 * 240));
        // 80 rows over 623 pixels: row 60 is at column 8 + 60 / 79 * 623 = 481.
        let (left, right, top, bottom) = reach(&picture, Colour::BLUE).unwrap();
        assert_eq!((left, right), (481, 632));
        assert!(top > 120 && bottom == top + 1, "a level line in the lower half: {top} to {bottom}");
        let (left, _, top, _) = reach(&picture, Colour::BLACK).unwrap();
        assert_eq!(left, 473, "from the last known row");
        assert!(top < 120);
        let (left, right, ..) = reach(&picture, Colour::GREY).unwrap();
        assert!(left == 8 && right < 475);
        let (left, right, top, bottom) = reach(&picture, Colour::SPLIT).unwrap();
        assert_eq!((left, right, top, bottom), (477, 477, 1, 238));
    }

    #[test]
    fn the_axis_reaches_from_the_least_to_the_greatest_value() {
        let picture = Picture::lines(&[(&[-3.0, 5.0], Colour::BLUE)], None);
        assert_eq!(pixel(&picture, 8, 231), Colour::BLUE);
        assert_eq!(pixel(&picture, 631, 8), Colour::BLUE);
        assert_eq!(reach(&picture, Colour::BLUE), Some((8, 632, 8, 232)));
        assert_eq!(reach(&picture, Colour::SPLIT), None);
    }

    #[test]
    fn gaps_stay_white_and_lonely_values_are_dots() {
        let nan = f64::NAN;
        let picture = Picture::lines(&[(&[0.0, 1.0, nan, f64::INFINITY, 2.0, nan, 3.0, 3.5], Colour::BLUE)], None);
        let blue_in = |x: u32| (0..240).filter(|y| pixel(&picture, x, *y) == Colour::BLUE).count();
        // Row r is at column 8 + 89 r.
        assert!(blue_in(8 + 40) > 0, "between two values");
        assert_eq!([150, 200, 8 + 4 * 89 + 30, 8 + 5 * 89 + 20].map(blue_in), [0; 4], "in the gaps");
        assert_eq!(blue_in(8 + 4 * 89), 4, "a dot");
        assert!(blue_in(8 + 6 * 89 + 40) > 0);
    }

    #[test]
    fn whatever_the_values_nothing_panics() {
        let nan = f64::NAN;
        let odd: [&[f64]; 9] = [
            &[],
            &[nan],
            &[nan, nan, f64::INFINITY, f64::NEG_INFINITY],
            &[1.0],
            &[7.0, 7.0, 7.0],
            &[f64::MAX, f64::MIN, 0.0],
            &[5e-324, 0.0],
            &[f64::MAX, f64::MAX],
            &[-0.0, 0.0, nan],
        ];
        for a in odd {
            for b in odd {
                let drawn = |picture: &Picture| picture.rgb.chunks(3).any(|pixel| pixel == Colour::BLUE.0);
                let finite = b.iter().any(|v| v.is_finite());
                assert_eq!(drawn(&Picture::forecast(a, a, b)), finite, "{a:?} {b:?}");
                assert_eq!(drawn(&Picture::forecast(b, a, b)), finite, "{a:?} {b:?}");
            }
            for split in [None, Some(0), Some(1), Some(usize::MAX)] {
                Picture::lines(&[(a, Colour::ORANGE)], split);
            }
        }
        Picture::lines(&[], Some(3));
    }

    #[test]
    fn a_flat_series_lies_in_the_middle() {
        let picture = Picture::lines(&[(&[4.0; 10], Colour::BLUE)], None);
        let (_, _, top, bottom) = reach(&picture, Colour::BLUE).unwrap();
        assert!(top.abs_diff(120) < 2 && bottom == top + 1, "{top} to {bottom}");
    }

    #[test]
    fn panels_are_stacked_under_each_other() {
        let chart = Picture::lines(&[(&[1.0, 2.0], Colour::BLUE)], None);
        let both = Picture::stacked(&[chart.clone(), Picture::blank(5, 3)]);
        assert_eq!((both.width(), both.height()), (640, 243));
        assert_eq!(both.rgb()[..chart.rgb().len()], *chart.rgb());
        assert!(both.rgb()[chart.rgb().len()..].iter().all(|v| *v == 255));
        assert_eq!(both.rgb().len(), 3 * 640 * 243);
        assert_eq!(Picture::stacked(&[]), Picture::blank(0, 0));
    }

    #[test]
    fn a_png_holds_the_same_pixels() {
        let picture = Picture::forecast(&[1.0, 3.0, 2.0], &[2.5, 2.0], &[2.0, f64::NAN]);
        let png = picture.png().unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(png)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (640, 240, png::ColorType::Rgb));
        assert_eq!(rgb, picture.rgb());
    }
}
