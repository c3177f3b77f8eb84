//! What serves a peer's own user: the author and the vault.

use std::time::Duration;

use protocol::author::{Author, Input, Output};
use protocol::relayer::solve_proof;
use protocol::vault::{Vault, VaultInput, VaultOutput};
use protocol::wire::Protocol;

use super::{Host, News, Role};
use crate::world::Ctx;

impl Role for Author {
    const NAME: &'static str = "author";

    fn carry(host: &mut Host, (): (), wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Ask {
                id,
                peer,
                protocol,
                body,
            } => {
                let question = (peer, protocol, body);
                host.ask::<Self>((), question, ctx, move |body| Input::Answered { id, body });
            }
            Output::Persist { id, changes } => host.write::<Self>(ctx, move |host, _| {
                let error = host.disk.apply(changes).err();
                Some(Input::Persisted { id, error })
            }),
            Output::Look { id, wanted } => {
                let found = Ok(ctx.chain.landings(&wanted, host.disk.followed_block));
                host.tell::<Self>(Input::Looked { id, found });
            }
            Output::Solve { digest, bits } => {
                let proof = solve_proof(&digest, bits);
                let solved = move |_: &mut Host, _: &mut Ctx| Some(Input::Solved { digest, proof });
                host.later::<Self>(SOLVE_DELAY, ctx, solved);
            }
            Output::Reply { reply, .. } => host.run.news.push(News::Reply(reply)),
            Output::Event(event) => host.run.news.push(News::Event(event)),
            // Blocks stay here.
            Output::Hold { .. } => {}
        }
    }
}

impl Role for Vault {
    const NAME: &'static str = "vault";

    fn carry(host: &mut Host, (): (), wish: VaultOutput, ctx: &mut Ctx) {
        match wish {
            VaultOutput::Ask { id, peer, body } => {
                let question = (peer, Protocol::Vault, body);
                let fact = move |body| VaultInput::Answered { id, body };
                host.ask::<Self>((), question, ctx, fact);
            }
            VaultOutput::Reply { request, reply } => {
                host.run.news.push(News::Vault(request, reply))
            }
        }
    }
}

/// The time a slow device takes for a proof of work.
const SOLVE_DELAY: Duration = Duration::from_millis(800);
