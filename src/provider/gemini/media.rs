//! What a picture or a file is: media types.

/// Whether Google can fetch it.
pub(super) fn is_remote(url: &str) -> bool {
    ["https://", "http://", "gs://"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The media type that a file's name or an address ends with.
pub(super) fn by_extension(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next()?;
    let file = path.rsplit('/').next()?;
    let (_, extension) = file.rsplit_once('.')?;
    let extension = extension.to_ascii_lowercase();
    MEDIA_TYPES
        .iter()
        .find(|(known, _)| *known == extension)
        .map(|(_, media_type)| *media_type)
}

/// Source: <https://ai.google.dev/gemini-api/docs/image-understanding>, `audio`,
/// `document-processing` and `video-understanding` beside it; read 2026-11-21.
const MEDIA_TYPES: [(&str, &str); 32] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("gif", "image/gif"),
    ("pdf", "application/pdf"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mp3"),
    ("aiff", "audio/aiff"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("mov", "video/mov"),
    ("webm", "video/webm"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("xml", "text/xml"),
    ("rtf", "text/rtf"),
    ("json", "application/json"),
    // https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides/gemini-4-hydrogen, stored
    // copy of November 2026: Office and OpenDocument files.
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("py", "text/x-python"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_tells_the_media_type() {
        for (name, expected) in [
            ("https://x.com/a.PNG?w=1.jpg#y", Some("image/png")),
            ("a.pdf", Some("application/pdf")),
            ("https://x.com/a", None),
            ("https://x.png/a", None),
            ("a.exe", None),
            ("", None),
        ] {
            assert_eq!(by_extension(name), expected, "{name}");
        }
    }
}
