//! Opening a file, a gzip or standard input, and telling by its content what it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use crate::error::nearest;

use super::error::{DataError, Place};
use super::tsf::is_tsf;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Delimited text.
    Csv,
    /// Delimited text, compressed with gzip.
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// Apache Parquet.
    Parquet,
    /// The text format of the Monash archive.
    Tsf,
    /// A polars frame in memory.
    Frame,
}

/// An opened file.
pub(super) struct Source {
    pub place: Place,
    pub format: Format,
    pub content: Content,
}

/// What is in it: text is in memory, parquet is read column by column.
pub(super) enum Content {
    Text(Text),
    Parquet(File),
    Tsf(String),
}

/// Delimited text: all of it, or whole lines of its beginning and where the rest is.
pub(super) struct Text {
    pub start: String,
    pub rest: Option<Rest>,
}

/// The part of a large file that is read share by share.
pub(super) struct Rest {
    pub path: PathBuf,
    /// Where in the file it begins; a line begins there.
    pub from: u64,
    pub to: u64,
}

/// Of files of more than twice this size the beginning is read at once, before threads share the rest.
const START_BYTES: usize = 1 << 19;

/// Rows from which the kinds of the columns are guessed: the beginning of a large file has as many, however long they are.
pub(super) const SAMPLE_ROWS: usize = 1000;

const GZIP: &[u8] = &[0x1f, 0x8b];
const PARQUET: &[u8] = b"PAR1";
const UTF8_BOM: &[u8] = &[0xef, 0xbb, 0xbf];

/// First bytes of files that are taken for data now and then.
const STRANGERS: &[(&[u8], &str)] = &[
    (b"PARE", "an encrypted parquet file"),
    (b"PK\x03\x04", "a zip archive or spreadsheet (xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (xls)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"ARROW1", "a feather/arrow file"),
    (b"ORC", "an ORC file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x93NUMPY", "a numpy array"),
    (b"%PDF", "a PDF"),
];

/// Opens `path` (`-` is standard input) and tells its format.
///
/// # Errors
/// An absent file, a folder, an unreadable or truncated file, an unknown format, text that is not UTF-8.
pub(super) fn open(path: &Path) -> Result<Source, DataError> {
    let place = Place::new(path);
    let unreadable = |source| DataError::Io { path: place.path.clone(), source };
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
        bytes
    } else {
        let mut file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DataError::Absent { path: place.path.clone(), nearest: nearest_file(path) },
            _ => DataError::Io { path: place.path.clone(), source },
        })?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(DataError::Folder { path: place.path.clone() });
        }
        let mut bytes = Vec::new();
        if metadata.is_file() {
            // Parquet is not read as a whole: a few columns of a wide file may be all that is wanted.
            (&file).take(PARQUET.len() as u64).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes == PARQUET {
                file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
                return Ok(Source { place, format: Format::Parquet, content: Content::Parquet(file) });
            }
            if metadata.len() > 2 * START_BYTES as u64
                && let Some(text) = large_text(path, &mut file, &mut bytes, metadata.len()).map_err(unreadable)?
            {
                return Ok(Source { place, format: Format::Csv, content: Content::Text(text) });
            }
            bytes.reserve_exact(usize::try_from(metadata.len()).unwrap_or(0));
        }
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        bytes
    };
    let named_parquet = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    from_bytes(place, bytes, named_parquet)
}

/// The beginning of a large file of plain text without quotes; `None` leaves the file to the way of all others, which
/// also finds the words for what is wrong with it. `bytes` has what was read so far.
fn large_text(path: &Path, file: &mut File, bytes: &mut Vec<u8>, len: u64) -> io::Result<Option<Text>> {
    let mut lines = 0;
    // The first of them is the header.
    while lines <= SAMPLE_ROWS {
        let before = bytes.len();
        bytes.reserve_exact(START_BYTES);
        if file.take(START_BYTES as u64).read_to_end(bytes)? == 0 {
            break;
        }
        lines += bytes[before..].iter().filter(|b| **b == b'\n').count();
    }
    let plain = !bytes.starts_with(GZIP)
        && !is_tsf(bytes)
        && STRANGERS.iter().all(|(magic, _)| !bytes.starts_with(magic))
        && !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
        && !bytes.contains(&0)
        && !bytes.contains(&b'"');
    let Some(end) = bytes.iter().rposition(|b| *b == b'\n').filter(|_| plain) else { return Ok(None) };
    let bom = if bytes.starts_with(UTF8_BOM) { UTF8_BOM.len() } else { 0 };
    let Ok(start) = std::str::from_utf8(&bytes[bom..=end]) else { return Ok(None) };
    let rest = Rest { path: path.to_owned(), from: end as u64 + 1, to: len };
    Ok(Some(Text { start: start.to_owned(), rest: Some(rest) }))
}

/// All of the text of a file that was begun as large, in memory.
pub(super) fn read_whole(place: &Place, rest: &Rest) -> Result<String, DataError> {
    let bytes = std::fs::read(&rest.path).map_err(|source| DataError::Io { path: place.path.clone(), source })?;
    match from_bytes(place.clone(), bytes, false)?.content {
        Content::Text(text) => Ok(text.start),
        Content::Parquet(_) | Content::Tsf(_) => Err(place.damaged("the file changed while it was read")),
    }
}

/// Tells the format of bytes in memory.
pub(super) fn from_bytes(place: Place, bytes: Vec<u8>, named_parquet: bool) -> Result<Source, DataError> {
    let (bytes, format) = if bytes.starts_with(GZIP) {
        let mut plain = Vec::with_capacity(bytes.len().saturating_mul(4));
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).map_err(|e| {
            place.damaged(match e.kind() {
                io::ErrorKind::UnexpectedEof => "the gzip data ends too early".to_owned(),
                _ => format!("gzip: {e}"),
            })
        })?;
        (plain, Format::CsvGz)
    } else {
        (bytes, Format::Csv)
    };
    if bytes.starts_with(PARQUET) {
        let file = spool(&bytes).map_err(|source| DataError::Io { path: place.path.clone(), source })?;
        return Ok(Source { place, format: Format::Parquet, content: Content::Parquet(file) });
    }
    let unknown = |found: &str| Err(DataError::UnknownFormat { path: place.path.clone(), found: found.to_owned() });
    if bytes.is_empty() {
        return Err(DataError::Empty { path: place.path.clone() });
    }
    if named_parquet {
        return unknown("named .parquet but does not begin with `PAR1`");
    }
    if let Some((_, what)) = STRANGERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return unknown(what);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(DataError::NotUtf8 {
            path: place.path.clone(),
            line: 1,
            detail: "it looks like UTF-16".to_owned(),
        });
    }
    if bytes[..bytes.len().min(4096)].contains(&0) {
        return unknown("binary data");
    }
    if is_tsf(&bytes) {
        // Comments of older files are in Latin-1, in which each byte is the character of its number.
        let text = String::from_utf8(bytes).unwrap_or_else(|e| e.as_bytes().iter().map(|b| char::from(*b)).collect());
        return Ok(Source { place, format: Format::Tsf, content: Content::Tsf(text) });
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() as u64;
        let detail = format!("byte 0x{:02x}", e.as_bytes()[at]);
        DataError::NotUtf8 { path: place.path.clone(), line, detail }
    })?;
    if text.as_bytes().starts_with(UTF8_BOM) {
        text.drain(..UTF8_BOM.len());
    }
    Ok(Source { place, format, content: Content::Text(Text { start: text, rest: None }) })
}

/// Bytes that can be read from any place, as the parquet reader wants them.
fn spool(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn nearest_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_name()?.to_str()?;
    let names: Vec<String> =
        std::fs::read_dir(folder).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    nearest(wanted, names.iter()).map(|name| folder.join(name).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn place() -> Place {
        Place { path: "f".into() }
    }

    fn text(bytes: &[u8]) -> Result<(String, Format), DataError> {
        from_bytes(place(), bytes.to_vec(), false).map(|s| match s.content {
            Content::Text(t) => (t.start, s.format),
            _ => panic!("not text"),
        })
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn content_decides_not_the_name() {
        assert_eq!(text(b"ds,y\n1,2\n").unwrap(), ("ds,y\n1,2\n".into(), Format::Csv));
        assert_eq!(text(b"\xef\xbb\xbfds,y\n").unwrap().0, "ds,y\n", "the BOM is skipped");
        assert_eq!(text(&gz(b"ds,y\n1,2\n")).unwrap(), ("ds,y\n1,2\n".into(), Format::CsvGz));
        let both = [gz(b"ds,y\n"), gz(b"1,2\n")].concat();
        assert_eq!(text(&both).unwrap().0, "ds,y\n1,2\n", "gzip members are joined");
    }

    #[test]
    fn what_is_no_data_is_named() {
        let cut = gz(&b"ds,y\n1,2\n".repeat(100));
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"".to_vec(), "f: is empty"),
            (cut[..cut.len() / 2].to_vec(), "f: is truncated or damaged: the gzip data ends too early"),
            (
                b"PK\x03\x04abc".to_vec(),
                "f: is a zip archive or spreadsheet (xlsx), expected csv, csv.gz, parquet or tsf",
            ),
            (b"a\0b".to_vec(), "f: is binary data, expected csv, csv.gz, parquet or tsf"),
            (b"\xff\xfea\0".to_vec(), "f: line 1: is not UTF-8 text (it looks like UTF-16)"),
            (b"ds,y\n1,M\xfcnchen\n".to_vec(), "f: line 2: is not UTF-8 text (byte 0xfc)"),
        ];
        for (bytes, message) in cases {
            assert_eq!(text(&bytes).unwrap_err().to_string(), message);
        }
        let error = from_bytes(place(), b"ds,y\n".to_vec(), true).err().unwrap();
        assert!(error.to_string().contains("does not begin with `PAR1`"), "{error}");
    }

    #[test]
    fn absent_files_and_folders_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sales.csv"), "ds,y\n").unwrap();
        let error = open(&dir.path().join("slaes.csv")).err().unwrap();
        assert!(matches!(&error, DataError::Absent { nearest: Some(n), .. } if n.ends_with("sales.csv")), "{error}");
        assert!(matches!(open(dir.path()).err().unwrap(), DataError::Folder { .. }));
        assert!(open(&dir.path().join("sales.csv")).is_ok());
    }
}
