//! Manifest: the digests of packets that a lane sealed one after the other, signed by the lane's delivery server (MD-03, SEC-05). Whoever
//! has the lane's key can seal packets; only the delivery server can list them.
//!
//! ```text
//! list:  type, version | KID (6) | CTR (5) of the first packet | count (1) | count digests (16 each)
//! proof: place (1) | lists (1) | digests of the other lists (16 each) | signature (64)
//! mac:   16
//! ```
//! Up to [`LISTS_MAX`] lists share one signature, a datagram each: it covers the digests of all of them, so each datagram can be checked
//! alone. The MAC comes first in checking: it covers the list's digest and the proof, under a key derived from the lane's, so outsiders
//! cost no signature check (SEC-10).

use sealcast_crypto::{
    MANIFEST_MAC_LEN, ManifestKey, PACKET_DIGEST_LEN, PacketDigest, Signature, SigningKey,
    VerifyingKey,
};

use super::codec::{Malformed, take};
use super::control::{CONTEXT, ControlType, VERSION};
use crate::ids::{Ctr, GroupId, Kid};
use crate::limits::{CTR_END, CTR_FIRST};

/// Digests in one list, at most.
pub const DIGESTS_MAX: usize = 64;
/// Lists under one signature, at most.
pub const LISTS_MAX: usize = 8;
/// Bytes of a list before its digests.
const HEAD_LEN: usize = 2 + 6 + 5 + 1;
const SIGNATURE_LEN: usize = 64;
/// The longest manifest: what an IPv6 path of the least MTU carries (RFC 8200 5).
pub const MANIFEST_MAX: usize = HEAD_LEN
    + DIGESTS_MAX * PACKET_DIGEST_LEN
    + 2
    + (LISTS_MAX - 1) * PACKET_DIGEST_LEN
    + SIGNATURE_LEN
    + MANIFEST_MAC_LEN;
const _: () = assert!(MANIFEST_MAX + 40 + 8 <= 1280);

type Bytes = [u8; PACKET_DIGEST_LEN];

/// A list without its proof, as it stands at the start of its datagram.
#[derive(Clone, Debug)]
pub struct List(Vec<u8>);

impl List {
    /// An empty list of packets of `kid`, from `first` on.
    #[must_use]
    pub fn new(kid: Kid, first: Ctr) -> Self {
        let mut bytes = Vec::with_capacity(MANIFEST_MAX);
        bytes.extend_from_slice(&[ControlType::Manifest as u8, VERSION]);
        bytes.extend_from_slice(&kid.value().to_be_bytes()[2..]);
        bytes.extend_from_slice(&first.0.to_be_bytes()[3..]);
        bytes.push(0);
        Self(bytes)
    }

    /// Digests in it.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.0[HEAD_LEN - 1])
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the digest of the lane's next packet. At most [`DIGESTS_MAX`].
    pub fn push(&mut self, digest: &PacketDigest) {
        debug_assert!(self.len() < DIGESTS_MAX);
        self.0[HEAD_LEN - 1] += 1;
        self.0.extend_from_slice(digest.as_bytes());
    }
}

/// What a signature covers.
fn statement<'a>(group: GroupId, lists: impl ExactSizeIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend_from_slice(&[ControlType::Manifest as u8, VERSION]);
    message.extend_from_slice(&group.0.to_be_bytes());
    message.push(u8::try_from(lists.len()).unwrap_or(u8::MAX));
    lists.for_each(|list| message.extend_from_slice(list));
    message
}

/// The datagrams of 1 to [`LISTS_MAX`] lists of one stripe group, under one signature.
#[must_use]
pub fn sign(
    lists: Vec<List>,
    group: GroupId,
    signing: &SigningKey,
    key: &ManifestKey,
) -> Vec<Vec<u8>> {
    debug_assert!((1..=LISTS_MAX).contains(&lists.len()));
    let digests: Vec<_> = lists
        .iter()
        .map(|list| *PacketDigest::of(&list.0).as_bytes())
        .collect();
    let signature = signing.sign(&statement(group, digests.iter()));
    let count = u8::try_from(lists.len()).unwrap_or(u8::MAX);
    let datagram = |(place, List(mut bytes)): (u8, List)| {
        let at = usize::from(place);
        let head = bytes.len();
        bytes.extend_from_slice(&[place, count]);
        let others = digests[..at].iter().chain(&digests[at + 1..]);
        others.for_each(|digest| bytes.extend_from_slice(digest));
        bytes.extend_from_slice(signature.as_bytes());
        let mac = key.mac(&[&digests[at], &bytes[head..]]);
        bytes.extend_from_slice(&mac);
        bytes
    };
    (0..count).zip(lists).map(datagram).collect()
}

/// A manifest that parsed, before anything in it was checked.
#[derive(Clone, Copy, Debug)]
pub struct Unproven<'a> {
    /// The lane and epoch that it claims to be about.
    pub kid: Kid,
    /// The number of the first packet.
    pub first: Ctr,
    digests: &'a [Bytes],
    list: &'a [u8],
    proof: &'a [u8],
    mac: &'a [u8; MANIFEST_MAC_LEN],
    place: usize,
    others: &'a [Bytes],
    signature: Signature,
}

impl<'a> Unproven<'a> {
    /// Parses a whole datagram.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, a wrong length, or values that cannot be.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (body, mac) = datagram.split_last_chunk().ok_or(Malformed)?;
        let mut rest = body;
        if take(&mut rest)? != [ControlType::Manifest as u8, VERSION] {
            return Err(Malformed);
        }
        let kid = Kid::from_wire(number(take::<6>(&mut rest)?)).ok_or(Malformed)?;
        let first = number(take::<5>(&mut rest)?);
        let [count] = take(&mut rest)?;
        if !(CTR_FIRST..CTR_END).contains(&first)
            || !(1..=DIGESTS_MAX).contains(&usize::from(count))
        {
            return Err(Malformed);
        }
        let digests = take_digests(usize::from(count), &mut rest)?;
        let (list, proof) = body.split_at(body.len() - rest.len());
        let [place, lists] = take(&mut rest)?.map(usize::from);
        if place >= lists || lists > LISTS_MAX {
            return Err(Malformed);
        }
        let others = take_digests(lists - 1, &mut rest)?;
        let signature = Signature::from_bytes(rest.try_into().map_err(|_| Malformed)?);
        Ok(Self {
            kid,
            first: Ctr(first),
            digests,
            list,
            proof,
            mac,
            place,
            others,
            signature,
        })
    }

    /// The digests that it claims.
    #[must_use]
    pub fn claimed(&self) -> &'a [[u8; PACKET_DIGEST_LEN]] {
        self.digests
    }

    /// The list, if a member made this datagram: the MAC holds.
    #[must_use]
    pub fn of_member(self, key: &ManifestKey) -> Option<Member<'a>> {
        let list = *PacketDigest::of(self.list).as_bytes();
        key.verifies(&[&list, self.proof], self.mac)
            .then_some(Member {
                manifest: self,
                list,
            })
    }
}

/// A manifest that somebody made who has the lane's key.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    manifest: Unproven<'a>,
    list: Bytes,
}

impl<'a> Member<'a> {
    /// The digest of the list: two manifests with one of it say the same.
    #[must_use]
    pub fn list(&self) -> PacketDigest {
        PacketDigest::from_bytes(self.list)
    }

    /// The digests of all lists under the signature, and the signature: whoever has seen them hold once need not check again.
    #[must_use]
    pub fn statement(&self) -> Statement {
        let mut lists = [Bytes::default(); LISTS_MAX];
        let (before, after) = self.manifest.others.split_at(self.manifest.place);
        lists[..before.len()].copy_from_slice(before);
        lists[before.len()] = self.list;
        lists[before.len() + 1..][..after.len()].copy_from_slice(after);
        Statement {
            lists,
            count: self.manifest.others.len() + 1,
            signature: self.manifest.signature,
        }
    }

    /// The digests of the packets, once the signature is known to hold.
    #[must_use]
    pub fn digests(&self) -> &'a [[u8; PACKET_DIGEST_LEN]] {
        self.manifest.digests
    }

    /// The number of the first packet.
    #[must_use]
    pub fn first(&self) -> Ctr {
        self.manifest.first
    }
}

/// What a delivery server signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    lists: [Bytes; LISTS_MAX],
    count: usize,
    signature: Signature,
}

impl Statement {
    /// Whether the delivery server with this key signed it for this stripe group.
    #[must_use]
    pub fn holds(&self, group: GroupId, key: &VerifyingKey) -> bool {
        let message = statement(group, self.lists[..self.count].iter());
        key.verify(&message, &self.signature).is_ok()
    }
}

fn number<const N: usize>(bytes: [u8; N]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn take_digests<'a>(count: usize, input: &mut &'a [u8]) -> Result<&'a [Bytes], Malformed> {
    let (head, tail) = input
        .split_at_checked(count * PACKET_DIGEST_LEN)
        .ok_or(Malformed)?;
    *input = tail;
    Ok(head.as_chunks().0)
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::LaneSecret;

    use super::*;
    use crate::ids::{ChannelId, Epoch, Lane};

    const GROUP: GroupId = GroupId(77);

    fn mac_key() -> ManifestKey {
        LaneSecret::from_parts([1; 32], [2; 12]).manifest_key()
    }

    fn server() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    fn digest(byte: u8) -> PacketDigest {
        PacketDigest::from_bytes([byte; 16])
    }

    fn lists(count: u8, digests: u8) -> Vec<List> {
        let kid = Kid::new(Lane::new(3).unwrap(), ChannelId(7), Epoch(9));
        let list = |at: u8| {
            let mut list = List::new(kid, Ctr(CTR_FIRST + u64::from(at) * 64));
            (0..digests)
                .for_each(|index| list.push(&digest(at.wrapping_mul(64).wrapping_add(index))));
            list
        };
        (0..count).map(list).collect()
    }

    #[test]
    fn md_03_every_list_under_a_signature_can_be_checked_alone() {
        for count in [1, 2, 8] {
            let datagrams = sign(lists(count, 64), GROUP, &server(), &mac_key());
            assert_eq!(datagrams.len(), usize::from(count));
            for (at, datagram) in (0_u8..).zip(&datagrams) {
                let unproven = Unproven::parse(datagram).unwrap();
                assert_eq!(unproven.first, Ctr(CTR_FIRST + u64::from(at) * 64));
                assert_eq!(unproven.kid.lane().number(), 3);
                let member = unproven.of_member(&mac_key()).unwrap();
                assert!(member.statement().holds(GROUP, &server().verifying_key()));
                assert_eq!(member.digests()[5], [at.wrapping_mul(64) + 5; 16]);
                let first = Unproven::parse(&datagrams[0])
                    .unwrap()
                    .of_member(&mac_key())
                    .unwrap();
                assert_eq!(
                    member.statement(),
                    first.statement(),
                    "one check is enough for all"
                );
            }
            assert!(
                count < 8
                    || datagrams
                        .iter()
                        .all(|datagram| datagram.len() == MANIFEST_MAX)
            );
        }
    }

    /// The bytes are on the wire for ever.
    #[test]
    fn a_manifest_lies_as_the_wire_format_says() {
        let [datagram] =
            <[_; 1]>::try_from(sign(lists(1, 2), GROUP, &server(), &mac_key())).unwrap();
        assert_eq!(
            datagram[..14],
            *b"\x03\x01\x03\x00\x07\x00\x00\x09\x01\x00\x00\x00\x00\x02"
        );
        assert_eq!(datagram[14..46], [[0; 16], [1; 16]].concat());
        assert_eq!(datagram[46..48], [0, 1]);
        let list = PacketDigest::of(&datagram[..46]);
        let mut message = b"sealcast control\0\x03\x01\0\0\0\0\0\0\0\x4d\x01".to_vec();
        message.extend_from_slice(list.as_bytes());
        assert_eq!(datagram[48..112], *server().sign(&message).as_bytes());
        assert_eq!(
            datagram[112..],
            mac_key().mac(&[list.as_bytes(), &datagram[46..112]])
        );
        assert_eq!(datagram.len(), 128);
    }

    #[test]
    fn sec_10_an_outsider_fails_at_the_mac_and_an_insider_at_the_signature() {
        let datagrams = sign(lists(2, 3), GROUP, &server(), &mac_key());
        let key = server().verifying_key();
        for at in 0..datagrams[1].len() {
            let mut damaged = datagrams[1].clone();
            damaged[at] ^= 0x40;
            let member = Unproven::parse(&damaged)
                .ok()
                .and_then(|parsed| parsed.of_member(&mac_key()));
            assert!(member.is_none(), "byte {at}");
        }
        let insider = sign(
            lists(2, 3),
            GROUP,
            &SigningKey::from_seed(&[4; 32]),
            &mac_key(),
        );
        let member = Unproven::parse(&insider[0])
            .unwrap()
            .of_member(&mac_key())
            .unwrap();
        assert!(!member.statement().holds(GROUP, &key));
        let other = Unproven::parse(&datagrams[0])
            .unwrap()
            .of_member(&mac_key())
            .unwrap();
        assert!(
            !other.statement().holds(GroupId(78), &key),
            "it is said of one stripe group"
        );
    }

    #[test]
    fn what_cannot_be_is_malformed() {
        let [good] = <[_; 1]>::try_from(sign(lists(1, 2), GROUP, &server(), &mac_key())).unwrap();
        for len in 0..good.len() {
            assert!(Unproven::parse(&good[..len]).is_err(), "{len} bytes");
        }
        for (at, value) in [
            (0, 2),
            (1, 2),
            (2, 0),
            (8, 0),
            (13, 0),
            (13, 65),
            (13, 1),
            (46, 1),
            (47, 0),
            (47, 2),
            (47, 9),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Unproven::parse(&bad).is_err(), "byte {at} is {value}");
        }
        assert!(Unproven::parse(&[good.as_slice(), &[0]].concat()).is_err());
    }
}
