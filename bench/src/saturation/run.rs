//! The whole bench: rounds in which everything has its turn.

use std::fs;

use anyhow::{Result, ensure};

use super::content::Content;
use super::options::{Options, Part, Path};
use super::report::{self, Rounds};
use super::stage::Stage;
use super::{input, manifests, receiving, sending, zero_copy};
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::lab::Lab;
use crate::progress::progress;
use crate::record::{Origin, printed};

const SYSCTL: &str = "/proc/sys/net/core/rmem_max";

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// Without root or iproute2; if the cores are not there, a channel does not begin or fails, or it is interrupted.
pub fn run(options: &Options) -> Result<String> {
    ensure!(
        options.send_core != options.receive_core,
        "core {0} cannot both send and receive: what is measured needs a core of its own",
        options.send_core
    );
    let interrupt = Interrupt::listen()?;
    let host = Host::pinned(Some(options.receive_core))?;
    let buffers = fs::read_to_string(SYSCTL).unwrap_or_default();
    let told = vec![
        format!(
            "packet crypto of sealcast: {}",
            sealcast_crypto::Backend::detect()
        ),
        format!(
            "net.core.rmem_max = {} (sockets of the bench: 64 MiB, forced)",
            buffers.trim()
        ),
    ];
    let (origin, lab) = (Origin::new(host, told), Lab::new()?);
    let rounds = measure(options, &lab, &interrupt)?;
    let rows = report::rows(&rounds);
    Ok(printed(options.json, &origin, &rows, report::text)?)
}

fn measure(options: &Options, lab: &Lab, interrupt: &Interrupt) -> Result<Rounds> {
    let (content, mut rounds) = (Content::new(), Rounds::default());
    let wanted = |part| options.parts.contains(&part);
    let bar = progress(usize::from(options.rounds));
    for round in 1..=options.rounds {
        for &path in &options.paths {
            let stage = Stage::open(lab, path, options, interrupt)?;
            if wanted(Part::Send) {
                bar.set_message(format!("round {round}, {}: sending", path.text()));
                rounds.sent.push((path, sending::round(&stage, &content)?));
            }
            if wanted(Part::Receive) {
                bar.set_message(format!("round {round}, {}: receiving", path.text()));
                rounds
                    .alone
                    .push((path, receiving::alone(&stage, &content)?));
                for &rate in &options.receive_rates {
                    let opened = receiving::whole(&stage, &content, rate)?;
                    rounds.opened.push((path, rate, opened));
                }
            }
            if wanted(Part::Manifests) {
                bar.set_message(format!("round {round}, {}: manifests", path.text()));
                let costs = manifests::round(&stage, &content)?;
                let costs = costs.into_iter().map(|cost| (path, cost));
                rounds.vouched.extend(costs);
            }
            stage.close()?;
        }
        bar.inc(1);
    }
    if wanted(Part::ZeroCopy) {
        let stage = Stage::open(lab, Path::Veth, options, interrupt)?;
        for round in 1..=options.rounds {
            bar.set_message(format!("round {round}: without copies"));
            rounds.zero_copy.extend(zero_copy::round(&stage, &content)?);
        }
        stage.close()?;
    }
    if wanted(Part::Input) {
        let stage = Stage::open(lab, Path::Lo, options, interrupt)?;
        for round in 1..=options.rounds {
            bar.set_message(format!("round {round}: single datagrams"));
            for &rate in &options.input_rates {
                rounds
                    .taken
                    .push((rate, input::taken(&stage, &content, rate)?));
            }
        }
        stage.close()?;
    }
    bar.finish_and_clear();
    Ok(rounds)
}
