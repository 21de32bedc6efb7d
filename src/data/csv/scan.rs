//! The one scan over delimited bytes: rows and fields to a [`Sink`], eight bytes at a time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// A share of the text that is worth a task of its own, and stays in the second level of cache from its reading to its end.
pub(super) const SHARE_BYTES: usize = 1 << 18;

/// Receives the rows of a scan.
pub(super) trait Sink {
    fn row_start(&mut self, line: u64);
    /// Whether a field with a quote, or one that is not UTF-8, ends the scan with its line as the error.
    #[inline]
    fn takes_plain_text_only(&self) -> bool {
        false
    }
    fn field(&mut self, index: usize, field: &[u8]);
    /// Takes field `index`, which `text` begins with, if it is plain enough to be read without looking for its end first,
    /// and returns its length. What follows it must be the delimiter or a line end. Most fields are such.
    #[inline]
    fn plain_field(&mut self, _index: usize, _text: &[u8], _delimiter: u8) -> Option<usize> {
        None
    }
    /// The row had so many fields; `false` ends the scan.
    fn row_end(&mut self, fields: usize) -> bool;
}

/// Line ends in `bytes`.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|b| u64::from(*b == b'\n')).sum()
}

/// Reads the lines that begin in `from..to` of a file into `buffer` and returns where in it they are.
///
/// `first` is where the first line of all shares begins; another share's first line begins after the line end that is
/// at or after the byte before it.
pub(super) fn read_share(
    file: &mut File,
    first: u64,
    share: Range<u64>,
    end: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Range<usize>> {
    let from = if share.start == first { first } else { share.start - 1 };
    let len = (share.end - from) as usize;
    file.seek(SeekFrom::Start(from))?;
    buffer.resize(len, 0);
    file.read_exact(buffer)?;
    let start = match share.start == first {
        true => 0,
        false => match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => at + 1,
            None => return Ok(0..0),
        },
    };
    if start >= len {
        return Ok(0..0);
    }
    let mut to = share.end;
    while to < end && buffer.last() != Some(&b'\n') {
        let old = buffer.len();
        let more = (end - to).min(4096);
        buffer.resize(old + more as usize, 0);
        file.read_exact(&mut buffer[old..])?;
        to += more;
        if let Some(at) = buffer[old..].iter().position(|b| *b == b'\n') {
            buffer.truncate(old + at + 1);
            break;
        }
    }
    Ok(start..buffer.len())
}

/// Splits lines into shares of about [`SHARE_BYTES`].
pub(super) fn share_lines(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut shares = Vec::new();
    while bytes.len() > SHARE_BYTES {
        let Some(end) = bytes[SHARE_BYTES..].iter().position(|b| *b == b'\n') else { break };
        let (share, rest) = bytes.split_at(SHARE_BYTES + end + 1);
        shares.push(share);
        bytes = rest;
    }
    shares.push(bytes);
    shares
}

/// Where the field that begins at `from` ends: the next delimiter or line end, or the end of the text. And whether there is
/// something in it that is no plain text: a quote, or a byte that is not ASCII.
#[inline]
fn field_end(bytes: &[u8], from: usize, delimiter: u8) -> (usize, bool) {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const LINE_ENDS: u64 = LOW * b'\n' as u64;
    const QUOTES: u64 = LOW * b'"' as u64;
    let delimiters = LOW * u64::from(delimiter);
    let (mut at, mut odd) = (from, 0);
    // Eight bytes at a time: a byte that becomes 0 by the xor is found by the borrow it causes (the lowest is exact).
    while let Some(Ok(word)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(word);
        let (d, n, q) = (word ^ delimiters, word ^ LINE_ENDS, word ^ QUOTES);
        let hits = ((d.wrapping_sub(LOW) & !d) | (n.wrapping_sub(LOW) & !n)) & HIGH;
        let odd_here = (word | (q.wrapping_sub(LOW) & !q)) & HIGH;
        if hits != 0 {
            // Of this word only what lies before the end.
            odd |= odd_here & ((hits & hits.wrapping_neg()) - 1);
            return (at + (hits.trailing_zeros() / 8) as usize, odd != 0);
        }
        odd |= odd_here;
        at += 8;
    }
    let end = bytes[at..].iter().position(|b| *b == delimiter || *b == b'\n').map_or(bytes.len(), |i| at + i);
    (end, odd != 0 || bytes[at..end].iter().any(|b| *b == b'"' || !b.is_ascii()))
}

/// Walks over the rows of `bytes`; returns the bytes and lines walked over, or the line of a quote that never closes or that
/// the sink does not take.
pub(super) fn scan<S: Sink>(bytes: &[u8], delimiter: u8, first_line: u64, sink: &mut S) -> Result<(usize, u64), u64> {
    let mut at = 0;
    let mut line = first_line;
    let mut unquoted = Vec::new();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'\n', ..] => {
                at += 1;
                line += 1;
                continue;
            }
            [b'\r', b'\n', ..] => {
                at += 2;
                line += 1;
                continue;
            }
            _ => {}
        }
        sink.row_start(line);
        let mut index = 0;
        let mut inner_lines = 0;
        loop {
            let end = if let Some(length) = sink.plain_field(index, &bytes[at..], delimiter) {
                at + length
            } else if bytes.get(at) == Some(&b'"') {
                if sink.takes_plain_text_only() {
                    return Err(line);
                }
                let end = unquote(bytes, at, delimiter, &mut unquoted, &mut inner_lines).ok_or(line)?;
                sink.field(index, &unquoted);
                end
            } else {
                let (end, odd) = field_end(bytes, at, delimiter);
                let mut field = &bytes[at..end];
                if odd && sink.takes_plain_text_only() && (field.contains(&b'"') || std::str::from_utf8(field).is_err())
                {
                    return Err(line);
                }
                if bytes.get(end) != Some(&delimiter) {
                    field = field.strip_suffix(b"\r").unwrap_or(field);
                }
                sink.field(index, field);
                end
            };
            index += 1;
            at = end + 1;
            if bytes.get(end) != Some(&delimiter) {
                break;
            }
        }
        line += inner_lines + u64::from(at <= bytes.len());
        if !sink.row_end(index) {
            break;
        }
    }
    Ok((at.min(bytes.len()), line - first_line))
}

/// Reads a quoted field (doubled quotes are one quote) into `out` and returns where it ends.
#[cold]
fn unquote(bytes: &[u8], from: usize, delimiter: u8, out: &mut Vec<u8>, lines: &mut u64) -> Option<usize> {
    out.clear();
    let mut at = from + 1;
    loop {
        let close = at + bytes.get(at..)?.iter().position(|b| *b == b'"')?;
        out.extend_from_slice(&bytes[at..close]);
        if bytes.get(close + 1) != Some(&b'"') {
            *lines += count_lines(&bytes[from..close]);
            let (end, _) = field_end(bytes, close + 1, delimiter);
            let tail = &bytes[close + 1..end];
            out.extend_from_slice(tail.strip_suffix(b"\r").unwrap_or(tail));
            return Some(end);
        }
        out.push(b'"');
        at = close + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn shares_of_a_file_are_its_lines_wherever_they_are_cut() {
        let mut file = tempfile::tempfile().unwrap();
        let text = b"header\nfirst\n\nsecond line\nx\nthe last has no end";
        file.write_all(text).unwrap();
        let end = text.len() as u64;
        for size in 1..=end - 7 {
            let mut lines = Vec::new();
            let mut from = 7;
            while from < end {
                let to = (from + size).min(end);
                let mut buffer = Vec::new();
                let share = read_share(&mut file, 7, from..to, end, &mut buffer).unwrap();
                lines.extend_from_slice(&buffer[share]);
                from = to;
            }
            assert_eq!(lines, text[7..], "{size}");
        }
    }

    #[test]
    fn what_is_no_plain_text_is_seen_wherever_it_lies_and_not_behind_the_end() {
        for n in 0..20 {
            for at in 0..n {
                for odd in [b'"', 0x80, 0xff] {
                    let mut text = vec![b'x'; n];
                    text.extend(b",\"\xff\"\xff\"\xff\"\xff");
                    assert_eq!(field_end(&text, 0, b','), (n, false));
                    text[at] = odd;
                    assert_eq!(field_end(&text, 0, b','), (n, true));
                }
            }
        }
    }

    #[test]
    fn fields_of_every_length_end_where_they_end() {
        for n in 0..20 {
            for end in [",", "\n", ""] {
                let text = format!("{}{end}tail", "\u{8a}b".repeat(n));
                let expected = if end.is_empty() { text.len() } else { text.len() - 5 };
                assert_eq!(field_end(text.as_bytes(), 0, b','), (expected, n > 0));
            }
        }
    }
}
