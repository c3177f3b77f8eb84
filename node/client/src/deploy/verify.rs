//! Whether what stands is a whole deployment.

use protocol::chain::{Contracts, calls};
use protocol::id::Address;
use rpc::{CallRequest, Client};

use super::DeployError;
use super::plan::wires;
use super::sender::at;

/// Asks the chain whether contracts are wired up, named in `Registry` and in
/// the hands of `Governance`.
///
/// # Errors
///
/// [`DeployError::Unfinished`] names the first thing that is otherwise.
pub async fn verify(client: &Client, contracts: &Contracts) -> Result<(), DeployError> {
    let asking = Asking { client };
    for (kind, proxy) in contracts.proxies() {
        let step = || format!("verify {}", kind.name());
        if client.code(proxy).await.map_err(at(step()))?.is_empty() {
            return Err(DeployError::Unfinished {
                reason: format!("there is no contract at {proxy} for {}", kind.name()),
            });
        }
        let named = calls::contract_at(kind);
        let what = || format!("Registry's {}", kind.name());
        asking
            .expect(what, contracts.registry, named, proxy)
            .await?;
        let governed = calls::governance_of(kind);
        let what = || format!("the governance of {}", kind.name());
        asking
            .expect(what, proxy, governed, contracts.governance)
            .await?;
    }
    for wire in wires(contracts) {
        let what = || format!("{}'s {}", wire.kind.name(), wire.getter);
        let call = calls::encode(wire.kind, wire.getter, &[]);
        let to = contracts.address_of(wire.kind);
        let to = to.expect("a wired contract has a proxy");
        asking.expect(what, to, call, wire.address).await?;
    }
    Ok(())
}

struct Asking<'a> {
    client: &'a Client,
}

impl Asking<'_> {
    async fn expect(
        &self,
        what: impl Fn() -> String,
        to: Address,
        call: Vec<u8>,
        expected: Address,
    ) -> Result<(), DeployError> {
        let step = format!("verify {}", what());
        let answer = self.client.call(&CallRequest::view(to, call)).await;
        let found =
            calls::decode_address(&answer.map_err(at(step.clone()))?).map_err(|source| {
                DeployError::Answer {
                    step: step.into(),
                    source,
                }
            })?;
        if found == expected {
            return Ok(());
        }
        Err(DeployError::Unfinished {
            reason: format!("{} is {found}, not {expected}", what()),
        })
    }
}
