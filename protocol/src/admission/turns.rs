//! What waits, in turns.

use std::collections::{BTreeMap, VecDeque};

/// Queues that have turns: whoever was served comes after all others.
#[derive(Debug)]
pub struct Turns<K, T> {
    waiting: BTreeMap<K, VecDeque<T>>,
    /// Whose turn it is next, each key that waits once.
    order: VecDeque<K>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord, T> Turns<K, T> {
    /// Puts something at the end of its queue.
    pub fn push(&mut self, key: K, item: T) {
        let queue = self.waiting.entry(key).or_default();
        if queue.is_empty() {
            self.order.push_back(key);
        }
        queue.push_back(item);
    }

    /// The front of each queue, whose turn is first comes first.
    pub fn fronts(&self) -> impl Iterator<Item = (&K, &T)> {
        let front = |key| Some((key, self.waiting.get(key)?.front()?));
        self.order.iter().filter_map(front)
    }

    /// Takes the front of a queue, whose next turn comes after all others.
    pub fn take(&mut self, key: &K) -> Option<T> {
        let queue = self.waiting.get_mut(key)?;
        let item = queue.pop_front();
        let is_over = queue.is_empty();
        self.order.retain(|other| other != key);
        match is_over {
            true => drop(self.waiting.remove(key)),
            false => self.order.push_back(*key),
        }
        item
    }

    /// Takes what fits from the front of every queue; turns stay as they are.
    pub fn take_while(&mut self, fits: impl Fn(&T) -> bool) -> Vec<(K, T)> {
        let mut taken = Vec::new();
        for (key, queue) in &mut self.waiting {
            while queue.front().is_some_and(&fits) {
                taken.extend(queue.pop_front().map(|item| (*key, item)));
            }
        }
        self.forget_empty();
        taken
    }

    /// Drops what does not fit.
    pub fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        for queue in self.waiting.values_mut() {
            queue.retain(&fits);
        }
        self.forget_empty();
    }

    /// How much waits under a key.
    #[must_use]
    pub fn count(&self, key: &K) -> usize {
        self.waiting.get(key).map_or(0, VecDeque::len)
    }

    /// How many keys wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget_empty(&mut self) {
        self.waiting.retain(|_, queue| !queue.is_empty());
        let waiting = &self.waiting;
        self.order.retain(|key| waiting.contains_key(key));
    }
}
