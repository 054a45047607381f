//! `sealcast device ...`: what a device does with its wallet: buys, fetches licences and contents, plays.

mod play;
pub(crate) mod receive;
mod show;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use sealcast_objects::ContentId;
use sealcast_objects::api::{Method, Role};
use sealcast_objects::id::{OfferId, PurchaseId, Text};
use sealcast_terminal::enrol;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use sealcast_terminal::wallet::{self, Passphrase, Player, PlayerError, Stage, Wallet};
use serde::Serialize;

use crate::Failure;
use crate::admin::devices::parse_id;
use crate::content::transfer;
use crate::identities::runtime;

/// Whose wallet.
#[derive(Debug, clap::Args)]
pub(crate) struct Owner {
    /// Identity of the device, made by `sealcast device enrol`
    #[arg(long, env = "SEALCAST_SESSION", value_name = "FILE")]
    identity: PathBuf,
    #[command(flatten)]
    wallet: WalletArgs,
    /// Answers as JSON
    #[arg(long)]
    json: bool,
}

/// Which wallet.
#[derive(Debug, clap::Args)]
struct WalletArgs {
    /// The wallet [default: beside the identity, with the ending .wallet]
    #[arg(long, env = "SEALCAST_WALLET", value_name = "FILE")]
    wallet: Option<PathBuf>,
    #[command(flatten)]
    lock: Lock,
}

/// What opens a wallet beside the identity.
#[derive(Debug, clap::Args)]
pub(crate) struct Lock {
    /// File with the wallet's passphrase, if it has one [default: what SEALCAST_WALLET_PASSPHRASE says]
    #[arg(long, env = "SEALCAST_WALLET_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Commands about what a device has.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists what is sold
    Offers(Owner),
    /// Buys an offer, and has the licences for it; asked again after a failure, it goes on and buys nothing twice
    Buy {
        #[command(flatten)]
        owner: Owner,
        /// Which; several are one purchase
        #[arg(required = true, value_parser = parse_id::<OfferId>)]
        offer: Vec<Text<OfferId>>,
        /// How often each
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
        count: u8,
        /// How it is settled
        #[arg(long, value_enum, default_value_t = Pays::Balance)]
        method: Pays,
    },
    /// Shows how the payment of a purchase by card stands, and what a client of the card provider pays it with
    Card {
        #[command(flatten)]
        owner: Owner,
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
    },
    /// Goes on with what was begun, fetches licences and the list of which count; makes the wallet, if there is none
    Sync {
        #[command(flatten)]
        owner: Owner,
        /// Believes licences of another key than before: only if the key server's operator says that it was set up anew
        #[arg(long)]
        trust_new_signer: bool,
    },
    /// Lists the wallet's licences: which may be used now, and why the others may not
    Licences(Owner),
    /// Lists what was bought: purchases and their certificates
    Certificates(Owner),
    /// Fetches the sealed file of a content; what is here from before is not fetched again
    Download {
        #[command(flatten)]
        owner: Owner,
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// Where to [default: beside the wallet]
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Plays a content that was downloaded, if a licence allows it: to standard output, or to a player
    Play {
        #[command(flatten)]
        owner: Owner,
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// A command that takes it on its standard input: "mpv -", "ffplay -i -"
        #[arg(long, value_name = "COMMAND")]
        player: Option<String>,
    },
}

/// How a purchase is settled.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Pays {
    /// From what the account has paid before
    Balance,
    /// On the account's next invoice
    Invoice,
    /// At the shop that sells it, which says when it has the money
    Shop,
    /// With a card: `sealcast device card` shows what with
    Card,
}

impl From<Pays> for Method {
    fn from(pays: Pays) -> Self {
        match pays {
            Pays::Balance => Self::Balance,
            Pays::Invoice => Self::Invoice,
            Pays::Shop => Self::Shop,
            Pays::Card => Self::Card,
        }
    }
}

/// Runs one command.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Offers(owner) => {
            let client = client(&owner.identity()?)?;
            let offers = runtime()?.block_on(wallet::offers(&client));
            let offers = offers.map_err(failure)?;
            owner.show(&offers, || crate::admin::sales::show_offers(&offers));
            Ok(())
        }
        Command::Buy {
            owner,
            offer,
            count,
            method,
        } => buy(owner, offer, *count, (*method).into()),
        Command::Card { owner, purchase } => {
            let client = client(&owner.identity()?)?;
            let payment = runtime()?.block_on(wallet::card(&client, *purchase));
            let payment = payment.map_err(failure)?;
            owner.show(&payment, || show::card(&payment));
            Ok(())
        }
        Command::Sync {
            owner,
            trust_new_signer,
        } => sync(owner, *trust_new_signer),
        Command::Licences(owner) => {
            let player = owner.player()?;
            let licences = player.licences();
            owner.show(&show::judgements(&licences), || show::licences(&licences));
            Ok(())
        }
        Command::Certificates(owner) => {
            let player = owner.player()?;
            let orders: Vec<_> = player.orders().collect();
            owner.show(&show::orders_json(&orders), || show::orders(&orders));
            Ok(())
        }
        Command::Download {
            owner,
            content,
            out,
        } => download(owner, *content, out.as_deref()),
        Command::Play {
            owner,
            content,
            player,
        } => play::run(owner.player()?, *content, player.as_deref()),
    }
}

type Opened = Player<Client>;

fn client(identity: &Identity) -> Result<Client, Failure> {
    Client::new(identity).map_err(|error| Failure::CannotOpen(error.into()))
}

fn load(identity: &Path) -> Result<Identity, Failure> {
    let identity = Identity::load(identity, Role::Device);
    identity.map_err(|error| Failure::CannotOpen(error.into()))
}

impl Lock {
    /// From a file, or the environment, never a flag that others see.
    fn passphrase(&self) -> Result<Option<Passphrase>, Failure> {
        let Some(file) = &self.passphrase_file else {
            let said = std::env::var("SEALCAST_WALLET_PASSPHRASE").ok();
            return Ok(said.map(Passphrase::new));
        };
        let read = fs::read_to_string(file);
        let read = read.with_context(|| format!("cannot read {}", file.display()));
        Ok(Some(Passphrase::new(read.map_err(Failure::CannotOpen)?)))
    }

    /// Opens the wallet in `file`; `make`: or makes one.
    fn open(&self, file: &Path, identity: &Path, make: bool) -> Result<Opened, Failure> {
        let passphrase = self.passphrase()?;
        let identity = load(identity)?;
        let open = match make {
            true => Wallet::open_or_create,
            false => Wallet::open,
        };
        let wallet = open(file, &identity, passphrase.as_ref());
        let wallet = wallet.map_err(|error| failure(error.into()))?;
        Ok(Player::new(client(&identity)?, wallet))
    }
}

impl Owner {
    fn identity(&self) -> Result<Identity, Failure> {
        load(&self.identity)
    }

    /// With the wallet that is there.
    fn player(&self) -> Result<Opened, Failure> {
        self.open(false)
    }

    /// With the wallet that is there, or a new one.
    fn player_or_new(&self) -> Result<Opened, Failure> {
        self.open(true)
    }

    fn open(&self, make: bool) -> Result<Opened, Failure> {
        let beside = || self.identity.with_extension("wallet");
        let file = self.wallet.wallet.clone().unwrap_or_else(beside);
        self.wallet.lock.open(&file, &self.identity, make)
    }

    /// Prints an answer as JSON, or as `text` says.
    fn show(&self, answer: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            println!("{}", serde_json::to_string(answer).unwrap_or_default());
        } else {
            println!("{}", text().trim_end());
        }
    }
}

/// How a command ends that came to nothing: 1 where somebody refuses, 3 where something cannot be opened.
pub(crate) fn failure(error: PlayerError) -> Failure {
    match error {
        PlayerError::Wallet(_) => Failure::CannotOpen(error.into()),
        PlayerError::Request(RequestError::Refused(_)) => Failure::NotAsItMustBe(error.into()),
        PlayerError::Request(_) => Failure::CannotOpen(error.into()),
        PlayerError::Transfer(error) => transfer::failed(error),
        _ => Failure::NotAsItMustBe(error.into()),
    }
}

fn buy(owner: &Owner, wanted: &[Text<OfferId>], count: u8, method: Method) -> Result<(), Failure> {
    let (mut player, runtime) = (owner.player_or_new()?, runtime()?);
    let sold = runtime.block_on(player.offers()).map_err(failure)?;
    let mut offers = Vec::new();
    for id in wanted {
        let offer = sold.iter().find(|offer| offer.id == *id);
        let offer = offer.ok_or_else(|| {
            Failure::NotAsItMustBe(anyhow!("{id} is not sold: see `sealcast device offers`"))
        })?;
        offers.extend((0..count).map(|_| offer.clone()));
    }
    let bought = runtime.block_on(player.buy(&offers, method));
    let (id, order) = bought.map_err(failure)?;
    let orders = [(id, &order)];
    owner.show(&show::orders_json(&orders), || {
        let next = match order.stage {
            Stage::Settling if method == Method::Card => format!(
                "\nIt is to be paid by card: `sealcast device card {id}` shows what with; then `sealcast device sync` goes on with it."
            ),
            Stage::Settling => {
                "\nIt is being settled: `sealcast device sync` goes on with it.".to_owned()
            }
            _ => String::new(),
        };
        format!("{}{next}", show::orders(&orders))
    });
    Ok(())
}

/// Renews the certificate of an identity that ends soon; a device that only plays has nobody else who does.
fn renew(file: &Path) -> Result<(), Failure> {
    let mut identity = load(file)?;
    if !enrol::is_due(&identity) {
        return Ok(());
    }
    match runtime()?.block_on(enrol::renew(&mut identity)) {
        Ok(()) => identity
            .save(file)
            .map_err(|error| Failure::CannotOpen(error.into())),
        Err(error) => {
            tracing::warn!(%error, until = %identity.until, "the certificate is not renewed");
            Ok(())
        }
    }
}

fn sync(owner: &Owner, trust_new_signer: bool) -> Result<(), Failure> {
    renew(&owner.identity)?;
    let mut player = owner.player_or_new()?;
    let synced = runtime()?.block_on(player.sync(trust_new_signer));
    let synced = synced.map_err(failure)?;
    let json = serde_json::json!({
        "new": synced.new, "elsewhere": synced.elsewhere, "list": synced.list, "until": synced.until,
        "licences": show::judgements(&player.licences()),
    });
    owner.show(&json, || show::synced(&synced, &player.licences()));
    Ok(())
}

fn download(owner: &Owner, content: Text<ContentId>, out: Option<&Path>) -> Result<(), Failure> {
    let mut player = owner.player_or_new()?;
    let bar = transfer::bar(0);
    let fetching = player.download(content.0, out, |here, all| {
        bar.set_length(all);
        bar.set_position(here);
    });
    let fetched = runtime()?.block_on(fetching);
    bar.finish_and_clear();
    let fetched = fetched.map_err(failure)?;
    let json =
        serde_json::json!({"content": content, "file": fetched.file, "bytes": fetched.bytes});
    owner.show(&json, || {
        let file = fetched.file.display();
        format!("{content} is in {file}, sealed: {} bytes", fetched.bytes)
    });
    Ok(())
}
