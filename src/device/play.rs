//! A content is played: to standard output, or to a player's standard input.

use std::io::{self, IsTerminal as _, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use sealcast_objects::ContentId;
use sealcast_objects::id::Text;
use sealcast_terminal::wallet::{PlayError, Playing};

use super::{Opened, failure};
use crate::Failure;

/// Plays what the wallet allows.
pub(super) fn run(
    mut wallet: Opened,
    Text(content): Text<ContentId>,
    command: Option<&str>,
) -> Result<(), Failure> {
    if command.is_none() && io::stdout().is_terminal() {
        let error = anyhow!("a terminal is no player: pipe it into one, or name one with --player");
        return Err(Failure::Configuration(error));
    }
    let playing = wallet.playing(content).map_err(failure)?;
    // Other programs may use it while this one plays.
    drop(wallet);
    match command {
        Some(command) => to_player(playing, command),
        None => write(playing, &mut io::stdout().lock()),
    }
}

/// Who takes it may have enough before its end.
fn write(mut playing: Playing, out: &mut impl Write) -> Result<(), Failure> {
    match playing.write_to(out) {
        Err(PlayError::Out(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::CannotOpen(error.into()))
        }
        Err(error @ PlayError::File { .. }) => Err(Failure::CannotOpen(error.into())),
        Err(PlayError::Out(_)) | Ok(_) => Ok(()),
        Err(error) => Err(Failure::NotAsItMustBe(error.into())),
    }
}

fn to_player(playing: Playing, command: &str) -> Result<(), Failure> {
    let player = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .spawn();
    let player = player.with_context(|| format!("cannot start {command:?}"));
    let mut player = player.map_err(Failure::CannotOpen)?;
    let written = match player.stdin.take() {
        Some(mut stdin) => write(playing, &mut stdin),
        None => Ok(()),
    };
    let ended = player
        .wait()
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    written?;
    if ended.success() {
        return Ok(());
    }
    let error = anyhow!("the player {command:?} ended with {ended}");
    Err(Failure::NotAsItMustBe(error))
}
