//! A reader of event files, for tests: it stops in front of the first record that is torn or does not fit its checksum.

use super::record::masked_crc32c;

/// An `Event` taken apart.
#[derive(Debug)]
pub(super) struct Event {
    pub wall_time: f64,
    pub step: u64,
    /// The field that says what it is about.
    pub field: u32,
    /// Its bytes.
    pub what: Vec<u8>,
}

impl Event {
    /// Field and bytes.
    pub fn what(&self) -> (u32, &[u8]) {
        (self.field, &self.what)
    }
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Int(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

impl Value {
    /// The bytes of a string or a message.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            other => panic!("{other:?} has no bytes"),
        }
    }
}

/// The data of each whole record.
pub(super) fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((data, rest)) = record(file) {
        found.push(data);
        file = rest;
    }
    found
}

fn record(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let checked = |data: &[u8], crc: [u8; 4]| masked_crc32c(data) == u32::from_le_bytes(crc);
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if !checked(length, *crc) {
        return None;
    }
    let (data, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    checked(data, *crc).then_some((data, rest))
}

/// The events of a file.
pub(super) fn events(file: &[u8]) -> Vec<Event> {
    records(file)
        .into_iter()
        .map(|data| match &fields(data)[..] {
            [(1, Value::Double(wall_time)), (2, Value::Int(step)), (field, Value::Bytes(bytes))] => {
                Event { wall_time: *wall_time, step: *step, field: *field, what: bytes.clone() }
            }
            other => panic!("not an event: {other:?}"),
        })
        .collect()
}

/// The fields of a message in their order.
pub(super) fn fields(mut data: &[u8]) -> Vec<(u32, Value)> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let value = match key & 7 {
            0 => Value::Int(varint(&mut data)),
            1 => Value::Double(f64::from_le_bytes(take(&mut data, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut data) as usize;
                Value::Bytes(take(&mut data, length).to_vec())
            }
            5 => Value::Float(f32::from_le_bytes(take(&mut data, 4).try_into().unwrap())),
            kind => panic!("no such kind of field: {kind}"),
        };
        found.push(((key >> 3) as u32, value));
    }
    found
}

fn take<'a>(data: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(length);
    *data = rest;
    taken
}

fn varint(data: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(data, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
