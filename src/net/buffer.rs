//! Byte buffers lent to the ring, kept in a bounded pool for each worker.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Write};
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};

/// Holds one full TLS record with its head; what a request needs.
pub const SMALL: usize = 18 * 1024;
/// Holds a burst of body: eight full records sealed and their overhead, so that one send carries them.
pub const LARGE: usize = 136 * 1024;

/// Buffers kept for reuse when nobody holds them; more are given back to the allocator at once.
const KEPT: usize = 1024;

/// The idle buffers of one worker. The one given back last is lent first: it is in the cache. What was not
/// needed for a while is given back to the allocator ([`BufferPool::trim`]).
#[derive(Default)]
pub struct BufferPool {
    small: Shelf,
    large: Shelf,
}

/// Idle blocks of one size.
#[derive(Default)]
struct Shelf {
    blocks: RefCell<Vec<Box<[u8]>>>,
    // The fewest that lay here since the last trim: nobody needed these.
    unused: Cell<usize>,
}

impl Shelf {
    fn take(&self) -> Option<Box<[u8]>> {
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks.pop();
        self.unused.set(self.unused.get().min(blocks.len()));
        block
    }

    fn give_back(&self, block: Box<[u8]>) {
        let mut blocks = self.blocks.borrow_mut();
        if blocks.len() < KEPT {
            blocks.push(block);
        }
    }

    fn trim(&self) {
        let mut blocks = self.blocks.borrow_mut();
        // Half of what was not needed: a load that comes in bursts finds most of its blocks again.
        let surplus = self.unused.get().div_ceil(2);
        blocks.drain(..surplus);
        self.unused.set(blocks.len());
    }
}

impl BufferPool {
    pub fn small(self: &Rc<Self>) -> Buffer {
        self.lend(&self.small, SMALL)
    }

    pub fn large(self: &Rc<Self>) -> Buffer {
        self.lend(&self.large, LARGE)
    }

    /// A buffer of at least `capacity` bytes; past [`LARGE`] it is not pooled.
    pub fn at_least(self: &Rc<Self>, capacity: usize) -> Buffer {
        match capacity {
            size if size <= SMALL => self.small(),
            size if size <= LARGE => self.large(),
            _ => Buffer {
                bytes: vec![0; capacity].into_boxed_slice(),
                start: 0,
                end: 0,
                tailroom: 0,
                pool: None,
            },
        }
    }

    /// Gives back to the allocator what was not needed since the last call; for every second or so.
    pub fn trim(&self) {
        self.small.trim();
        self.large.trim();
    }

    fn lend(self: &Rc<Self>, from: &Shelf, capacity: usize) -> Buffer {
        let bytes = from.take().unwrap_or_else(|| vec![0; capacity].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, tailroom: 0, pool: Some(self.clone()) }
    }
}

/// A run of bytes inside a fixed block, with room before and after it.
///
/// The default buffer has no block: it stands in while the ring holds the real one.
#[derive(Default)]
pub struct Buffer {
    bytes: Box<[u8]>,
    // start <= end <= bytes.len()
    start: usize,
    end: usize,
    // Kept free behind what is received, for what frames it.
    tailroom: usize,
    pool: Option<Rc<BufferPool>>,
}

impl Buffer {
    /// Empties the buffer and leaves room around what it will receive: before it for
    /// [`prepend`](Self::prepend), behind it for [`append`](Self::append).
    pub fn reset(&mut self, headroom: usize, tailroom: usize) {
        self.start = headroom.min(self.bytes.len());
        self.end = self.start;
        self.tailroom = tailroom;
    }

    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that can be received behind the content.
    pub fn spare(&self) -> usize {
        self.bytes.len().saturating_sub(self.end + self.tailroom)
    }

    /// Bytes of the block.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a block is behind it (the default buffer has none).
    pub fn has_block(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub fn spare_mut(&mut self) -> &mut [u8] {
        let spare = self.spare();
        &mut self.bytes[self.end..self.end + spare]
    }

    /// The first `count` bytes of the spare room are content now.
    pub fn grow(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Drops `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Drops `count` bytes from the front and keeps their room as headroom, even when nothing is left.
    pub fn consume_to_headroom(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// What is content now, to [`restore`](Self::restore) after it was sent: sending moves marks, not bytes.
    pub fn mark(&self) -> Mark {
        Mark { start: self.start, end: self.end }
    }

    /// Makes the same bytes content again; nothing may have been written since the mark was taken.
    pub fn restore(&mut self, mark: Mark) {
        self.end = mark.end.min(self.bytes.len());
        self.start = mark.start.min(self.end);
    }

    /// Keeps the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
    }

    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves the content to the front of the block, to make room behind it.
    pub fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Appends, moving into a larger block when this one is full.
    pub fn append(&mut self, more: &[u8]) {
        if self.bytes.len() - self.end < more.len() {
            self.widen(self.start, more.len());
        }
        self.bytes[self.end..self.end + more.len()].copy_from_slice(more);
        self.end += more.len();
    }

    /// Puts bytes before the content: into the headroom, which is there by design; a head that outgrew it
    /// moves the content.
    pub fn prepend(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            self.widen(bytes.len(), 0);
        }
        self.start -= bytes.len();
        self.bytes[self.start..self.start + bytes.len()].copy_from_slice(bytes);
    }

    /// Makes room: at least `before` bytes in front and `after` behind.
    fn widen(&mut self, before: usize, after: usize) {
        let length = self.len();
        let needed = before + length + after;
        if needed <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, before);
        } else {
            let mut larger = match &self.pool {
                Some(pool) => pool.at_least(needed.next_power_of_two()),
                None => Buffer {
                    bytes: vec![0; needed].into_boxed_slice(),
                    start: 0,
                    end: 0,
                    tailroom: 0,
                    pool: None,
                },
            };
            larger.tailroom = self.tailroom;
            larger.bytes[before..before + length].copy_from_slice(self.filled());
            *self = larger;
        }
        self.start = before;
        self.end = before + length;
    }

    /// For the ring: receive behind the content.
    pub(super) fn into_tail(self) -> Tail {
        Tail(self)
    }

    /// For the ring: send the content.
    pub(super) fn into_content(self) -> Content {
        Content(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let shelf = match self.bytes.len() {
            SMALL => &pool.small,
            LARGE => &pool.large,
            _ => return,
        };
        shelf.give_back(std::mem::take(&mut self.bytes));
    }
}

/// Given to a protocol that sends it when it may.
impl bytes::Buf for Buffer {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.filled()
    }

    fn advance(&mut self, count: usize) {
        self.consume(count);
    }
}

/// TLS output is written here: every slice at once, so that one send carries all records.
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for slice in slices {
            self.append(slice);
            written += slice.len();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a buffer's content lay.
#[derive(Clone, Copy)]
pub struct Mark {
    start: usize,
    end: usize,
}

pub(super) struct Tail(pub(super) Buffer);

// SAFETY: the pointer is into a boxed slice, which does not move while the box is owned by the operation;
// `bytes_total` counts exactly the bytes from the pointer to the block's end; all are initialised.
unsafe impl IoBufMut for Tail {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare_mut().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.spare()
    }

    unsafe fn set_init(&mut self, count: usize) {
        self.0.grow(count);
    }
}

pub(super) struct Content(pub(super) Buffer);

// SAFETY: the pointer is into a boxed slice, which does not move while the box is owned by the operation;
// `bytes_init` counts exactly the content.
unsafe impl IoBuf for Content {
    fn read_ptr(&self) -> *const u8 {
        self.0.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_goes_in_front_of_the_body_without_moving_it() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = pool.small();
        buffer.reset(64, 0);
        buffer.append(b"old head|body");
        let body = buffer.filled()[9..].as_ptr();
        buffer.consume_to_headroom(9);
        buffer.prepend(b"a longer new head|");
        assert_eq!(buffer.filled(), b"a longer new head|body");
        assert_eq!(buffer.filled()[18..].as_ptr(), body);
    }

    #[test]
    fn content_that_outgrows_its_block_moves_and_stays_whole() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = pool.small();
        let body = vec![7; SMALL];
        buffer.append(&body);
        buffer.prepend(b"head");
        buffer.append(b"tail");
        assert_eq!(&buffer.filled()[..4], b"head");
        assert_eq!(&buffer.filled()[4..4 + SMALL], body);
        assert_eq!(&buffer.filled()[4 + SMALL..], b"tail");
    }

    #[test]
    fn buffers_return_to_the_pool_and_the_pool_is_bounded() {
        let pool = Rc::new(BufferPool::default());
        let lent: Vec<Buffer> = (0..KEPT + 5).map(|_| pool.small()).collect();
        drop(lent);
        assert_eq!(pool.small.blocks.borrow().len(), KEPT);
    }

    #[test]
    fn buffers_nobody_needed_are_given_back_and_those_in_use_are_kept() {
        let pool = Rc::new(BufferPool::default());
        drop((0..100).map(|_| pool.large()).collect::<Vec<_>>());
        pool.trim();
        for _ in 0..20 {
            drop((0..10).map(|_| pool.large()).collect::<Vec<_>>());
            pool.trim();
        }
        assert_eq!(pool.large.blocks.borrow().len(), 10);
    }
}
