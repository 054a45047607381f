//! Accounts, who stands behind them, and how that person logs in.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::AccountId;
use sealcast_objects::api::{
    Account, AccountPage, Customer, Login, NewAccount, NewCode, NewLogin, Recovery, SetStanding,
    Standing,
};
use sealcast_objects::id::Text;

use super::devices::{parse_id, show_recoveries};
use super::nodes::validity;
use super::{Api, Done};
use crate::table::{self, Page};

#[derive(Debug, clap::Subcommand)]
pub(super) enum AccountCommand {
    /// Lists the accounts
    List(Page),
    /// Shows an account
    Show(OfAccount),
    /// Adds an account
    Add {
        /// For people
        name: String,
    },
    /// Stops all devices of one, and logs its person out
    Suspend(OfAccount),
    /// Lets them act again
    Resume(OfAccount),
    /// Closes one for ever
    Close(OfAccount),
    /// Gives a person a name to log in with, and shows a code with which the password is set, or an identity at a provider linked
    Login {
        #[command(flatten)]
        of: OfAccount,
        /// The name: an e-mail address, say
        name: String,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Shows how the person of one logs in: name, password, identity at a provider; with --unlink: the identity counts no more
    Identity {
        #[command(flatten)]
        of: OfAccount,
        /// Removes the link, and logs the person out
        #[arg(long)]
        unlink: bool,
    },
    /// Shows who stands behind one; with --name: says it anew; with --erase: erases it
    Customer {
        #[command(flatten)]
        of: OfAccount,
        #[command(flatten)]
        customer: CustomerArgs,
        /// Erases what is known
        #[arg(long, conflicts_with = "name")]
        erase: bool,
    },
    /// Shows what takes the place of lost devices
    Recoveries(OfAccount),
}

/// An account.
#[derive(Debug, clap::Args)]
pub(super) struct OfAccount {
    /// Which
    #[arg(value_parser = parse_id::<AccountId>)]
    account: Text<AccountId>,
}

/// Who stands behind an account.
#[derive(Debug, clap::Args)]
pub(super) struct CustomerArgs {
    /// The person or company
    #[arg(long)]
    name: Option<String>,
    /// Where mail reaches them
    #[arg(long, requires = "name", default_value = "", hide_default_value = true)]
    email: String,
    /// A telephone
    #[arg(long, requires = "name", default_value = "", hide_default_value = true)]
    phone: String,
    /// Street, town
    #[arg(long, requires = "name", default_value = "", hide_default_value = true)]
    address: String,
    /// Two capital letters (ISO 3166-1)
    #[arg(long, requires = "name", default_value = "", hide_default_value = true)]
    country: String,
    /// Anything else
    #[arg(long, requires = "name", default_value = "", hide_default_value = true)]
    note: String,
}

impl CustomerArgs {
    fn customer(&self) -> Option<Customer> {
        Some(Customer {
            name: self.name.clone()?,
            email: self.email.clone(),
            phone: self.phone.clone(),
            address: self.address.clone(),
            country: self.country.clone(),
            note: self.note.clone(),
        })
    }
}

pub(super) fn run(api: &Api, command: &AccountCommand) -> Done {
    let set = |of: &OfAccount, standing| {
        let path = format!("/v1/accounts/{}", of.account);
        let account: Account = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&account, |account| show(std::slice::from_ref(account)));
        Ok(())
    };
    match command {
        AccountCommand::List(page) => {
            let page: AccountPage = api.get(&page.of("/v1/accounts", &[]))?;
            api.show(&page, |page| {
                table::page(&show(&page.accounts), page.next.as_ref())
            });
            Ok(())
        }
        AccountCommand::Show(of) => {
            let account: Account = api.get(&format!("/v1/accounts/{}", of.account))?;
            api.show(&account, |account| show(std::slice::from_ref(account)));
            Ok(())
        }
        AccountCommand::Add { name } => {
            let new = NewAccount { name: name.clone() };
            let account: Account = api.call(Method::POST, "/v1/accounts", Some(&new))?;
            api.show(&account, |account| show(std::slice::from_ref(account)));
            Ok(())
        }
        AccountCommand::Suspend(of) => set(of, Standing::Suspended),
        AccountCommand::Resume(of) => set(of, Standing::Active),
        AccountCommand::Close(of) => set(of, Standing::Revoked),
        AccountCommand::Login { of, name, valid } => login(api, of, name, *valid),
        AccountCommand::Identity { of, unlink } => identity(api, of, *unlink),
        AccountCommand::Customer {
            of,
            customer,
            erase,
        } => show_customer(api, of, customer.customer().as_ref(), *erase),
        AccountCommand::Recoveries(of) => {
            let found: Vec<Recovery> =
                api.get(&format!("/v1/accounts/{}/recoveries", of.account))?;
            api.show(&found, |found| show_recoveries(found));
            Ok(())
        }
    }
}

fn show(accounts: &[Account]) -> String {
    let row = |account: &Account| {
        [
            account.id.to_string(),
            account.name.clone(),
            account.standing.name().to_owned(),
            account.rights_version.to_string(),
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    table::table(["ACCOUNT", "NAME", "STANDING", "RIGHTS"], &rows)
}

fn login(api: &Api, of: &OfAccount, name: &str, valid: Option<Duration>) -> Done {
    let path = format!("/v1/accounts/{}/login{}", of.account, validity(valid));
    let new = NewLogin {
        name: name.to_owned(),
    };
    let code: NewCode = api.call(Method::POST, &path, Some(&new))?;
    api.show(&code, |code| {
        format!(
            "{} logs in to {}\nThis code sets the password, or links an identity, once, until {}, and is shown only now:\n\n{}",
            code.subject, of.account, code.until, code.code
        )
    });
    Ok(())
}

fn identity(api: &Api, of: &OfAccount, unlink: bool) -> Done {
    let path = format!("/v1/accounts/{}/login", of.account);
    if unlink {
        return api.call(Method::DELETE, &format!("{path}/oidc"), None::<&()>);
    }
    let login: Login = api.get(&path)?;
    api.show(&login, |login| {
        let password = if login.password { "set" } else { "none" };
        let mut lines = vec![
            format!("name     {}", login.name),
            format!("password {password}"),
        ];
        lines.extend(login.identities.iter().map(|one| {
            let (subject, issuer, since) = (&one.subject, &one.issuer, one.since);
            format!("identity {subject} at {issuer}, since {since}")
        }));
        lines.join("\n")
    });
    Ok(())
}

fn show_customer(api: &Api, of: &OfAccount, new: Option<&Customer>, erase: bool) -> Done {
    let path = format!("/v1/accounts/{}/customer", of.account);
    if erase {
        return api.call(Method::DELETE, &path, None::<&()>);
    }
    let customer: Customer = match new {
        Some(new) => api.call(Method::PUT, &path, Some(new))?,
        None => api.get(&path)?,
    };
    api.show(&customer, |customer| {
        let parts = [
            ("name", &customer.name),
            ("email", &customer.email),
            ("phone", &customer.phone),
            ("address", &customer.address),
            ("country", &customer.country),
            ("note", &customer.note),
        ];
        let known = parts.iter().filter(|(_, part)| !part.is_empty());
        let lines: Vec<_> = known
            .map(|(name, part)| format!("{name:8} {part}"))
            .collect();
        lines.join("\n")
    });
    Ok(())
}
