//! Lists in pages: a cursor counts for the list that it came with, and for what was asked of it.

use reqwest::StatusCode;
use sealcast_objects::api::{AccountPage, DevicePage};
use sealcast_objects::problem::Kind;
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw};

#[tokio::test]
async fn pages_have_everything_once_and_name_the_next_one() {
    let bench = Bench::start().await;
    for number in 0..7 {
        let new = json!({"name": format!("{number}")});
        let _: Value = bench.admin.post("/v1/accounts", &new).await.unwrap();
    }
    let client = raw(&bench.ada, Some(&bench.ada));
    let (mut accounts, mut path) = (Vec::new(), Some("/v1/accounts?limit=3".to_owned()));
    let mut pages = 0;
    while let Some(at) = path.take() {
        let answer = client
            .get(format!("{}{at}", bench.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{at}");
        // RFC 8288.
        let link = answer.headers().get("link");
        let link = link.map(|link| link.to_str().unwrap().to_owned());
        let page: AccountPage = answer.json().await.unwrap();
        assert!(page.accounts.len() <= 3);
        accounts.extend(page.accounts);
        assert_eq!(link.is_some(), page.next.is_some());
        path = link.map(|link| {
            let (path, rest) = link[1..].split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            assert!(path.contains(&page.next.unwrap().0), "{path}");
            path.to_owned()
        });
        pages += 1;
    }
    assert_eq!(pages, 3);
    // Exactly all: nothing follows.
    let page: AccountPage = bench.admin.get("/v1/accounts?limit=7").await.unwrap();
    assert_eq!((page.accounts.len(), page.next), (7, None));
    assert!(accounts.is_sorted_by_key(|account| account.id.0.0));
    // Those of one millisecond are in no order among themselves.
    let mut names: Vec<_> = accounts.iter().map(|account| &account.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_cursor_counts_for_its_list_only() {
    let mut bench = Bench::start().await;
    let first = bench.device().await;
    bench.device().await;
    let page: DevicePage = bench.admin.get("/v1/devices?limit=1").await.unwrap();
    let cursor = page.next.unwrap();
    let account = page.devices[0].account;
    assert_eq!(page.devices[0].id.to_string(), first.subject);
    let rest = format!("devices?after={cursor}&limit=5");
    assert_eq!(
        bench.list(&rest).await["devices"].as_array().unwrap().len(),
        1
    );
    let mut broken = cursor.0.clone();
    broken.replace_range(10..11, if &broken[10..11] == "A" { "B" } else { "A" });
    let client = raw(&bench.ada, Some(&bench.ada));
    for path in [
        // Of another list, and of this one with another question.
        format!("accounts?after={cursor}"),
        format!("devices?after={cursor}&account={account}"),
        format!("devices?after={broken}"),
        format!("devices?after={}", first.subject),
        "devices?after=".to_owned(),
        format!("devices?after={cursor}&after={cursor}"),
        "devices?limit=0".to_owned(),
        "devices?limit=1001".to_owned(),
        "devices?limit=-1".to_owned(),
        "devices?limit=x".to_owned(),
        "devices?first=1".to_owned(),
    ] {
        let sent = client.get(format!("{}/v1/{path}", bench.url)).send();
        let refused = problem(sent.await.unwrap()).await;
        assert_eq!(
            (refused.kind, refused.status),
            (Kind::Invalid, 400),
            "{path}"
        );
    }
    // It outlives the server: what it is sealed with belongs to the store.
    bench.stop().await;
    bench.start_again().await;
    assert_eq!(
        bench.list(&rest).await["devices"].as_array().unwrap().len(),
        1
    );
}
