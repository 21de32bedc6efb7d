//! Reading one field: numbers, missing marks and the spellings of time the calendar leaves to the file reader.

use crate::calendar::{CalendarError, Stamp, parse_stamp};

/// The NaN that stands for a field that is not a number; it is reported where it is read, so later steps must not take
/// it for a missing value.
const UNREADABLE: u64 = 0x7ff8_0000_0bad_0bad;

/// Whether a value is missing (and not [`unreadable`]).
#[inline]
pub(super) fn is_missing(value: f64) -> bool {
    value.is_nan() && value.to_bits() != UNREADABLE
}

/// The value that stands for an unreadable field.
pub(super) fn unreadable() -> f64 {
    f64::from_bits(UNREADABLE)
}

/// Whether the value stands for an unreadable field.
pub(super) fn is_unreadable(value: f64) -> bool {
    value.to_bits() == UNREADABLE
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Powers of ten up to as many digits as a word has bytes.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Bytes that a plain number, its sign and what ends it lie in.
const PLAIN: usize = 32;

/// The eight bytes from `at` on as one number, the first byte lowest; none where there are fewer.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes))
}

/// Which of eight bytes is the first above its limit, which is below 128; 8 if none is.
#[inline(always)]
pub(super) fn first_above(bytes: u64, limits: [u8; 8]) -> usize {
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let up = u64::from_le_bytes(limits.map(|limit| 0x7f - limit));
    // The highest bit of a byte above its limit is set, or becomes so; what is carried changes only bytes behind such a one.
    let above = (bytes.wrapping_add(up) | bytes) & HIGH;
    (above.trailing_zeros() / 8) as usize
}

/// The digits among the eight bytes from `at` on, up to the first that is none, as a number, and how many they are.
#[inline(always)]
fn leading_digits(text: &[u8; PLAIN], at: usize) -> Option<(u64, usize)> {
    let digits = word(text, at)? ^ u64::from_le_bytes([b'0'; 8]);
    let count = first_above(digits, [9; 8]) as u32;
    // As if there were zeros before them. Then pairs, fours and all eight are joined.
    let digits = digits.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff, count as usize))
}

/// The digits of a decimal without exponent: what they come to as a whole number, how many there are, and how many of
/// them stand behind the point.
#[derive(Clone, Copy)]
struct Digits {
    mantissa: u64,
    count: usize,
    decimals: usize,
}

impl Digits {
    /// The digits that `text` begins with, and how long that is. More than 19 of them may not fit the mantissa.
    #[inline(always)]
    fn read(text: &[u8]) -> (Self, usize) {
        let (mut mantissa, mut at, mut point) = (0u64, 0, usize::MAX);
        while at < text.len() {
            let digit = text[at].wrapping_sub(b'0');
            if digit <= 9 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            } else if text[at] == b'.' && point == usize::MAX {
                point = at;
            } else {
                break;
            }
            at += 1;
        }
        let (count, decimals) = match point {
            usize::MAX => (at, 0),
            point => (at - 1, at - point - 1),
        };
        (Self { mantissa, count, decimals }, at)
    }

    /// The same, eight bytes at a time; `None` for what is left to [`Digits::read`]: whole numbers of eight digits or more,
    /// with or without decimals, and sixteen decimals or more.
    #[inline(always)]
    fn read_words(text: &[u8; PLAIN], first: usize) -> Option<(Self, usize)> {
        const WORD: usize = 8;
        let (whole, n) = leading_digits(text, first)?;
        let end = first + n;
        if n == WORD {
            None
        } else if text[end] != b'.' {
            Some((Self { mantissa: whole, count: n, decimals: 0 }, n))
        } else {
            let (mut mantissa, mut decimals) = leading_digits(text, end + 1)?;
            mantissa += whole * TENS[decimals];
            if decimals == WORD {
                let (rest, more) = leading_digits(text, end + 1 + WORD)?;
                if more == WORD {
                    return None;
                }
                // Too many digits for a mantissa are told by their count.
                mantissa = mantissa.wrapping_mul(TENS[more]).wrapping_add(rest);
                decimals += more;
            }
            Some((Self { mantissa, count: n + decimals, decimals }, n + 1 + decimals))
        }
    }

    /// The nearest double; `None` where there is no digit, and where there are too many.
    #[inline(always)]
    fn value(self) -> Option<f64> {
        if !(1..=19).contains(&self.count) {
            None
        } else if self.mantissa <= 1 << f64::MANTISSA_DIGITS {
            // Whole number and power of ten are doubles themselves, so one division rounds once (Clinger 1990).
            Some(self.mantissa as f64 / POWERS[self.decimals])
        } else {
            Some(self.quotient())
        }
    }

    /// The nearest double of a whole number of more than 53 bits over its power of ten.
    ///
    /// Both are shifted up to 64 bits, so that their integer quotient has at least 63; its lowest bit says whether there
    /// is a rest, and the conversion to a double rounds once.
    #[inline(never)]
    fn quotient(self) -> f64 {
        let divisor = 10u64.pow(self.decimals as u32);
        let (up, down) = (self.mantissa.leading_zeros(), divisor.leading_zeros());
        let (dividend, divisor) = (u128::from(self.mantissa << up) << 63, u128::from(divisor << down));
        let quotient = dividend / divisor;
        let rest = dividend - quotient * divisor;
        let bits = quotient as u64 | u64::from(rest != 0);
        // A power of two within the range of normal numbers: nothing is rounded here.
        bits as f64 * f64::from_bits((1023 + u64::from(down) - u64::from(up) - 63) << (f64::MANTISSA_DIGITS - 1))
    }
}

/// Reads a number: NaN for a missing one, [`unreadable`] for what is none.
///
/// Plain decimals of up to 19 digits are read here; everything else goes through the standard library, which is exact
/// too.
#[inline]
pub(super) fn parse_number(field: &[u8]) -> f64 {
    let (negative, text) = match field {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (digits, length) = Digits::read(text);
    match digits.value() {
        Some(value) if length == text.len() => {
            if negative {
                -value
            } else {
                value
            }
        }
        _ => parse_unusual(field),
    }
}

/// The number that `text` begins with and the length of its field, if that is a plain decimal before a delimiter or a
/// line end: what [`parse_number`] would make of that field.
#[inline]
pub(super) fn plain_number(text: &[u8], delimiter: u8) -> Option<(f64, usize)> {
    // The field and what ends it lie in these bytes, so that nothing below needs to ask where the text ends.
    let text: &[u8; PLAIN] = text.first_chunk()?;
    let negative = text[0] == b'-';
    let first = usize::from(negative);
    let (digits, length) = Digits::read_words(text, first).unwrap_or_else(|| Digits::read(&text[first..]));
    let value = digits.value()?;
    let end = first + length;
    let length = match *text.get(end)? {
        b if b == delimiter || b == b'\n' => end,
        b'\r' if text.get(end + 1) == Some(&b'\n') => end + 1,
        _ => return None,
    };
    Some((if negative { -value } else { value }, length))
}

#[inline(never)]
fn parse_unusual(field: &[u8]) -> f64 {
    let field = field.trim_ascii();
    if is_missing_mark(field) {
        return f64::NAN;
    }
    let Ok(text) = std::str::from_utf8(field) else { return unreadable() };
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => value,
        _ if text.eq_ignore_ascii_case("true") => 1.0,
        _ if text.eq_ignore_ascii_case("false") => 0.0,
        _ => unreadable(),
    }
}

/// Whether a field (without blanks around it) says that there is no value.
pub(super) fn is_missing_mark(field: &[u8]) -> bool {
    field.is_empty()
        || [&b"na"[..], b"nan", b"null", b"none", b"n/a", b"<na>"].iter().any(|m| field.eq_ignore_ascii_case(m))
}

/// Why a field is not a number, in words.
pub(super) fn number_message(field: &[u8]) -> String {
    let text = shown(field);
    let dotted = text.replacen(',', ".", 1);
    if text.contains(',') && !text.contains('.') && dotted.parse::<f64>().is_ok() {
        format!("`{text}` is not a number: decimals are written with a point (`{dotted}`), not with a comma")
    } else {
        format!("`{text}` is not a number")
    }
}

/// Whether a field is a number but for a comma in place of the decimal point.
pub(super) fn has_decimal_comma(field: &[u8]) -> bool {
    let commas = field.iter().filter(|c| **c == b',').count();
    commas == 1
        && !is_unreadable(parse_number(&field.iter().map(|c| if *c == b',' { b'.' } else { *c }).collect::<Vec<_>>()))
}

/// A field for a message: not longer than a line, whatever its bytes.
pub(super) fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let mut short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

/// Reads a stamp; besides the calendar's own forms also unpadded ones such as `1990/1/1 0:00`.
#[inline]
pub(super) fn parse_time(field: &[u8]) -> Result<Stamp, CalendarError> {
    let text = std::str::from_utf8(field).unwrap_or("\u{fffd}");
    parse_stamp(text).or_else(|error| match padded(text.trim_ascii()) {
        Some(text) => parse_stamp(&text).map_err(|_| error),
        None => Err(error),
    })
}

/// `1990/1/1 0:00` as `1990/01/01 00:00`; `None` where that changes nothing.
#[cold]
fn padded(text: &str) -> Option<String> {
    let mut out = String::with_capacity(20);
    let mut digits = String::new();
    // Only what comes before a fraction or an offset has fields of two digits.
    let end = text.find(['.', '+', 'Z', 'z']).unwrap_or(text.len());
    for c in text[..end].chars().chain(['\0']) {
        match c {
            '0'..='9' => digits.push(c),
            _ => {
                if digits.len() == 1 {
                    out.push('0');
                }
                out.push_str(&digits);
                digits.clear();
                out.extend((c != '\0').then_some(c));
            }
        }
    }
    out.push_str(&text[end..]);
    (out != text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Clock;
    use proptest::prelude::*;

    #[test]
    fn missing_marks_are_missing_and_words_are_unreadable() {
        for mark in ["", " ", "NA", "NaN", "nan", "null", "None", "N/A"] {
            assert!(is_missing(parse_number(mark.as_bytes())), "{mark}");
        }
        for word in ["x", "1,5", "1.2.3", "-", ".", "1e", "NW", "1 2", "--1"] {
            assert!(is_unreadable(parse_number(word.as_bytes())), "{word}");
        }
        assert!(!is_missing(unreadable()));
    }

    #[test]
    fn usual_and_unusual_numbers_are_read() {
        for (text, value) in [
            ("112", 112.0),
            ("-0.5", -0.5),
            (".5", 0.5),
            ("5.", 5.0),
            (" 7 ", 7.0),
            ("+3", 3.0),
            ("1e3", 1000.0),
            ("True", 1.0),
            ("38.6619987487793", 38.6619987487793),
            ("5.827000141143799", 5.827000141143799),
            ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ] {
            assert_eq!(parse_number(text.as_bytes()), value, "{text}");
        }
        assert_eq!(parse_number(b"-inf"), f64::NEG_INFINITY);
        assert_eq!(parse_number(b"1e999"), f64::INFINITY);
    }

    #[test]
    fn plain_numbers_end_at_a_delimiter_or_a_line_end() {
        let padded = |text: &str| plain_number(format!("{text:x<40}").as_bytes(), b',');
        assert_eq!(padded("157.8002,"), Some((157.8002, 8)));
        assert_eq!(padded("-7\n"), Some((-7.0, 2)));
        assert_eq!(padded("-.5,"), Some((-0.5, 3)));
        assert_eq!(padded("7\r\n"), Some((7.0, 2)), "its field has the first half of the line end");
        assert_eq!(padded("1234567890.123456,"), Some((1234567890.123456, 17)));
        assert_eq!(padded("9007199254740993,"), Some((9007199254740992.0, 16)), "a tie goes to the even one");
        for text in [
            ",",
            "-,",
            ".,",
            "1.2.3,",
            "7;",
            "7:,",
            "7\r,",
            " 7,",
            "1e3,",
            "12345678901234567890,",
            "0.12345678901234567891,",
        ] {
            assert_eq!(padded(text), None, "{text}");
        }
        assert_eq!(plain_number(b"7,8", b','), None, "the end of the text is left to the usual way");
    }

    #[test]
    fn a_decimal_comma_is_explained() {
        assert!(number_message(b"3,25").contains("`3.25`"));
        assert!(has_decimal_comma(b"3,25") && !has_decimal_comma(b"3,2,5") && !has_decimal_comma(b"3.25"));
        assert_eq!(number_message(b"x"), "`x` is not a number");
    }

    #[test]
    fn unpadded_stamps_are_read() {
        for (text, shown) in [
            ("1990/1/1 0:00", "1990-01-01"),
            ("2010/10/10 9:05", "2010-10-10 09:05:00"),
            ("2010-3-4T9:05:06.5Z", "2010-03-04T09:05:06.500Z"),
        ] {
            let stamp = parse_time(text.as_bytes()).unwrap();
            assert_eq!(stamp.kind.format(stamp.value), shown, "{text}");
        }
        assert_eq!(parse_time(b"17").unwrap().kind, Clock::Integer);
        assert!(parse_time(b"12.5").is_err() && parse_time(b"\xff").is_err() && parse_time(b"1/1/1990").is_err());
    }

    proptest! {
        #[test]
        fn numbers_read_as_the_standard_library_reads_them(x in any::<f64>().prop_filter("finite", |x| x.is_finite()), n in 0usize..18) {
            for text in [format!("{x}"), format!("{:.*}", n, x % 1e6), format!("{x:e}")] {
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(parse_number(text.as_bytes()).to_bits(), expected.to_bits(), "{}", text);
            }
        }

        #[test]
        fn decimals_of_many_digits_are_the_nearest_double(digits in any::<u64>(), less in 0u32..20, decimals in 0usize..20) {
            let digits = (digits / 10u64.pow(less)).to_string();
            let padded = format!("{digits:0>width$}", width = decimals + 1);
            let (whole, decimals) = padded.split_at(padded.len() - decimals);
            let text = format!("{whole}.{decimals}");
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(parse_number(text.as_bytes()).to_bits(), expected.to_bits(), "{}", text);
            // Eight bytes at a time, whatever follows.
            for (sign, expected) in [("", expected), ("-", -expected)] {
                let field = format!("{sign}{text}");
                let plain = plain_number(format!("{field},{:9<40}", "").as_bytes(), b',').map(|(v, n)| (v.to_bits(), n));
                let fits = text.len() <= 20;
                prop_assert_eq!(plain, fits.then_some((expected.to_bits(), field.len())), "{}", field);
            }
        }

        #[test]
        fn plain_numbers_are_read_as_their_field_alone_would_be(field in "[-0-9.+e ]{0,20}", tail in "[,\n;\r\"x]?[0-9,]{0,20}") {
            let text = field + &tail;
            // A field that is followed by half a line end is what the scan hands over with it.
            let alone = &text[..text.find([',', '\n']).unwrap_or(text.len())];
            if let Some((value, length)) = plain_number(text.as_bytes(), b',') {
                prop_assert_eq!(length, alone.len());
                prop_assert_eq!(value.to_bits(), parse_number(alone.as_bytes()).to_bits(), "{}", alone);
            }
        }

        #[test]
        fn no_field_makes_it_panic(field in proptest::collection::vec(any::<u8>(), 0..12)) {
            parse_number(&field);
            number_message(&field);
            let _ = parse_time(&field);
        }
    }
}
