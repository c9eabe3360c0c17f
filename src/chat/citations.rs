//! Citations on their way to a client: no more of them than an answer has, whatever a provider sends.

use super::Annotation;

/// Collects the pages that a reply cites.
///
/// A provider can name one page in few bytes many times, so what is kept is bounded: what comes beyond
/// is left out.
#[derive(Debug, Default)]
pub struct Citations {
    all: Vec<Annotation>,
    /// Of their titles and addresses. Unit: bytes.
    bytes: usize,
}

/// Unit: annotations, bytes.
const MAX_ANNOTATIONS: usize = 1024;
const MAX_BYTES: usize = 256 << 10;

impl Citations {
    /// Adds one, unless it has no address, or is the one before again.
    pub fn push(&mut self, it: Annotation) {
        let bytes = self.bytes + it.title.len() + it.url.len();
        let is_new = self.all.last() != Some(&it);
        if !it.url.is_empty() && is_new && self.all.len() < MAX_ANNOTATIONS && bytes <= MAX_BYTES {
            self.bytes = bytes;
            self.all.push(it);
        }
    }

    /// What they keep. Unit: bytes.
    pub fn kept_bytes(&self) -> usize {
        self.bytes + self.all.len() * size_of::<Annotation>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All, in the order in which they were added.
    pub fn as_slice(&self) -> &[Annotation] {
        &self.all
    }

    /// The same, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [Annotation] {
        &mut self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_an_answer_has() {
        let page = |start: usize, url: String| Annotation {
            start,
            end: start + 1,
            title: "t".to_owned(),
            url,
        };
        let mut citations = Citations::default();
        citations.push(page(0, String::new()));
        assert!(citations.is_empty());
        for number in 0..10_000 {
            citations.push(page(number, "https://a.example".to_owned()));
            citations.push(page(number, "https://a.example".to_owned()));
        }
        assert_eq!(citations.as_slice().len(), MAX_ANNOTATIONS);
        let mut citations = Citations::default();
        for number in 0..100 {
            citations.push(page(number, "x".repeat(100_000)));
        }
        assert!(citations.kept_bytes() < MAX_BYTES + 1024);
    }
}
