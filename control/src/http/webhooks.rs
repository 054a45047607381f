//! Webhooks: where events are sent to, and what became of each. Whoever rules says where the audit log goes.

use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::webhooks::{self, deliveries};
use sealcast_objects::WebhookId;
use sealcast_objects::api::{
    ChangeWebhook, Delivery, DeliveryPage, DeliveryState, NewWebhook, Replayed, Trial, Webhook,
    WebhookSecret,
};
use sealcast_objects::id::{Id as _, Text};
use serde::Deserialize;

use super::act::{Answered, Log, Once, Operator, listed};
use super::error::{ApiError, Json, Path, Reply};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{ReadAudit, Rule};
use super::revision::{IfMatch, Revised};
use super::{App, now};
use crate::webhooks::Keys;

pub(super) fn routes() -> Routes {
    Routes::of("Events")
        .get("/v1/webhooks", list, "All webhooks")
        .post(
            "/v1/webhooks",
            add,
            "Adds a webhook; its secret is shown now only",
        )
        .get("/v1/webhooks/{id}", one, "A webhook")
        .patch("/v1/webhooks/{id}", change, "Changes a webhook")
        .delete("/v1/webhooks/{id}", remove, "Removes a webhook")
        .post("/v1/webhooks/{id}/secret", renew, "Another secret")
        .post("/v1/webhooks/{id}/test", try_it, "Sends a trial")
        .get(
            "/v1/webhooks/{id}/deliveries",
            list_deliveries,
            "What became of events",
        )
        .post(
            "/v1/webhooks/{id}/deliveries/{number}/replay",
            replay,
            "Sends an event again",
        )
        .post(
            "/v1/webhooks/{id}/replay",
            replay_dead,
            "Sends again what was given up",
        )
}

async fn list(_: Operator<ReadAudit>, State(app): State<App>) -> Reply<Vec<Webhook>> {
    Ok(Json(app.read(|store| webhooks::list(store)).await?))
}

/// What is known of a webhook, as the log has it.
fn on_webhook(name: &'static str, webhook: &Webhook) -> Act {
    let standing = match webhook.disabled {
        None => "enabled",
        Some(_) => "disabled",
    };
    Act::on(name, webhook.id)
        .with("url", format_args!("{:?}", webhook.url))
        .with("events", listed(&webhook.events))
        .with("standing", standing)
}

async fn add(
    once: Once<Rule>,
    State(app): State<App>,
    Json(new): Json<NewWebhook>,
) -> Result<Answered<WebhookSecret>, ApiError> {
    app.webhooks().check_url(&new.url)?;
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let (id, keys) = (WebhookId::new(now, &mut rng), Keys::new(&mut rng));
    let sealed = keys.seal(id, app.vault(), &mut rng);
    let added = once.act(&app, &asked, move |tx| {
        let webhook = webhooks::add(tx, now, (id, &sealed), &new)?;
        let act = on_webhook("webhook.add", &webhook);
        let secret = keys.secret();
        Ok((WebhookSecret { webhook, secret }, act))
    });
    Ok(added.await?)
}

async fn one(
    _: Operator<ReadAudit>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
) -> Result<Revised<Webhook>, ApiError> {
    let found = app.read(move |store| webhooks::get(store, id)).await?;
    let revision = found.revision;
    Ok(Revised(found, revision))
}

async fn change(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
    IfMatch(expected): IfMatch,
    Json(change): Json<ChangeWebhook>,
) -> Result<Revised<Webhook>, ApiError> {
    if let Some(url) = &change.url {
        app.webhooks().check_url(url)?;
    }
    let (now, by) = (now(), operator.actor());
    let changed = operator.act_if(&app, Log::Both, move |tx| {
        let was = webhooks::get(tx, id)?;
        let is = webhooks::change(tx, now, &by, (id, expected), &change)?;
        let act = (is != was).then(|| on_webhook("webhook.set", &is));
        Ok((is, act))
    });
    let changed = changed.await?;
    let revision = changed.revision;
    Ok(Revised(changed, revision))
}

async fn remove(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
    IfMatch(expected): IfMatch,
) -> Result<NoContent, ApiError> {
    let removed = operator.act(&app, move |tx| {
        let was = webhooks::remove(tx, id, expected)?;
        Ok(((), on_webhook("webhook.remove", &was)))
    });
    removed.await?;
    Ok(NoContent)
}

/// Another secret; the one before it signs, too, for a day.
async fn renew(
    once: Once<Rule>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
    IfMatch(expected): IfMatch,
) -> Result<Answered<WebhookSecret, 200>, ApiError> {
    let (now, mut rng) = (now(), app.fork_rng());
    let keys = Keys::new(&mut rng);
    let sealed = keys.seal(id, app.vault(), &mut rng);
    let renewed = once.act(&app, &(), move |tx| {
        let webhook = webhooks::renew_keys(tx, now, (id, expected), &sealed)?;
        let act = Act::on("webhook.renew-secret", webhook.id);
        let secret = keys.secret();
        Ok((WebhookSecret { webhook, secret }, act))
    });
    Ok(renewed.await?.status())
}

/// Sends an event that tells of nothing, whatever the webhook wants and whether it is enabled or not.
async fn try_it(
    once: Once<Rule>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
) -> Result<Answered<Trial, 200>, ApiError> {
    if let Some(before) = once.before(&app, &()).await? {
        return Ok(before.status());
    }
    let trial = app.try_webhook(id, once.actor()).await?;
    let tried = once.act(&app, &(), move |_| {
        let act =
            Act::on("webhook.try", Text(id)).with("answer", format_args!("{:?}", trial.answer));
        Ok((trial, act))
    });
    Ok(tried.await?.status())
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Deliveries {
    /// Those that are so.
    #[serde(default)]
    state: Option<DeliveryState>,
}

async fn list_deliveries(
    _: Operator<ReadAudit>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
    pages: Pages<u64, Deliveries>,
) -> Result<Paged<DeliveryPage>, ApiError> {
    let state = pages.filter.state;
    let (after, most) = (pages.after.unwrap_or(0), pages.most);
    let deliveries = app
        .read(move |store| deliveries::page(store, id, state, after, most))
        .await?;
    pages.answer(
        deliveries,
        |last| last.number,
        |deliveries, next| DeliveryPage { deliveries, next },
    )
}

async fn replay(
    once: Once<Rule>,
    State(app): State<App>,
    Path((Text(id), number)): Path<(Text<WebhookId>, u64)>,
) -> Result<Answered<Delivery, 200>, ApiError> {
    let now = now();
    let replayed = once.act(&app, &(), move |tx| {
        let delivery = deliveries::replay(tx, now, id, number)?;
        let act = Act::on("webhook.replay", Text(id)).with("number", number);
        Ok((delivery, act))
    });
    Ok(replayed.await?.status())
}

async fn replay_dead(
    once: Once<Rule>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<WebhookId>>,
) -> Result<Answered<Replayed, 200>, ApiError> {
    let now = now();
    let replayed = once.act(&app, &(), move |tx| {
        let replayed = deliveries::replay_dead(tx, now, id)?;
        let act = Act::on("webhook.replay", Text(id)).with("dead", replayed.replayed);
        Ok((replayed, act))
    });
    Ok(replayed.await?.status())
}
