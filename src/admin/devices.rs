//! Devices.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{
    Certificate, CertificatePage, ClaimDevice, Device, DevicePage, Labels, NewCode, NewDevice,
    Recovery, Role, SetStanding, Standing,
};
use sealcast_objects::id::{Id, NoId, Text};
use sealcast_objects::{AccountId, DeviceId, RecoveryId};

use super::nodes::validity;
use super::{Api, Done, factory};
use crate::table::{self, Page, or_dash};

/// What the parts of a device bear.
#[derive(Debug, clap::Args)]
pub(super) struct LabelArgs {
    /// Id of the player software
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Id of its drive
    #[arg(long, value_name = "ID")]
    drive: Option<String>,
    /// Id of its card
    #[arg(long, value_name = "ID")]
    card: Option<String>,
}

impl From<&LabelArgs> for Labels {
    fn from(args: &LabelArgs) -> Self {
        Self {
            client: args.client.clone(),
            drive: args.drive.clone(),
            card: args.card.clone(),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DeviceCommand {
    /// Lists the devices
    List {
        /// Only of this account
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        #[command(flatten)]
        page: Page,
    },
    /// Shows a device
    Show {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
    },
    /// Says anew what the parts of one bear; what is left out is forgotten
    Label {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        #[command(flatten)]
        labels: LabelArgs,
    },
    /// Gives its place to another one at once: its rights, a code; it is revoked
    Replace {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Shows a code with which a person recovers a lost one: another takes its place after a delay in which the account's others can object
    Recover {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
    },
    /// Refuses a recovery
    RefuseRecovery {
        /// Which
        #[arg(value_parser = parse_id::<RecoveryId>)]
        recovery: Text<RecoveryId>,
    },
    /// Registers devices as they left a factory: lines of MAKER,SERIAL,KEYHASH (SHA-256 of the public key, base64url or hex)
    Register {
        /// A CSV file without a heading
        file: PathBuf,
    },
    /// Makes a registered device an account's
    Claim {
        /// Who made it
        maker: String,
        /// What stands on its case
        serial: String,
        /// For people
        #[arg(long)]
        name: String,
        /// Whose [default: a new account of the same name]
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
    },
    /// Lists the certificates that were issued; with a device: those of it
    Certificates {
        /// Whose
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Option<Text<DeviceId>>,
        #[command(flatten)]
        page: Page,
    },
    /// Adds a device and shows a code with which it enrols
    Add {
        /// For people
        name: String,
        /// Whose [default: a new account of the same name]
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        #[command(flatten)]
        labels: LabelArgs,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Shows a new code for a device that lost its key or let its code expire
    Code {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Gives a device no keys for a while
    Suspend {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// Keys change at once: what was announced before gives way, if there is time, so that the next key is one it never had
        #[arg(long)]
        immediate: bool,
    },
    /// Gives it keys again
    Resume {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
    },
    /// Gives it no keys for ever
    Revoke {
        /// Which
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// Keys change at once: what was announced before gives way, if there is time, so that the next key is one it never had
        #[arg(long)]
        immediate: bool,
    },
}

pub(crate) fn parse_id<I: Id>(text: &str) -> Result<Text<I>, NoId<I>> {
    text.parse()
}

pub(super) fn run(api: &Api, command: &DeviceCommand) -> Done {
    let set = |device: &Text<DeviceId>, standing, immediate: bool| {
        let path = format!("/v1/devices/{device}?immediate={immediate}");
        let device: Device = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&device, |device| show(std::slice::from_ref(device)));
        Ok(())
    };
    match command {
        DeviceCommand::List { account, page } => list(api, *account, page),
        DeviceCommand::Show { device } => {
            let device: Device = api.get(&format!("/v1/devices/{device}"))?;
            api.show(&device, |device| show(std::slice::from_ref(device)));
            Ok(())
        }
        DeviceCommand::Label { device, labels } => {
            let path = format!("/v1/devices/{device}/labels");
            let device: Device = api.call(Method::PUT, &path, Some(&Labels::from(labels)))?;
            api.show(&device, |device| show(std::slice::from_ref(device)));
            Ok(())
        }
        DeviceCommand::Replace { device, valid } => {
            let path = format!("/v1/devices/{device}/replace{}", validity(*valid));
            let code: NewCode = api.call(Method::POST, &path, None::<&()>)?;
            api.show_code("device", "device", &code);
            Ok(())
        }
        DeviceCommand::Recover { device } => recover(api, *device),
        DeviceCommand::RefuseRecovery { recovery } => {
            let path = format!("/v1/recoveries/{recovery}/refuse");
            let refused: Recovery = api.call(Method::POST, &path, None::<&()>)?;
            api.show(&refused, |refused| {
                show_recoveries(std::slice::from_ref(refused))
            });
            Ok(())
        }
        DeviceCommand::Register { file } => factory::register(api, file),
        DeviceCommand::Claim {
            maker,
            serial,
            name,
            account,
        } => {
            let claim = ClaimDevice {
                maker: maker.clone(),
                serial: serial.clone(),
                account: *account,
                name: name.clone(),
            };
            let device: Device =
                api.call(Method::POST, "/v1/factory-devices/claim", Some(&claim))?;
            api.show(&device, |device| show(std::slice::from_ref(device)));
            Ok(())
        }
        DeviceCommand::Certificates { device, page } => certificates(api, *device, page),
        DeviceCommand::Add {
            name,
            account,
            labels,
            valid,
        } => {
            let new = NewDevice {
                account: *account,
                name: name.clone(),
                labels: labels.into(),
            };
            let path = format!("/v1/devices{}", validity(*valid));
            let code: NewCode = api.call(Method::POST, &path, Some(&new))?;
            api.show_code("device", "device", &code);
            Ok(())
        }
        DeviceCommand::Code { device, valid } => {
            let path = format!("/v1/devices/{device}/code{}", validity(*valid));
            let code: NewCode = api.call(Method::POST, &path, None::<&()>)?;
            api.show_code("device", "device", &code);
            Ok(())
        }
        DeviceCommand::Suspend { device, immediate } => {
            set(device, Standing::Suspended, *immediate)
        }
        DeviceCommand::Resume { device } => set(device, Standing::Active, false),
        DeviceCommand::Revoke { device, immediate } => set(device, Standing::Revoked, *immediate),
    }
}

fn list(api: &Api, account: Option<Text<AccountId>>, page: &Page) -> Done {
    let filter = [("account", account.map(|account| account.to_string()))];
    let page: DevicePage = api.get(&page.of("/v1/devices", &filter))?;
    api.show(&page, |page| {
        table::page(&show(&page.devices), page.next.as_ref())
    });
    Ok(())
}

fn recover(api: &Api, device: Text<DeviceId>) -> Done {
    let path = format!("/v1/devices/{device}/recovery");
    let code: NewCode = api.call(Method::POST, &path, None::<&()>)?;
    api.show(&code, |code| {
        format!(
            "{}: this code counts until {}, and is shown only now:\n\n{}\n\nThe person runs this once to begin, and again after the delay:\n\n  \
             sealcast device recover --server {} --code {} --out FILE",
            code.subject, code.until, code.code, api.server, code.code
        )
    });
    Ok(())
}

fn certificates(api: &Api, device: Option<Text<DeviceId>>, page: &Page) -> Done {
    let filter = [
        ("role", device.map(|_| Role::Device.name().to_owned())),
        ("subject", device.map(|device| device.to_string())),
    ];
    let page: CertificatePage = api.get(&page.of("/v1/certificates", &filter))?;
    let row = |certificate: &Certificate| {
        [
            certificate.number.to_string(),
            certificate.role.name().to_owned(),
            certificate.subject.clone(),
            certificate.issued_at.to_string(),
            certificate.until.to_string(),
        ]
    };
    api.show(&page, |page| {
        let rows: Vec<_> = page.certificates.iter().map(row).collect();
        let shown = table::table(["NUMBER", "ROLE", "SUBJECT", "ISSUED", "UNTIL"], &rows);
        table::page(&shown, page.next.as_ref())
    });
    Ok(())
}

pub(super) fn show_recoveries(recoveries: &[Recovery]) -> String {
    let row = |recovery: &Recovery| {
        [
            recovery.id.to_string(),
            recovery.device.to_string(),
            recovery.state.name().to_owned(),
            or_dash(recovery.ready_at),
            recovery.until.to_string(),
            or_dash(recovery.successor),
        ]
    };
    let rows: Vec<_> = recoveries.iter().map(row).collect();
    let heads = ["RECOVERY", "DEVICE", "STATE", "READY", "UNTIL", "SUCCESSOR"];
    table::table(heads, &rows)
}

fn show(devices: &[Device]) -> String {
    let row = |device: &Device| {
        [
            device.id.to_string(),
            device.name.clone(),
            device.standing.name().to_owned(),
            device.leaf.to_string(),
            device.account.to_string(),
        ]
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    table::table(["DEVICE", "NAME", "STANDING", "LEAF", "ACCOUNT"], &rows)
}
