//! Transactions that wait, what they offer, and what a block costs.

use protocol::id::Address;

use super::{SubmitError, Tx, tx_hash};

/// Transactions that wait for a block, as endpoints keep them.
#[derive(Debug)]
pub(super) struct Pool {
    txs: Vec<Tx>,
    limits: FeeLimits,
    /// True while others want all the room there is.
    is_crowded: bool,
    /// How many gave way to others that pay more.
    pub(super) evicted: u64,
}

/// How much room there is; without a number there is room for everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct FeeLimits {
    /// Transactions of a block.
    pub block_transactions: Option<u64>,
    /// Transactions that wait.
    pub pool_transactions: Option<usize>,
}

/// What a transaction pays for its gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// At most, the tip included.
    pub max_fee: u64,
    /// Beyond the base fee.
    pub tip: u64,
}

impl Fees {
    /// Twice the base fee and the tip, raised by a quarter so many times, as peers
    /// offer it.
    #[must_use]
    pub fn offered(base_fee: u64, bumps: u32) -> Self {
        let raised = |fee: u64| (0..bumps).fold(fee, |fee, _| fee + fee / 4 + 1);
        Self {
            max_fee: raised(2 * base_fee + TIP),
            tip: raised(TIP),
        }
    }

    /// What is paid when the block's base fee is this; `None` when it is too little.
    fn price(self, base_fee: u64) -> Option<u64> {
        (self.max_fee >= base_fee).then(|| self.max_fee.min(base_fee + self.tip))
    }

    /// True for a tenth more than the other of both.
    fn outbids(self, other: Self) -> bool {
        let more = |new: u64, old: u64| new >= old + old.div_ceil(10);
        more(self.max_fee, other.max_fee) && more(self.tip, other.tip)
    }
}

impl Pool {
    pub(super) fn new(limits: FeeLimits) -> Self {
        Self {
            txs: Vec::new(),
            limits,
            is_crowded: false,
            evicted: 0,
        }
    }

    /// Takes a transaction, in place of another of its nonce when it pays a tenth
    /// more, or of the cheapest when there is no room.
    pub(super) fn submit(&mut self, tx: Tx, base_fee: u64) -> Result<(), SubmitError> {
        if tx.fees.max_fee < base_fee {
            return Err(SubmitError::BelowBaseFee);
        }
        let place = (tx.wallet, tx.nonce);
        let mut waiting = self.txs.iter_mut();
        match waiting.find(|other| (other.wallet, other.nonce) == place) {
            Some(other) if tx_hash(other) == tx_hash(&tx) => {}
            Some(other) if !tx.fees.outbids(other.fees) => return Err(SubmitError::Underpriced),
            Some(other) => *other = tx,
            None => {
                if self.txs.len() >= self.room() && !self.evict(tx.fees.tip) {
                    return Err(SubmitError::PoolFull);
                }
                self.txs.push(tx);
            }
        }
        Ok(())
    }

    /// Puts a transaction of an undone block back, unless its place is taken.
    pub(super) fn put_back(&mut self, tx: Tx) {
        let place = (tx.wallet, tx.nonce);
        let mut waiting = self.txs.iter();
        if !waiting.any(|other| (other.wallet, other.nonce) == place) {
            self.txs.push(tx);
        }
    }

    /// Takes out what a block with so much room for it holds, the best tip first;
    /// `next` are the wallets' next nonces.
    pub(super) fn fill(
        &mut self,
        base_fee: u64,
        room: u64,
        mut next: impl FnMut(&Address) -> u64,
    ) -> Vec<Tx> {
        let mut filled: Vec<Tx> = Vec::new();
        self.txs.retain(|tx| tx.nonce >= next(&tx.wallet));
        while (filled.len() as u64) < room {
            let nonce_of = |wallet: &Address, next: u64| {
                let before = filled.iter().filter(|tx| tx.wallet == *wallet);
                next + before.count() as u64
            };
            let ready = self.txs.iter().enumerate().filter_map(|(idx, tx)| {
                let is_next = tx.nonce == nonce_of(&tx.wallet, next(&tx.wallet));
                let price = tx.fees.price(base_fee).filter(|_| is_next)?;
                Some((std::cmp::Reverse(price), tx.wallet, tx.nonce, idx))
            });
            let Some((.., idx)) = ready.min() else {
                break;
            };
            filled.push(self.txs.swap_remove(idx));
        }
        filled
    }

    /// From now on others want all the room there is, or do not.
    pub(super) fn crowd(&mut self, is_crowded: bool) {
        self.is_crowded = is_crowded;
        while self.txs.len() > self.room() && self.evict(u64::MAX) {}
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    fn room(&self) -> usize {
        let room = self.limits.pool_transactions.unwrap_or(usize::MAX);
        match self.is_crowded {
            true => room.div_ceil(CROWDED_PART),
            false => room,
        }
    }

    /// Drops the cheapest, the youngest of them, if it is cheaper than this.
    fn evict(&mut self, tip: u64) -> bool {
        let all = self.txs.iter().enumerate();
        let cheapest = all.min_by_key(|(idx, tx)| (tx.fees.tip, std::cmp::Reverse(*idx)));
        let Some((idx, _)) = cheapest.filter(|(_, tx)| tx.fees.tip < tip) else {
            return false;
        };
        self.txs.remove(idx);
        self.evicted += 1;
        true
    }
}

/// The base fee of the block after one that used so much of its room, as EIP-1559
/// has it.
pub(super) fn next_base_fee(base_fee: u64, used: u64, room: u64) -> u64 {
    let target = (room / 2).max(1);
    let change = (base_fee / 8).saturating_mul(used.abs_diff(target)) / target;
    match used >= target {
        true => base_fee + change,
        false => (base_fee - change).max(BASE_FEE_MIN),
    }
}

/// The base fee of the first block, and the lowest: a gwei.
pub(super) const BASE_FEE_MIN: u64 = 1_000_000_000;

/// Nobody else pays more than so many times the lowest base fee.
pub(super) const CROWD_FACTOR_MAX: u64 = 50;

/// What peers add to the base fee: a gwei.
const TIP: u64 = 1_000_000_000;

/// The part of the room for transactions that a crowd leaves to ours.
const CROWDED_PART: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn tx(wallet: u8, nonce: u64, bumps: u32) -> Tx {
        Tx {
            wallet: Address([wallet; 20]),
            nonce,
            fees: Fees::offered(BASE_FEE_MIN, bumps),
            action: None,
        }
    }

    fn pool(pool_transactions: Option<usize>) -> Pool {
        Pool::new(FeeLimits {
            block_transactions: Some(4),
            pool_transactions,
        })
    }

    fn filled(pool: &mut Pool, room: u64) -> Vec<(u8, u64)> {
        let txs = pool.fill(BASE_FEE_MIN, room, |_| 0).into_iter();
        txs.map(|tx| (tx.wallet.0[0], tx.nonce)).collect()
    }

    #[test]
    fn a_transaction_replaces_another_for_a_tenth_more() {
        let mut pool = pool(None);
        pool.submit(tx(1, 0, 0), BASE_FEE_MIN).unwrap();
        let mut little = tx(1, 0, 0);
        little.fees.max_fee += little.fees.max_fee / 20;
        little.fees.tip += little.fees.tip / 20;
        let refused = pool.submit(little, BASE_FEE_MIN);
        assert_eq!(refused, Err(SubmitError::Underpriced));
        assert_eq!(pool.submit(tx(1, 0, 1), BASE_FEE_MIN), Ok(()));
        assert_eq!(pool.txs.len(), 1);
        let refused = pool.submit(tx(1, 1, 0), BASE_FEE_MIN * 4);
        assert_eq!(refused, Err(SubmitError::BelowBaseFee));
    }

    #[test]
    fn the_cheapest_goes_when_there_is_no_room() {
        let mut pool = pool(Some(2));
        pool.submit(tx(1, 0, 1), BASE_FEE_MIN).unwrap();
        pool.submit(tx(2, 0, 0), BASE_FEE_MIN).unwrap();
        let refused = pool.submit(tx(3, 0, 0), BASE_FEE_MIN);
        assert_eq!(refused, Err(SubmitError::PoolFull));
        assert_eq!(pool.submit(tx(3, 0, 2), BASE_FEE_MIN), Ok(()));
        assert_eq!(
            (pool.evicted, filled(&mut pool, 9)),
            (1, vec![(3, 0), (1, 0)])
        );
    }

    #[test]
    fn a_block_takes_the_best_tip_first_and_each_wallet_in_order() {
        let mut pool = pool(None);
        for (wallet, nonce, bumps) in [(1, 1, 3), (1, 0, 0), (2, 0, 1), (3, 1, 5)] {
            pool.submit(tx(wallet, nonce, bumps), BASE_FEE_MIN).unwrap();
        }
        // The third wallet waits for its first.
        assert_eq!(filled(&mut pool, 2), [(2, 0), (1, 0)]);
        assert_eq!(filled(&mut pool, 9), []);
    }

    #[test]
    fn the_base_fee_rises_with_full_blocks_and_falls_with_empty_ones() {
        let base = 8 * BASE_FEE_MIN;
        assert_eq!(next_base_fee(base, 4, 4), 9 * BASE_FEE_MIN);
        assert_eq!(next_base_fee(base, 2, 4), base);
        assert_eq!(next_base_fee(base, 0, 4), 7 * BASE_FEE_MIN);
        assert_eq!(next_base_fee(BASE_FEE_MIN, 0, 4), BASE_FEE_MIN);
    }
}
