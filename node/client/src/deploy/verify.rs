//! Whether what stands is a whole deployment.

use protocol::chain::{ContractKind, Contracts, artifact, calls};
use protocol::id::{Address, Hash32};
use rpc::{CallRequest, Client};
use serde_json::json;

use super::DeployError;
use super::plan::wires;
use super::sender::at;

/// Asks the chain whether contracts have the code of this program's version,
/// are wired up, named in `Registry` and in the hands of `Governance`.
///
/// # Errors
///
/// [`DeployError::Unfinished`] names the first thing that is otherwise.
pub async fn verify(client: &Client, contracts: &Contracts) -> Result<(), DeployError> {
    let asking = Asking { client };
    for (kind, proxy) in contracts.proxies() {
        asking.expect_code(kind, proxy).await?;
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
    /// Compares the code of a proxy and of what it stands before. The latter
    /// is read from the proxy's storage: other code could answer anything.
    async fn expect_code(&self, kind: ContractKind, proxy: Address) -> Result<(), DeployError> {
        let step = || format!("verify {}", kind.name());
        let unfinished = |reason| Err(DeployError::Unfinished { reason });
        let found = self.client.code(proxy).await.map_err(at(step()))?;
        if found.is_empty() {
            return unfinished(format!(
                "there is no contract at {proxy} for {}",
                kind.name()
            ));
        }
        if found != artifact(ContractKind::Erc1967Proxy).deployed_bytecode {
            return unfinished(format!(
                "what stands at {proxy} for {} is no proxy of this version",
                kind.name()
            ));
        }
        let parameters = vec![json!(proxy), json!(IMPLEMENTATION_SLOT), json!("latest")];
        let word = self.client.request("eth_getStorageAt", parameters).await;
        let word: Option<Hash32> = serde_json::from_value(word.map_err(at(step()))?).ok();
        let implementation = word.map(|word| {
            let bytes = word
                .0
                .last_chunk()
                .expect("a word is longer than an address");
            Address(*bytes)
        });
        let behind = implementation.unwrap_or_default();
        let mut found = self.client.code(behind).await.map_err(at(step()))?;
        blank(&mut found, behind);
        if found == artifact(kind).deployed_bytecode {
            return Ok(());
        }
        unfinished(format!(
            "the code at {behind}, behind the proxy {proxy} of {}, is not that of this version",
            kind.name()
        ))
    }

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

/// Puts zeros where code keeps the address that it stands at.
fn blank(code: &mut [u8], address: Address) {
    let mut from = 0;
    while let Some(bytes) = code.get_mut(from..from + address.0.len()) {
        if *bytes == address.0 {
            bytes.fill(0);
        }
        from += 1;
    }
}

/// Where a proxy keeps the address of its implementation (ERC-1967).
const IMPLEMENTATION_SLOT: &str =
    "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";
