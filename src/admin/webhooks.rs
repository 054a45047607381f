//! Webhooks, as an operator keeps them.

use reqwest::Method;
use sealcast_objects::WebhookId;
use sealcast_objects::api::{
    ChangeWebhook, Delivery, DeliveryPage, DeliveryState, NewWebhook, Replayed, Trial, Webhook,
    WebhookSecret,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_terminal::https::RequestError;

use super::devices::parse_id;
use super::{Api, Done};
use crate::table::{self, Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum WebhookCommand {
    /// Lists where events are sent to
    List,
    /// Sends events to an address from now on; shows the secret that signs them
    Add {
        /// The address: https://HOST/PATH
        url: String,
        /// Event that is sent: an act such as right.give, or the beginning of some such as right.*; repeatable [default: all]
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
        /// For people
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        description: String,
        /// Events after this number of the audit log, too [default: those from now on]
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// Shows one
    Show {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Changes one
    Set {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
        #[command(flatten)]
        to: To,
    },
    /// Sends nothing there, for a while
    Disable {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Sends there again, and what came meanwhile
    Enable {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Removes one, and what was still to be sent to it
    Remove {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Makes another secret and shows it; the one before signs, too, for a day
    RenewSecret {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Sends an event that tells of nothing, now, and shows what came of it
    Test {
        /// Which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
    },
    /// Shows what became of events
    Deliveries {
        /// Of which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
        /// pending, delivered or dead [default: all]
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<DeliveryState>,
        #[command(flatten)]
        page: Page,
    },
    /// Sends an event again; with --dead: all that were given up
    Replay {
        /// To which
        #[arg(value_parser = parse_id::<WebhookId>)]
        webhook: Text<WebhookId>,
        /// Number of the event
        #[arg(required_unless_present = "dead", conflicts_with = "dead")]
        number: Option<u64>,
        /// All that were given up
        #[arg(long)]
        dead: bool,
    },
}

/// What one may be changed to.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct To {
    /// The address
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Event that is sent, instead of those before; repeatable
    #[arg(long = "event", value_name = "NAME", conflicts_with = "all_events")]
    events: Vec<String>,
    /// All events are sent
    #[arg(long)]
    all_events: bool,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

fn state(name: &str) -> Result<DeliveryState, String> {
    DeliveryState::from_name(name).ok_or_else(|| "one of pending, delivered, dead".to_owned())
}

impl From<&To> for ChangeWebhook {
    fn from(to: &To) -> Self {
        let events = to.all_events || !to.events.is_empty();
        Self {
            url: to.url.clone(),
            events: events.then(|| to.events.clone()),
            description: to.description.clone(),
            enabled: None,
        }
    }
}

fn at(webhook: &Text<WebhookId>) -> String {
    format!("/v1/webhooks/{webhook}")
}

pub(super) fn run(api: &Api, command: &WebhookCommand) -> Done {
    let change = |webhook: &Text<WebhookId>, to: &ChangeWebhook| {
        let changed: Webhook = api.call(Method::PATCH, &at(webhook), Some(to))?;
        api.show(&changed, show);
        Ok(())
    };
    let enabled = |enabled| ChangeWebhook {
        enabled: Some(enabled),
        ..ChangeWebhook::default()
    };
    match command {
        WebhookCommand::List => {
            let webhooks: Vec<Webhook> = api.get("/v1/webhooks")?;
            api.show(&webhooks, |webhooks| list(webhooks));
            Ok(())
        }
        WebhookCommand::Add {
            url,
            events,
            description,
            after,
        } => {
            let new = NewWebhook {
                url: url.clone(),
                events: events.clone(),
                description: description.clone(),
                after: *after,
            };
            let added: WebhookSecret = api.call(Method::POST, "/v1/webhooks", Some(&new))?;
            api.show(&added, show_secret);
            Ok(())
        }
        WebhookCommand::Show { webhook } => {
            let found: Webhook = api.get(&at(webhook))?;
            api.show(&found, show);
            Ok(())
        }
        WebhookCommand::Set { webhook, to } => change(webhook, &to.into()),
        WebhookCommand::Disable { webhook } => change(webhook, &enabled(false)),
        WebhookCommand::Enable { webhook } => change(webhook, &enabled(true)),
        WebhookCommand::Remove { webhook } => api.call(Method::DELETE, &at(webhook), None::<&()>),
        WebhookCommand::RenewSecret { webhook } => {
            let path = format!("{}/secret", at(webhook));
            let renewed: WebhookSecret = api.call(Method::POST, &path, None::<&()>)?;
            api.show(&renewed, show_secret);
            Ok(())
        }
        WebhookCommand::Test { webhook } => test(api, webhook),
        WebhookCommand::Deliveries {
            webhook,
            state,
            page,
        } => {
            let filter = [("state", state.map(|state| state.name().to_owned()))];
            let path = format!("{}/deliveries", at(webhook));
            let page: DeliveryPage = api.get(&page.of(&path, &filter))?;
            api.show(&page, show_page);
            Ok(())
        }
        WebhookCommand::Replay {
            webhook,
            number: Some(number),
            ..
        } => {
            let path = format!("{}/deliveries/{number}/replay", at(webhook));
            let delivery: Delivery = api.call(Method::POST, &path, None::<&()>)?;
            api.show(&delivery, |one| show_deliveries(std::slice::from_ref(one)));
            Ok(())
        }
        WebhookCommand::Replay { webhook, .. } => replay_dead(api, webhook),
    }
}

fn test(api: &Api, webhook: &Text<WebhookId>) -> Done {
    let path = format!("{}/test", at(webhook));
    let trial: Trial = api.call(Method::POST, &path, None::<&()>)?;
    api.show(&trial, |trial| {
        format!("{} ({} ms)", trial.answer, trial.took_ms)
    });
    if trial.good {
        return Ok(());
    }
    let why = format!("the event was not acknowledged: {}", trial.answer);
    Err(RequestError::Refused(Problem::new(Kind::Conflict, why)))
}

fn replay_dead(api: &Api, webhook: &Text<WebhookId>) -> Done {
    let path = format!("{}/replay", at(webhook));
    let mut all = Replayed {
        replayed: 0,
        left: 0,
    };
    loop {
        // Each is a request of its own, also where the command names its key.
        let some: Replayed = api.runtime.block_on(api.client.post(&path, &()))?;
        all.replayed += some.replayed;
        if some.left == 0 || some.replayed == 0 {
            break;
        }
    }
    api.show(&all, |all| {
        format!("{} events are sent again", all.replayed)
    });
    Ok(())
}

fn events(webhook: &Webhook) -> String {
    match webhook.events.as_slice() {
        [] => "all".to_owned(),
        events => events.join(", "),
    }
}

fn standing(webhook: &Webhook) -> String {
    match (&webhook.disabled, webhook.failing_since) {
        (Some(disabled), _) => format!("disabled by {} ({})", disabled.by, disabled.why),
        (None, Some(since)) => format!("fails since {since}"),
        (None, None) => "enabled".to_owned(),
    }
}

fn list(webhooks: &[Webhook]) -> String {
    let row = |webhook: &Webhook| {
        [
            webhook.id.to_string(),
            webhook.url.clone(),
            events(webhook),
            webhook.position.to_string(),
            standing(webhook),
        ]
    };
    let rows: Vec<_> = webhooks.iter().map(row).collect();
    table(["WEBHOOK", "URL", "EVENTS", "POSITION", "STANDING"], &rows)
}

fn show(webhook: &Webhook) -> String {
    let former = webhook
        .former_until
        .map(|until| format!("\nformer secret  signs, too, until {until}"));
    format!(
        "webhook        {}\nurl            {}\nevents         {}\ndescription    {}\nstanding       {}\nposition       {}\npublic key     {}{}",
        webhook.id,
        webhook.url,
        events(webhook),
        webhook.description,
        standing(webhook),
        webhook.position,
        webhook.public_key,
        former.unwrap_or_default()
    )
}

fn show_secret(made: &WebhookSecret) -> String {
    format!(
        "{}\n\nThis secret verifies signatures, and is shown only now:\n\n{}",
        show(&made.webhook),
        made.secret
    )
}

fn show_page(page: &DeliveryPage) -> String {
    table::page(&show_deliveries(&page.deliveries), page.next.as_ref())
}

fn show_deliveries(deliveries: &[Delivery]) -> String {
    let row = |one: &Delivery| {
        [
            one.number.to_string(),
            one.kind.clone(),
            one.subject.clone(),
            one.state.name().to_owned(),
            one.attempts.to_string(),
            or_dash(one.next),
            one.answer.clone(),
        ]
    };
    let rows: Vec<_> = deliveries.iter().map(row).collect();
    table(
        [
            "NUMBER", "EVENT", "SUBJECT", "STATE", "ATTEMPTS", "NEXT", "ANSWER",
        ],
        &rows,
    )
}
