//! As much of CBOR (RFC 8949) as an authenticator's answer needs, in the canonical form that CTAP2 prescribes: definite
//! lengths, every number and length as short as it can be, keys of maps unique and in order, no floats, no tags.

/// Arrays and maps are nested at most so deep, and have at most so many members.
const MAX_DEPTH: usize = 4;
const MAX_MEMBERS: u64 = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// A map, in the only order in which it may stand.
    Map(Vec<(Value, Value)>),
    /// True, false or null.
    Simple(u8),
}

impl Value {
    /// The first value, and what follows it; none if it is not of the part of CBOR that is read here.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        read(bytes, 0)
    }

    /// The only value in these bytes: nothing may follow it.
    pub fn read_whole(bytes: &[u8]) -> Option<Self> {
        read(bytes, 0).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
    }

    /// A member of a map.
    pub fn get(&self, key: &Self) -> Option<&Self> {
        self.members().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A member of a map by text.
    pub fn named(&self, key: &str) -> Option<&Self> {
        self.get(&Self::Text(key.to_owned()))
    }

    fn members(&self) -> impl Iterator<Item = &(Self, Self)> {
        let Self::Map(members) = self else { return [].iter() };
        members.iter()
    }

    /// Whether it is a map of so many members.
    pub fn is_map_of(&self, count: usize) -> bool {
        matches!(self, Self::Map(members) if members.len() == count)
    }

    /// A member of a map by number, as COSE keys have them.
    pub fn at(&self, key: i64) -> Option<&Self> {
        self.get(&Self::Int(key))
    }

    /// As bytes.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// As text.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// As an integer.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(int) = self { Some(*int) } else { None }
    }
}

fn read(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let (head, rest) = bytes.split_first()?;
    let (major, (length, rest)) = (head >> 5, argument(head & 31, rest)?);
    match major {
        0 => Some((Value::Int(i64::try_from(length).ok()?), rest)),
        1 => Some((Value::Int(-1 - i64::try_from(length).ok()?), rest)),
        2 => take(rest, length).map(|(bytes, rest)| (Value::Bytes(bytes.to_vec()), rest)),
        3 => {
            let (text, rest) = take(rest, length)?;
            Some((Value::Text(std::str::from_utf8(text).ok()?.to_owned()), rest))
        }
        4 | 5 if depth < MAX_DEPTH && length <= MAX_MEMBERS => members(major == 5, length, rest, depth + 1),
        7 if (20..=22).contains(&length) => Some((Value::Simple(u8::try_from(length).ok()?), rest)),
        _ => None,
    }
}

fn members(map: bool, count: u64, mut rest: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let (mut pairs, mut items) = (Vec::new(), Vec::new());
    let mut before: Option<&[u8]> = None;
    for _ in 0..count {
        let (first, after) = read(rest, depth)?;
        let written = &rest[..rest.len() - after.len()];
        rest = after;
        if map {
            if before.is_some_and(|before| order(before) >= order(written)) {
                return None;
            }
            before = Some(written);
            let (second, after) = read(rest, depth)?;
            rest = after;
            pairs.push((first, second));
        } else {
            items.push(first);
        }
    }
    Some((if map { Value::Map(pairs) } else { Value::Array(items) }, rest))
}

/// By what keys of a map are ordered: major type, length, bytes.
fn order(written: &[u8]) -> (u8, usize, &[u8]) {
    (written.first().map_or(0, |head| head >> 5), written.len(), written)
}

/// The argument of a head; none if it could have been written shorter.
fn argument(short: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    let width = match short {
        0..=23 => return Some((u64::from(short), rest)),
        24..=27 => 1 << (short - 24),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    let number = bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    let least = match width {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    (number >= least).then_some((number, rest))
}

fn take(rest: &[u8], length: u64) -> Option<(&[u8], &[u8])> {
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(hex: &str) -> Option<Value> {
        Value::read_whole(&hex::decode(hex).unwrap())
    }

    #[test]
    fn the_examples_of_rfc_8949_are_read() {
        let ints = [
            ("00", 0),
            ("17", 23),
            ("1818", 24),
            ("1903e8", 1000),
            ("1a000f4240", 1_000_000),
            ("20", -1),
            ("3903e7", -1000),
        ];
        for (hex, int) in ints {
            assert_eq!(value(hex), Some(Value::Int(int)), "{hex}");
        }
        assert_eq!(value("4401020304"), Some(Value::Bytes(vec![1, 2, 3, 4])));
        assert_eq!(value("6449455446"), Some(Value::Text("IETF".to_owned())));
        let map = value("a201020304").unwrap();
        assert_eq!((map.at(1), map.at(3), map.at(2)), (Some(&Value::Int(2)), Some(&Value::Int(4)), None));
        assert_eq!(value("83010203"), Some(Value::Array([1, 2, 3].map(Value::Int).to_vec())));
    }

    #[test]
    fn what_is_not_as_short_as_it_can_be_or_not_in_order_is_refused() {
        let right = ["a2010203 04", "a1613101", "a301020326200 1", "a203012002", "a26162016261 6102"];
        for hex in right {
            assert!(value(&hex.replace(' ', "")).is_some(), "{hex}");
        }
        let wrong = [
            // Numbers and lengths that fit into fewer bytes.
            "1817",
            "1900ff",
            "1a0000ffff",
            "1b00000000ffffffff",
            "3817",
            "580100",
            "7801 61",
            "980100",
            "b8010000",
            "f814",
            // Keys out of order: a greater one first, a negative one first, a longer one first, the same twice.
            "a203040102",
            "a220010102",
            "a262616101616201",
            "a201020103",
            // Something behind it.
            "0000",
            "a0a0",
        ];
        for hex in wrong {
            assert_eq!(value(&hex.replace(' ', "")), None, "{hex}");
        }
    }

    #[test]
    fn what_is_cut_off_endless_nested_too_deep_or_of_another_part_of_cbor_is_refused() {
        let deep = format!("{}00", "81".repeat(5));
        let wrong = [
            "",
            "18",
            "44010203",
            "5f42010243030405ff",
            "9f01ff",
            "fb3ff0000000000000",
            "f7",
            "c000",
            "9affffffff",
            &deep,
            "1bffffffffffffffff",
        ];
        for hex in wrong {
            assert_eq!(value(hex), None, "{hex}");
        }
    }
}
