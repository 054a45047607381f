//! What a request of an operator needs, as types: each handler says it in its signature.

use sealcast_objects::api::Permit;

/// A permit that a handler asks for.
pub(super) trait Needed: Send + Sync + 'static {
    /// Which; none: any operator.
    const PERMIT: Option<Permit>;
}

macro_rules! needed {
    ($($name:ident),*) => {$(
        #[doc = concat!("[`Permit::", stringify!($name), "`].")]
        pub(super) struct $name;
        impl Needed for $name {
            const PERMIT: Option<Permit> = Some(Permit::$name);
        }
    )*};
}
needed!(
    ReadPlant,
    RunPlant,
    ReadCustomers,
    Care,
    Grant,
    ReadLedger,
    Bookkeep,
    ReadSales,
    Settle,
    ReadShares,
    ReadCatalogue,
    Curate,
    ReadAudit,
    Rule
);

/// Any operator: the handler asks for more when it knows what is to be done.
pub(super) struct Any;

impl Needed for Any {
    const PERMIT: Option<Permit> = None;
}
