//! The messages of TensorFlow's `event.proto` and `summary.proto`, as far as we write them; the numbers are their fields.

use super::histogram::Histogram;
use super::protobuf::Message;

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// The first record of a file.
    FileVersion,
    /// From this step on, what an earlier file of the run says is out of date.
    SessionStart,
    /// A `Summary.Value`, made by one of the functions below.
    Summary(Message),
}

/// An `Event` at a step, at `wall_time` in seconds since 1970.
pub(super) fn event(wall_time: f64, step: u64, what: &What) -> Message {
    // `step` is an int64 there.
    let event = Message::new().double(1, wall_time).int(2, step.min(i64::MAX as u64));
    match what {
        What::FileVersion => event.bytes(3, b"brain.Event:2"),
        What::Summary(value) => event.message(5, &Message::new().message(1, value)),
        // SessionLog { status: START }
        What::SessionStart => event.message(7, &Message::new().int(1, 1)),
    }
}

/// `simple_value`.
pub(super) fn scalar(tag: &str, value: f32) -> Message {
    tagged(tag).float(2, value)
}

/// `image`, an encoded RGB picture.
pub(super) fn image(tag: &str, width: u32, height: u32, png: &[u8]) -> Message {
    const RGB: u64 = 3;
    let image = Message::new().int(1, height.into()).int(2, width.into()).int(3, RGB).bytes(4, png);
    tagged(tag).message(4, &image)
}

/// `histo`.
pub(super) fn histogram(tag: &str, h: &Histogram) -> Message {
    let histo = Message::new()
        .double(1, h.min)
        .double(2, h.max)
        .double(3, h.num)
        .double(4, h.sum)
        .double(5, h.sum_squares)
        .doubles(6, &h.limits)
        .doubles(7, &h.counts);
    tagged(tag).message(5, &histo)
}

/// A `tensor` of one string, with the metadata that gives it to the text plugin.
///
/// Scalars, images and histograms have fields of their own that TensorBoard knows; text was born as a tensor.
pub(super) fn text(tag: &str, text: &str) -> Message {
    const DT_STRING: u64 = 7;
    const DATA_CLASS_TENSOR: u64 = 2;
    // A shape without dimensions: one value.
    let tensor = Message::new().int(1, DT_STRING).message(2, &Message::new()).bytes(8, text.as_bytes());
    let plugin = Message::new().bytes(1, b"text");
    let metadata = Message::new().message(1, &plugin).int(4, DATA_CLASS_TENSOR);
    tagged(tag).message(8, &tensor).message(9, &metadata)
}

fn tagged(tag: &str) -> Message {
    Message::new().bytes(1, tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_event_byte_by_byte() {
        let event = event(1.0, 300, &What::Summary(scalar("a", -2.0)));
        let value = [0x0a, 0x01, b'a', 0x15, 0, 0, 0, 0xc0];
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0a, 0x0a, 0x08];
        expected.extend(value);
        assert_eq!(event.as_bytes(), expected);
    }

    #[test]
    fn version_and_session_start_byte_by_byte() {
        let version = event(0.0, 0, &What::FileVersion);
        assert_eq!(&version.as_bytes()[9..], b"\x10\x00\x1a\x0dbrain.Event:2");
        let start = event(0.0, 5, &What::SessionStart);
        assert_eq!(start.as_bytes()[9..], [0x10, 0x05, 0x3a, 0x02, 0x08, 0x01]);
    }

    #[test]
    fn a_step_beyond_an_int64_is_the_last_one() {
        let event = event(0.0, u64::MAX, &What::SessionStart);
        let step = [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(event.as_bytes()[9..19], step);
    }
}
