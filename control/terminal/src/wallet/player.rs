//! What a player does with a wallet. Each step is kept before the next is asked for; what fails is asked for again by the next call.

use std::io::Write;
use std::time::SystemTime;

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use reqwest::Method;
use sealcast_objects::ContentId;
use sealcast_objects::api::{CardPayment, Method as Pays, Offer, OfferPage};
use sealcast_objects::id::{Id as _, LicenceId, PurchaseId, Text};
use sealcast_objects::licence::{Licence, Subject};
use sealcast_objects::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::decision::{Refusal, Valid, Wanted};
use super::orders::{Item, Order, Stage};
use super::play::{PlayError, Playing};
use super::state::{Distrust, Download, content_key};
use super::steps::parse;
use super::{Wallet, WalletError};
use crate::content::TransferError;
use crate::https::{Client, RequestError};

/// Pages of a list that are asked for at most.
pub(super) const PAGES_MAX: usize = 1000;

/// The key server, as a wallet needs it: [`Client`] is one.
pub trait Service: Sync {
    /// Sends a request with a JSON body, if any, and takes a JSON answer.
    ///
    /// # Errors
    /// [`RequestError`].
    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> impl Future<Output = Result<Value, RequestError>> + Send;
}

impl Service for Client {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, RequestError> {
        self.call(method, path, body.as_ref()).await
    }
}

/// Why something was not done. What was done before it is kept.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The key server, or the way there. Whatever was begun goes on with the next [`Player::sync`].
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What the key server sent is not to be believed.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// A purchase came to nothing; it is not paid, or it was paid back.
    #[error("{purchase} came to nothing: {why}")]
    NotBought {
        /// Which.
        purchase: Text<PurchaseId>,
        /// Why.
        why: String,
    },
    /// It may not be used.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The content is not here.
    #[error("{0} may be played, but it is not here: `sealcast device download` fetches it")]
    NotHere(Text<ContentId>),
    /// No version of a content can be fetched.
    #[error("no version of {0} can be fetched yet: try again later")]
    NoVersion(Text<ContentId>),
    /// A file was not fetched.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A file was not played.
    #[error(transparent)]
    Play(#[from] PlayError),
}

/// What [`Player::sync`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Synced {
    /// Licences that are new here.
    pub new: Vec<Text<LicenceId>>,
    /// Licences of the device whose key is wrapped for another wallet.
    pub elsewhere: Vec<Text<LicenceId>>,
    /// The number of the list of licences that count.
    pub list: u64,
    /// Until when the wallet may go by that list.
    pub until: Option<Timestamp>,
}

/// A licence of the wallet, and whether it may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Which.
    pub id: Text<LicenceId>,
    /// What it says; nothing if it cannot be believed.
    pub licence: Option<Licence>,
    /// Whether it may be used now.
    pub valid: Result<Valid, Refusal>,
    /// Whether the server knows that it is here.
    pub acknowledged: bool,
}

/// A wallet that is used.
#[derive(Debug)]
pub struct Player<S> {
    pub(super) service: S,
    pub(super) wallet: Wallet,
    /// The wall clock.
    pub(super) now: fn() -> Timestamp,
    pub(super) rng: StdRng,
}

fn wall_clock() -> Timestamp {
    SystemTime::now().into()
}

/// An error by which the server is not out of reach: what comes after it is done all the same.
fn set_aside(done: Result<(), PlayerError>) -> Result<Result<(), PlayerError>, PlayerError> {
    match done {
        Err(PlayerError::Request(error)) if !matches!(error, RequestError::Refused(_)) => {
            Err(error.into())
        }
        done => Ok(done),
    }
}

/// What an answer holds.
pub(super) async fn get<T: DeserializeOwned>(
    service: &impl Service,
    path: &str,
) -> Result<T, PlayerError> {
    Ok(parse(service.ask(Method::GET, path, None).await?)?)
}

/// What is sold; this needs no wallet.
///
/// # Errors
/// [`PlayerError`].
pub async fn offers(service: &impl Service) -> Result<Vec<Offer>, PlayerError> {
    let (mut offers, mut path) = (Vec::new(), "/v1/device/offers".to_owned());
    for _ in 0..PAGES_MAX {
        let page: OfferPage = get(service, &path).await?;
        offers.extend(page.offers);
        match page.next {
            Some(next) => path = format!("/v1/device/offers?after={next}"),
            None => break,
        }
    }
    Ok(offers)
}

/// How the payment of a purchase by card stands, and what it is paid with; this needs no wallet (PC-19).
///
/// # Errors
/// [`PlayerError`]: not found, if it is not paid by card, or the device has not its certificates yet.
pub async fn card(
    service: &impl Service,
    purchase: Text<PurchaseId>,
) -> Result<CardPayment, PlayerError> {
    get(service, &format!("/v1/device/purchases/{purchase}/card")).await
}

impl<S: Service> Player<S> {
    /// With this server, and this wallet.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn new(service: S, wallet: Wallet) -> Self {
        let rng = StdRng::try_from_rng(&mut SysRng);
        Self {
            service,
            wallet,
            now: wall_clock,
            rng: rng.expect("the operating system gives randomness"),
        }
    }

    /// The wallet.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Licences, in the order of their ids (the oldest first), and whether each may be used now.
    pub fn licences(&self) -> Vec<Judgement> {
        let (state, now) = (&self.wallet.state, (self.now)());
        let judged = state.judged(self.wallet.device, now).into_iter();
        let kept = state.licences.iter();
        let judgement = |((id, kept), judged): ((&Text<LicenceId>, &super::state::Kept), _)| {
            let (licence, valid) = match judged {
                Ok((licence, valid)) => (Some(licence), valid),
                Err(refusal) => (None, Err(refusal)),
            };
            Judgement {
                id: *id,
                licence,
                valid,
                acknowledged: kept.acknowledged,
            }
        };
        kept.zip(judged).map(judgement).collect()
    }

    /// What was bought, in the order in which it was.
    pub fn orders(&self) -> impl Iterator<Item = (Text<PurchaseId>, &Order)> {
        let orders = self.wallet.state.orders.iter();
        orders.map(|(id, order)| (*id, order))
    }

    /// Sealed files, by content and version.
    pub fn downloads(&self) -> impl Iterator<Item = (Text<ContentId>, u32, &Download)> {
        let downloads = self.wallet.state.downloads.iter();
        downloads.map(|((content, version), download)| (*content, *version, download))
    }

    /// Whether a channel may be received now. The key doors decide for themselves; this says it without asking them.
    ///
    /// # Errors
    /// [`Refusal`]: why not.
    pub fn channel(&self, channel: u16) -> Result<Valid, Refusal> {
        let usable = self.usable(Wanted::Channel(channel))?;
        let best = usable.into_iter().next();
        let (_, valid) = best.ok_or(Refusal::NoLicence(Wanted::Channel(channel)))?;
        Ok(valid)
    }

    pub(super) fn usable(&self, wanted: Wanted) -> Result<Vec<(Licence, Valid)>, Refusal> {
        let state = &self.wallet.state;
        state.usable(wanted, self.wallet.device, (self.now)())
    }

    /// Begins to play a content that is here. This counts as one play, on the disk before there is a byte of it.
    ///
    /// # Errors
    /// [`PlayerError::Refused`] says why it may not be played.
    pub fn playing(&mut self, content: ContentId) -> Result<Playing, PlayerError> {
        let usable = self.usable(Wanted::Content(content))?;
        let downloads = &self.wallet.state.downloads;
        let here = usable.iter().find_map(|(licence, _)| {
            let Subject::Content(of, version) = licence.subject else {
                return None;
            };
            let download = downloads.get(&(of, version))?;
            download.complete.then_some((licence, version, download))
        });
        let (licence, version, download) = here.ok_or(PlayerError::NotHere(Text(content)))?;
        let key = content_key(licence, &self.wallet.keys.wrap)?;
        let id = licence.id;
        let playing = Playing::open(&download.file, id, (content, version), &key)?;
        self.wallet.change(|state, _| {
            if let Some(kept) = state.licences.get_mut(&Text(id)) {
                kept.played = kept.played.saturating_add(1);
            }
            Ok::<_, PlayerError>(())
        })?;
        Ok(playing)
    }

    /// Plays a content that is here, from its beginning to its end; how many bytes.
    ///
    /// # Errors
    /// [`PlayerError::Refused`] says why it may not be played: nothing is written then.
    pub fn play(&mut self, content: ContentId, out: &mut impl Write) -> Result<u64, PlayerError> {
        Ok(self.playing(content)?.write_to(out)?)
    }

    /// As [`offers`].
    ///
    /// # Errors
    /// [`PlayerError`].
    pub async fn offers(&self) -> Result<Vec<Offer>, PlayerError> {
        offers(&self.service).await
    }

    /// Buys offers at the prices that they show, and has a licence for each; one that is named twice is bought twice. If the same was begun before and
    /// is not over, that goes on, and nothing is bought twice.
    ///
    /// A purchase whose stage is [`Stage::Settling`] waits for somebody else; [`Player::sync`] goes on with it.
    ///
    /// # Errors
    /// [`PlayerError::NotBought`]: it came to nothing. Any other: if it is among [`Player::orders`], the next [`Player::sync`] or the same call goes on.
    pub async fn buy(
        &mut self,
        offers: &[Offer],
        method: Pays,
    ) -> Result<(Text<PurchaseId>, Order), PlayerError> {
        let item = |offer: &Offer| Item {
            offer: offer.id,
            price: offer.price.clone(),
        };
        self.introduce(false).await?;
        let items: Vec<_> = offers.iter().map(item).collect();
        let (now, new) = (
            (self.now)(),
            Text(PurchaseId::new((self.now)(), &mut self.rng)),
        );
        let id = self.wallet.change(|state, _| {
            let mut begun = state.orders.iter();
            let begun = begun.find(|(_, order)| order.goes_on_with(&items, method));
            let id = begun.map_or(new, |(id, _)| *id);
            let order = || Order::new(items, method, now);
            state.orders.entry(id).or_insert_with(order);
            Ok::<_, PlayerError>(id)
        })?;
        let looked = set_aside(self.look_after(Some(id)).await)?;
        let driven = set_aside(self.drive().await)?;
        match self.order(id)?.stage {
            Stage::Failed(why) => return Err(PlayerError::NotBought { purchase: id, why }),
            // What else there is may have come to nothing; this has not.
            Stage::Listing | Stage::Done | Stage::Settling => {}
            Stage::Asking | Stage::Acknowledging | Stage::Granting => looked.and(driven)?,
        }
        self.fetch_list().await?;
        Ok((id, self.order(id)?))
    }

    fn order(&self, id: Text<PurchaseId>) -> Result<Order, PlayerError> {
        let order = self.wallet.state.orders.get(&id).cloned();
        order.ok_or_else(|| Distrust::NotAsked(format!("{id} is gone")).into())
    }

    /// Goes on with what was begun, fetches licences and the list of which count, and says that they are here. `trust_new_signer`: believes another
    /// key than before from here on, because the server's operator said that it was set up anew.
    ///
    /// # Errors
    /// [`PlayerError`]: the first of them; the rest was done all the same, unless the server could not be reached.
    pub async fn sync(&mut self, trust_new_signer: bool) -> Result<Synced, PlayerError> {
        self.introduce(trust_new_signer).await?;
        let looked = set_aside(self.look_after(None).await)?;
        let driven = set_aside(self.drive().await)?;
        let mut synced = Synced::default();
        let fetched = set_aside(self.fetch_licences(&mut synced).await)?;
        let receipts = set_aside(self.drive().await)?;
        let list = self.fetch_list().await?;
        synced.list = list.0;
        synced.until = Some(list.1);
        let all = looked.and(driven).and(fetched).and(receipts);
        all.map(|()| synced)
    }
}
