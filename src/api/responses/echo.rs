//! What a response repeats of its request.
//!
//! OpenAI repeats all of it but the input, several times in a stream. Here it is what is short: nothing
//! that a client does not know is in it.

use crate::json::{Raw, Reader, Seen, Writer};

/// The members that are repeated, in the order in which they are written, and what they are where the
/// request has none, or a long one; `None`: they are left out then.
const MEMBERS: [(&str, Option<&str>); 18] = [
    ("background", Some("false")),
    ("instructions", Some("null")),
    ("max_output_tokens", Some("null")),
    ("max_tool_calls", Some("null")),
    ("metadata", Some("{}")),
    ("parallel_tool_calls", Some("true")),
    ("previous_response_id", Some("null")),
    ("prompt_cache_key", None),
    ("reasoning", Some("null")),
    ("safety_identifier", None),
    ("store", None),
    ("temperature", Some("null")),
    ("text", None),
    ("tool_choice", Some("\"auto\"")),
    ("top_logprobs", None),
    ("top_p", Some("null")),
    ("truncation", Some("\"disabled\"")),
    ("user", None),
];

/// The longest value that is repeated. Unit: bytes.
const MAX_VALUE_BYTES: usize = 2048;

/// The members as JSON text, in the order of [`MEMBERS`].
#[derive(Debug, Default)]
pub(super) struct Echo(Vec<(&'static str, String)>);

impl Echo {
    /// Of a request's body.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut found: [Option<String>; MEMBERS.len()] = Default::default();
        let mut reader = Reader::new(body);
        let mut seen = Seen::default();
        // It has been read before: there is nothing to fail on.
        _ = reader.object(&mut |reader, key| {
            let name = key.bytes();
            let place = MEMBERS.iter().position(|(it, _)| it.as_bytes() == name);
            let value: Raw<'_> = reader.value()?;
            if let Some(place) = place
                && let Some(found) = found.get_mut(place)
                && value.bytes().len() <= MAX_VALUE_BYTES
                && value.get() != "null"
            {
                reader.see(&mut seen, u32::try_from(place).unwrap_or_default())?;
                *found = Some(value.get().to_owned());
            }
            Ok(())
        });
        let members = MEMBERS.iter().zip(found);
        let members = members.filter_map(|((name, default), found)| {
            Some((*name, found.or_else(|| default.map(str::to_owned))?))
        });
        Self(members.collect())
    }

    /// Writes the members.
    pub(super) fn write(&self, json: &mut Writer) {
        for (name, value) in &self.0 {
            json.key(name).raw(value);
        }
    }

    /// Whether the client may refer to items of the response: it has not said that it keeps them itself.
    pub(super) fn is_stored(&self) -> bool {
        !self
            .0
            .iter()
            .any(|(name, value)| *name == "store" && value == "false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echoed(body: &str) -> String {
        let mut json = Writer::default();
        json.object(|json| Echo::of(body.as_bytes()).write(json));
        String::from_utf8(json.into_bytes()).unwrap()
    }

    #[test]
    fn what_is_short_is_repeated() {
        let long = "x".repeat(MAX_VALUE_BYTES);
        let body = format!(
            r#"{{"model":"m","input":[],"instructions":"{long}","temperature":0.5,"user":null,
               "text":{{"verbosity":"low"}},"store":true,"tool_choice":{{"type":"custom","name":"f"}}}}"#
        );
        let expected = concat!(
            r#"{"background":false,"instructions":null,"max_output_tokens":null,"#,
            r#""max_tool_calls":null,"metadata":{},"parallel_tool_calls":true,"#,
            r#""previous_response_id":null,"reasoning":null,"store":true,"temperature":0.5,"#,
            r#""text":{"verbosity":"low"},"tool_choice":{"type":"custom","name":"f"},"top_p":null,"#,
            r#""truncation":"disabled"}"#
        );
        assert_eq!(echoed(&body), expected);
        assert!(Echo::of(body.as_bytes()).is_stored() && Echo::of(b"{}").is_stored());
        assert!(!Echo::of(br#"{"store": false }"#).is_stored());
    }
}
