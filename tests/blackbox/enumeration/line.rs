//! A connection that is kept, with as little as can be between a question and its time.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

/// A connection over which one question follows the other.
pub struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// A question as it goes over the wire.
pub fn question(host: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

impl Line {
    /// Connects to a server.
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, answer: vec![0; 64 * 1024] }
    }

    /// Asks, and waits for the whole answer. What it says is compared elsewhere.
    pub fn ask(&mut self, question: &[u8]) {
        self.stream.write_all(question).unwrap();
        let mut had = 0;
        while !is_whole(&self.answer[..had]) {
            let more = self.stream.read(&mut self.answer[had..]).unwrap();
            assert!(more > 0, "the server hung up");
            had += more;
        }
        let status = &self.answer[..b"HTTP/1.1 200".len()];
        // A refusal by a limit or an error would be the same for every name.
        let refused = [&b"HTTP/1.1 429"[..], b"HTTP/1.1 5"].iter().any(|refusal| status.starts_with(refusal));
        assert!(!refused, "{}", String::from_utf8_lossy(&self.answer[..had]));
    }
}

/// Whether that is a head and the body that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()) == Some(answer.len() - head - 4)
}
