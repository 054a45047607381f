//! Boxes that tell a player which key it needs (`pssh`, ISO/IEC 23001-7 8.1).

use prost::Message;
use sealcast_domain::cenc::KID_LEN;

/// The common system: version 1 boxes that name keys and nothing else (W3C, "cenc" initialization data format).
pub(super) const COMMON: [u8; 16] = [
    0x10, 0x77, 0xef, 0xec, 0xc0, 0xb2, 0x4d, 0x02, 0xac, 0xe3, 0x3c, 0x1e, 0x52, 0xe2, 0xfb, 0x4b,
];
/// Widevine.
pub(super) const WIDEVINE: [u8; 16] = [
    0xed, 0xef, 0x8b, 0xa9, 0x79, 0xd6, 0x4a, 0xce, 0xa3, 0xc8, 0x27, 0xdc, 0xd5, 0x1d, 0x21, 0xed,
];

/// What a Widevine box holds: as much of it as a key server that is not Widevine's can say.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct WidevineData {
    /// The key ids.
    #[prost(bytes = "vec", repeated, tag = "2")]
    key_ids: Vec<Vec<u8>>,
    /// What the packager called the content.
    #[prost(bytes = "vec", optional, tag = "4")]
    content_id: Option<Vec<u8>>,
    /// The crypto period.
    #[prost(uint32, optional, tag = "7")]
    crypto_period_index: Option<u32>,
}

/// The data of a Widevine box.
pub(super) fn widevine_data(kid: &[u8; KID_LEN], content: &[u8], period: Option<u32>) -> Vec<u8> {
    WidevineData {
        key_ids: vec![kid.to_vec()],
        content_id: Some(content.to_vec()),
        crypto_period_index: period,
    }
    .encode_to_vec()
}

/// A version 0 box of Widevine.
pub(super) fn widevine(data: &[u8]) -> Vec<u8> {
    boxed(0, &WIDEVINE, &[], data)
}

/// A version 1 box of the common system.
pub(super) fn common(kid: &[u8; KID_LEN]) -> Vec<u8> {
    boxed(1, &COMMON, &[*kid], &[])
}

fn boxed(version: u8, system: &[u8; 16], kids: &[[u8; KID_LEN]], data: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| {
        u32::try_from(bytes)
            .expect("a content id is short")
            .to_be_bytes()
    };
    let mut body = vec![version, 0, 0, 0];
    body.extend(system);
    if version > 0 {
        body.extend(length(kids.len()));
        body.extend(kids.as_flattened());
    }
    body.extend(length(data.len()));
    body.extend(data);
    [&length(body.len() + 8)[..], b"pssh", &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the W3C's "cenc" format has the same shape: 4 + 4 + 4 + 16 + 4 + 16 + 4 bytes.
    #[test]
    fn boxes_have_their_lengths_and_fields() {
        let made = common(&[7; 16]);
        assert_eq!(made.len(), 52);
        assert_eq!(
            made[..12],
            [0, 0, 0, 52, b'p', b's', b's', b'h', 1, 0, 0, 0]
        );
        assert_eq!(made[12..28], COMMON);
        assert_eq!(made[28..], [&[0, 0, 0, 1][..], &[7; 16], &[0; 4]].concat());
        let data = widevine_data(&[7; 16], b"ab", Some(300));
        // Tags and lengths of the protocol buffer: field 2, field 4, field 7.
        let expected = [
            &[0x12, 16][..],
            &[7; 16],
            &[0x22, 2, b'a', b'b', 0x38, 0xac, 0x02],
        ]
        .concat();
        assert_eq!(data, expected);
        let made = widevine(&data);
        assert_eq!(made[3] as usize, made.len());
        assert_eq!(made[8..12], [0; 4]);
        assert_eq!(made[28..32], [0, 0, 0, 25]);
        assert_eq!(made[32..], data);
    }
}
