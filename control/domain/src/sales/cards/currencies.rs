//! Amounts as the card provider counts them. Here they are in the minor units of ISO 4217; the provider (Stripe, "Supported currencies") has
//! its own for some, and takes some not at all.

use sealcast_objects::api::Price;
use sealcast_objects::problem::Kind;

use crate::{Result, refuse};

/// What it takes with two decimals, here as there.
const TWO: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC CVE CZK DKK \
DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK \
MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB \
TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD YER ZAR ZMW";
/// With none, here as there.
const NONE: &str = "BIF CLP DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF";
/// With none here and two there.
const NONE_AS_TWO: &str = "ISK UGX";
/// With two here and none there.
const TWO_AS_NONE: &str = "MGA";
/// With three, of which the last must be 0 there.
const THREE: &str = "BHD JOD KWD OMR TND";
/// The provider takes eight digits.
const MOST: u64 = 99_999_999;

fn has(list: &str, currency: &str) -> bool {
    list.split(' ').any(|one| one == currency)
}

/// A price in the minor units of the provider.
///
/// # Errors
/// Invalid: a currency that it does not take, an amount that it does not.
pub fn provider_amount(price: &Price) -> Result<u64> {
    let Price { amount, currency } = price;
    let (times, of) = match currency.as_str() {
        two if has(TWO, two) || has(NONE, two) => (1, 1),
        none if has(NONE_AS_TWO, none) => (100, 1),
        two if has(TWO_AS_NONE, two) => (1, 100),
        three if has(THREE, three) => (1, 10),
        other => {
            let detail = format!("cards pay nothing in {other}: take another method of payment");
            return refuse(Kind::Invalid, detail);
        }
    };
    if amount % of != 0 {
        let detail = format!(
            "cards pay {currency} in multiples of {of} only: {amount} is none; take another method of payment"
        );
        return refuse(Kind::Invalid, detail);
    }
    // Of three decimals all three are said.
    let whole = if of == 10 { *amount } else { amount / of };
    match whole.checked_mul(times).filter(|amount| *amount <= MOST) {
        Some(amount) => Ok(amount),
        None => refuse(
            Kind::Invalid,
            format!("{amount} {currency} is more than cards pay at once"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(amount: u64, currency: &str) -> std::result::Result<u64, String> {
        let price = Price {
            amount,
            currency: currency.to_owned(),
        };
        provider_amount(&price).map_err(|error| error.to_string())
    }

    #[test]
    fn int_13_amounts_are_in_the_units_of_the_provider() {
        for (amount, currency, there) in [
            (499, "EUR", 499),
            (500, "JPY", 500),
            (500, "ISK", 50_000),
            (700, "UGX", 70_000),
            (500, "MGA", 5),
            (5_990, "KWD", 5_990),
            (99_999_999, "USD", 99_999_999),
        ] {
            assert_eq!(of(amount, currency), Ok(there), "{currency}");
        }
        for (amount, currency, word) in [
            (100_000_000, "USD", "more than"),
            (1_000_000, "ISK", "more than"),
            (u64::MAX, "UGX", "more than"),
            (5_991, "KWD", "multiples of 10"),
            (550, "MGA", "multiples of 100"),
            (1, "IQD", "nothing in IQD"),
            (1, "XXX", "nothing in XXX"),
            (1, "", "nothing in"),
        ] {
            let why = of(amount, currency).unwrap_err();
            assert!(why.contains(word), "{currency}: {why}");
        }
    }

    #[test]
    fn no_currency_is_in_two_lists() {
        let all = [TWO, NONE, NONE_AS_TWO, TWO_AS_NONE, THREE].join(" ");
        let mut all: Vec<_> = all.split(' ').collect();
        assert!(all.iter().all(|one| one.len() == 3));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
