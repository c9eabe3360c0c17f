//! JSON Schema, cut down to what Gemini takes.
//!
//! Sources, read 2026-11-21: <https://ai.google.dev/api/caching#Schema> for [`Form::OpenApi`],
//! <https://ai.google.dev/api/generate-content#generationconfig> (`responseJsonSchema`) for
//! [`Form::JsonSchema`], <https://ai.google.dev/gemini-api/docs/structured-output>.
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

use std::ops::Range;

use crate::json::{Layout, NoLayout, Piece, Quoted, Union, Value, Writer};
use crate::provider::dialect::{MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_SCHEMA_VALUES};

/// A schema that Gemini takes. It is written whenever it is needed, so it takes little memory.
#[derive(Debug)]
pub struct Cleaned<'s> {
    layout: Layout<'s>,
    description: Option<&'s str>,
    is_answer: bool,
    form: Form,
}

/// In which vocabulary a schema is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For `parametersJsonSchema` and `responseJsonSchema`.
    JsonSchema,
    /// For `parameters` and `responseSchema`.
    OpenApi,
}

/// A schema that cannot be cleaned. Caused by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSchema {
    /// It is not a JSON object.
    NotAnObject,
    /// It is longer than [`MAX_SCHEMA_BYTES`], has more than [`MAX_SCHEMA_VALUES`] values or is nested deeper
    /// than `MAX_SCHEMA_DEPTH`; or with its references replaced it has grown by more than [`Growth`]
    /// allows.
    TooLarge,
}

impl std::fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAnObject => write!(f, "the schema is not a JSON object"),
            Self::TooLarge => write!(
                f,
                "the schema has more than {MAX_SCHEMA_VALUES} values, is nested deeper than \
                 {MAX_SCHEMA_DEPTH}, or is longer than {MAX_SCHEMA_BYTES} bytes, maybe with its \
                 references replaced"
            ),
        }
    }
}

/// How much larger the schemas of one request may become together: what a reference refers to is
/// written once for each.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Unit: bytes of names and values.
    bytes: usize,
    /// Unit: schemas.
    nodes: usize,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            bytes: MAX_SCHEMA_BYTES,
            nodes: MAX_GROWTH_NODES,
        }
    }
}

/// Reads a schema. The result depends on the text, and on what is left of `growth`, alone.
///
/// `description` is that of the root, where it has none of its own. `None`: the schema says nothing,
/// it is an object without properties. The member is to be left out.
///
/// `is_answer`: whether the order of properties is the order in which the model writes them.
///
/// # Errors
///
/// When the text is no object, or too large.
pub fn clean<'s>(
    schema: &'s str,
    description: Option<&'s str>,
    is_answer: bool,
    growth: &mut Growth,
) -> Result<Option<Cleaned<'s>>, InvalidSchema> {
    if schema.len() + description.map_or(0, str::len) > MAX_SCHEMA_BYTES {
        return Err(InvalidSchema::TooLarge);
    }
    let layout = Layout::new(schema.as_bytes(), MAX_SCHEMA_VALUES, MAX_SCHEMA_DEPTH);
    let layout = layout.map_err(|error| match error {
        NoLayout::Invalid => InvalidSchema::NotAnObject,
        NoLayout::TooLarge => InvalidSchema::TooLarge,
    })?;
    if !layout.root().is_object() {
        return Err(InvalidSchema::NotAnObject);
    }
    if says_nothing(layout.root()) {
        return Ok(None);
    }
    let mut cleaned = Cleaned {
        layout,
        description,
        is_answer,
        form: Form::OpenApi,
    };
    for form in [Form::OpenApi, Form::JsonSchema] {
        cleaned.form = form;
        let mut cleaner = Cleaner::new(&cleaned, *growth);
        // It is only counted.
        cleaner.root(&mut Writer::bounded(0));
        let is_lost = cleaner.is_exhausted || cleaner.is_lossy && form == Form::OpenApi;
        // What has been tried is paid for, too: it takes the same time.
        growth.bytes = growth.bytes.min(cleaner.left.bytes);
        growth.nodes = growth.nodes.min(cleaner.left.nodes);
        if !is_lost {
            return Ok(Some(cleaned));
        }
    }
    Err(InvalidSchema::TooLarge)
}

impl Cleaned<'_> {
    /// In which vocabulary it is written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Writes it.
    pub fn write(&self, json: &mut Writer) {
        // It has been counted before, within what there was.
        let unlimited = Growth {
            bytes: usize::MAX / 2,
            nodes: usize::MAX / 2,
        };
        Cleaner::new(self, unlimited).root(json);
    }
}

/// Whether a schema is that of any object.
fn says_nothing(root: Value<'_>) -> bool {
    root.members().all(|it| match it.name_text() {
        b"type" => it.value.is("object"),
        b"properties" => it.value.is_object() && it.value.members().next().is_none(),
        b"$ref" | b"allOf" | b"anyOf" | b"oneOf" | b"additionalProperties" => {
            it.value.bool().is_some()
        }
        b"enum" | b"const" | b"items" => false,
        _ => true,
    })
}

/// Writes the schemas of one text.
struct Cleaner<'s> {
    layout: &'s Layout<'s>,
    description: Option<&'s str>,
    form: Form,
    is_answer: bool,
    /// The schemas that are being written, outermost first, each with those that it is merged with.
    ///
    /// sources.len() <= MAX_SOURCES
    sources: Vec<Source>,
    /// The references that led to them, each with the one that led to it.
    references: Vec<(Quoted<'s>, Option<u32>)>,
    depth: usize,
    /// What may still be visited.
    left: Growth,
    /// How many members may still be looked at to find what references refer to.
    steps: usize,
    /// Whether OpenAPI cannot say what the schema says.
    is_lossy: bool,
    is_exhausted: bool,
}

/// A schema that is being written.
#[derive(Clone, Copy)]
struct Source {
    /// Where it starts.
    at: u32,
    /// The innermost reference that led to it.
    by: Option<u32>,
}

/// A schema, and the innermost reference that led to it.
type Reached<'s> = (Value<'s>, Option<u32>);

impl<'s> Cleaner<'s> {
    fn new(cleaned: &'s Cleaned<'_>, growth: Growth) -> Self {
        let length = cleaned.layout.root().length();
        Self {
            layout: &cleaned.layout,
            description: cleaned.description,
            form: cleaned.form,
            is_answer: cleaned.is_answer,
            sources: Vec::new(),
            references: Vec::new(),
            depth: 0,
            left: Growth {
                bytes: growth.bytes + length + cleaned.description.map_or(0, str::len),
                // No schema is shorter than two bytes.
                nodes: growth.nodes + length / 2,
            },
            steps: MIN_STEPS + length,
            is_lossy: false,
            is_exhausted: false,
        }
    }

    fn root(&mut self, json: &mut Writer) {
        let root = self.layout.root();
        self.schema((root, None), Place::Root, json);
    }

    /// Writes a schema, with what it refers to and what it combines.
    fn schema(&mut self, schema: Reached<'s>, place: Place, json: &mut Writer) {
        let (sources, references) = (self.sources.len(), self.references.len());
        let mut node = Node::default();
        self.gather(schema, &mut node);
        if place == Place::Root {
            node.description = node.description.or(self.description.map(Piece::Plain));
        }
        node.nullable |= place == Place::NullableAlternative;
        self.depth += 1;
        json.open_object();
        if !self.is_over() {
            let sources = sources..self.sources.len();
            match self.form {
                Form::JsonSchema => self.json_schema(node, sources, json),
                Form::OpenApi => self.open_api(node, sources, json),
            }
            if place == Place::Root && self.form == Form::JsonSchema {
                self.definitions(json);
            }
        }
        json.close_object();
        self.depth -= 1;
        self.sources.truncate(sources);
        self.references.truncate(references);
    }

    /// Whether nothing has to be known of the rest: it is too large, or the other form is needed.
    fn is_over(&self) -> bool {
        self.is_exhausted || self.is_lossy && self.form == Form::OpenApi
    }

    /// Notes what a schema says, and after it what those say that it is merged with: where two speak
    /// of the same, the first counts.
    fn gather(&mut self, (schema, by): Reached<'s>, node: &mut Node<'s>) {
        match self.left.nodes.checked_sub(1) {
            Some(left) if self.depth < MAX_DEPTH && self.sources.len() < MAX_SOURCES => {
                self.left.nodes = left;
            }
            _ => self.is_exhausted = true,
        }
        if !schema.is_object() {
            // `true`, `false`: anything, nothing.
            self.is_lossy = true;
        }
        if self.is_over() {
            return;
        }
        self.depth += 1;
        // The whole is shorter than a megabyte.
        let at = schema.at() as u32;
        self.sources.push(Source { at, by });
        let (mut reference, mut all_of) = (None, None);
        let mut has_alternatives = false;
        let has_types = !node.types.is_empty();
        for member in schema.members() {
            let (name, value) = (member.name_text(), member.value);
            let is_counted_inside = CONTAINERS.iter().any(|it| it.as_bytes() == name);
            let length = if is_counted_inside { 0 } else { value.length() };
            if !self.spend(name.len() + length) {
                break;
            }
            match name {
                b"$ref" => reference = reference.or(value.quoted()),
                b"allOf" => all_of = all_of.or(Some(value)),
                b"type" if has_types => {}
                b"type" => node.add_types(value),
                b"items" | b"prefixItems" if value.is_array() => {
                    self.is_lossy = true;
                    node.prefix_items = node.prefix_items.or(Some((value, by)));
                }
                b"items" if value.is_object() => {
                    node.items = node.items.or(Some((value, by)));
                }
                b"additionalProperties" => {
                    self.is_lossy |= has_members(value);
                    node.additional = node.additional.or(Some((value, by)));
                }
                b"properties" => node.has_properties = true,
                b"required" => node.has_required = true,
                b"propertyOrdering" => node.has_ordering = true,
                b"anyOf" | b"oneOf" => has_alternatives = true,
                name => node.note(name, value),
            }
        }
        if let Some(reference) = reference {
            self.refer((reference, by), node);
        }
        for one in all_of.into_iter().flat_map(Value::items) {
            self.gather((one, by), node);
        }
        if has_alternatives {
            self.alternatives((schema, by), node);
        }
        self.depth -= 1;
    }

    /// Whether so much more may be said.
    fn spend(&mut self, bytes: usize) -> bool {
        match self.left.bytes.checked_sub(bytes) {
            Some(left) => self.left.bytes = left,
            None => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// Merges what a reference refers to, or keeps the reference.
    fn refer(&mut self, (reference, by): (Quoted<'s>, Option<u32>), node: &mut Node<'s>) {
        if self.form == Form::JsonSchema
            && definition(&reference.decode().unwrap_or_default()).is_some()
        {
            node.reference = node.reference.or(Some(reference));
            return;
        }
        let is_open = self.led_by(by).any(|it| it == reference);
        let Some(target) = self.target(reference).filter(|_| !is_open) else {
            self.is_lossy = true;
            return;
        };
        let index = u32::try_from(self.references.len()).ok();
        self.references.push((reference, by));
        self.gather((target, index), node);
    }

    /// The references that led to a place, innermost first.
    fn led_by(&self, innermost: Option<u32>) -> impl Iterator<Item = Quoted<'s>> {
        let mut next = innermost;
        std::iter::from_fn(move || {
            let (reference, outer) = self.references.get(next? as usize)?;
            next = *outer;
            Some(*reference)
        })
    }

    /// What a reference refers to: `#`, and a JSON pointer (RFC 6901).
    fn target(&mut self, reference: Quoted<'s>) -> Option<Value<'s>> {
        let reference = reference.decode()?;
        let mut segments = reference.strip_prefix('#')?.split('/');
        // Nothing stands before the first slash.
        segments.next().filter(|it| it.is_empty())?;
        let mut target = self.layout.root();
        for segment in segments {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let mut steps = self.steps;
            let is_within = |steps: &mut usize| {
                *steps = steps.saturating_sub(1);
                *steps > 0
            };
            let found = match target.is_array() {
                true => {
                    let mut items = target.items().take_while(|_| is_within(&mut steps));
                    items.nth(name.parse().ok()?)
                }
                false => {
                    let mut members = target.members().take_while(|_| is_within(&mut steps));
                    let found = members.find(|it| it.name().decode().as_deref() == Some(&*name));
                    found.map(|it| it.value)
                }
            };
            self.steps = steps;
            self.is_exhausted |= steps == 0;
            target = found?;
        }
        Some(target)
    }

    /// `anyOf` and `oneOf`. One alternative is none, and `null` is no alternative.
    fn alternatives(&mut self, (schema, by): Reached<'s>, node: &mut Node<'s>) {
        let all = alternatives(schema);
        node.nullable |= all.clone().any(is_null);
        let mut others = all.filter(|it| !is_null(*it));
        match (others.next(), others.next()) {
            (Some(only), None) => self.gather((only, by), node),
            (Some(_), Some(_)) => node.any_of = node.any_of.or(Some((schema, by))),
            (None, _) => {}
        }
    }

    fn open_api(&mut self, mut node: Node<'s>, sources: Range<usize>, json: &mut Writer) {
        node.restrict();
        let properties = self.properties_of(&node, sources.clone());
        node.complete(&properties);
        node.restrict();
        let says_all = match node.types.only() {
            // Beside `anyOf` nothing else may stand.
            None => {
                node.types.is_empty()
                    && node.any_of.is_some()
                    && node.description.is_none()
                    && node.values.is_none()
                    && properties.is_empty()
                    && node
                        .limits
                        .iter()
                        .zip(LIMITS)
                        .all(|(it, name)| it.is_none() || name == "default")
            }
            Some(kind) => {
                let has_content = match kind {
                    "array" => node.items.is_some(),
                    "object" => !properties.is_empty(),
                    "null" => false,
                    _ => true,
                };
                let are_strings = kind == "string" && node.values().all(is_string);
                has_content && node.any_of.is_none() && (node.values.is_none() || are_strings)
            }
        };
        self.is_lossy |= !says_all;
        if node.any_of.is_some() {
            let place = match node.nullable {
                true => Place::NullableAlternative,
                false => Place::Inner,
            };
            return self.any_of(&node, place, json);
        }
        node.write_head(json);
        if node.nullable {
            json.key("nullable").bool(true);
        }
        node.write_values(json);
        for (name, value) in LIMITS.iter().zip(node.limits) {
            if let Some(value) = value {
                json.key(name).compact(value.raw());
            }
        }
        self.write_items(&node, json);
        self.write_properties(sources.clone(), &properties, json);
        if node.has_required {
            self.write_names("required", sources.clone(), &properties, json);
        }
        let has_order = node.has_ordering
            && self.write_names("propertyOrdering", sources.clone(), &properties, json);
        if self.is_answer && !has_order && properties.len() > 1 {
            json.key("propertyOrdering").open_array();
            for (properties_of_one, _) in self.objects(sources) {
                let members = properties_of_one.members().filter(|it| properties.has(it));
                members.for_each(|it| json.quoted(it.name()));
            }
            json.close_array();
        }
    }

    fn json_schema(&mut self, mut node: Node<'s>, sources: Range<usize>, json: &mut Writer) {
        // > If $ref is set on a sub-schema, no other properties, except for than those starting as a
        // > $, may be set.
        if let Some(reference) = node.reference {
            if !node.nullable {
                return write_reference(reference, json);
            }
            return json.key("anyOf").array(|json| {
                json.object(|json| write_reference(reference, json));
                json.object(|json| json.key("type").string("null"));
            });
        }
        node.restrict();
        let properties = self.properties_of(&node, sources.clone());
        node.complete(&properties);
        node.restrict();
        // > `enum` (for strings and numbers)
        if !node.values().all(|it| is_string(it) || it.is_number()) {
            if node.types.is_empty() && node.values().all(|it| it.bool().is_some()) {
                node.types.add("boolean");
            }
            node.values = None;
        }
        let has_null = node.nullable && node.types.is_empty();
        if node.nullable && !node.types.is_empty() {
            node.types.add("null");
        }
        node.write_head(json);
        node.write_values(json);
        self.write_items(&node, json);
        if let Some((items, by)) = node.prefix_items {
            json.key("prefixItems").open_array();
            for item in items.items() {
                self.schema((item, by), Place::Inner, json);
            }
            json.close_array();
        }
        self.write_properties(sources.clone(), &properties, json);
        if let Some((schema, by)) = node.additional {
            let json = json.key("additionalProperties");
            match has_members(schema) {
                true => self.schema((schema, by), Place::Inner, json),
                false => json.bool(schema.bool() != Some(false)),
            }
        }
        if node.has_required {
            self.write_names("required", sources.clone(), &properties, json);
        }
        if node.has_ordering {
            self.write_names("propertyOrdering", sources, &properties, json);
        }
        if node.any_of.is_some() {
            let place = match has_null {
                true => Place::BesideNull,
                false => Place::Inner,
            };
            self.any_of(&node, place, json);
        }
    }

    fn write_items(&mut self, node: &Node<'s>, json: &mut Writer) {
        if let Some(items) = node.items {
            self.schema(items, Place::Inner, json.key("items"));
        }
    }

    /// `place`: that of each alternative.
    fn any_of(&mut self, node: &Node<'s>, place: Place, json: &mut Writer) {
        json.key("anyOf").open_array();
        if let Some((schema, by)) = node.any_of {
            for alternative in alternatives(schema).filter(|it| !is_null(*it)) {
                self.schema((alternative, by), place, json);
            }
        }
        if place == Place::BesideNull {
            json.object(|json| json.key("type").string("null"));
        }
        json.close_array();
    }

    /// The `properties` of the schemas that are merged.
    fn objects(&self, sources: Range<usize>) -> impl Iterator<Item = Reached<'s>> + Clone {
        let sources = self.sources.get(sources).unwrap_or_default();
        let layout = self.layout;
        sources.iter().filter_map(move |source| {
            let properties = layout.value(source.at as usize).get("properties")?;
            Some((properties, source.by))
        })
    }

    fn properties_of(&self, node: &Node<'s>, sources: Range<usize>) -> Union<'s> {
        let sources = if node.has_properties { sources } else { 0..0 };
        Union::new(self.layout, self.objects(sources).map(|(it, _)| it))
    }

    fn write_properties(
        &mut self,
        sources: Range<usize>,
        properties: &Union<'s>,
        json: &mut Writer,
    ) {
        if properties.is_empty() {
            return;
        }
        json.key("properties").open_object();
        for index in sources {
            // Others come and go behind it.
            let found = self.objects(index..index + 1).next();
            if let Some((object, by)) = found {
                for property in object.members().filter(|it| properties.has(it)) {
                    if !self.spend(property.name_text().len()) {
                        break;
                    }
                    json.quoted_key(property.name());
                    self.schema((property.value, by), Place::Inner, json);
                }
            }
        }
        json.close_object();
    }

    /// Writes a list of names of properties, each once and only those that there are. Gives whether
    /// there is one.
    fn write_names(
        &self,
        list: &'static str,
        sources: Range<usize>,
        properties: &Union<'s>,
        json: &mut Writer,
    ) -> bool {
        let mut is_written = vec![false; properties.len()];
        let mut has_any = false;
        for source in self.sources.get(sources).unwrap_or_default() {
            let names = self.layout.value(source.at as usize).get(list);
            let names = names.into_iter().flat_map(Value::items);
            for name in names.filter_map(Value::quoted) {
                let place = properties
                    .position(name)
                    .and_then(|it| is_written.get_mut(it));
                let Some(is_written @ false) = place else {
                    continue;
                };
                *is_written = true;
                if !has_any {
                    has_any = true;
                    json.key(list).open_array();
                }
                json.quoted(name);
            }
        }
        if has_any {
            json.close_array();
        }
        has_any
    }

    /// What references may refer to, in JSON Schema.
    fn definitions(&mut self, json: &mut Writer) {
        let root = self.layout.root();
        let objects = ["$defs", "definitions"].into_iter();
        let objects = objects.filter_map(|it| root.get(it));
        let all = Union::new(self.layout, objects.clone());
        if all.is_empty() {
            return;
        }
        json.key("$defs").open_object();
        for definition in objects.flat_map(Value::members).filter(|it| all.has(it)) {
            json.quoted_key(definition.name());
            self.schema((definition.value, None), Place::Inner, json);
        }
        json.close_object();
    }
}

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Among alternatives of which the last is `null`.
    BesideNull,
    Inner,
    /// Among alternatives of which each may be `null`, too.
    NullableAlternative,
    Root,
}

/// What schemas say that are merged.
#[derive(Default)]
struct Node<'s> {
    reference: Option<Quoted<'s>>,
    types: Types,
    format: Option<Quoted<'s>>,
    title: Option<Quoted<'s>>,
    description: Option<Piece<'s>>,
    nullable: bool,
    /// An `enum`, or a `const`.
    values: Option<Value<'s>>,
    /// See [`BOUNDS`].
    bounds: [Option<Value<'s>>; BOUNDS.len()],
    /// See [`EXCLUSIVE`].
    exclusive: [Option<i64>; EXCLUSIVE.len()],
    /// See [`LIMITS`].
    limits: [Option<Value<'s>>; LIMITS.len()],
    items: Option<Reached<'s>>,
    prefix_items: Option<Reached<'s>>,
    additional: Option<Reached<'s>>,
    /// The schema that has them.
    any_of: Option<Reached<'s>>,
    /// Which lists there are, in any of the schemas.
    has_properties: bool,
    has_required: bool,
    has_ordering: bool,
}

impl<'s> Node<'s> {
    /// Notes a keyword whose value has no schemas in it.
    fn note(&mut self, name: &[u8], value: Value<'s>) {
        let place = |names: &[&str]| names.iter().position(|it| it.as_bytes() == name);
        let fill = |into: Option<&mut Option<Value<'s>>>| {
            if let Some(into) = into {
                into.get_or_insert(value);
            }
        };
        match name {
            b"nullable" => self.nullable |= value.bool() == Some(true),
            b"title" => self.title = self.title.or(value.quoted()),
            b"description" => {
                self.description = self.description.or(value.quoted().map(Piece::Quoted));
            }
            b"format" => {
                let known = FORMATS.iter().any(|it| value.is(it));
                self.format = self.format.or(value.quoted().filter(|_| known));
            }
            b"const" | b"enum" => {
                self.nullable |= values(value).any(Value::is_null);
                if values(value).any(|it| !it.is_null()) && (name == b"const" || value.is_array()) {
                    self.values.get_or_insert(value);
                }
            }
            b"default" | b"example" => fill(place(&LIMITS).and_then(|it| self.limits.get_mut(it))),
            b"pattern" if is_string(value) => {
                fill(place(&LIMITS).and_then(|it| self.limits.get_mut(it)));
            }
            _ if value.is_number() => {
                fill(place(&BOUNDS).and_then(|it| self.bounds.get_mut(it)));
                fill(place(&LIMITS[..COUNTS]).and_then(|it| self.limits.get_mut(it)));
                if let Some(at) = place(&EXCLUSIVE)
                    && let Some(bound) = self.exclusive.get_mut(at)
                {
                    let next = if at == 0 { 1 } else { -1 };
                    let inclusive = value.integer().and_then(|it| it.checked_add(next));
                    *bound = bound.or(inclusive);
                }
            }
            _ => {}
        }
    }

    fn add_types(&mut self, value: Value<'s>) {
        let all = value.quoted().into_iter();
        for kind in all.chain(value.items().filter_map(Value::quoted)) {
            match kind.decode().unwrap_or_default() {
                kind if kind.eq_ignore_ascii_case("null") => self.nullable = true,
                kind => self.types.add(&kind),
            }
        }
    }

    /// The values that there may be, but `null`.
    fn values(&self) -> impl Iterator<Item = Value<'s>> + use<'s> {
        let all = self.values.into_iter().flat_map(values);
        all.filter(|it| !it.is_null())
    }

    /// Leaves out what says nothing about the types: in JSON Schema such a keyword has no effect, and
    /// Gemini refuses it.
    ///
    /// > items: only allowed for ARRAY type
    fn restrict(&mut self) {
        let types = self.types;
        let is_about = |kind: &str| types.is_empty() || types.iter().any(|it| it == kind);
        let is_number = is_about("number") || is_about("integer");
        let (is_array, is_object) = (is_about("array"), is_about("object"));
        let is_string = is_about("string");
        let [minimum, maximum, min_items, max_items] = &mut self.bounds;
        let [
            min_length,
            max_length,
            min_properties,
            max_properties,
            pattern,
            _,
            _,
        ] = &mut self.limits;
        for (value, stays) in [
            (minimum, is_number),
            (maximum, is_number),
            (min_items, is_array),
            (max_items, is_array),
            (min_length, is_string),
            (max_length, is_string),
            (pattern, is_string),
            (min_properties, is_object),
            (max_properties, is_object),
        ] {
            value.take_if(|_| !stays);
        }
        if !is_number {
            self.exclusive = [None; EXCLUSIVE.len()];
        }
        self.format.take_if(|it| {
            let kind = match it.text() {
                b"double" | b"float" => "number",
                b"int32" | b"int64" => "integer",
                _ => "string",
            };
            !is_about(kind)
        });
        for schemas in [&mut self.items, &mut self.prefix_items] {
            schemas.take_if(|_| !is_array);
        }
        if !is_object {
            self.additional = None;
            (self.has_properties, self.has_required, self.has_ordering) = (false, false, false);
        }
    }

    /// What both vocabularies want.
    fn complete(&mut self, properties: &Union<'_>) {
        if !self.types.is_empty() || self.any_of.is_some() {
            return;
        }
        if !properties.is_empty() || self.additional.is_some() {
            self.types.add("object");
        } else if self.items.is_some() || self.prefix_items.is_some() {
            self.types.add("array");
        } else if self.values.is_some() && self.values().all(is_string) {
            self.types.add("string");
        }
    }

    fn write_head(&self, json: &mut Writer) {
        self.types.write(json);
        for (name, text) in [("format", self.format), ("title", self.title)] {
            if let Some(text) = text {
                json.key(name).quoted(text);
            }
        }
        if let Some(text) = self.description {
            json.key("description").string_pieces(&[text]);
        }
    }

    fn write_values(&self, json: &mut Writer) {
        if self.values.is_some() {
            json.key("enum").open_array();
            self.values().for_each(|it| json.compact(it.raw()));
            json.close_array();
        }
        let is_integer = self.types.only() == Some("integer");
        for (at, (name, bound)) in BOUNDS.iter().zip(self.bounds).enumerate() {
            match (bound, self.exclusive.get(at)) {
                (Some(bound), _) => json.key(name).compact(bound.raw()),
                (None, Some(Some(bound))) if is_integer => {
                    json.key(name).raw(&bound.to_string());
                }
                (None, _) => {}
            }
        }
    }
}

/// A set of types.
#[derive(Clone, Copy, Default)]
struct Types(u8);

impl Types {
    /// Adds a type, however it is spelled; one that is not known says nothing.
    fn add(&mut self, kind: &str) {
        let at = TYPES.iter().position(|it| it.eq_ignore_ascii_case(kind));
        self.0 |= at.map_or(0, |at| 1 << at);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn iter(self) -> impl Iterator<Item = &'static str> + Clone {
        let all = TYPES.iter().enumerate();
        let known = all.filter(move |(at, _)| self.0 >> at & 1 == 1);
        known.map(|(_, kind)| *kind)
    }

    /// The type, where there is one alone.
    fn only(self) -> Option<&'static str> {
        let mut all = self.iter();
        all.next().filter(|_| all.next().is_none())
    }

    fn write(self, json: &mut Writer) {
        match self.only() {
            Some(kind) => json.key("type").string(kind),
            None if self.is_empty() => {}
            None => json
                .key("type")
                .array(|json| self.iter().for_each(|it| json.string(it))),
        }
    }
}

fn is_string(value: Value<'_>) -> bool {
    value.quoted().is_some()
}

fn has_members(value: Value<'_>) -> bool {
    value.members().next().is_some()
}

/// The values of an `enum`, or that of a `const`.
fn values(value: Value<'_>) -> impl Iterator<Item = Value<'_>> + Clone {
    let only = Some(value).filter(|it| !it.is_array());
    only.into_iter().chain(value.items())
}

fn alternatives(schema: Value<'_>) -> impl Iterator<Item = Value<'_>> + Clone {
    let lists = ["anyOf", "oneOf"].into_iter();
    lists
        .filter_map(move |it| schema.get(it))
        .flat_map(Value::items)
}

/// Whether an alternative is `null`.
fn is_null(schema: Value<'_>) -> bool {
    schema.get("type").is_some_and(|it| it.is("null"))
        || schema.get("const").is_some_and(Value::is_null)
}

/// The name of the definition that a reference refers to.
fn definition(reference: &str) -> Option<&str> {
    let starts = ["#/$defs/", "#/definitions/"];
    let name = starts
        .into_iter()
        .find_map(|it| reference.strip_prefix(it))?;
    (!name.contains('/')).then_some(name)
}

fn write_reference(reference: Quoted<'_>, json: &mut Writer) {
    let reference = reference.decode().unwrap_or_default();
    let name = definition(&reference).unwrap_or_default();
    json.key("$ref").string_of(&["#/$defs/", name]);
}

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

const TYPES: [&str; 7] = [
    "string", "integer", "number", "boolean", "object", "array", "null",
];

/// Bounds that both vocabularies have.
const BOUNDS: [&str; 4] = ["minimum", "maximum", "minItems", "maxItems"];

/// The exclusive ones, in the order of the inclusive.
const EXCLUSIVE: [&str; 2] = ["exclusiveMinimum", "exclusiveMaximum"];

/// What OpenAPI has and Gemini's subset of JSON Schema has not.
const LIMITS: [&str; 7] = [
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "pattern",
    "default",
    "example",
];

/// How many of these are numbers: the first.
const COUNTS: usize = 4;

/// Formats that Gemini knows, of strings and of numbers.
///
/// > For `NUMBER` type, format can be `float` or `double`. For `INTEGER` type, format can be `int32`
/// > or `int64`.
///
/// Of strings AI Studio accepts `date-time` and `enum` alone.
const FORMATS: [&str; 6] = ["date-time", "double", "enum", "float", "int32", "int64"];

/// How many schemas may be added by references, in one request.
const MAX_GROWTH_NODES: usize = 10_000;

/// The deepest nesting of schemas, with what they refer to.
const MAX_DEPTH: usize = 100;

/// The most schemas that are merged at once, with those around them.
const MAX_SOURCES: usize = 500;

/// How many members may be looked at to find what references refer to, beside one for each byte.
const MIN_STEPS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(schema: &str) -> String {
        written(schema, false)
    }

    fn written(schema: &str, is_answer: bool) -> String {
        match clean(schema, None, is_answer, &mut Growth::default()) {
            Ok(None) => "empty".to_owned(),
            Ok(Some(cleaned)) => {
                let mut json = Writer::default();
                cleaned.write(&mut json);
                let text = String::from_utf8(json.into_bytes()).unwrap();
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
                match cleaned.form() {
                    Form::JsonSchema => format!("json {text}"),
                    Form::OpenApi => format!("open {text}"),
                }
            }
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
            assert_eq!(cleaned(&schema) != "TooLarge", is_cleaned);
        }
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let alternatives = |count: usize| {
            let many = vec![r#"{"type":"string"}"#; count].join(",");
            format!(r#"{{"type":"object","properties":{{"a":{{"anyOf":[{many}]}}}}}}"#)
        };
        assert!(cleaned(&alternatives(5_000)).starts_with("open"));
        for schema in [
            alternatives(MAX_SCHEMA_VALUES / 2),
            format!(r#"{{"enum":[{}1]}}"#, "1,".repeat(MAX_SCHEMA_VALUES)),
            format!(r#"{{"description":"{}"}}"#, "a".repeat(MAX_SCHEMA_BYTES)),
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
    fn a_keyword_stands_beside_its_type_alone() {
        for (schema, expected) in [
            (
                r#"{"type":"string","minimum":1,"minItems":1,"items":{"type":"string"},"maxLength":3,"minProperties":1}"#,
                r#"{"type":"string","maxLength":3}"#,
            ),
            (
                r#"{"type":"integer","format":"double","pattern":"a","minLength":1,"exclusiveMinimum":0,"maximum":9}"#,
                r#"{"type":"integer","minimum":1,"maximum":9}"#,
            ),
            (
                r#"{"type":"array","items":{"type":"number","format":"int32"},"required":["a"],"properties":{"a":{"type":"string"}},"minimum":1,"maxItems":2}"#,
                r#"{"type":"array","maxItems":2,"items":{"type":"number"}}"#,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"boolean","format":"enum"}},"items":{"type":"string"},"required":["a"],"additionalProperties":false,"maximum":1}"#,
                r#"{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}"#,
            ),
        ] {
            let schema = format!(r#"{{"type":"object","properties":{{"p":{schema}}}}}"#);
            let expected = format!(r#"open {{"type":"object","properties":{{"p":{expected}}}}}"#);
            assert_eq!(cleaned(&schema), expected);
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
        assert_eq!(
            written(schema, true),
            r#"open {"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}},"propertyOrdering":["z","a"]}"#
        );
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
        assert_eq!(cleaned(&deep), "TooLarge");
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
                written(&text, true),
                written(&text, true),
                "seed {SEED:#x} round {round}: {text}"
            );
        }
    }
}
