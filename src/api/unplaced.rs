//! Members of a request that the neutral conversation has no place for.

use std::borrow::Cow;

use super::InvalidRequest;
use crate::json::Raw;

/// Notes the members of an object that the conversation has no place for.
pub(super) fn note(
    unplaced: &mut Vec<String>,
    path: impl Fn() -> String,
    unknown: &[(Cow<'_, str>, Raw<'_>)],
) -> Result<(), InvalidRequest> {
    unknown
        .iter()
        .try_for_each(|(name, _)| note_path(unplaced, format!("{}.{name}", path())))
}

/// Notes a path, unless there is one that differs in nothing but numbers: a member that every one of
/// a million messages has is refused once, and needs no memory of a million paths.
pub(super) fn note_path(unplaced: &mut Vec<String>, path: String) -> Result<(), InvalidRequest> {
    let pattern = |path: &str| -> Vec<u8> {
        let bytes = path.bytes();
        bytes.filter(|byte| !byte.is_ascii_digit()).collect()
    };
    let new = pattern(&path);
    if unplaced.iter().any(|it| pattern(it) == new) {
        return Ok(());
    }
    if unplaced.len() >= MAX_UNPLACED {
        let message = "is one of too many members that are not known";
        return Err(InvalidRequest::at(path, message));
    }
    unplaced.push(path);
    Ok(())
}

/// The most kinds of members without a place that a request may have.
const MAX_UNPLACED: usize = 64;
