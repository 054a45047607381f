//! Flags of `sealcast load stream` that replay a trace.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use sealcast_loadgen::report::{Cell, Fact};
use sealcast_loadgen::trace::Packets;
use sealcast_loadgen::trace::replay::{Replay, Speed, Until};

use super::stream::fact;
use crate::Failure;

/// A trace in place of a shape.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// Replay this packet trace (of `sealcast load capture` or `make`) in place of a shape; its channels are the flows
    #[arg(
        long,
        value_name = "FILE",
        requires = "targets",
        conflicts_with_all = ["rate", "pps", "size", "flows", "shape", "seed", "scenario"]
    )]
    trace: Option<PathBuf>,
    /// Of a trace: how many times faster, from 0.001 to 1000
    #[arg(long, value_name = "TIMES", requires = "trace", default_value = "1")]
    speed: Speed,
    /// Of a trace: how often, one after the other; with --duration as often as fits
    #[arg(
        long,
        value_name = "N",
        requires = "trace",
        conflicts_with = "duration"
    )]
    repeat: Option<NonZeroU32>,
}

impl ReplayArgs {
    /// Opens and checks the trace, if there is one.
    pub(super) fn open(&self, duration: Option<Duration>) -> Result<Option<Replay>, Failure> {
        let Some(path) = &self.trace else {
            return Ok(None);
        };
        let said = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
        let packets = Packets::open(path).map_err(|error| Failure::CannotOpen(said(&error)))?;
        let once = Until::Rounds(self.repeat.unwrap_or(NonZeroU32::MIN));
        let until = duration.map_or(once, Until::Time);
        let replay = Replay::new(packets, self.speed, until);
        replay
            .map(Some)
            .map_err(|error| Failure::Configuration(said(&error)))
    }

    /// What the report says of it.
    pub(super) fn facts(&self, replay: &Replay) -> Vec<Fact> {
        let path = self.trace.as_deref().map(|path| path.display().to_string());
        let packets = replay.packets();
        let mut facts = vec![
            fact("trace", "trace", Cell::words(path.unwrap_or_default())),
            fact(
                "trace_holds",
                "of the trace",
                Cell::words(packets.summary().to_string()),
            ),
            fact(
                "speed",
                "times faster",
                Cell::number(replay.speed().factor(), 3),
            ),
        ];
        if packets.raised() > 0 {
            facts.push(fact(
                "raised",
                "datagrams of the trace too short for a stamp, sent longer",
                Cell::count(packets.raised()),
            ));
        }
        facts
    }
}
