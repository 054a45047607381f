//! Accounts, devices and their rights.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{
    Account, Device, NewAccount, NewCode, NewDevice, NewRight, Right, SetStanding, Standing,
};
use sealcast_objects::id::{Id, NoId, Text};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use super::nodes::validity;
use super::{Api, Done};
use crate::table::{or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum AccountCommand {
    /// Lists the accounts
    List,
    /// Adds an account
    Add {
        /// For people
        name: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DeviceCommand {
    /// Lists the devices
    List,
    /// Adds a device and shows a code with which it enrols
    Add {
        /// For people
        name: String,
        /// Whose [default: a new account of the same name]
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
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

#[derive(Debug, clap::Subcommand)]
pub(super) enum RightCommand {
    /// Lists rights
    List {
        /// Only of this device
        #[arg(long, value_parser = parse_id::<DeviceId>)]
        device: Option<Text<DeviceId>>,
    },
    /// Gives a device a right to a channel, or changes the period of one
    Give {
        /// Whose
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// To what
        channel: u16,
        /// From when on, 2026-12-31T20:00:00Z [default: now]
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Until when [default: for good]
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
    },
    /// Suspends a right
    Suspend(Gone),
    /// Lets a suspended right count again
    Resume(Which),
    /// Revokes a right
    Revoke(Gone),
}

/// A right that is taken away.
#[derive(Debug, clap::Args)]
pub(super) struct Gone {
    #[command(flatten)]
    which: Which,
    /// Keys change at once: what was announced before gives way, if there is time, so that the next key is one it never had
    #[arg(long)]
    immediate: bool,
}

/// A right.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Whose
    #[arg(value_parser = parse_id::<DeviceId>)]
    device: Text<DeviceId>,
    /// To what
    channel: u16,
}

pub(crate) fn parse_id<I: Id>(text: &str) -> Result<Text<I>, NoId<I>> {
    text.parse()
}

pub(super) fn accounts(api: &Api, command: &AccountCommand) -> Done {
    let show = |accounts: &[Account]| {
        let row = |account: &Account| {
            [
                account.id.to_string(),
                account.name.clone(),
                account.rights_version.to_string(),
            ]
        };
        let rows: Vec<_> = accounts.iter().map(row).collect();
        table(["ACCOUNT", "NAME", "RIGHTS"], &rows)
    };
    match command {
        AccountCommand::List => {
            let accounts: Vec<Account> = api.get("/v1/accounts")?;
            api.show(&accounts, |accounts| show(accounts));
        }
        AccountCommand::Add { name } => {
            let new = NewAccount { name: name.clone() };
            let account: Account = api.call(Method::POST, "/v1/accounts", Some(&new))?;
            api.show(&account, |account| show(std::slice::from_ref(account)));
        }
    }
    Ok(())
}

pub(super) fn run(api: &Api, command: &DeviceCommand) -> Done {
    let set = |device: &Text<DeviceId>, standing, immediate: bool| {
        let path = format!("/v1/devices/{device}?immediate={immediate}");
        let device: Device = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&device, |device| show(std::slice::from_ref(device)));
        Ok(())
    };
    match command {
        DeviceCommand::List => {
            let devices: Vec<Device> = api.get("/v1/devices")?;
            api.show(&devices, |devices| show(devices));
            Ok(())
        }
        DeviceCommand::Add {
            name,
            account,
            valid,
        } => {
            let new = NewDevice {
                account: *account,
                name: name.clone(),
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

fn show(devices: &[Device]) -> String {
    let row = |device: &Device| {
        [
            device.id.to_string(),
            device.name.clone(),
            device.standing.name().to_owned(),
            device.account.to_string(),
        ]
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    table(["DEVICE", "NAME", "STANDING", "ACCOUNT"], &rows)
}

pub(super) fn rights(api: &Api, command: &RightCommand) -> Done {
    let set = |which: &Which, standing, immediate: bool| {
        let Which { device, channel } = which;
        let path = format!("/v1/rights/{device}/{channel}?immediate={immediate}");
        let right: Right = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&right, |right| show_rights(std::slice::from_ref(right)));
        Ok(())
    };
    match command {
        RightCommand::List { device } => {
            let query = device
                .map(|device| format!("?device={device}"))
                .unwrap_or_default();
            let rights: Vec<Right> = api.get(&format!("/v1/rights{query}"))?;
            api.show(&rights, |rights| show_rights(rights));
            Ok(())
        }
        RightCommand::Give {
            device,
            channel,
            from,
            until,
        } => {
            let new = NewRight {
                device: *device,
                channel: *channel,
                from: *from,
                until: *until,
            };
            let show = |right: &Right| show_rights(std::slice::from_ref(right));
            api.give("/v1/rights", &new, show)
        }
        RightCommand::Suspend(gone) => set(&gone.which, Standing::Suspended, gone.immediate),
        RightCommand::Resume(which) => set(which, Standing::Active, false),
        RightCommand::Revoke(gone) => set(&gone.which, Standing::Revoked, gone.immediate),
    }
}

fn show_rights(rights: &[Right]) -> String {
    let row = |right: &Right| {
        [
            right.device.to_string(),
            right.channel.to_string(),
            right.standing.name().to_owned(),
            right.from.to_string(),
            or_dash(right.until),
            right.rights_version.to_string(),
        ]
    };
    let rows: Vec<_> = rights.iter().map(row).collect();
    table(
        ["DEVICE", "CHANNEL", "STANDING", "FROM", "UNTIL", "VERSION"],
        &rows,
    )
}
