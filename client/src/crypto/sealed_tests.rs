use super::*;
use rand::{SeedableRng, rngs::StdRng};

const KEY: [u8; 32] = [7; 32];

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn context(name: &str) -> Context {
    Context::from_vector(name.as_bytes().to_vec())
}

/// A box of about 600 bytes: 24 + 32 + 528 + 16 = 600.
fn sample() -> Vec<u8> {
    let sealed = seal(&KEY, &context("sample"), &[0x61; 528], &mut rng()).unwrap();
    assert_eq!(sealed.len(), 600);
    sealed
}

#[test]
fn contents_of_every_length_around_a_chunk_come_back() {
    for len in [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5, 3 * CHUNK] {
        let content: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let sealed = seal(&KEY, &context("a"), &content, &mut rng()).unwrap();
        assert_eq!(sealed.len(), sealed_len(len), "{len}");
        assert_eq!(&*open(&KEY, &context("a"), &sealed).unwrap(), &content[..], "{len}");
    }
}

#[test]
fn every_single_bit_flip_of_a_600_byte_box_is_rejected() {
    let mut sealed = sample();
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&KEY, &context("sample"), &sealed), Err(Rejected), "bit {bit}");
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(open(&KEY, &context("sample"), &sealed).is_ok());
}

#[test]
fn a_box_cut_at_any_length_or_grown_by_a_byte_is_rejected() {
    let mut sealed = sample();
    for len in 0..sealed.len() {
        assert_eq!(open(&KEY, &context("sample"), &sealed[..len]), Err(Rejected), "length {len}");
    }
    sealed.push(0);
    assert_eq!(open(&KEY, &context("sample"), &sealed), Err(Rejected));
}

#[test]
fn a_box_of_three_chunks_cannot_lose_repeat_or_swap_a_chunk() {
    let content = vec![1; 2 * CHUNK + 100];
    let sealed = seal(&KEY, &context("a"), &content, &mut rng()).unwrap();
    let part = CHUNK + TAG;
    let (head, body) = sealed.split_at(HEAD);
    let (first, second, last) = (&body[..part], &body[part..2 * part], &body[2 * part..]);
    for parts in [
        vec![first],
        vec![first, second],
        vec![first, last],
        vec![second, last],
        vec![second, first, last],
        vec![first, first, second, last],
        vec![first, second, last, last],
        vec![],
    ] {
        let forged = [head, &parts.concat()].concat();
        assert_eq!(open(&KEY, &context("a"), &forged), Err(Rejected), "{} parts", parts.len());
    }
    // An empty last chunk after full ones would be a second encoding of the same content.
    assert!(open(&KEY, &context("a"), &[head, first, second, last].concat()).is_ok());
}

#[test]
fn another_key_or_context_is_rejected() {
    let sealed = sample();
    assert_eq!(open(&[8; 32], &context("sample"), &sealed), Err(Rejected));
    assert_eq!(open(&KEY, &context("other"), &sealed), Err(Rejected));
}

#[test]
fn the_same_content_sealed_twice_shares_no_bytes() {
    let mut rng = rng();
    let one = seal(&KEY, &context("a"), &[0; 64], &mut rng).unwrap();
    let two = seal(&KEY, &context("a"), &[0; 64], &mut rng).unwrap();
    assert_ne!(one[..SALT], two[..SALT]);
    assert_ne!(one[SALT..HEAD], two[SALT..HEAD]);
    assert_ne!(one[HEAD..], two[HEAD..]);
}

#[test]
fn a_padded_content_opens_only_as_padded() {
    let sealed = seal_padded(&KEY, &context("a"), b"secret", &mut rng()).unwrap();
    assert_eq!(sealed.len(), sealed_len(256));
    assert_eq!(&*open_padded(&KEY, &context("a"), &sealed).unwrap(), b"secret");
    let bare = seal(&KEY, &context("a"), b"secret", &mut rng()).unwrap();
    assert_eq!(open_padded(&KEY, &context("a"), &bare), Err(Rejected));
}
