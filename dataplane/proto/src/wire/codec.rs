//! Reading and writing of control datagrams and link messages: big-endian, fixed order, no padding.

use sealcast_crypto::{Commitment, EpochRoot, Signature, VerifyingKey};
use zeroize::Zeroizing;

use crate::ids::{
    AccountId, ChannelId, DeviceId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, SessionId,
    Term,
};

/// Bytes that are no message: too short, too long, or a value that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// Something with a fixed encoding.
pub trait Wire: Sized {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the encoding off the front of `input`.
    ///
    /// # Errors
    /// [`Malformed`] when `input` is too short or holds a value that cannot be.
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed>;

    /// Appends the encodings of a list, without its length.
    fn encode_list(list: &[Self], out: &mut Vec<u8>) {
        list.iter().for_each(|element| element.encode(out));
    }

    /// Takes `count` encodings off the front of `input`; memory grows only as elements are really read.
    ///
    /// # Errors
    /// As [`Wire::decode`].
    fn decode_list(count: usize, input: &mut &[u8]) -> Result<Vec<Self>, Malformed> {
        (0..count).map(|_| Self::decode(input)).collect()
    }

    /// Decodes the whole of `input`.
    ///
    /// # Errors
    /// [`Malformed`] as [`Wire::decode`], and when bytes are left over.
    fn decode_all(mut input: &[u8]) -> Result<Self, Malformed> {
        let value = Self::decode(&mut input)?;
        if input.is_empty() {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }
}

/// Takes `N` bytes off the front of `input`.
pub(crate) fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = input.split_first_chunk::<N>().ok_or(Malformed)?;
    *input = tail;
    Ok(*head)
}

/// Takes a byte string off the front of `input`: its length (u16), then itself.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = u16::decode(input)?;
    take_slice(len.into(), input)
}

fn take_slice<'a>(len: usize, input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (head, tail) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = tail;
    Ok(head)
}

impl Wire for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        take(input).map(|[byte]| byte)
    }
    fn encode_list(list: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(list);
    }
    fn decode_list(count: usize, input: &mut &[u8]) -> Result<Vec<Self>, Malformed> {
        take_slice(count, input).map(<[Self]>::to_vec)
    }
}

macro_rules! wire_int {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
                take(input).map(Self::from_be_bytes)
            }
        }
    )*};
}
wire_int!(u16, u32, u64);

macro_rules! wire_newtype {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
                Wire::decode(input).map(Self)
            }
        }
    )*};
}
wire_newtype!(
    AccountId, ChannelId, DeviceId, Epoch, GroupId, Remaining, RunId, ServerId, SessionId
);

/// The encoding of a struct is that of its fields in the order given.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::codec::Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::wire::codec::Wire::encode(&self.$field, out); )*
            }
            fn decode(input: &mut &[u8]) -> Result<Self, $crate::wire::codec::Malformed> {
                Ok(Self { $( $field: $crate::wire::codec::Wire::decode(input)? ),* })
            }
        }
    };
}
pub(crate) use wire_struct;

/// The encoding of an enum without fields is one byte.
macro_rules! wire_code {
    ($name:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        impl $crate::wire::codec::Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(match self { $( Self::$variant => $code ),* });
            }
            fn decode(input: &mut &[u8]) -> Result<Self, $crate::wire::codec::Malformed> {
                match <u8 as $crate::wire::codec::Wire>::decode(input)? {
                    $( $code => Ok(Self::$variant), )*
                    _ => Err($crate::wire::codec::Malformed),
                }
            }
        }
    };
}
pub(crate) use wire_code;

wire_struct!(Term { number, instance });

impl Wire for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Wire for Lane {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.number());
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        Self::new(u8::decode(input)?).ok_or(Malformed)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(if bool::decode(input)? {
            Some(T::decode(input)?)
        } else {
            None
        })
    }
}

/// At most 65,535 elements.
impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        u16::try_from(self.len())
            .expect("our own lists are short")
            .encode(out);
        T::encode_list(self, out);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let count = u16::decode(input)?;
        T::decode_list(count.into(), input)
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        take(input)
    }
}

macro_rules! wire_bytes {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }
            fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
                take(input).map(Self::from_bytes)
            }
        }
    )*};
}
wire_bytes!(Commitment, Signature, VerifyingKey);

impl Wire for EpochRoot {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let bytes = Zeroizing::new(take(input)?);
        Ok(Self::from_bytes(*bytes))
    }
}
