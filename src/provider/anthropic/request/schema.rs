//! JSON Schema as Anthropic takes it.
//!
//! An answer's schema, and that of a strict tool, are brought into the form into which Anthropic's
//! own SDK brings them (`anthropic` 2.14.0, `lib/_parse/_transform.py`): it has nothing left to change
//! in what [`acceptable`] returns. What the API does not take goes into the description, where the
//! model reads it.
//!
//! # Differences from the SDK
//!
//! Where the SDK raises an error or loses a part of the schema, this goes on:
//!
//! * a list of types becomes `anyOf`; a schema without a type gets the one that its keywords imply,
//!   else any of the scalar types; `true` and `{}` likewise;
//! * `definitions` become `$defs`, and references to them follow;
//! * an object that has `anyOf`, `oneOf` or `allOf` beside its properties keeps the properties; an
//!   `allOf` of one schema is that schema;
//! * an object without named properties, which is any map, becomes a closed object, as there.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json;
use crate::provider::dialect::MAX_SCHEMA_VALUES;

/// A schema that cannot be sent. Caused by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidSchema {
    NotAnObject,
    TooLarge,
}

impl fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("the schema is not a JSON object"),
            Self::TooLarge => write!(
                f,
                "the schema is longer than {MAX_BYTES} bytes, has more than {MAX_SCHEMA_VALUES} \
                 values, or is nested deeper than {MAX_DEPTH}"
            ),
        }
    }
}

/// A schema of an answer or of a strict tool.
///
/// # Errors
///
/// When it is no object, or too large.
pub(super) fn acceptable(schema: &str, description: Option<&str>) -> Result<String, InvalidSchema> {
    let mut root = parse(schema)?;
    if let Some(description) = description {
        root.entry("description")
            .or_insert_with(|| Value::from(description));
    }
    Ok(Value::Object(transform(root, 0)?).to_string())
}

/// A schema of a tool's arguments, with the `type` that is required here and that OpenAI takes as
/// understood.
///
/// # Errors
///
/// When it is no object, or too large.
pub(super) fn of_tool(
    schema: Option<&str>,
    is_strict: bool,
) -> Result<Cow<'_, str>, InvalidSchema> {
    /// What the API has something against, at the top level.
    #[derive(Deserialize)]
    #[allow(non_snake_case, reason = "the names are those of JSON Schema")]
    struct TopLevel<'a> {
        #[serde(borrow)]
        r#type: Option<&'a RawValue>,
        anyOf: Option<IgnoredAny>,
        oneOf: Option<IgnoredAny>,
        allOf: Option<IgnoredAny>,
    }

    let Some(schema) = schema else {
        return Ok(Cow::Borrowed(NO_ARGUMENTS));
    };
    if is_strict {
        let mut root = parse(schema)?;
        root.insert("type".to_owned(), Value::from("object"));
        return Ok(Cow::Owned(Value::Object(transform(root, 0)?).to_string()));
    }
    let text = schema;
    let top: TopLevel<'_> = serde_json::from_str(text).map_err(|_| InvalidSchema::NotAnObject)?;
    let is_combined = top.anyOf.is_some() || top.oneOf.is_some() || top.allOf.is_some();
    let is_object = top.r#type.is_some_and(|it| it.get() == "\"object\"");
    if !is_combined && !has_old_keywords(text) {
        let inside = text.strip_prefix('{').unwrap_or_default().trim_start();
        match (&top.r#type, inside) {
            (Some(_), _) if is_object => return Ok(Cow::Borrowed(text)),
            (None, "}") => return Ok(Cow::Borrowed(NO_ARGUMENTS)),
            (None, rest) => return Ok(Cow::Owned([r#"{"type":"object","#, rest].concat())),
            (Some(_), _) => {}
        }
    }
    let mut root = parse(schema)?;
    root.insert("type".to_owned(), Value::from("object"));
    root.entry("properties")
        .or_insert_with(|| Value::Object(Map::new()));
    // > input_schema does not support oneOf, allOf, or anyOf at the top level
    let mut notes = Vec::new();
    for name in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(variants)) = root.shift_remove(name) {
            adopt_properties(&mut root, &variants);
            notes.push(format!("{name}: {}", Value::Array(variants)));
        }
    }
    append_description(&mut root, &notes);
    let mut root = Value::Object(root);
    modernise(&mut root, 0)?;
    Ok(Cow::Owned(root.to_string()))
}

/// A tool whose alternatives stand at the top level keeps the properties of all of them.
fn adopt_properties(root: &mut Map<String, Value>, variants: &[Value]) {
    let Some(Value::Object(properties)) = root.get_mut("properties") else {
        return;
    };
    let of_variants = variants
        .iter()
        .filter_map(|variant| variant.get("properties")?.as_object());
    for (name, schema) in of_variants.flatten() {
        if !properties.contains_key(name) {
            properties.insert(name.clone(), schema.clone());
        }
    }
}

/// Whether a text may have keywords of JSON Schema before draft 2020-12 that are invalid in it.
fn has_old_keywords(text: &str) -> bool {
    [
        "\"exclusiveM",
        "\"required\":t",
        "\"required\":f",
        "\"items\":[",
    ]
    .iter()
    .any(|it| text.contains(it))
}

/// Brings keywords into the form of draft 2020-12.
///
/// > tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12
fn modernise(schema: &mut Value, depth: usize) -> Result<(), InvalidSchema> {
    if depth > MAX_DEPTH {
        return Err(InvalidSchema::TooLarge);
    }
    match schema {
        Value::Array(items) => {
            for item in items {
                modernise(item, depth + 1)?;
            }
        }
        Value::Object(members) => {
            for (exclusive, inclusive) in [
                ("exclusiveMinimum", "minimum"),
                ("exclusiveMaximum", "maximum"),
            ] {
                if let Some(Value::Bool(is_exclusive)) = members.get(exclusive) {
                    let is_exclusive = *is_exclusive;
                    members.shift_remove(exclusive);
                    if is_exclusive && let Some(limit) = members.shift_remove(inclusive) {
                        members.insert(exclusive.to_owned(), limit);
                    }
                }
            }
            if members.get("required").is_some_and(Value::is_boolean) {
                members.shift_remove("required");
            }
            if let Some(Value::Array(_)) = members.get("items")
                && let Some(items) = members.shift_remove("items")
            {
                members.insert("prefixItems".to_owned(), items);
            }
            for (name, member) in members.iter_mut() {
                // These are values, not schemas.
                if !matches!(name.as_str(), "const" | "default" | "enum" | "examples") {
                    modernise(member, depth + 1)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn parse(schema: &str) -> Result<Map<String, Value>, InvalidSchema> {
    if schema.len() > MAX_BYTES || !json::has_at_most(MAX_SCHEMA_VALUES, schema.as_bytes()) {
        return Err(InvalidSchema::TooLarge);
    }
    match serde_json::from_str(schema) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(InvalidSchema::NotAnObject),
    }
}

/// One schema. What is left in `from` at the end goes into the description.
fn transform(
    mut from: Map<String, Value>,
    depth: usize,
) -> Result<Map<String, Value>, InvalidSchema> {
    if depth > MAX_DEPTH {
        return Err(InvalidSchema::TooLarge);
    }
    let mut to = Map::new();
    let is_root = depth == 0;
    for name in ["$defs", "definitions"] {
        if let Some(Value::Object(defs)) = from.shift_remove(name) {
            let all = to
                .entry("$defs")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(all) = all {
                for (name, schema) in defs {
                    all.insert(name, node(schema, depth + 1)?);
                }
            }
        }
    }
    for name in ["$schema", "$id", "$anchor", "$comment"] {
        from.shift_remove(name);
    }
    if let Some(Value::String(reference)) = from.shift_remove("$ref") {
        let reference = match reference.strip_prefix("#/definitions/") {
            Some(name) => format!("#/$defs/{name}"),
            None => reference,
        };
        to.insert("$ref".to_owned(), Value::from(reference));
        return Ok(to);
    }
    flatten_single_all_of(&mut from);

    let has_literals = literals(&mut from, &mut to);
    let kind = match has_literals {
        true => {
            from.shift_remove("type");
            None
        }
        false => kind(&mut from),
    };
    match kind {
        Some(Kind::One(kind)) => {
            to.insert("type".to_owned(), Value::from(kind));
        }
        Some(Kind::Many(kinds)) => {
            let variants = kinds
                .into_iter()
                .map(|kind| node(variant(&from, kind), depth + 1))
                .collect::<Result<Vec<_>, _>>()?;
            from.retain(|name, _| matches!(name.as_str(), "title" | "description" | "default"));
            to.insert("anyOf".to_owned(), Value::Array(variants));
        }
        Some(Kind::Combined(name)) => {
            if let Some(Value::Array(variants)) = from.shift_remove(name) {
                let name = match name {
                    "oneOf" => "anyOf",
                    name => name,
                };
                let variants = variants.into_iter().map(|it| node(it, depth + 1));
                to.insert(
                    name.to_owned(),
                    Value::Array(variants.collect::<Result<_, _>>()?),
                );
            }
        }
        None => {}
    }
    for name in ["description", "title"] {
        match from.shift_remove(name) {
            Some(Value::Null) | None => {}
            Some(value) => _ = to.insert(name.to_owned(), value),
        }
    }
    match to.get("type").and_then(Value::as_str) {
        Some("object") => object(&mut from, &mut to, depth)?,
        Some("string") => {
            if let Some(Value::String(format)) = from.get("format")
                && STRING_FORMATS.contains(&format.as_str())
                && let Some(format) = from.shift_remove("format")
            {
                to.insert("format".to_owned(), format);
            }
        }
        Some("array") => {
            match from.shift_remove("items") {
                Some(items @ (Value::Object(_) | Value::Bool(_))) => {
                    to.insert("items".to_owned(), node(items, depth + 1)?);
                }
                Some(tuple) => _ = from.insert("items".to_owned(), tuple),
                None => {}
            }
            if from
                .get("minItems")
                .is_some_and(|it| matches!(it.as_u64(), Some(0 | 1)))
                && let Some(least) = from.shift_remove("minItems")
            {
                to.insert("minItems".to_owned(), least);
            }
        }
        _ => {}
    }
    if is_root {
        from.shift_remove("strict");
    }
    let notes: Vec<String> = from
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            value => format!("{name}: {value}"),
        })
        .collect();
    append_description(&mut to, &notes);
    Ok(to)
}

/// A schema below another: an object, or `true` and `false`, which take anything and nothing.
fn node(schema: Value, depth: usize) -> Result<Value, InvalidSchema> {
    let members = match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    transform(members, depth).map(Value::Object)
}

fn object(
    from: &mut Map<String, Value>,
    to: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), InvalidSchema> {
    let mut properties = Map::new();
    if let Some(Value::Object(declared)) = from.shift_remove("properties") {
        for (name, schema) in declared {
            properties.insert(name, node(schema, depth + 1)?);
        }
    }
    let required = match from.shift_remove("required") {
        Some(Value::Array(mut names)) => {
            names.retain(|name| name.as_str().is_some_and(|it| properties.contains_key(it)));
            Some(names)
        }
        _ => None,
    };
    // A map has no closed form: its values' schema is described.
    match from.shift_remove("additionalProperties") {
        Some(values @ Value::Object(_)) if properties.is_empty() => {
            from.insert("additionalProperties".to_owned(), values);
        }
        _ => {}
    }
    to.insert("properties".to_owned(), Value::Object(properties));
    to.insert("additionalProperties".to_owned(), Value::Bool(false));
    if let Some(names) = required {
        to.insert("required".to_owned(), Value::Array(names));
    }
    Ok(())
}

/// Takes `enum` and `const` where their values are scalar. Returns whether there is one.
fn literals(from: &mut Map<String, Value>, to: &mut Map<String, Value>) -> bool {
    let is_scalar = |it: &Value| !it.is_array() && !it.is_object();
    if from
        .get("enum")
        .and_then(Value::as_array)
        .is_some_and(|it| !it.is_empty() && it.iter().all(is_scalar))
        && let Some(values) = from.shift_remove("enum")
    {
        to.insert("enum".to_owned(), values);
    }
    if from.get("const").is_some_and(is_scalar)
        && let Some(value) = from.shift_remove("const")
    {
        to.insert("const".to_owned(), value);
    }
    !to.is_empty() && (to.contains_key("enum") || to.contains_key("const"))
}

/// What says of which kind a schema is.
enum Kind {
    /// `anyOf`, `oneOf` or `allOf`.
    Combined(&'static str),
    Many(Vec<&'static str>),
    One(&'static str),
}

/// Takes `type` out of a schema, or finds what takes its place.
fn kind(from: &mut Map<String, Value>) -> Option<Kind> {
    let known = |name: &Value| {
        let name = name.as_str()?;
        TYPES.iter().copied().find(|it| *it == name)
    };
    let declared = from.shift_remove("type");
    let combined = ["anyOf", "oneOf", "allOf"].into_iter().find(|name| {
        from.get(*name)
            .is_some_and(|it| it.as_array().is_some_and(|it| !it.is_empty()))
    });
    let has_properties = from
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|it| !it.is_empty());
    if let Some(name) = combined.filter(|_| !has_properties) {
        return Some(Kind::Combined(name));
    }
    if has_properties {
        return Some(Kind::One("object"));
    }
    match &declared {
        Some(Value::Array(names)) => {
            let kinds: Vec<_> = names.iter().filter_map(known).collect();
            match kinds.as_slice() {
                [] => {}
                [one] => return Some(Kind::One(one)),
                _ => return Some(Kind::Many(kinds)),
            }
        }
        Some(name) => {
            if let Some(name) = known(name) {
                return Some(Kind::One(name));
            }
        }
        None => {}
    }
    let implied = IMPLIED
        .iter()
        .find(|(keyword, _)| from.contains_key(*keyword));
    Some(match implied {
        Some((_, kind)) => Kind::One(kind),
        None => Kind::Many(SCALARS.to_vec()),
    })
}

/// A schema with one of its types, and the keywords that belong to it.
fn variant(from: &Map<String, Value>, kind: &'static str) -> Value {
    let mut members = Map::new();
    members.insert("type".to_owned(), Value::from(kind));
    for (keyword, of) in IMPLIED {
        let fits = of == kind || (of == "number" && kind == "integer");
        if fits && let Some(value) = from.get(keyword) {
            members.insert(keyword.to_owned(), value.clone());
        }
    }
    Value::Object(members)
}

/// An `allOf` of one schema is how some generators describe a reference.
fn flatten_single_all_of(from: &mut Map<String, Value>) {
    let Some(Value::Array(all)) = from.get_mut("allOf") else {
        return;
    };
    if let [Value::Object(_)] = all.as_slice()
        && let Some(Value::Object(only)) = all.pop()
        && !only.contains_key("$ref")
    {
        from.shift_remove("allOf");
        for (name, value) in only {
            from.entry(name).or_insert(value);
        }
    }
}

fn append_description(to: &mut Map<String, Value>, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    let notes = format!("{{{}}}", notes.join(", "));
    let text = match to.get("description").and_then(Value::as_str) {
        Some(text) => format!("{text}\n\n{notes}"),
        None => notes,
    };
    to.insert("description".to_owned(), Value::from(text));
}

const TYPES: [&str; 7] = [
    "object", "array", "string", "integer", "number", "boolean", "null",
];

/// What a schema without any type stands for.
const SCALARS: [&str; 4] = ["string", "number", "boolean", "null"];

/// Keywords that belong to one type.
const IMPLIED: [(&str, &str); 20] = [
    ("properties", "object"),
    ("required", "object"),
    ("additionalProperties", "object"),
    ("patternProperties", "object"),
    ("propertyNames", "object"),
    ("minProperties", "object"),
    ("maxProperties", "object"),
    ("items", "array"),
    ("prefixItems", "array"),
    ("minItems", "array"),
    ("maxItems", "array"),
    ("uniqueItems", "array"),
    ("format", "string"),
    ("pattern", "string"),
    ("minLength", "string"),
    ("maxLength", "string"),
    ("minimum", "number"),
    ("maximum", "number"),
    ("multipleOf", "number"),
    ("exclusiveMinimum", "number"),
];

const STRING_FORMATS: [&str; 10] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
];

const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// A schema is read whole. Unit: bytes.
const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of schemas.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(text: &str) -> String {
        acceptable(text, None).unwrap()
    }

    #[test]
    fn a_schema_becomes_what_the_sdk_makes_of_it() {
        for (schema, expected) in [
            (
                r#"{"type":"integer","minimum":1,"maximum":10,"description":"A number"}"#,
                r#"{"type":"integer","description":"A number\n\n{minimum: 1, maximum: 10}"}"#,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"string","pattern":"^x","format":"email"},
                    "b":{"oneOf":[{"type":"integer"},{"type":"null"}],"default":null}},
                    "required":["a","c"],"additionalProperties":true,"$schema":"x"}"#,
                r#"{"type":"object","properties":{"a":{"type":"string","format":"email","description":"{pattern: ^x}"},"b":{"anyOf":[{"type":"integer"},{"type":"null"}],"description":"{default: null}"}},"additionalProperties":false,"required":["a"]}"#,
            ),
            (
                r#"{"type":["string","null"],"maxLength":5,"description":"d"}"#,
                r#"{"anyOf":[{"type":"string","description":"{maxLength: 5}"},{"type":"null"}],"description":"d"}"#,
            ),
            (
                r##"{"$ref":"#/definitions/a","definitions":{"a":{"enum":["x",1],"type":"string"}}}"##,
                r##"{"$defs":{"a":{"enum":["x",1]}},"$ref":"#/$defs/a"}"##,
            ),
            (
                r#"{"type":"array","items":{"type":"string","format":"path"},"minItems":2,"maxItems":3}"#,
                r#"{"type":"array","items":{"type":"string","description":"{format: path}"},"description":"{minItems: 2, maxItems: 3}"}"#,
            ),
            (
                r#"{"type":"array","items":{},"minItems":1}"#,
                r#"{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"number"},{"type":"boolean"},{"type":"null"}]},"minItems":1}"#,
            ),
            (
                r#"{"properties":{"a":{"const":1}},"anyOf":[{"required":["a"]}]}"#,
                r#"{"type":"object","description":"{anyOf: [{\"required\":[\"a\"]}]}","properties":{"a":{"const":1}},"additionalProperties":false}"#,
            ),
            (
                r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
                r#"{"type":"object","properties":{},"additionalProperties":false,"description":"{additionalProperties: {\"type\":\"string\"}}"}"#,
            ),
        ] {
            let once = transformed(schema);
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(value(&once), value(expected), "{schema}\n{once}");
            assert_eq!(value(&transformed(&once)), value(&once), "twice: {schema}");
        }
    }

    #[test]
    fn a_tools_schema_stays_unless_it_would_be_refused() {
        for (schema, expected) in [
            (
                r#"{"type":"object", "properties":{"a":{"minimum":1}}}"#,
                r#"{"type":"object", "properties":{"a":{"minimum":1}}}"#,
            ),
            ("{}", NO_ARGUMENTS),
            (
                r#"{"properties":{"a":{}}}"#,
                r#"{"type":"object","properties":{"a":{}}}"#,
            ),
            (
                r#"{"type":"object","anyOf":[{"properties":{"a":{"type":"string"}}},{"required":["b"]}],"properties":{"b":{}}}"#,
                r#"{"type":"object","properties":{"b":{},"a":{"type":"string"}},"description":"{anyOf: [{\"properties\":{\"a\":{\"type\":\"string\"}}},{\"required\":[\"b\"]}]}"}"#,
            ),
            (
                r#"{"type":"object","properties":{"a":{"minimum":1,"exclusiveMinimum":true},"b":{"items":[{}]}}}"#,
                r#"{"type":"object","properties":{"a":{"exclusiveMinimum":1},"b":{"prefixItems":[{}]}}}"#,
            ),
        ] {
            assert_eq!(of_tool(Some(schema), false).unwrap(), expected);
        }
        assert_eq!(of_tool(None, true).unwrap(), NO_ARGUMENTS);
        let strict = r#"{"properties":{"a":{"type":"string"}}}"#;
        assert_eq!(
            of_tool(Some(strict), true).unwrap(),
            r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#
        );
    }

    #[test]
    fn depth_and_length_are_errors() {
        let deep = format!("{}{}", r#"{"items":"#.repeat(110), "{}") + &"}".repeat(110);
        assert!(acceptable(&deep, None).is_err());
        let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(acceptable(&long, None), Err(InvalidSchema::TooLarge));
    }
}
