//! What a shop has and who comes to it, made by an operator before the doors open: offers, accounts with money, devices that enrol.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use sealcast_objects::api::{
    Account, AccountMoney, ChangeOffer, Labels, LicencePage, LicenceRecord, Method as Pays, Money,
    NewAccount, NewCode, NewDevice, NewOffer, Offer, OfferState, OfferSubject, OfferTerms, Pay,
    PaymentKind, Price, Purchase, PurchasePage, Role,
};
use sealcast_objects::id::{Id as _, OfferId, Text, TransferId};
use sealcast_objects::problem::Kind;
use sealcast_objects::{AccountId, time::Timestamp};
use sealcast_terminal::enrol;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rng;

/// How often something is asked again that the server had no time for, a second later each.
const PATIENCE: u32 = 60;
/// Pages of a list, at most.
const PAGES_MAX: usize = 10_000;
/// What the offers cost that are made, and how many licences each is for.
const ASSORTMENT: [(u64, u32); 3] = [(199, 1), (499, 1), (999, 3)];

/// The shop, as an operator reaches it.
#[derive(Clone)]
pub(super) struct Shop {
    client: Client,
    server: Arc<str>,
}

/// Who buys: an account and its devices.
pub(super) struct Customer {
    pub(super) account: Text<AccountId>,
    /// What it may spend.
    pub(super) had: u64,
    pub(super) devices: Vec<Identity>,
}

/// Asks again while the server has no time.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, RequestError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    for _ in 0..PATIENCE {
        match ask().await {
            Err(RequestError::Refused(problem))
                if matches!(problem.kind, Kind::TooMany | Kind::Unavailable) =>
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            other => return other,
        }
    }
    ask().await
}

impl Shop {
    pub(super) fn new(identity: &Identity) -> Result<Self, RequestError> {
        Ok(Self {
            client: Client::new(identity)?.because("sealcast load shop", "")?,
            server: identity.server.as_str().into(),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, RequestError> {
        patiently(|| self.client.call(method.clone(), path, body)).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Offers that are there, by their ids.
    pub(super) async fn offers(&self, ids: &[Text<OfferId>]) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for id in ids {
            let offer: Offer = self.get(&format!("/v1/offers/{id}")).await?;
            ensure!(offer.state == OfferState::Offered, "{id} is not sold");
            offers.push(offer);
        }
        Ok(offers)
    }

    /// Offers of its own, for a channel.
    pub(super) async fn assort(&self, channel: u16, name: &str) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for (amount, grants) in ASSORTMENT {
            let new = NewOffer {
                title: format!("{name}, {grants} licences"),
                subject: OfferSubject::Channel { channel },
                price: Price {
                    amount,
                    currency: "EUR".to_owned(),
                },
                grants,
                terms: OfferTerms {
                    lasts_ms: Some(3_600_000),
                    ..OfferTerms::default()
                },
                shop: None,
                split: None,
            };
            let offer = self.ask(Method::POST, "/v1/offers", Some(&new));
            offers.push(offer.await.context("an offer cannot be made")?);
        }
        Ok(offers)
    }

    /// They are not sold any more.
    pub(super) async fn withdraw(&self, offers: &[Offer]) -> Result<(), RequestError> {
        for offer in offers {
            let path = format!("/v1/offers/{}", offer.id);
            let change = ChangeOffer {
                state: Some(OfferState::Withdrawn),
                ..ChangeOffer::default()
            };
            let _: Offer = self.ask(Method::PATCH, &path, Some(&change)).await?;
        }
        Ok(())
    }

    /// An account that may spend so much, and its devices.
    pub(super) async fn customer(
        &self,
        name: String,
        devices: u16,
        may_spend: Price,
        pays: Pays,
    ) -> Result<Customer> {
        let new = NewAccount { name: name.clone() };
        let account: Account = self.ask(Method::POST, "/v1/accounts", Some(&new)).await?;
        let (account, had) = (account.id, may_spend.amount);
        let now = Timestamp::from(SystemTime::now());
        let path = format!(
            "/v1/accounts/{account}/payments/{}",
            Text(TransferId::new(now, &mut rng()))
        );
        let pay = Pay {
            kind: match pays {
                Pays::Invoice => PaymentKind::Lend,
                Pays::Balance | Pays::Card | Pays::Shop => PaymentKind::PayIn,
            },
            price: may_spend,
            note: String::new(),
        };
        let _: serde_json::Value = self.ask(Method::PUT, &path, Some(&pay)).await?;
        let mut enrolled = Vec::new();
        for number in 0..devices {
            let new = NewDevice {
                account: Some(account),
                name: format!("{name}.{number}"),
                labels: Labels::default(),
            };
            let code: NewCode = self.ask(Method::POST, "/v1/devices", Some(&new)).await?;
            let code = code.code.parse().context("the server's code")?;
            let key = enrol::new_key()?;
            let ask = || enrol::enrol(&self.server, &code, &key, Role::Device);
            enrolled.push(patiently(ask).await?);
        }
        Ok(Customer {
            account,
            had,
            devices: enrolled,
        })
    }

    /// What an account may spend.
    pub(super) async fn left(
        &self,
        account: Text<AccountId>,
        currency: &str,
        pays: Pays,
    ) -> Result<u64, RequestError> {
        let path = format!("/v1/accounts/{account}/money");
        let AccountMoney { money } = self.get(&path).await?;
        let of = |money: &Money| match pays {
            Pays::Invoice => money.credit,
            Pays::Balance | Pays::Card | Pays::Shop => money.balance,
        };
        let found = money.iter().find(|money| money.currency == currency);
        Ok(found.map_or(0, of))
    }

    /// What it bought.
    pub(super) async fn purchases(&self, account: Text<AccountId>) -> Result<Vec<Purchase>> {
        let path = format!("/v1/purchases?account={account}&limit=1000");
        let part = |page: PurchasePage| (page.purchases, page.next);
        self.whole(&path, part).await
    }

    /// Its licences.
    pub(super) async fn licences(&self, account: Text<AccountId>) -> Result<Vec<LicenceRecord>> {
        let path = format!("/v1/licences?account={account}&limit=1000");
        let part = |page: LicencePage| (page.licences, page.next);
        self.whole(&path, part).await
    }

    /// A list, page by page.
    pub(super) async fn whole<P: DeserializeOwned, T, N: std::fmt::Display>(
        &self,
        path: &str,
        part: impl Fn(P) -> (Vec<T>, Option<N>),
    ) -> Result<Vec<T>> {
        let (mut all, mut page) = (Vec::new(), path.to_owned());
        for _ in 0..PAGES_MAX {
            let (some, next) = part(self.get(&page).await?);
            all.extend(some);
            match next {
                Some(next) => page = format!("{path}&after={next}"),
                None => return Ok(all),
            }
        }
        anyhow::bail!("{path} has no end")
    }
}
