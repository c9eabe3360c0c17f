//! Why a request cannot be answered, and the reply that says so in the API of the request.

use std::borrow::Cow;
use std::time::Duration;

use crate::api::{ClientApi, InvalidRequest};
use crate::contract;
use crate::failure::Failure;
use crate::firewall::passes_to_client;
use crate::form::InvalidForm;
use crate::headers::Headers;
use crate::json::{InvalidJson, TooLong, Unwritten};
use crate::name::BackendName;
use crate::operation::table::Definition;
use crate::provider::dialect::Unsupported;

/// Why a request is not sent on, or waited for no longer. All are the client's doing, unless they
/// say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has answered in time.
    Deadline,
    /// No byte of the request's body has arrived for too long.
    BodyTimeout,
    /// The body is not what the operation takes.
    InvalidBody(InvalidJson),
    /// A member of the body stands there twice, so the provider could read the other one.
    DuplicateMember(String),
    /// The body is compressed, with this coding, and has to be read.
    ContentEncoding(String),
    /// The path could be that of another call than of this one, and rules depend on which it is.
    DisguisedPath,
    /// The body is a form that is not valid, or ambiguous.
    InvalidForm(InvalidForm),
    /// The path is not one.
    InvalidPath,
    /// There is no body, and the operation takes one.
    MissingBody,
    /// The operator's doing, or ours.
    Gateway(&'static str),
    /// The provider takes access tokens, and there is none at the moment, for this reason. The
    /// operator's doing, or of whoever gives tokens.
    NoCredential(String),
    /// The body names no model, and there is no default.
    MissingModel,
    /// The provider has the model in its path, where this name does not fit.
    ModelNotInPath(String),
    /// The path chooses a model, which is the configuration's to choose.
    ModelInPath,
    /// Routing goes by the model, and the request does not tell it in JSON.
    ModelNotRouted,
    /// `model` is not a string.
    ModelNotText,
    /// The provider has the model in its path, and the request does not tell it in JSON.
    ModelNotTold,
    /// The provider answered with a redirect of this status, which nobody may follow: there, the
    /// gateway's rules do not hold, and its address may have the key. The operator's doing, or the
    /// provider's.
    Redirected(u16),
    /// The provider has not begun its stream in time. The provider's doing.
    NoStream,
    /// The provider has said nothing for too long in the middle of its reply.
    Silence,
    /// The client sends this header, by which Envoy has chosen a route before the module does.
    ReservedHeader(&'static str),
    /// The body is larger than this many bytes.
    TooLarge(u64),
    /// The provider, of this type, cannot count tokens.
    CannotCount(&'static str),
    /// The call needs responses that are stored, and the backend, whose type this is, has none.
    NothingStored(&'static str),
    /// The body would be larger than this many bytes in the provider's dialect.
    TooLargeTranslated(usize),
    /// Trailers follow a body that is changed by its end, which they hide.
    Trailers,
    /// The model of this call cannot be read, and the configuration restricts the models.
    UncheckedOperation(&'static str),
    /// The backend does not serve this model.
    UnknownModel(String),
    /// The same of a model in the path of a request for models.
    UnknownModelInPath,
    /// The body is of a media type of which the model of this call cannot be read, and the configuration
    /// restricts the models.
    UnsupportedMediaType(&'static Definition),
    /// The provider's dialect has no such call.
    UnsupportedOperation {
        /// The type of the backend.
        provider: &'static str,
        /// The operation that was requested.
        operation: &'static str,
        /// Those that the backend has.
        served: Vec<&'static str>,
    },
    /// A parameter that is wrong, or that the provider's dialect cannot express: its name, if it is
    /// about one, and what about it.
    Parameter {
        /// The parameter as the client wrote it; `None`: the body as a whole.
        param: Option<String>,
        /// What about it.
        message: String,
        /// OpenAI's word for it.
        code: &'static str,
    },
    /// The gateway holds as much as it may: see [`crate::budget`].
    NoRoom,
    /// Every member of this pool wants a pause; the first has had it after this time.
    Pausing(BackendName, Duration),
    /// No route matches.
    UnknownRoute,
    /// Only these methods are allowed, as `allow` lists them.
    WrongMethod(String),
}

/// A reply that we give ourselves, before or instead of the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: String,
    /// The code of the error, where it is one.
    pub code: Option<String>,
}

impl LocalReply {
    /// A reply whose body is this JSON.
    pub fn json(status: u16, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), JSON.to_owned())];
        Self {
            status,
            headers,
            body,
            code: None,
        }
    }

    /// A reply without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
            code: None,
        }
    }

    /// An error in this API.
    pub fn error(failure: &Failure<'_>, api: &dyn ClientApi) -> Self {
        let mut reply = Self::json(failure.status, api.error(failure));
        reply.code = failure.code.as_deref().map(str::to_owned);
        reply
    }

    /// The same with what a provider's reply said in its headers, but for those that frame it or
    /// are not for clients.
    #[must_use]
    pub fn with_headers_of(mut self, headers: &Headers<'_>) -> Self {
        let kept = |name: &[u8]| {
            !name.starts_with(b":")
                && passes_to_client(name)
                && !matches!(
                    name,
                    b"connection"
                        | b"content-encoding"
                        | b"content-length"
                        | b"content-type"
                        | b"transfer-encoding"
                )
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let pairs = headers.iter().filter(|(name, _)| kept(name));
        self.headers
            .extend(pairs.filter_map(|(name, value)| Some((text(name)?, text(value)?))));
        self
    }
}

impl From<InvalidRequest> for Refusal {
    fn from(invalid: InvalidRequest) -> Self {
        Self::Parameter {
            param: invalid.param,
            message: invalid.message,
            code: "invalid_value",
        }
    }
}

impl From<Unsupported> for Refusal {
    fn from(unsupported: Unsupported) -> Self {
        // SDKs show the message alone, so it has the name as well.
        let Unsupported { param, message } = unsupported;
        let message = match message.contains(&param) {
            true => message,
            false => format!("{param:?}: {message}"),
        };
        Self::Parameter {
            param: Some(param),
            message,
            code: "unsupported_parameter",
        }
    }
}

impl From<Unwritten<Unsupported>> for Refusal {
    fn from(unwritten: Unwritten<Unsupported>) -> Self {
        match unwritten {
            Unwritten::Failed(unsupported) => Self::from(unsupported),
            Unwritten::TooLong(TooLong { limit }) => Self::TooLargeTranslated(limit),
        }
    }
}

impl Refusal {
    /// The reply to a request in this API.
    pub fn reply(&self, api: &dyn ClientApi) -> LocalReply {
        let mut reply = LocalReply::error(&self.failure(), api);
        let header = match self {
            Self::WrongMethod(allowed) => Some(("allow", allowed.clone())),
            // <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.16>
            Self::ContentEncoding(_) => Some(("accept-encoding", "identity".to_owned())),
            Self::UnsupportedMediaType(definition) => {
                Some(("accept", accepted(definition).replace(" or ", ", ")))
            }
            _ => None,
        };
        let header = header.map(|(name, value)| (name.to_owned(), value));
        reply.headers.extend(header);
        // Unit: seconds.
        let retry_after = match self {
            // As soon as there is a token, all is well.
            Self::NoCredential(_) | Self::NoRoom => Some(1),
            Self::Pausing(_, pause) => Some(seconds(*pause)),
            _ => None,
        };
        reply
            .headers
            .extend(retry_after.map(|it| ("retry-after".to_owned(), it.to_string())));
        reply
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidBody(_)
            | Self::DuplicateMember(_)
            | Self::DisguisedPath
            | Self::InvalidForm(_)
            | Self::InvalidPath
            | Self::MissingBody
            | Self::MissingModel
            | Self::ModelNotInPath(_)
            | Self::ModelNotRouted
            | Self::ModelNotText
            | Self::ModelNotTold
            | Self::NothingStored(_)
            | Self::Parameter { .. }
            | Self::ReservedHeader(_)
            | Self::Trailers => 400,
            Self::ModelInPath | Self::UncheckedOperation(_) => 403,
            Self::UnknownModel(_)
            | Self::UnknownModelInPath
            | Self::UnknownRoute
            | Self::UnsupportedOperation { .. } => 404,
            Self::WrongMethod(_) => 405,
            Self::BodyTimeout => 408,
            Self::TooLarge(_) | Self::TooLargeTranslated(_) => 413,
            Self::ContentEncoding(_) | Self::UnsupportedMediaType(_) => 415,
            Self::Gateway(_) => 500,
            Self::CannotCount(_) => 501,
            Self::Redirected(_) => 502,
            Self::NoCredential(_) | Self::NoRoom => 503,
            Self::Deadline | Self::NoStream | Self::Silence => 504,
            Self::Pausing(..) => 429,
        }
    }

    /// What the client is told.
    pub fn failure(&self) -> Failure<'_> {
        let (param, code) = match self {
            Self::InvalidBody(_) | Self::MissingBody => (None, Some("invalid_json")),
            Self::DuplicateMember(name) => (Some(name.as_str()), Some("duplicate_parameter")),
            Self::MissingModel => (Some("model"), Some("missing_required_parameter")),
            Self::ModelNotInPath(_) => (Some("model"), Some("invalid_value")),
            Self::ModelNotText => (Some("model"), Some("invalid_type")),
            Self::ModelNotRouted | Self::ModelNotTold => {
                (Some("model"), Some("missing_required_parameter"))
            }
            Self::UnknownModel(_) | Self::UnknownModelInPath => {
                (Some("model"), Some("model_not_found"))
            }
            Self::CannotCount(_) | Self::NothingStored(_) => (None, Some("not_supported")),
            Self::UnknownRoute => (None, Some("unknown_url")),
            Self::Parameter { param, code, .. } => (param.as_deref(), Some(*code)),
            Self::UnsupportedOperation { .. } => (None, Some("unsupported_operation")),
            Self::WrongMethod(_) => (None, Some("method_not_allowed")),
            Self::ReservedHeader(_) => (None, Some("reserved_header")),
            Self::Trailers => (None, Some("unsupported_trailers")),
            Self::TooLarge(_) | Self::TooLargeTranslated(_) => (None, Some("request_too_large")),
            Self::BodyTimeout => (None, Some("request_timeout")),
            Self::NoRoom => (None, Some("gateway_overloaded")),
            Self::InvalidPath | Self::DisguisedPath => (None, Some("invalid_url")),
            Self::ContentEncoding(_) => (None, Some("unsupported_content_encoding")),
            Self::InvalidForm(_) => (None, Some("invalid_form")),
            Self::ModelInPath => (Some("model"), Some("model_not_allowed")),
            Self::UncheckedOperation(_) => (None, Some("operation_not_allowed")),
            Self::UnsupportedMediaType(_) => (None, Some("unsupported_media_type")),
            Self::Deadline => (None, Some("deadline_exceeded")),
            Self::Redirected(_) => (None, Some("provider_redirect")),
            Self::NoStream => (None, Some("first_byte_timeout")),
            Self::Silence => (None, Some("stream_idle_timeout")),
            Self::Gateway(_) => (None, Some("gateway_error")),
            Self::NoCredential(_) => (None, Some("credential_unavailable")),
            Self::Pausing(..) => (None, Some("rate_limit_exceeded")),
        };
        Failure::new(self.status(), self.message())
            .with_param(param.map(Cow::Borrowed))
            .with_code(code.map(Cow::Borrowed))
    }

    fn message(&self) -> String {
        match self {
            Self::InvalidBody(invalid) => {
                format!("the request body is not a JSON object: {invalid}")
            }
            Self::DuplicateMember(name) => {
                format!("the request body has {name:?} more than once; send it once")
            }
            Self::Deadline => "no backend has answered within the deadline".to_owned(),
            Self::Redirected(status) => format!(
                "the provider answered with a redirect ({status}), which the gateway does not \
                 follow; the backend's endpoint or path may be wrong"
            ),
            Self::NoStream => "the provider has not begun its stream in time".to_owned(),
            Self::Silence => "the provider fell silent in the middle of its reply".to_owned(),
            Self::BodyTimeout => "the request body stopped arriving".to_owned(),
            Self::NoRoom => NO_ROOM.to_owned(),
            Self::ReservedHeader(name) => {
                format!("the header {name} is the gateway's own; send the request without it")
            }
            Self::InvalidPath => crate::operation::InvalidPath.to_string(),
            Self::ContentEncoding(coding) => format!(
                "the gateway reads the body of this operation, and it is encoded ({coding:?} in \
                 content-encoding); send it without content-encoding, uncompressed"
            ),
            Self::DisguisedPath => {
                "the path must name the operation in lower case, without escapes and without empty \
                 segments"
                    .to_owned()
            }
            Self::InvalidForm(invalid) => format!("the request body is not a valid form: {invalid}"),
            Self::ModelInPath => {
                "the gateway restricts the models here, and this path would choose one by itself; send \
                 model in the body"
                    .to_owned()
            }
            Self::UncheckedOperation(name) => format!(
                "the gateway restricts the models here, and cannot read which one the operation \
                 {name:?} uses; its backend has to list it under operations"
            ),
            Self::UnsupportedMediaType(definition) => format!(
                "the gateway reads the model from the body of the operation {:?}, which must be {}",
                definition.name,
                accepted(definition),
            ),
            Self::Gateway(reason) => (*reason).to_owned(),
            Self::NoCredential(reason) => reason.clone(),
            Self::Pausing(pool, pause) => format!(
                "every provider of {:?} asks for a pause; try again in {} seconds",
                pool.as_str(),
                seconds(*pause),
            ),
            Self::MissingBody => "this call needs a JSON object as its body".to_owned(),
            Self::MissingModel => "you must provide a model parameter".to_owned(),
            Self::ModelNotInPath(model) => {
                format!("the model {model:?} cannot stand in the provider's path")
            }
            Self::ModelNotRouted => {
                "requests to this path go by their model, which only a JSON body can tell"
                    .to_owned()
            }
            Self::ModelNotTold => {
                "this provider needs the model in its path; only a JSON body can tell it".to_owned()
            }
            Self::ModelNotText => "model must be a string".to_owned(),
            Self::TooLarge(limit) => {
                format!("the request body is larger than the limit of {limit} bytes")
            }
            Self::TooLargeTranslated(limit) => format!(
                "the request body becomes larger than the limit of {limit} bytes when it is \
                 translated into the provider's dialect"
            ),
            Self::Trailers => "a JSON body must not be followed by trailers".to_owned(),
            Self::UnknownModel(model) => format!("the model {model:?} is not served here"),
            Self::UnknownModelInPath => {
                "this model is not configured here by its name; ask for /models alone to see those \
                 that are"
                    .to_owned()
            }
            Self::UnknownRoute => contract::UNKNOWN_ROUTE.to_owned(),
            Self::Parameter { message, .. } => message.clone(),
            Self::CannotCount(provider) => format!(
                "a backend of type {provider:?} cannot count tokens; backends of type \"anthropic\" and \
                 \"google\" can"
            ),
            Self::UnsupportedOperation {
                provider,
                operation,
                served,
            } => format!(
                "this path goes to a backend of type {provider:?}, which does not serve this request \
                 (operation {operation:?}); it serves {}",
                served.join(", ")
            ),
            Self::NothingStored(provider) => format!(
                "a backend of type {provider:?} gets requests of the Responses API translated, and no \
                 response is stored: send the earlier items in \"input\" of POST /responses, or set \
                 \"responses: native\" where the provider speaks the API itself"
            ),
            Self::WrongMethod(allowed) => format!("the method is not allowed here; use {allowed}"),
        }
    }
}

/// The media types of which the model of a call can be read, as a list for readers.
fn accepted(definition: &Definition) -> String {
    let names: Vec<&str> = definition.media().iter().map(|it| it.as_str()).collect();
    names.join(" or ")
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// What a client sees when the memory for held requests and replies is used up.
pub const NO_ROOM: &str =
    "the gateway has no memory left for a body of this size; try again in a second";

/// The media type of what we answer.
pub const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::OpenAi;

    #[test]
    fn a_refusal_is_openai_shaped() {
        let body = Refusal::MissingModel.reply(&OpenAi).body;
        assert_eq!(
            body,
            r#"{"error":{"message":"you must provide a model parameter","type":"invalid_request_error","param":"model","code":"missing_required_parameter"}}"#
        );
        assert_eq!(Refusal::MissingModel.status(), 400);
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let refusal = Refusal::WrongMethod("GET, POST".to_owned());
        let reply = refusal.reply(&OpenAi);
        assert_eq!(
            reply.headers.last(),
            Some(&("allow".to_owned(), "GET, POST".to_owned()))
        );
    }
}
