//! Shows that a variant does what its row says, before it is measured: what does nothing is fast.

use anyhow::{Context, Result, ensure};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use serde_json::Value;

use crate::dialect::{self, Dialect};
use crate::envoy::{self, Envoy, Variant};
use crate::load;
use crate::provider::Provider;
use crate::workload::{Answer, Workload};

/// Sends one request, looks at what arrives, and at what comes back.
///
/// # Errors
///
/// When the bare Envoy, the echo or the floor changes something, or another variant does not do all of its work.
pub async fn check(
    envoy: &Envoy,
    variant: &Variant,
    workload: &Workload,
    provider: &Provider,
) -> Result<()> {
    let dialect = workload.dialect;
    let answer = load::run_recorded(envoy.address(), workload, variant.words()).await?;
    let record = provider.take_record().context("nothing arrived")?;
    let path = dialect.path(workload.answer == Answer::Stream);
    ensure!(record.path == path, "path: {}", record.path);
    let header = |name| text_of(&record.headers, name);
    let sent: Value = serde_json::from_slice(&record.body)?;
    if matches!(
        variant,
        Variant::Bare | Variant::Echo(_) | Variant::Floor(_)
    ) {
        ensure!(record.body == workload.native, "the body was changed");
        ensure!(header(HOST.as_str()) == Some(workload.gateway_host()));
        ensure!(header(AUTHORIZATION.as_str()) == Some(load::CREDENTIAL));
        return check_same(&answer, workload);
    }

    ensure!(header(HOST.as_str()) == Some(dialect.provider_host()));
    let (name, prefix) = dialect.key_header();
    let key = format!("{prefix}{}", envoy::KEY);
    ensure!(header(name) == Some(&*key), "{name} is not {key}");
    if dialect == Dialect::OpenAi {
        let mut expected: Value = serde_json::from_slice(&workload.body)?;
        if let Some(member) = expected.get_mut("model") {
            *member = envoy::MODEL.into();
        }
        ensure!(sent == expected, "the body is not what was to be sent");
        return check_same(&answer, workload);
    }
    ensure!(header(AUTHORIZATION.as_str()).is_none());
    let expected: Value = serde_json::from_slice(&workload.native)?;
    ensure!(
        said(&sent) == said(&expected),
        "the body does not say what the client's does: {sent:.2000}"
    );
    match workload.answer {
        Answer::Completion => check_completion(&answer),
        Answer::Stream => check_stream(&answer, dialect),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The client has got the provider's own bytes.
fn check_same(answer: &[u8], workload: &Workload) -> Result<()> {
    let expected = match workload.answer {
        Answer::Completion => workload.dialect.completion().to_owned(),
        Answer::Stream => (0..crate::workload::CHUNKS)
            .map(|number| workload.dialect.event(number))
            .collect(),
    };
    ensure!(answer == expected.as_bytes(), "the answer was changed");
    Ok(())
}

/// Whatever a body says, in no order, but for the word that a text is a text: both ways to write
/// one are right.
fn said(body: &Value) -> Vec<String> {
    fn collect(value: &Value, said: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, said)),
            Value::Object(members) => {
                let said_here = members.iter().filter(|(name, _)| *name != "type");
                said_here.for_each(|(_, value)| collect(value, said));
            }
            scalar => said.push(scalar.to_string()),
        }
    }
    let mut said = Vec::new();
    collect(body, &mut said);
    said.sort();
    said
}

/// The client has got a chat completion of OpenAI's.
fn check_completion(answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let at = |pointer| answer.pointer(pointer).unwrap_or(&Value::Null);
    for (pointer, expected) in [
        ("/object", Value::from("chat.completion")),
        ("/choices/0/message/content", dialect::TEXT.into()),
        ("/choices/0/finish_reason", "stop".into()),
        ("/usage/prompt_tokens", dialect::PROMPT_TOKENS.into()),
    ] {
        ensure!(*at(pointer) == expected, "{pointer} of {answer}");
    }
    Ok(())
}

/// The client has got a stream of OpenAI's.
fn check_stream(answer: &[u8], dialect: Dialect) -> Result<()> {
    let answer = std::str::from_utf8(answer)?;
    let mut data = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data:").map(str::trim_start));
    ensure!(data.next_back() == Some("[DONE]"), "no end: {answer}");
    let mut text = String::new();
    let mut ends = Vec::new();
    for chunk in data {
        let chunk: Value = serde_json::from_str(chunk)?;
        let at = |pointer| chunk.pointer(pointer).and_then(Value::as_str);
        ensure!(at("/object") == Some("chat.completion.chunk"), "{chunk}");
        text.push_str(at("/choices/0/delta/content").unwrap_or_default());
        ends.extend(at("/choices/0/finish_reason").map(str::to_owned));
    }
    let expected = dialect::WORD.repeat(dialect.words());
    ensure!(text == expected, "the text is not the provider's: {text}");
    ensure!(ends == ["stop"], "it ends with {ends:?}");
    Ok(())
}
