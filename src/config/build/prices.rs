//! What tokens cost: `prices`.

use std::collections::BTreeMap;

use super::super::error::KeyPath;
use super::super::file;
use super::super::value::Usd;
use super::Build;
use crate::model::ByModel;
use crate::price::Price;

impl Build<'_> {
    pub(super) fn prices(
        &mut self,
        written: Option<&BTreeMap<String, file::Price>>,
        at: &KeyPath,
    ) -> ByModel<Price> {
        let at = at.key("prices");
        let mut prices = Vec::new();
        for (name, price) in written.into_iter().flatten() {
            self.model_or_prefix(name, &at.key(name));
            // USD per million tokens in millionths is 10⁻¹² USD per token.
            let Usd(input) = price.input;
            let of_input = |written: Option<Usd>| written.map_or(input, |Usd(amount)| amount);
            let Usd(output) = price.output;
            let price = Price {
                input,
                cached_input: of_input(price.cached_input),
                cache_write: of_input(price.cache_write),
                output,
            };
            prices.push((name.clone(), price));
        }
        ByModel::new(prices)
    }
}
