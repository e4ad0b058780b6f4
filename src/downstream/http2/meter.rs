//! What a client makes us do by frames that carry nothing: counted, and bounded.
//!
//! Reads the heads of frames (RFC 9113 §4.1) as they pass and keeps a budget for each kind of nuisance; a budget
//! fills again with time, so that a long connection may do in an hour what a flood does in a second. What is
//! malformed is the protocol's to find.

/// Octets of the client's preface (RFC 9113 §3.4).
const PREFACE_BYTES: u64 = 24;
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A budget that was used up: an answer of ENHANCE_YOUR_CALM (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// Streams opened and taken back at once: each has begun work behind us (CVE-2023-44487).
    Resets,
    /// PING, SETTINGS, PRIORITY and frames of unknown types.
    Control,
    /// Windows opened again and again, octet by octet.
    WindowUpdates,
    /// A head cut in many frames.
    Continuations,
}

impl Flood {
    /// One word for logs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Flood::Resets => "http2_resets",
            Flood::Control => "http2_control_frames",
            Flood::WindowUpdates => "http2_window_updates",
            Flood::Continuations => "http2_continuations",
        }
    }
}

/// A number of frames at once, and so many more each second.
struct Budget {
    most: u32,
    a_second: u32,
    // In thousandths of a frame.
    left: u64,
}

impl Budget {
    const fn new(most: u32, a_second: u32) -> Budget {
        Budget { most, a_second, left: most as u64 * 1000 }
    }

    fn refill(&mut self, elapsed_ms: u64) {
        let more = elapsed_ms.saturating_mul(self.a_second.into());
        self.left = self.left.saturating_add(more).min(u64::from(self.most) * 1000);
    }

    fn spend(&mut self) -> bool {
        let enough = self.left >= 1000;
        self.left = self.left.saturating_sub(1000);
        enough
    }
}

pub(super) struct Meter {
    // Octets to skip: of the preface, or of a frame's payload.
    skip: u64,
    // The preface has not passed yet.
    greeting: bool,
    head: [u8; FRAME_HEAD_BYTES],
    // Octets of `head` that are there.
    filled: usize,
    // HEADERS without END_HEADERS came: its CONTINUATION frames are due.
    in_head: bool,
    // The payload being skipped is that of a head.
    head_payload: bool,
    continuations: u32,
    refilled_ms: u64,
    resets: Budget,
    control: Budget,
    window_updates: Budget,
}

/// CONTINUATION frames of one head: 32 KiB of head fit in two full frames.
const CONTINUATIONS_MAX: u32 = 16;

impl Meter {
    pub(super) fn new(now_ms: u64) -> Meter {
        Meter {
            skip: PREFACE_BYTES,
            greeting: true,
            head: [0; FRAME_HEAD_BYTES],
            filled: 0,
            in_head: false,
            head_payload: false,
            continuations: 0,
            refilled_ms: now_ms,
            // A page that is left takes back all its streams at once.
            resets: Budget::new(200, 20),
            control: Budget::new(100, 10),
            // Browsers send one for every 16 KiB or more of what they got.
            window_updates: Budget::new(10_000, 10_000),
        }
    }

    /// Whether the preface, a frame's head or the head of a request has begun and is not whole: what must not take for ever.
    pub(super) fn is_inside_head(&self) -> bool {
        self.filled > 0 || self.in_head || (self.skip > 0 && (self.head_payload || self.greeting))
    }

    /// Takes note of what was received.
    ///
    /// # Errors
    /// The budget that is used up.
    pub(super) fn read(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), Flood> {
        let elapsed = now_ms.saturating_sub(self.refilled_ms);
        self.refilled_ms = now_ms;
        for budget in [&mut self.resets, &mut self.control, &mut self.window_updates] {
            budget.refill(elapsed);
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() as u64);
                bytes = &bytes[skipped as usize..];
                self.skip -= skipped;
                self.greeting &= self.skip > 0;
                continue;
            }
            let taken = (FRAME_HEAD_BYTES - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRAME_HEAD_BYTES {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.skip = u64::from(u32::from_be_bytes([0, high, middle, low]));
        self.head_payload = matches!(kind, HEADERS | CONTINUATION);
        let (enough, flood) = match kind {
            HEADERS => {
                self.in_head = flags & END_HEADERS == 0;
                self.continuations = 0;
                return Ok(());
            }
            CONTINUATION => {
                self.in_head = flags & END_HEADERS == 0;
                self.continuations += 1;
                (self.continuations <= CONTINUATIONS_MAX, Flood::Continuations)
            }
            RST_STREAM => (self.resets.spend(), Flood::Resets),
            WINDOW_UPDATE => (self.window_updates.spend(), Flood::WindowUpdates),
            // Small ones are bounded by the protocol, and PUSH_PROMISE is refused by it.
            DATA | PUSH_PROMISE => return Ok(()),
            _ => (self.control.spend(), Flood::Control),
        };
        if enough { Ok(()) } else { Err(flood) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn after(bytes: &[u8]) -> Result<Meter, Flood> {
        let mut meter = Meter::new(0);
        meter.read(PREFACE, 0)?;
        meter.read(bytes, 0)?;
        Ok(meter)
    }

    #[test]
    fn budgets_end_and_fill_again() {
        for (kind, payload, most, flood) in [
            (RST_STREAM, 4, 200, Flood::Resets),
            (PING, 8, 100, Flood::Control),
            (SETTINGS, 0, 100, Flood::Control),
            (0x77, 3, 100, Flood::Control),
            (WINDOW_UPDATE, 4, 10_000, Flood::WindowUpdates),
        ] {
            let one = frame(kind, 0, &vec![0; payload]);
            assert_eq!(after(&one.repeat(most + 1)).err(), Some(flood));
            let mut meter = after(&one.repeat(most)).unwrap_or_else(|flood| panic!("{flood:?}"));
            // A minute fills it, and no more than that.
            meter.read(&one.repeat(most), 60_000).unwrap();
            assert_eq!(meter.read(&one, 60_000), Err(flood));
        }
    }

    #[test]
    fn a_head_in_too_many_pieces_is_a_flood_and_the_next_head_counts_anew() {
        let head = |pieces: usize| {
            let mut all = frame(HEADERS, 0, b"x");
            for piece in 0..pieces {
                let last = if piece + 1 == pieces { END_HEADERS } else { 0 };
                all.extend(frame(CONTINUATION, last, b""));
            }
            all
        };
        let most = CONTINUATIONS_MAX as usize;
        assert!(after(&[head(most), head(most)].concat()).is_ok());
        assert_eq!(after(&head(most + 1)).err(), Some(Flood::Continuations));
    }

    #[test]
    fn it_knows_what_is_unfinished_at_every_split() {
        let all =
            [PREFACE.to_vec(), frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"de")].concat();
        let body = frame(DATA, 0, &[9; 100]);
        let bytes = [all.clone(), body].concat();
        for split in 0..bytes.len() {
            let mut meter = Meter::new(0);
            meter.read(&bytes[..split], 0).unwrap();
            let after_heads = split.saturating_sub(all.len());
            let expected = match split {
                _ if split < PREFACE.len() => true,
                _ if split == PREFACE.len() => false,
                _ if split < all.len() => true,
                _ => (1..FRAME_HEAD_BYTES).contains(&after_heads),
            };
            assert_eq!(meter.is_inside_head(), expected, "split at {split}");
            meter.read(&bytes[split..], 0).unwrap();
            assert!(!meter.is_inside_head());
        }
    }

    #[test]
    fn a_body_of_any_length_costs_nothing() {
        let large = frame(DATA, 0, &[0; 16_384]);
        let mut meter = after(&[]).unwrap_or_else(|flood| panic!("{flood:?}"));
        for _ in 0..10_000 {
            meter.read(&large, 0).unwrap();
        }
    }
}
