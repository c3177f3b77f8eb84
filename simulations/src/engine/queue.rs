//! A bucketed calendar queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use protocol::time::Moment;

/// Events by time; those of one moment in the order in which they were put in.
///
/// The queue moves keys; the events themselves stay where they are in an arena.
/// Keys of the next four seconds lie in buckets of a millisecond, 8 bytes each in
/// the order in which they were put in, and are sorted when their turn comes;
/// later ones wait in a heap.
#[derive(Debug)]
pub struct Queue<T> {
    /// Keys of the bucket that is being emptied, the next one last.
    current: Vec<(u64, u32)>,
    buckets: Vec<Vec<Near>>,
    /// Buckets' memory that waits to be used again: many of the thousands were full
    /// once, and few are at a time.
    spare: Vec<Vec<Near>>,
    /// Number of the bucket that is being emptied.
    base: u64,
    /// Keys in `buckets`.
    near: usize,
    far: BinaryHeap<Reverse<Key>>,
    arena: Vec<Option<T>>,
    free: Vec<u32>,
    sequence: u64,
}

/// A key of a later bucket.
#[derive(Debug, Clone, Copy)]
struct Near {
    /// Nanoseconds since the bucket's first.
    offset: u32,
    idx: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: u64,
    sequence: u64,
    idx: u32,
}

impl<T> Queue<T> {
    /// Creates an empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: Vec::new(),
            buckets: vec![Vec::new(); BUCKETS],
            spare: Vec::new(),
            base: 0,
            near: 0,
            far: BinaryHeap::new(),
            arena: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }

    /// Puts an event in. One that lies before the last event that was taken is
    /// taken next.
    pub fn push(&mut self, at: Moment, event: T) {
        let idx = match self.free.pop() {
            Some(idx) => {
                self.arena[idx as usize] = Some(event);
                idx
            }
            None => {
                self.arena.push(Some(event));
                u32::try_from(self.arena.len() - 1).expect("fewer than 2^32 events are pending")
            }
        };
        self.sequence += 1;
        self.place(Key {
            at: at.as_nanos(),
            sequence: self.sequence,
            idx,
        });
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<(Moment, T)> {
        while self.current.is_empty() {
            self.advance()?;
        }
        let (at, idx) = self.current.pop()?;
        self.free.push(idx);
        let event = self.arena[idx as usize].take();
        Some((
            Moment::from_nanos(at),
            event.expect("a key has its event until it is taken"),
        ))
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len() + self.near + self.far.len()
    }

    /// True when no event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys of one moment are placed in the order of their sequence.
    fn place(&mut self, key: Key) {
        let bucket = key.at >> BUCKET_BITS;
        if bucket <= self.base {
            let place = self.current.partition_point(|(at, _)| *at > key.at);
            self.current.insert(place, (key.at, key.idx));
        } else if bucket - self.base < BUCKETS as u64 {
            let keys = &mut self.buckets[slot(bucket)];
            if keys.capacity() == 0 {
                *keys = self.spare.pop().unwrap_or_default();
            }
            let offset = key.at - (bucket << BUCKET_BITS);
            keys.push(Near {
                offset: u32::try_from(offset).expect("a bucket is a millisecond"),
                idx: key.idx,
            });
            self.near += 1;
        } else {
            self.far.push(Reverse(key));
        }
    }

    /// Opens the next bucket; `None` when nothing is left.
    fn advance(&mut self) -> Option<()> {
        if self.near == 0 {
            let Reverse(first) = self.far.peek()?;
            self.base = first.at >> BUCKET_BITS;
        } else {
            self.base += 1;
        }
        let mut keys = std::mem::take(&mut self.buckets[slot(self.base)]);
        if !keys.is_empty() {
            self.near -= keys.len();
            keys.sort_by_key(|key| key.offset);
            let first = self.base << BUCKET_BITS;
            let later_first = keys.drain(..).rev();
            self.current
                .extend(later_first.map(|key| (first + u64::from(key.offset), key.idx)));
            self.spare.push(keys);
        }
        while let Some(Reverse(first)) = self.far.peek()
            && (first.at >> BUCKET_BITS) < self.base + BUCKETS as u64
        {
            let Reverse(key) = self.far.pop()?;
            self.place(key);
        }
        Some(())
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).expect("fewer buckets than addresses")
}

/// A bucket is 2^20 ns, about a millisecond.
const BUCKET_BITS: u32 = 20;

/// Buckets that lie open; together about four seconds.
const BUCKETS: usize = 4096;
