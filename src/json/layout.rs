//! A JSON text whose values are visited in any order and more than once, without a tree.
//!
//! A tree of small values takes up to a hundred times their text. Here a value is a piece of the text,
//! and to visit what is in it is to read it again. That would read a deep text as often as it is deep,
//! so one thing is noted: where the long objects and arrays end.

use super::quoted::Quoted;
use super::raw::Raw;
use super::read::{Reader, Unread};

/// A text that is one JSON value, and the ends of the long objects and arrays in it.
#[derive(Debug)]
pub struct Layout<'a> {
    text: &'a [u8],
    /// Offset and length of each object and array of at least [`LONG`] bytes, by offset.
    long: Vec<(u32, u32)>,
}

/// A text that has no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLayout {
    /// It is not JSON, or nested deeper than a [`Reader`] goes.
    Invalid,
    /// It has more values or levels than it may.
    TooLarge,
}

impl<'a> Layout<'a> {
    /// Reads a text twice: to count the long objects and arrays, and to note them.
    ///
    /// `values`: how many there may be, those within others included. `depth`: how many objects and
    /// arrays may be open at once.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or has more than that.
    pub fn new(text: &'a [u8], values: usize, depth: usize) -> Result<Self, NoLayout> {
        let mut count = Count {
            values,
            depth,
            long: 0,
            is_too_large: u32::try_from(text.len()).is_err(),
        };
        let mut reader = Reader::new(text);
        let counted = count.value(&mut reader).and_then(|()| reader.end());
        match counted {
            _ if count.is_too_large => return Err(NoLayout::TooLarge),
            Err(_) => return Err(NoLayout::Invalid),
            Ok(()) => {}
        }
        // One that is open is noted before it is known whether it is long.
        let mut long = Vec::with_capacity(match count.long {
            0 => 0,
            some => some + depth,
        });
        if count.long > 0 {
            // It has been read before: there is nothing to fail on.
            _ = note(&mut long, &mut Reader::new(text));
        }
        Ok(Self { text, long })
    }

    /// The value that the text is.
    pub fn root(&self) -> Value<'_> {
        self.value(0)
    }

    /// The value that starts there, or behind white space there.
    pub fn value(&self, at: usize) -> Value<'_> {
        let mut reader = self.reader(at);
        self.next(&mut reader)
    }

    fn reader(&self, at: usize) -> Reader<'_> {
        Reader::new(self.text.get(at..).unwrap_or_default())
    }

    /// The value that comes next in a text of which all has been checked.
    fn next<'o>(&'o self, reader: &mut Reader<'o>) -> Value<'o> {
        let first = reader.peek();
        let rest = reader.rest();
        let at = self.text.len() - rest.len();
        let known = match first {
            Some(b'{' | b'[') => self.long_at(at),
            _ => None,
        };
        let text = match known.and_then(|length| rest.get(..length)) {
            Some(text) => {
                reader.advance(text.len());
                text
            }
            None => reader.skip().unwrap_or_default(),
        };
        Value {
            layout: self,
            at,
            text,
        }
    }

    fn long_at(&self, at: usize) -> Option<usize> {
        let found = self
            .long
            .binary_search_by(|(start, _)| (*start as usize).cmp(&at));
        let (_, length) = self.long.get(found.ok()?)?;
        Some(*length as usize)
    }
}

/// What is counted when a text is read first.
struct Count {
    values: usize,
    depth: usize,
    long: usize,
    is_too_large: bool,
}

impl Count {
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), Unread> {
        let first = reader.peek();
        let length = reader.rest().len();
        let is_container = matches!(first, Some(b'{' | b'['));
        self.is_too_large |= self.values == 0 || is_container && self.depth == 0;
        if self.is_too_large {
            return Err(reader.unfit("taken: it is too large"));
        }
        self.values -= 1;
        if !is_container {
            return reader.skip().map(drop);
        }
        self.depth -= 1;
        match first {
            Some(b'{') => reader.object(&mut |reader, _| self.value(reader))?,
            _ => reader.array(&mut |reader| self.value(reader))?,
        }
        self.depth += 1;
        self.long += usize::from(length - reader.rest().len() >= LONG);
        Ok(())
    }
}

/// Notes the long objects and arrays of a value.
fn note(long: &mut Vec<(u32, u32)>, reader: &mut Reader<'_>) -> Result<(), Unread> {
    let first = reader.peek();
    if !matches!(first, Some(b'{' | b'[')) {
        return reader.skip().map(drop);
    }
    let before = reader.rest().len();
    let index = long.len();
    // The whole is shorter than 4 GiB.
    long.push((reader.at() as u32, 0));
    match first {
        Some(b'{') => reader.object(&mut |reader, _| note(long, reader))?,
        _ => reader.array(&mut |reader| note(long, reader))?,
    }
    let length = before - reader.rest().len();
    match long.get_mut(index) {
        Some(entry) if length >= LONG => entry.1 = length as u32,
        // What is in a short one is short, too.
        _ => long.truncate(index),
    }
    Ok(())
}

/// A value of a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub struct Value<'o> {
    layout: &'o Layout<'o>,
    at: usize,
    /// Without white space around it.
    text: &'o [u8],
}

impl<'o> Value<'o> {
    /// What it is a part of.
    pub fn whole(self) -> &'o Layout<'o> {
        self.layout
    }

    /// Where it starts. Unit: bytes from the start of the whole.
    pub fn at(self) -> usize {
        self.at
    }

    /// How long its text is. Unit: bytes.
    pub fn length(self) -> usize {
        self.text.len()
    }

    /// Its text.
    pub fn raw(self) -> Raw<'o> {
        Raw::checked(self.text)
    }

    /// The string that it is.
    pub fn quoted(self) -> Option<Quoted<'o>> {
        let inner = self.text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(Quoted::checked(inner))
    }

    /// Whether it is this string, without escapes.
    pub fn is(self, string: &str) -> bool {
        self.quoted()
            .is_some_and(|it| it.text() == string.as_bytes())
    }

    /// The whole number that it is.
    pub fn integer(self) -> Option<i64> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// `true` or `false`.
    pub fn bool(self) -> Option<bool> {
        match self.text {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.text == b"null"
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        matches!(self.text.first(), Some(b'-' | b'0'..=b'9'))
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.text.first() == Some(&b'{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.text.first() == Some(&b'[')
    }

    /// The members of an object; none of anything else.
    pub fn members(self) -> impl Iterator<Item = Member<'o>> + Clone + use<'o> {
        let mut reader = self.inside(b'{');
        std::iter::from_fn(move || {
            if reader.peek()? != b'"' {
                return None;
            }
            let at = self.layout.text.len() - reader.rest().len();
            let name = reader.quoted().ok()?;
            reader.peek();
            // The colon.
            reader.advance(1);
            let value = self.layout.next(&mut reader);
            skip_comma(&mut reader);
            Some(Member { at, name, value })
        })
    }

    /// The items of an array; none of anything else.
    pub fn items(self) -> impl Iterator<Item = Self> + Clone + use<'o> {
        let mut reader = self.inside(b'[');
        std::iter::from_fn(move || {
            if reader.peek()? == b']' {
                return None;
            }
            let value = self.layout.next(&mut reader);
            skip_comma(&mut reader);
            Some(value)
        })
    }

    /// The first member of this name, without escapes.
    pub fn get(self, name: &str) -> Option<Self> {
        let found = self.members().find(|it| it.name_text() == name.as_bytes());
        found.map(|it| it.value)
    }

    /// A reader behind the opening bracket; at the end where it starts with another one.
    fn inside(self, bracket: u8) -> Reader<'o> {
        match self.text.first() == Some(&bracket) {
            true => self.layout.reader(self.at + 1),
            false => Reader::new(&[]),
        }
    }
}

/// Goes past the comma, if there is one: a closing bracket stays, as the end of all that is visited.
fn skip_comma(reader: &mut Reader<'_>) {
    if reader.peek() == Some(b',') {
        reader.advance(1);
    }
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'o> {
    at: usize,
    name: Quoted<'o>,
    /// What it is.
    pub value: Value<'o>,
}

impl<'o> Member<'o> {
    /// Its name.
    pub fn name(&self) -> Quoted<'o> {
        self.name
    }

    /// Its name as it stands: two that differ may mean the same, where one has escapes.
    pub fn name_text(&self) -> &'o [u8] {
        self.name.text()
    }
}

/// The members of several objects, of each name the first. Names are the same that are written in the
/// same way: who writes one of them with escapes writes all of them so.
#[derive(Debug)]
pub struct Union<'o> {
    layout: &'o Layout<'o>,
    /// Where the name of each stands, by the names.
    firsts: Vec<u32>,
}

impl<'o> Union<'o> {
    /// The members of these objects, of which earlier ones count before later ones.
    pub fn new(layout: &'o Layout<'o>, objects: impl Iterator<Item = Value<'o>> + Clone) -> Self {
        let mut firsts = Vec::with_capacity(objects.clone().flat_map(Value::members).count());
        // The whole is shorter than 4 GiB.
        firsts.extend(objects.flat_map(Value::members).map(|it| it.at as u32));
        let mut union = Self { layout, firsts };
        let mut firsts = std::mem::take(&mut union.firsts);
        // It keeps the order of those that are called the same. `sorted` would need more memory.
        firsts.sort_by(|a, b| union.name(*a).cmp(union.name(*b)));
        firsts.dedup_by(|later, first| union.name(*later) == union.name(*first));
        union.firsts = firsts;
        union
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// Which one of them has this name.
    ///
    /// 0 <= position < len
    pub fn position(&self, name: Quoted<'_>) -> Option<usize> {
        let found = self
            .firsts
            .binary_search_by(|it| self.name(*it).cmp(name.text()));
        found.ok()
    }

    /// Whether a member is the first of its name.
    pub fn has(&self, member: &Member<'_>) -> bool {
        let first = self
            .position(member.name)
            .and_then(|it| self.firsts.get(it));
        first.is_some_and(|at| *at as usize == member.at)
    }

    /// The name that stands there.
    fn name(&self, at: u32) -> &'o [u8] {
        let name = self.layout.reader(at as usize).quoted();
        name.map(Quoted::text).unwrap_or_default()
    }
}

/// From which length on the end of an object or an array is noted: to skip a shorter one takes hardly
/// longer than to look it up. However values are nested, what is noted is less than twice the text.
///
/// Unit: bytes.
const LONG: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as it is visited, as text.
    fn visited(value: Value<'_>) -> String {
        if value.is_object() {
            let member = |it: Member<'_>| {
                let name = String::from_utf8_lossy(it.name_text()).into_owned();
                format!("\"{name}\":{}", visited(it.value))
            };
            let members: Vec<String> = value.members().map(member).collect();
            return format!("{{{}}}", members.join(","));
        }
        if value.is_array() {
            let items: Vec<String> = value.items().map(visited).collect();
            return format!("[{}]", items.join(","));
        }
        value.raw().get().to_owned()
    }

    #[test]
    fn all_values_are_visited_in_order() {
        let long = "x".repeat(LONG);
        for text in [
            "1",
            "[]",
            "{}",
            r#" [ 1 , "a]\"" , [ [ ] , { } ] , null ] "#,
            &format!(r#"{{"a": [[{{"b":"{long}"}}, 1], 2], "\u0063": {{"d":{{}}}}}}"#),
            &format!(r#"[[["{long}"],["{long}","{long}"]],[],"{long}"]"#),
        ] {
            let layout = Layout::new(text.as_bytes(), 100, 100).unwrap();
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            let found: serde_json::Value = serde_json::from_str(&visited(layout.root())).unwrap();
            assert_eq!(found, expected);
            assert!(
                layout
                    .long
                    .iter()
                    .all(|(_, length)| *length as usize >= LONG)
            );
            assert_eq!(layout.long.is_empty(), text.len() < LONG, "{text}");
        }
    }

    #[test]
    fn what_is_too_large_or_no_json_has_no_layout() {
        for (text, error) in [
            ("[1,1,1,1]", NoLayout::TooLarge),
            ("[[[]]]", NoLayout::TooLarge),
            ("[1,]", NoLayout::Invalid),
            ("[] 1", NoLayout::Invalid),
            ("", NoLayout::Invalid),
        ] {
            let layout = Layout::new(text.as_bytes(), 4, 2);
            assert_eq!(layout.map(|it| it.text.len()), Err(error), "{text}");
        }
        assert!(Layout::new(b"[[1],1]", 4, 2).is_ok());
    }

    #[test]
    fn what_is_noted_is_less_than_twice_the_text() {
        let deep = |depth: usize, inner: usize| {
            let unit = "[".repeat(depth) + "\"" + &"x".repeat(inner) + "\"" + &"]".repeat(depth);
            format!("[{}]", vec![unit; 50].join(","))
        };
        for (depth, inner) in [(126, 256), (126, 10), (126, 120), (60, 200), (100, 240)] {
            let text = deep(depth, inner);
            let layout = Layout::new(text.as_bytes(), 100_000, 127).unwrap();
            let noted = layout.long.capacity() * size_of::<(u32, u32)>();
            assert!(
                noted <= 2 * text.len() + 2048,
                "{depth} {inner}: {noted} of {}",
                text.len()
            );
        }
    }

    #[test]
    fn the_first_of_each_name_is_in_the_union() {
        let text = r#"[{"b":1,"a":2},{"a":3,"c":4},{"b":5,"c":6}]"#;
        let layout = Layout::new(text.as_bytes(), 100, 100).unwrap();
        let union = Union::new(&layout, layout.root().items());
        assert_eq!(union.len(), 3);
        let members = layout.root().items().flat_map(Value::members);
        let firsts: Vec<i64> = members
            .filter(|it| union.has(it))
            .filter_map(|it| it.value.integer())
            .collect();
        assert_eq!(firsts, [1, 2, 4]);
        assert!(union.position(Quoted::checked(b"b")).is_some());
        assert_eq!(union.position(Quoted::checked(b"d")), None);
    }
}
