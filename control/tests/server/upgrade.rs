//! Stores that earlier versions made: each is brought up to date with nothing lost. A fixture is a folder as its program left it, and a head of its
//! audit log that was kept.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::Method;
use sealcast_control::server::{KeyServer, ServerConfig};
use sealcast_objects::api::{Role, Transfer};
use sealcast_objects::audit::{Head, SignedHead};
use sealcast_terminal::https::Client;
use serde_json::{Value, json};

use crate::bench::{HOUR, LOCAL, enrol};

/// Ids in the fixture.
const FIRST: &str = "book_00000000000000000000000000000001";
const SECOND: &str = "book_00000000000000000000000000000002";

fn fixture(version: &str) -> std::path::PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/fixtures");
    fixtures.join(version)
}

async fn list(client: &Client, what: &str) -> Value {
    client.get(&format!("/v1/{what}")).await.unwrap()
}

/// Schema 6: channels, a delivery server, a slave, a device with a right, the ledger, the audit log; no roles, no approvals, no catalogue.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_schema_6_is_brought_up_to_date_with_nothing_lost() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["store.db", "master.key"] {
        let copy = folder.path().join(file);
        std::fs::copy(fixture("v6").join(file), &copy).unwrap();
        std::fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
    }
    let head = std::fs::read(fixture("v6").join("head.json")).unwrap();
    let head: SignedHead = serde_json::from_slice(&head).unwrap();
    let kept = Head {
        number: head.number,
        hash: head.hash.as_slice().try_into().unwrap(),
    };
    let mut config = ServerConfig::new(folder.path().to_owned());
    config.listen = vec![LOCAL.parse().unwrap()];
    config.door = vec![LOCAL.parse().unwrap()];
    config.names = vec!["127.0.0.1".to_owned()];
    // Twice: what was brought up to date stays so.
    for round in 1..=2_u32 {
        let server = KeyServer::start(config.clone()).await.unwrap();
        let url = format!("https://{}", server.listen()[0]);
        let code = server.operator_code("local", HOUR).await.unwrap();
        let local = enrol(&url, &code, Role::Admin).await.unwrap();
        let client = Client::new(&local).unwrap();
        let channels = list(&client, "channels").await;
        assert_eq!(channels[0]["name"], "News");
        assert_eq!(channels[1]["mode"], "delivery-server");
        assert_eq!(list(&client, "nodes").await[0]["channels"], json!([1]));
        assert_eq!(list(&client, "slaves").await[0]["slave"], 4);
        let right = &list(&client, "rights").await["rights"][0];
        assert_eq!(right["until"], "2036-01-01T00:00:00.000Z");
        let device = &list(&client, "devices").await["devices"][0];
        assert_eq!(device["leaf"], 1);
        assert_eq!(
            (&device["name"], &device["id"]),
            (&json!("box"), &right["device"])
        );
        let accounts = list(&client, "accounts").await.to_string();
        assert!(accounts.contains("Living room"), "{accounts}");
        // Whoever was an operator may do what operators could.
        let operators = list(&client, "operators").await;
        let roles: Vec<_> = operators
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (&one["name"], &one["role"]))
            .collect();
        assert_eq!(
            roles,
            [
                (&json!("bob"), &json!("owner")),
                (&json!("local"), &json!("owner"))
            ]
        );
        // What was reserved then is posted now, once.
        let post = json!({"kind": "post", "reservation": format!("trf_{:032x}", 2), "amount": 150});
        let path = format!("/v1/transfers/trf_{:032x}", 3);
        let posted: Transfer = client.call(Method::PUT, &path, Some(&post)).await.unwrap();
        assert_eq!((posted.number, posted.amount), (3, 150));
        let book = list(&client, &format!("books/{SECOND}")).await;
        assert_eq!(
            (&book["credited"], &book["debited"]),
            (&json!(500), &json!(150))
        );
        let book = list(&client, &format!("books/{FIRST}")).await;
        assert_eq!(
            (&book["credited"], &book["debits_reserved"]),
            (&json!(150), &json!(0))
        );
        let (data, store) = (config.data.clone(), config.store.clone());
        let verify = move || sealcast_control::offline::verify(&data, &store, vec![kept]).unwrap();
        let verified = tokio::task::spawn_blocking(verify).await.unwrap();
        assert_eq!(
            (verified.audit, verified.ledger),
            (vec![], vec![]),
            "round {round}"
        );
        assert!(verified.head.number > kept.number);
        server.stop().await;
    }
}
