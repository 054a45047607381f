//! Rights of devices to channels.

use reqwest::Method;
use sealcast_objects::DeviceId;
use sealcast_objects::api::{NewRight, Right, RightPage, SetStanding, Standing};
use sealcast_objects::id::Text;
use sealcast_objects::time::Timestamp;

use super::devices::parse_id;
use super::{Api, Done};
use crate::table::{self, Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum RightCommand {
    /// Lists rights
    List {
        /// Only of this device
        #[arg(long, value_parser = parse_id::<DeviceId>)]
        device: Option<Text<DeviceId>>,
        #[command(flatten)]
        page: Page,
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

pub(super) fn run(api: &Api, command: &RightCommand) -> Done {
    let set = |which: &Which, standing, immediate: bool| {
        let Which { device, channel } = which;
        let path = format!("/v1/rights/{device}/{channel}?immediate={immediate}");
        let right: Right = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&right, |right| show_rights(std::slice::from_ref(right)));
        Ok(())
    };
    match command {
        RightCommand::List { device, page } => {
            let filter = [("device", device.map(|device| device.to_string()))];
            let page: RightPage = api.get(&page.of("/v1/rights", &filter))?;
            api.show(&page, |page| {
                table::page(&show_rights(&page.rights), page.next.as_ref())
            });
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
