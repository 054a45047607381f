//! Keys for separate processes: `sealcast keys` runs the authority behind a Unix socket; `send` and `receive` connect to it.
//!
//! Private by file mode 0600; a path works across network namespaces. Messages are those of
//! [`sealcast_proto::wire::link`], each behind its length. Node link and key door will take this room's place.

mod frame;
mod hub;
mod server;

pub use hub::Hub;
pub use server::{KeyServer, KeyServerConfig};
