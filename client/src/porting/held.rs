//! A file as an export holds it: checked when the export is read, unpacked when it is sealed.
//!
//! Exports come from anywhere, and a few compressed bytes may stand for any number: nothing is unpacked further than an
//! entry's file may be long, and until it is sealed a file takes the memory that it has in the export.

use std::{
    fmt,
    io::{self, Read, Write},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{
    CrcWriter,
    read::{DeflateDecoder, MultiGzDecoder},
};
use zeroize::Zeroizing;

/// The bytes of a file as they stand in an export.
#[derive(Clone, PartialEq)]
pub(super) struct Packed {
    bytes: Zeroizing<Vec<u8>>,
    packing: Packing,
}

/// How they were made shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Deflate,
}

/// Why a file cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The bytes are not what the export says they are.
    Broken(&'static str),
    /// They are, and do not fit here.
    LeftOut(&'static str),
}

/// It is not looked at further than that.
pub(super) const TOO_LONG: Unfit = Unfit::LeftOut("it is longer than an entry's file may be");

/// A file that an entry can have.
#[derive(Clone, PartialEq)]
pub struct Held {
    packed: Packed,
    size: u64,
}

impl Packed {
    /// Takes base64, in lines or not.
    pub(super) fn decode(text: String, compressed: bool) -> Result<Self, Unfit> {
        let mut text = Zeroizing::new(text);
        text.retain(|c| !c.is_ascii_whitespace());
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| Unfit::Broken("holds a file that is not whole base64"))?;
        let packing = if compressed { Packing::Gzip } else { Packing::None };
        Ok(Self { bytes: Zeroizing::new(bytes), packing })
    }

    /// Takes a copy of bytes.
    pub(super) fn new(bytes: &[u8], packing: Packing) -> Self {
        Self { bytes: Zeroizing::new(bytes.to_vec()), packing }
    }

    /// Unpacks no more than one byte beyond `most`; how many came.
    fn unpack(&self, most: u64, out: &mut impl Write) -> io::Result<u64> {
        let most = most.saturating_add(1);
        match self.packing {
            // Nothing is nothing, compressed or not.
            _ if self.bytes.is_empty() => Ok(0),
            Packing::Gzip => io::copy(&mut MultiGzDecoder::new(self.bytes.as_slice()).take(most), out),
            Packing::Deflate => io::copy(&mut DeflateDecoder::new(self.bytes.as_slice()).take(most), out),
            Packing::None => out.write_all(&self.bytes).map(|()| self.bytes.len() as u64),
        }
    }

    /// Looks at all of it, and at no more than fits.
    pub(super) fn checked(self, most: u64) -> Result<Held, Unfit> {
        match self.unpack(most, &mut io::sink()) {
            Err(_) => Err(Unfit::Broken("holds a file that is not whole gzip")),
            Ok(size) if size > most => Err(TOO_LONG),
            Ok(size) => Ok(Held { packed: self, size }),
        }
    }

    /// The same for bytes whose length and CRC-32 stand elsewhere: looked at no further than that length.
    pub(super) fn checked_against(self, (size, checksum): (u64, u32)) -> Result<Held, Unfit> {
        let mut sum = CrcWriter::new(io::sink());
        match self.unpack(size, &mut sum) {
            Ok(came) if came == size && sum.crc().sum() == checksum => Ok(Held { packed: self, size }),
            _ => Err(Unfit::Broken("holds a file that is not whole")),
        }
    }
}

impl Held {
    /// How long the file is.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The file.
    pub fn content(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(self.size).ok()?));
        self.packed.unpack(self.size, &mut *content).ok()?;
        Some(content)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} bytes)", self.size)
    }
}

#[cfg(test)]
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8], compressed: bool) -> Packed {
        Packed::decode(BASE64_STANDARD.encode(bytes), compressed).unwrap()
    }

    #[test]
    fn what_was_packed_comes_back_and_a_byte_more_than_fits_does_not() {
        let content: Vec<u8> = (0..100_000_u32).map(|n| (n >> 3) as u8).collect();
        for packed in [packed(&content, false), packed(&gzip(&content), true)] {
            let held = packed.clone().checked(100_000).unwrap();
            assert_eq!((held.size(), held.content().unwrap().as_slice()), (100_000, content.as_slice()));
            assert!(matches!(packed.checked(99_999), Err(Unfit::LeftOut(_))));
            assert_eq!(format!("{held:?}"), "Held(100000 bytes)");
        }
        for nothing in [packed(b"", true), packed(b"", false), packed(&gzip(b""), true)] {
            assert_eq!(nothing.checked(0).unwrap().content().unwrap().as_slice(), b"");
        }
    }

    #[test]
    fn lines_of_base64_are_one_and_what_is_none_is_refused() {
        let lines = Packed::decode("c2 Nh\r\n\tbg==\n".to_owned(), false).unwrap();
        assert_eq!(lines.checked(9).unwrap().content().unwrap().as_slice(), b"scan");
        for text in ["c2Nhbg", "c2Nhbg=", "c2N*bg==", "c2Nhbg==c2Nhbg==", "ä"] {
            assert!(matches!(Packed::decode(text.to_owned(), false), Err(Unfit::Broken(_))), "{text}");
        }
    }

    #[test]
    fn gzip_that_is_cut_changed_or_followed_by_something_is_refused() {
        let whole = gzip(&[7; 5000]);
        let mut changed = whole.clone();
        let crc = changed.len() - 6;
        changed[crc] ^= 1;
        for broken in
            [&whole[..whole.len() - 1], &whole[..9], &changed, &[&whole[..], b"more"].concat(), b"x"]
        {
            assert!(matches!(packed(broken, true).checked(5000), Err(Unfit::Broken(_))));
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_a_file_may_be_long() {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..64).for_each(|_| bomb.write_all(&vec![0; 1 << 20]).unwrap());
        let mut bomb = bomb.finish().unwrap();
        // What comes behind the limit is never looked at: that it is broken is not even found.
        let end = bomb.len() - 8;
        bomb.truncate(end);
        assert!(matches!(packed(&bomb, true).checked(1 << 20), Err(Unfit::LeftOut(_))));
    }
}
