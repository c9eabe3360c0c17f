//! The next reply of the mock model, as prescribed by a test; every dialect writes it, whole or streamed.
//!
//! A scripted reply has the bytes of one dialect. Where a test does not know the dialect, or whether
//! the client will stream, it prescribes what the model says, and each dialect writes it: see
//! `POST /says` of the control API. A request that is refused uses none.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;

/// One answer, as posted to `/says`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saying {
    /// What it thinks first, where its dialect has a place for that.
    #[serde(default)]
    pub thinking: Option<String>,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub calls: Vec<Call>,
    /// A value in the form that the request wants: JSON text where it wants JSON, else a call of the
    /// function that it forces, or of the first that it offers.
    #[serde(default)]
    pub value: Option<Value>,
}

/// A call of a function.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub name: String,
    pub arguments: Value,
}

/// What a request wants a value to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// JSON text.
    Json,
    /// A call of this function.
    Call(&'a str),
}

/// What a model says, with ids.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Which of the prescribed answers this is, from 1; 0: none of them.
    pub number: u64,
    pub thinking: Option<String>,
    pub text: Option<String>,
    /// Id, name and arguments.
    pub calls: Vec<(String, String, Value)>,
}

impl Said {
    /// A text and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    /// The id of the reply, beginning with `stem`. Clients tell two replies by it.
    pub fn id(&self, stem: &str) -> String {
        match self.number {
            0 => stem.to_owned(),
            number => format!("{stem}-{number}"),
        }
    }

    /// A call and nothing else.
    pub fn call(id: &str, name: &str, arguments: Value) -> Self {
        Self {
            calls: vec![(id.to_owned(), name.to_owned(), arguments)],
            ..Self::default()
        }
    }
}

/// The answers that wait for their requests.
#[derive(Debug, Default)]
pub struct Says(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    sayings: VecDeque<Saying>,
    /// How many there have been: ids of calls are made of it.
    count: u64,
}

impl Says {
    /// Puts answers behind those that are there.
    pub fn append(&self, sayings: Vec<Saying>) {
        self.waiting().sayings.extend(sayings);
    }

    /// Forgets all that have not been used.
    pub fn clear(&self) {
        self.waiting().sayings.clear();
    }

    /// How many have not been used.
    pub fn remaining(&self) -> usize {
        self.waiting().sayings.len()
    }

    /// The next one; it counts as used.
    pub fn take(&self, wanted: Wanted<'_>) -> Option<Said> {
        let mut waiting = self.waiting();
        let saying = waiting.sayings.pop_front()?;
        waiting.count += 1;
        let count = waiting.count;
        drop(waiting);
        let Saying {
            thinking,
            mut text,
            mut calls,
            value,
        } = saying;
        match (value, wanted) {
            (None, _) => {}
            (Some(value), Wanted::Json) => text = Some(value.to_string()),
            (Some(arguments), Wanted::Call(name)) => calls.push(Call {
                name: name.to_owned(),
                arguments,
            }),
        }
        let calls = calls.into_iter().enumerate();
        let calls = calls.map(|(index, it)| {
            let id = format!("call_mock_{count}_{index}");
            (id, it.name, it.arguments)
        });
        Some(Said {
            number: count,
            thinking,
            text,
            calls: calls.collect(),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_takes_the_form_that_is_wanted() {
        let says = Says::default();
        let value = json!({"value": {"a": 1}});
        let sayings = json!([value, value, {"text": "t", "thinking": "h"}]);
        says.append(serde_json::from_value(sayings).unwrap());
        let json = says.take(Wanted::Json).unwrap();
        assert_eq!(json.text.as_deref(), Some(r#"{"a":1}"#));
        let call = says.take(Wanted::Call("f")).unwrap();
        let expected = ("call_mock_2_0".to_owned(), "f".to_owned(), json!({"a": 1}));
        assert_eq!(call.calls, [expected]);
        assert_eq!(says.remaining(), 1);
        let both = says.take(Wanted::Json).unwrap();
        assert_eq!(
            (both.text.as_deref(), both.thinking.as_deref()),
            (Some("t"), Some("h"))
        );
        assert!(says.take(Wanted::Json).is_none());
    }
}
