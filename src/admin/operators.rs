//! Operators, and what needs a second one.

use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{
    Approval, ApprovalPage, ApprovalRules, ApprovalState, Grant, GrantKind, Granted, NamedLicence,
    NamedOperator, NamedRestore, NewCode, Operator, OperatorRole, PutOperator, SetStanding,
    Standing,
};
use sealcast_objects::id::{ApprovalId, Text};
use sealcast_objects::licence::Subject;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_terminal::https::RequestError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::nodes::validity;
use super::{Api, Done};
use crate::table::{Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum OperatorCommand {
    /// Shows them
    List,
    /// Adds one and shows a code with which he enrols
    Add {
        /// The name
        name: String,
        #[command(flatten)]
        may: May,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Says anew what one may do
    Set {
        /// The name
        name: String,
        #[command(flatten)]
        may: May,
    },
    /// Shows a new code for one who has not enrolled yet
    Code {
        /// The name
        name: String,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Makes one enrol anew who lost his identity: his key counts no more; shows a code
    Anew {
        /// The name
        name: String,
        /// How long the code counts [default: 24h]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        valid: Option<Duration>,
    },
    /// Stops one for a while
    Suspend {
        /// The name
        name: String,
    },
    /// Lets one act again
    Resume {
        /// The name
        name: String,
    },
    /// Stops one for ever
    Revoke {
        /// The name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct May {
    /// What he is there for: owner, operator, support, auditor, shop, insurer
    #[arg(long, default_value = "operator", value_parser = role)]
    role: OperatorRole,
    /// How many rights, licences and transfers he may give in a day (UTC) [default: any number]
    #[arg(long, value_name = "COUNT")]
    grants_per_day: Option<u32>,
}

fn role(name: &str) -> Result<OperatorRole, String> {
    OperatorRole::from_name(name).ok_or_else(|| names(&OperatorRole::ALL.map(OperatorRole::name)))
}

fn kind(name: &str) -> Result<GrantKind, String> {
    GrantKind::from_name(name).ok_or_else(|| names(&GrantKind::ALL.map(GrantKind::name)))
}

fn names(names: &[&str]) -> String {
    format!("one of {}", names.join(", "))
}

impl From<&May> for PutOperator {
    fn from(may: &May) -> Self {
        Self {
            role: may.role,
            grants_per_day: may.grants_per_day,
            anew: false,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ApprovalCommand {
    /// Shows what waits for a second person
    List {
        /// What was decided and what expired, too
        #[arg(long)]
        all: bool,
    },
    /// Shows one of these
    Show {
        /// Which
        approval: Text<ApprovalId>,
    },
    /// Approves, as a second person: then it is done
    Approve {
        /// Which
        approval: Text<ApprovalId>,
    },
    /// Refuses; whoever asked may take it back
    Refuse {
        /// Which
        approval: Text<ApprovalId>,
    },
    /// Shows which kinds need a second person; with kinds or --none: says anew
    Rules {
        /// right, transfer, operator
        #[arg(value_name = "KIND", value_parser = kind)]
        kinds: Vec<GrantKind>,
        /// None does
        #[arg(long, conflicts_with = "kinds")]
        none: bool,
    },
}

impl Api {
    /// Asks for something that may need a second person, and shows what came of it.
    pub(super) fn give<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        body: &impl Serialize,
        text: impl FnOnce(&T) -> String,
    ) -> Done {
        let granted: Granted<T> = self.call(Method::PUT, path, Some(body))?;
        self.show_granted(&granted, text);
        Ok(())
    }

    fn show_granted<T: Serialize>(&self, granted: &Granted<T>, text: impl FnOnce(&T) -> String) {
        self.show(granted, |granted| match granted {
            Granted::Done(done) => text(done),
            Granted::Waits(approval) => format!(
                "{id} waits for a second person until {until}\n\n  sealcast admin approval approve {id}",
                id = approval.id,
                until = approval.until
            ),
        });
    }
}

pub(super) fn run(api: &Api, command: &OperatorCommand) -> Done {
    let set = |name: &str, standing| {
        let path = format!("/v1/operators/{name}");
        let operator: Operator = api.call(Method::PATCH, &path, Some(&SetStanding { standing }))?;
        api.show(&operator, |operator| show(std::slice::from_ref(operator)));
        Ok(())
    };
    let one = |operator: &Operator| show(std::slice::from_ref(operator));
    match command {
        OperatorCommand::List => {
            let operators: Vec<Operator> = api.get("/v1/operators")?;
            api.show(&operators, |operators| show(operators));
            Ok(())
        }
        OperatorCommand::Add { name, may, valid } => add(api, name, may, *valid),
        OperatorCommand::Set { name, may } => {
            let path = format!("/v1/operators/{name}");
            api.give(&path, &PutOperator::from(may), one)
        }
        OperatorCommand::Code { name, valid } => code(api, name, *valid),
        OperatorCommand::Anew { name, valid } => anew(api, name, *valid),
        OperatorCommand::Suspend { name } => set(name, Standing::Suspended),
        OperatorCommand::Resume { name } => set(name, Standing::Active),
        OperatorCommand::Revoke { name } => set(name, Standing::Revoked),
    }
}

fn add(api: &Api, name: &str, may: &May, valid: Option<Duration>) -> Done {
    let known: Vec<Operator> = api.get("/v1/operators")?;
    if known.iter().any(|known| known.name == name) {
        let why = format!(
            "there is an operator {name}: `operator set` says anew what he may do, `operator anew` lets him enrol again"
        );
        return Err(RequestError::Refused(Problem::new(Kind::Conflict, why)));
    }
    put_and_code(api, name, PutOperator::from(may), valid)
}

fn anew(api: &Api, name: &str, valid: Option<Duration>) -> Done {
    let known: Vec<Operator> = api.get("/v1/operators")?;
    let Some(known) = known.into_iter().find(|known| known.name == name) else {
        let why = format!("there is no operator {name}: `operator add` adds one");
        return Err(RequestError::Refused(Problem::new(Kind::NotFound, why)));
    };
    let put = PutOperator {
        role: known.role,
        grants_per_day: known.grants_per_day,
        anew: true,
    };
    put_and_code(api, name, put, valid)
}

fn put_and_code(api: &Api, name: &str, put: PutOperator, valid: Option<Duration>) -> Done {
    let path = format!("/v1/operators/{name}");
    let granted: Granted<Operator> = api.call(Method::PUT, &path, Some(&put))?;
    match granted {
        Granted::Done(_) => code(api, name, valid),
        // His code is for later, when a second person has approved: `operator code`.
        Granted::Waits(_) => {
            api.show_granted(&granted, |operator| show(std::slice::from_ref(operator)));
            Ok(())
        }
    }
}

fn code(api: &Api, name: &str, valid: Option<Duration>) -> Done {
    let path = format!("/v1/operators/{name}/code{}", validity(valid));
    let code: NewCode = api.call(Method::POST, &path, None::<&()>)?;
    api.show_code("operator", "operator", &code);
    Ok(())
}

fn show(operators: &[Operator]) -> String {
    let row = |operator: &Operator| {
        [
            operator.name.clone(),
            operator.role.name().to_owned(),
            operator.standing.name().to_owned(),
            or_dash(operator.grants_per_day),
        ]
    };
    let rows: Vec<_> = operators.iter().map(row).collect();
    table(["OPERATOR", "ROLE", "STANDING", "GRANTS A DAY"], &rows)
}

pub(super) fn approvals(api: &Api, command: &ApprovalCommand) -> Done {
    let decide = |id: &Text<ApprovalId>, what: &str| {
        let path = format!("/v1/approvals/{id}/{what}");
        let approval: Approval = api.call(Method::POST, &path, None::<&()>)?;
        api.show(&approval, |approval| {
            show_approvals(std::slice::from_ref(approval))
        });
        Ok(())
    };
    match command {
        ApprovalCommand::List { all } => {
            let found = list(api, *all)?;
            api.show(&found, |found| show_approvals(found));
            Ok(())
        }
        ApprovalCommand::Show { approval } => {
            let approval: Approval = api.get(&format!("/v1/approvals/{approval}"))?;
            api.show(&approval, |approval| {
                show_approvals(std::slice::from_ref(approval))
            });
            Ok(())
        }
        ApprovalCommand::Approve { approval } => decide(approval, "approve"),
        ApprovalCommand::Refuse { approval } => decide(approval, "refuse"),
        ApprovalCommand::Rules { kinds, none } if *none || !kinds.is_empty() => {
            let rules = ApprovalRules {
                second_person: kinds.clone(),
            };
            api.give("/v1/approval-rules", &rules, show_rules)
        }
        ApprovalCommand::Rules { .. } => {
            let rules: ApprovalRules = api.get("/v1/approval-rules")?;
            api.show(&rules, show_rules);
            Ok(())
        }
    }
}

fn list(api: &Api, all: bool) -> Result<Vec<Approval>, RequestError> {
    let (mut found, mut part) = (Vec::new(), Page::default());
    loop {
        let page: ApprovalPage = api.get(&part.of("/v1/approvals", &[]))?;
        let wanted = |approval: &Approval| all || approval.state == ApprovalState::Open;
        found.extend(page.approvals.into_iter().filter(wanted));
        match page.next {
            Some(next) => part.after = Some(next),
            None => return Ok(found),
        }
    }
}

fn show_rules(rules: &ApprovalRules) -> String {
    match rules.second_person.as_slice() {
        [] => "nothing needs a second person".to_owned(),
        kinds => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            format!("a second person is needed for: {}", kinds.join(", "))
        }
    }
}

fn show_approvals(approvals: &[Approval]) -> String {
    let row = |approval: &Approval| {
        let state = match approval.state {
            ApprovalState::Open => format!("open until {}", approval.until),
            ApprovalState::Approved => "approved".to_owned(),
            ApprovalState::Refused => "refused".to_owned(),
            ApprovalState::Expired => "expired".to_owned(),
        };
        [
            approval.id.to_string(),
            what(&approval.grant),
            approval.asked_by.clone(),
            approval.reason.clone(),
            state,
        ]
    };
    let rows: Vec<_> = approvals.iter().map(row).collect();
    table(["APPROVAL", "WHAT", "ASKED BY", "REASON", "STATE"], &rows)
}

fn what(grant: &Grant) -> String {
    match grant {
        Grant::Right(new) => format!("right of {} to channel {}", new.device, new.channel),
        Grant::Licence(NamedLicence { id, give }) => {
            let subject = Subject::from(give.subject);
            format!("licence {id} of {} for {subject}", give.device)
        }
        Grant::Restore(NamedRestore { id, restore }) => {
            format!("{id} for {} licences again", restore.granted)
        }
        Grant::Transfer(named) => format!("transfer {}", named.id),
        Grant::Operator(NamedOperator { name, put }) => {
            let anew = if put.anew { ", to enrol anew" } else { "" };
            format!("operator {name} as {}{anew}", put.role.name())
        }
        Grant::Rules(rules) => show_rules(rules),
    }
}
