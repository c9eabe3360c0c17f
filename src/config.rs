//! Reads a configuration and builds a [`Gateway`] from it.
//!
//! A document is read in two steps. [`mod@file`] has the keys as a person writes them; [`Gateway`] is
//! what they mean, with variables expanded, defaults filled in and names resolved.

mod build;
pub mod defaults;
mod error;
pub mod file;
pub mod keys;
mod protobuf;
pub(crate) mod read;
#[cfg(not(target_family = "wasm"))]
pub mod schema;
pub mod value;
#[cfg(not(target_os = "wasi"))]
pub(crate) mod yaml;

use serde_json::Value;

pub use self::build::Environment;
pub use self::error::{ConfigError, ConfigErrors, KeyPath, Position, Subject};
pub use crate::gateway::Gateway;

impl Gateway {
    /// Reads a configuration: YAML or JSON.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    #[cfg(not(target_os = "wasi"))]
    pub fn parse(text: &str, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let yaml::Document { value, places } = read::parse(text).map_err(ConfigErrors::from)?;
        Self::read(Ok(value), environment).map_err(|errors| located(errors, &places))
    }

    /// Reads a plugin configuration as Envoy hands it over: a `google.protobuf.Struct`, or JSON.
    ///
    /// YAML text is refused: a reader of YAML would be a tenth of the module.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn parse_plugin(bytes: &[u8], environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        if let Some(members) = protobuf::decode_struct(bytes).filter(|it| !it.is_empty()) {
            return Self::read(Ok(Value::Object(members)), environment);
        }
        let text = String::from_utf8_lossy(bytes);
        let value = read::parse_json(&text).map_err(|error| match text.trim_start() {
            "" => format!("the plugin configuration is empty; {PLUGIN_FORMS}"),
            json if json.starts_with('{') => error,
            _ => format!("the plugin configuration is not JSON: {error}; {PLUGIN_FORMS}"),
        });
        Self::read(value, environment)
    }

    fn read(
        value: Result<Value, String>,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let gateway = read_file(value, &mut errors)
            .and_then(|file| build::gateway(&file, environment, &mut errors));
        gateway.filter(|_| errors.is_empty()).ok_or(errors)
    }
}

/// Reads a configuration as it is written, without expanding or resolving anything.
///
/// # Errors
///
/// Everything that does not fit the keys, each with its key path.
#[cfg(not(target_os = "wasi"))]
pub fn parse_file(text: &str) -> Result<file::Gateway, ConfigErrors> {
    let yaml::Document { value, places } = read::parse(text).map_err(ConfigErrors::from)?;
    let mut errors = ConfigErrors::default();
    let file = read_file(Ok(value), &mut errors);
    let file = file.filter(|_| errors.is_empty());
    file.ok_or_else(|| located(errors, &places))
}

#[cfg(not(target_os = "wasi"))]
fn located(mut errors: ConfigErrors, places: &yaml::Places) -> ConfigErrors {
    errors.locate(|error| match error.subject {
        Subject::Key => places.key(&error.at),
        Subject::Value => places.value(&error.at),
    });
    errors
}

#[cfg(not(target_os = "wasi"))]
impl From<yaml::Invalid> for ConfigErrors {
    fn from(invalid: yaml::Invalid) -> Self {
        let mut errors = Self::default();
        errors.push_at(invalid.position, &invalid.at, invalid.message);
        errors
    }
}

fn read_file(value: Result<Value, String>, errors: &mut ConfigErrors) -> Option<file::Gateway> {
    use self::read::FromValue;

    match value {
        Ok(value) => {
            refuse_empty_keys(&value, errors);
            file::Gateway::from_value(&value, &KeyPath::root(), errors)
        }
        Err(message) => {
            errors.push(&KeyPath::root(), message);
            None
        }
    }
}

/// Notes credentials that are written and empty. Elsewhere null is the same as absent; here it would send
/// the client's own credential to the provider, which nobody means by `apiKey:` with nothing behind it.
fn refuse_empty_keys(value: &Value, errors: &mut ConfigErrors) {
    let backends = value.get("backends").and_then(Value::as_array);
    for (index, backend) in backends.into_iter().flatten().enumerate() {
        let config = backend.get("config");
        for key in ["apiKey", "serviceAccount", "serviceAccountFile"] {
            if config
                .and_then(|it| it.get(key))
                .is_some_and(Value::is_null)
            {
                let at = KeyPath::root().key("backends").index(index);
                let message = "is empty; write \"${NAME}\", or remove the key";
                errors.push(&at.key("config").key(key), message);
            }
        }
    }
}

/// How YAML becomes what the module reads.
const PLUGIN_FORMS: &str = "the module reads no YAML text. In YAML around it, write the same keys as \
     a message: \"configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: \
     {placement: …}}\". In a StringValue, write JSON; \"llm-proxy render\" does";
