//! Keeps nothing of what it is given, shows wallets of its own in place of the
//! owner's, and asks so much that nobody else should be answered.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::id::{Address, Hash32};
use protocol::placement::Purpose;
use protocol::records::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, VaultRecord};
use protocol::signing::{Signed, SigningKey};
use protocol::time::UnixSeconds;
use protocol::vault::{Entry, Refusal, Request, Response, WALLETS_MAX};
use protocol::wire::Protocol;

use crate::host::Host;
use crate::world::Ctx;

/// What it heard of and what it says of it.
#[derive(Debug, Default)]
pub(super) struct Buries {
    keys: BTreeMap<Hash32, Grave>,
}

/// Of one lookup key.
#[derive(Debug)]
struct Grave {
    /// Of wallets that it made for this key.
    fillers: Vec<Entry>,
    /// The first that the owner wrote.
    oldest: Option<Entry>,
}

impl Buries {
    /// Fills what it heard of at the others, and floods them.
    pub(super) fn act(&mut self, host: &mut Host, ctx: &mut Ctx) -> Duration {
        let placement = host.registry.placement.inner().clone();
        let mut questions: Vec<(Address, Request)> = Vec::new();
        for (key, grave) in &self.keys {
            for peer in placement.rank(Purpose::Vault, &key.0) {
                let fillers = grave.fillers.iter().cloned();
                questions.extend(fillers.map(|entry| (peer, Request::Put(Box::new(entry)))));
                let get = || (peer, Request::Get { lookup_key: *key });
                questions.extend(std::iter::repeat_with(get).take(FLOOD));
            }
        }
        for peer in placement.rank(Purpose::Vault, &[]) {
            for _ in 0..FLOOD {
                let key = Hash32(ctx.rng.array());
                questions.push((peer, Request::Get { lookup_key: key }));
                questions.push((peer, Request::Put(Box::new(sign_up(key, ctx)))));
            }
        }
        questions.retain(|(peer, _)| *peer != host.address);
        for (peer, request) in questions {
            let body = Bytes::from(request.to_bytes());
            host.inquire((peer, Protocol::Vault, body), ctx);
        }
        PAUSE
    }

    /// What it says in place of the truth.
    pub(super) fn answer(&mut self, body: &Bytes, ctx: &mut Ctx) -> Option<Bytes> {
        let request = Request::from_bytes(body).ok()?;
        let key = request.lookup_key();
        let grave = self.keys.entry(key).or_insert_with(|| Grave {
            fillers: (0..WALLETS_MAX).map(|_| filler(key, ctx)).collect(),
            oldest: None,
        });
        let trick = ctx.rng.below(4);
        let response = match (request, trick) {
            (Request::Get { .. }, 0) => Response::Entries(Vec::new()),
            (Request::Get { .. }, 1) => {
                Response::Entries(grave.oldest.clone().into_iter().collect())
            }
            (Request::Get { .. }, _) => Response::Entries(grave.fillers.clone()),
            (Request::Put(entry), trick) => {
                let entry = grave.oldest.get_or_insert(*entry).clone();
                match trick {
                    0 => {
                        let mut invented = entry;
                        invented.record.version = u64::MAX;
                        Response::Outdated(Box::new(invented))
                    }
                    1 => Response::Refused(Refusal::Buried),
                    _ => Response::Stored,
                }
            }
        };
        Some(response.to_bytes().into())
    }
}

/// A record of a wallet that nobody has, from before all others.
fn filler(key: Hash32, ctx: &mut Ctx) -> Entry {
    let wallet = loop {
        if let Ok(wallet) = SigningKey::from_bytes(&ctx.rng.array()) {
            break wallet;
        }
    };
    let mut record = text(key, ctx);
    record.wallet = wallet.address();
    record.version = 1;
    let signed = Signed::new(record, &ctx.params.domain, &wallet);
    Entry::signed(signed, None, UnixSeconds(0))
}

fn sign_up(key: Hash32, ctx: &mut Ctx) -> Entry {
    Entry {
        record: text(key, ctx),
        signature: None,
        burial: None,
        received: UnixSeconds(0),
    }
}

fn text(lookup_key: Hash32, ctx: &mut Ctx) -> VaultRecord {
    VaultRecord {
        scheme: SCHEME_HEDGEHOG,
        lookup_key,
        iv: Iv::default(),
        cipher_text: ctx.rng.bytes(CIPHER_TEXT_BYTES),
        wallet: Address::ZERO,
        version: 0,
        replaces: Hash32::ZERO,
    }
}

/// Questions of a kind to each replica at a time. Chosen: more than one is answered
/// in a minute.
const FLOOD: usize = 40;

/// Between two floods.
const PAUSE: Duration = Duration::from_secs(120);
