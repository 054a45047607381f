//! Lists in pages. A cursor says where a page begins: sealed, for this list and what was asked of it, so that nobody makes one up.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sealcast_objects::api::Cursor;
use sealcast_objects::problem::{Kind, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Json};
use super::{Answer, App};

/// Most things of a page.
const MAX: u32 = 1000;
/// Things of a page when nothing is said.
const DEFAULT: u32 = 200;

/// A page that is asked for: the things after `K`, of those that `F` leaves.
pub(super) struct Pages<K, F = All> {
    pub(super) filter: F,
    pub(super) after: Option<K>,
    /// How many things to read: one more than the page has tells that another one follows.
    pub(super) most: u32,
    list: List,
}

/// Nothing is left out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct All {}

/// Which list.
struct List {
    app: App,
    path: String,
    /// The query but for where to begin and how many.
    rest: String,
}

/// How many things a page has, at most.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(pub(super) u32);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        let fits = (1..=MAX).contains(&limit);
        fits.then_some(Self(limit))
            .ok_or_else(|| format!("a page has 1 to {MAX} things, not {limit}"))
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MAX, "default": DEFAULT})
    }
}

/// Where to begin, and how many.
#[derive(Default, Deserialize)]
struct Place {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Limit,
}

/// What says where to begin, and the rest of a query.
fn split(query: &str) -> (String, String) {
    let is_place = |pair: &&str| pair.starts_with("after=") || pair.starts_with("limit=");
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (place, rest): (Vec<_>, Vec<_>) = pairs.partition(is_place);
    (place.join("&"), rest.join("&"))
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let uri: Uri = format!("/?{query}")
        .parse()
        .map_err(|_| Problem::new(Kind::Invalid, "the query is no query of a URL"))?;
    let axum::extract::Query(read) = axum::extract::Query::try_from_uri(&uri)?;
    Ok(read)
}

impl<K: DeserializeOwned, F: DeserializeOwned> FromRequestParts<App> for Pages<K, F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (place, rest) = split(parts.uri.query().unwrap_or_default());
        let Place { after, limit } = read(&place)?;
        let filter = read(&rest)?;
        let list = List {
            app: app.clone(),
            path: parts.uri.path().to_owned(),
            rest,
        };
        let after = after.map(|cursor| list.open(&cursor)).transpose()?;
        let Limit(size) = limit;
        Ok(Self {
            filter,
            after,
            most: size + 1,
            list,
        })
    }
}

impl List {
    /// What cursors of this list are sealed as.
    fn name(&self) -> String {
        format!("cursor {}?{}", self.path, self.rest)
    }

    fn open<K: DeserializeOwned>(&self, cursor: &str) -> Answer<K> {
        let sealed = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
        let opened = sealed.and_then(|it| self.app.vault().open_secret(&self.name(), &it).ok());
        let key = opened.and_then(|key| serde_json::from_slice(&key).ok());
        key.ok_or_else(|| {
            let detail = "after is no cursor of this list: take `next` of the page before, and ask for the same besides";
            Problem::new(Kind::Invalid, detail)
        })
    }

    fn seal<K: Serialize>(&self, key: &K) -> Cursor {
        let key = serde_json::to_vec(key).unwrap_or_default();
        let sealed = self
            .app
            .vault()
            .seal(&self.name(), &key, &mut *self.app.rng());
        Cursor(BASE64URL_NOPAD.encode(&sealed))
    }

    /// Where the next page is (RFC 8288).
    fn link(&self, next: &Cursor, size: u32) -> Option<HeaderValue> {
        let Self { path, rest, .. } = self;
        let and = if rest.is_empty() { "" } else { "&" };
        let link = format!("<{path}?{rest}{and}limit={size}&after={next}>; rel=\"next\"");
        HeaderValue::from_str(&link).ok()
    }
}

impl<K: Serialize, F> Pages<K, F> {
    /// The page with these things, of which one may be too many: another page follows then, after the key of this one's last.
    pub(super) fn answer<T, B>(
        self,
        mut things: Vec<T>,
        key: impl Fn(&T) -> K,
        body: impl FnOnce(Vec<T>, Option<Cursor>) -> B,
    ) -> Result<Paged<B>, ApiError> {
        let size = self.most - 1;
        let follows = things.len() > size as usize;
        things.truncate(size as usize);
        let last = things.last().filter(|_| follows);
        let next = last.map(|last| self.list.seal(&key(last)));
        let link = next.as_ref().and_then(|next| self.list.link(next, size));
        Ok(Paged {
            body: body(things, next),
            link,
        })
    }
}

/// A page.
pub(super) struct Paged<B> {
    body: B,
    link: Option<HeaderValue>,
}

impl<B: Serialize> IntoResponse for Paged<B> {
    fn into_response(self) -> Response {
        let link = self.link.map(|link| [(header::LINK, link)]);
        (link, Json(self.body)).into_response()
    }
}
