//! Record files that are checked once, then read where they lie by every core.

/// A type that owns a mapped file of this kind of records, and knows where they lie: `try_new`, `borrow_dependent`.
macro_rules! mapped_records {
    ($name:ident, $kind:ty) => {
        type Records<'a> = sealcast_proto::records::RecordFile<'a, $kind>;

        self_cell::self_cell!(
            /// A file, and where its records lie.
            struct $name {
                owner: sealcast_net::FileMap,
                #[covariant]
                dependent: Records,
            }
        );
    };
}

pub(crate) use mapped_records;
