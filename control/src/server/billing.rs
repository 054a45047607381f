//! Makes the bills of months that are closed, a batch of accounts in each transaction, so that nothing else waits for long; and reminds of
//! bills that should have been paid; reserves what was used and is not billed yet.

use sealcast_domain::Tx;
use sealcast_domain::audit::Act;
use sealcast_domain::billing::bills::{self, Kept};
use sealcast_domain::billing::months::{self, Pending};
use sealcast_domain::billing::owed;
use sealcast_domain::billing::reserved::{self, Wanted};
use sealcast_objects::AccountId;
use sealcast_objects::id::Text;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;

use crate::http::{App, SERVER, now};

/// Accounts of a batch.
const ACCOUNTS: u32 = 100;
/// Batches in one go: other recurring things must not wait for long.
const BATCHES: usize = 20;
/// Bills that are looked at in one transaction, whether they were paid.
const REMIND_MAX: u32 = 100;

/// The month whose bills are being made, and what is kept from one batch to the next.
#[derive(Default)]
pub(super) struct Billing {
    month: Option<(Month, Kept)>,
    reserving: Reserving,
}

impl Billing {
    /// Goes on with it, if there is something to do.
    pub(super) async fn go_on(&mut self, app: &App) -> Result<(), Problem> {
        self.make(app).await?;
        self.reserving.go_on(app).await
    }

    async fn make(&mut self, app: &App) -> Result<(), Problem> {
        for _ in 0..BATCHES {
            let Some(pending) = app.read(|store| months::pending(store)).await? else {
                self.month = None;
                return Ok(());
            };
            if pending.sealed {
                self.batch(app, pending).await?;
            } else {
                seal(app, pending).await?;
            }
        }
        Ok(())
    }

    async fn batch(&mut self, app: &App, pending: Pending) -> Result<(), Problem> {
        let kept = self
            .month
            .take()
            .filter(|(month, _)| *month == pending.month);
        let mut kept = kept.map_or_else(Kept::default, |(_, kept)| kept);
        let (gathered, kept) = app
            .read(move |store| {
                let gathered = bills::gather(store, pending, ACCOUNTS, &mut kept)?;
                Ok((gathered, kept))
            })
            .await?;
        let last = gathered.len() < ACCOUNTS as usize;
        let now = now();
        let made = app.told(SERVER.to_owned(), move |tx| {
            let made = bills::make(tx, now, pending, (&gathered, last))?;
            let act = Act::on("bills.make", pending.month).with("bills", made);
            Ok(((), (made > 0 || last).then_some(act)))
        });
        made.await?;
        self.month = Some((pending.month, kept));
        Ok(())
    }
}

/// What was used is reserved once a day, account by account.
#[derive(Default)]
struct Reserving {
    /// The day, and up to which account; `None`: all of them.
    at: Option<(i64, Option<AccountId>)>,
    kept: Kept,
}

impl Reserving {
    async fn go_on(&mut self, app: &App) -> Result<(), Problem> {
        for _ in 0..BATCHES {
            let now = now();
            let after = match self.at {
                Some((day, None)) if day == now.day() => return Ok(()),
                Some((day, after)) if day == now.day() => after,
                _ => {
                    self.kept = Kept::default();
                    None
                }
            };
            let mut kept = std::mem::take(&mut self.kept);
            let (wanted, kept) = app
                .read(move |store| {
                    let wanted = reserved::gather(store, now, after, ACCOUNTS, &mut kept)?;
                    Ok((wanted, kept))
                })
                .await?;
            let last = wanted.len() < ACCOUNTS as usize;
            let to = wanted.last().map(Wanted::account).filter(|_| !last);
            if !wanted.is_empty() {
                app.write(move |tx| reserve(tx, now, &wanted)).await?;
            }
            (self.at, self.kept) = (Some((now.day(), to)), kept);
        }
        Ok(())
    }
}

fn reserve(tx: &mut dyn Tx, now: Timestamp, wanted: &[Wanted]) -> sealcast_domain::Result<()> {
    for used_up in reserved::reserve(tx, now, wanted)? {
        let act = Act::on("balance.used-up", Text(used_up.account))
            .with("currency", &used_up.currency)
            .with("lacks", used_up.lacks);
        sealcast_domain::audit::append(tx, now, SERVER, &act)?;
    }
    Ok(())
}

async fn seal(app: &App, pending: Pending) -> Result<(), Problem> {
    let month = pending.month;
    let epochs = app
        .read(move |store| months::last_epochs(store, month))
        .await?;
    app.write(move |tx| months::seal(tx, month, &epochs)).await
}

/// Tells of bills that should have been paid.
pub(super) async fn remind(app: &App, now: Timestamp) -> Result<(), Problem> {
    let next = app.read(|store| owed::next_due(store)).await?;
    if next.is_none_or(|due| due > now) {
        return Ok(());
    }
    app.write(move |tx| {
        for bill in owed::remind(tx, now, REMIND_MAX)? {
            let act = Act::on("bill.overdue", bill.id)
                .with("account", bill.account)
                .with("open", bill.open)
                .with("currency", &bill.currency)
                .with("reminder", bill.reminders);
            sealcast_domain::audit::append(tx, now, SERVER, &act)?;
        }
        Ok(())
    })
    .await
}
