//! Compares payments with what the provider has: events get lost, and so do answers (SEC-27).

use std::time::Duration;

use sealcast_domain::sales::cards::{self, Listed};
use sealcast_objects::api::{CardDifference, CardReport};
use sealcast_objects::problem::{Kind, Problem};

use super::client::Trouble;
use super::task::{apply, dispute};
use super::{Cards, wire};
use crate::http::{App, now};

/// Intents of so long ago are looked at: longer than a purchase can wait for its payment, and than most refunds and disputes take.
const BACK: Duration = Duration::from_secs(120 * 24 * 3600);
/// Pages of one comparison.
const PAGES: usize = 100;
/// Differences that are told.
const TOLD: usize = 100;

/// How one intent compares, when it was brought to what the provider says.
enum Compared {
    Even,
    Mended,
    Differs(CardDifference),
}

impl Cards {
    /// Compares, mends what can be mended, and keeps what was found.
    ///
    /// # Errors
    /// The store's. Unavailable: the provider does not answer.
    pub(crate) async fn compare(&self, app: &App) -> Result<CardReport, Problem> {
        let _alone = self.comparing.lock().await;
        let began = now();
        let since = began.before(BACK).0.div_euclid(1000);
        let (mut looked_at, mut mended, mut differences) = (0, 0, Vec::new());
        let (mut after, mut complete) = (None::<String>, false);
        for _ in 0..PAGES {
            let page = self.provider.list(after.as_deref()).await;
            let page = page.map_err(|trouble| away(&trouble))?;
            after = page.data.last().map(|last| last.id.clone());
            let mut over = !page.has_more || after.is_none();
            for intent in page.data {
                over |= intent.created < since;
                // Others may use the same account of the provider.
                let Some(purchase) = intent.purchase().map(str::to_owned) else {
                    continue;
                };
                looked_at += 1;
                match self.compare_one(app, intent, purchase).await? {
                    Compared::Even => {}
                    Compared::Mended => mended += 1,
                    Compared::Differs(difference) => differences.push(difference),
                }
            }
            if over {
                complete = true;
                break;
            }
        }
        differences.truncate(TOLD);
        let (books, counts) = app
            .read(|store| Ok((cards::books(store)?, cards::counts(store)?)))
            .await?;
        app.write(move |tx| cards::forget_events(tx, began)).await?;
        let report = CardReport {
            at: began,
            looked_at,
            complete,
            mended,
            differences,
            books,
            counts,
        };
        if !report.is_even() {
            tracing::error!(
                differences = report.differences.len(),
                "payments by card and the provider differ: `sealcast admin cards show`"
            );
        }
        let mut kept = (self.report.lock()).unwrap_or_else(std::sync::PoisonError::into_inner);
        *kept = Some(report.clone());
        Ok(report)
    }

    async fn compare_one(
        &self,
        app: &App,
        intent: wire::Intent,
        purchase: String,
    ) -> Result<Compared, Problem> {
        let disputed = dispute(self, &intent).await;
        let disputed = disputed.map_err(|trouble| away(&trouble))?;
        let seen = intent.seen(disputed);
        let (asked, name) = (seen.clone(), purchase.clone());
        let listed = app.read(move |store| cards::difference(store, &asked, &name));
        if listed.await? == Listed::Even {
            return Ok(Compared::Even);
        }
        let known = match seen.purchase {
            Some(id) => app.read(move |store| cards::find(store, id)).await?,
            None => None,
        };
        if let Some(payment) = known {
            apply(app, payment.purchase, (intent, disputed)).await?;
        }
        let listed = app.read(move |store| cards::difference(store, &seen, &purchase));
        Ok(match listed.await? {
            Listed::Even => Compared::Mended,
            Listed::Differs(difference) => Compared::Differs(difference),
        })
    }
}

fn away(trouble: &Trouble) -> Problem {
    let why = match trouble {
        Trouble::Failed(cards::Failure::Silent(why) | cards::Failure::Failing(why)) => why.clone(),
        Trouble::Refused(status, code) => format!("the card provider refuses ({status} {code})"),
    };
    Problem::new(Kind::Unavailable, why)
}
