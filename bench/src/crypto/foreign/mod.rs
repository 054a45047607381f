//! C libraries that are found when the benches run, so that none is needed to build them.

mod ipsec_mb;
mod openssl;

pub(crate) use ipsec_mb::IpsecMb;
pub(crate) use openssl::OpenSsl;
