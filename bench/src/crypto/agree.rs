//! Before anything is timed: all contenders compute the same bytes, and refuse what is forged.

use anyhow::{Result, ensure};

use super::{Arena, Contender, Placement};

/// Seals and opens packets of `size` bytes with every contender, all under the same key.
///
/// # Errors
/// If one makes other bytes than the first, does not open what the first sealed, or accepts a forged packet.
pub fn agree(contenders: &mut [Contender], size: usize) -> Result<()> {
    for placement in Placement::ALL {
        let mut arena = Arena::new(size, placement);
        let clear = arena.bytes().to_vec();
        let mut sealed: Option<Vec<u8>> = None;
        for contender in &mut *contenders {
            arena.restore();
            arena.each(|buf, spans| contender.aead.seal(buf, spans));
            let expected = sealed.get_or_insert_with(|| arena.bytes().to_vec());
            ensure!(
                arena.bytes() == *expected && *expected != clear,
                "{} seals packets of {size} bytes ({placement:?}) to other bytes than the first",
                contender.name
            );
        }
        arena.keep();
        for contender in &mut *contenders {
            opens(contender, &mut arena, &clear, size)?;
            refuses(contender, &mut arena, size)?;
        }
    }
    Ok(())
}

/// The image of `arena` is opened to `clear`.
fn opens(contender: &mut Contender, arena: &mut Arena, clear: &[u8], size: usize) -> Result<()> {
    arena.restore();
    let mut genuine = 0;
    arena.each(|buf, spans| genuine += contender.aead.open(buf, spans));
    ensure!(
        genuine == arena.packets(),
        "{} takes genuine packets of {size} bytes for forged ones",
        contender.name
    );
    let spans = arena.spans().to_vec();
    let batch_len = clear.len() / (arena.packets() / spans.len());
    let mut clear = clear.chunks_exact(batch_len);
    let mut same = true;
    arena.each(|buf, spans| {
        let clear = clear.next().unwrap_or_default();
        same &= spans.iter().all(|span| {
            let payload = span.offset + span.header_len..;
            buf[payload.clone()][..span.payload_len] == clear[payload][..span.payload_len]
        });
    });
    ensure!(
        same,
        "{} opens packets of {size} bytes to other bytes than were sealed",
        contender.name
    );
    Ok(())
}

/// One packet of each batch is forged, and only that one is refused.
fn refuses(contender: &mut Contender, arena: &mut Arena, size: usize) -> Result<()> {
    arena.restore();
    let mut refused = 0;
    let mut batches = 0;
    arena.each(|buf, spans| {
        let forged = &spans[spans.len() / 2];
        buf[forged.offset + forged.header_len + forged.payload_len / 3] ^= 4;
        refused += spans.len() - contender.aead.open(buf, spans);
        batches += 1;
    });
    ensure!(
        refused == batches,
        "{} refuses {refused} of {batches} forged packets of {size} bytes",
        contender.name
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::Span;

    use super::*;
    use crate::crypto::{Aead, Field, Key, KeyBits, contenders};

    /// Does nothing, and finds everything genuine.
    struct Lazy;

    impl Aead for Lazy {
        fn seal(&mut self, _: &mut [u8], _: &[Span]) {}

        fn open(&mut self, _: &mut [u8], spans: &[Span]) -> usize {
            spans.len()
        }
    }

    #[test]
    fn all_that_this_host_has_agree() {
        let field = Field::find(None);
        for bits in [KeyBits::Aes128, KeyBits::Aes256] {
            let mut all = contenders(&Key::new(bits), &field);
            for size in [1, 64, 188, 1316, 9001] {
                agree(&mut all, size).unwrap();
            }
        }
    }

    #[test]
    fn who_does_not_is_named() {
        let mut all = contenders(&Key::new(KeyBits::Aes256), &Field::find(None));
        all.push(Contender::library("lazy", Lazy));
        let error = agree(&mut all, 188).unwrap_err().to_string();
        assert!(error.starts_with("lazy seals"), "{error}");
        let mut arena = Arena::new(188, Placement::Aligned);
        let error = refuses(&mut Contender::library("lazy", Lazy), &mut arena, 188).unwrap_err();
        assert!(
            error.to_string().starts_with("lazy refuses 0 of"),
            "{error}"
        );
    }
}
