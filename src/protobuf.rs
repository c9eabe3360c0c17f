//! Protobuf on the wire: fields in, fields out. What they mean is not known here.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>, read 2026-11-21. Fields of 4 bytes and
//! groups are not read: nothing that we are told has any.

/// The rest of a message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(pub &'a [u8]);

/// The value of a field, in the form that it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Bytes, text or another message.
    Bytes(&'a [u8]),
    /// 8 bytes, little-endian.
    Fixed64(u64),
    /// A whole number.
    Varint(u64),
}

impl<'a> Message<'a> {
    /// The next field and its number; `Some(None)` at the end, `None` when the bytes are broken.
    #[allow(
        clippy::type_complexity,
        clippy::should_implement_trait,
        reason = "two kinds of end, one of them an error"
    )]
    pub fn next(&mut self) -> Option<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                let (bits, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                Field::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        Some(Some((tag >> 3, field)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Appends a field of bytes. 1 <= number <= 15
pub fn write_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | BYTES);
    let mut length = bytes.len();
    while length > 0x7f {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

const BYTES: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for length in [0, 1, 127, 128, 300, 70_000] {
            let bytes = vec![7; length];
            let mut message = Vec::new();
            write_bytes(&mut message, 3, &bytes);
            write_bytes(&mut message, 15, b"end");
            let mut fields = Message(&message);
            assert_eq!(fields.next(), Some(Some((3, Field::Bytes(&bytes)))));
            assert_eq!(fields.next(), Some(Some((15, Field::Bytes(b"end")))));
            assert_eq!(fields.next(), Some(None));
        }
    }
}
