//! Fields as lines of HTTP/1.1, and as the map that the library of HTTP/2 takes and gives.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::field::FieldSink;

/// Gathers fields for HTTP/2; names become lower case (RFC 9113 §8.2).
#[derive(Default)]
pub struct MapSink(pub HeaderMap);

impl FieldSink for MapSink {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        // Both were checked when they were parsed.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            self.0.append(name, value);
        }
    }

    fn field_with(&mut self, name: &[u8], write: &mut dyn FnMut(&mut Vec<u8>) -> bool) {
        let mut value = Vec::new();
        if write(&mut value) {
            self.field(name, &value);
        }
    }
}

/// Name and value of each field line that was checked before; each ends with CRLF.
pub fn field_lines(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        Some((name, value.get(1..)?.trim_ascii()))
    })
}

/// Trailers of HTTP/1.1 for HTTP/2.
pub fn map_of_trailers(lines: &[u8]) -> HeaderMap {
    let mut fields = MapSink::default();
    for (name, value) in field_lines(lines) {
        fields.field(name, value);
    }
    fields.0
}

/// Trailers of HTTP/2 as lines, those that may stand there by `may`. The protocol has checked their characters and
/// bounded their size.
pub fn write_trailers(trailers: &HeaderMap, may: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    for (name, value) in trailers {
        let name = name.as_str().as_bytes();
        if may(name) {
            out.field(name, value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{may_trail, may_trail_response};

    #[test]
    fn trailers_go_there_and_back() {
        let lines = b"grpc-status: 0\r\nX-Sum:a: b \r\n";
        let map = map_of_trailers(lines);
        assert_eq!(
            (map.len(), map["grpc-status"].as_bytes(), map["x-sum"].as_bytes()),
            (2, &b"0"[..], &b"a: b"[..])
        );
        let mut back = Vec::new();
        write_trailers(&map, may_trail, &mut back);
        assert_eq!(back, b"grpc-status: 0\r\nx-sum: a: b\r\n");
    }

    #[test]
    fn what_must_not_trail_is_left_out_and_names_with_marks_go_to_clients_alone() {
        let map = map_of_trailers(b"content-length: 3\r\nset-cookie: a=b\r\nx_y.z: 1\r\netag: \"e\"\r\n");
        let (mut request, mut response) = (Vec::new(), Vec::new());
        write_trailers(&map, may_trail, &mut request);
        write_trailers(&map, may_trail_response, &mut response);
        assert_eq!(request, b"etag: \"e\"\r\n");
        assert_eq!(response, b"x_y.z: 1\r\netag: \"e\"\r\n");
    }
}
