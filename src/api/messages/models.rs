//! The list of models.
//!
//! Source: <https://platform.claude.com/docs/en/api/models-list>, read 2026-11-21.

use crate::api::Model;
use crate::json;

/// A model object. When a model was made nobody here knows.
pub(super) fn model(model: &Model) -> String {
    let id = json::encode_string(&model.id);
    format!(
        r#"{{"type":"model","id":{id},"display_name":{id},"created_at":"1970-01-01T00:00:00Z"}}"#
    )
}

/// The list of these models, in one page.
pub(super) fn list(models: &[Model]) -> String {
    let id = |model: Option<&Model>| {
        model.map_or_else(|| "null".to_owned(), |it| json::encode_string(&it.id))
    };
    let (first, last) = (id(models.first()), id(models.last()));
    let models: Vec<String> = models.iter().map(model).collect();
    let models = models.join(",");
    format!(r#"{{"data":[{models}],"has_more":false,"first_id":{first},"last_id":{last}}}"#)
}
