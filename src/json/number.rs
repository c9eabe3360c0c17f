//! Numbers, as a state machine over their bytes.
//!
//! Source: RFC 8259, section 6, <https://www.rfc-editor.org/rfc/rfc8259#section-6>:
//!
//! > `number = [ minus ] int [ frac ] [ exp ]`

/// What has been read of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Nothing.
    Start,
    Minus,
    /// A leading zero, after which no digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    /// The letter.
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// Consumes the bytes that continue the number.
    pub(super) fn read(mut self, rest: &mut &[u8]) -> Number {
        while let Some((&byte, after)) = rest.split_first() {
            let Some(next) = self.next(byte) else { break };
            self = next;
            *rest = after;
            if matches!(self, Number::Integer | Number::Fraction) {
                while let Some((b'0'..=b'9', after)) = rest.split_first() {
                    *rest = after;
                }
            }
        }
        self
    }

    /// What must follow; `None` if the number may end here.
    pub(super) fn expected(self) -> Option<&'static str> {
        match self {
            Number::Start | Number::Minus | Number::Point | Number::ExponentSign => Some("a digit"),
            Number::Exponent => Some("a digit, `+` or `-`"),
            Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits => None,
        }
    }

    fn next(self, byte: u8) -> Option<Number> {
        Some(match (self, byte) {
            (Number::Start, b'-') => Number::Minus,
            (Number::Start | Number::Minus, b'0') => Number::Zero,
            (Number::Start | Number::Minus | Number::Integer, b'0'..=b'9') => Number::Integer,
            (Number::Zero | Number::Integer, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Number::Exponent,
            (Number::Exponent, b'+' | b'-') => Number::ExponentSign,
            (Number::Exponent | Number::ExponentSign | Number::ExponentDigits, b'0'..=b'9') => {
                Number::ExponentDigits
            }
            _ => return None,
        })
    }
}
