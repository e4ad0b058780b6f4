//! A decision as one line of JSON, the format of `explain --batch`.
//!
//! ```text
//! {"action":…,"site":…,"rule":…,"status":…,"location":…,"bindings":[["id","42"],["*",["a","b"]]]}
//! ```
//!
//! Written by hand into one buffer: keys keep this order, and a line costs no tree of values.

use crate::dispatch::{Action, Binding, Bound, Decision, Sites};

/// Buffers for one object after another.
#[derive(Default)]
pub struct ObjectWriter {
    bindings: Vec<Binding>,
    location: Vec<u8>,
}

impl ObjectWriter {
    /// Appends the object, without a line end. A key without a value is left out; `bindings` are those of the rule
    /// that matched, for what is forwarded or redirected.
    pub fn write(&mut self, sites: &Sites, decision: &Decision<'_>, target: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"action\":\"");
        out.extend_from_slice(action_word(&decision.action).as_bytes());
        out.push(b'"');
        let site = sites.site_of(decision);
        if let Some((_, site)) = site {
            out.extend_from_slice(b",\"site\":");
            write_string(site.name().as_bytes(), out);
        }
        let rule = site.and_then(|(id, site)| Some((id, decision.rule?, site.rule_name(decision.rule?)?)));
        if let Some((.., name)) = rule {
            out.extend_from_slice(b",\"rule\":");
            write_string(name.as_bytes(), out);
        }
        if let Some(status) = status(&decision.action) {
            out.extend_from_slice(b",\"status\":");
            out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        }
        if let Action::Redirect(redirect) = &decision.action {
            self.location.clear();
            redirect.write_location(&mut self.location);
            out.extend_from_slice(b",\"location\":");
            write_string(&self.location, out);
        }
        if let (Some((site, rule, _)), Action::Forward | Action::Redirect(_)) = (rule, &decision.action) {
            self.bindings.clear();
            sites.bindings(site, rule, target, &mut self.bindings);
            out.extend_from_slice(b",\"bindings\":");
            write_bindings(&self.bindings, out);
        }
        out.push(b'}');
    }
}

/// Appends `{"error":…}`.
pub fn write_error(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    write_string(message.as_bytes(), out);
    out.push(b'}');
}

pub fn action_word(action: &Action<'_>) -> &'static str {
    match action {
        Action::Forward => "forward",
        Action::Redirect(_) => "redirect",
        Action::NotFound => "not_found",
        Action::Refuse(_) => "refuse",
    }
}

/// The status we answer with; `None`: a site server answers.
pub fn status(action: &Action<'_>) -> Option<u16> {
    match action {
        Action::Forward => None,
        Action::Redirect(redirect) => Some(redirect.status),
        Action::NotFound => Some(404),
        Action::Refuse(refusal) => Some(refusal.status()),
    }
}

fn write_bindings(bindings: &[Binding], out: &mut Vec<u8>) {
    list(bindings, out, |binding, out| {
        out.push(b'[');
        write_string(binding.name.as_bytes(), out);
        out.push(b',');
        match &binding.value {
            Bound::Segment(segment) => write_string(segment.as_bytes(), out),
            Bound::Rest(segments) => {
                list(segments, out, |segment, out| write_string(segment.as_bytes(), out));
            }
        }
        out.push(b']');
    });
}

fn list<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// A string of JSON (RFC 8259 §7). Bytes that are not UTF-8 become `%XX`, which is what they mean in a URL.
fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_text(chunk.valid().as_bytes(), out);
        for byte in chunk.invalid() {
            out.push(b'%');
            out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
        }
    }
    out.push(b'"');
}

fn write_text(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&text[..at]);
        match text[at] {
            byte @ (b'"' | b'\\') => out.extend([b'\\', byte]),
            control => out.extend(format!("\\u{control:04x}").bytes()),
        }
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json_whatever_is_in_them() {
        for (bytes, expected) in [
            (&b"plain"[..], "\"plain\""),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\n\x00", r#""\u000a\u0000""#),
            ("é".as_bytes(), "\"é\""),
            (b"/caf\xe9?\xff", "\"/caf%E9?%FF\""),
        ] {
            let mut out = Vec::new();
            write_string(bytes, &mut out);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        }
    }
}
