//! Billing: what accounts are charged for a month (MD-33, MD-34, MV-23, MV-24, SEC-34).
//!
//! ```text
//!   usage files --> rows of days --+
//!   licences of devices -----------+--> month is closed --> compute (pure) --> bill --> ledger
//!   charges, purchases in books ---+        |
//!                                           +--> what comes later of it counts for the next month
//! ```
//!
//! A month that is closed never changes: its rows, the bytes of its epochs, its charges and its transfers stay as they are, so that its bills
//! can be computed again at any time, and come out the same, byte for byte.
//!
//! | file | what |
//! |---|---|
//! | `tariffs.rs` | what costs what, and which account has which |
//! | `charges.rs` | what goes on a bill besides what was counted |
//! | `compute.rs` | a bill, from what it is made of (pure) |
//! | `months.rs` | months that are closed |
//! | `bills.rs` | bills that are made and booked |
//! | `verify.rs` | all bills, computed again |
//! | `owed.rs` | bills with what is still to be paid, and reminders |
//! | `reserved.rs` | what was used and is not billed yet, reserved in balances |
//! | `money.rs` | what an account has, may and owes |

pub mod bills;
pub mod charges;
pub mod compute;
pub mod money;
pub mod months;
pub mod owed;
pub mod reserved;
pub mod tariffs;
mod verify;

use sealcast_objects::id::Id as _;
use sealcast_objects::month::Month;
use sealcast_objects::{AccountId, BillId};

use crate::ledger::hash;
pub use verify::{Fault, verify};

/// The bill of an account for a month.
#[must_use]
pub fn bill_id(account: AccountId, month: Month) -> BillId {
    BillId(hash(&["bill", &account.text(), &month.to_string()]))
}
