//! Text that must not be seen: `Debug` prints a placeholder and there is no `Display`.

use std::fmt;
use std::rc::Rc;

/// A value that authenticates: an API key, or a header value that contains one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Rc<str>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Rc<str>>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that writes it into a request.
    pub fn expose(&self) -> Rc<str> {
        Rc::clone(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_prints_the_value() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("sk-1234"))),
            "Some(Sensitive)"
        );
    }
}
