//! Bodies as they arrive: where they end, and what of the bytes is content (RFC 9112 §6, §7.1).

use memchr::memchr2;

use super::flaw::BadBody;
use super::trailers::Trailers;
use crate::http::BodyEnd;
use crate::http::field::{is_token_byte, is_value_byte};

/// Octets of extensions in one body. Nobody sends any; a sender of small chunks with long extensions makes us work.
const EXTENSION_BYTES_MAX: u32 = 4096;
/// RFC 9112 §7.1 names no bound; 16 digits are all 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// What one call of [`BodyReader::read`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `bytes[..data]` is content now.
    pub data: usize,
    /// Bytes of the input that are used up, as they stood before the call. Less than all only at the end of the body:
    /// the rest belongs to the next message and is untouched.
    pub consumed: usize,
    /// The body is over.
    pub end: bool,
}

/// Reads one body, whatever pieces it comes in.
///
/// ```text
/// Size ─▶ [Extension…] ─▶ SizeLf ─▶ Data ─▶ DataCr ─▶ DataLf ─▶ Size …
///                            └ size 0 ─▶ Trailer ─▶ TrailerLf ─▶ … ─▶ End
/// ```
///
/// Chunked content is moved together in place, so that the caller's buffer goes on as it is. Allocates only for
/// trailers; [`BodyReader::reset`] keeps that room for the next body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// Octets of content so far.
    received: u64,
    bytes_max: u64,
    extension_bytes: u32,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `Content-Length`: octets still to come, at least one.
    Length(u64),
    /// Until the connection closes.
    Close,
    /// The digits so far.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        at: Extension,
    },
    SizeLf {
        size: u64,
    },
    /// Octets of the chunk still to come, at least one.
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    End,
    /// After an error every call fails: bytes past it have no meaning.
    Failed(BadBody),
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS value ] )` we are; white space is refused (RFC 9112 §7.1.1 calls it
/// bad), and so is an empty name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    QuotedEnd,
}

impl BodyReader {
    pub fn new(body: BodyEnd) -> Self {
        let mut reader = Self {
            state: State::End,
            received: 0,
            bytes_max: u64::MAX,
            extension_bytes: 0,
            trailers: Trailers::default(),
        };
        reader.reset(body);
        reader
    }

    /// Makes ready for the next body; the limit stays.
    pub fn reset(&mut self, body: BodyEnd) {
        self.state = match body {
            BodyEnd::None | BodyEnd::Length(0) => State::End,
            BodyEnd::Length(length) => State::Length(length),
            BodyEnd::Chunked => State::Size { size: 0, digits: 0 },
            BodyEnd::Close => State::Close,
        };
        self.received = 0;
        self.extension_bytes = 0;
        self.trailers.clear();
    }

    /// Refuses bodies of more than `bytes_max` octets of content: as soon as a length or a chunk size says so.
    pub fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Octets of content read so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether the body is over; from the start for one without octets.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// The trailer fields that may be passed on, as `Name: value\r\n` lines; whole once the body has ended.
    pub fn trailers(&self) -> &[u8] {
        self.trailers.lines()
    }

    /// The connection closed: whether the body may end here.
    ///
    /// # Errors
    /// [`BadBody::Truncated`]: pass it on as a cut, never as an end.
    pub fn finish(&mut self) -> Result<(), BadBody> {
        match self.state {
            State::End | State::Close => {
                self.state = State::End;
                Ok(())
            }
            State::Failed(bad) => Err(bad),
            _ => Err(BadBody::Truncated),
        }
    }

    /// Reads what arrived, decodes it in place and says what it is.
    ///
    /// # Errors
    /// [`BadBody`], then and on every later call. What `bytes` holds is undefined; content of earlier calls was good.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<Progress, BadBody> {
        let done = match self.state {
            State::End => Ok((0, 0)),
            State::Failed(bad) => Err(bad),
            State::Close => self.count(bytes.len() as u64).map(|()| (bytes.len(), bytes.len())),
            State::Length(left) => self.read_length(left, bytes.len()),
            _ => self.read_chunked(bytes),
        };
        match done {
            Ok((data, consumed)) => Ok(Progress { data, consumed, end: self.is_end() }),
            Err(bad) => {
                self.state = State::Failed(bad);
                Err(bad)
            }
        }
    }

    fn read_length(&mut self, left: u64, available: usize) -> Result<(usize, usize), BadBody> {
        if self.received.saturating_add(left) > self.bytes_max {
            return Err(BadBody::TooLarge);
        }
        let taken = usize::try_from(left).map_or(available, |left| left.min(available));
        let left = left - taken as u64;
        self.received += taken as u64;
        self.state = if left == 0 { State::End } else { State::Length(left) };
        Ok((taken, taken))
    }

    fn count(&mut self, octets: u64) -> Result<(), BadBody> {
        self.received = self.received.saturating_add(octets);
        if self.received > self.bytes_max { Err(BadBody::TooLarge) } else { Ok(()) }
    }

    fn read_chunked(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), BadBody> {
        // data <= at <= bytes.len()
        let mut data = 0;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Data(left) => {
                    let available = bytes.len() - at;
                    let taken = usize::try_from(left).map_or(available, |left| left.min(available));
                    if data != at {
                        bytes.copy_within(at..at + taken, data);
                    }
                    data += taken;
                    at += taken;
                    self.received += taken as u64;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                    continue;
                }
                State::Trailer => {
                    let rest = bytes.get(at..).unwrap_or(&[]);
                    let part = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    self.trailers.push(rest.get(..part).unwrap_or(&[]))?;
                    at += part;
                    match bytes.get(at) {
                        Some(b'\r') => self.state = State::TrailerLf,
                        Some(_) => return Err(BadBody::LineEnd),
                        None => continue,
                    }
                }
                State::TrailerLf => {
                    expect(byte, b'\n')?;
                    if self.trailers.end_line()? {
                        self.state = State::End;
                        return Ok((data, at + 1));
                    }
                    self.state = State::Trailer;
                }
                State::DataCr => {
                    expect(byte, b'\r')?;
                    self.state = State::DataLf;
                }
                State::DataLf => {
                    expect(byte, b'\n')?;
                    self.state = State::Size { size: 0, digits: 0 };
                }
                State::Size { size, digits } => self.state = after_size(byte, size, digits)?,
                State::Extension { size, at: place } => {
                    self.extension_bytes += 1;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(BadBody::ChunkExtension);
                    }
                    self.state = after_extension(byte, size, place)?;
                }
                State::SizeLf { size } => {
                    expect(byte, b'\n')?;
                    self.state = if size == 0 { State::Trailer } else { State::Data(size) };
                    let whole = self.received.checked_add(size).ok_or(BadBody::ChunkSize)?;
                    if whole > self.bytes_max {
                        return Err(BadBody::TooLarge);
                    }
                }
                // `read` comes here for chunked bodies only.
                State::Length(_) | State::Close | State::End | State::Failed(_) => break,
            }
            at += 1;
        }
        Ok((data, at))
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), BadBody> {
    if byte == expected { Ok(()) } else { Err(BadBody::LineEnd) }
}

fn after_size(byte: u8, size: u64, digits: u8) -> Result<State, BadBody> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLf { size }),
        b';' if digits > 0 => {
            return Ok(State::Extension { size, at: Extension::NameStart });
        }
        b'\n' => return Err(BadBody::LineEnd),
        _ => return Err(BadBody::ChunkSize),
    };
    if digits == SIZE_DIGITS_MAX {
        return Err(BadBody::ChunkSize);
    }
    // Readers that count in signed numbers must agree with us.
    let size = size
        .checked_mul(16)
        .and_then(|size| size.checked_add(u64::from(digit)))
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or(BadBody::ChunkSize)?;
    Ok(State::Size { size, digits: digits + 1 })
}

fn after_extension(byte: u8, size: u64, at: Extension) -> Result<State, BadBody> {
    let next = match (at, byte) {
        (Extension::Name | Extension::Value | Extension::QuotedEnd, b'\r') => {
            return Ok(State::SizeLf { size });
        }
        (Extension::Name | Extension::Value | Extension::QuotedEnd, b';') => Extension::NameStart,
        (Extension::Name, b'=') => Extension::ValueStart,
        (Extension::ValueStart, b'"') => Extension::Quoted,
        (Extension::Quoted, b'"') => Extension::QuotedEnd,
        (Extension::Quoted, b'\\') => Extension::QuotedPair,
        (Extension::NameStart | Extension::Name, _) if is_token_byte(byte) => Extension::Name,
        (Extension::ValueStart | Extension::Value, _) if is_token_byte(byte) => Extension::Value,
        (Extension::Quoted | Extension::QuotedPair, _) if is_value_byte(byte) => Extension::Quoted,
        (_, b'\n') => return Err(BadBody::LineEnd),
        _ => return Err(BadBody::ChunkExtension),
    };
    Ok(State::Extension { size, at: next })
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
