//! The catalogue: providers, contents and their versions, which device downloaded what. Files are in `contents.rs`.

use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
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
use super::error::{ApiError, Json, Path, Reply};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{Curate, ReadCatalogue, ReadCustomers};
use super::revision::{IfMatch, Revised};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Catalogue")
        .get("/v1/providers", list_providers, "All providers")
        .post("/v1/providers", add_provider, "Adds a provider")
        .get("/v1/providers/{id}", provider, "A provider")
        .patch("/v1/providers/{id}", change_provider, "Changes a provider")
        .get("/v1/contents", list_contents, "Contents")
        .post(
            "/v1/contents",
            add_content,
            "Adds a content, whose file is to come",
        )
        .get("/v1/contents/{id}", content, "A content")
        .patch("/v1/contents/{id}", change_content, "Changes a content")
        .get("/v1/contents/{id}/versions", list_versions, "Its versions")
        .post(
            "/v1/contents/{id}/versions",
            add_version,
            "Adds a version, whose file is to come",
        )
        .delete(
            "/v1/contents/{id}/versions/{n}",
            remove_version,
            "Removes a version that has no file",
        )
        .get(
            "/v1/downloads",
            list_downloads,
            "Which device downloaded what",
        )
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
) -> Result<Revised<Provider>, ApiError> {
    let found = app.read(move |store| providers::get(store, id)).await?;
    let revision = found.revision;
    Ok(Revised(found, revision))
}

async fn change_provider(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ProviderId>>,
    IfMatch(expected): IfMatch,
    Json(change): Json<ChangeProvider>,
) -> Result<Revised<Provider>, ApiError> {
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
    Ok(Revised(changed, revision))
}

async fn list_contents(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
    mut pages: Pages<Text<ContentId>, ContentFilter>,
) -> Result<Paged<ContentPage>, ApiError> {
    let filter = std::mem::take(&mut pages.filter);
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let contents = app
        .read(move |store| contents::page(store, &filter, after, most))
        .await?;
    pages.answer(
        contents,
        |last| last.id,
        |contents, next| ContentPage { contents, next },
    )
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
) -> Result<Revised<Content>, ApiError> {
    let found = app.read(move |store| contents::get(store, id)).await?;
    let revision = found.revision;
    Ok(Revised(found, revision))
}

async fn change_content(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ContentId>>,
    IfMatch(expected): IfMatch,
    Json(change): Json<ChangeContent>,
) -> Result<Revised<Content>, ApiError> {
    let changed = operator.act_if(&app, Log::Both, move |tx| {
        let was = contents::get(tx, id)?;
        let is = contents::change(tx, id, &change, expected)?;
        let act = (is != was).then(|| on_content("content.set", &is));
        Ok((is, act))
    });
    let changed = changed.await?;
    let revision = changed.revision;
    Ok(Revised(changed, revision))
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
) -> Result<NoContent, ApiError> {
    let removed = operator.act(&app, move |tx| {
        versions::remove(tx, id, version)?;
        let act = Act::on("content-version.remove", Text(id)).with("version", version);
        Ok(((), act))
    });
    removed.await?;
    Ok(NoContent)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Downloads {
    /// By devices of this account.
    #[serde(default)]
    account: Option<Text<AccountId>>,
    /// Of this content.
    #[serde(default)]
    content: Option<Text<ContentId>>,
}

async fn list_downloads(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    pages: Pages<u64, Downloads>,
) -> Result<Paged<DownloadPage>, ApiError> {
    let Downloads { account, content } = &pages.filter;
    let of = (account.map(|Text(id)| id), content.map(|Text(id)| id));
    let (after, most) = (pages.after.unwrap_or(0), pages.most);
    let downloads = app
        .read(move |store| downloads::page(store, of, after, most))
        .await?;
    pages.answer(
        downloads,
        |last| last.number,
        |downloads, next| DownloadPage { downloads, next },
    )
}
