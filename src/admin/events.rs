//! Events, as lines of JSON.

use std::io::{self, Write as _};
use std::time::Duration;

use sealcast_objects::audit::{AuditPage, SignedHead};
use sealcast_objects::events::{Event, matches};
use sealcast_terminal::https::RequestError;

use super::{Api, failure};
use crate::Failure;

/// A connection that broke is made again after this.
const COME_BACK: Duration = Duration::from_secs(2);
/// Longest line that is taken.
const LINE_MAX: usize = 1 << 20;

/// Which events.
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    /// After the event with this number [default: all; with --follow: those from now on]
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Go on with events as they happen, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only these: an act such as right.give, or the beginning of some such as right.*; repeatable
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
}

pub(super) fn run(api: &Api, args: &EventsArgs) -> Result<(), Failure> {
    if args.follow {
        follow(api, args)
    } else {
        list(api, args)
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn closed(error: io::Error) -> Failure {
    Failure::CannotOpen(anyhow::Error::new(error).context("standard output cannot be written"))
}

/// What the log holds now.
fn list(api: &Api, args: &EventsArgs) -> Result<(), Failure> {
    let mut after = args.after.unwrap_or(0);
    loop {
        let path = format!("/v1/audit?after={after}&limit=1000");
        let page: AuditPage = api.get(&path).map_err(failure)?;
        for entry in page
            .entries
            .iter()
            .filter(|entry| matches(&args.events, &entry.act))
        {
            let event = serde_json::to_string(&Event::from(entry)).unwrap_or_default();
            print(&event).map_err(closed)?;
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// What happens, also over connections that break.
fn follow(api: &Api, args: &EventsArgs) -> Result<(), Failure> {
    let mut after = match args.after {
        Some(after) => after,
        None => {
            let head: SignedHead = api.get("/v1/audit/head").map_err(failure)?;
            head.number
        }
    };
    let filter = args.events.join(",");
    loop {
        let path = format!("/v1/events?after={after}&events={filter}");
        let (mut lines, mut began) = (Lines::default(), false);
        let taken = api.client.download(&path, |piece| {
            began = true;
            lines.take(piece, |number, data| {
                print(data)?;
                after = number;
                Ok(())
            })
        });
        match api.runtime.block_on(taken) {
            Ok(Err(error)) => return Err(closed(error)),
            Err(error) if !comes_back(&error, began) => return Err(failure(error)),
            Ok(Ok(())) | Err(_) => std::thread::sleep(COME_BACK),
        }
    }
}

/// Whether it is worth trying again: what broke once it had begun may come again.
fn comes_back(error: &RequestError, began: bool) -> bool {
    error.is_passing() || (began && !matches!(error, RequestError::Refused(_)))
}

/// Lines of server-sent events, put together from pieces.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    number: Option<u64>,
    data: Option<String>,
}

impl Lines {
    fn take(
        &mut self,
        piece: &[u8],
        mut event: impl FnMut(u64, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        self.text.extend_from_slice(piece);
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(number) = line.strip_prefix("id:") {
                self.number = number.trim().parse().ok();
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data = Some(data.trim_start().to_owned());
            } else if line.is_empty()
                && let (Some(number), Some(data)) = (self.number.take(), self.data.take())
            {
                event(number, &data)?;
            }
        }
        if self.text.len() > LINE_MAX {
            return Err(io::Error::other("the server sends a line without end"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut_to_pieces() {
        let text =
            "retry:2000\n\n:\n\nid:7\nevent:right.give\ndata:{\"a\":1}\n\nid: 8\ndata: {}\n\n";
        let wanted = [(7, "{\"a\":1}".to_owned()), (8, "{}".to_owned())];
        for size in [1, 3, 1000] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                let taken = lines.take(piece, |number, data| {
                    found.push((number, data.to_owned()));
                    Ok(())
                });
                taken.unwrap();
            }
            assert_eq!(found, wanted);
        }
        let mut lines = Lines::default();
        assert!(
            lines
                .take(&vec![b'x'; LINE_MAX + 1], |_, _| Ok(()))
                .is_err()
        );
    }
}
