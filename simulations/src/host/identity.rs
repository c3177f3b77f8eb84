//! The identity role: the relayer and a vault's replica, over a virtual chain and
//! disk.

use protocol::identity::{Identity, Input, Output, Trial, Unsent, WalletSeen};
use protocol::signing::Signed;
use protocol::vault::{Replica, ReplicaInput, ReplicaOutput};
use protocol::wire::Topic;

use super::role::RPC_DELAY;
use super::{Host, Role};
use crate::chain::client::Client;
use crate::world::Ctx;

impl Role for Identity {
    const NAME: &'static str = "identity";

    fn carry(host: &mut Host, (): (), wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Respond { request, response } => {
                host.respond(request, response.to_bytes(), ctx);
            }
            Output::Refuse { request } => host.refuse(request, ctx),
            Output::LookUp {
                request,
                action,
                signer,
            } => {
                let account = ctx.chain.account(action.user_id, signer);
                host.tell::<Self>(Input::LookedUp { request, account });
            }
            Output::Look { wanted } => host.tell::<Self>(Input::Looked {
                landed: Some(ctx.chain.receipts(&wanted)),
                settled: ctx.chain.finalized(),
            }),
            Output::Sign(record) => {
                let signed = Signed::new(record, &ctx.params.domain, &host.key);
                host.tell::<Self>(Input::Signed(signed));
            }
            Output::Publish(body) => host.gossip(Topic::Actions, body.to_vec(), ctx),
            Output::Persist(changes) => host.write::<Self>(ctx, move |host, _| {
                let error = host.disk.relay(changes).err();
                Some(Input::Persisted { error })
            }),
            Output::Try { digest, .. } => at_chain(host, ctx, move |chain, ctx| {
                let tried = chain.call(&mut ctx.rpc(), |view| Some(view.try_action(&digest)));
                let found = tried.unwrap_or(Trial::Unavailable);
                Some(Input::Tried { digest, found })
            }),
            Output::Send {
                digest,
                action,
                slot,
                bumps,
                ..
            } => at_chain(host, ctx, move |chain, ctx| {
                let sent = match chain.is_reached(&mut ctx.rpc()) {
                    true => ctx.chain.send(slot, bumps, Some(action)),
                    false => Err(Unsent::Unanswered),
                };
                Some(Input::Sent { digest, slot, sent })
            }),
            Output::Cancel { slot, bumps, .. } => at_chain(host, ctx, move |chain, ctx| {
                if chain.is_reached(&mut ctx.rpc()) {
                    // There is no answer.
                    let _ = ctx.chain.send(slot, bumps, None);
                }
                None
            }),
            Output::LookAtWallet {
                id,
                wallet,
                final_block,
            } => at_chain(host, ctx, move |chain, ctx| {
                let nonces = chain.call(&mut ctx.rpc(), |view| view.nonces(&wallet, final_block));
                let is_funded = ctx.chain.is_funded(&wallet);
                let seen = nonces.map(|nonces| WalletSeen { nonces, is_funded });
                Some(Input::Wallet { id, seen })
            }),
            // Nobody looks at what waits for the chain, or reads what is noted.
            Output::Show { .. } | Output::Note(_) => {}
        }
    }
}

/// Does something at the chain's endpoints.
fn at_chain(
    host: &Host,
    ctx: &mut Ctx,
    work: impl FnOnce(&mut Client, &mut Ctx) -> Option<Input> + 'static,
) {
    host.later::<Identity>(RPC_DELAY, ctx, |host, ctx| work(&mut host.run.chain, ctx));
}

impl Role for Replica {
    const NAME: &'static str = "replica";

    fn carry(host: &mut Host, (): (), wish: ReplicaOutput, ctx: &mut Ctx) {
        match wish {
            ReplicaOutput::Respond { request, response } => {
                host.respond(request, response.to_bytes(), ctx);
            }
            ReplicaOutput::Refuse { request } => host.refuse(request, ctx),
            ReplicaOutput::Read { lookup_key } => {
                let fact = host.disk.read_records(lookup_key);
                host.tell::<Self>(fact);
            }
            ReplicaOutput::Persist {
                lookup_key, after, ..
            } => host.write::<Self>(ctx, move |host, _| {
                let is_stored = host.disk.keep_records(lookup_key, after).is_ok();
                Some(ReplicaInput::Persisted {
                    lookup_key,
                    is_stored,
                })
            }),
        }
    }
}
