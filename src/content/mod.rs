//! `sealcast content`: contents, their versions and files, through the API.

mod show;
pub(crate) mod transfer;

use std::path::PathBuf;

use reqwest::Method;
use sealcast_objects::api::{
    Availability, ChangeContent, Content, ContentPage, ContentVersion, DownloadPage, MediaKind,
    NewContent, NewVersion, Price,
};
use sealcast_objects::id::Text;
use sealcast_objects::{AccountId, ContentId, ProviderId};

use crate::Failure;
use crate::admin::devices::parse_id;
use crate::admin::{Access, Api, failure};
use crate::table::{self, Page};
use show::{contents, downloads, versions};

/// Flags of `sealcast content`.
#[derive(Debug, clap::Args)]
pub struct ContentArgs {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Adds a content: FILE is sent, sealed by the server, and kept there
    Add {
        /// The file
        file: PathBuf,
        /// Whose it is
        #[arg(long, value_parser = parse_id::<ProviderId>)]
        provider: Text<ProviderId>,
        /// For people
        #[arg(long)]
        title: String,
        /// Any word or words
        #[arg(long, default_value = "", hide_default_value = true)]
        genre: String,
        /// What it is
        #[arg(long, value_enum)]
        kind: KindArg,
        /// How the file is made: mpegts, mp4, or any other name
        #[arg(long)]
        format: String,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Lists contents
    List {
        /// Only of this provider
        #[arg(long, value_parser = parse_id::<ProviderId>)]
        provider: Option<Text<ProviderId>>,
        /// Only of this genre
        #[arg(long)]
        genre: Option<String>,
        /// Only of this kind
        #[arg(long, value_enum)]
        kind: Option<KindArg>,
        /// Only those that are to be had, or those that are not
        #[arg(long, value_enum)]
        availability: Option<AvailabilityArg>,
        #[command(flatten)]
        page: Page,
    },
    /// Shows a content and its versions
    Show {
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
    },
    /// Changes title, genre or price
    Set {
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// Another title
        #[arg(long)]
        title: Option<String>,
        /// Another genre
        #[arg(long)]
        genre: Option<String>,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Only accounts that downloaded it before get it from now on
    Withdraw {
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
    },
    /// Whoever wants it may have it again
    Offer {
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
    },
    /// Versions of a content
    #[command(subcommand)]
    Version(VersionCommand),
    /// Fetches the sealed file, as an operator or as a device; what is here from before (OUT.part) is not fetched again
    Download {
        /// Which
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// Which version [default: the newest]
        #[arg(long)]
        version: Option<u32>,
        /// Where to; it must not exist
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Lists which device downloaded what
    Downloads {
        /// Only of this account
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        /// Only of this content
        #[arg(long, value_parser = parse_id::<ContentId>)]
        content: Option<Text<ContentId>>,
        #[command(flatten)]
        page: Page,
    },
}

#[derive(Debug, clap::Subcommand)]
enum VersionCommand {
    /// Adds the next version
    Add {
        /// Of which content
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// The file
        file: PathBuf,
        /// How the file is made
        #[arg(long)]
        format: String,
    },
    /// Sends the file of a version again, whose upload came to nothing; it begins at its beginning
    Upload {
        /// Of which content
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// Which version
        version: u32,
        /// The file
        file: PathBuf,
    },
    /// Removes a version whose file never came; the content, too, if it has no other
    Remove {
        /// Of which content
        #[arg(value_parser = parse_id::<ContentId>)]
        content: Text<ContentId>,
        /// Which version
        version: u32,
    },
}

/// A price.
#[derive(Debug, clap::Args)]
pub(crate) struct PriceArgs {
    /// What it costs, in minor units: 499 with EUR is 4.99 EUR
    #[arg(long, requires = "currency", value_name = "AMOUNT")]
    price: Option<u64>,
    /// What the price is in: three letters (ISO 4217)
    #[arg(long, requires = "price")]
    currency: Option<String>,
}

impl PriceArgs {
    pub(crate) fn price(&self) -> Option<Price> {
        let (amount, currency) = (self.price?, self.currency.clone()?);
        Some(Price { amount, currency })
    }
}

/// What a content is.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KindArg {
    /// Pictures that move, with or without sound
    Video,
    /// Sound
    Audio,
    /// Text
    Text,
    /// Anything else
    Data,
}

impl From<KindArg> for MediaKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Video => Self::Video,
            KindArg::Audio => Self::Audio,
            KindArg::Text => Self::Text,
            KindArg::Data => Self::Data,
        }
    }
}

/// Whether a content is to be had.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AvailabilityArg {
    /// Whoever wants it may have it
    Offered,
    /// Only accounts that downloaded it before get it
    Withdrawn,
}

impl From<AvailabilityArg> for Availability {
    fn from(availability: AvailabilityArg) -> Self {
        match availability {
            AvailabilityArg::Offered => Self::Offered,
            AvailabilityArg::Withdrawn => Self::Withdrawn,
        }
    }
}

/// Runs one command.
pub fn run(args: &ContentArgs) -> Result<(), Failure> {
    let api = match args.command {
        Command::Download { .. } | Command::Show { .. } => Api::open_as_any(&args.access)?,
        _ => Api::open(&args.access)?,
    };
    match &args.command {
        Command::Add {
            file,
            provider,
            title,
            genre,
            kind,
            format,
            price,
        } => {
            let new = NewContent {
                provider: *provider,
                title: title.clone(),
                genre: genre.clone(),
                kind: (*kind).into(),
                format: format.clone(),
                price: price.price(),
            };
            transfer::check(file)?;
            let content: Content = api
                .call(Method::POST, "/v1/contents", Some(&new))
                .map_err(failure)?;
            transfer::upload(&api, content.id, 1, file)
        }
        Command::Version(command) => run_version(&api, command),
        Command::Download {
            content,
            version,
            out,
        } => transfer::download(&api, *content, *version, out),
        other => asked(&api, other).map_err(failure),
    }
}

fn run_version(api: &Api, command: &VersionCommand) -> Result<(), Failure> {
    match command {
        VersionCommand::Add {
            content,
            file,
            format,
        } => {
            transfer::check(file)?;
            let new = NewVersion {
                format: format.clone(),
            };
            let path = format!("/v1/contents/{content}/versions");
            let added: ContentVersion =
                api.call(Method::POST, &path, Some(&new)).map_err(failure)?;
            transfer::upload(api, *content, added.version, file)
        }
        VersionCommand::Upload {
            content,
            version,
            file,
        } => transfer::upload(api, *content, *version, file),
        VersionCommand::Remove { content, version } => {
            let path = format!("/v1/contents/{content}/versions/{version}");
            let removed: Result<(), _> = api.call(Method::DELETE, &path, None::<&()>);
            removed.map_err(failure)?;
            api.show(&(), |()| format!("version {version} is removed"));
            Ok(())
        }
    }
}

/// What needs no file.
fn asked(api: &Api, command: &Command) -> Result<(), sealcast_terminal::https::RequestError> {
    let change = |content: &Text<ContentId>, change: &ChangeContent| {
        let path = format!("/v1/contents/{content}");
        let content: Content = api.call(Method::PATCH, &path, Some(change))?;
        api.show(&content, |content| contents(std::slice::from_ref(content)));
        Ok(())
    };
    let set = |to| ChangeContent {
        availability: Some(to),
        ..ChangeContent::default()
    };
    match command {
        Command::List {
            provider,
            genre,
            kind,
            availability,
            page,
        } => {
            let kind = kind.map(MediaKind::from).map(MediaKind::name);
            let availability = availability.map(Availability::from);
            let filter = [
                ("provider", provider.map(|id| id.to_string())),
                ("genre", genre.clone()),
                ("kind", kind.map(str::to_owned)),
                ("availability", availability.map(|is| is.name().to_owned())),
            ];
            let page: ContentPage = api.get(&page.of("/v1/contents", &filter))?;
            api.show(&page, |page| {
                table::page(&contents(&page.contents), page.next.as_ref())
            });
            Ok(())
        }
        Command::Show { content } => {
            let path = format!("/v1/contents/{content}");
            let found: Content = api.get(&path)?;
            let all: Vec<ContentVersion> = api.get(&format!("{path}/versions"))?;
            let both = serde_json::json!({"content": found, "versions": all});
            api.show(&both, |_| {
                let found = contents(std::slice::from_ref(&found));
                format!("{found}\n{}", versions(&all))
            });
            Ok(())
        }
        Command::Set {
            content,
            title,
            genre,
            price,
        } => {
            let to = ChangeContent {
                title: title.clone(),
                genre: genre.clone(),
                price: price.price(),
                availability: None,
            };
            change(content, &to)
        }
        Command::Withdraw { content } => change(content, &set(Availability::Withdrawn)),
        Command::Offer { content } => change(content, &set(Availability::Offered)),
        Command::Downloads {
            account,
            content,
            page,
        } => {
            let filter = [
                ("account", account.map(|id| id.to_string())),
                ("content", content.map(|id| id.to_string())),
            ];
            let page: DownloadPage = api.get(&page.of("/v1/downloads", &filter))?;
            api.show(&page, |page| {
                table::page(&downloads(&page.downloads), page.next.as_ref())
            });
            Ok(())
        }
        Command::Add { .. } | Command::Version(_) | Command::Download { .. } => Ok(()),
    }
}
