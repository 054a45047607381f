//! The catalogue: providers, contents and their versions, which device downloaded what. Files are in `contents.rs`.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{delete, get, post};
use sealcast_domain::audit::Act;
use sealcast_domain::catalogue::{contents, downloads, providers, versions};
use sealcast_objects::api::{
    ChangeContent, ChangeProvider, Content, ContentFilter, ContentPage, ContentVersion,
    DownloadPage, NewContent, NewProvider, NewVersion, Provider,
};
use sealcast_objects::id::Text;
use sealcast_objects::{AccountId, ContentId, ProviderId};
use serde::Deserialize;

use super::act::{Answered, Log, Once, Operator};
use super::contents::Asker;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::permits::{Curate, ReadCatalogue, ReadCustomers};
use super::revision::{expected, revised};
use super::{App, now, page};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/providers", get(list_providers).post(add_provider))
        .route("/v1/providers/{id}", get(provider).patch(change_provider))
        .route("/v1/contents", get(list_contents).post(add_content))
        .route("/v1/contents/{id}", get(content).patch(change_content))
        .route(
            "/v1/contents/{id}/versions",
            post(add_version).get(list_versions),
        )
        .route("/v1/contents/{id}/versions/{n}", delete(remove_version))
        .route("/v1/downloads", get(list_downloads))
}

async fn list_providers(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
) -> Reply<Vec<Provider>> {
    Ok(Json(app.read(|store| providers::list(store)).await?))
}

async fn add_provider(
    once: Once<Curate>,
    State(app): State<App>,
    Json(new): Json<NewProvider>,
) -> Result<Answered<Provider>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        let added = providers::add(tx, now, &new, &mut rng)?;
        let act = Act::on("provider.add", added.id).with("name", format_args!("{:?}", added.name));
        Ok((added, act))
    });
    Ok(added.await?)
}

async fn provider(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ProviderId>>,
) -> Result<Response, ApiError> {
    let found = app.read(move |store| providers::get(store, id)).await?;
    let revision = found.revision;
    Ok(revised(found, revision))
}

async fn change_provider(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ProviderId>>,
    headers: HeaderMap,
    Json(change): Json<ChangeProvider>,
) -> Result<Response, ApiError> {
    let expected = expected(&headers)?;
    let changed = operator.act_if(&app, Log::Both, move |tx| {
        let was = providers::get(tx, id)?;
        let is = providers::change(tx, id, &change, expected)?;
        let act = (is != was).then(|| {
            Act::on("provider.set", is.id)
                .with("standing", is.standing.name())
                .with("name", format_args!("{:?}", is.name))
        });
        Ok((is, act))
    });
    let changed = changed.await?;
    let revision = changed.revision;
    Ok(revised(changed, revision))
}

async fn list_contents(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
    Query(filter): Query<ContentFilter>,
) -> Reply<ContentPage> {
    let most = page::size(filter.limit);
    let contents = app
        .read(move |store| contents::page(store, &filter, most))
        .await?;
    let next = page::next(&contents, most, |last| last.id);
    Ok(Json(ContentPage { contents, next }))
}

/// What is known of a content, as the log has it.
fn on_content(name: &'static str, content: &Content) -> Act {
    let act = Act::on(name, content.id)
        .with("title", format_args!("{:?}", content.title))
        .with("genre", format_args!("{:?}", content.genre))
        .with("kind", content.kind.name())
        .with("availability", content.availability.name());
    match &content.price {
        Some(price) => act
            .with("price", price.amount)
            .with("currency", &price.currency),
        None => act,
    }
}

async fn add_content(
    once: Once<Curate>,
    State(app): State<App>,
    Json(new): Json<NewContent>,
) -> Result<Answered<Content>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        let added = contents::add(tx, now, &new, &mut rng)?;
        let act = on_content("content.add", &added).with("provider", added.provider);
        Ok((added, act))
    });
    Ok(added.await?)
}

async fn content(
    _: Asker,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ContentId>>,
) -> Result<Response, ApiError> {
    let found = app.read(move |store| contents::get(store, id)).await?;
    let revision = found.revision;
    Ok(revised(found, revision))
}

async fn change_content(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ContentId>>,
    headers: HeaderMap,
    Json(change): Json<ChangeContent>,
) -> Result<Response, ApiError> {
    let expected = expected(&headers)?;
    let changed = operator.act_if(&app, Log::Both, move |tx| {
        let was = contents::get(tx, id)?;
        let is = contents::change(tx, id, &change, expected)?;
        let act = (is != was).then(|| on_content("content.set", &is));
        Ok((is, act))
    });
    let changed = changed.await?;
    let revision = changed.revision;
    Ok(revised(changed, revision))
}

async fn list_versions(
    _: Asker,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ContentId>>,
) -> Reply<Vec<ContentVersion>> {
    Ok(Json(
        app.read(move |store| versions::list(store, id)).await?,
    ))
}

async fn add_version(
    once: Once<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ContentId>>,
    Json(new): Json<NewVersion>,
) -> Result<Answered<ContentVersion>, ApiError> {
    let (now, asked) = (now(), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        let added = versions::add(tx, now, id, &new.format)?;
        let act = Act::on("content-version.add", added.content)
            .with("version", added.version)
            .with("format", format_args!("{:?}", added.format));
        Ok((added, act))
    });
    Ok(added.await?)
}

/// A version that has no file; the content, too, if it has no other.
async fn remove_version(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path((Text(id), version)): Path<(Text<ContentId>, u32)>,
) -> Result<StatusCode, ApiError> {
    let removed = operator.act(&app, move |tx| {
        versions::remove(tx, id, version)?;
        let act = Act::on("content-version.remove", Text(id)).with("version", version);
        Ok(((), act))
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Downloads {
    #[serde(default)]
    account: Option<Text<AccountId>>,
    #[serde(default)]
    content: Option<Text<ContentId>>,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_downloads(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Query(asked): Query<Downloads>,
) -> Reply<DownloadPage> {
    let most = page::size(asked.limit);
    let of = (
        asked.account.map(|Text(id)| id),
        asked.content.map(|Text(id)| id),
    );
    let downloads = app
        .read(move |store| downloads::page(store, of, asked.after, most))
        .await?;
    let next = page::next(&downloads, most, |last| last.number);
    Ok(Json(DownloadPage { downloads, next }))
}
