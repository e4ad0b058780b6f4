//! A client that seals whatever it likes, in any pieces: the records that come are opened as a plain reading of
//! RFC 8446 says, and what the server sends stays whole.

use portcullis::tls::records::peer::Peer;
use portcullis::tls::records::{BadRecord, Opened, Records};

const DATA: u8 = 23;

/// What a step should come to.
#[derive(Debug, PartialEq)]
enum Expected {
    Data(Vec<u8>),
    /// Whether it is allowed is the record layer's to say.
    Anything,
}

pub fn check(bytes: &[u8]) {
    let Some((&first, steps)) = bytes.split_first() else { return };
    let (mut records, mut client) = Peer::pair(first);
    let piece = usize::from(first) + 1;
    let mut received = Vec::new();
    for step in steps.chunks(3) {
        let &[kind, one, two] = step else { break };
        let length = usize::from(one) * 65;
        let content: Vec<u8> = (0..length).map(|position| (position as u8) ^ two).collect();
        let (sealed, expected) = match kind % 8 {
            0..=2 => (client.data(&content), Expected::Data(content)),
            3 => (client.seal(DATA, &content[..length.min(9000)], usize::from(two)), {
                Expected::Data(content[..length.min(9000)].to_vec())
            }),
            4 => (client.key_update(one % 2 == 0, 1 + usize::from(two) % 5), Expected::Data(Vec::new())),
            5 => (client.seal(kind / 8, &[one, two], usize::from(one) % 4), Expected::Anything),
            6 => {
                let mut sealed = client.seal(DATA, &content, 0);
                let at = usize::from(two) % sealed.len();
                sealed[at] ^= 1 << (one % 8);
                (sealed, Expected::Anything)
            }
            _ => {
                if !server_sends(&mut records, &mut client, &content) {
                    return;
                }
                continue;
            }
        };
        let mut data = Vec::new();
        for part in sealed.chunks(piece) {
            received.extend_from_slice(part);
            match take(&mut records, &mut received, &mut data) {
                Ok(false) => {}
                Ok(true) => {
                    assert_eq!(expected, Expected::Anything, "it ended without close_notify");
                    return;
                }
                Err(bad) => {
                    let allowed = expected == Expected::Anything || bad == BadRecord::Fruitless;
                    assert!(allowed || matches!(bad, BadRecord::Unexpected), "{bad:?} for {expected:?}");
                    fails(&mut records, bad);
                    return;
                }
            }
        }
        match expected {
            // A message begun before makes anything but its rest unexpected, which was refused above.
            Expected::Data(expected) => assert!(data == expected, "{} octets", data.len()),
            Expected::Anything => {
                if !received.is_empty() {
                    // A length that was changed: the stream is cut elsewhere from here on.
                    return;
                }
            }
        }
    }
}

/// Opens all that is whole; true: the client has ended.
fn take(records: &mut Records, received: &mut Vec<u8>, data: &mut Vec<u8>) -> Result<bool, BadRecord> {
    loop {
        match records.open(received)? {
            Opened::NeedMore { bytes } => {
                assert!(bytes > received.len());
                return Ok(false);
            }
            Opened::Record { bytes, data: place } => {
                assert!(bytes <= received.len() && place.end <= bytes);
                data.extend_from_slice(&received[place]);
                received.drain(..bytes);
            }
            Opened::End => return Ok(true),
        }
    }
}

fn server_sends(records: &mut Records, client: &mut Peer, content: &[u8]) -> bool {
    let mut out = vec![0; Records::sealed_bytes_max(content.len())];
    let Ok(written) = records.seal(content, &mut out) else { return false };
    let read: Vec<u8> = client
        .open(&out[..written])
        .into_iter()
        .filter(|(kind, _)| *kind == DATA)
        .flat_map(|(_, content)| content)
        .collect();
    assert!(read == content);
    true
}

fn fails(records: &mut Records, bad: BadRecord) {
    let mut out = [0; 64];
    let written = bad.alert().map_or(0, |alert| records.seal_alert(alert, &mut out));
    assert_eq!(written > 0, bad.alert().is_some());
    assert!(written == 0 || records.seal(b"more", &mut [0; 200]).is_err());
}
