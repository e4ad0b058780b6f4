//! Memory that was taken for a while goes back to the system.
//!
//! The allocator keeps what is freed for a second, as most of it is wanted again at once, and looks for what is older
//! when one of its threads ends. In a process at rest none does: it would keep what the configuration's text and tree took while
//! they were read, and after a reload the room of a whole generation.

use std::thread::Builder;
use std::time::Duration;

/// The allocator's second (`purge_delay` of mimalloc), and some more.
const KEPT: Duration = Duration::from_millis(1500);

/// Has what was freed up to now given back in a moment.
pub(super) fn give_back_soon() {
    let look_at_its_end = || std::thread::sleep(KEPT);
    // Without a thread it goes back at the next occasion.
    let _ = Builder::new().name("memory".to_owned()).spawn(look_at_its_end);
}
