//! What is sent: chat requests as the OpenAI SDK writes them, at several sizes.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// One row of the table: a request, and how it is repeated.
pub struct Workload {
    /// What the row is called.
    pub name: String,
    /// Whose API the provider speaks.
    pub dialect: Dialect,
    /// The request's body, as OpenAI's SDK writes it.
    pub body: Bytes,
    /// The same in the provider's own words, for an Envoy that does not translate.
    pub native: Bytes,
    /// What is answered.
    pub answer: Answer,
    /// How many connections ask at once.
    pub connections: usize,
    /// How many requests one slice of the measurement has.
    pub requests: usize,
    /// The ratio to aim at.
    pub aim: f64,
    /// Whether it is sent to a pool of two, whose first member answers.
    pub is_pool: bool,
    /// Whether there is a picture in it.
    pub has_image: bool,
}

/// What the provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One short chat completion.
    Completion,
    /// [`CHUNKS`] events, [`PACE_MS`] apart.
    Stream,
}

impl Workload {
    fn new(name: String, dialect: Dialect, conversation: &Conversation) -> Self {
        // Compact, and with characters beyond ASCII as they are: so do the SDKs.
        let text = |body: Value| Bytes::from(body.to_string());
        Self {
            name,
            dialect,
            body: text(conversation.to_openai(dialect.model())),
            native: text(dialect.request(conversation)),
            answer: match conversation.is_stream {
                true => Answer::Stream,
                false => Answer::Completion,
            },
            connections: 1,
            requests: 0,
            aim: 0.0,
            is_pool: false,
            has_image: conversation.image.is_some(),
        }
    }

    /// The host that clients name, by which Envoy finds the provider or the pool.
    pub fn gateway_host(&self) -> &'static str {
        if self.is_pool {
            POOL_HOST
        } else {
            self.dialect.gateway_host()
        }
    }

    /// What the CPU time is divided by, for each request.
    pub fn units_per_request(&self) -> usize {
        match self.answer {
            Answer::Completion => 1,
            Answer::Stream => CHUNKS,
        }
    }

    /// What [`units_per_request`](Self::units_per_request) counts.
    pub fn unit(&self) -> &'static str {
        match self.answer {
            Answer::Completion => "request",
            Answer::Stream => "chunk",
        }
    }
}

/// Every row whose CPU time is measured.
pub fn all() -> Vec<Workload> {
    let mut all = Vec::new();
    for (size, bytes, image_bytes, connections, requests, aim) in [
        ("2 KB", 2 << 10, 0, 16, 2400, 1.3),
        ("200 KB", 200 << 10, 0, 8, 480, 1.8),
        ("5 MB", 5 << 20, 4 << 20, 4, 32, 1.4),
    ] {
        for place in [Place::First, Place::Last] {
            let conversation = Conversation::new(bytes, image_bytes, place, false);
            let name = format!("{size}, `model` {}", place.name());
            let workload = Workload::new(name, Dialect::OpenAi, &conversation);
            all.push(Workload {
                connections,
                requests,
                aim,
                ..workload
            });
        }
    }
    all.push(stream(Dialect::OpenAi, "stream", 120, 1.1));
    let conversation = Conversation::new(2 << 10, 0, Place::Last, false);
    all.push(Workload {
        connections: 16,
        requests: 2400,
        aim: 1.6,
        is_pool: true,
        ..Workload::new(
            "pool, 2 KB, first attempt".to_owned(),
            Dialect::OpenAi,
            &conversation,
        )
    });
    for (dialect, to) in [
        (Dialect::Anthropic, "to Anthropic"),
        (Dialect::Gemini, "to Gemini"),
    ] {
        for (size, bytes, image_bytes, connections, requests, aim) in [
            ("2 KB", 2 << 10, 0, 16, 1600, 1.65),
            ("200 KB", 200 << 10, 0, 8, 240, 2.0),
            ("5 MB with an image", 5 << 20, 4 << 20, 4, 32, 1.8),
        ] {
            let conversation = Conversation::new(bytes, image_bytes, Place::Last, false);
            let workload = Workload::new(format!("{to}, {size}"), dialect, &conversation);
            all.push(Workload {
                connections,
                requests,
                aim,
                ..workload
            });
        }
        all.push(stream(dialect, &format!("{to}, stream"), 80, 1.15));
    }
    all
}

fn stream(dialect: Dialect, name: &str, requests: usize, aim: f64) -> Workload {
    let conversation = Conversation::new(2 << 10, 0, Place::Last, true);
    Workload {
        connections: 40,
        requests,
        aim,
        ..Workload::new(name.to_owned(), dialect, &conversation)
    }
}

/// What shows whether memory grows: 20 MB with images, and the model last, so that headers are
/// held as long as they ever are.
pub fn large() -> Workload {
    let conversation = Conversation::new(20 << 20, 19 << 20, Place::Last, false);
    Workload {
        connections: 4,
        ..Workload::new("20 MB".to_owned(), Dialect::OpenAi, &conversation)
    }
}

/// Where `model` stands. The OpenAI SDK for Python writes `messages` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

/// What is said, in no provider's words.
pub struct Conversation {
    /// What the assistant is to be.
    pub system: String,
    /// Who says what: `user` or `assistant`.
    pub turns: Vec<(&'static str, String)>,
    /// Whether the answer is to be streamed.
    pub is_stream: bool,
    /// A picture, as a data URI.
    image: Option<String>,
    place: Place,
}

impl Conversation {
    /// How long the answer may be. Unit: tokens.
    pub const MAX_TOKENS: u64 = 1024;

    /// How even it is to be.
    pub const TEMPERATURE: f64 = 0.2;

    /// One of about so many bytes, of which so many are an image.
    fn new(bytes: usize, image_bytes: usize, place: Place, is_stream: bool) -> Self {
        let mut turns = Vec::new();
        let mut left = bytes.saturating_sub(image_bytes).saturating_sub(400);
        while left > 0 {
            let length = left.min(TURN_BYTES);
            left -= length;
            let role = ["user", "assistant"]
                .get(turns.len() % 2)
                .unwrap_or(&"user");
            turns.push((*role, prose(turns.len(), length)));
        }
        Self {
            system: "You are a careful assistant. Answer in the user's language, and be brief."
                .to_owned(),
            turns,
            is_stream,
            image: (image_bytes > 0).then(|| data_uri(image_bytes)),
            place,
        }
    }

    /// The picture: its question, and its media type and its bytes in base64.
    pub fn image(&self) -> Option<(&'static str, &'static str, &str)> {
        let data = self.image.as_deref()?.strip_prefix(IMAGE_PREFIX)?;
        Some((IMAGE_QUESTION, IMAGE_TYPE, data))
    }

    /// A request in OpenAI's words.
    pub fn to_openai(&self, model: &str) -> Value {
        let mut messages = vec![json!({"role": "system", "content": self.system})];
        for (role, text) in &self.turns {
            messages.push(json!({"role": role, "content": text}));
        }
        if let Some(image) = &self.image {
            messages.push(json!({"role": "user", "content": [
                {"type": "text", "text": IMAGE_QUESTION},
                {"type": "image_url", "image_url": {"url": image}},
            ]}));
        }
        let mut body = Map::new();
        if self.place == Place::First {
            body.insert("model".to_owned(), model.into());
        }
        body.insert("messages".to_owned(), messages.into());
        if self.place == Place::Last {
            body.insert("model".to_owned(), model.into());
        }
        body.insert("max_completion_tokens".to_owned(), Self::MAX_TOKENS.into());
        body.insert("temperature".to_owned(), Self::TEMPERATURE.into());
        if self.is_stream {
            body.insert("stream".to_owned(), true.into());
        }
        body.into()
    }
}

/// About so many bytes of text as people paste it: sentences, quotes, line ends, some code, some
/// characters beyond ASCII.
fn prose(seed: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 200);
    for paragraph in PARAGRAPHS.iter().cycle().skip(seed) {
        if text.len() >= bytes {
            break;
        }
        text.push_str(paragraph);
    }
    // Cut where a character ends.
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// About so many bytes of something that looks like a photograph in base64.
fn data_uri(bytes: usize) -> String {
    let mut uri = String::from(IMAGE_PREFIX);
    let mut state = 1_u64;
    while uri.len() < bytes {
        // Knuth's MMIX generator; only its high bits are good.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let letter = BASE64.get((state >> 58) as usize).copied();
        uri.push(char::from(letter.unwrap_or(b'A')));
    }
    uri
}

const IMAGE_QUESTION: &str = "What is in this image?";
const IMAGE_TYPE: &str = "image/jpeg";
const IMAGE_PREFIX: &str = "data:image/jpeg;base64,";

/// The host of the pool.
pub const POOL_HOST: &str = "pool.gateway.example.com";

/// How many events a streamed answer has.
pub const CHUNKS: usize = 100;

/// How long the provider waits between two events. Long enough that each is read by itself, short
/// enough that forty streams keep a core busy.
pub const PACE_MS: u64 = 2;

/// About how long one message is.
const TURN_BYTES: usize = 3000;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const PARAGRAPHS: [&str; 6] = [
    "The quarterly report was late again, and nobody could say why. \"It is on my desk,\" she \
     said, \"but the figures for March do not add up.\" We went through the ledger line by line \
     and found the same invoice booked twice, once under the old account and once under the \
     new one.\n\n",
    "Please summarise the meeting below in five bullet points, keep the names of the people who \
     promised something, and mark open questions with a question mark. Do not invent dates; if \
     a date was not mentioned, say so.\n\n",
    "```python\ndef mean(values):\n    \"\"\"The arithmetic mean; values is not empty.\"\"\"\n    \
     total = 0.0\n    for value in values:\n        total += value\n    return total / \
     len(values)\n```\n\n",
    "Die Lieferung traf am Dienstag ein – drei Tage später als zugesagt – und enthielt nur die \
     Hälfte der bestellten Geräte. Können Sie das bitte prüfen und uns bis Freitag Bescheid \
     geben?\n\n",
    "1. Restart the service.\n2. Watch the log for \"connection refused\".\n3. If it appears more \
     than twice a minute, open C:\\logs\\proxy and send us the newest file.\n\n",
    "In the end the simplest explanation held: the clock of the second machine ran four minutes \
     slow, so every token that it issued had expired before it arrived. Nothing was wrong with \
     the network, the certificate, or the code that we had spent two days reading. We set the \
     clock, wrote a check for it, and went home.\n\n",
];
