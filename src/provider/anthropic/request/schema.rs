//! JSON Schema as Anthropic takes it.
//!
//! An answer's schema, and that of a strict tool, are brought into the form into which Anthropic's
//! own SDK brings them (`anthropic` 2.14.0, `lib/_parse/_transform.py`): it has nothing left to change
//! in what `Schema::write` writes. What the API does not take goes into the description, where the
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

use std::fmt;

use crate::json::{Layout, Member, NoLayout, Piece, Quoted, Raw, Reader, Union, Value, Writer};
use crate::provider::dialect::{MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_SCHEMA_VALUES};

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
                "the schema is longer than {MAX_SCHEMA_BYTES} bytes, has more than \
                 {MAX_SCHEMA_VALUES} values, or is nested deeper than {MAX_SCHEMA_DEPTH}"
            ),
        }
    }
}

/// A schema as it is sent. It is written whenever it is needed, so it takes little memory.
#[derive(Debug)]
pub(super) enum Schema<'s> {
    /// Every keyword that the API does not take is in a description.
    Acceptable {
        layout: Layout<'s>,
        description: Option<&'s str>,
        is_of_tool: bool,
    },
    /// Whatever it says.
    AsItIs(&'s str),
    /// In the form of draft 2020-12, and without alternatives at the top level.
    Modern(Layout<'s>),
    /// Its `type` is missing.
    Untyped(&'s str),
}

/// A schema of an answer.
///
/// # Errors
///
/// When it is no object, or too large.
pub(super) fn of_answer<'s>(
    schema: &'s str,
    description: Option<&'s str>,
) -> Result<Schema<'s>, InvalidSchema> {
    Ok(Schema::Acceptable {
        layout: layout(schema)?,
        description,
        is_of_tool: false,
    })
}

/// A schema of a tool's arguments, with the `type` that is required here and that OpenAI takes as
/// understood.
///
/// # Errors
///
/// When it is no object, or too large.
pub(super) fn of_tool(schema: Option<&str>, is_strict: bool) -> Result<Schema<'_>, InvalidSchema> {
    let Some(text) = schema else {
        return Ok(Schema::AsItIs(NO_ARGUMENTS));
    };
    if is_strict {
        return Ok(Schema::Acceptable {
            layout: layout(text)?,
            description: None,
            is_of_tool: true,
        });
    }
    // What the API has something against, at the top level.
    let (mut kind, mut is_combined, mut is_empty) = (None, false, true);
    let mut reader = Reader::new(text.as_bytes());
    let read = reader.object(&mut |reader, key| {
        is_empty = false;
        match key.bytes() {
            b"type" => kind = Some(reader.value::<Raw<'_>>()?),
            b"anyOf" | b"oneOf" | b"allOf" if !reader.null()? => {
                is_combined = true;
                reader.skip()?;
            }
            b"anyOf" | b"oneOf" | b"allOf" => {}
            _ => _ = reader.skip()?,
        }
        Ok(())
    });
    read.map_err(|_| InvalidSchema::NotAnObject)?;
    if is_combined || has_old_keywords(text) {
        return Ok(Schema::Modern(layout(text)?));
    }
    match kind.map(Raw::get) {
        Some("\"object\"") => Ok(Schema::AsItIs(text)),
        None if is_empty => Ok(Schema::AsItIs(NO_ARGUMENTS)),
        None => Ok(Schema::Untyped(text)),
        Some(_) => Ok(Schema::Modern(layout(text)?)),
    }
}

impl Schema<'_> {
    /// Writes it.
    pub(super) fn write(&self, json: &mut Writer) {
        match self {
            Self::Acceptable {
                layout,
                description,
                is_of_tool,
            } => {
                let root = Root {
                    description: *description,
                    is_of_tool: *is_of_tool,
                };
                write_acceptable(layout.root(), Some(root), json);
            }
            Self::AsItIs(text) => json.raw(text),
            Self::Modern(layout) => write_modern_tool(layout, json),
            Self::Untyped(text) => {
                let inside = text
                    .trim_ascii_start()
                    .strip_prefix('{')
                    .unwrap_or_default();
                json.raw_of(&[r#"{"type":"object","#, inside.trim_ascii_start()]);
            }
        }
    }
}

fn layout(schema: &str) -> Result<Layout<'_>, InvalidSchema> {
    if schema.len() > MAX_SCHEMA_BYTES {
        return Err(InvalidSchema::TooLarge);
    }
    let layout = Layout::new(schema.as_bytes(), MAX_SCHEMA_VALUES, MAX_SCHEMA_DEPTH);
    match layout {
        Ok(layout) if layout.root().is_object() => Ok(layout),
        Ok(_) | Err(NoLayout::Invalid) => Err(InvalidSchema::NotAnObject),
        Err(NoLayout::TooLarge) => Err(InvalidSchema::TooLarge),
    }
}

// === what the API takes without changes ===

/// What is known of the schema at the root.
#[derive(Clone, Copy)]
struct Root<'s> {
    /// Where it has none of its own.
    description: Option<&'s str>,
    is_of_tool: bool,
}

/// A schema below another is an object, or `true` and `false`, which take anything and nothing.
fn write_acceptable(schema: Value<'_>, root: Option<Root<'_>>, json: &mut Writer) {
    let only = only_all_of(schema);
    let union = only.map(|only| Union::new(schema.whole(), [schema, only].into_iter()));
    let view = View {
        schema,
        merged: only.zip(union.as_ref()),
        kind: root.filter(|it| it.is_of_tool).map(|_| "object"),
        is_variant: false,
        root,
    };
    view.write(json);
}

/// An `allOf` of one schema is how some generators describe a reference.
fn only_all_of(schema: Value<'_>) -> Option<Value<'_>> {
    if schema.get("$ref").is_some() {
        return None;
    }
    let mut all = schema.get("allOf")?.items();
    let only = all.next().filter(|_| all.next().is_none())?;
    let stands_alone = only.get("$ref").is_some() || only.get("allOf").is_some();
    (only.is_object() && !stands_alone).then_some(only)
}

/// The members of a schema that count.
#[derive(Clone, Copy)]
struct View<'v, 's> {
    schema: Value<'s>,
    /// Its only `allOf`, and the members of both.
    merged: Option<(Value<'s>, &'v Union<'s>)>,
    /// Its type, whatever it says.
    kind: Option<&'static str>,
    /// Whether only the keywords count that belong to this type.
    is_variant: bool,
    root: Option<Root<'s>>,
}

impl<'s> View<'_, 's> {
    fn members(self) -> impl Iterator<Item = Member<'s>> + Clone {
        let own = self.schema.members();
        let own = own.filter(move |it| self.merged.is_none() || it.name_text() != b"allOf");
        let merged = self.merged.into_iter().flat_map(|(it, _)| it.members());
        own.chain(merged).filter(move |member| {
            let is_first = self.merged.is_none_or(|(_, union)| union.has(member));
            let belongs = match (self.is_variant, self.kind) {
                (true, Some(kind)) => belongs(member.name_text(), kind),
                _ => true,
            };
            is_first && belongs
        })
    }

    fn write(self, json: &mut Writer) {
        let said = Said::by(self);
        json.open_object();
        said.write_definitions(json);
        if said.has_reference {
            if let Some(reference) = said.reference.and_then(Value::quoted) {
                let text = reference.text();
                let name = text.strip_prefix(b"#/definitions/").map(Quoted::checked);
                json.key("$ref").string_pieces(&match name {
                    Some(name) => [Piece::Plain("#/$defs/"), Piece::Quoted(name)],
                    None => [Piece::Plain(""), Piece::Quoted(reference)],
                });
            }
            return json.close_object();
        }
        let kind = said.kind(self.kind);
        match kind {
            Kind::Combined(name) => {
                json.key(if name == "allOf" { "allOf" } else { "anyOf" })
                    .open_array();
                for variant in said.combined(name).into_iter().flat_map(Value::items) {
                    write_acceptable(variant, None, json);
                }
                json.close_array();
            }
            Kind::Literal => {
                for (name, value) in [("enum", said.values), ("const", said.constant)] {
                    if let Some(value) = value {
                        json.key(name).compact(value.raw());
                    }
                }
            }
            Kind::Many(kinds) => {
                json.key("anyOf").open_array();
                for kind in kinds.into_iter().flatten() {
                    let variant = Self {
                        kind: Some(kind),
                        is_variant: true,
                        root: None,
                        ..self
                    };
                    variant.write(json);
                }
                json.close_array();
            }
            Kind::One(kind) => json.key("type").string(kind),
        }
        let notes = self
            .members()
            .filter(|it| said.is_noted(it, kind, self.root));
        let own = said.description.map(Description::Value);
        let given = self
            .root
            .and_then(|it| it.description)
            .map(Description::Text);
        write_description(own.or(given), notes, json);
        if let Some(title) = said.title.filter(|it| !it.is_null()) {
            json.key("title").compact(title.raw());
        }
        match kind {
            Kind::One("object") => said.write_object(json),
            Kind::One("string") => {
                if let Some(format) = said.format {
                    json.key("format").compact(format.raw());
                }
            }
            Kind::One("array") => {
                if let Some(items) = said.items {
                    write_acceptable(items, None, json.key("items"));
                }
                if let Some(least) = said.min_items {
                    json.key("minItems").compact(least.raw());
                }
            }
            _ => {}
        }
        json.close_object();
    }
}

/// What a schema says, by the keywords that mean something here.
#[derive(Default)]
struct Said<'s> {
    /// `$defs`, `definitions`.
    definitions: [Option<Value<'s>>; 2],
    has_reference: bool,
    reference: Option<Value<'s>>,
    /// Those of [`COMBINING`] that combine something.
    combining: [Option<Value<'s>>; COMBINING.len()],
    /// `enum` and `const`, where their values are scalar.
    values: Option<Value<'s>>,
    constant: Option<Value<'s>>,
    types: Option<Value<'s>>,
    description: Option<Value<'s>>,
    title: Option<Value<'s>>,
    properties: Option<Value<'s>>,
    required: Option<Value<'s>>,
    /// What is known to the API.
    format: Option<Value<'s>>,
    items: Option<Value<'s>>,
    min_items: Option<Value<'s>>,
    /// The first of [`IMPLIED`] that is there.
    implied: Option<usize>,
}

impl<'s> Said<'s> {
    fn by(view: View<'_, 's>) -> Self {
        let mut said = Self::default();
        for member in view.members() {
            let (name, value) = (member.name_text(), member.value);
            let implied = IMPLIED.iter().position(|(it, _)| it.as_bytes() == name);
            said.implied = match (said.implied, implied) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let place = match name {
                b"$defs" => said.definitions.first_mut(),
                b"definitions" => said.definitions.last_mut(),
                b"$ref" => {
                    said.has_reference |= value.quoted().is_some();
                    Some(&mut said.reference)
                }
                b"type" => Some(&mut said.types),
                b"description" => Some(&mut said.description),
                b"title" => Some(&mut said.title),
                b"properties" if value.is_object() => Some(&mut said.properties),
                b"required" if value.is_array() => Some(&mut said.required),
                b"enum" if value.items().next().is_some() && value.items().all(is_scalar) => {
                    Some(&mut said.values)
                }
                b"const" if is_scalar(value) => Some(&mut said.constant),
                b"format" if STRING_FORMATS.iter().any(|it| value.is(it)) => Some(&mut said.format),
                b"items" if value.is_object() || value.bool().is_some() => Some(&mut said.items),
                b"minItems" if matches!(value.integer(), Some(0 | 1)) => Some(&mut said.min_items),
                name => COMBINING
                    .iter()
                    .position(|it| it.as_bytes() == name)
                    .filter(|_| value.items().next().is_some())
                    .and_then(|at| said.combining.get_mut(at)),
            };
            if let Some(place) = place {
                place.get_or_insert(value);
            }
        }
        said
    }

    fn combined(&self, name: &str) -> Option<Value<'s>> {
        let at = COMBINING.iter().position(|it| *it == name)?;
        self.combining.get(at).copied().flatten()
    }

    fn has_properties(&self) -> bool {
        self.properties
            .is_some_and(|it| it.members().next().is_some())
    }

    /// `declared`: the type, whatever the schema says.
    fn kind(&self, declared: Option<&'static str>) -> Kind {
        if self.values.is_some() || self.constant.is_some() {
            return Kind::Literal;
        }
        if self.has_properties() {
            return Kind::One("object");
        }
        if let Some(name) = COMBINING.into_iter().find(|it| self.combined(it).is_some()) {
            return Kind::Combined(name);
        }
        let mut kinds = [None; TYPES.len()];
        let types = self.types.filter(|_| declared.is_none());
        let names = types.into_iter().flat_map(|it| {
            let only = Some(it).filter(|it| !it.is_array());
            only.into_iter().chain(it.items())
        });
        let known = names.filter_map(|name| TYPES.into_iter().find(|it| name.is(it)));
        for kind in declared.into_iter().chain(known) {
            if !kinds.contains(&Some(kind))
                && let Some(free) = kinds.iter_mut().find(|it| it.is_none())
            {
                *free = Some(kind);
            }
        }
        match kinds {
            [Some(kind), None, ..] => Kind::One(kind),
            [Some(_), Some(_), ..] => Kind::Many(kinds),
            _ => match self.implied.and_then(|at| IMPLIED.get(at)) {
                Some((_, kind)) => Kind::One(kind),
                None => Kind::Many(SCALARS),
            },
        }
    }

    /// Whether a member goes into the description.
    fn is_noted(&self, member: &Member<'_>, kind: Kind, root: Option<Root<'_>>) -> bool {
        let value = member.value;
        let is = |kept: Option<Value<'_>>| kept.is_some_and(|it| it.at() == value.at());
        match (member.name_text(), kind) {
            (
                b"$defs" | b"definitions" | b"$schema" | b"$id" | b"$anchor" | b"$comment"
                | b"$ref" | b"type" | b"description" | b"title",
                _,
            ) => false,
            (b"strict", _) if root.is_some() => false,
            (b"enum", _) => !is(self.values),
            (b"const", _) => !is(self.constant),
            (name, Kind::Combined(combined)) => {
                name != combined.as_bytes() || !is(self.combined(combined))
            }
            (name, Kind::Many(_)) => name == b"default",
            (b"properties" | b"required", Kind::One("object")) => false,
            // A map has no closed form: the schema of its values is described.
            (b"additionalProperties", Kind::One("object")) => {
                value.is_object() && !self.has_properties()
            }
            (b"format", Kind::One("string")) => !is(self.format),
            (b"items", Kind::One("array")) => !is(self.items),
            (b"minItems", Kind::One("array")) => !is(self.min_items),
            _ => true,
        }
    }

    fn write_definitions(&self, json: &mut Writer) {
        let mut all = self
            .definitions
            .into_iter()
            .flatten()
            .filter(|it| it.is_object());
        let Some(first) = all.next() else {
            return;
        };
        json.key("$defs").open_object();
        for member in std::iter::once(first).chain(all).flat_map(Value::members) {
            json.quoted_key(member.name());
            write_acceptable(member.value, None, json);
        }
        json.close_object();
    }

    fn write_object(&self, json: &mut Writer) {
        let declared = self.properties.into_iter();
        json.key("properties").open_object();
        for property in declared.clone().flat_map(Value::members) {
            json.quoted_key(property.name());
            write_acceptable(property.value, None, json);
        }
        json.close_object();
        json.key("additionalProperties").bool(false);
        if let Some(required) = self.required {
            json.key("required").open_array();
            if let Some(declared) = self.properties {
                let properties = Union::new(declared.whole(), std::iter::once(declared));
                let names = required.items().filter_map(Value::quoted);
                let known = names.filter(|it| properties.position(*it).is_some());
                known.for_each(|it| json.quoted(it));
            }
            json.close_array();
        }
    }
}

/// What says of which kind a schema is.
#[derive(Clone, Copy)]
enum Kind {
    /// One of [`COMBINING`].
    Combined(&'static str),
    /// `enum` or `const`.
    Literal,
    Many([Option<&'static str>; TYPES.len()]),
    One(&'static str),
}

/// Whether a keyword belongs to a type.
fn belongs(keyword: &[u8], kind: &str) -> bool {
    IMPLIED.iter().any(|(it, of)| {
        it.as_bytes() == keyword && (*of == kind || *of == "number" && kind == "integer")
    })
}

fn is_scalar(value: Value<'_>) -> bool {
    !value.is_array() && !value.is_object()
}

/// What is said of a schema.
enum Description<'s> {
    Text(&'s str),
    Value(Value<'s>),
}

/// Writes a description, with what the API does not take behind it.
fn write_description<'s>(
    description: Option<Description<'s>>,
    notes: impl Iterator<Item = Member<'s>>,
    json: &mut Writer,
) {
    let mut notes = notes.peekable();
    let text = match &description {
        None => None,
        Some(Description::Text(text)) => Some(Piece::Plain(text)),
        Some(Description::Value(value)) => match value.quoted() {
            Some(text) => Some(Piece::Quoted(text)),
            None if value.is_null() => None,
            None if notes.peek().is_some() => None,
            None => return json.key("description").compact(value.raw()),
        },
    };
    if text.is_none() && notes.peek().is_none() {
        return;
    }
    json.key("description").open_string();
    if let Some(text) = text {
        json.piece(text);
    }
    if notes.peek().is_some() {
        let start = if text.is_some() { "\n\n{" } else { "{" };
        json.piece(Piece::Plain(start));
        for (index, note) in notes.enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            json.piece(Piece::Plain(comma));
            json.piece(Piece::Quoted(note.name()));
            json.piece(Piece::Plain(": "));
            match note.value.quoted() {
                Some(text) => json.piece(Piece::Quoted(text)),
                None => json.text_in_string(|json| json.compact(note.value.raw())),
            }
        }
        json.piece(Piece::Plain("}"));
    }
    json.close_string();
}

// === draft 2020-12 ===

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

/// A tool's schema. One whose alternatives stand at the top level keeps the properties of all of them.
///
/// > input_schema does not support oneOf, allOf, or anyOf at the top level
fn write_modern_tool(layout: &Layout<'_>, json: &mut Writer) {
    let root = layout.root();
    let own = root.get("properties");
    let variants = COMBINING
        .into_iter()
        .filter_map(|it| root.get(it))
        .flat_map(Value::items);
    let of_variants = variants.filter_map(|it| it.get("properties"));
    json.open_object();
    json.key("type").string("object");
    match own {
        Some(other) if !other.is_object() => json.key("properties").compact(other.raw()),
        _ => {
            let objects = own.into_iter().chain(of_variants);
            let all = Union::new(layout, objects.clone());
            json.key("properties").open_object();
            for property in objects.flat_map(Value::members).filter(|it| all.has(it)) {
                write_modern(property.value, json.quoted_key(property.name()));
            }
            json.close_object();
        }
    }
    let is_combining = |it: &Member<'_>| {
        COMBINING
            .iter()
            .any(|name| name.as_bytes() == it.name_text())
    };
    let notes = root
        .members()
        .filter(|it| is_combining(it) && it.value.is_array());
    write_description(root.get("description").map(Description::Value), notes, json);
    write_modern_members(root, json, &mut |it| {
        is_combining(it) || matches!(it.name_text(), b"type" | b"properties" | b"description")
    });
    json.close_object();
}

/// Writes a value with its keywords in the form of draft 2020-12.
///
/// > tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12
fn write_modern(value: Value<'_>, json: &mut Writer) {
    if value.is_object() {
        json.open_object();
        write_modern_members(value, json, &mut |_| false);
        json.close_object();
    } else if value.is_array() {
        json.open_array();
        value.items().for_each(|it| write_modern(it, json));
        json.close_array();
    } else {
        json.compact(value.raw());
    }
}

fn write_modern_members(
    object: Value<'_>,
    json: &mut Writer,
    is_left_out: &mut dyn FnMut(&Member<'_>) -> bool,
) {
    let limits = [
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ];
    let has_tuple = object.get("items").is_some_and(Value::is_array);
    for member in object.members() {
        if is_left_out(&member) {
            continue;
        }
        let (name, value) = (member.name_text(), member.value);
        let exclusive = limits.iter().find(|(_, it)| it.as_bytes() == name);
        let inclusive = limits.iter().find(|(it, _)| it.as_bytes() == name);
        if let (Some((inclusive, exclusive)), Some(is_exclusive)) = (exclusive, value.bool()) {
            if let Some(limit) = object.get(inclusive).filter(|_| is_exclusive) {
                json.key(exclusive).compact(limit.raw());
            }
            continue;
        }
        if let Some((_, exclusive)) = inclusive
            && object.get(exclusive).and_then(Value::bool) == Some(true)
        {
            continue;
        }
        match name {
            b"required" if value.bool().is_some() => {}
            b"prefixItems" if has_tuple => {}
            b"items" if has_tuple => write_modern(value, json.key("prefixItems")),
            // These are values, not schemas.
            b"const" | b"default" | b"enum" | b"examples" => {
                json.quoted_key(member.name()).compact(value.raw());
            }
            _ => write_modern(value, json.quoted_key(member.name())),
        }
    }
}

/// Keywords that combine schemas.
const COMBINING: [&str; 3] = ["anyOf", "oneOf", "allOf"];

const TYPES: [&str; 7] = [
    "object", "array", "string", "integer", "number", "boolean", "null",
];

/// What a schema without any type stands for.
const SCALARS: [Option<&'static str>; TYPES.len()] = [
    Some("string"),
    Some("number"),
    Some("boolean"),
    Some("null"),
    None,
    None,
    None,
];

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

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(text: &str) -> String {
        written(&of_answer(text, None).unwrap())
    }

    fn of_tool(schema: Option<&str>, is_strict: bool) -> String {
        written(&super::of_tool(schema, is_strict).unwrap())
    }

    fn written(schema: &Schema<'_>) -> String {
        let mut json = Writer::default();
        schema.write(&mut json);
        String::from_utf8(json.into_bytes()).unwrap()
    }

    fn value(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
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
            assert_eq!(of_tool(Some(schema), false), expected);
        }
        assert_eq!(of_tool(None, true), NO_ARGUMENTS);
        let strict = r#"{"properties":{"a":{"type":"string"}}}"#;
        assert_eq!(
            of_tool(Some(strict), true),
            r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#
        );
    }

    #[test]
    fn depth_length_and_values_are_errors() {
        for (schema, error) in [
            (
                format!("{}{}", r#"{"items":"#.repeat(110), "{}") + &"}".repeat(110),
                InvalidSchema::TooLarge,
            ),
            (
                format!(r#"{{"description":"{}"}}"#, "x".repeat(MAX_SCHEMA_BYTES)),
                InvalidSchema::TooLarge,
            ),
            (
                format!(r#"{{"enum":[{}1]}}"#, "1,".repeat(MAX_SCHEMA_VALUES)),
                InvalidSchema::TooLarge,
            ),
            ("[]".to_owned(), InvalidSchema::NotAnObject),
        ] {
            assert_eq!(of_answer(&schema, None).err(), Some(error));
        }
    }

    #[test]
    fn a_type_that_is_named_often_is_one_alternative() {
        let often = vec!["\"string\""; 1000].join(",");
        let schema = format!(r#"{{"type":["null",{often}],"pattern":"x"}}"#);
        let expected =
            r#"{"anyOf":[{"type":"null"},{"type":"string","description":"{pattern: x}"}]}"#;
        assert_eq!(transformed(&schema), expected);
    }
}
