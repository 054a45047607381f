//! Frames on a stream: 4 bytes of length (big-endian), then the message.

use std::io::{self, Read, Write};

use sealcast_proto::limits::FRAME_MAX;
use sealcast_proto::wire::Wire;

/// Writes one frame.
pub(super) fn write(stream: &mut impl Write, message: &impl Wire) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    message.encode(&mut bytes);
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&bytes)
}

/// Reads one frame; `None` at the end of the stream.
pub(super) fn read<T: Wire>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > FRAME_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes, at most {FRAME_MAX} are taken"),
        ));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    T::decode_all(&bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use sealcast_proto::ids::Time;
    use sealcast_proto::wire::link::{Frame, Ping, ToAuthority};

    use super::*;

    #[test]
    fn frames_round_trip_and_hostile_lengths_are_refused() {
        let frame = Frame {
            sent: Time(7),
            message: ToAuthority::Ping(Ping { echo: Time(9) }),
        };
        let mut stream = Vec::new();
        write(&mut stream, &frame).unwrap();
        let mut input = stream.as_slice();
        assert_eq!(read::<Frame<ToAuthority>>(&mut input).unwrap(), Some(frame));
        assert_eq!(read::<Frame<ToAuthority>>(&mut input).unwrap(), None);
        assert!(read::<Frame<ToAuthority>>(&mut [0xFF; 8].as_slice()).is_err());
        assert!(read::<Frame<ToAuthority>>(&mut [0, 0, 0, 1, 0].as_slice()).is_err());
    }
}
