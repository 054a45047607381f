//! Changes that are made only to what the asker saw.

use reqwest::Method;
use sealcast_objects::api::{Account, Channel, Device, Standing};
use sealcast_objects::problem::Kind;
use sealcast_terminal::https::Tag;
use serde_json::json;

use crate::bench::{Bench, id, raw, refused};
use crate::persons::account;

#[tokio::test(flavor = "multi_thread")]
async fn what_another_one_changed_meanwhile_is_not_changed_unseen() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = id(&bench.device().await);
    let account = account(&bench, "eve").await;
    let suspended = json!({"standing": "suspended"});
    let (channel, account, device, labels) = (
        "/v1/channels/1".to_owned(),
        format!("/v1/accounts/{account}"),
        format!("/v1/devices/{device}"),
        format!("/v1/devices/{device}/labels"),
    );
    let (mut seen, of_channel) = bench.admin.get_tagged::<Channel>(&channel).await.unwrap();
    let (_, of_account) = bench.admin.get_tagged::<Account>(&account).await.unwrap();
    let (_, of_device) = bench.admin.get_tagged::<Device>(&device).await.unwrap();
    seen.name = "news".to_owned();
    let news = serde_json::to_value(&seen).unwrap();
    let card = json!({"card": "1234"});
    let changes = [
        (Method::PUT, &channel, Some(&news), of_channel.clone()),
        (Method::PUT, &labels, Some(&card), of_device.clone()),
        (
            Method::PATCH,
            &account,
            Some(&suspended),
            of_account.clone(),
        ),
    ];
    for (method, path, body, tag) in changes {
        // Who saw it as it is changes it; whoever saw what is gone does not.
        let change = |tag: Tag| {
            bench
                .admin
                .change::<serde_json::Value>(method.clone(), path, body, tag)
        };
        change(tag.clone()).await.unwrap();
        let late = refused(change(tag).await);
        assert_eq!((late.kind, late.status), (Kind::Conflict, 412), "{path}");
        // Who does not ask does.
        change(Tag::default()).await.unwrap();
    }
    let late = bench
        .admin
        .change::<Device>(Method::PATCH, &device, Some(&suspended), of_device);
    assert_eq!(refused(late.await).status, 412);
    let nothing = None::<&()>;
    let late = bench
        .admin
        .change::<()>(Method::DELETE, &channel, nothing, of_channel);
    assert_eq!(refused(late.await).status, 412);
    let (now, of_device) = bench.admin.get_tagged::<Device>(&device).await.unwrap();
    assert_eq!(now.standing, Standing::Active);
    let change = bench
        .admin
        .change::<Device>(Method::PATCH, &device, Some(&suspended), of_device);
    assert_eq!(change.await.unwrap().standing, Standing::Suspended);
    // A tag that is none is told.
    let client = raw(&bench.ada, Some(&bench.ada));
    for tag in ["news", "\"news\"", "W/\"AAAAAAAAAAAAAAAAAAAAAA\""] {
        let sent = client.put(format!("{}{channel}", bench.url)).json(&news);
        let answer = sent.header("if-match", tag).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{tag}");
    }
}
