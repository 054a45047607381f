//! Offers, purchases, and certificates that count again.

use reqwest::Method;
use sealcast_objects::api::{
    CertificateRecord, ChangeOffer, FailPurchase, LicenceSubject, NewOffer, Offer, OfferPage,
    OfferState, OfferSubject, OfferTerms, Price, Purchase, PurchasePage, RefundPurchase,
    RestoreCertificate,
};
use sealcast_objects::id::{CertificateId, ContentId, OfferId, PurchaseId, Text};
use sealcast_objects::licence::Subject;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use super::devices::parse_id;
use super::{Api, Done};
use crate::content::PriceArgs;
use crate::table::{self, Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum OfferCommand {
    /// Lists offers
    List {
        /// Only what is sold
        #[arg(long)]
        offered: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Shows an offer
    Show(Which),
    /// Adds an offer: licences for a channel or a content, at a price
    Add {
        /// For people
        title: String,
        /// What for: the number of a channel, or a content
        #[arg(value_name = "CHANNEL|CONTENT", value_parser = subject)]
        subject: OfferSubject,
        /// What it costs, in minor units: 499 with EUR is 4.99 EUR
        #[arg(long, value_name = "AMOUNT")]
        price: u64,
        /// What the price is in: three letters (ISO 4217)
        #[arg(long)]
        currency: String,
        /// How many licences may be had for it
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        grants: u32,
        /// How long each lasts, from its issue: 48h, 30d [default: for good]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        lasts: Option<std::time::Duration>,
        /// Until when each lasts, however late it is issued [default: for good]
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// How often each may be played [default: as often as one likes]
        #[arg(long, value_name = "COUNT")]
        plays: Option<u32>,
        /// The shop that sells it, an operator of that role [default: the house]
        #[arg(long, value_name = "NAME")]
        shop: Option<String>,
        /// How what it brings is divided: a split [default: it is the house's]
        #[arg(long, value_name = "NAME")]
        split: Option<String>,
    },
    /// Changes title or price; what was bought stays as it was
    Set {
        #[command(flatten)]
        which: Which,
        /// For people
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Sells it no more
    Withdraw(Which),
    /// Sells it again
    Offer(Which),
}

/// An offer.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which
    #[arg(value_parser = parse_id::<OfferId>)]
    offer: Text<OfferId>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum PurchaseCommand {
    /// Lists purchases
    List {
        /// Only of this account
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        /// Only with this device
        #[arg(long, value_parser = parse_id::<DeviceId>)]
        device: Option<Text<DeviceId>>,
        #[command(flatten)]
        page: Page,
    },
    /// Shows a purchase and its certificates
    Show {
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
    },
    /// A shop has taken the money: the purchase counts
    Settle {
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
    },
    /// A shop has not got the money: the purchase does not count
    Fail {
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
        /// Why, for the buyer
        why: String,
    },
    /// Pays a purchase back: its licences end
    Refund {
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
        /// Why, for the account
        why: String,
    },
    /// Lets a certificate count again, when a second person has approved it
    Restore {
        /// Which
        #[arg(value_parser = parse_id::<CertificateId>)]
        certificate: Text<CertificateId>,
        /// For how many licences in all
        granted: u32,
    },
}

fn subject(text: &str) -> Result<OfferSubject, String> {
    let content = text.parse::<Text<ContentId>>().ok();
    let content = content.map(|content| OfferSubject::Content { content });
    let channel = || {
        let channel = text.parse().ok()?;
        Some(OfferSubject::Channel { channel })
    };
    content
        .or_else(channel)
        .ok_or_else(|| "neither the number of a channel nor a content (cont_...)".to_owned())
}

pub(super) fn offers(api: &Api, command: &OfferCommand) -> Done {
    let show = |offer: &Offer| show_offers(std::slice::from_ref(offer));
    let set = |Which { offer }: &Which, change: ChangeOffer| {
        let offer: Offer =
            api.call(Method::PATCH, &format!("/v1/offers/{offer}"), Some(&change))?;
        api.show(&offer, show);
        Ok(())
    };
    let state = |state| ChangeOffer {
        state: Some(state),
        ..ChangeOffer::default()
    };
    match command {
        OfferCommand::List { offered, page } => {
            let filter = [("offered", offered.then(|| "true".to_owned()))];
            let page: OfferPage = api.get(&page.of("/v1/offers", &filter))?;
            api.show(&page, |page| {
                table::page(&show_offers(&page.offers), page.next.as_ref())
            });
            Ok(())
        }
        OfferCommand::Show(Which { offer }) => {
            let offer: Offer = api.get(&format!("/v1/offers/{offer}"))?;
            api.show(&offer, show);
            Ok(())
        }
        OfferCommand::Add {
            title,
            subject,
            price,
            currency,
            grants,
            lasts,
            until,
            plays,
            shop,
            split,
        } => {
            let lasts = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
            let new = NewOffer {
                title: title.clone(),
                subject: *subject,
                price: Price {
                    amount: *price,
                    currency: currency.clone(),
                },
                grants: *grants,
                terms: OfferTerms {
                    lasts_ms: lasts,
                    until: *until,
                    plays: *plays,
                },
                shop: shop.clone(),
                split: split.clone(),
            };
            let offer: Offer = api.call(Method::POST, "/v1/offers", Some(&new))?;
            api.show(&offer, show);
            Ok(())
        }
        OfferCommand::Set {
            which,
            title,
            price,
        } => {
            let change = ChangeOffer {
                title: title.clone(),
                price: price.price(),
                state: None,
            };
            set(which, change)
        }
        OfferCommand::Withdraw(which) => set(which, state(OfferState::Withdrawn)),
        OfferCommand::Offer(which) => set(which, state(OfferState::Offered)),
    }
}

pub(super) fn purchases(api: &Api, command: &PurchaseCommand) -> Done {
    match command {
        PurchaseCommand::List {
            account,
            device,
            page,
        } => {
            let filter = [
                ("account", account.map(|id| id.to_string())),
                ("device", device.map(|id| id.to_string())),
            ];
            let page: PurchasePage = api.get(&page.of("/v1/purchases", &filter))?;
            api.show(&page, |page| {
                table::page(&show_purchases(&page.purchases), page.next.as_ref())
            });
            Ok(())
        }
        PurchaseCommand::Show { purchase } => {
            let purchase: Purchase = api.get(&format!("/v1/purchases/{purchase}"))?;
            api.show(&purchase, show_purchase);
            Ok(())
        }
        PurchaseCommand::Settle { purchase } => {
            let path = format!("/v1/purchases/{purchase}/settle");
            let purchase: Purchase = api.call(Method::POST, &path, None::<&()>)?;
            api.show(&purchase, show_purchase);
            Ok(())
        }
        PurchaseCommand::Fail { purchase, why } => {
            let body = FailPurchase { why: why.clone() };
            let path = format!("/v1/purchases/{purchase}/fail");
            let purchase: Purchase = api.call(Method::POST, &path, Some(&body))?;
            api.show(&purchase, show_purchase);
            Ok(())
        }
        PurchaseCommand::Refund { purchase, why } => {
            let body = RefundPurchase { why: why.clone() };
            let path = format!("/v1/purchases/{purchase}/refund");
            let purchase: Purchase = api.call(Method::POST, &path, Some(&body))?;
            api.show(&purchase, show_purchase);
            Ok(())
        }
        PurchaseCommand::Restore {
            certificate,
            granted,
        } => {
            let body = RestoreCertificate { granted: *granted };
            let path = format!("/v1/purchase-certificates/{certificate}/grants");
            api.give(&path, &body, |restored: &CertificateRecord| {
                show_certificates(std::slice::from_ref(restored))
            })
        }
    }
}

pub(crate) fn price(price: &Price) -> String {
    format!("{} {}", price.amount, price.currency)
}

pub(crate) fn show_offers(offers: &[Offer]) -> String {
    let row = |offer: &Offer| {
        let subject = match offer.subject {
            OfferSubject::Channel { channel } => format!("channel {channel}"),
            OfferSubject::Content { content } => content.to_string(),
        };
        [
            offer.id.to_string(),
            offer.state.name().to_owned(),
            subject,
            price(&offer.price),
            offer.grants.to_string(),
            or_dash(offer.shop.as_ref()),
            offer.title.clone(),
        ]
    };
    let rows: Vec<_> = offers.iter().map(row).collect();
    table(
        [
            "OFFER", "STATE", "FOR", "PRICE", "LICENCES", "SHOP", "TITLE",
        ],
        &rows,
    )
}

fn show_purchases(purchases: &[Purchase]) -> String {
    let row = |purchase: &Purchase| {
        [
            purchase.id.to_string(),
            purchase.device.to_string(),
            purchase.state.name().to_owned(),
            purchase.method.name().to_owned(),
            price(&purchase.price),
            purchase.sent.to_string(),
            or_dash(purchase.reason.as_ref()),
        ]
    };
    let rows: Vec<_> = purchases.iter().map(row).collect();
    table(
        [
            "PURCHASE", "DEVICE", "STATE", "METHOD", "PRICE", "SENT", "WHY",
        ],
        &rows,
    )
}

fn show_purchase(purchase: &Purchase) -> String {
    let purchases = show_purchases(std::slice::from_ref(purchase));
    format!("{purchases}\n{}", show_certificates(&purchase.certificates))
}

fn show_certificates(certificates: &[CertificateRecord]) -> String {
    let row = |certificate: &CertificateRecord| {
        let subject: LicenceSubject = certificate.subject;
        [
            certificate.id.to_string(),
            certificate.state.name().to_owned(),
            Subject::from(subject).to_string(),
            certificate.amount.to_string(),
            or_dash(certificate.granted),
            certificate.used.to_string(),
        ]
    };
    let rows: Vec<_> = certificates.iter().map(row).collect();
    table(
        ["CERTIFICATE", "STATE", "FOR", "PRICE", "GRANTED", "USED"],
        &rows,
    )
}
