//! Key blocks: what devices get of a channel's key tree, and what its delivery servers get to multicast (INT-05).

use std::time::Duration;

use sealcast_objects::api::{Channel, KeyTreeStatus, SessionReply, Standing};
use sealcast_objects::problem::Kind;
use sealcast_proto::key_block::Path;
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::control::Unverified;
use sealcast_proto::wire::key_block::KeyBlock;

use crate::bench::{Bench, channel, refused_as, session};
use crate::link::Link;

async fn with_blocks(bench: &Bench, id: u16) {
    let new = Channel {
        key_block_permille: 500,
        ..channel(id)
    };
    let made: Channel = bench.admin.post("/v1/channels", &new).await.unwrap();
    assert_eq!(made, new);
}

fn path(reply: &SessionReply) -> Path {
    let [given] = reply.paths.as_slice() else {
        unreachable!("{} paths", reply.paths.len());
    };
    Path::decode_all(&given.path).unwrap()
}

async fn trees(bench: &Bench) -> Vec<KeyTreeStatus> {
    let path = "/v1/channels/1/key-trees";
    bench.admin.get(path).await.unwrap()
}

/// INT-05, SEC-11: whoever has a session and may have the channel opens the block; whoever lost it since does not.
#[tokio::test(flavor = "multi_thread")]
async fn int_05_sec_11_a_block_opens_for_who_is_entitled_when_it_is_made() {
    let bench = Bench::start().await;
    with_blocks(&bench, 1).await;
    bench.channel(2).await;
    let (stays, goes) = (bench.entitled(&[1, 2]).await, bench.entitled(&[1]).await);
    let reply = session(&stays, &[]).await.unwrap();
    assert_eq!(reply.paths[0].channel, 1, "the other one has no key blocks");
    let (staying, going) = (path(&reply), path(&session(&goes, &[]).await.unwrap()));
    let again = path(&session(&stays, &[1]).await.unwrap());
    assert_eq!(format!("{again:?}"), format!("{staying:?}"));
    assert_eq!(trees(&bench).await[0].given, 2);

    let right = format!("/v1/rights/{}/1", goes.subject);
    bench.set(&right, Standing::Suspended).await.unwrap();
    assert_eq!(trees(&bench).await[0].gone, 1);
    let node = bench.node(5, Some(vec![1])).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    tokio::time::sleep(Duration::from_millis(700)).await;
    link.report_sent(1, 400_000);
    let parts: Vec<_> = link.key_block().await;
    let parse = |datagram: &Vec<u8>| {
        let part = Unverified::<KeyBlock>::parse(datagram).unwrap();
        let key = reply.authority.as_slice().try_into().unwrap();
        let key = sealcast_crypto::VerifyingKey::from_bytes(key);
        part.verify(&key).unwrap()
    };
    let parts: Vec<_> = parts.iter().map(parse).collect();
    let opens = |path: &Path| parts.iter().filter(|part| path.open(part).is_ok()).count();
    assert_eq!((opens(&staying), opens(&going)), (1, 0));

    // It may have the channel again, at the place that it had.
    bench.set(&right, Standing::Active).await.unwrap();
    let back = path(&session(&goes, &[]).await.unwrap());
    assert_eq!(back.generation(), going.generation());
    let [tree] = trees(&bench).await.try_into().unwrap();
    assert_eq!((tree.given, tree.gone), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_05_a_key_tree_is_renewed_and_spreads() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    assert_eq!(trees(&bench).await, []);
    let device = bench.entitled(&[1]).await;
    assert!(session(&device, &[]).await.unwrap().paths.is_empty());
    let on = Channel {
        key_block_permille: 10,
        ..channel(1)
    };
    bench
        .put("/v1/channels/1", &serde_json::to_value(&on).unwrap())
        .await;
    assert_eq!(path(&session(&device, &[]).await.unwrap()).generation(), 1);
    let key_trees = "/v1/channels/1/key-trees";
    let made: Vec<KeyTreeStatus> = bench.admin.post(key_trees, &()).await.unwrap();
    let generations: Vec<_> = made.iter().map(|tree| tree.generation).collect();
    assert_eq!(generations, [2, 1]);
    assert_eq!(path(&session(&device, &[]).await.unwrap()).generation(), 2);
    let again = bench.admin.post::<Vec<KeyTreeStatus>>(key_trees, &()).await;
    let why = refused_as(Kind::Conflict, again);
    assert!(why.contains("still spreads"), "{why}");
    let unknown = "/v1/channels/9/key-trees";
    let why = bench.admin.get::<Vec<KeyTreeStatus>>(unknown).await;
    refused_as(Kind::NotFound, why);
}
