//! Slave key servers.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{NewCode, NewSlave, SetStanding, Slave, Standing};

use super::nodes::validity;
use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum SlaveCommand {
    /// Lists the slaves
    List,
    /// Adds a slave, or sets name and hosts of one that is there, and shows a code with which it enrols
    Add {
        /// Its number, from 1 on
        #[arg(long)]
        slave: u32,
        /// For people
        #[arg(long, default_value = "")]
        name: String,
        /// A name or address under which others reach it: its certificate holds for these; repeatable
        #[arg(long, required = true)]
        host: Vec<String>,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Cuts a slave off for a while
    Suspend {
        /// Its number
        slave: u32,
    },
    /// Lets it act again
    Resume {
        /// Its number
        slave: u32,
    },
    /// Cuts it off for ever
    Revoke {
        /// Its number
        slave: u32,
    },
}

pub(super) fn run(api: &Api, command: &SlaveCommand) -> Done {
    let set = |slave: u32, standing| {
        let path = format!("/v1/slaves/{slave}");
        let slave: Slave = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&slave, |slave| show(std::slice::from_ref(slave)));
        Ok(())
    };
    match command {
        SlaveCommand::List => {
            let slaves: Vec<Slave> = api.get("/v1/slaves")?;
            api.show(&slaves, |slaves| show(slaves));
            Ok(())
        }
        SlaveCommand::Add {
            slave,
            name,
            host,
            valid,
        } => {
            let new = NewSlave {
                slave: *slave,
                name: name.clone(),
                hosts: host.clone(),
            };
            let path = format!("/v1/slaves{}", validity(*valid));
            let code: NewCode = api.call(Method::POST, &path, Some(&new))?;
            api.show_code("slave", "slave", &code);
            Ok(())
        }
        SlaveCommand::Suspend { slave } => set(*slave, Standing::Suspended),
        SlaveCommand::Resume { slave } => set(*slave, Standing::Active),
        SlaveCommand::Revoke { slave } => set(*slave, Standing::Revoked),
    }
}

fn show(slaves: &[Slave]) -> String {
    let row = |slave: &Slave| {
        [
            slave.slave.to_string(),
            slave.name.clone(),
            slave.standing.name().to_owned(),
            slave.hosts.join(","),
        ]
    };
    let rows: Vec<_> = slaves.iter().map(row).collect();
    table(["SLAVE", "NAME", "STANDING", "HOSTS"], &rows)
}
