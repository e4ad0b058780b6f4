//! HTTP/2 from the client's side: as much of RFC 9113 as one kind of request, sent over and over, asks for.
//!
//! Heads are sent as browsers do: in full once, then as numbers of the table both sides keep (RFC 7541). Windows are
//! as large as they may be, so that no server waits for the client.

use std::collections::HashMap;
use std::time::Instant;

use crate::body;
use crate::response::Fault;
use crate::workload::Answer;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const FRAME_HEAD_BYTES: usize = 9;
/// The largest window there is, and what a connection begins with (RFC 9113 §6.9).
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_FIRST: u32 = 65_535;
/// Octets received before the connection's window is opened again.
const WINDOW_USED_MAX: u32 = 1 << 30;

/// What a request says, besides that it is GET over https.
pub struct Request {
    /// With every field put in the table.
    first: Vec<u8>,
    /// With every field taken from it.
    later: Vec<u8>,
}

impl Request {
    /// `fields`: pseudo-fields among them; names in lower case. All of them have to fit a table of 4,096 octets.
    pub fn new(fields: &[(&str, &str)]) -> Request {
        // `:method: GET` and `:scheme: https` of the static table.
        let mut first = vec![0x82, 0x87];
        let mut later = first.clone();
        for (number, (name, value)) in fields.iter().enumerate() {
            match *name {
                ":authority" => first.push(0x41),
                ":path" => first.push(0x44),
                name => {
                    first.push(0x40);
                    text(&mut first, name);
                }
            }
            text(&mut first, value);
            // The entry put in last is the first one behind the static table, which has 61.
            let index = u8::try_from(61 + fields.len() - number).unwrap_or(0x7f);
            later.push(0x80 | index);
        }
        Request { first, later }
    }
}

/// A string without Huffman's code.
fn text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) if length < 0x7f => out.push(length),
        _ => {
            out.push(0x7f);
            let mut left = text.len() - 0x7f;
            while left >= 0x80 {
                out.push((left % 0x80) as u8 | 0x80);
                left /= 0x80;
            }
            out.push(left as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// One connection's side of the protocol.
#[derive(Default)]
pub struct Http2 {
    open: HashMap<u32, Stream>,
    last: u32,
    // A frame that is not whole yet.
    unread: Vec<u8>,
    window_used: u32,
    /// When the requests that have been answered since the last look were sent.
    pub done: Vec<Instant>,
}

struct Stream {
    began: Instant,
    has_head: bool,
    received: usize,
}

impl Http2 {
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Appends a request to what is to be sent.
    pub fn send(&mut self, request: &Request, began: Instant, out: &mut Vec<u8>) {
        let first = self.last == 0;
        if first {
            out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            // No push, and each stream with the largest window.
            let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
            settings.extend_from_slice(&WINDOW_MAX.to_be_bytes());
            frame(out, SETTINGS, 0, 0, &settings);
            frame(out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_FIRST).to_be_bytes());
        }
        self.last = if first { 1 } else { self.last + 2 };
        let fields = if first { &request.first } else { &request.later };
        frame(out, HEADERS, END_HEADERS | END_STREAM, self.last, fields);
        self.open.insert(self.last, Stream { began, has_head: false, received: 0 });
    }

    /// Takes the next bytes, and appends what they ask for to what is to be sent.
    ///
    /// # Errors
    /// The first thing that differs from `due`; the connection is of no use then.
    pub fn feed(&mut self, received: &[u8], due: &Answer, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut bytes = received;
        if !unread.is_empty() {
            unread.extend_from_slice(received);
            bytes = &unread;
        }
        while let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
            self.frame(head[3], head[4], stream, payload, due, out)?;
            bytes = rest;
        }
        self.unread = bytes.to_vec();
        Ok(())
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        payload: &[u8],
        due: &Answer,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match kind {
            SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
            GOAWAY | RST_STREAM => return Err(Fault::Reset(kind)),
            HEADERS | DATA => {
                let stream = self.open.get_mut(&id).ok_or(Fault::Extra)?;
                if flags & PADDED != 0 {
                    return Err(Fault::NotHttp);
                }
                if kind == HEADERS {
                    if flags & END_HEADERS == 0 || !is_200(payload) {
                        return Err(Fault::Status(0));
                    }
                    stream.has_head = true;
                } else {
                    if !stream.has_head || !body::matches(stream.received, payload) {
                        return Err(Fault::Body(stream.received));
                    }
                    stream.received += payload.len();
                    self.window_used += payload.len() as u32;
                }
                if flags & END_STREAM != 0 {
                    let (began, received) = (stream.began, stream.received);
                    if *due != Answer::Body(received) {
                        return Err(Fault::Length(received));
                    }
                    self.open.remove(&id);
                    self.done.push(began);
                }
                if self.window_used > WINDOW_USED_MAX {
                    frame(out, WINDOW_UPDATE, 0, 0, &self.window_used.to_be_bytes());
                    self.window_used = 0;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a head begins with `:status: 200` as every encoder writes it: behind changes of the table's size, the
/// eighth entry of the static table.
fn is_200(mut fields: &[u8]) -> bool {
    while let Some((first, rest)) = fields.split_first() {
        if first & 0xe0 != 0x20 {
            return *first == 0x88;
        }
        fields = rest;
        if first & 0x1f == 0x1f {
            let more = fields.iter().take_while(|byte| **byte & 0x80 != 0).count();
            fields = fields.get(more + 1..).unwrap_or(&[]);
        }
    }
    false
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stream: u32, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        frame(&mut bytes, HEADERS, END_HEADERS, stream, &[0x3f, 0xe1, 0x1f, 0x88]);
        let mut data = Vec::new();
        body::append(&mut data, length);
        frame(&mut bytes, DATA, END_STREAM, stream, &data);
        bytes
    }

    fn asked(count: usize) -> Http2 {
        let request = Request::new(&[(":path", "/"), ("cookie", &"c".repeat(300))]);
        let mut http2 = Http2::default();
        for _ in 0..count {
            http2.send(&request, Instant::now(), &mut Vec::new());
        }
        http2
    }

    #[test]
    fn answers_are_taken_at_once_and_byte_by_byte() {
        let bytes = [answer(3, 5), answer(1, 5)].concat();
        let due = Answer::Body(5);
        let mut http2 = asked(2);
        http2.feed(&bytes, &due, &mut Vec::new()).expect("right answers");
        assert!(http2.is_idle() && http2.done.len() == 2);
        let (mut http2, mut out) = (asked(2), Vec::new());
        for byte in bytes {
            http2.feed(&[byte], &due, &mut out).expect("right answers");
        }
        assert!(http2.is_idle());
        assert_eq!(out.len(), 2 * FRAME_HEAD_BYTES, "settings are acknowledged");
    }

    #[test]
    fn wrong_answers_are_faults() {
        let feed = |bytes: &[u8]| asked(1).feed(bytes, &Answer::Body(5), &mut Vec::new());
        assert_eq!(feed(&answer(1, 4)), Err(Fault::Length(4)));
        assert_eq!(feed(&answer(3, 5)), Err(Fault::Extra));
        let mut other = Vec::new();
        frame(&mut other, HEADERS, END_HEADERS, 1, &[0x8d]);
        assert_eq!(feed(&other), Err(Fault::Status(0)));
        let mut reset = Vec::new();
        frame(&mut reset, RST_STREAM, 0, 1, &[0; 4]);
        assert_eq!(feed(&reset), Err(Fault::Reset(RST_STREAM)));
    }
}
