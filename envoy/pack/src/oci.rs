//! OCI images: a module in, the files of an image layout out.
//!
//! Two forms of the same module, both of which Istio and Envoy Gateway load:
//!
//! * [`image`] is an ordinary image of one layer with `plugin.wasm` at its root, the "compat"
//!   variant. Every registry and every tool takes it.
//! * [`artifact`] has the module itself as a layer, the "oci" variant.
//!
//! Sources, read 2026-11-21:
//!
//! * <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>, `manifest.md` and
//!   `config.md` beside it;
//! * <https://github.com/solo-io/wasm/blob/master/spec/spec-compat.md> and `spec.md` beside it;
//! * what loads them: Istio's `pkg/wasm/imagefetcher.go`, and Envoy Gateway's
//!   `internal/wasm/imagefetcher.go`, which is a copy of it. Both want exactly two layers in the
//!   second form, so the runtime's configuration is a layer, too.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::module::Module;

/// An image layout: files by their paths, and the digest of the one manifest.
#[derive(Debug)]
pub struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    digest: String,
}

impl Layout {
    /// The files by their paths from the layout's root.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// The digest of the manifest, `sha256:…`: what a registry and `image@sha256:…` mean.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The layout as a tar archive.
    ///
    /// # Errors
    ///
    /// None that could happen: it is written into memory.
    pub fn tarball(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for directory in ["blobs/", "blobs/sha256/"] {
            append(
                &mut archive,
                directory,
                tar::EntryType::Directory,
                0o755,
                &[],
            )?;
        }
        for (path, content) in &self.files {
            append(&mut archive, path, tar::EntryType::Regular, 0o644, content)?;
        }
        Ok(archive.into_inner()?)
    }
}

/// One layer with `plugin.wasm` at its root.
///
/// # Errors
///
/// None that could happen: it is written into memory.
pub fn image(module: &Module, revision: Option<&str>) -> Result<Layout> {
    let mut blobs = Blobs::default();
    let tar = layer(module)?;
    let about = about(module, revision);
    // The module runs on every platform. This one is what `docker build` and `buildah` write into
    // such images: with `wasm` most tools for containers would neither pull nor unpack it.
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": about},
        "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
    });
    let mut annotations = json!({"module.wasm.image/variant": "compat"});
    extend(&mut annotations, &about);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blobs.add_json("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar)?)],
        "annotations": annotations,
    });
    blobs.layout(module, &manifest)
}

/// The module itself as a layer, beside the configuration of the runtime that shall run it.
///
/// # Errors
///
/// None that could happen: it is written into memory.
pub fn artifact(module: &Module, revision: Option<&str>) -> Result<Layout> {
    let mut blobs = Blobs::default();
    // The module takes any root id.
    let runtime = json!({
        "type": "envoy_proxy",
        "abiVersions": [format!("v{}", module.abi())],
        "config": {"root_ids": []},
    });
    let config = blobs.add_json("application/vnd.module.wasm.config.v1+json", &runtime)?;
    let content = blobs.add(
        "application/vnd.module.wasm.content.layer.v1+wasm",
        module.bytes().to_vec(),
    );
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [titled(&config, "runtime-config.json"), titled(&content, PLUGIN)],
        "annotations": about(module, revision),
    });
    blobs.layout(module, &manifest)
}

/// What the image says about itself.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/main/annotations.md>, read 2026-11-21.
fn about(module: &Module, revision: Option<&str>) -> Value {
    let mut about = json!({
        "org.opencontainers.image.title": "llm-proxy",
        "org.opencontainers.image.description": "One WebAssembly file that makes Envoy an LLM gateway",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": module.version(),
    });
    if let Some(revision) = revision {
        extend(
            &mut about,
            &json!({"org.opencontainers.image.revision": revision}),
        );
    }
    about
}

/// The tar archive that is the layer of an image.
fn layer(module: &Module) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let bytes = module.bytes();
    append(&mut archive, PLUGIN, tar::EntryType::Regular, 0o644, bytes)?;
    Ok(archive.into_inner()?)
}

/// Appends an entry that says nothing of the machine: root's, and of 1970.
pub fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(kind, mode);
    header.set_size(u64::try_from(content.len())?);
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

/// Appends a symbolic link.
pub fn append_link(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    target: &std::path::Path,
) -> Result<()> {
    let mut header = header(tar::EntryType::Symlink, 0o777);
    header.set_size(0);
    archive.append_link(&mut header, path, target)?;
    Ok(())
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Compressed without a name and a time.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// `sha256:` and 64 hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// The SHA-256 of `bytes` in 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `descriptor` with the name of a file.
fn titled(descriptor: &Value, name: &str) -> Value {
    let mut descriptor = descriptor.clone();
    let title = json!({"annotations": {"org.opencontainers.image.title": name}});
    extend(&mut descriptor, &title);
    descriptor
}

/// Adds the members of one object to another.
fn extend(object: &mut Value, members: &Value) {
    if let (Value::Object(object), Value::Object(members)) = (object, members) {
        object.extend(members.clone());
    }
}

/// What the manifest refers to.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob, and gives its descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.0
            .insert(format!("blobs/sha256/{}", sha256(&bytes)), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    fn add_json(&mut self, media_type: &str, value: &Value) -> Result<Value> {
        Ok(self.add(media_type, serde_json::to_vec(value)?))
    }

    /// The layout with `manifest` in it, under the module's version as its name.
    fn layout(mut self, module: &Module, manifest: &Value) -> Result<Layout> {
        let manifest = serde_json::to_vec(manifest)?;
        let digest = digest(&manifest);
        let mut descriptor = self.add(MANIFEST, manifest);
        let name = json!({"annotations": {"org.opencontainers.image.ref.name": module.version()}});
        extend(&mut descriptor, &name);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        });
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        let mut files = self.0;
        files.insert("index.json".to_owned(), serde_json::to_vec(&index)?);
        files.insert(LAYOUT_FILE.to_owned(), serde_json::to_vec(&layout)?);
        Ok(Layout { files, digest })
    }
}

/// The file by which a directory is known as an image layout.
pub const LAYOUT_FILE: &str = "oci-layout";

/// The name under which the module is looked for.
const PLUGIN: &str = "plugin.wasm";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// RFC 1952, section 2.3.1: the operating system is "unknown".
const UNKNOWN_SYSTEM: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module;

    fn layouts() -> [Layout; 2] {
        let module = Module::parse(module::tests::module()).unwrap();
        [
            image(&module, Some("c0ffee")).unwrap(),
            artifact(&module, Some("c0ffee")).unwrap(),
        ]
    }

    #[test]
    fn the_same_module_gives_the_same_bytes() {
        for (one, other) in layouts().iter().zip(&layouts()) {
            assert_eq!(one.files(), other.files());
            assert_eq!(one.tarball().unwrap(), other.tarball().unwrap());
        }
    }

    /// The same on every machine, today and tomorrow.
    #[test]
    fn the_digests_are_known() {
        let digests = layouts().map(|layout| layout.digest().to_owned());
        assert_eq!(
            digests,
            [
                "sha256:6e47e78e8a0741b26f2b6aad8c037bd8f1c0e9a6773958a3d7c5cdf7da293ae3",
                "sha256:504f1e87096ed6f8e13891a380e09751e0d3a4729c82278d8a11624cc521f07a",
            ]
        );
    }

    #[test]
    fn every_blob_is_named_by_its_digest() {
        for layout in layouts() {
            let blobs: Vec<_> = layout
                .files()
                .iter()
                .filter_map(|(path, content)| Some((path.strip_prefix("blobs/sha256/")?, content)))
                .collect();
            assert_eq!(blobs.len(), 3);
            for (name, content) in blobs {
                assert_eq!(name, sha256(content));
            }
        }
    }

    #[test]
    fn the_sum_is_the_one_that_everybody_computes() {
        // Source: FIPS 180-2, appendix B.1.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), sum);
    }
}
