//! The task: asks the provider for what is due, and writes down what it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand_core::Rng as _;
use sealcast_domain::audit;
use sealcast_domain::sales::cards::{self, Ask, Due, Failure, Step};
use sealcast_domain::{Error, Tx};
use sealcast_objects::PurchaseId;
use sealcast_objects::api::CardDispute;
use sealcast_objects::id::Text;
use sealcast_objects::problem::Problem;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::Trouble;
use super::{Cards, declines, sealed_as, wire};
use crate::http::{App, SERVER, now};

/// What is due by the clock is looked for this often.
const TICK: Duration = Duration::from_secs(1);
/// The store is asked no more often than this.
const PAUSE: Duration = Duration::from_millis(10);
/// Payments of which the provider is asked at once.
const AT_ONCE: u32 = 8;
/// Calls under way at the end get this long; what is cut off is asked again under the same key.
const DRAIN: Duration = Duration::from_secs(3);

/// Asks what is due, until `stop`.
pub(crate) async fn run(app: App, cards: Arc<Cards>, mut stop: watch::Receiver<bool>) {
    let every = cards.provider.config().reconcile;
    // Not at once: a server that starts again and again must not ask for everything each time.
    let mut compared = Instant::now();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = cards.wake.notified() => {}
            () = sleep(TICK) => {}
        }
        let work = async {
            if let Err(problem) = round(&app, &cards).await {
                tracing::warn!(%problem, "payments by card cannot be looked at; trying again");
            }
            if compared.elapsed() >= every {
                compared = Instant::now();
                if let Err(problem) = cards.compare(&app).await {
                    tracing::warn!(%problem, "payments by card cannot be compared; trying again");
                }
            }
        };
        let mut stopping = stop.clone();
        let ended = async {
            let _ = stopping.wait_for(|stop| *stop).await;
            sleep(DRAIN).await;
        };
        tokio::select! {
            () = work => {}
            () = ended => return,
        }
        let _ = timeout(PAUSE, stop.wait_for(|stop| *stop)).await;
    }
}

/// Asks for all that is due now.
async fn round(app: &App, cards: &Arc<Cards>) -> Result<(), Problem> {
    loop {
        let now = now();
        if cards.provider.rests() {
            return Ok(());
        }
        let next = app.read(|store| cards::next_due(store)).await?;
        if next.is_none_or(|due| due > now) {
            return Ok(());
        }
        let due = app
            .read(move |store| cards::due(store, now, AT_ONCE))
            .await?;
        let asked = due.into_iter().map(|due| one(app, cards, due));
        join_all(asked)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
    }
}

/// Asks for one thing, and writes down what came of it.
async fn one(app: &App, cards: &Cards, due: Due) -> Result<(), Problem> {
    let (id, key) = (due.payment.purchase, due.key());
    let name = Text(id).to_string();
    let provider = &cards.provider;
    let asked = match &due.ask {
        Ask::Drop => {
            return step(app, move |tx| {
                cards::refused(tx, now(), id, "the provider was not asked")
            })
            .await;
        }
        Ask::Create => {
            let price = (due.payment.amount, due.payment.price.currency.as_str());
            match provider.create(&key, &name, price).await {
                Err(Trouble::Refused(_, code)) => {
                    let why = declines::refused(&code);
                    return step(app, move |tx| cards::refused(tx, now(), id, &why)).await;
                }
                made => made,
            }
        }
        Ask::Look(intent) => provider.look(intent).await,
        Ask::Cancel(intent) => match provider.cancel(&key, intent).await {
            // It is over, or on its way: how it stands decides.
            Err(Trouble::Refused(..)) => provider.look(intent).await,
            canceled => canceled,
        },
        Ask::Refund(intent) => match provider.refund(&key, &name, intent).await {
            Err(Trouble::Refused(status, code)) => {
                tracing::warn!(
                    purchase = name,
                    status,
                    code,
                    "the card provider refuses to pay back"
                );
                provider.look(intent).await
            }
            Err(failed) => Err(failed),
            Ok(()) => provider.look(intent).await,
        },
    };
    let failure = match asked {
        Ok(intent) => match dispute(cards, &intent).await {
            Ok(dispute) => return apply(app, id, (intent, dispute)).await,
            Err(trouble) => trouble,
        },
        Err(trouble) => trouble,
    };
    let failure = match failure {
        Trouble::Failed(failure) => failure,
        Trouble::Refused(status, code) => {
            Failure::Silent(format!("the card provider refuses ({status} {code})"))
        }
    };
    tracing::debug!(
        purchase = name,
        ?failure,
        "the card provider did not answer as it should"
    );
    let jitter = app.rng().next_u32().to_be_bytes()[0];
    step(app, move |tx| {
        cards::failed(tx, now(), id, (&failure, jitter))
    })
    .await
}

/// What became of disputes, if there were any.
pub(super) async fn dispute(
    cards: &Cards,
    intent: &wire::Intent,
) -> Result<Option<CardDispute>, Trouble> {
    if !intent.is_disputed() {
        return Ok(None);
    }
    let all = cards.provider.disputes(&intent.id).await?;
    Ok(Some(wire::dispute(&all)))
}

/// Writes down how an intent stands.
pub(super) async fn apply(
    app: &App,
    id: PurchaseId,
    (mut intent, dispute): (wire::Intent, Option<CardDispute>),
) -> Result<(), Problem> {
    let seen = intent.seen(dispute);
    let sealed = intent.take_secret().map(|secret| {
        let mut rng = app.fork_rng();
        app.vault()
            .seal(&sealed_as(id), secret.as_bytes(), &mut rng)
    });
    step(app, move |tx| {
        let payment = cards::get(tx, id)?;
        let done = cards::seen(tx, now(), id, &seen)?;
        if let (None, Some(sealed)) = (&payment.secret, &sealed) {
            // Only with what it opens: another intent's would be of no use.
            let known = cards::get(tx, id)?.intent;
            if known.as_ref() == Some(&seen.intent) {
                cards::keep_secret(tx, id, sealed)?;
            }
        }
        Ok(done)
    })
    .await
}

/// Runs a step, and tells of it.
async fn step(
    app: &App,
    command: impl FnOnce(&mut dyn Tx) -> Result<Step, Error> + Send + 'static,
) -> Result<(), Problem> {
    let done = app.write(move |tx| {
        let done = command(tx)?;
        for act in &done.acts {
            audit::append(tx, now(), SERVER, act)?;
        }
        Ok(done)
    });
    let done = done.await?;
    for act in &done.acts {
        tracing::info!(
            actor = SERVER,
            subject = act.subject,
            detail = act.detail,
            "{}",
            act.name
        );
    }
    for floor in done.floors {
        app.tell_floor(floor);
    }
    Ok(())
}
