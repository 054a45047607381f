//! Licences of devices to channels and contents.

use std::str::FromStr;
use std::time::SystemTime;

use reqwest::Method;
use sealcast_objects::AccountId;
use sealcast_objects::DeviceId;
use sealcast_objects::api::{GiveLicence, LicencePage, LicenceRecord, LicenceSubject, SetLicence};
use sealcast_objects::id::{ContentId, Id as _, LicenceId, Text};
use sealcast_objects::licence::{EndReason, Subject, Validity};
use sealcast_objects::time::Timestamp;

use super::devices::parse_id;
use super::{Api, Done};
use crate::table::{self, Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum LicenceCommand {
    /// Lists licences
    List {
        /// Only of this account
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        /// Only of this device
        #[arg(long, value_parser = parse_id::<DeviceId>)]
        device: Option<Text<DeviceId>>,
        /// Only for this content
        #[arg(long, value_parser = parse_id::<ContentId>)]
        content: Option<Text<ContentId>>,
        #[command(flatten)]
        page: Page,
    },
    /// Shows a licence
    Show(Which),
    /// Gives a device a licence
    Give {
        /// Whose
        #[arg(value_parser = parse_id::<DeviceId>)]
        device: Text<DeviceId>,
        /// What for: the number of a channel, or a content and its version (cont_...:1)
        #[arg(value_name = "CHANNEL|CONTENT:VERSION")]
        subject: What,
        /// From when on, 2026-12-31T20:00:00Z [default: now]
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Until when [default: for good]
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// How often it may be played [default: as often as one likes]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        plays: Option<u32>,
        /// Names it: the same again gives nothing twice [default: a new one]
        #[arg(long, value_parser = parse_id::<LicenceId>)]
        id: Option<Text<LicenceId>>,
    },
    /// Suspends a licence
    Suspend(Gone),
    /// Lets a suspended licence count again
    Resume(Which),
    /// Ends a licence for ever
    End {
        #[command(flatten)]
        gone: Gone,
        /// Why: refunded, lost, revoked, ... [default: revoked]
        #[arg(long, value_name = "REASON", value_parser = why)]
        why: Option<EndReason>,
    },
}

/// A licence that is taken away.
#[derive(Debug, clap::Args)]
pub(super) struct Gone {
    #[command(flatten)]
    which: Which,
    /// Keys change at once: what was announced before gives way, if there is time, so that the next key is one it never had
    #[arg(long)]
    immediate: bool,
}

/// A licence.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which
    #[arg(value_parser = parse_id::<LicenceId>)]
    licence: Text<LicenceId>,
}

/// What a licence is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct What(LicenceSubject);

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let content = text.split_once(':').and_then(|(content, version)| {
            let content = content.parse().ok()?;
            let version = version.parse().ok()?;
            Some(LicenceSubject::Content { content, version })
        });
        let channel = || {
            let channel = text.parse().ok()?;
            Some(LicenceSubject::Channel { channel })
        };
        content.or_else(channel).map(Self).ok_or_else(|| {
            "neither the number of a channel nor a content and its version (cont_...:1)".to_owned()
        })
    }
}

fn why(name: &str) -> Result<EndReason, String> {
    EndReason::from_name(name).ok_or_else(|| {
        let names = EndReason::ALL.map(EndReason::name);
        format!("one of {}", names.join(", "))
    })
}

pub(super) fn run(api: &Api, command: &LicenceCommand) -> Done {
    let show = |licence: &LicenceRecord| show_licences(std::slice::from_ref(licence));
    let set = |Which { licence }: &Which, set: SetLicence, immediate: bool| {
        let path = format!("/v1/licences/{licence}?immediate={immediate}");
        let licence: LicenceRecord = api.call(Method::PATCH, &path, Some(&set))?;
        api.show(&licence, show);
        Ok(())
    };
    match command {
        LicenceCommand::List {
            account,
            device,
            content,
            page,
        } => {
            let filter = [
                ("account", account.map(|id| id.to_string())),
                ("device", device.map(|id| id.to_string())),
                ("content", content.map(|id| id.to_string())),
            ];
            let page: LicencePage = api.get(&page.of("/v1/licences", &filter))?;
            api.show(&page, |page| {
                table::page(&show_licences(&page.licences), page.next.as_ref())
            });
            Ok(())
        }
        LicenceCommand::Show(Which { licence }) => {
            let licence: LicenceRecord = api.get(&format!("/v1/licences/{licence}"))?;
            api.show(&licence, show);
            Ok(())
        }
        LicenceCommand::Give {
            device,
            subject: What(subject),
            from,
            until,
            plays,
            id,
        } => {
            let new = || Text(LicenceId::new(SystemTime::now().into(), &mut crate::rng()));
            let give = GiveLicence {
                device: *device,
                subject: *subject,
                from: *from,
                until: *until,
                plays: *plays,
            };
            let id = id.unwrap_or_else(new);
            api.give(&format!("/v1/licences/{id}"), &give, show)
        }
        LicenceCommand::Suspend(gone) => {
            let to = SetLicence {
                validity: Validity::Suspended,
                reason: None,
            };
            set(&gone.which, to, gone.immediate)
        }
        LicenceCommand::Resume(which) => {
            let to = SetLicence {
                validity: Validity::Valid,
                reason: None,
            };
            set(which, to, false)
        }
        LicenceCommand::End { gone, why } => {
            let to = SetLicence {
                validity: Validity::Invalid,
                reason: *why,
            };
            set(&gone.which, to, gone.immediate)
        }
    }
}

/// Licences as a table.
pub(crate) fn show_licences(licences: &[LicenceRecord]) -> String {
    let row = |licence: &LicenceRecord| {
        let validity = match licence.reason {
            Some(reason) => format!("{} ({})", licence.validity.name(), reason.name()),
            None => licence.validity.name().to_owned(),
        };
        [
            licence.id.to_string(),
            licence.device.to_string(),
            Subject::from(licence.subject).to_string(),
            validity,
            licence.from.to_string(),
            or_dash(licence.until),
            format!("{} {}", licence.origin.kind.name(), licence.origin.id),
            or_dash(licence.received),
        ]
    };
    let rows: Vec<_> = licences.iter().map(row).collect();
    table(
        [
            "LICENCE", "DEVICE", "FOR", "VALIDITY", "FROM", "UNTIL", "ORIGIN", "RECEIVED",
        ],
        &rows,
    )
}
