//! The run's RPC endpoints: each shows the chain in its own way, which changes
//! with time.

use std::time::Duration;

use protocol::chain::BlockHeader;
use protocol::id::{Address, Hash32};
use protocol::identity::Trial;
use protocol::registry::BlockRef;
use protocol::relayer::Nonces;
use protocol::time::Moment;

use super::{Block, Chain};
use crate::engine::digest64;

/// All endpoints. How one is doing follows from the seed and the time alone.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    seed: u64,
    /// Of a thousand stretches of time, in how many an endpoint is ill.
    ill_permille: u64,
}

/// How an endpoint is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Silent,
    /// It answers after a while.
    Slow,
    /// It does not have the last blocks.
    Lags(u64),
    /// Its newest block is of another fork.
    Forked,
    /// It gives few blocks at once.
    Stingy,
    /// It serves another chain.
    OtherChain,
}

/// What an endpoint shows of the chain.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    chain: &'a Chain,
    state: State,
}

impl Endpoints {
    /// Endpoints that are ill in a share of the time.
    #[must_use]
    pub fn new(seed: u64, ill_share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share between 0 and 1"
        )]
        let ill_permille = (ill_share * 1000.0) as u64;
        Self { seed, ill_permille }
    }

    /// The endpoint of a peer in its order of preference; peers share them.
    #[must_use]
    pub fn of(&self, peer: u32, idx: usize) -> u64 {
        (u64::from(peer) + idx as u64) % ENDPOINTS
    }

    /// How many a peer uses.
    #[must_use]
    pub fn count(peer: u32) -> usize {
        2 + usize::from(peer.is_multiple_of(2))
    }

    /// What an endpoint shows; `None` when it does not answer.
    #[must_use]
    pub fn view<'a>(
        &self,
        endpoint: u64,
        chain: &'a Chain,
        is_calm: bool,
        now: Moment,
    ) -> Option<View<'a>> {
        let state = match is_calm {
            true => State::Well,
            false => self.state(endpoint, now),
        };
        (state != State::Silent).then_some(View { chain, state })
    }

    fn state(&self, endpoint: u64, now: Moment) -> State {
        let stretch = now.unix().0 / STRETCH_SECONDS;
        let key = [self.seed, endpoint, stretch]
            .map(u64::to_le_bytes)
            .concat();
        let draw = digest64(&key);
        if draw % 1000 >= self.ill_permille {
            return State::Well;
        }
        match draw / 1000 % 6 {
            0 => State::Silent,
            1 => State::Slow,
            2 => State::Lags(1 + draw / 5000 % LAG_BLOCKS_MAX),
            3 => State::Forked,
            4 => State::Stingy,
            _ => State::OtherChain,
        }
    }
}

impl View<'_> {
    /// The id of the chain that it serves.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        let id = self.chain.actions.chain_id;
        id + u64::from(self.state == State::OtherChain)
    }

    /// Until it answers.
    #[must_use]
    pub fn latency(&self) -> Duration {
        match self.state {
            State::Slow => LATENCY_SLOW,
            _ => LATENCY,
        }
    }

    /// Number of the newest block that it has.
    #[must_use]
    pub fn head(&self) -> u64 {
        let lag = match self.state {
            State::Lags(blocks) => blocks,
            _ => 0,
        };
        self.chain.tip().number.saturating_sub(lag)
    }

    /// Blocks that it gives at once at most.
    #[must_use]
    pub fn blocks_max(&self) -> u64 {
        match self.state {
            State::Stingy => STINGY_BLOCKS_MAX,
            _ => u64::MAX,
        }
    }

    /// The header of a block, if it has one.
    #[must_use]
    pub fn header(&self, number: u64) -> Option<BlockHeader> {
        let mut header = self.block(number)?.header();
        if self.is_forked(number) {
            header.hash = protocol::entry::sha256(&header.hash.0);
        }
        Some(header)
    }

    /// A block as it is told, if it has one; none of another fork is told of.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Block> {
        self.chain.block(number).filter(|_| number <= self.head())
    }

    /// True for a block of another fork.
    #[must_use]
    pub fn is_forked(&self, number: u64) -> bool {
        self.state == State::Forked && number > 0 && number == self.chain.tip().number
    }

    /// How many transactions of a wallet it counts, and up to a final block.
    #[must_use]
    pub fn nonces(&self, wallet: &Address, final_block: Option<u64>) -> Option<Nonces> {
        let settled = match final_block {
            Some(block) if block > self.head() => return None,
            Some(block) => self.chain.nonce_at(wallet, block),
            None => 0,
        };
        Some(Nonces {
            latest: self.chain.nonce_at(wallet, self.head()),
            settled,
        })
    }

    /// The block of a transaction, and whether it did what it was sent for.
    #[must_use]
    pub fn receipt(&self, hash: &Hash32) -> Option<(BlockRef, bool)> {
        let (block, is_success) = self.chain.tx(hash)?;
        let header = self.header(block.number)?;
        Some((header.block(), is_success))
    }

    /// What would become of an action.
    #[must_use]
    pub fn try_action(&self, digest: &Hash32) -> Trial {
        let landed = self.chain.receipt(digest);
        match landed.filter(|receipt| receipt.block_number <= self.head()) {
            Some(receipt) => Trial::Landed(receipt),
            None => Trial::Passed { gas: GAS },
        }
    }
}

/// What an action uses.
const GAS: u64 = 100_000;

/// Endpoints of a run.
const ENDPOINTS: u64 = 5;

/// An endpoint is well or ill for this long. Chosen: several blocks, and shorter
/// than an outage.
const STRETCH_SECONDS: u64 = 40;

/// Fewer than a peer asks for that was away for a while.
const STINGY_BLOCKS_MAX: u64 = 3;

/// More than what counts as late.
const LAG_BLOCKS_MAX: u64 = 6;

const LATENCY: Duration = Duration::from_millis(30);

/// More than what counts as slow.
const LATENCY_SLOW: Duration = Duration::from_secs(8);
