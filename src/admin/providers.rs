//! Providers, as an operator keeps them.

use reqwest::Method;
use sealcast_objects::ProviderId;
use sealcast_objects::api::{ChangeProvider, NewProvider, Provider, Standing};
use sealcast_objects::id::Text;

use super::devices::parse_id;
use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum ProviderCommand {
    /// Lists the providers
    List,
    /// Shows a provider
    Show {
        /// Which
        #[arg(value_parser = parse_id::<ProviderId>)]
        provider: Text<ProviderId>,
    },
    /// Adds a provider
    Add {
        /// For people
        name: String,
    },
    /// Gives it another name
    Rename {
        /// Which
        #[arg(value_parser = parse_id::<ProviderId>)]
        provider: Text<ProviderId>,
        /// For people
        name: String,
    },
    /// Nothing is added to its contents, and devices get none of them, for a while
    Suspend {
        /// Which
        #[arg(value_parser = parse_id::<ProviderId>)]
        provider: Text<ProviderId>,
    },
    /// Lets it supply again
    Resume {
        /// Which
        #[arg(value_parser = parse_id::<ProviderId>)]
        provider: Text<ProviderId>,
    },
}

pub(super) fn run(api: &Api, command: &ProviderCommand) -> Done {
    let one = |provider: &Provider| show(std::slice::from_ref(provider));
    let set = |id: &Text<ProviderId>, change: ChangeProvider| {
        let path = format!("/v1/providers/{id}");
        let provider: Provider = api.call(Method::PATCH, &path, Some(&change))?;
        api.show(&provider, one);
        Ok(())
    };
    let standing = |standing| ChangeProvider {
        standing: Some(standing),
        ..ChangeProvider::default()
    };
    match command {
        ProviderCommand::List => {
            let providers: Vec<Provider> = api.get("/v1/providers")?;
            api.show(&providers, |providers| show(providers));
            Ok(())
        }
        ProviderCommand::Show { provider } => {
            let provider: Provider = api.get(&format!("/v1/providers/{provider}"))?;
            api.show(&provider, one);
            Ok(())
        }
        ProviderCommand::Add { name } => {
            let new = NewProvider { name: name.clone() };
            let provider: Provider = api.call(Method::POST, "/v1/providers", Some(&new))?;
            api.show(&provider, one);
            Ok(())
        }
        ProviderCommand::Rename { provider, name } => {
            let change = ChangeProvider {
                name: Some(name.clone()),
                ..ChangeProvider::default()
            };
            set(provider, change)
        }
        ProviderCommand::Suspend { provider } => set(provider, standing(Standing::Suspended)),
        ProviderCommand::Resume { provider } => set(provider, standing(Standing::Active)),
    }
}

fn show(providers: &[Provider]) -> String {
    let row = |provider: &Provider| {
        [
            provider.id.to_string(),
            provider.standing.name().to_owned(),
            provider.added.to_string(),
            provider.name.clone(),
        ]
    };
    let rows: Vec<_> = providers.iter().map(row).collect();
    table(["PROVIDER", "STANDING", "ADDED", "NAME"], &rows)
}
