//! What a month of metered devices costs a key server: usage files counted, bills made and booked, all of them computed again.

mod month;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_control::store::{self, Driver, Location};
use sealcast_control::usage::Counted;
use sealcast_domain::billing::bills::{self, Kept};
use sealcast_domain::billing::{self, months, tariffs};
use sealcast_domain::{accounts, channels, devices, ledger};
use sealcast_objects::api::{
    AssignTariff, AuthLevel, Channel, Counting, Fraction, KeyMode, Labels, NewDevice, NewTariff,
    Paying, Rate, Times,
};
use sealcast_objects::id::Text;
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;

use month::{CHANNELS, DAY, Day, Whose};

/// Accounts whose bills are made in one transaction, as the server does it.
const BATCH: u32 = 100;

/// A month of devices: three hours a day, five changes of the channel, epochs of a minute; each has an account and a bill of its own.
#[derive(Clone, Debug, Parser)]
#[command(name = "billing", max_term_width = 110)]
pub struct Options {
    /// Devices
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub devices: u32,
    /// The month
    #[arg(long, default_value = "2026-10")]
    pub month: Month,
    /// Minutes of a usage file: a key server's usage interval
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub minutes: u64,
    /// Files that are counted together, as those that come at the same time are
    #[arg(long, default_value_t = 60, value_name = "FILES")]
    pub together: usize,
    /// Folder for the store, on the disk that is to be measured [default: the system's for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// A store that is written in transactions, each durable.
struct World(Box<dyn Driver>);

impl World {
    fn write<T>(
        &mut self,
        now: Timestamp,
        command: impl FnOnce(&mut dyn Driver) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.0.begin(now)?;
        let done = command(&mut *self.0)?;
        self.0.commit()?;
        Ok(done)
    }
}

/// So many, in that time.
struct Took(u64, Duration);

impl Took {
    fn row(&self, what: &str) -> String {
        let seconds = self.1.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.0 as f64 / seconds.max(1e-9);
        format!("| {what} | {} | {seconds:.1} | {rate:.0} |\n", self.0)
    }
}

/// Runs it; what it took, as a table.
///
/// # Errors
/// The store's; a bill that does not come out the same again.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let mut world = World(store::driver(folder.path(), &Location::Folder)?);
    let month = options.month;
    let devices = people(&mut world, month, options.devices)?;
    let end = month.end().after(Duration::from_hours(48));
    let (mut keys, mut sent) = (Took(0, Duration::ZERO), Took(0, Duration::ZERO));
    for day in 0..month.days() {
        let (file, count) = month::sent(month, day);
        take(&mut world, end, (&[file], count), &mut sent)?;
        let watched = Day::new(month, day, devices.len());
        let (mut files, mut count, mut minute) = (Vec::new(), 0, 0);
        while minute < DAY {
            let until = DAY.min(minute + options.minutes);
            let (file, records) = watched.keys(&devices, minute..until);
            // A meter writes none where there is nothing to write.
            files.extend((records > 0).then_some(file));
            count += records;
            minute = until;
            if files.len() >= options.together || minute == DAY {
                take(&mut world, end, (&files, count), &mut keys)?;
                (files, count) = (Vec::new(), 0);
            }
        }
    }
    let begun = Instant::now();
    let made = bill(&mut world, end, month)?;
    let billed = Took(made, begun.elapsed());
    let begun = Instant::now();
    let faults = billing::verify(&mut *world.0)?;
    ensure!(
        faults.is_empty(),
        "bills do not come out the same: {faults:?}"
    );
    let again = Took(made, begun.elapsed());
    let faults = ledger::verify(&mut *world.0)?;
    ensure!(faults.is_empty(), "the ledger is wrong: {faults:?}");
    let mut table = format!(
        "{} devices, {month}, usage files of {} min, {} counted together\n\n| what | how many | s | per second |\n|---|---|---|---|\n",
        options.devices, options.minutes, options.together
    );
    for (what, took) in [
        ("records of key servers counted", &keys),
        ("records of delivery servers counted", &sent),
        ("bills made and booked", &billed),
        ("bills computed again", &again),
    ] {
        let _ = write!(table, "{}", took.row(what));
    }
    Ok(table)
}

fn take(
    world: &mut World,
    now: Timestamp,
    (files, count): (&[Vec<u8>], u64),
    took: &mut Took,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let read = files.iter().map(|file| Counted::read(file, now));
    let counted = read.collect::<Result<Vec<_>, _>>()?;
    let mut records = 0;
    for taken in world.write(now, |tx| Ok(Counted::take(&counted, tx, now)?))? {
        let taken = taken?;
        ensure!(!taken.before, "counted before");
        records += taken.records;
    }
    ensure!(
        records == count,
        "{records} of {count} records were counted"
    );
    took.0 += count;
    took.1 += begun.elapsed();
    Ok(())
}

fn people(world: &mut World, month: Month, count: u32) -> anyhow::Result<Vec<Whose>> {
    let (now, mut rng) = (month.start(), StdRng::seed_from_u64(1));
    let tariff = NewTariff {
        currency: "EUR".to_owned(),
        tax: Fraction { of: 19, parts: 100 },
        pay_within_days: 14,
        split: None,
        rates: vec![
            Rate::Data {
                channel: None,
                price: 9,
                per: 1_000_000_000,
                free: 10_000_000_000,
            },
            Rate::Requests {
                channel: Some(1),
                counting: Counting::Epoch,
                price: 1,
                per: 10,
                free: 0,
            },
        ],
    };
    let asked = AssignTariff {
        tariff: "standard".to_owned(),
        paying: Paying::Invoice,
        from: Some(month),
    };
    world.write(now, |tx| {
        for id in 1..=CHANNELS {
            channels::add(tx, &channel(id))?;
        }
        tariffs::put(tx, now, "standard", &tariff)?;
        let mut people = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let account = accounts::add(tx, now, "somebody", &mut rng)?;
            let new = NewDevice {
                account: Some(Text(account)),
                name: "set-top box".to_owned(),
                labels: Labels::default(),
            };
            let device = devices::add(tx, now, &new, &mut rng)?;
            tariffs::assign(tx, now, account, &asked)?;
            people.push((account, device));
        }
        Ok(people)
    })
}

fn channel(id: u16) -> Channel {
    Channel {
        id,
        name: format!("channel {id}"),
        mode: KeyMode::Authority,
        times: Times {
            lifetime_ms: 60_000,
            prepare_ahead_ms: 20_000,
            fetch_ahead_ms: 10_000,
            grace_ms: 2_000,
            hold_max_lifetimes: 10,
        },
        auth_level: AuthLevel::default(),
        key_block_permille: 0,
    }
}

/// Closes the month and makes its bills, as the server does it; how many.
fn bill(world: &mut World, now: Timestamp, month: Month) -> anyhow::Result<u64> {
    world.write(now, |tx| Ok(months::close(tx, now, month, false)?))?;
    let (mut kept, mut made) = (Kept::default(), 0);
    while let Some(pending) = months::pending(&mut *world.0)? {
        if !pending.sealed {
            let epochs = months::last_epochs(&mut *world.0, month)?;
            world.write(now, |tx| Ok(months::seal(tx, month, &epochs)?))?;
            continue;
        }
        let gathered = bills::gather(&mut *world.0, pending, BATCH, &mut kept)?;
        let last = gathered.len() < BATCH as usize;
        made += world.write(now, |tx| {
            Ok(bills::make(tx, now, pending, (&gathered, last))?)
        })?;
    }
    Ok(made)
}
