//! The layout hash: names, types, sizes and places of a record's fields as they are archived, computed by the compiler. A file
//! says it in its header, so a record that was changed since is refused and never read as something else.

/// A type with a layout hash.
pub trait LaidOut {
    /// FNV-1a (64 bits) over the layout. It guards against mistakes, not against forgers.
    const LAYOUT: u64;
}

pub(super) const START: u64 = 0xcbf2_9ce4_8422_2325;

pub(super) const fn number(mut hash: u64, mut value: u64) -> u64 {
    let mut bytes = 0;
    while bytes < 8 {
        hash = (hash ^ (value & 0xFF)).wrapping_mul(0x0100_0000_01b3);
        value >>= 8;
        bytes += 1;
    }
    hash
}

pub(super) const fn name(mut hash: u64, name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    // Where a name ends is part of it.
    number(hash, bytes.len() as u64)
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl LaidOut for $type {
            const LAYOUT: u64 = number(name(START, stringify!($type)), size_of::<rkyv::Archived<Self>>() as u64);
        }
    )*};
}
plain!(u8, u16, u32, u64, i64, [u8; 16]);

/// Defines a struct that is archived, and its layout.
macro_rules! record {
    ($(#[$doc:meta])* $struct:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[rkyv(derive(Debug))]
        pub struct $struct {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl LaidOut for $struct {
            const LAYOUT: u64 = {
                let hash = layout::name(layout::START, stringify!($struct));
                let hash = layout::number(hash, size_of::<rkyv::Archived<Self>>() as u64);
                $(
                    let hash = layout::name(hash, stringify!($field));
                    let hash = layout::number(hash, std::mem::offset_of!(rkyv::Archived<Self>, $field) as u64);
                    let hash = layout::number(hash, <$type as LaidOut>::LAYOUT);
                )+
                hash
            };
        }
    };
}

/// Defines an enum of one byte that is archived, and its layout.
macro_rules! choice {
    ($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[rkyv(derive(Debug))]
        #[repr(u8)]
        pub enum $enum {
            $($(#[$variant_doc])* $variant = $value,)+
        }

        impl $enum {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl LaidOut for $enum {
            const LAYOUT: u64 = {
                let hash = layout::name(layout::START, stringify!($enum));
                let hash = layout::number(hash, size_of::<rkyv::Archived<Self>>() as u64);
                $(
                    let hash = layout::name(hash, stringify!($variant));
                    let hash = layout::number(hash, $value);
                )+
                hash
            };
        }
    };
}

pub(super) use {choice, record};
