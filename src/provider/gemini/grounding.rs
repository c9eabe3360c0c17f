//! What an answer is grounded on, which OpenAI calls its annotations.
//!
//! Source: <https://ai.google.dev/api/generate-content#GroundingMetadata>, and `google-genai` 3.6.1,
//! `GroundingMetadata`, `GroundingSupport` and `Segment`.
//!
//! ```text
//!  groundingChunks:   [{"web": {"uri", "title"}}, …]
//!  groundingSupports: [{"segment": {"partIndex", "startIndex", "endIndex"}, "groundingChunkIndices": [0]}]
//! ```
//!
//! > `start_index`: Start index in the given Part, measured in bytes.
//!
//! A client counts characters. In a stream the indices are about all of the text so far, so it is kept
//! where characters have more than one byte.

use crate::chat::Annotation;
use crate::chat::citations::Citations;
use crate::json::{Items, Quoted, object};

object! {
    #[derive(Clone)]
    pub(super) GroundingMetadata<'a> {
        chunks: Items<'a, Chunk<'a>> = b"groundingChunks",
        supports: Items<'a, Support<'a>> = b"groundingSupports",
    }
}

object! {
    pub(super) Chunk<'a> {
        web: Page<'a> = b"web",
        maps: Page<'a> = b"maps",
        retrieved: Page<'a> = b"retrievedContext",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Page<'a> {
        uri: Quoted<'a> = b"uri",
        title: Quoted<'a> = b"title",
    }
}

object! {
    pub(super) Support<'a> {
        segment: Segment = b"segment",
        chunks: Items<'a, u64> = b"groundingChunkIndices",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Segment {
        part: u64 = b"partIndex",
        start: u64 = b"startIndex",
        end: u64 = b"endIndex",
    }
}

/// The text of one choice as far as it has come: where its parts begin, and which of its characters
/// have more than one byte.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Unit: bytes.
    length: usize,
    /// Where each part of the reply begins, from the first part on that has an index.
    parts: Vec<usize>,
    /// Where a character begins (30 bits), and how many bytes more it has than one (2 bits).
    wide: Vec<u32>,
    is_too_long: bool,
}

/// Unit: parts, characters, bytes.
const MAX_PARTS: usize = 1024;
const MAX_WIDE: usize = 64 << 10;
const MAX_LENGTH: usize = 1 << 30;
/// How many pages are looked at.
const MAX_CHUNKS: usize = 1024;

impl Places {
    /// The next part begins.
    pub(super) fn begin_part(&mut self) {
        if self.parts.len() < MAX_PARTS {
            self.parts.push(self.length);
        }
    }

    /// More text.
    pub(super) fn push(&mut self, text: &str) {
        if !text.is_ascii() {
            let wide = text.char_indices().filter(|(_, it)| it.len_utf8() > 1);
            for (at, it) in wide {
                let place = u32::try_from((self.length + at) << 2 | (it.len_utf8() - 1));
                match place {
                    Ok(place) if self.wide.len() < MAX_WIDE => self.wide.push(place),
                    _ => self.is_too_long = true,
                }
            }
        }
        self.length += text.len();
        self.is_too_long |= self.length > MAX_LENGTH;
    }

    /// What it keeps. Unit: bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        (self.wide.len() + 2 * self.parts.len()) * size_of::<u32>()
    }

    /// How many characters there are before a byte.
    fn characters(&self, byte: usize) -> usize {
        let byte = byte.min(self.length);
        let count = self
            .wide
            .partition_point(|it| (*it >> 2) as usize + ((*it & 3) as usize) < byte);
        let wide = self.wide.get(..count).unwrap_or_default();
        byte - wide.iter().map(|it| (it & 3) as usize).sum::<usize>()
    }

    /// The annotations that the metadata come to.
    pub(super) fn annotations(&self, it: &GroundingMetadata<'_>, citations: &mut Citations) {
        if self.is_too_long {
            return;
        }
        let pages: Vec<_> = it
            .chunks
            .iter()
            .flat_map(Items::iter)
            .take(MAX_CHUNKS)
            .collect();
        let mut cite = |(start, end): (usize, usize), page: Option<&Chunk<'_>>| {
            let Some(page) = page.and_then(|it| it.web.or(it.maps).or(it.retrieved)) else {
                return;
            };
            let text = |it: Option<Quoted<'_>>| {
                let text = it.and_then(Quoted::decode).unwrap_or_default();
                text.into_owned()
            };
            let url = text(page.uri);
            if url.starts_with("http") {
                let title = text(page.title);
                citations.push(Annotation {
                    start,
                    end,
                    title,
                    url,
                });
            }
        };
        let index = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        let mut has_supports = false;
        for support in it.supports.iter().flat_map(Items::iter) {
            has_supports = true;
            let segment = support.segment.unwrap_or_default();
            let part = index(segment.part.unwrap_or_default());
            let base = self.parts.get(part).copied().unwrap_or_default();
            let place = |it: Option<u64>| {
                let byte = base.saturating_add(index(it.unwrap_or_default()));
                self.characters(byte)
            };
            let span = (place(segment.start), place(segment.end));
            for number in support.chunks.iter().flat_map(Items::iter) {
                cite(span, pages.get(index(number)));
            }
        }
        // Pages about the answer as a whole.
        if !has_supports {
            let span = (0, self.characters(self.length));
            pages.iter().for_each(|page| cite(span, Some(page)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn cited(texts: &[&str], metadata: &str) -> Vec<(usize, usize, String)> {
        let mut places = Places::default();
        for text in texts {
            places.begin_part();
            places.push(text);
        }
        let metadata: GroundingMetadata<'_> = json::read(metadata.as_bytes()).expect(metadata);
        let mut citations = Citations::default();
        places.annotations(&metadata, &mut citations);
        let all = citations.as_slice().iter();
        all.map(|it| (it.start, it.end, it.url.clone())).collect()
    }

    #[test]
    fn bytes_of_a_part_become_characters_of_the_text() {
        let page = |name: &str| format!(r#"{{"web":{{"uri":"https://{name}","title":"t"}}}}"#);
        let chunks = format!(
            r#"{{"groundingChunks":[{},{},{{"web":{{"uri":"gs://x"}}}}],"groundingSupports":"#,
            page("a"),
            page("b")
        );
        let segment = |part: usize, start: usize, end: usize, chunks: &str| {
            format!(
                r#"{{"segment":{{"partIndex":{part},"startIndex":{start},"endIndex":{end}}},"groundingChunkIndices":{chunks}}}"#
            )
        };
        let url = |name: &str| format!("https://{name}");
        // "é" has 2 bytes, "🦀" has 4.
        let supports = [
            segment(0, 0, 3, "[0,1,2,9]"),
            segment(1, 4, 5, "[1]"),
            segment(1, 0, 900, "[0]"),
        ];
        let metadata = format!("{chunks}[{}]}}", supports.join(","));
        assert_eq!(
            cited(&["éa", "🦀b"], &metadata),
            [
                (0, 2, url("a")),
                (0, 2, url("b")),
                (3, 4, url("b")),
                (2, 4, url("a")),
            ]
        );
        let whole = format!("{chunks}[]}}");
        let expected = [(0, 2, url("a")), (0, 2, url("b"))];
        assert_eq!(cited(&["éa"], &whole), expected);
        assert_eq!(cited(&["a"], r#"{"webSearchQueries":["q"]}"#), []);
        assert_eq!(cited(&["a"], r#"{"groundingSupports":[{}]}"#), []);
    }
}
