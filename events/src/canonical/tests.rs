use super::*;

fn hex_of(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// RFC 6962 §2.1, with the vectors that every implementation of it shares.
#[test]
fn leaves_and_nodes_hash_as_rfc_6962_says() {
    assert_eq!(
        leaf_hash(b"").to_string(),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
    assert_eq!(
        node_hash(&leaf_hash(b""), &leaf_hash(&[0])).to_string(),
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    );
}

#[test]
fn a_chain_is_the_hash_of_two_the_chain_before_and_the_leaf() {
    let leaf = leaf_hash(b"leaf");
    let by_hand = sha256(&[&[2][..], &[7; 32], &leaf.0].concat());
    assert_eq!(next_chain(&Chain([7; 32]), &leaf).0, by_hand);
}

#[test]
fn fields_stand_one_after_the_other_big_endian_with_lengths_where_width_is_free() {
    let bytes = Writer::new("d")
        .lp(b"ab")
        .fixed(&[9])
        .u8(1)
        .u16(2)
        .u32(3)
        .u64(4)
        .i64(-1)
        .optional(None)
        .optional(Some(&[5, 6]))
        .finish();
    let expected = concat!(
        "00000001",
        "64",
        "00000002",
        "6162",
        "09",
        "01",
        "0002",
        "00000003",
        "0000000000000004",
        "ffffffffffffffff",
        "00",
        "010506"
    );
    assert_eq!(hex_of(&bytes), expected);
}

/// Without lengths, `ab` + `c` and `a` + `bc` would be the same bytes.
#[test]
fn no_two_lists_of_fields_share_their_bytes() {
    assert_ne!(Writer::new("d").lp(b"ab").lp(b"c").finish(), Writer::new("d").lp(b"a").lp(b"bc").finish());
    assert_ne!(Writer::new("da").finish(), Writer::new("d").fixed(b"a").finish());
}
