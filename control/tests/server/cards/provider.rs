//! A stub of a card provider: intents, and answers that are given once for each key.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use url::form_urlencoded;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It is done, and the answer is lost.
    Lose,
    /// 500, and nothing was done.
    Busy,
    /// 429.
    Limit,
    /// It is done, and the answer is cut off after a while.
    Hang,
    /// 400: too little.
    Refuse,
}

#[derive(Default)]
struct Inner {
    intents: BTreeMap<String, Value>,
    keys: BTreeMap<String, Value>,
    faults: VecDeque<Fault>,
    late: Vec<String>,
}

type Shared = Arc<Mutex<Inner>>;

/// A running stub.
pub(super) struct Provider {
    pub(super) url: String,
    inner: Shared,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let inner = Shared::default();
        let router = Router::new()
            .route("/v1/payment_intents", post(create).get(list))
            .route("/v1/payment_intents/{id}", get(look))
            .route("/v1/payment_intents/{id}/cancel", post(cancel))
            .route("/v1/refunds", post(refund))
            .layer(from_fn_with_state(Arc::clone(&inner), faulty))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    /// What happens to the next calls that do something.
    pub(super) fn next(&self, faults: &[Fault]) {
        self.inner.lock().unwrap().faults.extend(faults);
    }

    pub(super) fn intents(&self) -> Vec<Value> {
        self.inner
            .lock()
            .unwrap()
            .intents
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn intent(&self, id: &str) -> Value {
        self.inner.lock().unwrap().intents[id].clone()
    }

    pub(super) fn intents_of(&self, purchase: &str) -> usize {
        let all = self.intents();
        let of = |intent: &&Value| intent["metadata"]["sealcast_purchase"] == purchase;
        all.iter().filter(of).count()
    }

    pub(super) fn pay(&self, id: &str) {
        pay(&mut self.inner.lock().unwrap(), id);
    }

    /// It is paid in the moment in which it is to be canceled.
    pub(super) fn pay_when_canceled(&self, id: &str) {
        self.inner.lock().unwrap().late.push(id.to_owned());
    }

    /// What it took and has not given back.
    pub(super) fn net(&self) -> u64 {
        let net = |intent: &Value| {
            let refunded = intent["latest_charge"]["amount_refunded"].as_u64();
            intent["amount_received"].as_u64().unwrap() - refunded.unwrap_or(0)
        };
        self.intents().iter().map(net).sum()
    }
}

fn pay(inner: &mut Inner, id: &str) {
    let intent = inner.intents.get_mut(id).unwrap();
    intent["status"] = "succeeded".into();
    intent["amount_received"] = intent["amount"].clone();
    intent["latest_charge"] = json!({"id": "ch_1", "amount_refunded": 0, "disputed": false});
}

fn error(status: StatusCode, code: &str) -> Response {
    let said = json!({"error": {"type": "invalid_request_error", "code": code, "message": "sk_test_house"}});
    (status, Json(said)).into_response()
}

async fn faulty(State(inner): State<Shared>, request: Request, next: Next) -> Response {
    assert_eq!(request.headers()["authorization"], "Bearer sk_test_house");
    assert!(request.headers().contains_key("stripe-version"));
    if request.method() == "GET" {
        return next.run(request).await;
    }
    let fault = inner.lock().unwrap().faults.pop_front();
    match fault {
        None => next.run(request).await,
        Some(Fault::Busy) => error(StatusCode::INTERNAL_SERVER_ERROR, ""),
        Some(Fault::Limit) => error(StatusCode::TOO_MANY_REQUESTS, "rate_limit"),
        Some(Fault::Refuse) => error(StatusCode::BAD_REQUEST, "amount_too_small"),
        Some(Fault::Lose | Fault::Hang) => {
            let answer = next.run(request).await;
            if fault == Some(Fault::Hang) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            // Less than it promised: the connection is cut.
            let promised = [("content-length", "100000")];
            (answer.status(), promised, "{").into_response()
        }
    }
}

/// Done once for each key.
fn once(inner: &mut Inner, headers: &HeaderMap, make: impl FnOnce(&mut Inner) -> Value) -> Value {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    if let Some(known) = inner.keys.get(&key) {
        return known.clone();
    }
    let made = make(inner);
    inner.keys.insert(key, made.clone());
    made
}

async fn create(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let form: BTreeMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let mut inner = inner.lock().unwrap();
    Json(once(&mut inner, &headers, |inner| {
        let id = format!("pi_{}", inner.intents.len());
        let amount: u64 = form["amount"].parse().unwrap();
        let intent = json!({
            "id": id, "object": "payment_intent", "amount": amount, "amount_received": 0, "currency": form["currency"],
            "status": "requires_payment_method", "client_secret": format!("{id}_secret_x"), "latest_charge": null,
            "metadata": {"sealcast_purchase": form["metadata[sealcast_purchase]"]}, "created": super::seconds()
        });
        inner.intents.insert(id, intent.clone());
        intent
    }))
}

async fn look(State(inner): State<Shared>, Path(id): Path<String>) -> Response {
    match inner.lock().unwrap().intents.get(&id) {
        Some(intent) => Json(intent.clone()).into_response(),
        None => error(StatusCode::NOT_FOUND, "resource_missing"),
    }
}

async fn list(State(inner): State<Shared>) -> Json<Value> {
    let all: Vec<_> = inner.lock().unwrap().intents.values().cloned().collect();
    Json(json!({"object": "list", "data": all, "has_more": false}))
}

async fn cancel(State(inner): State<Shared>, Path(id): Path<String>) -> Response {
    let mut inner = inner.lock().unwrap();
    if inner.late.contains(&id) {
        pay(&mut inner, &id);
    }
    let intent = inner.intents.get_mut(&id).unwrap();
    if intent["status"] == "succeeded" {
        return error(StatusCode::BAD_REQUEST, "payment_intent_unexpected_state");
    }
    intent["status"] = "canceled".into();
    Json(intent.clone()).into_response()
}

async fn refund(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let form: BTreeMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let mut inner = inner.lock().unwrap();
    Json(once(&mut inner, &headers, |inner| {
        let intent = inner.intents.get_mut(&form["payment_intent"]).unwrap();
        intent["latest_charge"]["amount_refunded"] = intent["amount"].clone();
        json!({"id": "re_1", "status": "succeeded"})
    }))
}
