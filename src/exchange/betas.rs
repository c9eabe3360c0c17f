//! The values of a client's `anthropic-beta` that reach a provider.
//!
//! <https://platform.claude.com/docs/en/api/beta-headers>, read 2026-11-28: the header has a list, and
//! a provider that does not know one of its values answers 400.

use crate::backend::Backend;
use crate::headers::{HeaderEdit, Headers};

/// The header.
pub const BETA_HEADER: &str = "anthropic-beta";

/// What becomes of the values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Betas {
    /// Those that pass, as one list; `None`: none does.
    pub passing: Option<String>,
    /// Whether all that the client sent pass.
    is_whole: bool,
}

impl Betas {
    /// The values of a request's headers, at this backend. Where the configuration sets the header, the
    /// client's does not count.
    pub fn of(headers: &Headers<'_>, backend: &Backend) -> Self {
        let whole = Self {
            passing: None,
            is_whole: true,
        };
        if backend
            .headers
            .iter()
            .any(|(name, _)| &**name == BETA_HEADER)
        {
            return whole;
        }
        let sent = headers
            .iter()
            .filter(|(name, _)| *name == BETA_HEADER.as_bytes());
        let sent = sent.filter_map(|(_, value)| std::str::from_utf8(value).ok());
        let sent = sent.flat_map(|value| value.split(','));
        let sent: Vec<&str> = sent.map(str::trim).filter(|it| !it.is_empty()).collect();
        let passing: Vec<&str> = sent
            .iter()
            .copied()
            .filter(|value| backend.betas.iter().any(|glob| glob.matches(value)))
            .collect();
        Self {
            is_whole: passing.len() == sent.len(),
            passing: (!passing.is_empty()).then(|| passing.join(",")),
        }
    }

    /// The change to the header of a request that otherwise passes.
    pub fn edit(self) -> Option<HeaderEdit> {
        match (self.is_whole, self.passing) {
            (true, _) => None,
            (false, Some(passing)) => Some(HeaderEdit::set(BETA_HEADER, passing)),
            (false, None) => Some(HeaderEdit::remove(BETA_HEADER)),
        }
    }
}
