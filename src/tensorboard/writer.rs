//! The event file that grows while a run goes on.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{self, What};
use super::histogram::Histogram;
use super::picture::Picture;
use super::record::frame;

/// What every event file's name begins with; TensorBoard looks for `tfevents` in it.
const PREFIX: &str = "events.out.tfevents.";

/// Writes one event file of a run.
///
/// A tag holds one kind of value, with steps that grow: TensorBoard takes a step that comes again for the work of a
/// restarted run and drops what the tag had from there on. A `/` in a tag makes groups.
///
/// Records are buffered. They reach the file on [`flush`](Self::flush), on drop, and when the buffer is full; errors
/// on drop are lost, so flush first. After a record that could not be written whole every call fails: what followed the
/// torn record could not be read.
#[derive(Debug)]
pub struct EventWriter {
    out: BufWriter<File>,
    path: PathBuf,
    broken: bool,
}

impl EventWriter {
    /// Makes `events.out.tfevents.<unix seconds>.<hostname>.<pid>.<n>` in `dir`, which is created when it is missing.
    ///
    /// TensorBoard reads the files of a folder in the order of their names, so the seconds are later than those of any
    /// file that is there, whatever the clock says.
    ///
    /// # Errors
    /// Whatever the file system says, with the path in the message.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let named = |e| named(dir, e);
        fs::create_dir_all(dir).map_err(named)?;
        let now = wall_time() as u64;
        let newest = newest(dir).map_err(named)?;
        let seconds = newest.map_or(now, |newest| now.max(newest.saturating_add(1)));
        let (host, pid) = (hostname(), std::process::id());
        let mut n = 0u32;
        let (path, file) = loop {
            let path = dir.join(format!("{PREFIX}{seconds:010}.{host}.{pid}.{n}"));
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                // Another writer of this process, in the same moment.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < u32::MAX => n += 1,
                Err(e) => return Err(named(e)),
            }
        };
        let mut writer = Self { out: BufWriter::new(file), path, broken: false };
        writer.write(0, &What::FileVersion)?;
        if newest.is_none() {
            // TensorBoard takes the first start in a folder for that of the run and only later ones for a restart, so
            // without this one the first `session_start` of a resumed run would do nothing.
            writer.write(0, &What::SessionStart)?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that the run goes on from `step` after a stop: TensorBoard drops what earlier files of the folder hold at
    /// this step and later, of all tags. The first call on the writer of a resumed run; a new run needs none.
    ///
    /// Where TensorBoard reads through its data server, it goes by the steps alone, tag by tag: what a tag has is
    /// dropped once the tag comes to an earlier or the same step again.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn session_start(&mut self, step: u64) -> io::Result<()> {
        self.write(step, &What::SessionStart)
    }

    /// A number. It is stored as an f32; NaN and infinities are kept, and TensorBoard marks them.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> io::Result<()> {
        self.write(step, &What::Summary(event::scalar(tag, value as f32)))
    }

    /// How `values` are spread. Returns how many of them were left out because they are not finite; where nothing is
    /// left, nothing is written.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn histogram(&mut self, tag: &str, step: u64, values: &[f32]) -> io::Result<usize> {
        let Some(histogram) = Histogram::of(values) else { return Ok(values.len()) };
        self.write(step, &What::Summary(event::histogram(tag, &histogram)))?;
        Ok(values.len() - histogram.num as usize)
    }

    /// A picture, stored as a PNG.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn image(&mut self, tag: &str, step: u64, picture: &Picture) -> io::Result<()> {
        let png = picture.png().map_err(|e| named(&self.path, e))?;
        self.write(step, &What::Summary(event::image(tag, picture.width(), picture.height(), &png)))
    }

    /// Words, shown as Markdown.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> io::Result<()> {
        self.write(step, &What::Summary(event::text(tag, text)))
    }

    /// Hands everything written so far to the file, where a running TensorBoard sees it.
    ///
    /// It does not wait for the disk: a power cut may cost the last records, never the ones before.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|e| named(&self.path, e))
    }

    fn write(&mut self, step: u64, what: &What) -> io::Result<()> {
        if self.broken {
            return Err(named(&self.path, io::Error::other("an earlier record could not be written whole")));
        }
        let record = frame(event::event(wall_time(), step, what).as_bytes());
        self.out.write_all(&record).map_err(|e| {
            self.broken = true;
            named(&self.path, e)
        })
    }
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The latest seconds in the name of an event file in `dir`.
fn newest(dir: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let seconds = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        newest = newest.max(seconds);
    }
    Ok(newest)
}

/// The machine's name, for the file name only: what cannot stand there is replaced.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.trim().chars().map(allowed).take(64).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Value, events, fields, records};
    use super::*;

    /// A session log that says START.
    const START: (u32, &[u8]) = (7, &[0x08, 0x01]);

    #[test]
    fn what_is_written_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&dir.path().join("a/b")).unwrap();
        let path = writer.path().to_path_buf();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(PREFIX) && name.ends_with(&format!(".{}.0", std::process::id())), "{name}");

        writer.scalar("loss", 1, 0.1).unwrap();
        writer.scalar("loss", 2, f64::NAN).unwrap();
        assert_eq!(writer.histogram("weights", 2, &[1.0, f32::NAN, 2.0]).unwrap(), 1);
        assert_eq!(writer.histogram("weights", 3, &[f32::INFINITY]).unwrap(), 1, "nothing to write");
        assert_eq!(writer.histogram("weights", 3, &[]).unwrap(), 0, "nothing to write");
        writer.text("note", 3, "naïve *words*").unwrap();
        writer.image("chart", 4, &Picture::blank(3, 2)).unwrap();
        drop(writer);

        let events = events(&fs::read(&path).unwrap());
        let steps: Vec<u64> = events.iter().map(|e| e.step).collect();
        assert_eq!(steps, [0, 0, 1, 2, 2, 3, 4]);
        assert!(events.iter().all(|e| e.wall_time > 1.7e9));
        assert_eq!(events[0].what(), (3, &b"brain.Event:2"[..]));
        assert_eq!(events[1].what(), START);

        let value = |i: usize| fields(fields(&events[i].what)[0].1.bytes());
        assert_eq!(value(2), [(1, Value::Bytes(b"loss".to_vec())), (2, Value::Float(0.1))]);
        assert!(matches!(value(3)[1].1, Value::Float(v) if v.is_nan()));
        let histo = fields(value(4)[1].1.bytes());
        let stats: Vec<&Value> = histo[..5].iter().map(|(_, v)| v).collect();
        assert_eq!(stats, [1.0, 2.0, 2.0, 3.0, 5.0].map(Value::Double).iter().collect::<Vec<_>>());
        assert_eq!(fields(value(5)[1].1.bytes())[2], (8, Value::Bytes("naïve *words*".into())));
        let image = fields(value(6)[1].1.bytes());
        assert_eq!(image[..3], [(1, Value::Int(2)), (2, Value::Int(3)), (3, Value::Int(3))]);
        assert_eq!(image[3].1.bytes(), Picture::blank(3, 2).png().unwrap());
    }

    #[test]
    fn flushed_records_are_there_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path()).unwrap();
        assert_eq!(records(&fs::read(writer.path()).unwrap()).len(), 2, "a run is seen from its start");
        writer.scalar("loss", 1, 0.5).unwrap();
        writer.flush().unwrap();
        assert_eq!(records(&fs::read(writer.path()).unwrap()).len(), 3);
    }

    #[test]
    fn a_start_stands_in_the_first_file_and_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let starts = |writer: EventWriter| -> Vec<u64> {
            let path = writer.path().to_path_buf();
            drop(writer);
            let events = events(&fs::read(path).unwrap());
            events.iter().filter(|e| e.what() == START).map(|e| e.step).collect()
        };
        assert_eq!(starts(EventWriter::create(dir.path()).unwrap()), [0]);
        assert_eq!(starts(EventWriter::create(dir.path()).unwrap()), [0; 0]);
        let mut resumed = EventWriter::create(dir.path()).unwrap();
        resumed.session_start(7).unwrap();
        assert_eq!(starts(resumed), [7]);
    }

    #[test]
    fn a_later_writer_has_the_later_name() {
        let dir = tempfile::tempdir().unwrap();
        let ahead = wall_time() as u64 + 5_000;
        fs::write(dir.path().join(format!("{PREFIX}{ahead}.host.1.0")), b"").unwrap();
        fs::write(dir.path().join("events.out.tfevents.not-a-time"), b"").unwrap();
        let mut names: Vec<PathBuf> = Vec::new();
        for _ in 0..12 {
            names.push(EventWriter::create(dir.path()).unwrap().path().to_path_buf());
        }
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert!(names[0].to_str().unwrap().contains(&(ahead + 1).to_string()));
    }

    #[test]
    fn a_torn_record_does_not_harm_the_ones_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path()).unwrap();
        for step in 0..3 {
            writer.scalar("loss", step, step as f64).unwrap();
        }
        writer.flush().unwrap();
        let whole = fs::read(writer.path()).unwrap();
        let record = 16 + records(&whole)[4].len();
        for torn in 1..record {
            assert_eq!(records(&whole[..whole.len() - torn]).len(), 4, "{torn} bytes are missing");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(records(&flipped).len(), 4, "a checksum that does not fit");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("taken");
        fs::write(&file, b"").unwrap();
        let error = EventWriter::create(&file.join("run")).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
    }

    /// `/dev/full` takes nothing, like a disk without room.
    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_record_that_was_not_written_whole_every_call_fails() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut writer =
            EventWriter { out: BufWriter::with_capacity(64, full), path: "/dev/full".into(), broken: false };
        writer.text("note", 1, &"long ".repeat(100)).unwrap_err();
        let again = writer.scalar("loss", 2, 1.0).unwrap_err();
        assert!(again.to_string().contains("earlier record"), "{again}");
    }
}
