//! A `google.protobuf.Struct` as JSON: Envoy hands a plugin configuration of that type over as it
//! is on the wire.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/> and
//! <https://protobuf.dev/reference/protobuf/google.protobuf/#struct>, read 2026-11-21. That Envoy
//! passes the wire form on was seen on 1.37.0 and 1.40.0.

use serde_json::{Map, Number, Value};

use crate::protobuf::{Field, Message};

/// The JSON object that the bytes of a `Struct` stand for, or `None` when they are not one.
pub fn decode_struct(bytes: &[u8]) -> Option<Map<String, Value>> {
    structure(bytes, 0)
}

/// `message Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut members = Map::new();
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        let (1, Field::Bytes(entry)) = field else {
            return None;
        };
        let (mut key, mut value) = (String::new(), Value::Null);
        let mut entry = Message(entry);
        while let Some(field) = entry.next()? {
            match field {
                (1, Field::Bytes(bytes)) => key = text(bytes)?,
                (2, Field::Bytes(bytes)) => value = self::value(bytes, depth)?,
                _ => return None,
            }
        }
        members.insert(key, value);
    }
    Some(members)
}

/// `message Value { oneof kind { NullValue null_value = 1; double number_value = 2;
/// string string_value = 3; bool bool_value = 4; Struct struct_value = 5;
/// ListValue list_value = 6; } }`
fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut message = Message(bytes);
    let mut value = Value::Null;
    while let Some(field) = message.next()? {
        value = match field {
            (1, Field::Varint(_)) => Value::Null,
            (2, Field::Fixed64(bits)) => number(f64::from_bits(bits))?,
            (3, Field::Bytes(bytes)) => Value::String(text(bytes)?),
            (4, Field::Varint(bit)) => Value::Bool(bit != 0),
            (5, Field::Bytes(bytes)) => Value::Object(structure(bytes, depth + 1)?),
            (6, Field::Bytes(bytes)) => Value::Array(list(bytes, depth + 1)?),
            _ => return None,
        };
    }
    Some(value)
}

/// `message ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let mut items = Vec::new();
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        let (1, Field::Bytes(item)) = field else {
            return None;
        };
        items.push(value(item, depth)?);
    }
    Some(items)
}

/// A `Struct` knows only doubles: a whole one was written as a whole number.
fn number(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field; all lengths are below 128.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn member(key: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
    }

    fn double(number: f64) -> Vec<u8> {
        [&[2 << 3 | 1][..], &number.to_le_bytes()].concat()
    }

    #[test]
    fn a_struct_becomes_json() {
        let list = [field(1, &field(3, b"x")), field(1, &[1 << 3, 0])].concat();
        let bytes = [
            member("text", &field(3, b"t")),
            member("whole", &double(3.0)),
            member("part", &double(0.5)),
            member("on", &[4 << 3, 1]),
            member("list", &field(6, &list)),
            member("map", &field(5, &member("k", &field(3, b"v")))),
        ]
        .concat();
        let expected = serde_json::json!(
            {"text": "t", "whole": 3, "part": 0.5, "on": true, "list": ["x", null],
             "map": {"k": "v"}}
        );
        assert_eq!(decode_struct(&bytes).map(Value::Object), Some(expected));
        for length in 1..bytes.len() {
            // Every cut is either broken or a shorter list of members, never a panic.
            let _ = decode_struct(&bytes[..length]);
        }
        assert_eq!(decode_struct(&[0xff; 12]), None);
    }

    #[test]
    fn yaml_that_starts_with_an_empty_line_is_not_taken_for_a_struct() {
        assert_eq!(
            decode_struct(b"\nbackends:\n- name: a\n  type: xai\n"),
            None
        );
    }
}
