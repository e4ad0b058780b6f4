//! Room: the way of log lines from the workers to where they are kept.
//!
//! ```text
//! worker: line -> block of 64 KiB --full, or a tick old--> queue of blocks --> writer thread: sink
//!                   ▲                                                           │
//!                   └───────────────── blocks to fill again ◀───────────────────┘
//! ```
//!
//! A worker never waits for a log: when its blocks are all on their way, lines are dropped and counted. Each worker
//! has queues of its own, and the writer one thread for all; nothing is shared but the writer's wake-up.
//! Blocks are made as they are needed, up to the bound, and used again.
//!
//! Set aside: writes on the ring of the worker. A disk that stalls holds the buffers, and every worker would need the
//! descriptor, its reopening and the lines of the others kept apart.

mod lines;
mod sink;
mod writer;

pub use lines::{Lines, Log};
pub use sink::open;
pub use writer::{Inlet, Writer};
