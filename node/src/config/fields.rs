//! The table of settings.

use super::value::Setting;
use super::{Config, Field};

/// Makes a [`Field`] of a path into [`Config`].
macro_rules! field {
    ($section:literal, $key:literal, $($path:ident).+, $text:literal) => {
        Field {
            section: $section,
            key: $key,
            text: $text,
            read: |config: &mut Config, value| {
                config.$($path).+ = Setting::read(value)?;
                Ok(())
            },
            write: |config| config.$($path).+.write(),
        }
    };
}

/// Every setting, in the order of the file.
pub const FIELDS: &[Field] = &[
    field!(
        "",
        "data",
        data,
        "Folder for blocks, index and keys. A relative path starts at this file's folder."
    ),
    field!(
        "",
        "name",
        name,
        "What this peer is called in logs and tables."
    ),
    field!(
        "",
        "roles",
        roles,
        "What this peer does: \"content\", \"discovery\", \"identity\", any of them.\nNone makes a light peer; each needs a registered and confirmed service."
    ),
    field!(
        "",
        "url",
        url,
        "The URL that this peer registered, by which others reach its HTTP server.\nNeeded with roles; empty for a light peer."
    ),
    field!(
        "http",
        "listen",
        http.listen,
        "Where the HTTP server listens; port 0 takes a free one."
    ),
    field!(
        "http",
        "gateway_fetch",
        http.gateway_fetch,
        "For whom the gateway fetches from the network: \"own\" (the token's holder) or\n\"never\". Everybody gets what is stored here."
    ),
    field!(
        "http",
        "trusted_proxies",
        http.trusted_proxies,
        "Proxies before the HTTP server: \"loopback\", networks or addresses. They are believed for\nwhom they ask: by `Forwarded`, `X-Forwarded-For` or the PROXY protocol. Without the proxy's\naddress here all of its clients share the limits of one."
    ),
    field!(
        "net",
        "listen",
        net.listen,
        "Multiaddresses to listen on. TCP and QUIC may share a port number."
    ),
    field!(
        "net",
        "external",
        net.external,
        "Addresses to tell others when they cannot be found out, as of a forwarded port."
    ),
    field!(
        "net",
        "bootstrap",
        net.bootstrap,
        "Peers to dial at the start, each ending in /p2p/<peer id>.\nWith a reachable chain none is needed: the registry names them."
    ),
    field!(
        "net",
        "circuit_server",
        net.circuit_server,
        "Carry circuits for peers behind NAT. Costs up to a fifth of the uplink."
    ),
    field!(
        "net",
        "circuit_peers",
        net.circuit_peers,
        "Peers that carry circuits to this one, for a peer behind NAT whose ports cannot be\nforwarded; each ends in /p2p/<peer id> and has net.circuit_server set."
    ),
    field!(
        "net",
        "upnp",
        net.upnp,
        "Ask the router to forward the ports."
    ),
    field!("net", "mdns", net.mdns, "Find peers in the local network."),
    field!(
        "net",
        "private_endpoints",
        net.private_endpoints,
        "Look other peers up at endpoints with private and loopback addresses too, which\nwhoever registers one chooses. For development only."
    ),
    field!(
        "chain",
        "rpc",
        chain.rpc,
        "JSON-RPC endpoints of the chain, the preferred first; the others stand in."
    ),
    field!(
        "chain",
        "chain_id",
        chain.chain_id,
        "The chain id that the endpoints must have; 0 takes the contracts' own."
    ),
    field!(
        "chain",
        "confirmations",
        chain.confirmations,
        "Blocks after which one counts as final. 0 is for development chains only."
    ),
    field!(
        "chain",
        "poll_interval",
        chain.poll_interval,
        "Pause between two looks at the chain."
    ),
    field!(
        "chain",
        "rpc_ca",
        chain.rpc_ca,
        "File of PEM certificates that `https://` endpoints may be signed by, beside the usual authorities."
    ),
    field!(
        "chain",
        "block_time",
        chain.block_time,
        "Usual time between two blocks: a chain without a new one for 20 of them counts as stalled. 0s never does, nor do 0 confirmations."
    ),
    field!(
        "chain",
        "contracts",
        chain.contracts,
        "Addresses of the deployment, as `coliving chain info --json` prints them."
    ),
    field!(
        "storage",
        "capacity",
        storage.capacity,
        "Most bytes of blocks. A hard limit: what does not fit is refused."
    ),
    field!(
        "storage",
        "reserve",
        storage.reserve,
        "Bytes of the disk that are left free for everything else."
    ),
    field!(
        "content",
        "lost_after",
        content.lost_after,
        "A peer unseen for this long counts as lost and its roots are repaired.\nShorter repairs sooner and copies more after short outages."
    ),
    field!(
        "content",
        "presence_interval",
        content.presence_interval,
        "Pause between two signs of life of this peer."
    ),
    field!(
        "content",
        "repair_rate",
        content.repair_rate,
        "Repair traffic a second."
    ),
    field!(
        "content",
        "lease_epochs",
        content.lease_epochs,
        "Hours that a lease promises, renewed while the content is published; at most 2160."
    ),
    field!(
        "content",
        "unlimited_uploads",
        content.unlimited_uploads,
        "Lift the limits per user and on unpublished bytes. For development only."
    ),
    field!(
        "identity",
        "gas_per_hour",
        identity.gas_per_hour,
        "Gas that the relayer pays for in an hour, for all users together."
    ),
    field!(
        "identity",
        "gas_per_day",
        identity.gas_per_day,
        "Gas that the relayer pays for in a day, for all users together."
    ),
    field!(
        "identity",
        "quota_factor",
        identity.quota_factor,
        "Multiplies the hourly quotas of each owner."
    ),
    field!(
        "identity",
        "allow",
        identity.allow,
        "Wallets that are relayed beyond all quotas."
    ),
];
