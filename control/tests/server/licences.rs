//! Licences through the API: an operator gives them, devices get them signed, say that they have them, and lose them.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::Method;
use sealcast_crypto::{SigningKey, VerifyingKey, WrapKeyPair};
use sealcast_objects::DeviceId;
use sealcast_objects::api::{
    Approval, Content, DeviceKeys, Granted, LicencePage, LicenceRecord, OperatorRole,
    SignedLicence, SignedReceipt, SignedStatusList, SignerRole, Signers,
};
use sealcast_objects::content::{Header, Opener};
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::id::{LicenceId, Text};
use sealcast_objects::licence::{
    EndReason, Licence, LicenceReceipt, StatusList, Subject, Validity,
};
use sealcast_objects::problem::Kind;
use sealcast_objects::signed::{sign, verify};
use sealcast_proto::wire::door::Reason;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};

use crate::bench::{Bench, ask_udp, id, open, raw, reason, refused_as, session, until};
use crate::contents::{data, plain, provider, ready};

/// A device with keys that it made.
pub(crate) struct Holder {
    pub(crate) identity: Identity,
    pub(crate) client: Client,
    pub(crate) sign: SigningKey,
    pub(crate) wrap: WrapKeyPair,
}

impl Holder {
    pub(crate) fn of(identity: Identity, seed: u8) -> Self {
        Self {
            client: Client::new(&identity).unwrap(),
            identity,
            sign: SigningKey::from_seed(&[seed; 32]),
            wrap: WrapKeyPair::generate(&mut StdRng::seed_from_u64(seed.into())),
        }
    }

    pub(crate) async fn new(bench: &Bench, seed: u8) -> Self {
        let new = Self::of(bench.device().await, seed);
        assert_eq!(new.tell_keys().await.unwrap(), new.keys());
        new
    }

    pub(crate) fn id(&self) -> DeviceId {
        id(&self.identity).0
    }

    fn keys(&self) -> DeviceKeys {
        let keys = PublicKeys {
            sign: self.sign.verifying_key(),
            wrap: self.wrap.public().clone(),
        };
        DeviceKeys::from(&keys)
    }

    pub(crate) async fn tell_keys(&self) -> Result<DeviceKeys, RequestError> {
        let keys = self.keys();
        let put = self
            .client
            .call(Method::PUT, "/v1/device/keys", Some(&keys));
        put.await
    }

    async fn list(&self) -> Vec<LicenceRecord> {
        let page: LicencePage = self.client.get("/v1/device/licences").await.unwrap();
        page.licences
    }

    async fn get(&self, licence: u8) -> Result<SignedLicence, RequestError> {
        let path = format!("/v1/device/licences/{}", name(licence));
        self.client.get(&path).await
    }

    async fn receive(&self, licence: u8, receipt: Vec<u8>) -> Result<LicenceRecord, RequestError> {
        let path = format!("/v1/device/licences/{}/receipt", name(licence));
        let body = SignedReceipt { object: receipt };
        self.client.call(Method::PUT, &path, Some(&body)).await
    }

    /// Of a licence as these bytes say it.
    fn receipt(&self, licence: u8, object: &[u8]) -> Vec<u8> {
        let receipt = LicenceReceipt::of(name(licence).0, self.id(), object);
        sign(&receipt, &self.sign)
    }

    async fn status_list(&self, by: &VerifyingKey) -> (SignedStatusList, StatusList) {
        let told: SignedStatusList = self.client.get("/v1/device/status-list").await.unwrap();
        let list = verify::<StatusList>(&told.object, by).unwrap();
        assert_eq!((list.1, list.3), (told.number, told.until));
        assert!(list.2 < list.3);
        (told, list)
    }
}

fn name(licence: u8) -> Text<LicenceId> {
    Text(LicenceId([licence; 16]))
}

/// What the server signs licences with, as anybody is told.
pub(crate) async fn issuer(bench: &Bench) -> VerifyingKey {
    let told = raw(&bench.ada, None).get(format!("{}/v1/signers", bench.url));
    let told: Signers = told.send().await.unwrap().json().await.unwrap();
    let found = told
        .signers
        .iter()
        .find(|signer| signer.role == SignerRole::Licences);
    VerifyingKey::from_bytes(found.unwrap().key.as_slice().try_into().unwrap())
}

fn of_content(device: &Holder, content: &Content) -> Value {
    json!({"device": Text(device.id()), "subject": {"kind": "content", "content": content.id, "version": 1}, "plays": 3})
}

fn of_channel(device: &Holder, channel: u16) -> Value {
    json!({"device": Text(device.id()), "subject": {"kind": "channel", "channel": channel}})
}

async fn give(by: &Client, licence: u8, body: &Value) -> Result<LicenceRecord, RequestError> {
    let path = format!("/v1/licences/{}", name(licence));
    by.call(Method::PUT, &path, Some(body)).await
}

async fn set(bench: &Bench, licence: u8, body: Value) -> Result<LicenceRecord, RequestError> {
    let path = format!("/v1/licences/{}", name(licence));
    bench.admin.call(Method::PATCH, &path, Some(&body)).await
}

/// MV-04, INT-02, SEC-17, MV-01: the sealed file is of use to the one device that has the licence.
#[tokio::test(flavor = "multi_thread")]
async fn int_02_a_licence_for_a_content_opens_its_file_on_its_device_only() {
    let mut bench = Bench::start().await;
    let (content, _) = ready(&bench, &provider(&bench).await).await;
    let (device, other) = (Holder::new(&bench, 1).await, Holder::new(&bench, 2).await);
    let record = give(&bench.admin, 1, &of_content(&device, &content)).await;
    let record = record.unwrap();
    assert_eq!(record.validity, Validity::Valid);
    assert_eq!((record.plays, record.received), (Some(3), None));
    assert_eq!(record.origin.id, "ada");
    assert_eq!(device.list().await, std::slice::from_ref(&record));
    assert_eq!(other.list().await, []);
    refused_as(Kind::NotFound, other.get(1).await);

    let by = issuer(&bench).await;
    let told = device.get(1).await.unwrap();
    assert_eq!(told.licence, record);
    let licence = verify::<Licence>(&told.object, &by).unwrap();
    assert_eq!(
        (licence.id, licence.device),
        (name(1).0, device.id()),
        "bound to the device"
    );
    assert_eq!(licence.subject, Subject::Content(content.id, 1));
    assert_eq!(licence.terms.plays, Some(3));
    let wrapped = licence.key.as_ref().unwrap();
    let (whose, what) = ((licence.id, device.id()), (content.id.0, 1));
    assert!(wrapped.unwrap(&other.wrap, whose, what).is_err());
    let key = wrapped.unwrap(&device.wrap, whose, what).unwrap();

    let sealed = raw(&bench.ada, Some(&device.identity)).get(data(&bench, &content, 1));
    let sealed = sealed.send().await.unwrap().bytes().await.unwrap();
    let header = Header::read(&sealed).unwrap();
    let opener = Opener::new(&key, header);
    let mut clear = Vec::new();
    for index in 0..header.segments() {
        let place = header.segment(index).unwrap().sealed;
        let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
        let mut segment = sealed[place].to_vec();
        clear.extend_from_slice(opener.open(index, &mut segment).unwrap());
    }
    assert!(clear == plain(0));
    // The same bytes for good: also after a restart.
    bench.stop().await;
    bench.start_again().await;
    assert_eq!(device.get(1).await.unwrap(), told);
    assert_eq!(issuer(&bench).await, by);
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_27_sec_28_a_receipt_is_signed_by_the_device_for_what_it_got() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let (device, other) = (Holder::new(&bench, 1).await, Holder::new(&bench, 2).await);
    for licence in [1, 2] {
        give(&bench.admin, licence, &of_channel(&device, 1))
            .await
            .unwrap();
    }
    let object = device.get(1).await.unwrap().object;
    let right = device.receipt(1, &object);
    let another = device.get(2).await.unwrap().object;
    for (what, receipt) in [
        ("of another licence", device.receipt(2, &another)),
        ("of other bytes", device.receipt(1, &another)),
        (
            "by another device",
            sign(
                &LicenceReceipt::of(name(1).0, device.id(), &object),
                &other.sign,
            ),
        ),
        (
            "for another device",
            sign(
                &LicenceReceipt::of(name(1).0, other.id(), &object),
                &device.sign,
            ),
        ),
        ("the licence itself", object.clone()),
        ("cut", right[..right.len() - 1].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let why = refused_as(Kind::Invalid, device.receive(1, receipt).await);
        assert!(why.contains("receipt"), "{what}: {why}");
    }
    refused_as(Kind::NotFound, other.receive(1, right.clone()).await);
    assert_eq!(device.list().await[0].received, None);
    let received = device.receive(1, right.clone()).await.unwrap();
    assert!(received.received.is_some());
    // A notice that is late or comes twice changes nothing.
    assert_eq!(device.receive(1, right).await.unwrap(), received);
    let log = bench.list("audit?limit=1000").await.to_string();
    assert_eq!(log.matches("\"licence.receive\"").count(), 1);
    assert_eq!(log.matches("\"licence.issue\"").count(), 2);
}

/// INT-01, INT-05, INT-15, SEC-11, SEC-21: what is suspended or ended gives no session, ends those that there are, and is in the list.
#[tokio::test(flavor = "multi_thread")]
async fn int_05_int_15_a_licence_that_is_suspended_or_ended_gives_no_key() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    let by = issuer(&bench).await;
    let why = refused_as(Kind::Forbidden, session(&device.identity, &[1]).await);
    assert!(why.contains("no right"), "{why}");
    give(&bench.admin, 1, &of_channel(&device, 1))
        .await
        .unwrap();
    let (first, list) = device.status_list(&by).await;
    assert_eq!(list.4, [(name(1), Validity::Valid, None)]);
    let reply = session(&device.identity, &[1]).await.unwrap();
    assert_eq!(reply.channels, [1]);
    let (mut opened, door) = (open(&reply), bench.config.door[0]);
    let changed = Some(Reason::RightsChanged);
    assert_ne!(reason(&ask_udp(&mut opened, door, 1).await), changed);

    set(&bench, 1, json!({"validity": "suspended"}))
        .await
        .unwrap();
    let why = refused_as(Kind::Forbidden, session(&device.identity, &[1]).await);
    assert!(why.contains("suspended"), "{why}");
    until("the door knows it", async || {
        reason(&ask_udp(&mut opened, door, 1).await) == changed
    })
    .await;
    let (second, list) = device.status_list(&by).await;
    assert!(second.number > first.number);
    assert_eq!(list.4[0].1, Validity::Suspended);
    set(&bench, 1, json!({"validity": "valid"})).await.unwrap();
    session(&device.identity, &[1]).await.unwrap();

    let unsaid = json!({"validity": "suspended", "reason": "refunded"});
    refused_as(Kind::Invalid, set(&bench, 1, unsaid).await);
    let end = json!({"validity": "invalid", "reason": "refunded"});
    let ended = set(&bench, 1, end).await.unwrap();
    assert_eq!(ended.reason, Some(EndReason::Refunded));
    let why = refused_as(Kind::Forbidden, session(&device.identity, &[1]).await);
    assert!(why.contains("refunded"), "{why}");
    let (third, list) = device.status_list(&by).await;
    assert!(third.number > second.number);
    let (_, validity, why) = list.4[0];
    assert_eq!(validity, Validity::Invalid);
    assert_eq!(why.unwrap().1, Some(EndReason::Refunded));
    refused_as(
        Kind::Conflict,
        set(&bench, 1, json!({"validity": "valid"})).await,
    );
}

/// SEC-19, SEC-20, INT-04.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_a_licence_is_given_once_and_by_two_where_the_rules_say_so() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let (content, _) = ready(&bench, &provider(&bench).await).await;
    let device = Holder::of(bench.device().await, 1);
    let why = refused_as(
        Kind::Conflict,
        give(&bench.admin, 1, &of_content(&device, &content)).await,
    );
    assert!(why.contains("told no keys"), "{why}");
    let body = of_channel(&device, 1);
    let first = give(&bench.admin, 1, &body).await.unwrap();
    assert_eq!(give(&bench.admin, 1, &body).await.unwrap(), first);
    refused_as(
        Kind::Conflict,
        give(&bench.admin, 1, &of_channel(&device, 2)).await,
    );
    refused_as(
        Kind::NotFound,
        give(&bench.admin, 2, &of_channel(&device, 2)).await,
    );
    let mut ends = body.clone();
    ends["from"] = json!("2026-01-02T00:00:00Z");
    ends["until"] = json!("2026-01-01T00:00:00Z");
    refused_as(Kind::Invalid, give(&bench.admin, 2, &ends).await);

    let bob = bench.operator("bob", OperatorRole::Owner).await;
    let rules = json!({"second_person": ["licence"]});
    bench.put("/v1/approval-rules", &rules).await;
    let path = format!("/v1/licences/{}", name(3));
    let ada = bench.admin.clone().because("a gift", "").unwrap();
    let asked = ada.call(Method::PUT, &path, Some(&body)).await.unwrap();
    let Granted::<LicenceRecord>::Waits(approval) = asked else {
        unreachable!("it was given by one")
    };
    assert_eq!(device.list().await.len(), 1);
    let approve = format!("/v1/approvals/{}/approve", approval.id);
    let _: Approval = bob.post(&approve, &()).await.unwrap();
    let all = device.list().await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].origin.id, "ada", "whoever asked for it gave it");
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(log.contains("asked_by=admin:ada"), "{log}");
}

/// SEC-02: what is of devices is told to them alone; a person sees the licences of the account, and no other's.
#[tokio::test(flavor = "multi_thread")]
async fn sec_02_licences_are_told_to_whom_they_belong() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    give(&bench.admin, 1, &of_channel(&device, 1))
        .await
        .unwrap();
    let node = bench.node(5, None).await;
    let paths = [
        (Method::PUT, "/v1/device/keys".to_owned()),
        (Method::GET, "/v1/device/licences".to_owned()),
        (Method::GET, format!("/v1/device/licences/{}", name(1))),
        (
            Method::PUT,
            format!("/v1/device/licences/{}/receipt", name(1)),
        ),
        (Method::GET, "/v1/device/status-list".to_owned()),
        (Method::GET, "/v1/me/licences".to_owned()),
    ];
    for identity in [None, Some(&node), Some(&bench.ada)] {
        let client = raw(&bench.ada, identity);
        for (method, path) in &paths {
            let asked = client.request(method.clone(), format!("{}{path}", bench.url));
            let asked = asked.json(&device.keys()).send().await.unwrap();
            assert_eq!(asked.status(), 401, "{method} {path}");
        }
    }
    let mut wrong = device.keys();
    wrong.wrap.truncate(1000);
    let put = device
        .client
        .call::<DeviceKeys>(Method::PUT, "/v1/device/keys", Some(&wrong));
    assert!(refused_as(Kind::Invalid, put.await).contains("wrap"));
}
