//! Why a card was not taken, for its holder: the provider's codes in words. Where a code could teach a thief something (lost, stolen, fraud),
//! the words are those of any refusal, as the provider asks for.

/// Words for a decline code, or for the code of an error.
pub(super) fn declined(code: &str) -> &'static str {
    match code {
        "insufficient_funds" | "card_velocity_exceeded" | "withdrawal_count_limit_exceeded" => {
            "the card has not enough money, or its limit is reached"
        }
        "expired_card" | "invalid_expiry_month" | "invalid_expiry_year" => {
            "the card is expired, or its date is wrong"
        }
        "incorrect_cvc" | "invalid_cvc" => "the card's security code is wrong",
        "incorrect_number" | "invalid_number" => "the card's number is wrong",
        "incorrect_zip" | "incorrect_address" => "the card is known with another address",
        "authentication_required"
        | "payment_intent_authentication_failure"
        | "authentication_not_handled"
        | "mobile_device_authentication_required" => {
            "the card's bank wants to know that it is you: confirm it there"
        }
        "card_not_supported"
        | "currency_not_supported"
        | "transaction_not_allowed"
        | "service_not_allowed" => "the card cannot be used for this",
        "processing_error"
        | "issuer_not_available"
        | "try_again_later"
        | "reenter_transaction"
        | "approve_with_id" => "the card's bank did not answer: try again later",
        "duplicate_transaction" => "the card has just paid the same amount: see whether it counts",
        _ => "the card's bank refused: ask it, or take another card",
    }
}

/// Words for why the provider will not make an intent.
pub(super) fn refused(code: &str) -> String {
    match code {
        "amount_too_small" => "cards pay no amount as small as this".to_owned(),
        "amount_too_large" => "cards pay no amount as large as this".to_owned(),
        "" => "the card provider refused it".to_owned(),
        other => format!("the card provider refused it ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thief_learns_nothing_from_a_decline() {
        let any = declined("generic_decline");
        for code in [
            "lost_card",
            "stolen_card",
            "fraudulent",
            "pickup_card",
            "merchant_blacklist",
            "",
        ] {
            assert_eq!(declined(code), any, "{code}");
        }
        assert!(declined("insufficient_funds").contains("money"));
        assert!(refused("amount_too_small").contains("small"));
        assert!(refused("parameter_invalid").contains("(parameter_invalid)"));
    }
}
