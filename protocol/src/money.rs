//! Money, in whole minor units.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A currency Outrider charges in (ISO 4217).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(missing_docs, reason = "the codes are the names")]
pub enum Currency {
    RWF,
    UGX,
    GHS,
    USD,
    IDR,
    EUR,
}

impl Currency {
    /// How many decimals its minor unit has: cents have two, francs none.
    pub fn decimals(self) -> u32 {
        match self {
            Self::RWF | Self::UGX => 0,
            Self::GHS | Self::USD | Self::IDR | Self::EUR => 2,
        }
    }
}

/// An amount of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Money {
    /// In minor units: cents, or francs where a franc has no cents.
    pub amount: i64,
    /// Of what.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.currency.decimals();
        let scale = 10_i64.pow(decimals);
        let (whole, rest) = (self.amount / scale, (self.amount % scale).abs());
        match decimals {
            0 => write!(f, "{whole} {}", self.currency),
            _ => write!(f, "{whole}.{rest:0width$} {}", self.currency, width = decimals as usize),
        }
    }
}

/// One reason for part of a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FareLine {
    /// Stable name of the reason: `base`, `distance`, `time`, `surge`, `tax`, `minimum` …
    pub code: String,
    /// In minor units; negative for a discount.
    pub amount: i64,
}

/// A price and what it is made of. The lines sum to the total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fare {
    /// What the lines are counted in.
    pub currency: Currency,
    /// In the order they are shown.
    pub lines: Vec<FareLine>,
}

impl Fare {
    /// The sum of the lines.
    pub fn total(&self) -> Money {
        Money { amount: self.lines.iter().map(|line| line.amount).sum(), currency: self.currency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_shows_the_decimals_its_currency_has() {
        assert_eq!(Money { amount: 1500, currency: Currency::RWF }.to_string(), "1500 RWF");
        assert_eq!(Money { amount: 1505, currency: Currency::USD }.to_string(), "15.05 USD");
    }
}
