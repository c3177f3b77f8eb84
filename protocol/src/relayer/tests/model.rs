//! A relayer against a chain that forgets: whatever happens in the meantime, in
//! the end every accepted action is on chain, and paid for once.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

#[test]
fn whatever_the_chain_undoes_and_forgets_lands_in_the_end() {
    let actions: Vec<SignedAction> = (0..ACTIONS).map(follow).collect();
    for seed in 0..100 {
        let mut model = Model::new(seed, &actions);
        for _ in 0..400 {
            model.step();
        }
        model.calm();
        model.check();
    }
}

/// A relayer with its disk, a chain, and what is on the way between them.
struct Model<'a> {
    seed: u64,
    rng: StdRng,
    relayer: Relayer,
    rows: BTreeMap<Hash32, Row>,
    /// What the relayer asked for and was not done yet; a crash loses it.
    asked: Vec<Event>,
    fresh: &'a [SignedAction],
    accepted: BTreeSet<Hash32>,
    blocks: Vec<Vec<Tx>>,
    /// The last final block.
    settled: usize,
    pool: BTreeMap<Slot, Tx>,
    is_up: bool,
}

#[derive(Clone)]
struct Tx {
    slot: Slot,
    digest: Option<Hash32>,
    bumps: u32,
}

impl<'a> Model<'a> {
    fn new(seed: u64, fresh: &'a [SignedAction]) -> Self {
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            relayer: Relayer::new(Config::new(DOMAIN), [], now()),
            rows: BTreeMap::new(),
            asked: Vec::new(),
            fresh,
            accepted: BTreeSet::new(),
            blocks: vec![Vec::new()],
            settled: 0,
            pool: BTreeMap::new(),
            is_up: true,
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..45 => self.carry_out_one(),
            45..60 => self.mine(),
            60..80 => self.look(),
            80..86 => self.submit(),
            86..90 => self.reorganise(),
            90..93 => self.land_by_another(),
            93..96 => self.is_up = !self.is_up,
            96..98 => self.forget_one(),
            _ => self.crash(),
        }
        self.drain();
    }

    fn calm(&mut self) {
        self.is_up = true;
        for _ in 0..100 {
            self.mine();
            self.look();
            self.drain();
            while !self.asked.is_empty() {
                self.carry_out_one();
                self.drain();
            }
        }
    }

    fn check(&self) {
        let seed = self.seed;
        let on_chain = |digest: &Hash32| {
            let mined = self.blocks.iter().flatten();
            mined.filter(|tx| tx.digest == Some(*digest)).count()
        };
        for digest in &self.accepted {
            assert_ne!(
                on_chain(digest),
                0,
                "seed {seed}: {digest} is not on chain: {:?}, {:?}",
                self.relayer.status(digest),
                self.relayer.wallets
            );
            let paid = self.blocks.iter().flatten();
            let paid = paid.filter(|tx| tx.digest == Some(*digest) && tx.slot.wallet == WALLET);
            assert!(
                paid.count() <= 1,
                "seed {seed}: {digest} was paid for again"
            );
        }
        assert_eq!(self.relayer.pending(), 0, "seed {seed}");
        assert!(self.pool.is_empty(), "seed {seed}: something waits");
    }

    fn submit(&mut self) {
        let Some((action, rest)) = self.fresh.split_first() else {
            return;
        };
        self.fresh = rest;
        let origin = Origin {
            peer: Address::ZERO,
            ip: None,
        };
        let submission = Submission {
            action: action.clone(),
            proof: None,
            is_paid: false,
            rank: self.rng.random_range(0..3),
            account: account(action.action.user_id, action),
        };
        self.relayer
            .handle_submit(RequestId(0), origin, submission, now());
    }

    fn drain(&mut self) {
        self.asked
            .extend(std::iter::from_fn(|| self.relayer.poll_event()));
        while let Some(reply) = self.relayer.poll_reply() {
            if let Response::Accepted { digest, .. } = reply.response {
                self.accepted.insert(digest);
            }
        }
    }

    /// Does something that was asked for: rows are stored in order, all else
    /// overtakes.
    fn carry_out_one(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let is_disk = |event: &Event| matches!(event, Event::Persist(_) | Event::Forget { .. });
        let mut place = self.rng.random_range(0..self.asked.len());
        if is_disk(&self.asked[place]) {
            place = self.asked.iter().position(is_disk).unwrap_or(place);
        }
        match self.asked.remove(place) {
            Event::Persist(row) => {
                let (digest, revision) = (row.digest, row.revision);
                self.rows.insert(digest, *row);
                self.relayer.handle_persisted(&digest, revision);
            }
            Event::Forget { digest } => {
                self.rows.remove(&digest);
            }
            Event::Simulate { digest, .. } => {
                let outcome = match self.receipt(&digest) {
                    _ if !self.is_up => Simulation::Unavailable,
                    Some(receipt) => Simulation::Landed(receipt),
                    None => Simulation::Passed { gas: 1 },
                };
                self.relayer.handle_simulated(&digest, outcome, now());
            }
            Event::Send {
                digest,
                slot,
                bumps,
                ..
            } => {
                let tx = Tx {
                    slot,
                    digest: Some(digest),
                    bumps,
                };
                match self.send(tx) {
                    Ok(()) => self.relayer.handle_sent(&digest, slot, hash(slot, bumps)),
                    Err(failure) => self.relayer.handle_send_failed(&digest, slot, failure),
                }
            }
            Event::Cancel { slot, bumps } => {
                let digest = None;
                let _ = self.send(Tx {
                    slot,
                    digest,
                    bumps,
                });
            }
        }
    }

    fn send(&mut self, tx: Tx) -> Result<(), SendFailure> {
        if !self.is_up {
            return Err(SendFailure::Retry);
        }
        if tx.slot.nonce < self.next_nonce(tx.slot.wallet, self.blocks.len()) {
            return Err(SendFailure::NonceUsed);
        }
        match self.pool.get(&tx.slot) {
            Some(other) if other.digest == tx.digest && other.bumps == tx.bumps => Ok(()),
            Some(other) if other.bumps >= tx.bumps => Err(SendFailure::Retry),
            Some(_) | None => {
                self.pool.insert(tx.slot, tx);
                Ok(())
            }
        }
    }

    fn mine(&mut self) {
        let mut block = Vec::new();
        for (slot, tx) in std::mem::take(&mut self.pool) {
            self.blocks.push(block);
            let next = self.next_nonce(slot.wallet, self.blocks.len());
            block = self.blocks.pop().unwrap();
            match slot.nonce.cmp(&next) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => block.push(tx),
                std::cmp::Ordering::Greater => {
                    self.pool.insert(slot, tx);
                }
            }
        }
        self.blocks.push(block);
        let settled = self.blocks.len().saturating_sub(1 + CONFIRMATIONS);
        self.settled = self.settled.max(settled);
    }

    fn reorganise(&mut self) {
        for _ in 0..self.rng.random_range(1..=CONFIRMATIONS) {
            if self.blocks.len() - 1 <= self.settled {
                return;
            }
            for tx in self.blocks.pop().unwrap_or_default() {
                if self.rng.random_bool(0.5) {
                    self.pool.entry(tx.slot).or_insert(tx);
                }
            }
        }
    }

    /// Another relayer, with a wallet of its own for each action.
    fn land_by_another(&mut self) {
        let open: Vec<Hash32> = self.rows.keys().copied().collect();
        if open.is_empty() {
            return;
        }
        let digest = open[self.rng.random_range(0..open.len())];
        let mut wallet = Address::ZERO;
        wallet.0.copy_from_slice(&digest.0[..20]);
        let slot = Slot { wallet, nonce: 0 };
        // A refusal says that it has done so before.
        let _ = self.send(Tx {
            slot,
            digest: Some(digest),
            bumps: 0,
        });
    }

    /// The pool is full elsewhere.
    fn forget_one(&mut self) {
        let place = self.rng.random_range(0..=self.pool.len());
        if let Some(slot) = self.pool.keys().nth(place).copied() {
            self.pool.remove(&slot);
        }
    }

    fn crash(&mut self) {
        self.asked.clear();
        let rows = self.rows.values().cloned();
        self.relayer = Relayer::new(Config::new(DOMAIN), rows, now());
    }

    /// Tells the relayer where the chain is, as a driver does.
    fn look(&mut self) {
        if !self.is_up {
            self.relayer.handle_chain_away();
            return;
        }
        self.relayer.handle_block(self.blocks.len() as u64);
        let open = self.rows.values().filter(|row| !row.stage.is_over());
        for digest in open.map(|row| row.digest).collect::<Vec<_>>() {
            match self.receipt(&digest) {
                Some(receipt) => self.relayer.handle_mined(&digest, receipt),
                None => self.relayer.handle_undone(&digest),
            }
        }
        self.relayer.handle_final(self.settled as u64);
        let nonces = Nonces {
            latest: self.next_nonce(WALLET, self.blocks.len()),
            settled: self.next_nonce(WALLET, self.settled + 1),
        };
        self.relayer.handle_wallet(WALLET, nonces, true);
    }

    fn receipt(&self, digest: &Hash32) -> Option<Receipt> {
        let holds = |block: &Vec<Tx>| block.iter().any(|tx| tx.digest == Some(*digest));
        let number = self.blocks.iter().position(holds)?;
        Some(Receipt {
            tx_hash: *digest,
            block_number: number as u64,
            block_hash: Hash32::ZERO,
        })
    }

    fn next_nonce(&self, wallet: Address, blocks: usize) -> u64 {
        let mined = self.blocks[..blocks].iter().flatten();
        mined.filter(|tx| tx.slot.wallet == wallet).count() as u64
    }
}

fn now() -> Moment {
    Moment::from_unix(UnixSeconds(1_700_000_000))
}

fn hash(slot: Slot, bumps: u32) -> Hash32 {
    let mut hash = Hash32::ZERO;
    hash.0[..8].copy_from_slice(&slot.nonce.to_be_bytes());
    hash.0[8..12].copy_from_slice(&bumps.to_be_bytes());
    hash
}

const ACTIONS: u8 = 30;

const CONFIRMATIONS: usize = 5;
