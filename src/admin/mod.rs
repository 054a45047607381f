//! `sealcast admin`: providers, channels, delivery servers, slaves, accounts, devices, rights, epochs, packagers, the authority's keys, the ledger, the audit log and where it
//! is sent to, through the API.

mod accounts;
mod audit;
mod batch;
mod billing;
mod cards;
mod channels;
pub(crate) mod devices;
mod events;
mod factory;
mod interop;
mod keys;
mod ledger;
mod licences;
mod money;
mod nodes;
mod operators;
mod providers;
mod rights;
pub(crate) mod sales;
mod shares;
mod slaves;
mod usage;
mod webhooks;

use std::path::PathBuf;

use reqwest::Method;
use sealcast_objects::api::{Cursor, NewCode, Role};
use sealcast_terminal::https::{Client, RequestError, Tag};
use sealcast_terminal::identity::{FileError, Identity};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::table::Page;

/// Parts of a list, at most: a list that has no end is none.
const PARTS_MAX: usize = 100_000;

/// Flags of `sealcast admin`.
#[derive(Debug, clap::Args)]
pub struct AdminArgs {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

/// How commands reach the API.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// Identity of an operator; the key server makes the first one, admin.json in its data folder
    #[arg(
        long,
        global = true,
        env = "SEALCAST_ADMIN",
        default_value = "sealcast-data/admin.json",
        value_name = "FILE"
    )]
    identity: PathBuf,
    /// Answers as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Names what is to be made: repeated within 7 days, it gives the first answer and makes nothing [default: a new one each time]
    #[arg(long, global = true, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Why: for the audit log, and for the second person where one is needed
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
    /// Number of the case that this belongs to, for the audit log
    #[arg(
        long,
        global = true,
        value_name = "NUMBER",
        default_value = "",
        hide_default_value = true
    )]
    case: String,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Where the key server stands
    Status,
    /// Who supplies contents
    #[command(subcommand)]
    Provider(providers::ProviderCommand),
    /// Channels and their key times
    #[command(subcommand)]
    Channel(channels::ChannelCommand),
    /// Epochs: who holds what; end one before its time
    #[command(subcommand)]
    Epoch(channels::EpochCommand),
    /// Delivery servers
    #[command(subcommand)]
    Node(nodes::NodeCommand),
    /// Slave key servers
    #[command(subcommand)]
    Slave(slaves::SlaveCommand),
    /// Accounts
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Devices
    #[command(subcommand)]
    Device(devices::DeviceCommand),
    /// Rights of devices to channels
    #[command(subcommand)]
    Right(rights::RightCommand),
    /// What is sold
    #[command(subcommand)]
    Offer(sales::OfferCommand),
    /// What was bought
    #[command(subcommand)]
    Purchase(sales::PurchaseCommand),
    /// Payments by card
    #[command(subcommand)]
    Cards(cards::CardsCommand),
    /// Licences of devices to channels and contents
    #[command(subcommand)]
    Licence(licences::LicenceCommand),
    /// What accounts have paid, may buy before they pay, and owe
    #[command(subcommand)]
    Money(money::MoneyCommand),
    /// What costs what, and which account has which tariff
    #[command(subcommand)]
    Tariff(billing::TariffCommand),
    /// What goes on bills besides what was counted
    #[command(subcommand)]
    Charge(billing::ChargeCommand),
    /// Bills: months that are closed, what is to be paid
    #[command(subcommand)]
    Bill(billing::BillCommand),
    /// How income is divided
    #[command(subcommand)]
    Split(shares::SplitCommand),
    /// What is due to those who have a share
    #[command(subcommand)]
    Party(shares::PartyCommand),
    /// Operators
    #[command(subcommand)]
    Operator(operators::OperatorCommand),
    /// What needs a second person
    #[command(subcommand)]
    Approval(operators::ApprovalCommand),
    /// Packagers of other software: who may take keys through the JSON key server and CPIX
    #[command(subcommand)]
    Interop(interop::InteropCommand),
    /// What was counted, for bills: requests, keys, bytes
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// Books and transfers: money, grants, bytes, or whatever else is counted
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// What was done, by whom
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The audit log as events, a line of JSON each; with --follow as they happen
    Events(events::EventsArgs),
    /// Where events are sent to
    #[command(subcommand)]
    Webhook(webhooks::WebhookCommand),
    /// Keys of the authority and their succession
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// The API, for the commands.
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// As this operator reaches it; others may need another name.
    server: String,
    /// The CA's certificate, PEM.
    ca: String,
    json: bool,
    /// Of what is posted; nothing: a new one each time.
    idempotency_key: Option<String>,
}

type Done = Result<(), RequestError>;

impl Api {
    /// The API as an operator reaches it.
    pub(crate) fn open(access: &Access) -> Result<Self, Failure> {
        let identity = Identity::load(&access.identity, Role::Admin);
        Self::of(
            access,
            &identity.map_err(|error| Failure::CannotOpen(error.into()))?,
        )
    }

    /// The API as an operator or a device reaches it.
    pub(crate) fn open_as_any(access: &Access) -> Result<Self, Failure> {
        let identity = match Identity::load(&access.identity, Role::Admin) {
            Err(FileError::OtherRole { is, .. }) if is == Role::Device => {
                Identity::load(&access.identity, is)
            }
            other => other,
        };
        Self::of(
            access,
            &identity.map_err(|error| Failure::CannotOpen(error.into()))?,
        )
    }

    fn of(access: &Access, identity: &Identity) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::CannotOpen(error.into()))?;
        let client = Client::new(identity)
            .and_then(|client| client.because(&access.reason, &access.case))
            .map_err(|error| Failure::CannotOpen(error.into()))?;
        Ok(Self {
            client,
            runtime,
            server: identity.server.clone(),
            ca: identity.ca.clone(),
            json: access.json,
            idempotency_key: access.idempotency_key.clone(),
        })
    }

    /// With what [`Api::change`] needs.
    pub(crate) fn get_tagged<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, Tag), RequestError> {
        self.runtime.block_on(self.client.get_tagged(path))
    }

    /// Changes what still is as it was got.
    pub(crate) fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        tag: Tag,
    ) -> Result<T, RequestError> {
        let change = self.client.change(method, path, body, tag);
        self.runtime.block_on(change)
    }

    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, RequestError> {
        let call = async {
            match self.idempotency_key.as_deref() {
                Some(key) if method == Method::POST => {
                    self.client.call_as(method, path, body, Some(key)).await
                }
                _ => self.client.call(method, path, body).await,
            }
        };
        self.runtime.block_on(call)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        self.call(Method::GET, path, None::<&()>)
    }

    /// The whole list at `path`, of those that `filter` leaves, part by part; `part` takes an answer apart.
    pub(crate) fn whole<P: DeserializeOwned, T>(
        &self,
        path: &str,
        filter: &[(&str, Option<String>)],
        part: impl Fn(P) -> (Vec<T>, Option<Cursor>),
    ) -> Result<Vec<T>, RequestError> {
        let (mut all, mut page) = (Vec::new(), Page::default());
        page.limit = Some(1000);
        for _ in 0..PARTS_MAX {
            let (some, next) = part(self.get(&page.of(path, filter))?);
            all.extend(some);
            if next.is_none() {
                return Ok(all);
            }
            page.after = next;
        }
        Err(RequestError::Answer {
            server: self.server.clone(),
            why: format!("{path} has no end"),
        })
    }

    /// Prints an answer as JSON, or as `text` says.
    pub(crate) fn show<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            println!("{}", serde_json::to_string(answer).unwrap_or_default());
        } else {
            let text = text(answer);
            println!("{}", text.trim_end());
        }
    }

    fn show_code(&self, what: &str, enrol: &str, code: &NewCode) {
        self.show(code, |code| {
            format!(
                "{what} {subject}\nThis code works once, until {until}, and is shown only now:\n\n{code}\n\n  sealcast {enrol} enrol \
                 --server {server} --code {code} --out FILE",
                server = self.server,
                subject = code.subject,
                code = code.code,
                until = code.until,
            )
        });
    }
}

/// Runs one command.
pub fn run(args: &AdminArgs) -> Result<(), Failure> {
    let api = Api::open(&args.access)?;
    let done = match &args.command {
        Command::Status => channels::status(&api),
        Command::Provider(command) => providers::run(&api, command),
        Command::Channel(command) => channels::run(&api, command),
        Command::Epoch(command) => channels::epochs(&api, command),
        Command::Node(command) => nodes::run(&api, command),
        Command::Slave(command) => slaves::run(&api, command),
        Command::Account(command) => accounts::run(&api, command),
        Command::Device(command) => devices::run(&api, command),
        Command::Right(command) => rights::run(&api, command),
        Command::Offer(command) => sales::offers(&api, command),
        Command::Purchase(command) => sales::purchases(&api, command),
        Command::Cards(command) => cards::run(&api, command),
        Command::Licence(command) => licences::run(&api, command),
        Command::Money(command) => money::run(&api, command),
        Command::Tariff(command) => return billing::tariffs(&api, command),
        Command::Charge(command) => billing::charges(&api, command),
        Command::Bill(command) => return billing::bills(&api, command),
        Command::Split(command) => shares::splits(&api, command),
        Command::Party(command) => shares::parties(&api, command),
        Command::Operator(command) => operators::run(&api, command),
        Command::Approval(command) => operators::approvals(&api, command),
        Command::Interop(command) => interop::run(&api, command),
        Command::Usage(command) => usage::run(&api, command),
        Command::Ledger(command) => ledger::run(&api, command),
        Command::Audit(command) => return audit::run(&api, command),
        Command::Events(args) => return events::run(&api, args),
        Command::Webhook(command) => webhooks::run(&api, command),
        Command::Keys(command) => keys::run(&api, command),
    };
    done.map_err(failure)
}

pub(crate) fn failure(error: RequestError) -> Failure {
    match error {
        RequestError::Refused(_) => Failure::NotAsItMustBe(error.into()),
        _ => Failure::CannotOpen(error.into()),
    }
}
