//! Memory that was taken for a while goes back to the system.
//!
//! The allocator keeps what is freed for a second, as most of it is wanted again at once, and looks for what is older
//! when one of its threads ends. In a process at rest none does: it would keep what the configuration's text and tree took while
//! they were read, and after a reload the room of a whole generation.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread::Builder;
use std::time::Duration;

/// The allocator's second (`purge_delay` of mimalloc), and some more.
const KEPT: Duration = Duration::from_millis(1500);

/// No thread; one that waits; one that waits once more, as it was asked again meanwhile.
const NONE: u8 = 0;
const WAITS: u8 = 1;
const AGAIN: u8 = 2;

/// Has what was freed up to now given back in a moment. However often it is asked, one thread waits.
pub(super) fn give_back_soon() {
    static STATE: AtomicU8 = AtomicU8::new(NONE);
    if STATE.swap(AGAIN, SeqCst) != NONE {
        return;
    }
    let look_at_its_end = || {
        STATE.store(WAITS, SeqCst);
        loop {
            std::thread::sleep(KEPT);
            if STATE.compare_exchange(WAITS, NONE, SeqCst, SeqCst).is_ok() {
                return;
            }
            STATE.store(WAITS, SeqCst);
        }
    };
    if Builder::new().name("memory".to_owned()).spawn(look_at_its_end).is_err() {
        // It goes back at the next occasion.
        STATE.store(NONE, SeqCst);
    }
}
