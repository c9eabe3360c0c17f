//! A request as it is read: with the items that it refers to, and with the names of functions that
//! providers take.
//!
//! The text changes only where it has an `item_reference` or a `namespace`; else it is read as it came.
//!
//! ```text
//!   {"type":"item_reference","id":"msg_1"}      ─►  the item msg_1, which a carrier in the same input has
//!   {"type":"namespace","name":"n","tools":[    ─►  {"type":"namespace","name":"n","tools":[
//!     {"type":"function","name":"f"}]}                {"type":"function","name":"n__f"}]}
//!   {"type":"function_call","namespace":"n",    ─►  {…,"name":"n__f"}
//!     "name":"f"}
//!   {"type":"custom","description":"d","format": ─► {…,"description":"d\n\n…definition",…}
//!     {"type":"grammar","definition":"…"}}
//! ```
//!
//! A function whose name says too little after that has `local_name` before it.
//!
//! Memory: each item that is carried is used once, so that the text does not become longer by them than it
//! was.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::carrier;
use crate::api::InvalidRequest;
use crate::json::{self, Items, Raw, Text, object};
use crate::sorted;

object! {
    /// The parts of a body that may change.
    Lists<'a> {
        input: Raw<'a> = b"input",
        tools: Raw<'a> = b"tools",
    }
}

object! {
    /// What matters here of an item or a tool.
    Named<'a> {
        kind: Text<'a> = b"type",
        id: Text<'a> = b"id",
        name: Text<'a> = b"name",
        namespace: Text<'a> = b"namespace",
        local_name: Text<'a> = b"local_name",
        tools: Items<'a, Raw<'a>> = b"tools",
        description: Text<'a> = b"description",
        format: Grammar<'a> = b"format",
    }
}

object! {
    /// What limits the text of a custom tool.
    Grammar<'a> {
        syntax: Text<'a> = b"syntax",
        definition: Text<'a> = b"definition",
    }
}

/// The text that is read.
///
/// # Errors
///
/// When it refers to an item that is not in it.
pub(super) fn expand(body: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, InvalidRequest> {
    let Ok(text) = std::str::from_utf8(&body) else {
        return Ok(body);
    };
    if !(text.contains(REFERENCE) || text.contains(NAMESPACE) || text.contains(GRAMMAR)) {
        return Ok(body);
    }
    // What is wrong with the text is said where it is read.
    let Ok(lists) = json::read::<Lists<'_>>(&body) else {
        return Ok(body);
    };
    let mut carried = Carried::of(&list(lists.input));
    // Written twice, so that it takes no more memory than it is long.
    let mut length = 0;
    let mut count = |piece: &[u8]| length += piece.len();
    let mut edits = Edits::new(&body, &mut count);
    edits.write(&lists, &mut carried)?;
    if !edits.has_changed {
        return Ok(body);
    }
    carried.round += 1;
    let mut expanded = Vec::with_capacity(length);
    let mut append = |piece: &[u8]| expanded.extend_from_slice(piece);
    Edits::new(&body, &mut append).write(&lists, &mut carried)?;
    Ok(Cow::Owned(expanded))
}

const REFERENCE: &str = "item_reference";
const NAMESPACE: &str = "namespace";
const GRAMMAR: &str = "grammar";

/// The items of a list; none where it is something else.
fn list(raw: Option<Raw<'_>>) -> Items<'_, Raw<'_>> {
    let raw = raw.filter(|it| it.bytes().first() == Some(&b'['));
    raw.and_then(|it| json::read(it.bytes()).ok())
        .unwrap_or_default()
}

/// A text while parts of it are replaced, from its beginning to its end.
struct Edits<'a, 'w> {
    body: &'a [u8],
    /// What has been written.
    at: usize,
    write: &'w mut dyn FnMut(&[u8]),
    has_changed: bool,
}

impl<'a, 'w> Edits<'a, 'w> {
    fn new(body: &'a [u8], write: &'w mut dyn FnMut(&[u8])) -> Self {
        Self {
            body,
            at: 0,
            write,
            has_changed: false,
        }
    }

    fn write(&mut self, lists: &Lists<'a>, carried: &mut Carried) -> Result<(), InvalidRequest> {
        let at = |raw: Option<Raw<'a>>| raw.and_then(|it| place_in(self.body, it.bytes()));
        match at(lists.tools) < at(lists.input) {
            true => {
                self.tools(&list(lists.tools));
                self.items(&list(lists.input), carried)?;
            }
            false => {
                self.items(&list(lists.input), carried)?;
                self.tools(&list(lists.tools));
            }
        }
        let rest = self.body.get(self.at..).unwrap_or_default();
        (self.write)(rest);
        Ok(())
    }

    /// Writes what stands before `place`, which is a part of the body, and `with` in its stead, piece by piece.
    fn replace(&mut self, place: &[u8], with: &[&str]) {
        let Some(start) = place_in(self.body, place).filter(|start| *start >= self.at) else {
            return;
        };
        let before = self.body.get(self.at..start).unwrap_or_default();
        (self.write)(before);
        with.iter().for_each(|piece| (self.write)(piece.as_bytes()));
        self.at = start + place.len();
        self.has_changed = true;
    }

    fn items(
        &mut self,
        items: &Items<'a, Raw<'a>>,
        carried: &mut Carried,
    ) -> Result<(), InvalidRequest> {
        for (index, item) in items.iter().enumerate() {
            let text = item.get();
            if !text.contains(REFERENCE) && !text.contains(NAMESPACE) {
                continue;
            }
            let Ok(named) = json::read::<Named<'_>>(item.bytes()) else {
                continue;
            };
            match named.kind.map(Text::decode).as_deref() {
                Some("item_reference") => {
                    let id = named.id.map(Text::decode).unwrap_or_default();
                    let Some(found) = carried.take(&id) else {
                        let path = format!("input[{index}].id");
                        return Err(carrier::unknown_reference(&path, &id));
                    };
                    self.replace(item.bytes(), &[found]);
                }
                Some("function_call" | "custom_tool_call") => {
                    if let (Some(namespace), Some(name)) = (named.namespace, named.name) {
                        let flat = FlatName::of(&namespace.decode(), &name.decode());
                        self.replace(name.quoted().text(), &[&flat.text]);
                    }
                }
                Some("additional_tools" | "tool_search_output") => {
                    self.tools(&named.tools.unwrap_or_default());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tools(&mut self, tools: &Items<'a, Raw<'a>>) {
        for tool in tools.iter() {
            let Some((namespace, tools)) = namespace(tool) else {
                self.grammar(tool);
                continue;
            };
            for tool in tools.iter() {
                let named = json::read::<Named<'_>>(tool.bytes()).ok();
                let Some(name) = named.and_then(|it| it.name) else {
                    continue;
                };
                let flat = FlatName::of(&namespace, &name.decode());
                if flat.is_made {
                    let local = json::encode_string(&name.decode());
                    // Behind the bracket.
                    let place = tool.bytes().get(1..1).unwrap_or_default();
                    self.replace(place, &["\"local_name\":", &local, ","]);
                }
                self.replace(name.quoted().text(), &[&flat.text]);
            }
        }
    }

    /// Puts the grammar of a custom tool behind its description.
    fn grammar(&mut self, tool: Raw<'a>) {
        if !tool.get().contains(GRAMMAR) {
            return;
        }
        let named = json::read::<Named<'_>>(tool.bytes()).unwrap_or_default();
        let is_custom = named.kind.is_some_and(|it| it.decode() == "custom");
        let format = named.format.unwrap_or_default();
        let (Some(description), Some(definition), true) =
            (named.description, format.definition, is_custom)
        else {
            return;
        };
        let quoted = |it: Text<'a>| std::str::from_utf8(it.quoted().text()).unwrap_or_default();
        let syntax = format.syntax.map(quoted).unwrap_or_default();
        let (description, definition) = (quoted(description), quoted(definition));
        let told = [
            description,
            GRAMMAR_FOLLOWS,
            " (",
            syntax,
            "):\\n",
            definition,
        ];
        // Nothing else reads the grammar, and it may be most of the body.
        let mut edits: [(&str, &[&str]); 2] = [(description, &told), (definition, &[])];
        edits.sort_by_key(|(place, _)| place_in(self.body, place.as_bytes()));
        for (place, with) in edits {
            self.replace(place.as_bytes(), with);
        }
    }
}

/// Behind the description of a custom tool, where it has a grammar. No provider enforces one: the model is
/// told.
const GRAMMAR_FOLLOWS: &str = "\\n\\nThe input has to match this grammar";

/// The name and the tools of a namespace; `None`: the tool is none.
fn namespace(tool: Raw<'_>) -> Option<(Cow<'_, str>, Items<'_, Raw<'_>>)> {
    if !tool.get().contains(NAMESPACE) {
        return None;
    }
    let named = json::read::<Named<'_>>(tool.bytes()).ok()?;
    let is_one = named.kind?.decode() == NAMESPACE;
    is_one.then_some((named.name?.decode(), named.tools?))
}

/// The items that carriers have.
#[derive(Default)]
struct Carried {
    lists: Vec<Vec<u8>>,
    /// In the order of their hashes.
    items: Vec<CarriedItem>,
    /// How often the text has been written.
    round: u32,
}

/// Where an item is.
struct CarriedItem {
    /// Of its id.
    hash: u64,
    list: u32,
    place: Range<u32>,
    /// In how many rounds it has been taken.
    taken: u32,
}

impl Carried {
    fn of(items: &Items<'_, Raw<'_>>) -> Self {
        let mut carried = Self::default();
        for item in items.iter() {
            let Ok(Named { id: Some(id), .. }) = json::read::<Named<'_>>(item.bytes()) else {
                continue;
            };
            if carrier::is_carrier(id)
                && let Some(list) = carrier::items(&id.decode())
            {
                carried.add(list);
            }
        }
        sorted::sort_by_key(&mut carried.items, |it| it.hash);
        carried
    }

    fn add(&mut self, list: Vec<u8>) {
        let Ok(items) = json::read::<Items<'_, Raw<'_>>>(&list) else {
            return;
        };
        // No text is longer than what these can say.
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        for item in items.iter() {
            let named = json::read::<Named<'_>>(item.bytes()).ok();
            let start = place_in(&list, item.bytes());
            if let (Some(id), Some(start)) = (named.and_then(|it| it.id), start)
                && self.items.len() < MAX_CARRIED_ITEMS
            {
                self.items.push(CarriedItem {
                    hash: hash(&id.decode()),
                    list: number(self.lists.len()),
                    place: number(start)..number(start + item.bytes().len()),
                    taken: 0,
                });
            }
        }
        self.lists.push(list);
    }

    /// The item with this id, once. A carrier itself says nothing.
    fn take(&mut self, id: &str) -> Option<&str> {
        if id.starts_with(carrier::PREFIX) {
            return Some(SILENT);
        }
        let hash = hash(id);
        let first = self.items.partition_point(|it| it.hash < hash);
        let Self {
            lists,
            items,
            round,
        } = self;
        let alike = items.iter_mut().skip(first);
        for it in alike.take_while(|it| it.hash == hash) {
            let place = it.place.start as usize..it.place.end as usize;
            let list = lists.get(it.list as usize);
            let text = list.and_then(|list| list.get(place));
            let Some(text) = text.filter(|_| it.taken <= *round) else {
                continue;
            };
            let named = json::read::<Named<'_>>(text).ok();
            if named
                .and_then(|it| it.id)
                .is_some_and(|it| it.decode() == id)
            {
                it.taken += 1;
                return std::str::from_utf8(text).ok();
            }
        }
        None
    }
}

/// What stands in the place of a reference to a carrier.
const SILENT: &str = r#"{"type":"reasoning","id":"rs_carrier1_","summary":[]}"#;

/// FNV-1a, of 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// More items than the replies of a conversation have.
const MAX_CARRIED_ITEMS: usize = 4096;

/// Where `part` is in `whole`.
fn place_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (start + part.len() <= whole.len()).then_some(start)
}

/// What a model calls a function of a namespace: letters, digits, `_` and `-`, at most
/// [`MAX_FUNCTION_NAME_BYTES`], as every provider takes it.
struct FlatName {
    text: String,
    /// Whether it is not simply both names behind each other.
    is_made: bool,
}

impl FlatName {
    fn of(namespace: &str, name: &str) -> Self {
        let whole = [namespace, separator(namespace), name].concat();
        let plain = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        };
        let mut text: String = whole.chars().map(plain).collect();
        let is_made = text.len() > MAX_FUNCTION_NAME_BYTES || text != whole;
        if is_made {
            // Names that become alike stay different.
            text.truncate(MAX_FUNCTION_NAME_BYTES - 9);
            _ = write!(text, "_{:08x}", hash(&whole) as u32);
        }
        Self { text, is_made }
    }
}

fn separator(namespace: &str) -> &'static str {
    match namespace.ends_with("__") {
        true => "",
        false => "__",
    }
}

/// <https://platform.openai.com/docs/guides/function-calling>: 64 characters; Gemini takes as many.
const MAX_FUNCTION_NAME_BYTES: usize = 64;

/// The functions of namespaces, in one text: what the model calls each, its namespace and its name.
#[derive(Debug, Default)]
pub(super) struct Namespaces(String);

/// A function as its client calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Namespaced<'n> {
    pub(super) namespace: &'n str,
    pub(super) name: &'n str,
}

impl Namespaces {
    /// Of a text that was [expanded](expand).
    pub(super) fn of(body: &[u8]) -> Self {
        let mut found = Self::default();
        let has_any = std::str::from_utf8(body).is_ok_and(|it| it.contains(NAMESPACE));
        if !has_any {
            return found;
        }
        let Ok(lists) = json::read::<Lists<'_>>(body) else {
            return found;
        };
        found.add_all(&list(lists.tools));
        for item in list(lists.input).iter() {
            if item.get().contains(NAMESPACE)
                && let Ok(Named {
                    tools: Some(tools), ..
                }) = json::read(item.bytes())
            {
                found.add_all(&tools);
            }
        }
        found
    }

    fn add_all(&mut self, tools: &Items<'_, Raw<'_>>) {
        for tool in tools.iter() {
            let Some((namespace, tools)) = namespace(tool) else {
                continue;
            };
            for tool in tools.iter() {
                let named = json::read::<Named<'_>>(tool.bytes()).unwrap_or_default();
                let Some(flat) = named.name.map(Text::decode) else {
                    continue;
                };
                let local = named.local_name.map(Text::decode);
                let ending = flat
                    .strip_prefix(&*namespace)
                    .and_then(|it| it.strip_prefix(separator(&namespace)));
                if let Some(name) = local.as_deref().or(ending) {
                    self.add(&flat, &namespace, name);
                }
            }
        }
    }

    fn add(&mut self, flat: &str, namespace: &str, name: &str) {
        for text in [flat, namespace, name] {
            self.0.push_str(text);
            self.0.push(END);
        }
    }

    /// The function that the model calls by this name.
    pub(super) fn find(&self, flat: &str) -> Option<Namespaced<'_>> {
        let mut texts = self.0.split_terminator(END);
        loop {
            let (it, namespace, name) = (texts.next()?, texts.next()?, texts.next()?);
            if it == flat {
                return Some(Namespaced { namespace, name });
            }
        }
    }
}

#[cfg(test)]
impl Namespaces {
    pub(super) fn one(flat: &str, namespace: &str, name: &str) -> Self {
        let mut one = Self::default();
        one.add(flat, namespace, name);
        one
    }
}

/// What ends a name.
const END: char = '\0';

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(body: &str) -> Result<String, InvalidRequest> {
        let expanded = expand(Cow::Borrowed(body.as_bytes()))?;
        let text = String::from_utf8(expanded.into_owned()).unwrap();
        let _: serde_json::Value = serde_json::from_str(&text).expect(&text);
        Ok(text)
    }

    #[test]
    fn what_refers_to_nothing_stays_as_it_is() {
        for body in [
            r#"{"input":"item_reference","tools":[]}"#,
            r#"{"input":[{"role":"user","content":"namespace item_reference"}],"tools":[{"type":"x"}]}"#,
            r#"{"input":[{"type":"function_call","name":"f","namespace":null}]}"#,
        ] {
            assert_eq!(expanded(body).unwrap(), body);
        }
        assert!(expand(Cow::Borrowed(b"item_reference")).is_ok());
    }

    #[test]
    fn a_reference_becomes_the_item_that_a_carrier_has() {
        let item = r#"{"id":"msg_1","type":"message","role":"assistant","content":"a \"b\""}"#;
        let carrier = carrier::id(&mut |json| json.raw(item)).unwrap();
        let reference = |id: &str| format!(r#"{{"type":"item_reference","id":"{id}"}}"#);
        let user = r#"{"role":"user","content":"hi"}"#;
        for carried in [
            reference(&carrier),
            format!(r#"{{"type":"reasoning","id":"{carrier}","summary":[]}}"#),
        ] {
            let body = format!(
                r#"{{"input":[{user},{},{carried} , {user}]}}"#,
                reference("msg_1")
            );
            let text = expanded(&body).unwrap();
            assert!(
                text.starts_with(&format!(r#"{{"input":[{user},{item},"#)),
                "{text}"
            );
            assert!(!text.contains("item_reference"), "{text}");
        }
        let twice = [reference("msg_1"), reference("msg_1"), reference(&carrier)].join(",");
        let foreign = format!("{user},{}", reference("msg_other"));
        for (items, param) in [(twice, "input[1].id"), (foreign, "input[1].id")] {
            let invalid = expanded(&format!(r#"{{"input":[{items}]}}"#)).unwrap_err();
            assert_eq!(invalid.param.as_deref(), Some(param));
            assert!(invalid.message.contains(r#""store": false"#), "{invalid}");
        }
    }

    #[test]
    fn functions_of_a_namespace_have_its_name_before_theirs() {
        let body = r#"{"tools":[{"type":"function","name":"a"},
            {"type":"namespace","name":"mcp__git__","description":"d","tools":[
              {"type":"function","name":"log","parameters":{"type":"object"}},
              {"name":"show","type":"custom"}]}],
            "input":[{"type":"function_call","call_id":"c","name":"log","namespace":"mcp__git__",
              "arguments":"{}"}]}"#;
        let text = expanded(body).unwrap();
        assert_eq!(
            text.matches(r#""name":"mcp__git__log""#).count(),
            2,
            "{text}"
        );
        assert!(text.contains(r#""name":"mcp__git__show""#), "{text}");
        let found = Namespaces::of(text.as_bytes());
        for name in ["log", "show"] {
            let namespace = "mcp__git__";
            let expected = Namespaced { namespace, name };
            assert_eq!(found.find(&[namespace, name].concat()), Some(expected));
        }
        assert_eq!(found.find("a"), None);
    }

    #[test]
    fn a_grammar_follows_the_description() {
        let body = r#"{"tools":[{"type":"custom","name":"p","description":"d","format":
            {"type":"grammar","syntax":"lark","definition":"start: \"a\"\n"}}]}"#;
        let text = expanded(body).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let told = "d\n\nThe input has to match this grammar (lark):\nstart: \"a\"\n";
        assert_eq!(value["tools"][0]["description"], told);
        let plain = r#"{"tools":[{"type":"custom","name":"grammar","description":"d"}]}"#;
        assert_eq!(expanded(plain).unwrap(), plain);
    }

    #[test]
    fn a_flat_name_is_one_that_providers_take_and_like_no_other() {
        assert_eq!(FlatName::of("git", "log").text, "git__log");
        let long = "n".repeat(80);
        let pairs = [
            ("a.b", "c"),
            ("a_b", "c"),
            ("a b", "c"),
            (&*long, "a"),
            (&*long, "b"),
            ("🦀", "f"),
        ];
        let names = pairs.map(|(namespace, name)| FlatName::of(namespace, name).text);
        for (namespace, name) in pairs {
            let body = format!(
                r#"{{"tools":[{{"type":"namespace","name":"{namespace}","tools":[{{ "name":"{name}" }}]}}]}}"#
            );
            let text = expanded(&body).unwrap();
            let found = Namespaces::of(text.as_bytes());
            let flat = FlatName::of(namespace, name).text;
            assert_eq!(
                found.find(&flat),
                Some(Namespaced { namespace, name }),
                "{text}"
            );
        }
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() <= 64, "{name}");
            assert!(
                name.bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
            );
            assert!(!names[..index].contains(name), "{name}");
        }
    }
}
