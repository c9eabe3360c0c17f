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
#[cfg(not(target_os = "wasi"))]
mod text;
pub mod value;
#[cfg(not(target_os = "wasi"))]
pub(crate) mod yaml;

use serde_json::Value;

pub use self::build::Environment;
pub use self::error::{ConfigError, ConfigErrors, KeyPath, MAX_ERRORS, Position, Subject};
#[cfg(not(target_os = "wasi"))]
pub use self::text::Text;
#[cfg(not(target_os = "wasi"))]
pub use self::yaml::MAX_TEXT_BYTES;
pub use crate::gateway::Gateway;

impl Gateway {
    /// Reads a configuration: YAML or JSON.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    #[cfg(not(target_os = "wasi"))]
    pub fn parse(text: &str, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        Self::of(&Text::new(text), environment)
    }

    /// The same of a text that is parsed already.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    #[cfg(not(target_os = "wasi"))]
    pub fn of(text: &Text<'_>, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let (file, errors) = text.read()?;
        if errors.are_full() {
            return Err(text.located(errors.clone()));
        }
        let errors = errors.clone().up_to(environment.most_errors());
        let built = build(file.as_ref(), errors, environment);
        built.map_err(|errors| text.located(errors))
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
            return Self::read(Ok(&Value::Object(members)), environment);
        }
        let text = String::from_utf8_lossy(bytes);
        let value = read::parse_json(&text).map_err(|error| match text.trim_start() {
            "" => format!("the plugin configuration is empty; {PLUGIN_FORMS}"),
            json if json.starts_with('{') => error,
            _ => format!("the plugin configuration is not JSON: {error}; {PLUGIN_FORMS}"),
        });
        Self::read(value.as_ref().map_err(String::as_str), environment)
    }

    fn read(
        value: Result<&Value, &str>,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let file = read_file(value, &mut errors);
        build(file.as_ref(), errors, environment)
    }
}

/// Builds a gateway from what could be read, to find further errors.
fn build(
    file: Option<&file::Gateway>,
    mut errors: ConfigErrors,
    environment: &dyn Environment,
) -> Result<Gateway, ConfigErrors> {
    let gateway = file.and_then(|file| build::gateway(file, environment, &mut errors));
    gateway.filter(|_| errors.is_empty()).ok_or(errors)
}

fn read_file(value: Result<&Value, &str>, errors: &mut ConfigErrors) -> Option<file::Gateway> {
    use self::read::FromValue;

    match value {
        Ok(value) => {
            refuse_empty_keys(value, errors);
            file::Gateway::from_value(value, &KeyPath::root(), errors)
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
