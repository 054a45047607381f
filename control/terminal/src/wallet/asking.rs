//! What a player asks of the key server, one request after the other.

use reqwest::Method;
use sealcast_objects::api::{DeviceKeys, LicencePage, SignedLicence, SignedStatusList, Signers};
use sealcast_objects::id::{Id as _, LicenceId, PurchaseId, Text};
use sealcast_objects::licence::Validity;
use sealcast_objects::time::Timestamp;
use serde::de::DeserializeOwned;

use super::Holder;
use super::orders::Stage;
use super::player::{PAGES_MAX, Player, PlayerError, Service, Synced, get};
use super::state::{Distrust, State};
use super::steps::{Request, Step, is_final, parse};
use crate::https::RequestError;

/// More steps than any wallet needs at once; beyond it something goes in a circle.
const STEPS_MAX: usize = 10_000;

impl<S: Service> Player<S> {
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PlayerError> {
        get(&self.service, path).await
    }

    /// Tells the wallet's keys, and hears which the server signs with.
    pub(super) async fn introduce(&mut self, anew: bool) -> Result<(), PlayerError> {
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
    pub(super) async fn look_after(
        &mut self,
        one: Option<Text<PurchaseId>>,
    ) -> Result<(), PlayerError> {
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
    pub(super) async fn drive(&mut self) -> Result<(), PlayerError> {
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
        let Some(request) = wallet.state.request(step, &wallet.holder()) else {
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

    /// Fetches the licences of the device that are not here. One that cannot be believed holds none of the others up.
    pub(super) async fn fetch_licences(&mut self, synced: &mut Synced) -> Result<(), PlayerError> {
        let (mut path, mut first) = ("/v1/device/licences".to_owned(), Ok(()));
        for _ in 0..PAGES_MAX {
            let page: LicencePage = self.get(&path).await?;
            for record in page.licences {
                let here = self.wallet.state.licences.contains_key(&record.id);
                if here || record.validity == Validity::Invalid {
                    continue;
                }
                match self.fetch_licence(record.id).await {
                    Ok(()) => synced.new.push(record.id),
                    Err(PlayerError::Distrust(Distrust::OtherWallet(id))) => {
                        synced.elsewhere.push(id);
                    }
                    Err(error @ PlayerError::Distrust(_)) => first = first.and(Err(error)),
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some(next) => path = format!("/v1/device/licences?after={next}"),
                None => break,
            }
        }
        first
    }

    async fn fetch_licence(&mut self, id: Text<LicenceId>) -> Result<(), PlayerError> {
        let told: SignedLicence = self.get(&format!("/v1/device/licences/{id}")).await?;
        let take = |state: &mut State, by: &Holder<'_>| {
            state.take_licence(told.object, by.device, by.wrap)
        };
        self.wallet.change(take).map(drop)
    }

    /// Fetches the list of licences that count; its number, and until when it is good.
    pub(super) async fn fetch_list(&mut self) -> Result<(u64, Timestamp), PlayerError> {
        let told: SignedStatusList = self.get("/v1/device/status-list").await?;
        let list = self.wallet.change(|state, _| {
            let list = state.take_list(told.object)?;
            state.listed();
            Ok::<_, Distrust>(list)
        })?;
        Ok((list.1, list.3))
    }
}
