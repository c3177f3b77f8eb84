//! Residents' mistakes: what is too long, empty, signed by others, forbidden, or
//! done already. Nobody waits for what comes of them.

use protocol::action::{METADATA_BYTES_MAX, SignedAction};
use protocol::author::{Author, Input, PublishRoot};
use protocol::id::Hash32;
use protocol::origin::RequestId;
use protocol::signing::SigningKey;

use super::{Resident, store_files};
use crate::host::Host;
use crate::index::metadata_of;
use crate::world::Ctx;

impl Resident {
    /// Errs in one of many ways.
    pub(super) fn err(&mut self, host: &mut Host, ctx: &mut Ctx) {
        let action = match ctx.rng.below(9) {
            0 => self.action("Track", "Explode", String::new(), ctx),
            1 => {
                let text = "x".repeat(METADATA_BYTES_MAX + 1);
                self.action("Track", "Save", text, ctx)
            }
            2 => {
                let action = self.action("Track", "Save", String::new(), ctx);
                by_a_stranger(action, ctx)
            }
            3 => {
                self.is_leaving = true;
                self.action("User", "Update", DEACTIVATION.to_owned(), ctx)
            }
            4 => match &self.landed {
                Some(landed) => landed.clone(),
                None => return,
            },
            5 => {
                let digest = Hash32(ctx.rng.array());
                let request = RequestId(ctx.next_id());
                return host.tell::<Author>(Input::Relayed { request, digest });
            }
            6 | 7 => return self.publish_wrongly(host, ctx),
            _ => return self.records.err(&self.key, host, ctx),
        };
        host.tell::<Author>(Input::Relay {
            request: RequestId(ctx.next_id()),
            action,
            proof: None,
        });
    }

    /// Publishes nothing, what is not here, what a stranger signed, or with facts
    /// that are not those of the files.
    fn publish_wrongly(&self, host: &mut Host, ctx: &mut Ctx) {
        let Some((root, facts)) = store_files(host, ctx) else {
            return;
        };
        let mut action = self.action("Track", "Create", metadata_of(&root, &facts), ctx);
        let mut roots = vec![PublishRoot {
            cid: root,
            proof_root: facts.proof_root,
            dag_size: facts.size,
        }];
        let mut missing = None;
        match ctx.rng.below(7) {
            0 => roots.clear(),
            1 => missing = Some(root),
            2 => action = by_a_stranger(action, ctx),
            3 => roots[0].dag_size = 0,
            4 => roots[0].dag_size -= 1,
            5 => roots[0].dag_size = TOO_LARGE,
            _ => roots[0].proof_root = Hash32::ZERO,
        }
        host.tell::<Author>(Input::Publish {
            request: RequestId(ctx.next_id()),
            action,
            roots,
            missing,
        });
    }
}

/// The same, signed by a key that may not act for the user.
fn by_a_stranger(signed: SignedAction, ctx: &mut Ctx) -> SignedAction {
    match SigningKey::from_bytes(&ctx.rng.array()) {
        Ok(key) => signed.action.sign(&ctx.params.actions, &key),
        Err(_) => signed,
    }
}

/// What a user that goes for good says; once a day it is for nothing.
const DEACTIVATION: &str = r#"{"data":{"is_deactivated":true}}"#;

/// More bytes than any peer has room for.
const TOO_LARGE: u64 = 1 << 41;
