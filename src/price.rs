//! What the tokens of a request cost, by the prices of the configuration. There are no others.
//!
//! All is counted in whole numbers: a price per million tokens in millionths of a USD is a price per
//! token in 10⁻¹² USD, and the cost of a request is rounded once, to 10⁻⁹ USD.

use std::rc::Rc;

use crate::model::ByModel;
use crate::usage::Usage;

/// The prices of one model. Unit: 10⁻¹² USD per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Of input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Of input that was read from a cache.
    pub cached_input: u64,
    /// Of input that was written to a cache.
    pub cache_write: u64,
    /// Of output, reasoning included.
    pub output: u64,
}

impl Price {
    /// What these tokens cost; `None`: the provider has reported none. Unit: 10⁻⁹ USD.
    pub fn cost(&self, usage: &Usage) -> Option<u64> {
        if usage.prompt.is_none() && usage.completion.is_none() {
            return None;
        }
        let input = usage.prompt.unwrap_or(0);
        // Parts of the input, whatever a provider reports.
        let cached = usage.cached.unwrap_or(0).min(input);
        let written = usage.cache_written.unwrap_or(0).min(input - cached);
        let parts = [
            (input - cached - written, self.input),
            (cached, self.cached_input),
            (written, self.cache_write),
            (usage.completion.unwrap_or(0), self.output),
        ];
        let parts = parts.map(|(tokens, price)| u128::from(tokens) * u128::from(price));
        let sum = parts.into_iter().fold(0, u128::saturating_add);
        let nano = sum.saturating_add(PICO_PER_NANO / 2) / PICO_PER_NANO;
        Some(u64::try_from(nano).unwrap_or(u64::MAX))
    }
}

/// The prices that hold for a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Its own, which come first.
    pub own: ByModel<Price>,
    /// Those of all backends.
    pub common: Rc<ByModel<Price>>,
}

impl Prices {
    /// Whether no model has a price.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.common.is_empty()
    }

    /// What a request costs. A price for the model that was sent comes before one for the model that has
    /// answered. `None`: neither has a price, or there is no usage. Unit: 10⁻⁹ USD.
    pub fn cost(&self, sent: Option<&str>, answered: Option<&str>, usage: &Usage) -> Option<u64> {
        let names = || [sent, answered].into_iter().flatten();
        let own = names().find_map(|it| self.own.resolve(it));
        let price = own.or_else(|| names().find_map(|it| self.common.resolve(it)))?;
        price.cost(usage)
    }
}

const PICO_PER_NANO: u128 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.25, 0.125, 1.5625 and 10 USD per million tokens.
    const PRICE: Price = Price {
        input: 1_250_000,
        cached_input: 125_000,
        cache_write: 1_562_500,
        output: 10_000_000,
    };

    fn usage(prompt: u64, cached: u64, written: u64, completion: u64) -> Usage {
        Usage {
            prompt: Some(prompt),
            completion: Some(completion),
            cached: Some(cached),
            cache_written: Some(written),
            ..Usage::default()
        }
    }

    #[test]
    fn parts_of_the_input_have_prices_of_their_own() {
        for (usage, expected) in [
            (usage(1_000_000, 0, 0, 0), 1_250_000_000),
            (usage(1_000_000, 1_000_000, 0, 0), 125_000_000),
            (usage(1_000_000, 0, 1_000_000, 0), 1_562_500_000),
            (usage(0, 0, 0, 1_000_000), 10_000_000_000),
            (
                usage(100, 60, 20, 7),
                20 * 1_250 + 60 * 125 + 31_250 + 70_000,
            ),
            // More parts than there is input.
            (usage(10, 20, 20, 0), 1_250),
            // 0.125 USD per million: an eighth of 10⁻⁶ USD, and half of 10⁻⁹ is rounded up.
            (usage(1, 1, 0, 0), 125),
            (usage(u64::MAX, 0, 0, u64::MAX), u64::MAX),
        ] {
            assert_eq!(PRICE.cost(&usage), Some(expected), "{usage:?}");
        }
        let reasoning = Usage {
            completion: Some(2),
            reasoning: Some(1),
            ..Usage::default()
        };
        assert_eq!(PRICE.cost(&reasoning), Some(20_000), "reasoning is output");
        assert_eq!(PRICE.cost(&Usage::default()), None);
        let tiny = Price { input: 1, ..PRICE };
        assert_eq!(tiny.cost(&usage(499, 0, 0, 0)), Some(0));
        assert_eq!(tiny.cost(&usage(500, 0, 0, 0)), Some(1));
    }

    #[test]
    fn the_backends_prices_come_first_and_the_sent_model_before_the_answered() {
        let price = |input| Price { input, ..PRICE };
        let by_model = |entries: &[(&str, u64)]| {
            let entries = entries.iter();
            ByModel::new(entries.map(|(name, input)| ((*name).to_owned(), price(*input))))
        };
        let prices = Prices {
            own: by_model(&[("b", 2_000), ("c*", 3_000)]),
            common: Rc::new(by_model(&[("a", 1_000), ("b", 9_000), ("*", 7_000)])),
        };
        let usage = usage(1, 0, 0, 0);
        for (sent, answered, expected) in [
            (Some("a"), None, 1),
            (Some("b"), None, 2),
            (Some("c-1"), None, 3),
            (Some("x"), None, 7),
            (Some("x"), Some("c-2"), 3),
            (Some("b"), Some("c-2"), 2),
            (None, Some("a"), 1),
        ] {
            assert_eq!(prices.cost(sent, answered, &usage), Some(expected));
        }
        assert_eq!(prices.cost(None, None, &usage), None);
        assert!(Prices::default().is_empty());
        assert_eq!(Prices::default().cost(Some("a"), None, &usage), None);
    }
}
