//! Peers of this process: what is said of them, and when they are to stop.

use std::path::Path;

use client::Client;
use node::builder::Node;
use serde_json::Value;

use crate::context::Context;
use crate::output;

/// The libp2p name of a peer of this process.
pub(crate) fn peer_id(node: &Node) -> String {
    node.context().net.local().peer_id.to_string()
}

/// What a peer of this process does.
pub(crate) fn roles(node: &Node) -> Vec<String> {
    let roles = &node.context().config.roles;
    roles.iter().map(ToString::to_string).collect()
}

/// Where other peers reach a peer of this process, each with its peer id.
pub(crate) fn p2p_addresses(node: &Node) -> Vec<String> {
    let id = peer_id(node);
    let listening = node.context().net.listen_addresses();
    let external = node.context().net.external_addresses();
    let mut addresses: Vec<String> = Vec::new();
    for address in listening.borrow().iter().chain(external.borrow().iter()) {
        let text = address.to_string();
        let text = match text.contains("/p2p/") {
            true => text,
            false => format!("{text}/p2p/{id}"),
        };
        if !addresses.contains(&text) {
            addresses.push(text);
        }
    }
    addresses
}

/// Prints the line that says that a peer is ready.
pub(crate) fn print_ready(context: &Context, event: &Value, text: String) -> anyhow::Result<()> {
    if context.output.is_json() {
        output::line(&event.to_string())
    } else {
        output::line(&text)
    }
}

/// The URL of a peer that the folder of the owner names, if it runs.
pub(crate) async fn peer_of_home(home: &Path) -> Option<String> {
    let text = std::fs::read_to_string(home.join("node")).ok()?;
    let client = Client::new(text.trim(), None).ok()?;
    client.node().await.ok()?;
    Some(text.trim().to_owned())
}

/// Takes the URL of a peer that stops out of the folder of the owner.
pub(crate) fn forget_home(home: &Path, url: &str) {
    let path = home.join("node");
    let is_ours = std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == url);
    if is_ours {
        // A file that stays is found to be stale by the next command.
        let _ = std::fs::remove_file(path);
    }
}

/// Resolves at Ctrl-C, or when the system asks the process to end.
pub(crate) async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the process ends by itself.
    let _ = interrupt.await;
}
