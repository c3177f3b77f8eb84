//! Wallets, and the places in their order of transactions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32};

/// A place in a wallet's order of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The wallet that pays.
    pub wallet: Address,
    /// How many transactions of the wallet come before.
    pub nonce: u64,
}

/// The next nonces of a wallet, as the chain counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonces {
    /// At the newest block; a reorganisation may take it back.
    pub latest: u64,
    /// At the last final block.
    pub settled: u64,
}

/// The wallets that pay, with every slot that was given out and is not consumed
/// for good.
#[derive(Debug, Default)]
pub(super) struct Wallets {
    wallets: BTreeMap<Address, Wallet>,
    slots: BTreeMap<Slot, Filling>,
}

#[derive(Debug)]
struct Wallet {
    /// The first nonce behind all slots.
    next_nonce: u64,
    /// The first nonce that the newest block has not consumed.
    latest: u64,
    is_funded: bool,
}

/// What is in a slot, and the block since which it waits to be consumed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling {
    pub(super) content: Content,
    pub(super) since: u64,
}

/// What is in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The transaction of an action.
    Action(Hash32),
    /// A transfer of nothing.
    Filler {
        /// How often its fee was raised.
        bumps: u32,
        /// The action whose transaction was there, and may be there yet.
        displaced: Option<Hash32>,
    },
    /// Nothing: what comes behind it is never mined.
    Hole,
}

/// What a look at a wallet brought to light.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Actions whose slots are consumed for good.
    pub(super) consumed: Vec<(Slot, Hash32)>,
    /// Actions whose slots the newest block had consumed and gave back.
    pub(super) given_back: Vec<(Slot, Hash32)>,
    /// Actions whose slots are taken back: they lay beyond what the chain counts.
    pub(super) beyond: Vec<(Slot, Hash32)>,
}

impl Wallets {
    /// Notes where the chain is with a wallet.
    pub(super) fn handle_nonces(
        &mut self,
        address: Address,
        nonces: Nonces,
        is_funded: bool,
        block: u64,
    ) -> Looked {
        let latest = nonces.latest.max(nonces.settled);
        let beyond = self.take_back_beyond(address, latest);
        let behind = self.slots.range(all_of(address)).next_back();
        let behind = behind.map_or(0, |(slot, _)| slot.nonce + 1);
        let wallet = self.wallets.entry(address).or_insert(Wallet {
            next_nonce: 0,
            // What an earlier run had sent is judged from this block on.
            latest: u64::MAX,
            is_funded,
        });
        let before = std::mem::replace(&mut wallet.latest, latest);
        wallet.is_funded = is_funded;
        // What an endpoint counted once is forgotten with its next count.
        wallet.next_nonce = latest.max(behind);
        let next_nonce = wallet.next_nonce;
        let mut looked = Looked {
            beyond,
            ..Looked::default()
        };
        let waiting = Slot::new(address, latest)..Slot::new(address, before.max(latest));
        for (slot, filling) in self.slots.range_mut(waiting) {
            filling.since = block;
            if let Content::Action(digest) = filling.content {
                looked.given_back.push((*slot, digest));
            }
        }
        self.note_holes(address, latest..next_nonce, block);
        let settled = Slot::new(address, nonces.settled);
        while let Some((slot, filling)) = self.slots.range(all_of(address)).next()
            && *slot < settled
        {
            let slot = *slot;
            if let Content::Action(digest) = filling.content {
                looked.consumed.push((slot, digest));
            }
            self.slots.remove(&slot);
        }
        looked
    }

    /// Takes slots back that more nonces come before than a wallet can have left
    /// out: an endpoint counted wrongly when they were given out, and filling up to
    /// them would cost a transaction each. Returns the actions in them.
    fn take_back_beyond(&mut self, wallet: Address, latest: u64) -> Vec<(Slot, Hash32)> {
        let mut next = latest;
        let mut missing = 0_u64;
        let waiting = Slot::new(wallet, latest)..=Slot::new(wallet, u64::MAX);
        let beyond: Vec<(Slot, Content)> = self
            .slots
            .range(waiting)
            .map(|(slot, filling)| (*slot, filling.content))
            .skip_while(|(slot, content)| {
                let is_hole = u64::from(*content == Content::Hole);
                missing += slot.nonce.saturating_sub(next) + is_hole;
                next = slot.nonce.saturating_add(1);
                missing <= HOLES_MAX as u64
            })
            .collect();
        for (slot, _) in &beyond {
            self.slots.remove(slot);
        }
        beyond
            .into_iter()
            .filter_map(|(slot, content)| match content {
                Content::Action(digest) => Some((slot, digest)),
                Content::Filler { .. } | Content::Hole => None,
            })
            .collect()
    }

    /// Slots that nobody knows anything of are holes.
    fn note_holes(&mut self, wallet: Address, nonces: std::ops::Range<u64>, block: u64) {
        let unknown: Vec<Slot> = nonces
            .map(|nonce| Slot { wallet, nonce })
            .filter(|slot| !self.slots.contains_key(slot))
            .take(HOLES_MAX)
            .collect();
        for slot in unknown {
            self.set(slot, Content::Hole, block);
        }
    }

    /// What is in a slot; `None` when it is consumed for good or was not given
    /// out.
    pub(super) fn content(&self, slot: &Slot) -> Option<Content> {
        self.slots.get(slot).map(|filling| filling.content)
    }

    /// True when no transaction is known that was sent in a slot.
    pub(super) fn is_empty(&self, slot: &Slot) -> bool {
        matches!(self.content(slot), None | Some(Content::Hole))
    }

    /// Gives a slot to the action that was sent in it before, when that is possible.
    pub(super) fn give_back(&mut self, slot: Slot, digest: Hash32, block: u64) -> bool {
        let own = Content::Action(digest);
        let is_own = self.is_empty(&slot) || self.content(&slot) == Some(own);
        let wallet = self.wallets.get_mut(&slot.wallet);
        let Some(wallet) = wallet.filter(|wallet| wallet.is_funded && is_own) else {
            return false;
        };
        let is_open = slot
            .nonce
            .checked_sub(wallet.latest)
            .is_some_and(|before| before <= HOLES_MAX as u64);
        if is_open {
            wallet.next_nonce = wallet.next_nonce.max(slot.nonce + 1);
            self.set(slot, own, block);
        }
        is_open
    }

    /// Puts something into a slot.
    pub(super) fn set(&mut self, slot: Slot, content: Content, since: u64) {
        self.slots.insert(slot, Filling { content, since });
    }

    /// Gives out the first hole or else the next slot of the funded wallet with
    /// the fewest transactions under way; `None` when all have `outstanding_max`.
    pub(super) fn assign(
        &mut self,
        digest: Hash32,
        outstanding_max: usize,
        block: u64,
    ) -> Option<Slot> {
        let funded = self.wallets.iter().filter(|(_, wallet)| wallet.is_funded);
        let (_, address) = funded
            .map(|(address, _)| (self.outstanding(address), *address))
            .min()
            .filter(|(count, _)| *count < outstanding_max)?;
        let wallet = self.wallets.get_mut(&address)?;
        let open = Slot::new(address, wallet.latest)..=Slot::new(address, u64::MAX);
        let hole = self
            .slots
            .range(open)
            .find(|(_, filling)| filling.content == Content::Hole);
        let slot = match hole {
            Some((slot, _)) => *slot,
            None => Slot::new(address, wallet.next_nonce),
        };
        wallet.next_nonce = wallet.next_nonce.max(slot.nonce + 1);
        self.set(slot, Content::Action(digest), block);
        Some(slot)
    }

    /// Notes that an endpoint takes a slot for consumed.
    pub(super) fn handle_used(&mut self, slot: Slot) {
        if let Some(wallet) = self.wallets.get_mut(&slot.wallet) {
            wallet.latest = wallet.latest.max(slot.nonce + 1);
        }
    }

    /// Notes that the transaction of a slot is sent once more.
    pub(super) fn handle_sending(&mut self, slot: &Slot, block: u64) {
        if let Some(filling) = self.slots.get_mut(slot) {
            filling.since = block;
        }
    }

    /// Slots that the newest block has not consumed, of the wallets that the chain
    /// has told of.
    pub(super) fn waiting(&self) -> impl DoubleEndedIterator<Item = (Slot, Filling)> {
        let is_waiting = |slot: &Slot| {
            let wallet = self.wallets.get(&slot.wallet);
            wallet.is_some_and(|wallet| wallet.latest <= slot.nonce)
        };
        self.slots
            .iter()
            .filter(move |(slot, _)| is_waiting(slot))
            .map(|(slot, filling)| (*slot, *filling))
    }

    /// Takes holes back that nothing is behind.
    pub(super) fn trim(&mut self) {
        for (address, wallet) in &mut self.wallets {
            while wallet.next_nonce > wallet.latest
                && let Some(last) = wallet.next_nonce.checked_sub(1)
                && let slot = Slot::new(*address, last)
                && let Some(filling) = self.slots.get(&slot)
                && filling.content == Content::Hole
            {
                self.slots.remove(&slot);
                wallet.next_nonce = last;
            }
        }
    }

    fn outstanding(&self, address: &Address) -> usize {
        let latest = self.wallets.get(address).map_or(0, |wallet| wallet.latest);
        let open = Slot::new(*address, latest)..=Slot::new(*address, u64::MAX);
        let open = self.slots.range(open);
        open.filter(|(_, filling)| filling.content != Content::Hole)
            .count()
    }
}

impl Slot {
    pub(super) const fn new(wallet: Address, nonce: u64) -> Self {
        Self { wallet, nonce }
    }
}

fn all_of(address: Address) -> std::ops::RangeInclusive<Slot> {
    Slot::new(address, 0)..=Slot::new(address, u64::MAX)
}

/// Unknown slots that are noted at one look, and that may come before one that was
/// given out: more than a wallet has under way, so that one look is enough but for a
/// wallet that somebody else uses too.
const HOLES_MAX: usize = 64;
