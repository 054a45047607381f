//! What a key server does from time to time.

use std::sync::Arc;
use std::time::Duration;

use sealcast_domain::audit::Act;
use sealcast_domain::catalogue::{files, versions};
use sealcast_domain::sales::{grants, purchases};
use sealcast_domain::webhooks::deliveries;
use sealcast_domain::{
    Error, Tx, cenc, channels, idempotency, key_trees, keys, ledger, licences, logins, metering,
    recovery, rights,
};
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;
use tokio::sync::watch;
use tokio::time::interval;

use super::billing::{self, Billing};
use super::tickets::{is_over, new_ticket, tickets};
use crate::ca::SERVER_LIFE;
use crate::http::{App, SERVER, now};
use crate::tls::ServerCertificate;

/// How often recurring things are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Purchases and licences that expire in one transaction.
const SALES_MAX: u32 = 1000;
/// Reservations that expire in one transaction.
const EXPIRE_MAX: usize = 1000;
/// How often it is forgotten which requests of old sessions were counted, and what was answered.
const FORGET: Duration = Duration::from_secs(600);
/// Files of contents that are removed in one go.
const REMOVE_MAX: u32 = 100;
/// When that fails, it is tried again after this.
const REMOVE_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Housekeeping {
    pub(super) app: App,
    pub(super) certificate: Arc<ServerCertificate>,
    pub(super) certified: Timestamp,
    pub(super) names: Vec<String>,
    pub(super) forgot: Timestamp,
    /// When files could not be removed last.
    pub(super) removing: Option<Timestamp>,
    pub(super) billing: Billing,
}

impl Housekeeping {
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Err(problem) = self.round().await {
                tracing::warn!(%problem, "housekeeping failed; trying again");
            }
        }
    }

    async fn act<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Act), Error> + Send + 'static,
    ) -> Result<T, Problem> {
        self.app.act(SERVER.to_owned(), command).await
    }

    async fn round(&mut self) -> Result<(), Problem> {
        let now = now();
        self.end_periods(now).await?;
        self.renew_tickets(now).await?;
        self.retire_key(now).await?;
        self.delete_cenc_keys(now).await?;
        self.forget_sessions(now).await?;
        self.expire_sales(now).await?;
        self.expire_reservations(now).await?;
        self.remove_files(now).await?;
        billing::remind(&self.app, now).await?;
        self.billing.go_on(&self.app).await?;
        if now.since(self.certified) > SERVER_LIFE / 3 {
            let certificate =
                self.app
                    .ca()
                    .server(&self.names, now, SERVER_LIFE, &mut *self.app.rng());
            self.certificate
                .replace(certificate.map_err(crate::http::internal)?);
            self.certified = now;
        }
        Ok(())
    }

    /// Rights and licences whose period has ended.
    async fn end_periods(&self, now: Timestamp) -> Result<(), Problem> {
        let next = self.app.read(|store| {
            let ends = [rights::next_end(store)?, licences::next_end(store)?];
            Ok(ends.into_iter().flatten().min())
        });
        if next.await?.is_none_or(|end| end > now) {
            return Ok(());
        }
        let ended = self.act(move |tx| {
            let mut floors = rights::end_periods(tx, now)?;
            floors.extend(licences::end_periods(tx, now)?);
            let act = Act::on("rights.end", "periods").with("accounts", floors.len());
            Ok((floors, act))
        });
        for floor in ended.await? {
            self.app.tell_floor(floor);
        }
        Ok(())
    }

    /// Certificates and licences of which no device said in time that it has them, and what was not settled in time.
    async fn expire_sales(&self, now: Timestamp) -> Result<(), Problem> {
        let next = self.app.read(|store| {
            let due = [
                purchases::next_due(store)?,
                licences::next_unreceived(store)?,
            ];
            Ok(due.into_iter().flatten().min())
        });
        if next.await?.is_none_or(|due| due > now) {
            return Ok(());
        }
        let expired = self.act(move |tx| {
            let expired = purchases::expire(tx, now, SALES_MAX)?;
            let floors = grants::end_unreceived(tx, now, SALES_MAX)?;
            let act = Act::on("sales.expire", "purchases and licences")
                .with("purchases", expired)
                .with("licences", floors.len());
            Ok((floors, act))
        });
        for floor in expired.await? {
            self.app.tell_floor(floor);
        }
        Ok(())
    }

    /// Reservations of the ledger that nobody has ended in time.
    async fn expire_reservations(&self, now: Timestamp) -> Result<(), Problem> {
        let next = self.app.read(|store| ledger::next_due(store)).await?;
        if next.is_none_or(|due| due > now) {
            return Ok(());
        }
        let expired = self.act(move |tx| {
            let expired = ledger::expire(tx, now, EXPIRE_MAX)?;
            let act = Act::on("transfer.expire", "reservations").with("transfers", expired);
            Ok(((), act))
        });
        expired.await
    }

    /// Files of contents that nothing uses.
    async fn remove_files(&mut self, now: Timestamp) -> Result<(), Problem> {
        if self
            .removing
            .is_some_and(|failed| now.since(failed) < REMOVE_AGAIN)
        {
            return Ok(());
        }
        let over = self.app.read(|store| files::to_remove(store, REMOVE_MAX));
        for name in over.await? {
            let removed = self.app.contents().storage.remove(name).await;
            self.removing = removed.is_err().then_some(now);
            if let Err(error) = removed {
                tracing::warn!(%error, "a file of a content that nothing uses cannot be removed; trying again");
                return Ok(());
            }
            self.app.write(move |tx| files::removed(tx, name)).await?;
        }
        Ok(())
    }

    /// Versions of contents whose file never came.
    async fn forget_uploads(&self, now: Timestamp) -> Result<(), Problem> {
        let waits = self
            .app
            .read(move |store| versions::waits(store, now))
            .await?;
        if !waits {
            return Ok(());
        }
        let forgotten = self.act(move |tx| {
            let over = versions::forget(tx, now)?;
            let act = Act::on("content-version.forget", "uploads").with("versions", over.len());
            Ok(((), act))
        });
        forgotten.await
    }

    /// Keys of packagers whose crypto period has been over for long enough.
    async fn delete_cenc_keys(&self, now: Timestamp) -> Result<(), Problem> {
        let retention = self.app.interop_bounds().retention;
        let next = self.app.read(|store| cenc::next_end(store)).await?;
        if next.is_none_or(|end| end.after(retention) > now) {
            return Ok(());
        }
        let deleted = self.act(move |tx| {
            let deleted = cenc::delete_over(tx, now, retention)?;
            let act = Act::on("packager-keys.delete", "over").with("keys", deleted);
            Ok(((), act))
        });
        deleted.await
    }

    /// Sessions that are long over, and answers that nobody asks for again.
    async fn forget_sessions(&mut self, now: Timestamp) -> Result<(), Problem> {
        if now.since(self.forgot) < FORGET {
            return Ok(());
        }
        self.forgot = now;
        self.forget_uploads(now).await?;
        self.end_key_trees(now).await?;
        let forgotten = self
            .app
            .write(move |tx| {
                idempotency::forget(tx, now)?;
                logins::forget(tx, now)?;
                recovery::expire(tx, now)?;
                deliveries::prune(tx, now)?;
                metering::forget_sessions(tx, now)
            })
            .await?;
        tracing::debug!(forgotten, "counted requests of sessions that are over");
        Ok(())
    }

    /// Generations of key trees whose successors have spread.
    async fn end_key_trees(&self, now: Timestamp) -> Result<(), Problem> {
        let over = self.app.read(move |store| key_trees::former(store, now));
        if over.await?.is_empty() {
            return Ok(());
        }
        let ended = self.act(move |tx| {
            let ended = key_trees::end_former(tx, now)?;
            Ok(((), Act::on("key-tree.end", "spread").with("trees", ended)))
        });
        ended.await
    }

    async fn renew_tickets(&self, now: Timestamp) -> Result<(), Problem> {
        let (current, made, period) = self.app.tickets();
        if !is_over(made, now, period) {
            return Ok(());
        }
        let next = current.period() + 1;
        let sealed = new_ticket(self.app.vault(), next, &mut self.app.rng());
        let added = self.act(move |tx| {
            keys::add_ticket_key(tx, now, next, &sealed)?;
            Ok((keys::ticket_keys(tx)?, Act::on("ticket-key.add", next)))
        });
        let kept = added.await?;
        let (tickets, made) =
            tickets(&kept, self.app.vault(), period).map_err(crate::http::internal)?;
        self.app.set_tickets(&tickets, made);
        Ok(())
    }

    /// What a retiring authority key signed is in use for two lives of a key, and as long as a sender may hold.
    async fn retire_key(&self, now: Timestamp) -> Result<(), Problem> {
        let retired = self
            .app
            .read(move |store| {
                let use_ms = channels::list(store)?
                    .iter()
                    .map(|channel| {
                        let lives = 2 + u64::from(channel.times.hold_max_lifetimes);
                        lives * u64::from(channel.times.lifetime_ms)
                    })
                    .max()
                    .unwrap_or(0);
                let before = now.before(Duration::from_millis(use_ms));
                let over = keys::authority_keys(store)?.iter().any(|key| {
                    key.stage == sealcast_objects::api::KeyStage::Retiring && key.since <= before
                });
                Ok(over.then_some(before))
            })
            .await?;
        if let Some(before) = retired {
            let retired = self.act(move |tx| {
                keys::retire_authority_key(tx, now, before)?;
                Ok(((), Act::on("authority-key.retire", "retiring")))
            });
            retired.await?;
            self.app.keys_changed().await?;
        }
        Ok(())
    }
}
