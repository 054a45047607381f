//! What a player does with a wallet. Each step is kept before the next is asked for; what fails is asked for again by the next call.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use reqwest::Method;
use sealcast_objects::ContentId;
use sealcast_objects::api::{
    ContentVersion, DeviceKeys, LicencePage, Method as Pays, Offer, OfferPage, SignedLicence,
    SignedStatusList, Signers,
};
use sealcast_objects::id::{Id as _, LicenceId, PurchaseId, Text};
use sealcast_objects::licence::{Licence, Subject, Validity};
use sealcast_objects::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::decision::{Refusal, Valid, Wanted};
use super::orders::{Item, Order, Request, Stage, Step, is_final};
use super::play::{PlayError, Playing};
use super::state::{Distrust, Download, State, content_key};
use super::{Holder, Wallet, WalletError};
use crate::content::{self, TransferError};
use crate::https::{Client, RequestError};

/// More steps than any wallet needs at once; beyond it something goes in a circle.
const STEPS_MAX: usize = 10_000;
/// Pages of a list that are asked for at most.
const PAGES_MAX: usize = 1000;

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
    service: S,
    wallet: Wallet,
    /// The wall clock.
    pub(super) now: fn() -> Timestamp,
    rng: StdRng,
}

fn wall_clock() -> Timestamp {
    SystemTime::now().into()
}

/// What an answer holds.
fn parse<T: DeserializeOwned>(answer: Value) -> Result<T, PlayerError> {
    let parsed = serde_json::from_value(answer);
    parsed.map_err(|error| Distrust::NotAsked(error.to_string()).into())
}

async fn get<T: DeserializeOwned>(service: &impl Service, path: &str) -> Result<T, PlayerError> {
    parse(service.ask(Method::GET, path, None).await?)
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

    fn usable(&self, wanted: Wanted) -> Result<Vec<(Licence, Valid)>, Refusal> {
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
        self.look_after(Some(id)).await?;
        let driven = self.drive().await;
        if let Stage::Failed(why) = self.order(id)?.stage {
            return Err(PlayerError::NotBought { purchase: id, why });
        }
        driven?;
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
        self.look_after(None).await?;
        let driven = self.reached(Self::drive).await?;
        let mut synced = Synced::default();
        self.fetch_licences(&mut synced).await?;
        let receipts = self.reached(Self::drive).await?;
        let list = self.fetch_list().await?;
        synced.list = list.0;
        synced.until = Some(list.1);
        driven.and(receipts).map(|()| synced)
    }

    /// Sets an error aside that the server is not out of reach by.
    async fn reached(
        &mut self,
        what: impl AsyncFnOnce(&mut Self) -> Result<(), PlayerError>,
    ) -> Result<Result<(), PlayerError>, PlayerError> {
        match what(self).await {
            Err(PlayerError::Request(error)) if !matches!(error, RequestError::Refused(_)) => {
                Err(error.into())
            }
            done => Ok(done),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PlayerError> {
        get(&self.service, path).await
    }

    /// Tells the wallet's keys, and hears which the server signs with.
    async fn introduce(&mut self, anew: bool) -> Result<(), PlayerError> {
        let keys = DeviceKeys::from(&self.wallet.public_keys());
        let keys = serde_json::to_value(&keys).ok();
        let _: DeviceKeys = parse(
            self.service
                .ask(Method::PUT, "/v1/device/keys", keys)
                .await?,
        )?;
        let signers: Signers = self.get("/v1/signers").await?;
        self.wallet
            .change(|state, _| state.take_signers(&signers, anew))
    }

    /// Asks whether what waits is settled by now; all, or one.
    async fn look_after(&mut self, one: Option<Text<PurchaseId>>) -> Result<(), PlayerError> {
        let orders = self.wallet.state.orders.iter();
        let waits = orders.filter(|(id, order)| {
            order.stage == Stage::Settling && one.is_none_or(|one| one == **id)
        });
        let waits: Vec<_> = waits.map(|(id, _)| *id).collect();
        for id in waits {
            self.step(Step::Look(id)).await?;
        }
        Ok(())
    }

    /// Takes every step that there is. One that comes to nothing holds none of the others up.
    async fn drive(&mut self) -> Result<(), PlayerError> {
        let (mut stuck, mut first) = (Vec::new(), Ok(()));
        for _ in 0..STEPS_MAX {
            let Some(step) = self.wallet.state.next(&stuck) else {
                break;
            };
            match self.step(step).await {
                Ok(()) => {}
                Err(
                    error @ (PlayerError::Distrust(_)
                    | PlayerError::Request(RequestError::Refused(_))),
                ) => {
                    stuck.push(step);
                    first = first.and(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        first
    }

    async fn step(&mut self, step: Step) -> Result<(), PlayerError> {
        let wallet = &self.wallet;
        let holder = Holder {
            device: wallet.device,
            sign: &wallet.keys.sign,
            wrap: &wallet.keys.wrap,
        };
        let Some(request) = wallet.state.request(step, &holder) else {
            return Ok(());
        };
        let Request { method, path, body } = request;
        let answer = match self.service.ask(method, &path, body).await {
            Ok(answer) => Ok(answer),
            Err(RequestError::Refused(problem)) if is_final(step, &problem) => Err(problem),
            Err(error) => return Err(error.into()),
        };
        let (now, rng) = ((self.now)(), &mut self.rng);
        let mut fresh = || LicenceId::new(now, rng);
        self.wallet
            .change(|state, holder| state.take(step, answer, holder, &mut fresh))
    }

    /// Fetches the licences of the device that are not here.
    async fn fetch_licences(&mut self, synced: &mut Synced) -> Result<(), PlayerError> {
        let mut path = "/v1/device/licences".to_owned();
        for _ in 0..PAGES_MAX {
            let page: LicencePage = self.get(&path).await?;
            for record in page.licences {
                let here = self.wallet.state.licences.contains_key(&record.id);
                if !here && record.validity != Validity::Invalid {
                    self.fetch_licence(record.id, synced).await?;
                }
            }
            match page.next {
                Some(next) => path = format!("/v1/device/licences?after={next}"),
                None => break,
            }
        }
        Ok(())
    }

    async fn fetch_licence(
        &mut self,
        id: Text<LicenceId>,
        synced: &mut Synced,
    ) -> Result<(), PlayerError> {
        let told: SignedLicence = self.get(&format!("/v1/device/licences/{id}")).await?;
        let take = |state: &mut State, by: &Holder<'_>| {
            state.take_licence(told.object, by.device, by.wrap)
        };
        match self.wallet.change(take) {
            Ok(_) => synced.new.push(id),
            Err(PlayerError::Distrust(Distrust::OtherWallet(id))) => synced.elsewhere.push(id),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Fetches the list of licences that count; its number, and until when it is good.
    async fn fetch_list(&mut self) -> Result<(u64, Timestamp), PlayerError> {
        let told: SignedStatusList = self.get("/v1/device/status-list").await?;
        let list = self.wallet.change(|state, _| {
            let list = state.take_list(told.object)?;
            state.listed();
            Ok::<_, Distrust>(list)
        })?;
        Ok((list.1, list.3))
    }

    /// Says where a file is to be, before it is.
    pub(super) fn keep_download(
        &mut self,
        key: (Text<ContentId>, u32),
        download: &Download,
    ) -> Result<(), PlayerError> {
        self.wallet.change(|state, _| {
            state.downloads.insert(key, download.clone());
            Ok::<_, PlayerError>(())
        })
    }

    /// The version that there is a licence for, or the newest.
    async fn version(&self, content: ContentId) -> Result<ContentVersion, PlayerError> {
        let path = format!("/v1/contents/{}/versions", Text(content));
        let all: Vec<ContentVersion> = self.get(&path).await?;
        let usable = self.usable(Wanted::Content(content)).unwrap_or_default();
        let licensed = usable.iter().find_map(|(licence, _)| {
            let Subject::Content(_, version) = licence.subject else {
                return None;
            };
            all.iter().find(|one| one.version == version)
        });
        let ready = || {
            let ready = all.iter().filter(|one| one.sealed_length.is_some());
            ready.max_by_key(|one| one.version)
        };
        let found = licensed.or_else(ready).cloned();
        found.ok_or(PlayerError::NoVersion(Text(content)))
    }
}

impl Player<Client> {
    /// Fetches the sealed file of a content (the version that there is a licence for, or the newest) to `out`, or beside the wallet. What is there from
    /// before is not fetched again. `progress` hears how many bytes are here, of how many.
    ///
    /// # Errors
    /// [`PlayerError`]; what came so far stays for the next time.
    pub async fn download(
        &mut self,
        content: ContentId,
        out: Option<&Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Download, PlayerError> {
        let of = self.version(content).await?;
        let key = (of.content, of.version);
        let bytes = of
            .sealed_length
            .ok_or(TransferError::NotReady(of.version))?;
        let known = self.wallet.state.downloads.get(&key).cloned();
        let is_there = |file: &Path| file.metadata().is_ok_and(|there| there.len() == bytes);
        if let Some(known) = known.as_ref().filter(|known| is_there(&known.file)) {
            // Ended between the file's being whole and the wallet's knowing it.
            let whole = Download {
                complete: true,
                ..known.clone()
            };
            self.keep_download(key, &whole)?;
            return Ok(whole);
        }
        let mut download = Download {
            file: self.place(out, known.as_ref(), key)?,
            bytes,
            complete: false,
        };
        self.keep_download(key, &download)?;
        let fetching = content::download(&self.service, &of, &download.file, |here| {
            progress(here, bytes);
        });
        fetching.await?;
        download.complete = true;
        self.keep_download(key, &download)?;
        Ok(download)
    }

    /// Where a file is to be: where it was said, where it was begun, or beside the wallet.
    fn place(
        &self,
        out: Option<&Path>,
        known: Option<&Download>,
        (content, version): (Text<ContentId>, u32),
    ) -> Result<PathBuf, PlayerError> {
        let begun = known.map(|known| known.file.clone());
        let beside = || {
            let name = format!("{content}-{version}.sealed");
            self.wallet.file().with_file_name(name)
        };
        let place = out.map(Path::to_path_buf).or(begun);
        let place = place.unwrap_or_else(beside);
        let failed = |why| TransferError::File {
            what: "find",
            path: place.clone(),
            why,
        };
        Ok(std::path::absolute(&place).map_err(failed)?)
    }
}
