//! Reads a YAML or JSON document into typed keys, and reports everything that does not fit.
//!
//! serde stops at the first error; a person who wrote three mistakes wants to see three lines.
//! So the document is parsed into a [`Value`], and the types of `config/file.rs` are read
//! from it by [`FromValue`]. One declaration, [`keys!`], gives the type, its reader, its writer
//! and its JSON Schema, so they cannot disagree.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::{ConfigErrors, KeyPath};
use crate::sorted;

/// Parses a configuration that is JSON.
///
/// # Errors
///
/// When the text is not JSON, with line and column (both from 1), or when a key stands twice.
pub fn parse_json(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Unique(value)) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// A JSON value in which no key stands twice. Of two, serde_json would take the last in silence.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some((key, Unique(value))) = members.next_entry::<String, _>()? {
            if read.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!(
                    "duplicate entry with key {key:?}"
                )));
            }
        }
        Ok(Value::Object(read))
    }
}

/// A type that can stand in a configuration.
pub trait FromValue: Sized {
    /// Reads the value, or notes what is wrong and returns `None`.
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self>;

    /// Whether a key with this value is there.
    fn is_written(&self) -> bool {
        true
    }

    /// What an absent key means; `None` where the key is required.
    fn absent() -> Option<Self> {
        None
    }

    /// The value as it is written; `None` leaves the key out.
    fn to_value(&self) -> Option<Value>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        // `key:` with nothing behind it is what YAML calls null: the same as leaving it out.
        if value.is_null() {
            return Some(None);
        }
        T::from_value(value, at, errors).map(Some)
    }

    fn is_written(&self) -> bool {
        self.is_some()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_value)
    }
}

impl FromValue for String {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => {
                errors.push(
                    at,
                    format!("expected a string, found {}; quote it", kind(value)),
                );
                None
            }
            _ => expected("a string", value, at, errors),
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl FromValue for bool {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        value
            .as_bool()
            .or_else(|| expected("true or false", value, at, errors))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Bool(*self))
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.or_else(|| expected("a whole number from 0 to 4294967295", value, at, errors))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::from(*self))
    }
}

/// Any JSON value, kept as it is.
impl FromValue for Value {
    fn from_value(value: &Value, _: &KeyPath, _: &mut ConfigErrors) -> Option<Self> {
        Some(value.clone())
    }

    fn to_value(&self) -> Option<Value> {
        Some(self.clone())
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let Value::Array(items) = value else {
            return expected("a list", value, at, errors);
        };
        // Every element is read before the first failure counts, so each reports its own errors.
        read_items(items, at, errors).into_iter().collect()
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Array(self.iter().filter_map(T::to_value).collect()))
    }
}

/// A list whose elements fail one by one: what is wrong with one does not hide the others.
#[derive(Clone, Debug)]
pub struct List<T>(Vec<Option<T>>);

impl<T> List<T> {
    /// The elements that could be read, with their 0-based places.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(index, item)| Some((index, item.as_ref()?)))
    }

    /// The elements that could be read.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }

    /// The element at this 0-based place, if it could be read.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index)?.as_ref()
    }

    /// Whether every element could be read.
    pub fn is_whole(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// How many elements were written.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Some).collect())
    }
}

impl<T: FromValue> FromValue for List<T> {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let Value::Array(items) = value else {
            return expected("a list", value, at, errors);
        };
        Some(Self(read_items(items, at, errors)))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Array(
            self.iter()
                .filter_map(|(_, item)| item.to_value())
                .collect(),
        ))
    }
}

/// Reads the elements of a list; those behind the last error that is noted as if they could not be.
fn read_items<T: FromValue>(
    items: &[Value],
    at: &KeyPath,
    errors: &mut ConfigErrors,
) -> Vec<Option<T>> {
    let read = |(index, item)| {
        let is_read = !errors.are_full();
        is_read.then(|| T::from_value(item, &at.index(index), errors))?
    };
    items.iter().enumerate().map(read).collect()
}

/// To an editor it is a list like any other.
#[cfg(not(target_family = "wasm"))]
impl<T: schemars::JsonSchema> schemars::JsonSchema for List<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<T>::json_schema(generator)
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) -> Option<Self> {
        let Value::Object(members) = value else {
            return expected("a mapping", value, at, errors);
        };
        let read = |(key, value): (&String, &Value)| {
            T::from_value(value, &at.key(key), errors).map(|value| (key.clone(), value))
        };
        let members: Vec<Option<(String, T)>> = members.iter().map(read).collect();
        let is_read = members.iter().all(Option::is_some);
        is_read.then(|| sorted::collect(members.into_iter().flatten()))
    }

    fn to_value(&self) -> Option<Value> {
        let member = |(key, value): (&String, &T)| Some((key.clone(), value.to_value()?));
        Some(Value::Object(self.iter().filter_map(member).collect()))
    }
}

/// Notes that `value` is not `what`.
pub fn expected<T>(
    what: &str,
    value: &Value,
    at: &KeyPath,
    errors: &mut ConfigErrors,
) -> Option<T> {
    errors.push(at, format!("expected {what}, found {}", kind(value)));
    None
}

/// Notes every key of `members` that is not one of `known`, with the nearest known one.
pub fn refuse_unknown(
    members: &Map<String, Value>,
    known: &[&str],
    at: &KeyPath,
    errors: &mut ConfigErrors,
) {
    for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
        if errors.are_full() {
            return;
        }
        let message = match nearest(key, known) {
            Some(near) => format!("unknown key; did you mean {near:?}?"),
            None => format!("unknown key; known here are {}", known.join(", ")),
        };
        errors.push_key(&at.key(key), message);
    }
}

/// The entry of `known` that `word` most likely meant, if one is near.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let folded = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let word = folded(word);
    known
        .iter()
        .filter(|candidate| candidate.len() <= MAX_WORD_BYTES)
        .map(|candidate| (strsim::jaro_winkler(&word, &folded(candidate)), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// What is longer is a misspelt word of nobody, and to compare words takes the product of their lengths.
const MAX_WORD_BYTES: usize = 64;

/// What a value is, in words, with the value itself where it is short and cannot be a secret.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// Declares a mapping: the struct, how it is read and written, and its JSON Schema.
///
/// Each field names its key as a literal; `Option` fields may be absent, others are required.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $key:literal => $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        #[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
        #[cfg_attr(not(target_family = "wasm"), schemars(deny_unknown_fields))]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[cfg_attr(not(target_family = "wasm"), schemars(rename = $key))]
                pub $field: $type,
            )*
        }

        impl $name {
            /// Every key, in the order of declaration.
            pub const KEYS: &[&str] = &[$($key),*];

            /// Whether this key is written.
            pub fn has(&self, key: &str) -> bool {
                match key {
                    $( $key => $crate::config::read::FromValue::is_written(&self.$field), )*
                    _ => false,
                }
            }
        }

        impl $crate::config::read::FromValue for $name {
            fn from_value(
                value: &::serde_json::Value,
                at: &$crate::config::error::KeyPath,
                errors: &mut $crate::config::error::ConfigErrors,
            ) -> Option<Self> {
                use $crate::config::read;
                let ::serde_json::Value::Object(members) = value else {
                    return read::expected("a mapping", value, at, errors);
                };
                read::refuse_unknown(members, Self::KEYS, at, errors);
                $( let $field = read::member(members, $key, at, errors); )*
                Some(Self { $( $field: $field? ),* })
            }

            fn to_value(&self) -> Option<::serde_json::Value> {
                let mut members = ::serde_json::Map::new();
                $(
                    if let Some(value) = $crate::config::read::FromValue::to_value(&self.$field) {
                        members.insert($key.to_owned(), value);
                    }
                )*
                Some(::serde_json::Value::Object(members))
            }
        }
    };
}
pub(super) use keys;

/// Reads the member `key`, or what its absence means, or notes that it is required.
pub fn member<T: FromValue>(
    members: &Map<String, Value>,
    key: &str,
    at: &KeyPath,
    errors: &mut ConfigErrors,
) -> Option<T> {
    match members.get(key) {
        // An optional key that cannot be read is noted and then taken as absent, so that what
        // stands beside it is checked as well.
        Some(value) => T::from_value(value, &at.key(key), errors).or_else(T::absent),
        None => T::absent().or_else(|| {
            errors.push(&at.key(key), "required, but absent");
            None
        }),
    }
}
