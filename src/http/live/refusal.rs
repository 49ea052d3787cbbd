//! What a client is told that spoke otherwise than the protocol says: sentences of ours, and nothing of what it sent.
//! A close frame has room for 123 bytes.

use serde_json::error::Category;
use tokio_tungstenite::tungstenite::Error;

use super::sending::End;

/// The first frame was not in time.
pub const LATE_HELLO: &str = "the first frame, `hello`, comes within 5 s: come back and send it at once";
/// Nothing was heard after a ping.
pub const NO_PONG: &str = "nothing was heard within `pong_s` after a `ping`: come back and catch up";
/// Something else was the first frame.
pub const NO_HELLO: &str = "the first frame is `hello`";
/// It was not the first frame.
pub const SECOND_HELLO: &str = "`hello` is the first frame only";
/// Neither a token nor a ticket, or both.
pub const ONE_CREDENTIAL: &str = "`hello` has `token` or `ticket`: exactly one of them";
/// A token that is good for something else.
pub const OTHER_SCOPE: &str = "this token is not one of an enrolled device";
/// A token that is good for another socket.
pub const OTHER_SESSION: &str = "`token` renews with a token of the same session";
/// More wishes than streams that a socket may follow.
pub const TOO_MANY_SUBS: &str = "`hello` has too many `subs`: a socket follows at most 64 streams";
/// Not a frame of text.
pub const BINARY: &str = "a frame is text, never binary";
const TOO_LONG: &str = "a frame is at most 64 KiB";
const NO_FRAME: &str = "this is not a WebSocket frame of text in UTF-8";
const NO_JSON: &str = "a frame is one JSON object";
const NO_WORD: &str = "a message has its word in `m`";
const UNKNOWN_WORD: &str = "no message of a client has this word in `m`";
const UNKNOWN_FIELD: &str = "a message has a field that this one does not know";
const MISSING_FIELD: &str = "a field of the message is missing";
const DUPLICATE_FIELD: &str = "a field of the message stands there twice";
const NO_CURSOR: &str = "`after` is not a cursor: <epoch>.<seq>, as it was served";
const WRONG_VALUE: &str = "a field of the message has a wrong type or value";

/// The end for what is not a frame that a client may send.
pub fn of_frame(error: &Error) -> End {
    End::bad(if matches!(error, Error::Capacity(_)) { TOO_LONG } else { NO_FRAME })
}

/// The end for a text that is not a message of a client.
pub fn of_text(error: &serde_json::Error) -> End {
    if error.classify() != Category::Data {
        return End::bad(NO_JSON);
    }
    // What serde says begins with its own words; what the client wrote comes after them.
    let text = error.to_string();
    let sentences = [
        ("missing field `m`", NO_WORD),
        ("unknown variant", UNKNOWN_WORD),
        ("unknown field", UNKNOWN_FIELD),
        ("missing field", MISSING_FIELD),
        ("duplicate field", DUPLICATE_FIELD),
        ("not a cursor", NO_CURSOR),
    ];
    let known = sentences.iter().find(|(start, _)| text.starts_with(start));
    End::bad(known.map_or(WRONG_VALUE, |(_, sentence)| sentence))
}

#[cfg(test)]
mod tests {
    use lockstep_api::live::{ClientMessage, MAX_SUBS};

    use super::*;

    #[test]
    fn a_text_that_is_no_message_is_told_what_is_wrong_with_it() {
        let stream = "00000000-0000-4000-8000-000000000003";
        let cases = [
            ("{canary".to_owned(), NO_JSON),
            (String::new(), NO_JSON),
            ("{}".to_owned(), NO_WORD),
            (r#"{"m":"canary"}"#.to_owned(), UNKNOWN_WORD),
            (r#"{"m":"hello","client":"x","canary":1}"#.to_owned(), UNKNOWN_FIELD),
            (format!(r#"{{"m":"sub","stream":"{stream}","canary":1}}"#), UNKNOWN_FIELD),
            (r#"{"m":"hello"}"#.to_owned(), MISSING_FIELD),
            (r#"{"m":"pong","t":1,"t":2}"#.to_owned(), DUPLICATE_FIELD),
            (format!(r#"{{"m":"sub","stream":"{stream}","after":"canary"}}"#), NO_CURSOR),
            (r#"{"m":"unsub","stream":"canary"}"#.to_owned(), WRONG_VALUE),
            ("7".to_owned(), WRONG_VALUE),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<ClientMessage>(&text).unwrap_err();
            assert_eq!(of_text(&error), End::bad(expected), "{text}");
        }
        assert!(TOO_MANY_SUBS.contains(&format!(" {MAX_SUBS} ")));
    }
}
