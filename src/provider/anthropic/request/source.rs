//! Images and documents: where their bytes are.

use super::cache_control;
use crate::base64;
use crate::data_uri::{self, DataUri};
use crate::json::{Piece, Raw, Writer};

/// Where the bytes of an image or a document are.
pub(super) enum Source<'a> {
    Base64 {
        media_type: &'a str,
        data: Piece<'a>,
    },
    Id(&'a str),
    Text(String),
    Url(&'a str),
}

impl<'a> Source<'a> {
    /// > We currently support the base64 source type for images, and the image/jpeg, image/png,
    /// > image/gif, and image/webp media types.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/vision>, read 2026-11-21.
    pub(super) fn of_image(url: &'a str) -> Result<Self, &'static str> {
        if is_web_url(url) {
            return Ok(Self::Url(url));
        }
        let Some(DataUri { media_type, data }) = data_uri::parse(url) else {
            return Err("is neither an http(s) URL nor a data URI with base64");
        };
        Self::of_picture(media_type, Piece::Plain(data))
    }

    /// The same for one whose bytes are at hand.
    pub(super) fn of_picture(media_type: &'a str, data: Piece<'a>) -> Result<Self, &'static str> {
        match media_type {
            "image/gif" | "image/jpeg" | "image/png" | "image/webp" => {
                Ok(Self::Base64 { media_type, data })
            }
            _ => Err("is not a GIF, JPEG, PNG or WebP image"),
        }
    }

    /// The kind of block, and the source, of a file that is no text; `None`: it may be one.
    pub(super) fn of_document(
        media_type: &'a str,
        data: Piece<'a>,
    ) -> Option<Result<(&'static str, Self), &'static str>> {
        match media_type {
            PDF => Some(Ok(("document", Self::Base64 { media_type, data }))),
            _ if media_type.starts_with("image/") => {
                Some(Self::of_picture(media_type, data).map(|it| ("image", it)))
            }
            _ => None,
        }
    }

    /// The kind of block, and the source: PDFs and text are documents, images are images.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/pdf-support>, read 2026-11-21.
    pub(super) fn of_file(
        data: &'a str,
        name: Option<&str>,
    ) -> Result<(&'static str, Self), &'static str> {
        if is_web_url(data) {
            return Ok(("document", Self::Url(data)));
        }
        let (media_type, data) = match data_uri::parse(data) {
            Some(DataUri { media_type, data }) => (media_type, data),
            None if data.starts_with("data:") => return Err("is not a data URI with base64"),
            None if data.starts_with(PDF_IN_BASE64) => (PDF, data),
            None => match name.and_then(|name| name.rsplit_once('.')) {
                Some((_, "pdf" | "PDF")) => (PDF, data),
                Some((_, "txt" | "md" | "csv")) => ("text/plain", data),
                _ => return Err("does not say what it is; use a data URI"),
            },
        };
        if let Some(document) = Self::of_document(media_type, Piece::Plain(data)) {
            return document;
        }
        if !media_type.starts_with("text/") {
            return Err("is neither a PDF, nor text, nor an image");
        }
        let text = base64::decode(data).and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            Some(text) => Ok(("document", Self::Text(text))),
            None => Err("is not base64 of UTF-8 text"),
        }
    }

    pub(super) fn write(
        &self,
        json: &mut Writer,
        kind: &str,
        title: Option<&str>,
        cache: Option<Raw<'_>>,
    ) {
        json.object(|json| {
            json.key("type").string(kind);
            json.key("source").object(|json| match self {
                Self::Base64 { media_type, data } => {
                    json.key("type").string("base64");
                    json.key("media_type").string(media_type);
                    json.key("data").string_pieces(&[*data]);
                }
                Self::Id(id) => {
                    json.key("type").string("file");
                    json.key("file_id").string(id);
                }
                Self::Text(text) => {
                    json.key("type").string("text");
                    json.key("media_type").string("text/plain");
                    json.key("data").string(text);
                }
                Self::Url(url) => {
                    json.key("type").string("url");
                    json.key("url").string(url);
                }
            });
            if let Some(title) = title
                && kind == "document"
            {
                json.key("title").string(title);
            }
            cache_control(json, cache);
        });
    }
}

/// Whether a file's name says that it is an image.
pub(super) fn is_image_name(name: Option<&str>) -> bool {
    let extension = name.and_then(|name| name.rsplit_once('.'));
    extension.is_some_and(|(_, extension)| {
        ["gif", "jpeg", "jpg", "png", "webp"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn is_web_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

const PDF: &str = "application/pdf";

/// `%PDF-`.
const PDF_IN_BASE64: &str = "JVBERi0";
