//! One answer to one question: what was given out before is given again, what is missing is derived by the authority and made durable,
//! sealed, before it is answered.

use rand_core::Rng as _;
use sealcast_crypto::CencKey;
use sealcast_domain::cenc::{self, KID_LEN, Key, Place};
use sealcast_domain::channels;
use sealcast_objects::interop::{Periods, Question};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::authority::NoCencKeys;
use sealcast_proto::ids::ChannelId;
use zeroize::Zeroizing;

use super::super::{internal, now};
use super::App;
use super::asker::Asker;

/// A key that is given out.
#[derive(Debug)]
pub(super) struct Given {
    /// For what it is, and its id.
    pub(super) place: Place,
    /// The key.
    pub(super) key: CencKey,
}

impl App {
    /// The keys of a question, by crypto period and track. Who asks may have them: that was checked.
    pub(super) async fn give(
        &self,
        door: &'static str,
        asker: &Asker,
        question: Question,
    ) -> Result<Vec<Given>, Problem> {
        // A packager that hangs up does not stop this half-way.
        let (app, asked) = (self.clone(), question.clone());
        let given = tokio::spawn(async move { app.given(&asked).await }).await;
        let (keys, new) = given.unwrap_or_else(|error| Err(internal(error)))?;
        let (first, count, seconds) = match question.periods {
            Periods::Whole => (None, 0, 0),
            Periods::Rotating {
                first,
                count,
                seconds,
            } => (Some(first), count, seconds),
        };
        tracing::info!(
            by = asker.name,
            door,
            channel = question.channel,
            content = %question.content,
            first,
            count,
            seconds,
            keys = keys.len(),
            new,
            "keys given to a packager"
        );
        Ok(keys)
    }

    /// The keys, and how many of them are new.
    async fn given(&self, question: &Question) -> Result<(Vec<Given>, usize), Problem> {
        let _in_order = self.0.interop.order.lock().await;
        let (now, bounds) = (now(), self.0.interop.bounds());
        let mut seed = [0; KID_LEN];
        self.rng().fill_bytes(&mut seed);
        let asked = question.clone();
        let found = self
            .read(move |store| {
                channels::get(store, asked.channel)?;
                cenc::find(store, now, bounds, &asked, seed)
            })
            .await?;
        let kids: Vec<_> = found.missing.iter().map(|place| place.kid).collect();
        let derived = self
            .authority()
            .cenc_keys(ChannelId(question.channel), kids)
            .await;
        let (epoch, derived) = derived.map_err(internal)?.map_err(unavailable)?;
        let made: Vec<Key> = found
            .missing
            .iter()
            .zip(&derived)
            .map(|(place, key)| Key {
                place: *place,
                epoch: epoch.0,
                sealed: self
                    .vault()
                    .seal(&name(&place.kid), key.as_bytes(), &mut *self.rng()),
            })
            .collect();
        let mut given = Vec::with_capacity(found.keys.len() + made.len());
        for Key { place, sealed, .. } in &found.keys {
            let key = self.open(place, sealed)?;
            given.push(Given { place: *place, key });
        }
        let new = found.missing.iter().zip(derived);
        given.extend(new.map(|(place, key)| Given { place: *place, key }));
        given.sort_by_key(|given| (given.place.period, given.place.track));
        let (asked, new) = (question.clone(), made.len());
        self.write(move |tx| cenc::keep(tx, now, bounds, &asked, &found, &made))
            .await?;
        Ok((given, new))
    }

    fn open(&self, place: &Place, sealed: &[u8]) -> Result<CencKey, Problem> {
        let opened = self
            .vault()
            .open_secret(&name(&place.kid), sealed)
            .map_err(internal)?;
        let bytes = opened.as_slice().try_into().map(Zeroizing::new);
        let bytes = bytes.map_err(|_| {
            internal("a key for packagers has another length than it was stored with")
        })?;
        Ok(CencKey::from_bytes(*bytes))
    }
}

/// Both pass by themselves, or by sending.
fn unavailable(none: NoCencKeys) -> Problem {
    Problem::new(Kind::Unavailable, none.to_string())
}

/// What a key is sealed as.
fn name(kid: &[u8; KID_LEN]) -> String {
    format!("cenc key {}", data_encoding::HEXLOWER.encode(kid))
}
