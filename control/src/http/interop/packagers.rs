//! Letting packagers in: tokens, shown once and kept as a hash, and what signs requests.

use axum::extract::State;
use axum::response::NoContent;
use data_encoding::HEXLOWER;
use rand_core::Rng as _;
use sealcast_crypto::SIGNER_IV_LEN;
use sealcast_domain::audit::Act;
use sealcast_domain::packagers;
use sealcast_objects::interop::{NewPackager, Packager, PackagerSecrets, SignerSecrets, new_token};
use zeroize::Zeroizing;

use super::super::act::{Answered, Once, Operator, listed};
use super::super::codes::check_name;
use super::super::error::{ApiError, Json, Path};
use super::super::now;
use super::super::openapi::Routes;
use super::super::permits::{ReadPlant, RunPlant};
use super::App;

/// Bytes of a new signing key: AES-256.
const SIGNING_KEY_LEN: usize = 32;

pub(super) fn routes() -> Routes {
    Routes::of("Packagers")
        .get("/v1/packagers", list, "All packagers")
        .post(
            "/v1/packagers",
            add,
            "Lets a packager in; its token is shown now only",
        )
        .delete("/v1/packagers/{name}", remove, "Lets a packager in no more")
}

/// What a packager's signer is sealed as: its initialisation vector and key.
pub(super) fn signer_name(packager: &str) -> String {
    format!("signer of packager {packager}")
}

async fn list(
    _: Operator<ReadPlant>,
    State(app): State<App>,
) -> Result<Json<Vec<Packager>>, ApiError> {
    Ok(Json(app.read(|store| packagers::list(store)).await?))
}

async fn add(
    once: Once<RunPlant>,
    State(app): State<App>,
    Json(new): Json<NewPackager>,
) -> Result<Answered<PackagerSecrets>, ApiError> {
    check_name("packager", &new.name)?;
    let mut rng = app.fork_rng();
    let (token, hash) = new_token(&mut rng);
    let mut sealed = None;
    let mut signer = None;
    if let Some(name) = &new.signer {
        check_name("signer", name)?;
        let mut secret = Zeroizing::new([0; SIGNER_IV_LEN + SIGNING_KEY_LEN]);
        rng.fill_bytes(secret.as_mut());
        sealed = Some(
            app.vault()
                .seal(&signer_name(&new.name), secret.as_ref(), &mut rng),
        );
        let (iv, key) = secret.split_at(SIGNER_IV_LEN);
        signer = Some(SignerSecrets {
            name: name.clone(),
            key: HEXLOWER.encode(key),
            iv: HEXLOWER.encode(iv),
        });
    }
    let (asked, now) = (new.clone(), now());
    let added = once.act(&app, &asked, move |tx| {
        packagers::add(tx, now, &new, hash, sealed.as_deref())?;
        let act = Act::on("packager.add", &new.name).with("channels", listed(&new.channels));
        let secrets = PackagerSecrets {
            name: new.name,
            token,
            signer,
        };
        Ok((secrets, act))
    });
    Ok(added.await?)
}

async fn remove(
    operator: Operator<RunPlant>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<NoContent, ApiError> {
    let removed = operator.act(&app, move |tx| {
        packagers::remove(tx, &name)?;
        Ok(((), Act::on("packager.remove", name)))
    });
    removed.await?;
    Ok(NoContent)
}
