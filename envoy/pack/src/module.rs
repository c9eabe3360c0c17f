//! A module, and what it says about itself.

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};

/// A module that says of which version it is, and to which ABI it is built.
#[derive(Debug)]
pub struct Module {
    bytes: Vec<u8>,
    version: String,
    abi: String,
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    ///
    /// If it is no module, or does not say what it is.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let (mut version, mut abi) = (None, None);
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload? {
                Payload::CustomSection(section) if section.name() == VERSION_SECTION => {
                    let text = std::str::from_utf8(section.data())?;
                    if version.replace(text.to_owned()).is_some() {
                        bail!("it has two versions");
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        if let Some(name) = export?.name.strip_prefix(ABI_EXPORT) {
                            abi = Some(name.replace('_', "."));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            version: version.context("it has no version: is it an old one?")?,
            abi: abi.context("it is no module for proxies")?,
            bytes,
        })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its version, for example `0.1.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version of the ABI, for example `0.2.1`.
    pub fn abi(&self) -> &str {
        &self.abi
    }
}

/// The custom section that has the version.
const VERSION_SECTION: &str = "version";

/// What the name of one of the functions begins with; the rest is the ABI's version.
///
/// Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>, read 2026-11-21.
const ABI_EXPORT: &str = "proxy_abi_version_";

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A module of version 0.1.0 with nothing in it but the function that names the ABI.
    pub fn module() -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend(section(1, b"\x01\x60\0\0"));
        bytes.extend(section(3, b"\x01\0"));
        bytes.extend(section(7, b"\x01\x17proxy_abi_version_0_2_1\0\0"));
        bytes.extend(section(10, b"\x01\x02\0\x0b"));
        bytes.extend(section(0, b"\x07version0.1.0"));
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("a short one");
        [&[id, length], content].concat()
    }

    #[test]
    fn a_module_says_its_version_and_its_abi() {
        let module = Module::parse(module()).unwrap();
        assert_eq!((module.version(), module.abi()), ("0.1.0", "0.2.1"));
    }

    #[test]
    fn what_is_no_such_module_is_refused() {
        for (bytes, message) in [
            (b"\0asm\x01\0\0\0".to_vec(), "it has no version"),
            (b"no module".to_vec(), "magic"),
            (
                [module(), section(0, b"\x07version0.2.0")].concat(),
                "it has two versions",
            ),
        ] {
            let error = Module::parse(bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
