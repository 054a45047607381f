//! `sealcast load shop`: buyers with several devices each, whose messages are lost, doubled and late, whose programs are killed; and at the
//! end whether everything came out as it must.
//!
//! | file | what |
//! |---|---|
//! | `stock` | what is made before: offers, accounts with money, devices |
//! | `faults` | what happens to messages |
//! | `buyer` | one device and whoever sits before it |
//! | `check` | whether everything came out as it must: pure |
//! | `report` | what is told |

mod buyer;
mod check;
mod faults;
mod report;
mod stock;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sealcast_objects::api::{Book, BookPage, Method, Offer, Price, Role};
use sealcast_objects::id::{OfferId, Text};
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::Identity;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::admin::devices::parse_id;
use crate::load::make::count;
use crate::load::progress::Progress;
use crate::load::stream::{tell, write_page};
use crate::signals::Signals;
use buyer::{Buyer, Habits, Story};
use check::{Seen, Verdict};
use faults::{Chances, Line};
use stock::{Customer, Shop};

/// How often it is said where the run stands.
const TOLD: Duration = Duration::from_millis(200);
/// Accounts that are made or looked at at once.
const AT_ONCE: usize = 16;
/// Most clicks of a run: each is kept until the end.
const CLICKS_MAX: u64 = 10_000_000;
/// Dearest purchase, in prices of the dearest offer.
const BASKET_MAX: u64 = 3;

/// Flags of `sealcast load shop`.
#[derive(Debug, clap::Args)]
pub struct ShopArgs {
    /// Identity of an operator who may add accounts, devices, offers and payments; use a key server of its own for this
    #[arg(
        long,
        env = "SEALCAST_ADMIN",
        default_value = "sealcast-data/admin.json",
        value_name = "FILE"
    )]
    identity: PathBuf,
    /// What is bought; repeatable [default: three offers of its own, for --channel]
    #[arg(long, value_name = "OFFER", value_parser = parse_id::<OfferId>)]
    offer: Vec<Text<OfferId>>,
    /// Channel that its own offers are for
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "offer")]
    channel: u16,
    /// Accounts that buy
    #[arg(long, default_value = "20", value_name = "N", value_parser = count)]
    accounts: u32,
    /// Devices of each
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    devices: u16,
    /// Purchases per second, of all together
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    rate: f64,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long people think between two acts, on average
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = humantime::parse_duration)]
    think: Duration,
    /// How it is paid
    #[arg(long, value_enum, default_value_t = Pays::Balance)]
    method: Pays,
    /// Of 100 messages, so many are lost: half of them requests, half answers
    #[arg(long, default_value = "5", value_name = "PERCENT", value_parser = percent)]
    lost: f64,
    /// So many come twice at once, as of a double click
    #[arg(long, default_value = "5", value_name = "PERCENT", value_parser = percent)]
    doubled: f64,
    /// So many come late, after the device has tried again
    #[arg(long, default_value = "2", value_name = "PERCENT", value_parser = percent)]
    late: f64,
    /// Of 100 tries, in so many the program is killed while it buys
    #[arg(long, default_value = "5", value_name = "PERCENT", value_parser = percent)]
    killed: f64,
    /// Of 100 purchases, so many are made by all devices of an account in the same moment
    #[arg(long, default_value = "20", value_name = "PERCENT", value_parser = percent)]
    together: f64,
    /// Of 100 accounts, so many have too little money for what they want
    #[arg(long, default_value = "20", value_name = "PERCENT", value_parser = percent)]
    poor: f64,
    /// Chooses what is random
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Threads of the devices
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Folder for the wallets while it runs [default: that of temporary files]
    #[arg(long, value_name = "FOLDER")]
    wallets: Option<PathBuf>,
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    /// Write the report as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How purchases are paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Pays {
    /// From what the account has paid before
    Balance,
    /// On the account's next invoice, within its line
    Invoice,
}

impl From<Pays> for Method {
    fn from(pays: Pays) -> Self {
        match pays {
            Pays::Balance => Self::Balance,
            Pays::Invoice => Self::Invoice,
        }
    }
}

/// A share of 1.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    let within = number.filter(|number| (0.0..=100.0).contains(number));
    within
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "write 0 to 100".to_owned())
}

/// What a run came to.
struct Outcome {
    stories: Vec<Story>,
    /// From the first click to the last one's end.
    took: Duration,
    verdict: Verdict,
    /// Clicks that were due.
    due: u64,
}

/// Runs it and tells what came of it.
pub fn run(args: &ShopArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Configuration)?;
    if let Some(file) = &args.html {
        write_page(file, "")?;
    }
    let identity = Identity::load(&args.identity, Role::Admin);
    let identity = identity.map_err(|error| Failure::CannotOpen(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.into())
        .enable_all()
        .build()
        .context("the threads of the devices cannot be started")
        .map_err(Failure::CannotOpen)?;
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let line = Progress::endless();
    let outcome = runtime.block_on(trade(args, &identity, &signals, &line));
    line.clear();
    let outcome = outcome.map_err(Failure::CannotOpen)?;
    tell(args.json, args.html.as_deref(), &args.report(&outcome))
}

/// Opens, trades, and looks at what came of it.
async fn trade(
    args: &ShopArgs,
    identity: &Identity,
    signals: &Signals,
    line: &Progress,
) -> Result<Outcome> {
    let shop = Shop::new(identity)?;
    let name = format!("load shop {:016x}", crate::rng().random::<u64>());
    let offers = match args.offer.as_slice() {
        [] => shop.assort(args.channel, &name).await?,
        ids => shop.offers(ids).await?,
    };
    let outcome = trade_with(args, &shop, &offers, &name, signals, line).await;
    if args.offer.is_empty() {
        shop.withdraw(&offers).await?;
    }
    outcome
}

async fn trade_with(
    args: &ShopArgs,
    shop: &Shop,
    offers: &[Offer],
    name: &str,
    signals: &Signals,
    line: &Progress,
) -> Result<Outcome> {
    let currency = &offers[0].price.currency;
    ensure!(
        offers.iter().all(|offer| offer.price.currency == *currency),
        "the offers are in several currencies: choose those of one"
    );
    let mut rng = StdRng::seed_from_u64(args.seed);
    let clicks = args.clicks(&mut rng);
    let dearest = offers.iter().map(|offer| offer.price.amount).max();
    let dearest = Price {
        amount: dearest.unwrap_or(0) * BASKET_MAX,
        currency: currency.clone(),
    };
    line.say("accounts and devices are made".to_owned());
    let customers = customers(args, shop, name, &clicks, &dearest, &mut rng).await?;
    let wallets = match &args.wallets {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let wallets = wallets.context("there is no folder for the wallets")?;
    let habits = Arc::new(Habits {
        offers: offers.iter().map(|offer| offer.id).collect(),
        method: args.method.into(),
        think: args.think,
        killed: args.killed,
        over: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let due: u64 = clicks.iter().flatten().map(|of| of.len() as u64).sum();
    let start = Instant::now();
    let mut running = JoinSet::new();
    let mut seen = Vec::new();
    for (account, (customer, clicks)) in customers.into_iter().zip(clicks).enumerate() {
        for (device, (identity, clicks)) in customer.devices.iter().zip(clicks).enumerate() {
            let chances = args.chances();
            let line = Line::new(Client::new(identity)?, chances, rng.random());
            let buyer = Buyer {
                identity: identity.clone(),
                wallet: wallets.path().join(format!("{account}.{device}")),
                line,
                rng: StdRng::seed_from_u64(rng.random()),
                habits: Arc::clone(&habits),
            };
            running.spawn(async move { (account, buyer.day(start, clicks).await) });
        }
        seen.push(Seen {
            account: customer.account,
            had: customer.had,
            left: 0,
            clicks: Vec::new(),
            held: Vec::new(),
            usable: Vec::new(),
            purchases: Vec::new(),
            licences: Vec::new(),
        });
    }
    let stories = watch(&mut running, &habits, due, signals, line).await?;
    let took = start.elapsed();
    line.say("what came of it is looked at".to_owned());
    let mut all = Vec::new();
    for (account, mut story) in stories {
        let seen = &mut seen[account];
        seen.clicks.extend_from_slice(&story.clicks);
        seen.held.append(&mut story.held);
        seen.usable.append(&mut story.usable);
        all.push(story);
    }
    let verdict = judge(shop, seen, currency, args.method.into()).await?;
    Ok(Outcome {
        stories: all,
        took,
        verdict,
        due,
    })
}

/// Accounts and devices, some at once.
async fn customers(
    args: &ShopArgs,
    shop: &Shop,
    name: &str,
    clicks: &[Vec<Vec<Duration>>],
    dearest: &Price,
    rng: &mut StdRng,
) -> Result<Vec<Customer>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut made = JoinSet::new();
    for (number, clicks) in clicks.iter().enumerate() {
        let wanted: u64 = clicks.iter().map(|of| of.len() as u64).sum();
        // The poor have enough for a part of what they want.
        let wanted = match rng.random_bool(args.poor) {
            true => wanted.div_ceil(6),
            false => wanted,
        };
        let may_spend = Price {
            amount: (dearest.amount * wanted).max(1),
            currency: dearest.currency.clone(),
        };
        let (shop, gate, name) = (shop.clone(), Arc::clone(&gate), format!("{name} {number}"));
        let (devices, pays) = (args.devices, args.method.into());
        made.spawn(async move {
            let _gate = gate.acquire().await;
            let customer = shop.customer(name, devices, may_spend, pays).await;
            customer.map(|customer| (number, customer))
        });
    }
    let made: Result<Vec<_>> = made.join_all().await.into_iter().collect();
    let mut made = made.context("accounts and devices cannot be made")?;
    made.sort_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, customer)| customer).collect())
}

/// Waits for all buyers, and says where they stand.
async fn watch(
    running: &mut JoinSet<(usize, Story)>,
    habits: &Habits,
    due: u64,
    signals: &Signals,
    line: &Progress,
) -> Result<Vec<(usize, Story)>> {
    let mut stories = Vec::new();
    while !running.is_empty() {
        match tokio::time::timeout(TOLD, running.join_next()).await {
            Ok(Some(ended)) => stories.push(ended.context("a buyer broke off")?),
            Ok(None) => break,
            Err(_) => {}
        }
        let over = habits.over.load(Ordering::Relaxed);
        line.say(format!("{over} of {due} clicks are over"));
        if signals.stop() {
            habits.stop.store(true, Ordering::Relaxed);
        }
    }
    Ok(stories)
}

/// Looks at everything.
async fn judge(shop: &Shop, seen: Vec<Seen>, currency: &str, pays: Method) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for mut seen in seen {
        seen.purchases = shop.purchases(seen.account).await?;
        seen.licences = shop.licences(seen.account).await?;
        seen.left = shop.left(seen.account, currency, pays).await?;
        verdict.look_at(&seen);
    }
    let books = shop.whole("/v1/books?limit=1000", |page: BookPage| {
        (page.books, page.next)
    });
    let books: Vec<Book> = books.await?;
    let units: BTreeSet<_> = books.iter().map(|book| &book.unit).collect();
    for unit in units {
        let of_unit = || books.iter().filter(|book| book.unit == *unit);
        let debits: u128 = of_unit().map(|book| u128::from(book.debited)).sum();
        let credits: u128 = of_unit().map(|book| u128::from(book.credited)).sum();
        verdict.rule("ledger", debits == credits, || {
            format!("in {unit} there are debits of {debits} and credits of {credits}")
        });
    }
    Ok(verdict)
}

impl ShopArgs {
    fn check(&self) -> Result<()> {
        ensure!(
            self.rate.is_finite() && self.rate > 0.0 && self.rate <= 100_000.0,
            "--rate {}: choose more than 0, at most 100000 purchases per second",
            self.rate
        );
        ensure!(
            !self.duration.is_zero() && self.duration <= Duration::from_secs(24 * 3600),
            "--duration {:?}: more than nothing, at most a day",
            self.duration
        );
        let devices = u64::from(self.accounts) * u64::from(self.devices);
        ensure!(
            (1..=1_000_000).contains(&devices),
            "{devices} devices: choose 1 to 1 million"
        );
        ensure!(
            self.purchases() <= CLICKS_MAX,
            "{} purchases: at most {CLICKS_MAX} in one run",
            self.purchases()
        );
        let happens = self.lost + self.doubled + self.late;
        ensure!(
            happens <= 0.9 && self.killed <= 0.9,
            "so much is lost, doubled, late or killed that nothing gets through: 90 % at most"
        );
        Ok(())
    }

    fn chances(&self) -> Chances {
        Chances {
            lost: self.lost,
            doubled: self.doubled,
            late: self.late,
            killed: self.killed,
        }
    }

    /// Purchases of a run.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and what is too much saturates"
    )]
    fn purchases(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).ceil() as u64
    }

    /// When which device of which account clicks, after the start.
    fn clicks(&self, rng: &mut StdRng) -> Vec<Vec<Vec<Duration>>> {
        let [accounts, devices] = [self.accounts as usize, usize::from(self.devices)];
        let mut clicks = vec![vec![Vec::new(); devices]; accounts];
        let mut done = 0;
        while done < self.purchases() {
            let due = Duration::from_secs_f64(done as f64 / self.rate);
            let account = &mut clicks[rng.random_range(0..accounts)];
            if rng.random_bool(self.together) {
                account.iter_mut().for_each(|device| device.push(due));
                done += u64::from(self.devices);
            } else {
                account[rng.random_range(0..devices)].push(due);
                done += 1;
            }
        }
        clicks
    }
}
