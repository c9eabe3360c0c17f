//! Pair lists: how Envoy hands header maps and metadata to a module.
//!
//! Shape: the number of pairs; for each pair the length of its key and of its value; then for each
//! pair its key, a zero byte, its value, a zero byte. Numbers are 32-bit little-endian.
//!
//! Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>, read 2026-11-21.
//! Metadata comes in the same form; that was seen on Envoy 1.37.0 and 1.40.0.

/// The pairs of a list, or `None` when the bytes are not one.
pub fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = number(bytes)?;
    let (mut lengths, mut data) = rest.split_at_checked(count.checked_mul(2 * NUMBER_BYTES)?)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, rest) = number(lengths)?;
        let (value, rest) = number(rest)?;
        lengths = rest;
        pairs.push((terminated(&mut data, key)?, terminated(&mut data, value)?));
    }
    Some(pairs)
}

/// The list of these pairs.
pub fn encode<T: AsRef<[u8]>>(pairs: &[(T, T)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let length = |(key, value): &(T, T)| key.as_ref().len() + value.as_ref().len();
    let data: usize = pairs.iter().map(length).sum();
    let mut bytes = Vec::with_capacity(NUMBER_BYTES + data + pairs.len() * (2 * NUMBER_BYTES + 2));
    bytes.extend(number(pairs.len()));
    for (key, value) in pairs {
        bytes.extend(number(key.as_ref().len()));
        bytes.extend(number(value.as_ref().len()));
    }
    for (key, value) in pairs {
        bytes.extend_from_slice(key.as_ref());
        bytes.push(0);
        bytes.extend_from_slice(value.as_ref());
        bytes.push(0);
    }
    bytes
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Takes `length` bytes and the zero byte behind them.
fn terminated<'a>(data: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(length)?;
    let (_, rest) = rest.split_first()?;
    *data = rest;
    Some(taken)
}

const NUMBER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_went() {
        let pairs = [(":path", "/v1"), ("a", ""), ("a", "two")];
        let bytes = encode(&pairs);
        let decoded: Vec<(&[u8], &[u8])> = pairs
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_bytes()))
            .collect();
        assert_eq!(decode(&bytes), Some(decoded));
        assert_eq!(decode(&encode::<&str>(&[])), Some(Vec::new()));
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn broken_bytes_are_nothing_and_never_a_panic() {
        let bytes = encode(&[("key", "value"), ("k", "v")]);
        for length in 1..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(decode(&[0xff; 64]), None);
    }
}
