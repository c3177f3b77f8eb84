//! A relayer with its disk and a chain that mines a block only when somebody sends
//! a transaction.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::action::{Action, ActionDomain};
use crate::origin::Origin;
use crate::relayer::{Nonces, Receipt, Request, Slot};
use crate::signing::{Domain, Signed};

pub(super) struct World {
    pub(super) identity: Identity,
    pub(super) now: Moment,
    pub(super) rows: BTreeMap<Hash32, Row>,
    /// Actions on chain, with their blocks.
    pub(super) landed: BTreeMap<Hash32, u64>,
    pub(super) notes: Vec<Note>,
    /// How often something does not work out.
    pub(super) troubles: f64,
    pub(super) is_disk_full: bool,
    pub(super) is_poor: bool,
    pub(super) loses_trials: bool,
    pub(super) loses_sends: bool,
    /// How long a transaction takes to an endpoint, one after the other.
    pub(super) send_takes: Duration,
    pub(super) sends: usize,
    /// Until when transactions are on their way.
    sender_free: Moment,
    pub(super) rejection: Option<Rejection>,
    /// What the endpoint says instead of simulating and of taking transactions.
    pub(super) words: Option<&'static str>,
    /// What was asked for and reaches the disk or the chain at its time.
    asked: BTreeMap<(Moment, u64), Output>,
    news: BTreeMap<(Moment, u64), Input>,
    names: Vec<&'static str>,
    replies: Vec<Response>,
    pool: BTreeMap<Slot, Option<Hash32>>,
    nonce: u64,
    block: u64,
    is_away: bool,
    paid: Vec<Hash32>,
    number: u64,
    rng: StdRng,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let now = Moment::from_unix(UnixSeconds(1_700_000_000));
        let mut world = Self {
            identity: Identity::new(config(), [], now),
            now,
            rows: BTreeMap::new(),
            landed: BTreeMap::new(),
            notes: Vec::new(),
            troubles: 0.0,
            is_disk_full: false,
            is_poor: false,
            loses_trials: false,
            loses_sends: false,
            send_takes: Duration::ZERO,
            sends: 0,
            sender_free: now,
            rejection: None,
            words: None,
            asked: BTreeMap::new(),
            news: BTreeMap::new(),
            names: Vec::new(),
            replies: Vec::new(),
            pool: BTreeMap::new(),
            nonce: 7,
            block: 10,
            is_away: false,
            paid: Vec::new(),
            number: 0,
            rng: StdRng::seed_from_u64(seed),
        };
        world.connect();
        world
    }

    /// The relayer learns where the chain is.
    fn connect(&mut self) {
        self.tell(self.chain());
        self.pass(Duration::from_millis(500));
        self.names.clear();
    }

    fn chain(&self) -> Input {
        Input::Chain(Chain {
            is_away: self.is_away,
            head: Some(self.block),
            final_block: Some(self.block),
        })
    }

    pub(super) fn set_away(&mut self, is_away: bool) {
        self.is_away = is_away;
        self.tell(self.chain());
    }

    /// Loses everything that is not on disk.
    pub(super) fn crash(&mut self) {
        self.asked.clear();
        self.news.clear();
        self.names.clear();
        let rows = self.rows.values().cloned();
        self.identity = Identity::new(config(), rows, self.now);
        self.drain();
        if !self.is_away {
            self.tell(self.chain());
        }
    }

    pub(super) fn submit(&mut self, action: &SignedAction) {
        let request = Request::Submit {
            action: Box::new(action.clone()),
            proof: None,
            token: None,
        };
        self.ask(request.to_bytes());
    }

    pub(super) fn ask(&mut self, body: Vec<u8>) {
        self.number += 1;
        let origin = Origin {
            peer: Address::ZERO,
            ip: None,
        };
        self.tell(Input::Request {
            request: RequestId(self.number),
            origin,
            body: body.into(),
        });
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.identity.handle(input, self.now);
        self.drain();
    }

    /// Tells it what is so at present, after a while: others may overtake.
    fn tell_later(&mut self, input: Input) {
        self.number += 1;
        let at = self.now + Duration::from_millis(self.rng.random_range(1..300));
        self.news.insert((at, self.number), input);
    }

    pub(super) fn take_names(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.names)
    }

    pub(super) fn replies(&mut self) -> Vec<Response> {
        std::mem::take(&mut self.replies)
    }

    /// Carries out everything that is asked for at present.
    pub(super) fn carry_all(&mut self) {
        for wish in std::mem::take(&mut self.asked).into_values() {
            self.carry(wish);
        }
    }

    /// Tells it all that is on its way.
    pub(super) fn hear_all(&mut self) {
        for input in std::mem::take(&mut self.news).into_values() {
            self.tell(input);
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Does what comes next.
    pub(super) fn step(&mut self) {
        let Some(at) = self.next() else {
            return;
        };
        self.now = self.now.max(at);
        if let Some(entry) = self.news.first_entry()
            && entry.key().0 <= at
        {
            let input = entry.remove();
            self.tell(input);
        } else if let Some(entry) = self.asked.first_entry()
            && entry.key().0 <= at
        {
            let wish = entry.remove();
            self.carry(wish);
        } else {
            self.identity.handle_timeout(self.now);
            self.drain();
        }
    }

    fn next(&self) -> Option<Moment> {
        let asked = self.asked.keys().next().map(|(at, _)| *at);
        let news = self.news.keys().next().map(|(at, _)| *at);
        let deadline = self.identity.deadline().map(|(at, _)| at);
        asked.into_iter().chain(news).chain(deadline).min()
    }

    #[track_caller]
    pub(super) fn check_landed(&self, count: usize) {
        let open: Vec<_> = self
            .rows
            .values()
            .filter(|row| !self.landed.contains_key(&row.digest))
            .map(|row| &row.stage)
            .collect();
        assert!(open.is_empty(), "{} did not land: {open:?}", open.len());
        assert_eq!(self.landed.len(), count);
        assert_eq!(self.paid.len(), count, "each is paid for once");
        assert_eq!(self.identity.pending(), 0);
    }

    fn drain(&mut self) {
        while let Some(wish) = self.identity.poll() {
            self.names.push(name(&wish));
            match wish {
                Output::Respond { response, .. } => self.replies.push(response),
                Output::Note(note @ Note::WalletEmpty(_)) => self.notes.push(note),
                Output::Note(Note::SentLater { .. })
                | Output::Refuse { .. }
                | Output::Show { .. }
                | Output::Publish(_) => {}
                wish @ (Output::Send { .. } | Output::Cancel { .. })
                    if self.send_takes > Duration::ZERO =>
                {
                    self.number += 1;
                    self.sends += 1;
                    self.sender_free = self.sender_free.max(self.now) + self.send_takes;
                    self.asked.insert((self.sender_free, self.number), wish);
                }
                wish => {
                    let delay = match wish {
                        Output::LookUp { .. } | Output::Look { .. } | Output::Sign(_) => 0,
                        Output::Persist(_) => self.rng.random_range(1..20),
                        // Endpoints answer in any order.
                        _ => self.rng.random_range(1..200),
                    };
                    self.number += 1;
                    let at = self.now + Duration::from_millis(delay);
                    self.asked.insert((at, self.number), wish);
                }
            }
        }
    }

    fn carry(&mut self, wish: Output) {
        let trouble = self.rng.random_bool(self.troubles);
        match wish {
            Output::LookUp {
                request, signer, ..
            } => {
                let is_known = signer != key(STRANGER).address();
                let account = is_known.then(|| account(key(1).address(), signer));
                self.tell(Input::LookedUp { request, account });
            }
            Output::Look { wanted } => {
                let landed = wanted.iter();
                let landed =
                    landed.filter_map(|(digest, _)| Some((*digest, self.receipt(digest)?)));
                let landed = (!trouble).then(|| landed.collect());
                let settled = self.block;
                self.tell_later(Input::Looked { settled, landed });
            }
            Output::Try { .. } if self.loses_trials => {}
            Output::Try { digest, .. } => {
                let found = match (self.receipt(&digest), &self.rejection) {
                    _ if self.is_away || trouble => Trial::Unavailable,
                    (Some(receipt), _) => Trial::Landed(receipt),
                    (None, Some(rejection)) => Trial::Rejected(rejection.clone()),
                    (None, None) => self.called(),
                };
                self.tell_later(Input::Tried { digest, found });
            }
            Output::Send { .. } if self.loses_sends => {}
            Output::Send { digest, slot, .. } => {
                let sent = self.send(slot, Some(digest), trouble);
                self.tell_later(Input::Sent { digest, slot, sent });
            }
            Output::Cancel { slot, .. } => drop(self.send(slot, None, trouble)),
            Output::LookAtWallet { id, .. } => {
                let nonces = Nonces {
                    latest: self.nonce,
                    settled: self.nonce,
                };
                let is_funded = !self.is_poor;
                let seen = (!trouble && !self.is_away).then_some(WalletSeen { nonces, is_funded });
                self.tell_later(Input::Wallet { id, seen });
            }
            Output::Persist(changes) => {
                let is_stored = !trouble && !self.is_disk_full;
                for change in changes.into_iter().filter(|_| is_stored) {
                    match change.row {
                        Some(row) => drop(self.rows.insert(change.digest, *row)),
                        None => drop(self.rows.remove(&change.digest)),
                    }
                }
                let error = (!is_stored).then(|| "the disk is full".to_owned());
                self.tell(Input::Persisted { error });
            }
            Output::Sign(record) => {
                let domain = Domain {
                    chain_id: DOMAIN.chain_id,
                    verifying_contract: Address([3; 20]),
                };
                self.tell(Input::Signed(Signed::new(record, &domain, &key(9))));
            }
            wish => panic!("{wish:?} is not carried"),
        }
    }

    fn called(&self) -> Trial {
        match self.words {
            Some(words) => Trial::Refused {
                message: words.to_owned(),
            },
            None => Trial::Passed { gas: 50_000 },
        }
    }

    /// Takes a transaction, and mines what can run.
    fn send(
        &mut self,
        slot: Slot,
        digest: Option<Hash32>,
        trouble: bool,
    ) -> Result<Hash32, Unsent> {
        if self.is_away {
            return Err(Unsent::Unanswered);
        }
        let rejected = |message: &str| {
            let message = message.to_owned();
            Err(Unsent::Rejected { message })
        };
        if let Some(words) = self.words {
            return rejected(words);
        }
        if slot.nonce < self.nonce {
            return rejected("nonce too low: next nonce 9, tx nonce 7");
        }
        match self.rng.random_range(0..3) {
            0 if trouble => return rejected("txpool is full: 4096 transactions wait for a block"),
            1 if trouble => return Err(Unsent::Unanswered),
            _ => {}
        }
        self.pool.insert(slot, digest);
        self.mine();
        match trouble {
            // It arrived all the same.
            true => Err(Unsent::Unanswered),
            false => Ok(Hash32([u8::try_from(slot.nonce % 256).unwrap_or(0); 32])),
        }
    }

    fn mine(&mut self) {
        let before = self.nonce;
        let next = |nonce| Slot {
            wallet: WALLET,
            nonce,
        };
        while let Some(digest) = self.pool.remove(&next(self.nonce)) {
            self.nonce += 1;
            self.paid.extend(digest);
            if let Some(digest) = digest {
                self.landed.entry(digest).or_insert(self.block + 1);
            }
        }
        if self.nonce == before {
            return;
        }
        self.block += 1;
        self.tell_later(self.chain());
        self.tell_later(Input::Index);
    }

    fn receipt(&self, digest: &Hash32) -> Option<Receipt> {
        let block_number = *self.landed.get(digest)?;
        Some(Receipt {
            tx_hash: Hash32([5; 32]),
            block_number,
            block_hash: Hash32([6; 32]),
        })
    }
}

fn name(wish: &Output) -> &'static str {
    match wish {
        Output::Respond { .. } => "respond",
        Output::Refuse { .. } => "refuse",
        Output::LookUp { .. } => "look up",
        Output::Look { .. } => "look",
        Output::Try { .. } => "try",
        Output::Send { .. } => "send",
        Output::Cancel { .. } => "cancel",
        Output::LookAtWallet { .. } => "look at wallet",
        Output::Persist(_) => "persist",
        Output::Show { .. } => "show",
        Output::Sign(_) => "sign",
        Output::Publish(_) => "publish",
        Output::Note(_) => "note",
    }
}

fn config() -> Config {
    let relayer = relayer::Config::new(DOMAIN);
    Config::new(Address([9; 20]), relayer, vec![WALLET], 0)
}

pub(super) fn follow(nonce: u8) -> SignedAction {
    follow_by(1, nonce)
}

/// What the owner of a key wishes.
pub(super) fn follow_by(number: u8, nonce: u8) -> SignedAction {
    let action = Action {
        user_id: UserId(u64::from(number)),
        entity_type: "User".to_owned(),
        entity_id: EntityId(2),
        action: "Follow".to_owned(),
        metadata: String::new(),
        nonce: Hash32([nonce; 32]),
    };
    action.sign(&DOMAIN, &key(number))
}

pub(super) fn digest_of(action: &SignedAction) -> Hash32 {
    action.action.digest(&DOMAIN)
}

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

/// The key of somebody who has no user.
pub(super) const STRANGER: u8 = 66;

pub(super) const WALLET: Address = Address([77; 20]);

pub(super) const DOMAIN: ActionDomain = ActionDomain {
    chain_id: 1338,
    entity_manager: Address([2; 20]),
};
