//! Channels and epochs.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{
    AuthLevel, Channel, KEY_BLOCK_PERMILLE, KeyMode, KeyTreeStatus, Lead, SlaveStatus, Status,
    Times,
};
use sealcast_proto::timing::Timing;

use super::{Api, Done};
use crate::table::{or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum ChannelCommand {
    /// Lists the channels
    List,
    /// Shows a channel
    Show {
        /// Its number
        id: u16,
    },
    /// Adds a channel
    Add {
        /// Its number, 0 to 65535
        id: u16,
        /// For people
        #[arg(long)]
        name: Option<String>,
        /// Who generates its keys
        #[arg(long, value_enum, default_value_t)]
        mode: crate::config::ModeSetting,
        /// What stands for its packets: 0, the key that all members have; 1, manifests, so that members cannot forge
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1), value_name = "0|1")]
        auth_level: u8,
        #[command(flatten)]
        blocks: BlockArgs,
        #[command(flatten)]
        times: TimesArgs,
    },
    /// Changes name, key times, auth level or key blocks; they hold from the next epoch on
    Set {
        /// Its number
        id: u16,
        /// For people
        #[arg(long)]
        name: Option<String>,
        /// 0, none; 1, manifests
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1), value_name = "0|1")]
        auth_level: Option<u8>,
        #[command(flatten)]
        blocks: BlockArgs,
        #[command(flatten)]
        times: TimesArgs,
    },
    /// Shows the generations of a channel's key tree, the newest first
    KeyTrees {
        /// Its number
        id: u16,
    },
    /// Makes a new generation of a channel's key tree: positions are given anew, so that key blocks become small again
    RenewKeyTree {
        /// Its number
        id: u16,
    },
    /// Removes a channel; its epoch numbers are never used again
    Remove {
        /// Its number
        id: u16,
    },
}

/// Key blocks.
#[derive(Debug, clap::Args)]
pub(super) struct BlockArgs {
    /// Whether the next key goes to entitled devices in band, so that a switch needs no request [default: off]
    #[arg(long, value_enum, value_name = "on|off")]
    key_block: Option<Switch>,
    /// Thousandths of the channel's bytes that key blocks may take; a longer one is not sent, and devices ask key doors [default: 10]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "PERMILLE")]
    key_block_cap: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl BlockArgs {
    /// A cap alone changes nothing of a channel that has no blocks.
    fn over(&self, base: u16) -> u16 {
        let is_on = self
            .key_block
            .map_or(base > 0, |switch| switch == Switch::On);
        let cap = self.key_block_cap.or_else(|| (base > 0).then_some(base));
        if is_on {
            cap.unwrap_or(KEY_BLOCK_PERMILLE)
        } else {
            0
        }
    }
}

/// Key times.
#[derive(Debug, clap::Args)]
pub(super) struct TimesArgs {
    /// Life of a key [default: 60s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    lifetime: Option<Duration>,
    /// First preset: the next key is prepared when this remains [default: 20s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    prepare_ahead: Option<Duration>,
    /// Second preset: devices fetch the next key when this remains [default: 10s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    fetch_ahead: Option<Duration>,
    /// How long devices keep the previous key after its last packet [default: 2s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    grace: Option<Duration>,
    /// Lives of a key that a delivery server goes on past the end of one, while the key server is away [default: 10]
    #[arg(long, value_name = "LIVES")]
    hold_max: Option<u32>,
}

impl TimesArgs {
    fn over(&self, base: Times) -> Times {
        let ms = |flag: Option<Duration>, base: u32| {
            flag.map_or(base, |flag| {
                u32::try_from(flag.as_millis()).unwrap_or(u32::MAX)
            })
        };
        Times {
            lifetime_ms: ms(self.lifetime, base.lifetime_ms),
            prepare_ahead_ms: ms(self.prepare_ahead, base.prepare_ahead_ms),
            fetch_ahead_ms: ms(self.fetch_ahead, base.fetch_ahead_ms),
            grace_ms: ms(self.grace, base.grace_ms),
            hold_max_lifetimes: self.hold_max.unwrap_or(base.hold_max_lifetimes),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum EpochCommand {
    /// Who holds what
    Status,
    /// Ends the epoch in use of a channel before its time; the change is announced as any other
    End {
        /// The channel
        channel: u16,
        /// A change that is announced already gives way to another one, if there is time: what was announced is never used
        #[arg(long)]
        immediate: bool,
    },
}

/// Of a flag, which takes no other numbers.
fn level(number: u8) -> AuthLevel {
    AuthLevel::try_from(number).unwrap_or_default()
}

fn seconds(ms: u32) -> String {
    format!("{}s", f64::from(ms) / 1000.0)
}

fn show(channels: &[Channel]) -> String {
    let row = |channel: &Channel| {
        let times = channel.times;
        [
            channel.id.to_string(),
            channel.name.clone(),
            match channel.mode {
                KeyMode::Authority => "authority".to_owned(),
                KeyMode::DeliveryServer => "delivery-server".to_owned(),
            },
            seconds(times.lifetime_ms),
            seconds(times.prepare_ahead_ms),
            seconds(times.fetch_ahead_ms),
            seconds(times.grace_ms),
            times.hold_max_lifetimes.to_string(),
            u8::from(channel.auth_level).to_string(),
            match channel.key_block_permille {
                0 => "off".to_owned(),
                permille => format!("{permille}/1000"),
            },
        ]
    };
    let rows: Vec<_> = channels.iter().map(row).collect();
    let headings = [
        "CHANNEL",
        "NAME",
        "MODE",
        "LIFETIME",
        "PREPARE",
        "FETCH",
        "GRACE",
        "HOLD-MAX",
        "AUTH-LEVEL",
        "KEY-BLOCK",
    ];
    table(headings, &rows)
}

fn show_trees(trees: &[KeyTreeStatus]) -> String {
    let row = |tree: &KeyTreeStatus| {
        let counts = [tree.generation, tree.positions, tree.given, tree.gone];
        let [generation, positions, given, gone] = counts.map(|count| count.to_string());
        [generation, positions, given, gone, tree.made_at.to_string()]
    };
    let rows: Vec<_> = trees.iter().map(row).collect();
    table(["GENERATION", "POSITIONS", "GIVEN", "GONE", "MADE"], &rows)
}

pub(super) fn run(api: &Api, command: &ChannelCommand) -> Done {
    match command {
        ChannelCommand::List => {
            let channels: Vec<Channel> = api.get("/v1/channels")?;
            api.show(&channels, |channels| show(channels));
        }
        ChannelCommand::Show { id } => {
            let channel: Channel = api.get(&format!("/v1/channels/{id}"))?;
            api.show(&channel, |channel| show(std::slice::from_ref(channel)));
        }
        ChannelCommand::Add {
            id,
            name,
            mode,
            auth_level,
            blocks,
            times,
        } => {
            let channel = Channel {
                id: *id,
                name: name.clone().unwrap_or_else(|| format!("channel {id}")),
                mode: (*mode).into(),
                times: times.over(Timing::default().into()),
                auth_level: level(*auth_level),
                key_block_permille: blocks.over(0),
            };
            let added: Channel = api.call(Method::POST, "/v1/channels", Some(&channel))?;
            api.show(&added, |added| show(std::slice::from_ref(added)));
        }
        ChannelCommand::Set {
            id,
            name,
            auth_level,
            blocks,
            times,
        } => {
            let path = format!("/v1/channels/{id}");
            let (mut channel, tag) = api.get_tagged::<Channel>(&path)?;
            channel.times = times.over(channel.times);
            if let Some(name) = name {
                channel.name.clone_from(name);
            }
            channel.auth_level = auth_level.map_or(channel.auth_level, level);
            channel.key_block_permille = blocks.over(channel.key_block_permille);
            let changed: Channel = api.change(Method::PUT, &path, Some(&channel), tag)?;
            api.show(&changed, |changed| show(std::slice::from_ref(changed)));
        }
        ChannelCommand::KeyTrees { id } => {
            let trees: Vec<KeyTreeStatus> = api.get(&format!("/v1/channels/{id}/key-trees"))?;
            api.show(&trees, |trees| show_trees(trees));
        }
        ChannelCommand::RenewKeyTree { id } => {
            let path = format!("/v1/channels/{id}/key-trees");
            let trees: Vec<KeyTreeStatus> = api.call(Method::POST, &path, None::<&()>)?;
            api.show(&trees, |trees| show_trees(trees));
        }
        ChannelCommand::Remove { id } => {
            api.call::<()>(Method::DELETE, &format!("/v1/channels/{id}"), None::<&()>)?;
            api.show(&(), |()| format!("channel {id} is removed"));
        }
    }
    Ok(())
}

pub(super) fn epochs(api: &Api, command: &EpochCommand) -> Done {
    match command {
        EpochCommand::Status => {
            let status: Status = api.get("/v1/status")?;
            api.show(&status, show_epochs);
        }
        EpochCommand::End { channel, immediate } => {
            let path = format!("/v1/channels/{channel}/end-epoch?immediate={immediate}");
            api.call::<()>(Method::POST, &path, None::<&()>)?;
            api.show(&(), |()| {
                format!("the epoch of channel {channel} ends early; `sealcast admin epoch status` shows when")
            });
        }
    }
    Ok(())
}

fn show_epochs(status: &Status) -> String {
    let mut rows = Vec::new();
    for channel in &status.channels {
        rows.push([
            channel.channel.to_string(),
            "key server".to_owned(),
            or_dash(channel.current),
            match (channel.next, channel.announced) {
                (Some(next), true) => format!("{next} (announced)"),
                (next, _) => or_dash(next),
            },
            format!("{:.1}s", f64::from(channel.remaining_ms) / 1000.0),
            if channel.root_held { "yes" } else { "NO" }.to_owned(),
        ]);
        for server in &channel.servers {
            rows.push([
                String::new(),
                format!("delivery server {}", server.server),
                or_dash(server.current),
                or_dash(server.next),
                String::new(),
                if server.linked {
                    "linked"
                } else {
                    "NOT LINKED"
                }
                .to_owned(),
            ]);
        }
        for slave in &channel.slaves {
            let status = status
                .slaves
                .iter()
                .find(|known| known.slave == slave.slave);
            let held = |epoch: u64| slave.epoch.filter(|held| *held == epoch);
            rows.push([
                String::new(),
                format!("slave {}", slave.slave),
                or_dash(slave.epoch.filter(|held| channel.next != Some(*held))),
                or_dash(channel.next.and_then(held)),
                String::new(),
                link(status).to_owned(),
            ]);
        }
    }
    table(
        [
            "CHANNEL",
            "WHO",
            "CURRENT",
            "NEXT",
            "REMAINING",
            "SERVED/LINK",
        ],
        &rows,
    )
}

fn link(slave: Option<&SlaveStatus>) -> &'static str {
    match slave {
        Some(slave) if slave.leased => "leased",
        Some(slave) if slave.linked => "NO LEASE",
        _ => "NOT LINKED",
    }
}

pub(super) fn status(api: &Api) -> Done {
    let status: Status = api.get("/v1/status")?;
    api.show(&status, |status| {
        let lead = match status.lead {
            Lead::Starting => "starting: it collects reports of delivery servers".to_owned(),
            Lead::Leading { term } => format!("leads under term {term}"),
            Lead::Deposed => "DEPOSED: another master was seen; it hands out nothing".to_owned(),
        };
        let written = or_dash(status.store_written);
        format!(
            "{lead}\nserver's clock {}\nstore last written before this start {written}\n\n{}",
            status.now,
            show_epochs(status)
        )
    });
    Ok(())
}
