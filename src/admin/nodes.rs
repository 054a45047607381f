//! Delivery servers.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{NewCode, NewNode, Node, SetStanding, Standing};

use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum NodeCommand {
    /// Lists the delivery servers
    List,
    /// Adds a delivery server, or sets the channels of one that is there, and shows a code with which it enrols
    Add {
        /// Its number
        #[arg(long)]
        server: u32,
        /// For people
        #[arg(long, default_value = "")]
        name: String,
        /// A channel that it may send; repeatable [default: all]
        #[arg(long)]
        channel: Vec<u16>,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Cuts a delivery server off for a while
    Suspend {
        /// Its number
        server: u32,
    },
    /// Lets it act again
    Resume {
        /// Its number
        server: u32,
    },
    /// Cuts it off for ever
    Revoke {
        /// Its number
        server: u32,
    },
}

/// The query of a code's validity.
pub(super) fn validity(valid: Option<Duration>) -> String {
    valid.map_or_else(String::new, |valid| {
        format!("?valid_ms={}", valid.as_millis())
    })
}

pub(super) fn run(api: &Api, command: &NodeCommand) -> Done {
    let set = |server: u32, standing| {
        let path = format!("/v1/nodes/{server}");
        let node: Node = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&node, |node| show(std::slice::from_ref(node)));
        Ok(())
    };
    match command {
        NodeCommand::List => {
            let nodes: Vec<Node> = api.get("/v1/nodes")?;
            api.show(&nodes, |nodes| show(nodes));
            Ok(())
        }
        NodeCommand::Add {
            server,
            name,
            channel,
            valid,
        } => {
            let new = NewNode {
                server: *server,
                name: name.clone(),
                channels: (!channel.is_empty()).then(|| channel.clone()),
            };
            let path = format!("/v1/nodes{}", validity(*valid));
            let code: NewCode = api.call(Method::POST, &path, Some(&new))?;
            api.show_code("delivery server", "node", &code);
            Ok(())
        }
        NodeCommand::Suspend { server } => set(*server, Standing::Suspended),
        NodeCommand::Resume { server } => set(*server, Standing::Active),
        NodeCommand::Revoke { server } => set(*server, Standing::Revoked),
    }
}

fn show(nodes: &[Node]) -> String {
    let row = |node: &Node| {
        let channels = match &node.channels {
            None => "all".to_owned(),
            Some(list) => list
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(","),
        };
        [
            node.server.to_string(),
            node.name.clone(),
            node.standing.name().to_owned(),
            channels,
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    table(["SERVER", "NAME", "STANDING", "CHANNELS"], &rows)
}
