//! Who plays in the demo: a key server with its store, a delivery server, devices with their rights; all enrolled as in
//! operation.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand_core::Rng as _;
use reqwest::Method;
use sealcast_objects::DeviceId;
use sealcast_objects::api::{
    AuthLevel, Channel, KeyMode, Labels, NewCode, NewDevice, NewNode, NewRight, Right, Role,
};
use sealcast_objects::id::Text;
use sealcast_proto::timing::Timing;
use sealcast_terminal::enrol;
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::Identity;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::Child;
use super::sale::Buyer;
use crate::rng;

/// Life of a key.
pub(super) const LIFETIME: Duration = Duration::from_millis(2500);
/// Between the first key and the first packet: receivers that are there get the stream from its first byte.
pub(super) const START_DELAY: Duration = Duration::from_millis(1500);
/// The demo's one channel.
pub(super) const CHANNEL: u16 = 1;
const NODE: &str = "node.json";
/// A process runs within this.
const START: Duration = Duration::from_secs(15);

pub(super) struct Cast {
    folder: PathBuf,
    key_server: Option<Child>,
    buyer: Option<Buyer>,
    /// Where it was the first time: it comes back there.
    listen: String,
    door: String,
    group: String,
}

/// The administration API, as `sealcast admin` uses it.
pub(super) struct Api {
    client: Client,
    runtime: tokio::runtime::Runtime,
    server: String,
}

impl Api {
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(self.runtime.block_on(self.client.get(path))?)
    }

    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        Ok(self
            .runtime
            .block_on(self.client.call(method, path, Some(body)))?)
    }

    fn enrol(&self, code: &NewCode, role: Role, file: &Path) -> Result<()> {
        let code = code.code.parse().context("the server's code")?;
        let key = enrol::new_key()?;
        let identity = self
            .runtime
            .block_on(enrol::enrol(&self.server, &code, &key, role))?;
        Ok(identity.save(file)?)
    }

    /// A device that has enrolled, with an account of its own and no rights.
    pub(super) fn enrolled(&self, folder: &Path, name: &str) -> Result<Text<DeviceId>> {
        let new = NewDevice {
            account: None,
            name: name.to_owned(),
            labels: Labels::default(),
        };
        let code: NewCode = self.call(Method::POST, "/v1/devices", &new)?;
        self.enrol(&code, Role::Device, &folder.join(format!("{name}.json")))?;
        code.subject.parse().context("the server's device")
    }

    /// One that was given the channel.
    fn entitled(&self, folder: &Path, name: &str) -> Result<()> {
        let device = self.enrolled(folder, name)?;
        let right = NewRight {
            device,
            channel: CHANNEL,
            from: None,
            until: None,
        };
        let _: Right = self.call(Method::PUT, "/v1/rights", &right)?;
        Ok(())
    }
}

fn timing() -> Result<Timing> {
    let ms = Duration::from_millis;
    Ok(Timing::new(LIFETIME, ms(1500), ms(900), ms(400))?)
}

/// An address on the loopback interface that the kernel says is free.
fn free(udp: bool) -> Result<String> {
    Ok(if udp {
        UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string()
    } else {
        std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .to_string()
    })
}

impl Cast {
    /// Starts the key server and enrols everybody.
    pub(super) fn set(folder: &Path) -> Result<Self> {
        let mut host = [0; 2];
        rng().fill_bytes(&mut host);
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut cast = Self {
            folder: folder.to_path_buf(),
            key_server: None,
            buyer: None,
            listen: free(false)?,
            door: free(true)?,
            group: format!(
                "udp://239.255.{}.{}:{port}?iface=127.0.0.1&loop=1",
                host[0], host[1]
            ),
        };
        cast.key_server = Some(cast.key_server(folder)?);
        let api = cast.api()?;
        let channel = Channel {
            id: CHANNEL,
            name: "demo".to_owned(),
            mode: KeyMode::Authority,
            times: timing()?.into(),
            auth_level: AuthLevel::default(),
            key_block_permille: 0,
        };
        let _: Channel = api.call(Method::POST, "/v1/channels", &channel)?;
        let node = NewNode {
            server: 1,
            name: "demo".to_owned(),
            channels: Some(vec![CHANNEL]),
        };
        let code: NewCode = api.call(Method::POST, "/v1/nodes", &node)?;
        api.enrol(&code, Role::Node, &folder.join(NODE))?;
        cast.buyer = Some(Buyer::buys(&api, folder, "stays")?);
        for name in ["leaves", "joins"] {
            api.entitled(folder, name)?;
        }
        api.enrolled(folder, "refused")?;
        Ok(cast)
    }

    /// The one that bought.
    pub(super) fn take_buyer(&mut self) -> Option<Buyer> {
        self.buyer.take()
    }

    pub(super) fn api(&self) -> Result<Api> {
        let identity = Identity::load(&self.folder.join("data/admin.json"), Role::Admin)?;
        Ok(Api {
            client: Client::new(&identity)?,
            server: identity.server.clone(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// The one that [`Cast::set`] started.
    pub(super) fn take_key_server(&mut self) -> Option<Child> {
        self.key_server.take()
    }

    /// Starts the key server, for the first time or again, on the same store and addresses.
    pub(super) fn key_server(&self, folder: &Path) -> Result<Child> {
        let data = folder.join("data").display().to_string();
        let args = [
            "serve",
            "--data",
            &data,
            "--listen",
            &self.listen,
            "--door",
            &self.door,
            // There is something to bill when the stream ends.
            "--usage-interval",
            "1s",
        ];
        let mut child = Child::start(folder, "key-server", &args)?;
        child.wait_for("the key server runs", START)?;
        Ok(child)
    }

    /// Starts the delivery server.
    pub(super) fn sender(&self, folder: &Path, input: &str) -> Result<Child> {
        let node = folder.join(NODE).display().to_string();
        let usage = folder.join("usage").display().to_string();
        let delay = humantime::format_duration(START_DELAY).to_string();
        let args = [
            "send",
            "--json",
            "--node",
            &node,
            "--channel",
            "1",
            "--group",
            &self.group,
            "--input",
            input,
            "--start-delay",
            &delay,
            "--usage-dir",
            &usage,
            "--usage-ship",
        ];
        Child::start(folder, "sender", &args)
    }

    /// Starts the receiver that is enrolled under this name; it writes NAME.ts.
    pub(super) fn receiver(&self, folder: &Path, name: &str) -> Result<Child> {
        let session = folder.join(format!("{name}.json")).display().to_string();
        let output = folder.join(format!("{name}.ts")).display().to_string();
        let args = [
            "receive",
            "--json",
            "--session",
            &session,
            "--channel",
            "1",
            "--group",
            &self.group,
            "--output",
            &output,
        ];
        Child::start(folder, name, &args)
    }
}
