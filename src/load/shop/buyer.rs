//! One device and whoever sits before it: looks at the offers, thinks, clicks, and tries again when something goes wrong, as people do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use sealcast_objects::api::{Method, Offer};
use sealcast_objects::id::{LicenceId, OfferId, PurchaseId, Text};
use sealcast_objects::problem::Kind;
use sealcast_terminal::https::RequestError;
use sealcast_terminal::identity::Identity;
use sealcast_terminal::wallet::{self, Order, Player, PlayerError, Stage, Wallet, WalletError};

use super::check::{Click, Held};
use super::faults::{Line, Tally};

/// How often a click is tried.
const TRIES_MAX: u32 = 50;
/// A program that is killed is killed within this.
const KILLED_WITHIN: Duration = Duration::from_millis(60);
/// Offers of one purchase, at most.
const BASKET_MAX: usize = 3;

/// What all buyers do alike.
pub(super) struct Habits {
    /// Which offers they buy.
    pub(super) offers: BTreeSet<Text<OfferId>>,
    pub(super) method: Method,
    /// Between two acts, on average.
    pub(super) think: Duration,
    /// Share of clicks in whose middle the program is killed.
    pub(super) killed: f64,
    /// Where all of them stand: clicks that are over.
    pub(super) over: AtomicU64,
    /// Nobody clicks any more.
    pub(super) stop: AtomicBool,
}

/// A device.
pub(super) struct Buyer {
    pub(super) identity: Identity,
    pub(super) wallet: PathBuf,
    pub(super) line: Line,
    pub(super) rng: StdRng,
    pub(super) habits: Arc<Habits>,
}

/// What a device did, and what it has.
#[derive(Default)]
pub(super) struct Story {
    pub(super) clicks: Vec<Click>,
    pub(super) held: Vec<Held>,
    pub(super) usable: Vec<Text<LicenceId>>,
    /// From when each click was due to its end, without thinking.
    pub(super) took: Vec<Duration>,
    pub(super) killed: u64,
    pub(super) tries: u64,
    pub(super) throttled: u64,
    /// Errors that must not be.
    pub(super) errors: Vec<String>,
    pub(super) messages: Tally,
}

/// How a try ended.
enum Tried {
    Over(Click),
    /// It is to be tried again.
    Again,
    /// The server wants fewer requests.
    Throttled,
}

type Shop = Player<Line>;

impl Buyer {
    /// Clicks at these times after `start`, and has in the end what came of it.
    pub(super) async fn day(mut self, start: Instant, clicks: Vec<Duration>) -> Story {
        let mut story = Story::default();
        for due in clicks {
            let due = start + due;
            tokio::time::sleep_until(due.into()).await;
            if self.habits.stop.load(Ordering::Relaxed) {
                break;
            }
            match self.visit(due, &mut story).await {
                Ok(click) => story.clicks.push(click),
                Err(error) => story.errors.push(error.to_string()),
            }
            self.habits.over.fetch_add(1, Ordering::Relaxed);
        }
        self.line.calm().await;
        if let Err(error) = self.look_back(&mut story).await {
            story.errors.push(error.to_string());
        }
        story.messages = self.line.tally();
        story
    }

    fn open(&self) -> Result<Shop, WalletError> {
        let wallet = Wallet::open_or_create(&self.wallet, &self.identity, None)?;
        Ok(Player::new(self.line.clone(), wallet))
    }

    /// Exponentially distributed.
    async fn think(&mut self) -> Duration {
        let least = f64::from(f32::MIN_POSITIVE);
        let at: f64 = self.rng.random_range(least..1.0);
        let pause = self.habits.think.mul_f64((-at.ln()).min(10.0));
        tokio::time::sleep(pause).await;
        pause
    }

    /// Looks at the offers, chooses, and buys.
    async fn visit(&mut self, due: Instant, story: &mut Story) -> Result<Click, PlayerError> {
        let mut thought = Duration::ZERO;
        let mut offers = Vec::new();
        for _ in 0..TRIES_MAX {
            let shown = wallet::offers(&self.line).await;
            match tried(shown.map(|shown| offers = shown), story)? {
                Tried::Over(_) => break,
                Tried::Again => {}
                Tried::Throttled => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        offers.retain(|offer| self.habits.offers.contains(&offer.id));
        if offers.is_empty() {
            return Ok(Click::Open(None));
        }
        thought += self.think().await;
        let basket = self.rng.random_range(1..=BASKET_MAX);
        let choose = |_| offers[self.rng.random_range(0..offers.len())].clone();
        let basket: Vec<_> = (0..basket).map(choose).collect();
        let click = self.buy(&basket, &mut thought, story).await?;
        let took = due.elapsed().saturating_sub(thought);
        if !matches!(click, Click::Open(_)) {
            story.took.push(took);
        }
        Ok(click)
    }

    /// Clicks until it is over. Whoever was interrupted looks first what came of it.
    async fn buy(
        &mut self,
        basket: &[Offer],
        thought: &mut Duration,
        story: &mut Story,
    ) -> Result<Click, PlayerError> {
        let before: BTreeSet<_> = self.open()?.orders().map(|(id, _)| id).collect();
        for _ in 0..TRIES_MAX {
            let player = self.open()?;
            if let Some(click) = begun(&player, &before).and_then(over) {
                return Ok(click);
            }
            story.tries += 1;
            match self.try_once(player, basket, story).await? {
                Tried::Over(click) => return Ok(click),
                Tried::Again => {}
                Tried::Throttled => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            *thought += self.think().await;
        }
        let begun = begun(&self.open()?, &before);
        Ok(Click::Open(begun.map(|(id, _)| id)))
    }

    async fn try_once(
        &mut self,
        mut player: Shop,
        basket: &[Offer],
        story: &mut Story,
    ) -> Result<Tried, PlayerError> {
        let buying = player.buy(basket, self.habits.method);
        let bought = if self.rng.random_bool(self.habits.killed) {
            let life = KILLED_WITHIN.mul_f64(self.rng.random());
            match tokio::time::timeout(life, buying).await {
                Ok(bought) => bought,
                Err(_) => {
                    story.killed += 1;
                    return Ok(Tried::Again);
                }
            }
        } else {
            buying.await
        };
        match bought {
            Ok(bought) => Ok(over(bought).map_or(Tried::Again, Tried::Over)),
            Err(PlayerError::NotBought { purchase, .. }) => {
                Ok(Tried::Over(Click::Refused(purchase)))
            }
            Err(error) => tried(Err(error), story),
        }
    }

    /// Goes on with what is not over, and tells what is here.
    async fn look_back(&mut self, story: &mut Story) -> Result<(), PlayerError> {
        let mut player = self.open()?;
        for _ in 0..TRIES_MAX {
            let synced = player.sync(false).await.map(drop);
            match tried(synced, story)? {
                Tried::Over(_) => break,
                Tried::Again | Tried::Throttled => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        let done = |order: &Order| match order.stage {
            Stage::Done => Some(true),
            Stage::Failed(_) => Some(false),
            _ => None,
        };
        let orders = player.orders();
        story.held.extend(orders.map(|(id, order)| Held {
            id,
            done: done(order),
            licences: order.grants.iter().map(|grant| grant.licence).collect(),
        }));
        let usable = player.licences().into_iter();
        let usable = usable.filter(|licence| licence.valid.is_ok());
        story.usable.extend(usable.map(|licence| licence.id));
        for click in &mut story.clicks {
            let Click::Open(Some(id)) = click else {
                continue;
            };
            let order = player.orders().find(|(of, _)| of == id);
            let ended = order.and_then(|(id, order)| over((id, order.clone())));
            *click = ended.unwrap_or(Click::Open(None));
        }
        Ok(())
    }
}

/// Whether it may be tried again.
fn tried(done: Result<(), PlayerError>, story: &mut Story) -> Result<Tried, PlayerError> {
    match done {
        Ok(()) => Ok(Tried::Over(Click::Open(None))),
        Err(PlayerError::Request(RequestError::Refused(problem)))
            if problem.kind == Kind::TooMany =>
        {
            story.throttled += 1;
            Ok(Tried::Throttled)
        }
        Err(PlayerError::Request(error)) if error.is_passing() => Ok(Tried::Again),
        Err(error) => Err(error),
    }
}

/// The order that a click has begun.
fn begun(player: &Shop, before: &BTreeSet<Text<PurchaseId>>) -> Option<(Text<PurchaseId>, Order)> {
    let mut orders = player.orders();
    let found = orders.find(|(id, _)| !before.contains(id));
    found.map(|(id, order)| (id, order.clone()))
}

/// What an order came to.
fn over((id, order): (Text<PurchaseId>, Order)) -> Option<Click> {
    match order.stage {
        Stage::Done => Some(Click::Done(id)),
        Stage::Failed(_) => Some(Click::Refused(id)),
        _ => None,
    }
}
