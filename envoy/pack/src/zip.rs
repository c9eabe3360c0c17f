//! A zip archive: a wheel is one.
//!
//! Source: APPNOTE 6.3.10, <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, read 2026-11-28.
//!
//! # Differences from the specification
//!
//! * No archive above 4 GiB, no names outside ASCII, no time: every entry is of 1980.

use std::io::Write;

use anyhow::{Result, ensure};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// A file within an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether it is a program.
    pub is_executable: bool,
}

/// The archive of these files, in this order.
///
/// # Errors
///
/// When it would have more than 4 GiB.
pub fn archive(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        ensure!(
            entry.name.is_ascii(),
            "{}: a name outside ASCII",
            entry.name
        );
        let offset = u32::try_from(archive.len())?;
        let header = header(entry)?;
        archive.extend(b"PK\x03\x04");
        archive.extend(&header.common);
        archive.extend(entry.name.as_bytes());
        archive.extend(&header.compressed);
        // Made on Unix, by version 2.0.
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&header.common);
        // No comment, disk 0, no internal attributes.
        directory.extend([0; 6]);
        let mode: u32 = if entry.is_executable {
            0o100_755
        } else {
            0o100_644
        };
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let number = u16::try_from(entries.len())?.to_le_bytes();
    let start = u32::try_from(archive.len())?.to_le_bytes();
    let size = u32::try_from(directory.len())?.to_le_bytes();
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([number, number].concat());
    archive.extend([size, start].concat());
    archive.extend([0, 0]);
    Ok(archive)
}

struct Header {
    /// From "version needed" to the length of the extra field: the same in both headers.
    common: Vec<u8>,
    compressed: Vec<u8>,
}

fn header(entry: &Entry) -> Result<Header> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&entry.content)?;
    let compressed = encoder.finish()?;
    let mut sum = Crc::new();
    sum.update(&entry.content);
    let mut common = Vec::new();
    // Version 2.0, no flags, deflated, midnight of the first day of 1980.
    common.extend([20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0]);
    common.extend(sum.sum().to_le_bytes());
    common.extend(u32::try_from(compressed.len())?.to_le_bytes());
    common.extend(u32::try_from(entry.content.len())?.to_le_bytes());
    common.extend(u16::try_from(entry.name.len())?.to_le_bytes());
    common.extend([0, 0]);
    Ok(Header { common, compressed })
}
