//! What the discovery role's facts and wishes are in this process: indexing from
//! the chain, for every staked peer, and for those with the role the rest of it.
//!
//! The machine is [`gossip::discovery`]; it runs in a [`shell`].

use std::sync::Arc;

use gossip::discovery::{Config, Discovery, IndexFailure, Input, Note, Output, plan};
use gossip::heads::CountedHead;
use gossip::spread;
use protocol::chain::{ChainBlock, ChainEvent};
use protocol::codec;
use protocol::id::Role;
use protocol::origin::RequestId;
use protocol::records::Head;
use protocol::registry::Registry;
use protocol::signing::Signed;
use storage::index::{BlockEntry, RecoveredBlock};
use storage::tables::META;
use tokio::sync::{mpsc, watch};

use crate::chain::ChainStatus;
use crate::context::Context;
use crate::index::{IndexHandle, IndexTaskError};
use crate::net::{
    Audience, Gossip, Inbound, Messages, NetError, Protocol, Refusal, Responders, Verdicts,
};
use crate::shell::{self, Driver, Work};
use crate::store::StoreError;

pub(crate) mod numbers;

use numbers::Numbers;

/// Starts to index from the chain.
///
/// # Errors
///
/// [`NetError`] when another driver took the topics or the protocol.
pub async fn spawn(context: &Context, roles: &[Role]) -> Result<(), NetError> {
    let signs_heads = roles.contains(&Role::Discovery);
    let requests = match signs_heads {
        true => context.net.serve(Protocol::Entries).await?,
        // Closed: it brings nothing.
        false => mpsc::channel(1).1,
    };
    let config = Config {
        spread: spread_config(context, true),
        signs_heads,
        confirmations: context.config.chain.confirmations,
    };
    let machine = Discovery::new(config, stored_head(context), context.clock.now());
    let mut registry = context.chain.registry();
    registry.mark_changed();
    let mut status = context.chain.status();
    status.mark_changed();
    let hands = Hands {
        messages: context.net.subscribe_to(Audience::Indexes).await?,
        // Closed until the machine wishes to follow the chain.
        chain: mpsc::channel(1).1,
        is_indexing: false,
        requests,
        registry,
        status,
        verdicts: Verdicts::default(),
        responders: Responders::default(),
        numbers: Numbers::new(context),
        context: context.clone(),
    };
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(())
}

/// The limits of a [`spread::Spread`] in production.
pub(crate) fn spread_config(context: &Context, follows_chain: bool) -> spread::Config {
    spread::Config {
        follows_chain,
        final_is_firm: context.config.chain.confirmations > 0,
        ..spread::Config::new(context.peer, context.contracts.domain())
    }
}

struct Hands {
    context: Context,
    chain: mpsc::Receiver<ChainEvent>,
    is_indexing: bool,
    messages: Messages,
    requests: mpsc::Receiver<Inbound>,
    registry: watch::Receiver<Arc<Registry>>,
    status: watch::Receiver<ChainStatus>,
    verdicts: Verdicts,
    responders: Responders,
    numbers: Numbers,
}

impl Driver<Discovery> for Hands {
    async fn next(&mut self) -> Option<Input> {
        let mut events = Vec::new();
        // The branches are polled in random order: a chain that is caught up
        // with must not starve gossip.
        let input = tokio::select! {
            Ok(()) = self.registry.changed() => {
                Input::Registry(self.registry.borrow_and_update().clone())
            }
            Ok(()) = self.status.changed() => {
                let head = self.status.borrow_and_update().head;
                Input::Tip(head.map_or(0, |head| head.number))
            }
            // The feed ends after `TooDeep` only, or when the peer stops.
            1.. = self.chain.recv_many(&mut events, EVENTS_MAX), if !self.is_indexing => {
                Input::Chain(events)
            }
            Some(message) = self.messages.recv() => self.gossip(message),
            Some(inbound) = self.requests.recv() => {
                let (id, origin, body) = self.responders.hold(inbound);
                Input::Request { id, origin, body }
            }
            else => return None,
        };
        Some(input)
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        let index = self.context.index.clone();
        match wish {
            Output::Index(blocks) => {
                let domain = self.context.contracts.action_domain();
                work.in_order(async move {
                    let done = apply(index, blocks, domain).await;
                    Some(Input::Indexed(done.map_err(failure)))
                });
            }
            Output::Unindex { to } => work.in_order(async move {
                let done = unindex(&index, to).await;
                Some(Input::Indexed(done.map_err(failure)))
            }),
            Output::Clear => work.in_order(async move {
                let done = index.clear().await;
                Some(Input::Indexed(done.map_err(failure)))
            }),
            Output::Subscribe => {
                let start = self.context.contracts.start();
                self.chain = self.context.chain.subscribe_entries(start);
            }
            Output::Settled(number) => index.set_settled(number),
            Output::Fault(fault) => {
                if let Some(error) = &fault {
                    tracing::error!(%error, "indexing has stopped; it starts over");
                }
                index.set_fault(fault);
            }
            Output::Sign(head) => self.sign(head, work),
            Output::Keep(counted) => self.keep(counted, work),
            Output::Publish { topic, body } => {
                let net = self.context.net.clone();
                work.beside(async move {
                    if let Err(error) = net.publish(topic, body).await {
                        tracing::debug!(?topic, %error, "not published");
                    }
                    None
                });
            }
            Output::Judge { token, verdict } => self.verdicts.settle(token, verdict),
            Output::Read {
                id,
                sequences,
                limit,
            } => {
                work.beside(async move {
                    let read = tokio::task::spawn_blocking(move || {
                        Ok::<_, IndexTaskError>(index.snapshot()?.entries(sequences, limit)?)
                    });
                    let entries = match read.await {
                        Ok(Ok(entries)) => Some(entries),
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "entries could not be read");
                            None
                        }
                        Err(_) => None,
                    };
                    Some(Input::Read { id, entries })
                });
            }
            Output::Respond { id, body } => self.responders.respond(id, body),
            Output::Refuse { id } => self.refuse(id),
            Output::Note(note) => log(&note),
        }
    }

    fn observe(&mut self, machine: &Discovery) {
        self.is_indexing = machine.is_indexing();
        self.numbers.batches_held(machine.held_count());
        if let Some(counted) = machine.counted() {
            self.numbers.counted(counted.head.block_number);
        }
    }
}

impl Hands {
    fn gossip(&mut self, message: Gossip) -> Input {
        Input::Gossip {
            token: self.verdicts.hold(message.verdict),
            topic: message.topic,
            body: message.data,
        }
    }

    fn refuse(&mut self, id: RequestId) {
        tracing::debug!("a request for entries is left without an answer");
        self.responders.refuse(id, Refusal::Rejected);
    }

    /// Persists a head before anybody sees it.
    fn sign(&self, head: Head, work: &mut Work<Input>) {
        let number = head.block_number;
        let domain = self.context.contracts.domain();
        let signed = Signed::new(head, &domain, &self.context.key);
        let store = self.context.store.clone();
        work.in_order(async move {
            let claimed = signed.clone();
            let claim: Result<(), StoreError> = store
                .write(move |tables| Ok(tables.claim_head(&claimed)?))
                .await;
            Some(match claim {
                Ok(()) => Input::Signed(Box::new(signed)),
                Err(error) => {
                    tracing::debug!(%error, "head left unsigned");
                    Input::Unsigned { number }
                }
            })
        });
    }

    fn keep(&self, counted: Option<Box<CountedHead>>, work: &mut Work<Input>) {
        let store = self.context.store.clone();
        work.in_order(async move {
            let key = COUNTED_HEAD.to_owned();
            let kept: Result<(), StoreError> = store
                .write(move |tables| {
                    match counted {
                        Some(counted) => {
                            tables.put(META, &key, &codec::to_bytes(&*counted).into())?;
                        }
                        None => {
                            tables.remove(META, &key)?;
                        }
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = kept {
                tracing::warn!(%error, "the counted head was not kept");
            }
            None
        });
    }
}

/// Indexes the blocks in one transaction, as [`plan`] says.
async fn apply(
    index: IndexHandle,
    run: Vec<Arc<ChainBlock>>,
    domain: protocol::action::ActionDomain,
) -> Result<(), IndexTaskError> {
    let reader = index.clone();
    // Recovering signers keeps a core busy.
    let planned = tokio::task::spawn_blocking(move || {
        let snapshot = reader.snapshot()?;
        let cursor = snapshot.cursor()?.map(|cursor| cursor.number);
        let known = |number| {
            let block = snapshot.block(number)?;
            Ok::<_, IndexTaskError>(block.map(|block| block.hash))
        };
        let plan = plan(&run, cursor, known)?;
        let blocks = plan.blocks.iter();
        let blocks: Vec<RecoveredBlock> = blocks.map(|block| recovered(block, &domain)).collect();
        Ok::<_, IndexTaskError>((plan.rollback, blocks))
    });
    let (rollback, blocks) = planned.await.map_err(|_| IndexTaskError::Stopped)??;
    if let Some(to) = rollback {
        index.rollback(to).await?;
    }
    if !blocks.is_empty() {
        index.apply(blocks).await?;
    }
    Ok(())
}

fn recovered(block: &ChainBlock, domain: &protocol::action::ActionDomain) -> RecoveredBlock {
    let entries = block.entries.iter().cloned();
    RecoveredBlock {
        number: block.block.number,
        hash: block.block.hash,
        parent: Some(block.parent),
        time: block.time,
        entries: entries
            .map(|entry| BlockEntry::recover(entry, domain))
            .collect(),
    }
}

async fn unindex(index: &IndexHandle, to: u64) -> Result<(), IndexTaskError> {
    let cursor = index.height().borrow().block_number;
    if cursor > to {
        index.rollback(to).await?;
    }
    Ok(())
}

/// What a machine is told of an error of the index.
pub(crate) fn failure(error: IndexTaskError) -> IndexFailure {
    IndexFailure {
        reason: error.to_string(),
        is_lost: error.asks_for_a_new_index(),
    }
}

fn log(note: &Note) {
    match note {
        Note::Contradiction {
            signer,
            block_number,
        } => log_contradiction(signer, *block_number),
        Note::FinalUndone { to, from } => tracing::warn!(
            to,
            from,
            "final blocks were undone; heads are computed again from the deployment"
        ),
        Note::MajorityDiffers { block_number } => tracing::error!(
            number = block_number,
            "a majority signed another head than this peer computes; compare the chain's endpoint with others"
        ),
    }
}

pub(crate) fn log_contradiction(signer: &protocol::id::Address, block_number: u64) {
    tracing::warn!(%signer, block_number, "a discovery peer signed two heads of one number");
}

fn stored_head(context: &Context) -> Option<CountedHead> {
    let stored: Result<_, StoreError> = context
        .store
        .read(|tables| Ok(tables.get(META, &COUNTED_HEAD.to_owned())?));
    let bytes = stored.ok().flatten()?;
    codec::from_bytes("counted head", &bytes, bytes.len()).ok()
}

/// Events of the chain that are handled together: a step of the index. Chosen: one
/// flush for many blocks while it catches up.
const EVENTS_MAX: usize = 256;

/// Where the newest counted head is kept.
const COUNTED_HEAD: &str = "counted_head";
