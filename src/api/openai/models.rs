//! The list of models.
//!
//! Source: <https://platform.openai.com/docs/api-reference/models>, read 2026-11-21.

use crate::api::Model;
use crate::json;

/// A model object. When a model was made nobody here knows.
pub fn model(model: &Model) -> String {
    format!(
        r#"{{"id":{},"object":"model","created":0,"owned_by":{}}}"#,
        json::encode_string(&model.id),
        json::encode_string(model.owner),
    )
}

/// The list of these models.
pub fn list(models: &[Model]) -> String {
    let models: Vec<String> = models.iter().map(model).collect();
    format!(r#"{{"object":"list","data":[{}]}}"#, models.join(","))
}
