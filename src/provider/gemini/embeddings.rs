//! OpenAI's embeddings as embedContent and batchEmbedContents.
//!
//! Sources, read 2026-11-21: <https://ai.google.dev/api/embeddings>,
//! <https://platform.openai.com/docs/api-reference/embeddings>.
//!
//! One text goes to `embedContent`, a list to `batchEmbedContents`. Tokens cannot be sent: they are
//! another vocabulary's. `user` has no counterpart.

use super::model::Model;
use super::rules;
use crate::base64;
use crate::chat::CallStyle;
use crate::json::{
    self, Ignored, Items, Piece, Raw, Read, Reader, Text, Unread, Unwritten, Writer, object,
};
use crate::provider::adapt::Adapter;
use crate::provider::dialect::{
    BrokenReply, Encoded, EncodedEmbeddings, Encoding, Head, Options, Unsupported,
};
use crate::usage::Usage;

/// An OpenAI request for embeddings in Google's words. `model` is the provider's name of the model:
/// the rules of the backend have been applied.
///
/// `limit`: how long its body may be. Unit: bytes.
///
/// # Errors
///
/// When a member is missing, is no such thing, or cannot be expressed; or it would be too long.
///
/// ```
/// use llm_proxy::json::Unwritten;
/// use llm_proxy::provider::dialect::Options;
/// use llm_proxy::provider::gemini::embeddings;
///
/// let options = Options::default();
/// let encode = |body: &[u8]| embeddings::encode(body, "gemini-embedding-001", &options, 1 << 20);
/// let encoded = encode(br#"{"model":"m","input":"hi","dimensions":3}"#).unwrap();
/// assert_eq!(encoded.request.head.suffix, "/models/gemini-embedding-001:embedContent");
///
/// let Err(Unwritten::Failed(unsupported)) = encode(br#"{"model":"m","input":[1,2]}"#) else {
///     panic!();
/// };
/// assert_eq!(unsupported.param, "input");
/// ```
pub fn encode(
    body: &[u8],
    model: &str,
    options: &Options,
    limit: usize,
) -> Result<EncodedEmbeddings, Unwritten<Unsupported>> {
    let model = Model::new(model).map_err(Unwritten::Failed)?;
    let wanted = Wanted::read(body, options).map_err(Unwritten::Failed)?;
    let one = |json: &mut Writer, text: Text<'_>, resource: Option<&str>| {
        json.object(|json| {
            // In a batch each request names the model that the path names.
            if let Some(resource) = resource {
                json.key("model").string(resource);
            }
            content(json.key("content"), text);
            if let Some(dimensions) = wanted.dimensions {
                json.key("outputDimensionality").number(dimensions);
            }
        });
    };
    if let Some(text) = wanted.only() {
        let path = model.path("embedContent");
        return wanted.encoded(path, body.len(), limit, &|json| one(json, text, None));
    }
    let resource = model.resource();
    let path = model.path("batchEmbedContents");
    wanted.encoded(path, body.len(), limit, &|json| {
        json.object(|json| {
            json.key("requests").array(|json| {
                for text in &wanted.texts {
                    one(json, *text, Some(&resource));
                }
            });
        });
    })
}

/// One text as Google has contents.
pub(in crate::provider) fn content(json: &mut Writer, text: Text<'_>) {
    json.object(|json| {
        json.key("parts")
            .array(|json| json.object(|json| json.key("text").quoted(text)));
    });
}

object! {
    /// An OpenAI request.
    Body<'a> {
        model: Ignored = b"model",
        input: Inputs<'a> = b"input",
        dimensions: Raw<'a> = b"dimensions",
        encoding_format: Raw<'a> = b"encoding_format",
        ..unknown
    }
}

/// `input`.
#[derive(Debug)]
struct Inputs<'a> {
    texts: Vec<Text<'a>>,
    is_list: bool,
}

impl<'a> Read<'a> for Inputs<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut texts = Vec::new();
        let is_list = match reader.peek() {
            Some(b'"') => {
                texts.push(reader.value()?);
                false
            }
            Some(b'[') => {
                // What is wrong first ends it: a list may have millions.
                reader.array(&mut |reader| {
                    if reader.peek() != Some(b'"') {
                        return Err(reader.unfit(
                            "a text, and only texts can be embedded: tokens belong to another \
                             vocabulary",
                        ));
                    }
                    if texts.len() >= MAX_INPUTS {
                        return Err(reader.unfit("taken: an input has at most 2048 texts"));
                    }
                    texts.push(reader.value()?);
                    Ok(())
                })?;
                true
            }
            _ => return Err(reader.unfit("a text or a list of texts")),
        };
        Ok(Self { texts, is_list })
    }
}

/// > any array must be 2048 dimensions or less
///
/// <https://platform.openai.com/docs/api-reference/embeddings/create>, read 2026-11-21.
const MAX_INPUTS: usize = 2048;

/// What an OpenAI request for embeddings asks for.
pub(in crate::provider) struct Wanted<'a> {
    /// At least one; none is empty.
    pub(in crate::provider) texts: Vec<Text<'a>>,
    /// Whether they came as a list, which may have one.
    is_list: bool,
    /// The length of the vectors, where the client says it: above 0.
    pub(in crate::provider) dimensions: Option<u64>,
    /// The form of the vectors.
    encoding: Encoding,
    /// See [`Head::adapted`].
    adapted: Option<String>,
}

impl<'a> Wanted<'a> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// When a member is missing, is no such thing, or cannot be expressed.
    pub(in crate::provider) fn read(
        text: &'a [u8],
        options: &Options,
    ) -> Result<Self, Unsupported> {
        let body: Body<'_> = json::read(text).map_err(|unread| unreadable(&unread, text))?;
        let adapter = Adapter::new(options.unsupported);
        for (name, _) in &body.unknown {
            match &**name {
                "user" => adapter.apply_to(&rules::USER, name),
                name => adapter.apply_to(&rules::UNKNOWN, name),
            }
        }
        let adapted = adapter.finish()?;
        let dimensions = body.dimensions.map(|it| json::read::<u64>(it.bytes()));
        let dimensions = match dimensions {
            None => None,
            Some(Ok(dimensions @ 1..)) => Some(dimensions),
            Some(_) => {
                let message = "dimensions must be a whole number above 0";
                return Err(wrong("dimensions", message));
            }
        };
        let encoding = match body.encoding_format.map(Raw::get) {
            None | Some("\"float\"") => Encoding::Float,
            Some("\"base64\"") => Encoding::Base64,
            Some(_) => {
                let message = "encoding_format must be float or base64";
                return Err(wrong("encoding_format", message));
            }
        };
        let Some(Inputs { texts, is_list }) = body.input else {
            return Err(wrong("input", "the request has no input"));
        };
        if texts.is_empty() || texts.iter().any(|it| it.is_empty()) {
            return Err(wrong("input", "the input must not be empty"));
        }
        Ok(Self {
            texts,
            is_list,
            dimensions,
            encoding,
            adapted,
        })
    }

    /// The text, where it came by itself and not in a list.
    pub(in crate::provider) fn only(&self) -> Option<Text<'a>> {
        let text = self.texts.first().copied();
        text.filter(|_| !self.is_list)
    }

    /// The request that goes to this path, whose body `write` writes. `length`: that of the client's
    /// body. Unit of `length` and `limit`: bytes.
    ///
    /// # Errors
    ///
    /// When the body would be too long.
    pub(in crate::provider) fn encoded(
        &self,
        suffix: String,
        length: usize,
        limit: usize,
        write: &dyn Fn(&mut Writer),
    ) -> Result<EncodedEmbeddings, Unwritten<Unsupported>> {
        let guess = length + MAX_AROUND_BYTES * self.texts.len();
        let ((), body) = json::write_within(guess, limit, &mut |json| {
            write(json);
            Ok(())
        })?;
        let head = Head {
            suffix,
            headers: &[],
            adapted: self.adapted.clone(),
            calls: CallStyle::All,
        };
        Ok(EncodedEmbeddings {
            request: Encoded { head, body },
            encoding: self.encoding,
            count: self.texts.len(),
        })
    }
}

/// What mostly stands around a text. Unit: bytes.
const MAX_AROUND_BYTES: usize = 128;

fn unreadable(unread: &Unread, text: &[u8]) -> Unsupported {
    let path = unread.path(text);
    let message = unread.message();
    match path.split_once(['[', '.']) {
        _ if path.is_empty() => wrong("input", &format!("the body is no request: {message}")),
        // What is wrong is named as a whole.
        Some((param, _)) => wrong(param, &format!("{path} {message}")),
        None => wrong(&path, &format!("{path} {message}")),
    }
}

fn wrong(param: &str, message: &str) -> Unsupported {
    Unsupported {
        param: param.to_owned(),
        message: message.to_owned(),
    }
}

/// Google's reply as OpenAI's, and what it cost. `model` is what the client calls the model, `limit` how
/// long the reply may be. Unit: bytes.
///
/// # Errors
///
/// When the bytes are no reply, hold another number of vectors than `count`, or become too long.
pub fn decode(
    body: &[u8],
    model: &str,
    encoding: Encoding,
    count: usize,
    limit: usize,
) -> Result<(Vec<u8>, Usage), BrokenReply> {
    let reply: Reply<'_> = json::read(body)?;
    let several = reply.embeddings.unwrap_or_default();
    let vectors = reply.embedding.into_iter().chain(several.iter());
    let usage = reply
        .usage_metadata
        .map_or_else(Usage::default, |it| Usage {
            prompt: it.prompt_token_count,
            total: it.total_token_count.or(it.prompt_token_count),
            ..Usage::default()
        });
    let list = List {
        model,
        encoding,
        count,
        usage: &usage,
    };
    let list = list.write(vectors.map(|it| it.values), body.len(), limit)?;
    Ok((list, usage))
}

/// OpenAI's list of vectors, but for these.
pub(in crate::provider) struct List<'l> {
    pub(in crate::provider) model: &'l str,
    pub(in crate::provider) encoding: Encoding,
    pub(in crate::provider) count: usize,
    pub(in crate::provider) usage: &'l Usage,
}

impl List<'_> {
    /// The list as JSON. `length`: that of the provider's reply. Unit of `length` and `limit`: bytes.
    ///
    /// # Errors
    ///
    /// When a vector is missing, there are not as many as there must be, or it would be too long.
    pub(in crate::provider) fn write<'a>(
        &self,
        vectors: impl Iterator<Item = Option<Values<'a>>> + Clone,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, BrokenReply> {
        let found = vectors.clone().count();
        if found != self.count {
            return Err(BrokenReply(format!(
                "it has {found} vectors for {} texts",
                self.count
            )));
        }
        let written = json::write_within(length, limit, &mut |json| {
            json.open_object();
            json.key("object").string("list");
            json.key("data").open_array();
            for (index, vector) in (0..).zip(vectors.clone()) {
                let vector = vector.ok_or_else(|| BrokenReply("a vector is missing".to_owned()))?;
                json.object(|json| {
                    json.key("object").string("embedding");
                    json.key("index").number(index);
                    json.key("embedding");
                    match self.encoding {
                        Encoding::Base64 => base64(json, vector.numbers.iter()),
                        Encoding::Float => json.raw(vector.text.get()),
                    }
                });
            }
            json.close_array();
            json.key("model").string(self.model);
            // OpenAI's object has both counts always: one that is not said is 0, as in chat.
            json.key("usage").object(|json| {
                let Usage { prompt, total, .. } = self.usage;
                json.key("prompt_tokens").number(prompt.unwrap_or_default());
                json.key("total_tokens").number(total.unwrap_or_default());
            });
            json.close_object();
            Ok(())
        });
        written.map(|((), list)| list).map_err(BrokenReply::from)
    }
}

/// A vector's numbers, which are read one by one.
#[derive(Clone, Debug)]
pub(in crate::provider) struct Values<'a> {
    /// As the provider wrote them.
    text: Raw<'a>,
    numbers: Items<'a, f64>,
}

impl<'a> Read<'a> for Values<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        // Also where the numbers pass as they are, they must be numbers.
        let numbers = reader.clone().value()?;
        let text = reader.value()?;
        Ok(Self { text, numbers })
    }
}

/// Base64 of the numbers' bytes: 32-bit floats, little-endian.
fn base64(json: &mut Writer, numbers: impl Iterator<Item = f64>) {
    // Whole groups of three bytes.
    const MAX_BYTES: usize = 3 << 10;
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    json.open_string();
    for number in numbers {
        // OpenAI's have this precision.
        bytes.extend_from_slice(&(number as f32).to_le_bytes());
        if bytes.len() >= MAX_BYTES {
            json.piece(Piece::Plain(&base64::encode(&bytes)));
            bytes.clear();
        }
    }
    json.piece(Piece::Plain(&base64::encode(&bytes)));
    json.close_string();
}

object! {
    Reply<'a> {
        embedding: ContentEmbedding<'a> = b"embedding",
        embeddings: Items<'a, ContentEmbedding<'a>> = b"embeddings",
        usage_metadata: UsageMetadata = b"usageMetadata",
    }
}

object! {
    #[derive(Clone)]
    ContentEmbedding<'a> {
        values: Values<'a> = b"values",
    }
}

object! {
    UsageMetadata {
        prompt_token_count: u64 = b"promptTokenCount",
        total_token_count: u64 = b"totalTokenCount",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::TooLong;

    fn failure(unwritten: Unwritten<Unsupported>) -> Unsupported {
        match unwritten {
            Unwritten::Failed(unsupported) => unsupported,
            Unwritten::TooLong(_) => panic!("{unwritten:?}"),
        }
    }

    fn encoded(body: &str) -> Result<EncodedEmbeddings, Unsupported> {
        let encoded = encode(body.as_bytes(), "models/e", &Options::default(), 1 << 20);
        encoded.map_err(failure)
    }

    #[test]
    fn as_many_texts_as_openai_takes_are_embedded() {
        let inputs = |count: usize| format!(r#"{{"input":[{}"a"]}}"#, r#""a","#.repeat(count - 1));
        assert_eq!(encoded(&inputs(2048)).unwrap().count, 2048);
        let error = encoded(&inputs(2049)).unwrap_err();
        assert_eq!(error.param, "input");
        assert_eq!(
            error.message,
            "input[2048] is not taken: an input has at most 2048 texts"
        );
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let body = br#"{"input":["abc","def"]}"#;
        let options = Options::default();
        let length = encode(body, "e", &options, 1 << 20)
            .unwrap()
            .request
            .body
            .len();
        assert!(encode(body, "e", &options, length).is_ok());
        let limit = length - 1;
        assert_eq!(
            encode(body, "e", &options, limit),
            Err(Unwritten::TooLong(TooLong { limit }))
        );
        let reply = br#"{"embedding":{"values":[1,2,3]}}"#;
        let decoded = |limit| decode(reply, "m", Encoding::Float, 1, limit);
        let length = decoded(1 << 20).unwrap().0.len();
        assert!(decoded(length).is_ok() && decoded(length - 1).is_err());
    }

    #[test]
    fn one_text_or_many_are_embedded() {
        for (body, suffix, expected, encoding, count) in [
            (
                r#"{"model":"x","input":"hi","user":null}"#,
                "/models/e:embedContent",
                r#"{"content":{"parts":[{"text":"hi"}]}}"#,
                Encoding::Float,
                1,
            ),
            (
                r#"{"input":["a","b"],"dimensions":2,"encoding_format":"base64"}"#,
                "/models/e:batchEmbedContents",
                r#"{"requests":[{"model":"models/e","content":{"parts":[{"text":"a"}]},"outputDimensionality":2},{"model":"models/e","content":{"parts":[{"text":"b"}]},"outputDimensionality":2}]}"#,
                Encoding::Base64,
                2,
            ),
        ] {
            let it = encoded(body).unwrap();
            assert_eq!(it.request.head.suffix, suffix);
            assert_eq!(String::from_utf8(it.request.body).unwrap(), expected);
            assert_eq!((it.encoding, it.count), (encoding, count));
        }
    }

    #[test]
    fn what_cannot_be_embedded_is_named() {
        for (body, param) in [
            (r#"{"model":"x"}"#, "input"),
            (r#"{"input":null}"#, "input"),
            (r#"{"input":""}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":["a",""]}"#, "input"),
            (r#"{"input":[1,2]}"#, "input"),
            (r#"{"input":[[1,2]]}"#, "input"),
            (r#"{"input":{}}"#, "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","dimensions":"3"}"#, "dimensions"),
            (
                r#"{"input":"a","encoding_format":"int8"}"#,
                "encoding_format",
            ),
            (r#"{"input":"a","title":"t"}"#, "title"),
            ("[]", "input"),
            ("\u{0}", "input"),
        ] {
            assert_eq!(encoded(body).unwrap_err().param, param, "{body}");
        }
        let drops = Options {
            unsupported: crate::provider::adapt::Policy::Drop,
            ..Options::default()
        };
        let encode = |body: &[u8], model| encode(body, model, &drops, 1 << 20).map_err(failure);
        assert!(encode(br#"{"input":"a","title":"t"}"#, "e").is_ok());
        assert_eq!(encode(br#"{"input":[1]}"#, "e").unwrap_err().param, "input");
        assert_eq!(
            encode(br#"{"input":"a"}"#, "../e").unwrap_err().param,
            "model"
        );
    }

    #[test]
    fn vectors_are_written_as_the_client_asked() {
        for (body, encoding, expected) in [
            (
                r#"{"embedding":{"values":[0.25,-1]},"usageMetadata":{"promptTokenCount":3}}"#,
                Encoding::Float,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-1]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
            ),
            (
                r#"{"embeddings":[{"values":[1,-2]}]}"#,
                Encoding::Base64,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAMA="}],"model":"m","usage":{"prompt_tokens":0,"total_tokens":0}}"#,
            ),
        ] {
            let (reply, _) = decode(body.as_bytes(), "m", encoding, 1, 1 << 20).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        for numbers in [0, 1, 2, 3, 767, 768, 769, 3000] {
            let numbers: Vec<f64> = (0..numbers).map(f64::from).collect();
            let mut json = Writer::default();
            base64(&mut json, numbers.iter().copied());
            let bytes: Vec<u8> = numbers
                .iter()
                .flat_map(|it| (*it as f32).to_le_bytes())
                .collect();
            let expected = format!("\"{}\"", base64::encode(&bytes));
            assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"embedding":{}}"#,
            r#"{"embedding":{"values":["a"]}}"#,
            r#"{"embeddings":[{"values":[1]},{"values":[1]}]}"#,
            r#"{"embedding":{"values":{}}}"#,
        ] {
            assert!(
                decode(body.as_bytes(), "m", Encoding::Float, 1, 1 << 20).is_err(),
                "{body}"
            );
        }
    }
}
