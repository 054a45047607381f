//! What nodes say to an authority, as bytes to be mutated: the link's own encoding is elsewhere.

use sealcast_crypto::{EpochRoot, VerifyingKey};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::link::{
    Deposit, Early, Held, Hello, Mode, NumberWanted, Ping, Report, Sent, ToAuthority,
};

/// Something to be mutated.
trait Plain: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(input: &mut &[u8]) -> Option<Self>;
}

macro_rules! as_on_the_wire {
    ($($name:ty),* $(,)?) => {$(
        impl Plain for $name {
            fn write(&self, out: &mut Vec<u8>) {
                self.encode(out);
            }
            fn read(input: &mut &[u8]) -> Option<Self> {
                Self::decode(input).ok()
            }
        }
    )*};
}
as_on_the_wire!(
    bool,
    u8,
    u64,
    ChannelId,
    Epoch,
    EpochRoot,
    GroupId,
    Lane,
    Remaining,
    RunId,
    ServerId,
    Term,
    Vec<u8>,
    VerifyingKey,
);

impl Plain for Time {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    fn read(input: &mut &[u8]) -> Option<Self> {
        u64::read(input).map(Self)
    }
}

impl<T: Plain> Plain for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        self.iter().for_each(|value| value.write(out));
    }
    fn read(input: &mut &[u8]) -> Option<Self> {
        Some(if bool::read(input)? {
            Some(T::read(input)?)
        } else {
            None
        })
    }
}

macro_rules! fields {
    ($name:ident { $($field:ident),* }) => {
        impl Plain for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $( self.$field.write(out); )*
            }
            fn read(input: &mut &[u8]) -> Option<Self> {
                Some(Self { $( $field: Plain::read(input)?, )* })
            }
        }
    };
}

/// A byte that names the variant.
macro_rules! variants {
    ($name:ident { $($code:literal => $variant:ident),* }) => {
        impl Plain for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.push(match self { $( Self::$variant => $code, )* });
            }
            fn read(input: &mut &[u8]) -> Option<Self> {
                match u8::read(input)? {
                    $( $code => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }
    };
}

variants!(Mode { 1 => DeliveryServer, 2 => Authority });
variants!(Early { 1 => Limit, 2 => Numbers, 3 => Operator });
fields!(Hello {
    server,
    key,
    term,
    other_master
});
fields!(Ping { echo });
fields!(Held {
    epoch,
    term,
    group,
    first_lane,
    remaining
});
fields!(Sent { packets, bytes });
fields!(Report {
    channel,
    run,
    spare,
    mode,
    lanes,
    current,
    next,
    notice,
    wants_next,
    early,
    new_group,
    sent
});
fields!(NumberWanted {
    channel,
    run,
    at_once
});
fields!(Deposit {
    channel,
    run,
    epoch,
    root,
    remaining,
    at_once
});

/// The message as bytes.
pub fn written(message: &ToAuthority) -> Vec<u8> {
    let code = match message {
        ToAuthority::Hello(_) => 1,
        ToAuthority::Ping(_) => 2,
        ToAuthority::Report(_) => 3,
        ToAuthority::NumberWanted(_) => 4,
        ToAuthority::Deposit(_) => 5,
    };
    let mut out = vec![code];
    match message {
        ToAuthority::Hello(hello) => hello.write(&mut out),
        ToAuthority::Ping(ping) => ping.write(&mut out),
        ToAuthority::Report(report) => report.write(&mut out),
        ToAuthority::NumberWanted(wanted) => wanted.write(&mut out),
        ToAuthority::Deposit(deposit) => deposit.write(&mut out),
    }
    out
}

/// The message that these bytes are, if any.
pub fn read(bytes: &[u8]) -> Option<ToAuthority> {
    let (code, mut body) = bytes.split_first()?;
    let input = &mut body;
    let message = match code {
        1 => ToAuthority::Hello(Plain::read(input)?),
        2 => ToAuthority::Ping(Plain::read(input)?),
        3 => ToAuthority::Report(Plain::read(input)?),
        4 => ToAuthority::NumberWanted(Plain::read(input)?),
        5 => ToAuthority::Deposit(Plain::read(input)?),
        _ => return None,
    };
    input.is_empty().then_some(message)
}
