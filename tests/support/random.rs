//! Numbers that look random, the same on every machine: xorshift64*.

/// A generator. Tests print its seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The generator with this number: those of numbers side by side start far apart.
    #[allow(dead_code, reason = "not every test has several")]
    pub fn numbered(number: u64) -> Self {
        Self::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default() % limit.max(1)
    }
}
