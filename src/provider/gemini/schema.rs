//! JSON Schema, cut down to what Gemini takes.
//!
//! Sources, read 2026-11-21: <https://ai.google.dev/api/caching#Schema> for [`Cleaned::OpenApi`],
//! <https://ai.google.dev/api/generate-content#generationconfig> (`responseJsonSchema`) for
//! [`Cleaned::JsonSchema`], <https://ai.google.dev/gemini-api/docs/structured-output>.
//!
//! One unknown keyword fails a whole request, so only known ones are written. Gemini has two
//! members for a schema, with two vocabularies:
//!
//! * `parameters` and `responseSchema` take a subset of OpenAPI 3.0: no references, no maps, no
//!   tuples, only strings in an `enum`, `nullable` instead of a type `null`.
//! * `parametersJsonSchema` and `responseJsonSchema` take a subset of JSON Schema, which has these,
//!   but neither lengths nor patterns.
//!
//! The first is written where it says everything; the second where it would lose a type.
//!
//! # What changes
//!
//! * `$ref` is replaced by what it refers to. A schema that contains itself keeps its references,
//!   as JSON Schema.
//! * `const` becomes an `enum` with one value; `oneOf` becomes `anyOf`; `allOf` is merged.
//! * A `null` among types, alternatives or values becomes `nullable`, in JSON Schema a type.
//! * `exclusiveMinimum` and `exclusiveMaximum` of an integer become `minimum` and `maximum`.
//! * `required` names only properties that exist.
//! * A `format` that Gemini does not know is left out, as are all other keywords: `$schema`,
//!   `$id`, `multipleOf`, `not`, `patternProperties`, `propertyNames`, `strict`, `uniqueItems` … .
//!   These narrow what is valid; without them the model is told less, and nothing else changes.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::json;
use crate::provider::dialect::MAX_SCHEMA_VALUES as MAX_VALUES;

/// A schema that Gemini takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Cleaned {
    /// It says nothing: an object without properties. The member is to be left out.
    Empty,
    /// For `parametersJsonSchema` and `responseJsonSchema`.
    JsonSchema(Value),
    /// For `parameters` and `responseSchema`.
    OpenApi(Value),
}

/// A schema that cannot be cleaned. Caused by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSchema {
    /// It is not a JSON object, or nested deeper than 127.
    NotAnObject,
    /// It is longer than [`MAX_BYTES`] or has more than [`MAX_SCHEMA_VALUES`](MAX_VALUES) values; or with its references
    /// replaced it has more than [`MAX_NODES`] schemas, is nested deeper than [`MAX_DEPTH`], or has
    /// grown by more than [`MAX_BYTES`].
    TooLarge,
}

impl std::fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAnObject => write!(f, "the schema is not a JSON object"),
            Self::TooLarge => write!(
                f,
                "the schema has more than {MAX_NODES} parts or {MAX_VALUES} values, is nested deeper \
                 than {MAX_DEPTH}, or is longer than {MAX_BYTES} bytes, maybe with its references \
                 replaced"
            ),
        }
    }
}

/// The most schemas that one may consist of.
pub const MAX_NODES: usize = 10_000;

/// How long a schema may be, and how much longer it may become: what a reference refers to is written
/// once for each.
///
/// Unit: bytes of texts and values.
pub const MAX_BYTES: usize = 1 << 20;

/// The keywords whose values are schemas, or names of them: what these say is counted with them.
const CONTAINERS: [&str; 9] = [
    "$defs",
    "additionalProperties",
    "allOf",
    "anyOf",
    "definitions",
    "items",
    "oneOf",
    "prefixItems",
    "properties",
];

/// There are seven types.
const MAX_TYPES: usize = 16;

/// The deepest nesting of schemas.
pub const MAX_DEPTH: usize = 100;

/// Cleans a schema. The result depends on the text alone.
///
/// `description` is that of the root, where it has none of its own.
///
/// `is_answer`: whether the order of properties is the order in which the model writes them.
///
/// # Errors
///
/// When the text is no object, or too large.
pub fn clean(
    schema: &str,
    description: Option<&str>,
    is_answer: bool,
) -> Result<Cleaned, InvalidSchema> {
    let length = schema.len() + description.map_or(0, str::len);
    if length > MAX_BYTES || !json::has_at_most(MAX_VALUES, schema.as_bytes()) {
        return Err(InvalidSchema::TooLarge);
    }
    let mut root: Value = serde_json::from_str(schema).map_err(|_| InvalidSchema::NotAnObject)?;
    if let (Some(members), Some(description)) = (root.as_object_mut(), description) {
        members
            .entry("description")
            .or_insert_with(|| Value::from(description));
    }
    let members = root.as_object().ok_or(InvalidSchema::NotAnObject)?;
    let says_nothing = |members: &Map<String, Value>| {
        members.get("type").is_none_or(|it| it == "object")
            && members
                .get("properties")
                .is_none_or(|it| it.as_object().is_some_and(Map::is_empty))
            && !["$ref", "allOf", "anyOf", "oneOf", "additionalProperties"]
                .iter()
                .any(|key| members.get(*key).is_some_and(|it| !it.is_boolean()))
            && !["enum", "const", "items"]
                .iter()
                .any(|key| members.contains_key(*key))
    };
    if says_nothing(members) {
        return Ok(Cleaned::Empty);
    }
    let most = schema.len().saturating_add(MAX_BYTES);
    let mut cleaner = Cleaner::new(&root, Form::OpenApi, is_answer, most);
    let node = cleaner.node(&root).into_open_api(&mut cleaner);
    if !cleaner.is_lossy && !cleaner.is_exhausted {
        return Ok(Cleaned::OpenApi(to_value(&node)));
    }
    let mut cleaner = Cleaner::new(&root, Form::JsonSchema, is_answer, most);
    let mut node = cleaner.node(&root).into_json_schema();
    node.defs = cleaner.definitions(members);
    if cleaner.is_exhausted {
        return Err(InvalidSchema::TooLarge);
    }
    Ok(Cleaned::JsonSchema(to_value(&node)))
}

/// In which vocabulary is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    JsonSchema,
    OpenApi,
}

struct Cleaner<'s> {
    root: &'s Value,
    form: Form,
    is_answer: bool,
    /// The references that are being replaced, outermost first.
    open: Vec<&'s str>,
    /// open.len() <= depth <= MAX_DEPTH
    depth: usize,
    nodes: usize,
    /// How much more may be said. Unit: bytes.
    bytes_left: usize,
    /// Whether OpenAPI cannot say what the schema says.
    is_lossy: bool,
    is_exhausted: bool,
}

impl<'s> Cleaner<'s> {
    fn new(root: &'s Value, form: Form, is_answer: bool, bytes_left: usize) -> Self {
        Self {
            root,
            form,
            is_answer,
            open: Vec::new(),
            depth: 0,
            nodes: 0,
            bytes_left,
            is_lossy: false,
            is_exhausted: false,
        }
    }

    /// A schema within another one, as it is written.
    fn child(&mut self, schema: &'s Value) -> Value {
        let node = self.node(schema);
        to_value(&match self.form {
            Form::JsonSchema => node.into_json_schema(),
            Form::OpenApi => node.into_open_api(self),
        })
    }

    fn node(&mut self, schema: &'s Value) -> Node {
        if self.is_exhausted || self.depth >= MAX_DEPTH || self.nodes >= MAX_NODES {
            self.is_exhausted = true;
            return Node::default();
        }
        let Value::Object(members) = schema else {
            // `true`, `false`: anything, nothing.
            self.is_lossy = true;
            return Node::default();
        };
        self.depth += 1;
        self.nodes += 1;
        let mut node = self.own(members);
        if let Some(Value::String(reference)) = members.get("$ref") {
            self.refer(reference, &mut node);
        }
        if let Some(Value::Array(all)) = members.get("allOf") {
            for one in all {
                let one = self.node(one);
                node.merge(one);
            }
        }
        self.alternatives(members, &mut node);
        self.depth -= 1;
        node
    }

    /// Replaces a reference by what it refers to, or keeps it.
    fn refer(&mut self, reference: &'s str, node: &mut Node) {
        let definition = ["#/$defs/", "#/definitions/"]
            .iter()
            .find_map(|start| reference.strip_prefix(start))
            .filter(|name| !name.contains('/'));
        if let (Form::JsonSchema, Some(name)) = (self.form, definition) {
            // > If $ref is set on a sub-schema, no other properties, except for than those
            // > starting as a $, may be set.
            *node = Node {
                reference: Some(format!("#/$defs/{name}")),
                nullable: node.nullable,
                ..Node::default()
            };
            return;
        }
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        let is_open = self.open.contains(&reference);
        let Some(target) = target.filter(|_| !is_open) else {
            self.is_lossy = true;
            return;
        };
        self.open.push(reference);
        let target = self.node(target);
        self.open.pop();
        node.merge(target);
    }

    /// `anyOf` and `oneOf`. One alternative is none, and `null` is no alternative.
    fn alternatives(&mut self, members: &'s Map<String, Value>, node: &mut Node) {
        let all = ["anyOf", "oneOf"]
            .iter()
            .filter_map(|key| members.get(*key)?.as_array())
            .flatten();
        let mut schemas = Vec::new();
        for schema in all {
            let is_null = schema.get("type").is_some_and(|it| it == "null")
                || schema.get("const").is_some_and(Value::is_null);
            if is_null {
                node.nullable = true;
            } else {
                schemas.push(schema);
            }
        }
        if let [schema] = schemas.as_slice() {
            let only = self.node(schema);
            node.merge(only);
            return;
        }
        for schema in schemas {
            let alternative = self.child(schema);
            node.any_of.push(alternative);
        }
    }

    /// Everything but references and combinations.
    fn own(&mut self, members: &'s Map<String, Value>) -> Node {
        let mut node = Node::default();
        let mut exclusive = (None, None);
        for (key, value) in members {
            if !CONTAINERS.contains(&key.as_str()) && !self.spend(key.len() + length(value)) {
                return Node::default();
            }
            match (key.as_str(), value) {
                ("type", Value::String(kind)) => node.add_type(kind),
                ("type", Value::Array(kinds)) => {
                    kinds
                        .iter()
                        .filter_map(Value::as_str)
                        .for_each(|kind| node.add_type(kind));
                }
                ("nullable", Value::Bool(nullable)) => node.nullable |= nullable,
                ("title", Value::String(text)) => node.title = Some(text.clone()),
                ("description", Value::String(text)) => node.description = Some(text.clone()),
                ("format", Value::String(format)) if FORMATS.contains(&format.as_str()) => {
                    node.format = Some(format.clone());
                }
                ("const", value) => node.add_values(std::slice::from_ref(value)),
                ("enum", Value::Array(values)) => node.add_values(values),
                ("minimum", Value::Number(_)) => node.minimum = Some(value.clone()),
                ("maximum", Value::Number(_)) => node.maximum = Some(value.clone()),
                ("exclusiveMinimum", Value::Number(bound)) => {
                    exclusive.0 = bound.as_i64().and_then(|bound| bound.checked_add(1));
                }
                ("exclusiveMaximum", Value::Number(bound)) => {
                    exclusive.1 = bound.as_i64().and_then(|bound| bound.checked_sub(1));
                }
                ("minItems", Value::Number(_)) => node.min_items = Some(value.clone()),
                ("maxItems", Value::Number(_)) => node.max_items = Some(value.clone()),
                ("minLength", Value::Number(_))
                | ("maxLength", Value::Number(_))
                | ("minProperties", Value::Number(_))
                | ("maxProperties", Value::Number(_))
                | ("pattern", Value::String(_))
                | ("default" | "example", _)
                    if self.form == Form::OpenApi =>
                {
                    node.only_open_api.insert(key.clone(), value.clone());
                }
                ("properties", Value::Object(properties)) => {
                    for (name, schema) in properties {
                        if !self.spend(name.len()) {
                            break;
                        }
                        let schema = self.child(schema);
                        node.properties.insert(name.clone(), schema);
                    }
                }
                ("required", Value::Array(names)) => node.required = strings(names),
                ("propertyOrdering", Value::Array(names)) => node.ordering = strings(names),
                ("items", Value::Array(items)) | ("prefixItems", Value::Array(items)) => {
                    self.is_lossy = true;
                    node.prefix_items = items.iter().map(|item| self.child(item)).collect();
                }
                ("items", Value::Object(_)) => node.items = Some(self.child(value)),
                ("additionalProperties", Value::Object(schema)) if !schema.is_empty() => {
                    self.is_lossy = true;
                    node.additional = Some(self.child(value));
                }
                ("additionalProperties", _) if self.form == Form::JsonSchema => {
                    node.additional = Some(Value::Bool(*value != Value::Bool(false)));
                }
                _ => {}
            }
        }
        if node.types.as_slice() == ["integer"] {
            node.minimum = node.minimum.or(exclusive.0.map(Value::from));
            node.maximum = node.maximum.or(exclusive.1.map(Value::from));
        }
        node
    }

    /// Whether so much more may be said.
    fn spend(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// What references may refer to, in JSON Schema.
    fn definitions(&mut self, root: &'s Map<String, Value>) -> Map<String, Value> {
        let mut all = Map::new();
        for key in ["$defs", "definitions"] {
            if let Some(Value::Object(definitions)) = root.get(key) {
                for (name, schema) in definitions {
                    let schema = self.child(schema);
                    all.insert(name.clone(), schema);
                }
            }
        }
        all
    }
}

/// About how long a value is as JSON. Unit: bytes.
fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(length).sum::<usize>() + 2,
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| key.len() + 4 + length(value);
            members.iter().map(member).sum::<usize>() + 2
        }
    }
}

/// A schema, member by member in the order in which it is written.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(
        rename = "type",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "one_or_all"
    )]
    types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    nullable: bool,
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    values: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_items: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_items: Option<Value>,
    /// Keywords that JSON Schema has and Gemini's subset of it has not.
    #[serde(flatten)]
    only_open_api: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prefix_items: Vec<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: Map<String, Value>,
    #[serde(
        rename = "additionalProperties",
        skip_serializing_if = "Option::is_none"
    )]
    additional: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
    #[serde(rename = "propertyOrdering", skip_serializing_if = "Vec::is_empty")]
    ordering: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    any_of: Vec<Value>,
    #[serde(rename = "$defs", skip_serializing_if = "Map::is_empty")]
    defs: Map<String, Value>,
}

impl Node {
    fn add_type(&mut self, kind: &str) {
        if kind.eq_ignore_ascii_case("null") {
            self.nullable = true;
        } else if self.types.len() < MAX_TYPES && !self.types.iter().any(|known| known == kind) {
            self.types.push(kind.to_ascii_lowercase());
        }
    }

    fn add_values(&mut self, values: &[Value]) {
        for value in values {
            if value.is_null() {
                self.nullable = true;
            } else {
                self.values.push(value.clone());
            }
        }
    }

    /// Adds what another schema for the same value says; where both speak, `self` counts.
    fn merge(&mut self, other: Self) {
        // A reference stands alone.
        if self.reference.is_some() {
            self.nullable |= other.nullable;
            return;
        }
        if other.reference.is_some() {
            let nullable = self.nullable || other.nullable;
            *self = Self { nullable, ..other };
            return;
        }
        fn fill<T>(mine: &mut Option<T>, other: Option<T>) {
            if mine.is_none() {
                *mine = other;
            }
        }
        fn fill_list<T>(mine: &mut Vec<T>, other: Vec<T>) {
            if mine.is_empty() {
                *mine = other;
            }
        }
        fill_list(&mut self.types, other.types);
        fill(&mut self.format, other.format);
        fill(&mut self.title, other.title);
        fill(&mut self.description, other.description);
        self.nullable |= other.nullable;
        fill_list(&mut self.values, other.values);
        fill(&mut self.minimum, other.minimum);
        fill(&mut self.maximum, other.maximum);
        fill(&mut self.min_items, other.min_items);
        fill(&mut self.max_items, other.max_items);
        for (key, value) in other.only_open_api {
            self.only_open_api.entry(key).or_insert(value);
        }
        fill(&mut self.items, other.items);
        fill_list(&mut self.prefix_items, other.prefix_items);
        for (name, schema) in other.properties {
            self.properties.entry(name).or_insert(schema);
        }
        fill(&mut self.additional, other.additional);
        for name in other.required {
            if !self.required.contains(&name) {
                self.required.push(name);
            }
        }
        fill_list(&mut self.ordering, other.ordering);
        fill_list(&mut self.any_of, other.any_of);
    }

    /// What both vocabularies want.
    fn complete(&mut self) {
        if self.types.is_empty() && self.any_of.is_empty() {
            let kind = if !self.properties.is_empty() || self.additional.is_some() {
                "object"
            } else if self.items.is_some() || !self.prefix_items.is_empty() {
                "array"
            } else if !self.values.is_empty() && self.values.iter().all(Value::is_string) {
                "string"
            } else {
                return;
            };
            self.types.push(kind.to_owned());
        }
    }

    fn into_open_api(mut self, cleaner: &mut Cleaner<'_>) -> Self {
        self.complete();
        let properties = &self.properties;
        self.required.retain(|name| properties.contains_key(name));
        self.ordering.retain(|name| properties.contains_key(name));
        if cleaner.is_answer && self.ordering.is_empty() && self.properties.len() > 1 {
            self.ordering = self.properties.keys().cloned().collect();
        }
        let says_all = match self.types.as_slice() {
            [] => {
                // Beside `anyOf` nothing else may stand.
                let alone = self.description.is_none()
                    && self.values.is_empty()
                    && self.properties.is_empty()
                    && self.only_open_api.keys().all(|key| key == "default");
                alone && !self.any_of.is_empty()
            }
            [kind] => {
                let has_content = match kind.as_str() {
                    "array" => self.items.is_some(),
                    "object" => !self.properties.is_empty(),
                    "boolean" | "integer" | "number" | "string" => true,
                    _ => false,
                };
                has_content
                    && self.any_of.is_empty()
                    && (self.values.is_empty()
                        || kind == "string" && self.values.iter().all(Value::is_string))
            }
            _ => false,
        };
        cleaner.is_lossy |= !says_all;
        if !self.any_of.is_empty() {
            self.title = None;
            self.only_open_api.clear();
            if std::mem::take(&mut self.nullable) {
                for alternative in self.any_of.iter_mut().filter_map(Value::as_object_mut) {
                    alternative.insert("nullable".to_owned(), Value::Bool(true));
                }
            }
        }
        self
    }

    fn into_json_schema(mut self) -> Self {
        let is_nullable = std::mem::take(&mut self.nullable);
        if self.reference.is_some() {
            let reference = std::mem::take(&mut self.reference);
            if !is_nullable {
                return Self {
                    reference,
                    ..Self::default()
                };
            }
            let target = Self {
                reference,
                ..Self::default()
            };
            self.any_of = vec![to_value(&target)];
        }
        self.complete();
        let properties = &self.properties;
        self.required.retain(|name| properties.contains_key(name));
        self.ordering.retain(|name| properties.contains_key(name));
        // > `enum` (for strings and numbers)
        if !self
            .values
            .iter()
            .all(|it| it.is_string() || it.is_number())
        {
            if self.types.is_empty() && self.values.iter().all(Value::is_boolean) {
                self.types.push("boolean".to_owned());
            }
            self.values.clear();
        }
        if is_nullable {
            if !self.types.is_empty() {
                self.types.push("null".to_owned());
            } else if !self.any_of.is_empty() {
                self.any_of.push(serde_json::json!({"type": "null"}));
            }
        }
        self
    }
}

fn is_false(it: &bool) -> bool {
    !it
}

fn one_or_all<S: serde::Serializer>(types: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match types {
        [one] => serializer.serialize_str(one),
        all => all.serialize(serializer),
    }
}

fn strings(values: &[Value]) -> Vec<String> {
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn to_value(node: &Node) -> Value {
    // Strings and values with string keys: there is nothing to fail on.
    serde_json::to_value(node).unwrap_or_default()
}

/// Formats that Gemini knows, of strings and of numbers.
///
/// > For `NUMBER` type, format can be `float` or `double`. For `INTEGER` type, format can be `int32`
/// > or `int64`.
///
/// Of strings AI Studio accepts `date-time` and `enum` alone.
const FORMATS: [&str; 6] = ["date-time", "double", "enum", "float", "int32", "int64"];

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(schema: &str) -> String {
        match clean(schema, None, false) {
            Ok(Cleaned::Empty) => "empty".to_owned(),
            Ok(Cleaned::JsonSchema(value)) => format!("json {value}"),
            Ok(Cleaned::OpenApi(value)) => format!("open {value}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn what_is_said_once_for_each_reference_is_bounded() {
        let texts = "x".repeat(100_000);
        for (count, is_cleaned) in [(5, true), (5_000, false)] {
            let properties: Vec<String> = (0..count)
                .map(|number| format!(r##""p{number}":{{"$ref":"#/properties/of/anyOf/0"}}"##))
                .collect();
            let schema = format!(
                r#"{{"type":"object","properties":{{"of":{{"anyOf":[{{"type":"string","description":"{texts}"}},{{"type":"integer"}}]}},{}}}}}"#,
                properties.join(",")
            );
            match clean(&schema, None, false) {
                Ok(_) => assert!(is_cleaned),
                Err(error) => assert_eq!((error, is_cleaned), (InvalidSchema::TooLarge, false)),
            }
        }
    }

    #[test]
    fn what_would_become_a_large_tree_is_not_read() {
        let alternatives = |count: usize| {
            let many = vec![r#"{"type":"string"}"#; count].join(",");
            format!(r#"{{"type":"object","properties":{{"a":{{"anyOf":[{many}]}}}}}}"#)
        };
        assert!(cleaned(&alternatives(5_000)).starts_with("open"));
        for schema in [
            alternatives(MAX_VALUES / 2),
            format!(r#"{{"enum":[{}1]}}"#, "1,".repeat(MAX_VALUES)),
            format!(r#"{{"description":"{}"}}"#, "a".repeat(MAX_BYTES)),
        ] {
            assert_eq!(cleaned(&schema), "TooLarge");
        }
    }

    /// `schema => what it becomes`, within `{"type":"object","properties":{"a":…}}`.
    #[test]
    fn a_property_is_cleaned() {
        for (schema, expected) in [
            (
                r#"{"type":"string","strict":true,"$id":"x","uniqueItems":true}"#,
                r#"{"type":"string"}"#,
            ),
            (
                r#"{"type":["string","null"]}"#,
                r#"{"type":"string","nullable":true}"#,
            ),
            (r#"{"const":"x"}"#, r#"{"type":"string","enum":["x"]}"#),
            (
                r#"{"enum":["x",null]}"#,
                r#"{"type":"string","nullable":true,"enum":["x"]}"#,
            ),
            (
                r#"{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":9}"#,
                r#"{"type":"integer","minimum":1,"maximum":8}"#,
            ),
            (
                r#"{"type":"number","exclusiveMinimum":0,"multipleOf":2,"minimum":-1.5}"#,
                r#"{"type":"number","minimum":-1.5}"#,
            ),
            (
                r#"{"type":"string","format":"uuid","minLength":1,"pattern":"x"}"#,
                r#"{"type":"string","minLength":1,"pattern":"x"}"#,
            ),
            (
                r#"{"type":"string","format":"date-time"}"#,
                r#"{"type":"string","format":"date-time"}"#,
            ),
            (
                r#"{"anyOf":[{"type":"string"},{"type":"null"}],"title":"T","description":"d"}"#,
                r#"{"type":"string","title":"T","description":"d","nullable":true}"#,
            ),
            (
                r#"{"oneOf":[{"type":"string"},{"type":"integer"},{"type":"null"}]}"#,
                r#"{"anyOf":[{"type":"string","nullable":true},{"type":"integer","nullable":true}]}"#,
            ),
            (
                r#"{"type":"array","items":{"type":"object","properties":{"b":{"type":"boolean"}},"additionalProperties":false,"required":["b","gone"]}}"#,
                r#"{"type":"array","items":{"type":"object","properties":{"b":{"type":"boolean"}},"required":["b"]}}"#,
            ),
            (
                r#"{"allOf":[{"type":"object","properties":{"b":{"type":"string"}},"required":["b"]},{"properties":{"c":{"type":"string"}}}]}"#,
                r#"{"type":"object","properties":{"b":{"type":"string"},"c":{"type":"string"}},"required":["b"]}"#,
            ),
            (r#"{"type":"STRING"}"#, r#"{"type":"string"}"#),
            (
                r#"{"type":"string","default":"x","examples":["y"]}"#,
                r#"{"type":"string","default":"x"}"#,
            ),
        ] {
            let whole =
                format!(r#"{{"$schema":"s","type":"object","properties":{{"a":{schema}}}}}"#);
            let wanted = format!(r#"open {{"type":"object","properties":{{"a":{expected}}}}}"#);
            assert_eq!(cleaned(&whole), wanted, "{schema}");
        }
    }

    #[test]
    fn what_open_api_cannot_say_is_said_in_json_schema() {
        for (schema, expected) in [
            (
                r#"{"type":"object","additionalProperties":{"type":"integer"}}"#,
                r#"{"type":"object","additionalProperties":{"type":"integer"}}"#,
            ),
            (
                r#"{"type":["string","integer","null"]}"#,
                r#"{"type":["string","integer","null"]}"#,
            ),
            (
                r#"{"type":"integer","enum":[1,2]}"#,
                r#"{"type":"integer","enum":[1,2]}"#,
            ),
            (r#"{"const":true}"#, r#"{"type":"boolean"}"#),
            (
                r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}],"items":false}"#,
                r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}]}"#,
            ),
            (r#"{"type":"array"}"#, r#"{"type":"array"}"#),
            (
                r#"{"type":"object","properties":{}}"#,
                r#"{"type":"object"}"#,
            ),
            (r#"{}"#, r#"{}"#),
            (r#"true"#, r#"{}"#),
            (
                r#"{"anyOf":[{"type":"string","pattern":"x"},{"type":"number"},{"type":"null"}],"description":"d"}"#,
                r#"{"description":"d","anyOf":[{"type":"string"},{"type":"number"},{"type":"null"}]}"#,
            ),
        ] {
            let whole = format!(
                r#"{{"type":"object","properties":{{"a":{schema}}},"additionalProperties":false}}"#
            );
            let wanted = format!(
                r#"json {{"type":"object","properties":{{"a":{expected}}},"additionalProperties":false}}"#
            );
            assert_eq!(cleaned(&whole), wanted, "{schema}");
        }
    }

    #[test]
    fn a_reference_is_replaced() {
        assert_eq!(
            cleaned(
                r##"{"$defs":{"P":{"type":"object","properties":{"n":{"type":"string"}}}},"type":"object","properties":{"a":{"$ref":"#/$defs/P","description":"d"},"b":{"type":"array","items":{"$ref":"#/$defs/P"}}}}"##
            ),
            r#"open {"type":"object","properties":{"a":{"type":"object","description":"d","properties":{"n":{"type":"string"}}},"b":{"type":"array","items":{"type":"object","properties":{"n":{"type":"string"}}}}}}"#
        );
        assert_eq!(
            cleaned(
                r##"{"$ref":"#/definitions/P","definitions":{"P":{"type":"object","properties":{"n":{"type":"string"}}}}}"##
            ),
            r#"open {"type":"object","properties":{"n":{"type":"string"}}}"#
        );
    }

    #[test]
    fn a_schema_that_contains_itself_keeps_its_references() {
        assert_eq!(
            cleaned(
                r##"{"type":"object","properties":{"root":{"$ref":"#/definitions/N"}},"definitions":{"N":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/definitions/N"},{"type":"null"}]}}}}}"##
            ),
            r##"json {"type":"object","properties":{"root":{"$ref":"#/$defs/N"}},"$defs":{"N":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/N"},{"type":"null"}]}}}}}"##
        );
        // Other ways of containing itself end in a schema that says nothing.
        assert_eq!(
            cleaned(r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##),
            r##"json {"type":"object","properties":{"a":{"type":"object","properties":{"a":{}}}}}"##
        );
        assert_eq!(
            cleaned(r##"{"type":"object","properties":{"a":{"$ref":"https://x/y"}}}"##),
            r#"json {"type":"object","properties":{"a":{}}}"#
        );
    }

    #[test]
    fn a_schema_that_says_nothing_is_empty() {
        for schema in [
            "{}",
            r#"{"type":"object"}"#,
            r#"{"type":"object","properties":{},"additionalProperties":false,"required":[]}"#,
        ] {
            assert_eq!(cleaned(schema), "empty", "{schema}");
        }
        for schema in ["[]", "null", "true", "1"] {
            assert_eq!(cleaned(schema), "NotAnObject", "{schema}");
        }
    }

    #[test]
    fn an_answer_is_written_in_the_order_of_its_properties() {
        let schema =
            r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#;
        let Ok(Cleaned::OpenApi(value)) = clean(schema, None, true) else {
            panic!("{schema}");
        };
        assert_eq!(value["propertyOrdering"], serde_json::json!(["z", "a"]));
    }

    #[test]
    fn references_cannot_make_a_schema_huge() {
        // Twenty definitions, each twice the one before: a million schemas.
        let mut properties =
            String::from(r##"{"type":"object","properties":{"x":{"$ref":"#/p/p0"}},"p":{"##);
        for i in 0..20 {
            let next = i + 1;
            properties += &format!(
                r##""p{i}":{{"type":"object","properties":{{"l":{{"$ref":"#/p/p{next}"}},"r":{{"$ref":"#/p/p{next}"}}}}}},"##
            );
        }
        properties += r#""p20":{"type":"string"}}}"#;
        assert_eq!(cleaned(&properties), "TooLarge");
        // As definitions they are kept as references.
        assert!(
            cleaned(
                &properties
                    .replace("#/p/", "#/$defs/")
                    .replace("\"p\":", "\"$defs\":")
            )
            .starts_with("json")
        );
        let deep = r#"{"items":"#.repeat(60) + "{}" + &"}".repeat(60);
        assert!(cleaned(&deep).starts_with("json"));
        let deep = r#"{"items":"#.repeat(100_000) + "{}" + &"}".repeat(100_000);
        assert_eq!(cleaned(&deep), "NotAnObject");
    }

    #[test]
    fn mutated_schemas_give_a_schema_or_an_error() {
        const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
        let seeds = [
            r##"{"$defs":{"N":{"type":["object","null"],"properties":{"n":{"$ref":"#/$defs/N"}},"required":["n"]}},"anyOf":[{"$ref":"#/$defs/N"},{"allOf":[{"const":1},{"enum":["a",null]}]}],"additionalProperties":{"items":[true]}}"##,
            r##"{"type":"object","properties":{"a":{"$ref":"#/properties/b"},"b":{"$ref":"#/properties/a"},"c":{"oneOf":[{"type":"null"}]}}}"##,
        ];
        let words = [
            "\"type\"",
            "\"$ref\"",
            "\"#\"",
            "{}",
            "[]",
            "null",
            "1",
            "\"allOf\"",
            "\"#/$defs/N\"",
        ];
        let mut state = SEED;
        let mut next = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        };
        for round in 0..3_000 {
            let mut text = seeds[round % 2].to_owned();
            for _ in 0..=next(3) {
                let tokens: Vec<_> = text
                    .match_indices(['"', '{', '['])
                    .map(|(at, _)| at)
                    .collect();
                if tokens.is_empty() {
                    break;
                }
                let at = tokens[next(tokens.len())];
                let rest = text.as_bytes().iter().skip(at + 1);
                let length = rest.take_while(|it| !b",:}]".contains(it)).count();
                let end = at + 1 + length;
                text.replace_range(at..end, words[next(words.len())]);
            }
            assert_eq!(
                clean(&text, None, true),
                clean(&text, None, true),
                "seed {SEED:#x} round {round}: {text}"
            );
        }
    }
}
