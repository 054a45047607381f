//! The tables, as migrations that only go forward. Written for SQLite in words that PostgreSQL knows but for column types, which its
//! driver translates: `INTEGER`, `BLOB`, `TEXT`, and `STRICT` or `STRICT, WITHOUT ROWID` at the end of a table.

/// One step. Steps are never changed once released.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// File name without its ending: `V`, number, two underscores, name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// All steps, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "V1__key_server",
        sql: include_str!("../migrations/V1__key_server.sql"),
    },
    Migration {
        name: "V2__interop",
        sql: include_str!("../migrations/V2__interop.sql"),
    },
    Migration {
        name: "V3__slaves",
        sql: include_str!("../migrations/V3__slaves.sql"),
    },
    Migration {
        name: "V4__usage",
        sql: include_str!("../migrations/V4__usage.sql"),
    },
    Migration {
        name: "V5__ledger",
        sql: include_str!("../migrations/V5__ledger.sql"),
    },
    Migration {
        name: "V6__audit",
        sql: include_str!("../migrations/V6__audit.sql"),
    },
    Migration {
        name: "V7__approvals",
        sql: include_str!("../migrations/V7__approvals.sql"),
    },
    Migration {
        name: "V8__catalogue",
        sql: include_str!("../migrations/V8__catalogue.sql"),
    },
    Migration {
        name: "V9__identities",
        sql: include_str!("../migrations/V9__identities.sql"),
    },
    Migration {
        name: "V10__webhooks",
        sql: include_str!("../migrations/V10__webhooks.sql"),
    },
    Migration {
        name: "V11__oidc",
        sql: include_str!("../migrations/V11__oidc.sql"),
    },
    Migration {
        name: "V12__licences",
        sql: include_str!("../migrations/V12__licences.sql"),
    },
    Migration {
        name: "V13__sales",
        sql: include_str!("../migrations/V13__sales.sql"),
    },
    Migration {
        name: "V14__billing",
        sql: include_str!("../migrations/V14__billing.sql"),
    },
    Migration {
        name: "V15__shares",
        sql: include_str!("../migrations/V15__shares.sql"),
    },
    Migration {
        name: "V16__reserved_usage",
        sql: include_str!("../migrations/V16__reserved_usage.sql"),
    },
    Migration {
        name: "V17__clustered_usage",
        sql: include_str!("../migrations/V17__clustered_usage.sql"),
    },
    Migration {
        name: "V18__cards",
        sql: include_str!("../migrations/V18__cards.sql"),
    },
    Migration {
        name: "V19__auth_level",
        sql: include_str!("../migrations/V19__auth_level.sql"),
    },
    Migration {
        name: "V20__key_blocks",
        sql: include_str!("../migrations/V20__key_blocks.sql"),
    },
    Migration {
        name: "V21__resellers",
        sql: include_str!("../migrations/V21__resellers.sql"),
    },
];
