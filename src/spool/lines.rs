//! A worker's side: the block that is being filled.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use super::writer::{Block, Inlet};
use crate::access_log::AccessLog;

/// Bytes at which a block is handed over; the last line may go past it.
const BLOCK_BYTES: usize = 64 * 1024;
/// Room behind that, so that a block seldom grows.
const BLOCK_ROOM: usize = 8 * 1024;
/// Texts of lines under way that are kept for reuse, and how large they may have become.
const TEXTS_KEPT: usize = 1024;
const TEXT_BYTES_KEPT: usize = 4 * 1024;

/// A log as the requests of one worker hold it: counted without the other workers.
pub type Log = Rc<Arc<AccessLog>>;

/// Where a worker's requests leave their lines.
pub struct Lines {
    inlet: Inlet,
    // Never borrowed across an await.
    filling: RefCell<Filling>,
    texts: RefCell<Vec<Vec<u8>>>,
}

struct Filling {
    log: Option<Log>,
    bytes: Vec<u8>,
    lines: u64,
    /// Blocks of this worker, the one that is filled among them.
    blocks: usize,
    dropped: u64,
}

impl Lines {
    pub fn new(inlet: Inlet) -> Lines {
        let filling = Filling { log: None, bytes: Vec::new(), lines: 0, blocks: 0, dropped: 0 };
        Lines { inlet, filling: RefCell::new(filling), texts: RefCell::default() }
    }

    /// An empty text to begin a line in.
    pub fn text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back a text for reuse.
    pub fn give_back(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < TEXTS_KEPT && text.capacity() <= TEXT_BYTES_KEPT {
            text.clear();
            texts.push(text);
        }
    }

    /// Adds what `write` appends as one line.
    pub fn add(&self, log: &Log, write: impl FnOnce(&mut Vec<u8>)) {
        let mut filling = self.filling.borrow_mut();
        if filling.log.as_ref().is_none_or(|before| !Rc::ptr_eq(before, log)) {
            // The lines of a log before a reload are its own.
            self.hand_over(&mut filling);
            filling.log = Some(log.clone());
        }
        if filling.bytes.len() >= BLOCK_BYTES {
            // It could not be handed over yet.
            self.hand_over(&mut filling);
        }
        if filling.bytes.capacity() == 0 && !self.begin_block(&mut filling) {
            filling.dropped += 1;
            return;
        }
        if filling.bytes.len() >= BLOCK_BYTES {
            filling.dropped += 1;
            return;
        }
        write(&mut filling.bytes);
        filling.lines += 1;
        if filling.bytes.len() >= BLOCK_BYTES {
            self.hand_over(&mut filling);
        }
    }

    /// Hands over what is there; called once a tick.
    pub fn flush(&self) {
        self.hand_over(&mut self.filling.borrow_mut());
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.filling.borrow().dropped
    }

    fn hand_over(&self, filling: &mut Filling) {
        let Some(log) = filling.log.as_ref().filter(|_| !filling.bytes.is_empty()) else {
            return;
        };
        let block =
            Block { log: Arc::clone(log), bytes: std::mem::take(&mut filling.bytes), lines: filling.lines };
        match self.inlet.send(block) {
            Ok(()) => filling.lines = 0,
            // The queue has room for every block: the writer is gone.
            Err(block) => {
                filling.dropped += block.lines;
                filling.lines = 0;
                filling.blocks -= 1;
            }
        }
    }

    /// False: all blocks are on their way.
    fn begin_block(&self, filling: &mut Filling) -> bool {
        match self.inlet.empty() {
            Ok(bytes) => filling.bytes = bytes,
            Err(TryRecvError::Empty) if filling.blocks < self.inlet.blocks_max() => {
                filling.blocks += 1;
                filling.bytes = Vec::with_capacity(BLOCK_BYTES + BLOCK_ROOM);
            }
            Err(_) => return false,
        }
        true
    }
}

/// Blocks that make up so many bytes; two at least, so that one is filled while one is written.
pub(super) fn blocks(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(BLOCK_BYTES).max(2)
}
