//! Polling filters and subscriptions.

use std::sync::Arc;

use jsonrpsee::server::{PendingSubscriptionSink, SubscriptionSink};
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::params::Params;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::reads::{bounds, find_logs};
use super::{Context, Module, Registered, command, invalid, log_filter};
use crate::executor::{Command, Outcome};
use crate::filters::{Changes, Interest, Seen};
use crate::json::{self, BlockId, Filter, Quantity};
use crate::view::{At, View};

pub(super) fn register(module: &mut Module) -> Registered {
    command(module, "eth_newBlockFilter", installed, |_| {
        Ok(Command::InstallFilter(Interest::Blocks))
    })?;
    command(module, "eth_newPendingTransactionFilter", installed, |_| {
        Ok(Command::InstallFilter(Interest::Transactions))
    })?;
    command(module, "eth_newFilter", installed, |params| {
        let filter: Filter = params.next()?;
        let at = |id: Option<BlockId>| id.map_or(At::Latest, |BlockId(at)| at);
        Ok(Command::InstallFilter(Interest::Logs {
            from: at(filter.from_block),
            to: at(filter.to_block),
            filter: log_filter(&filter)?,
        }))
    })?;
    command(module, "eth_getFilterChanges", polled, |params| {
        let id: Quantity = params.next()?;
        Ok(Command::PollFilter {
            id: id.saturating_u64(),
        })
    })?;
    let found = |outcome| json!(matches!(outcome, Outcome::Found(true)));
    command(module, "eth_uninstallFilter", found, |params| {
        let id: Quantity = params.next()?;
        Ok(Command::UninstallFilter {
            id: id.saturating_u64(),
        })
    })?;
    module.register_async_method("eth_getFilterLogs", |params, context, _| async move {
        let id: Quantity = params.sequence().next()?;
        let id = id.saturating_u64();
        let outcome = context
            .control
            .command(Command::InspectFilter { id })
            .await?;
        let Outcome::Interest(Interest::Logs { filter, from, to }) = outcome else {
            return Err(invalid("the filter is not one for logs".to_owned()));
        };
        let view = context.view();
        let (from, to) = bounds(&view, Some(BlockId(from)), Some(BlockId(to)))?;
        find_logs(&view, &filter, from, to)
    })?;
    module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, context, _| subscribe(params, pending, context),
    )?;
    Ok(())
}

fn installed(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Number(id) => json::quantity(id),
        _ => Value::Null,
    }
}

fn polled(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Changes(Changes::Hashes(hashes)) => hashes.into_iter().map(json::bytes).collect(),
        Outcome::Changes(Changes::Logs(logs)) => logs.iter().map(json::log).collect(),
        _ => Value::Null,
    }
}

/// What a subscription is for.
enum Topic {
    Interest(Interest),
    /// Whole transactions rather than their hashes.
    FullTransactions,
}

/// Sends what a client asked for until it leaves or the chain stops.
async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
) {
    let topic = match topic(&params) {
        Ok(topic) => topic,
        Err(error) => return pending.reject(error).await,
    };
    let mut views = context.control.views.clone();
    // The subscription must not keep the chain from stopping.
    drop(context);
    let mut seen = Seen::of(&views.borrow_and_update());
    let Ok(sink) = pending.accept().await else {
        return;
    };
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        loop {
            let (messages, is_done) = messages(&topic, &mut seen, &view);
            for message in messages {
                if send(&sink, &message).await.is_err() {
                    return;
                }
            }
            if is_done {
                break;
            }
        }
        tokio::select! {
            () = sink.closed() => return,
            changed = views.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn send(sink: &SubscriptionSink, message: &Value) -> Result<(), ()> {
    let message = to_raw_value(message).map_err(drop)?;
    sink.send(message).await.map_err(drop)
}

fn topic(params: &Params<'_>) -> Result<Topic, ErrorObjectOwned> {
    let mut params = params.sequence();
    let kind: String = params.next()?;
    match kind.as_str() {
        "newHeads" => Ok(Topic::Interest(Interest::Blocks)),
        "newPendingTransactions" => Ok(match params.optional_next()? {
            Some(true) => Topic::FullTransactions,
            Some(false) | None => Topic::Interest(Interest::Transactions),
        }),
        "logs" => {
            let filter: Filter = params.optional_next()?.unwrap_or_default();
            Ok(Topic::Interest(Interest::Logs {
                filter: log_filter(&filter)?,
                from: At::Latest,
                to: At::Latest,
            }))
        }
        other => Err(invalid(format!(
            "cannot subscribe to `{other}`; `newHeads`, `logs` and `newPendingTransactions` can be"
        ))),
    }
}

/// The next portion of messages, and whether it was the last one.
fn messages(topic: &Topic, seen: &mut Seen, view: &View) -> (Vec<Value>, bool) {
    match topic {
        Topic::Interest(Interest::Transactions) => {
            let sent = seen.sent(view);
            (sent.into_iter().map(json::bytes).collect(), true)
        }
        Topic::FullTransactions => {
            let shown = seen.sent(view).into_iter().filter_map(|hash| {
                let mined = view.included(hash).map(|found| &found.2.transaction);
                let transaction = mined.or_else(|| view.pooled(hash))?;
                Some(json::transaction(transaction, None))
            });
            (shown.collect(), true)
        }
        Topic::Interest(Interest::Blocks) => {
            let step = seen.step(view);
            let heads = step.mined.iter().map(|block| json::head(block));
            (heads.collect(), step.is_empty())
        }
        Topic::Interest(Interest::Logs { filter, .. }) => {
            let step = seen.step(view);
            let logs = step.logs(filter);
            (logs.iter().map(json::log).collect(), step.is_empty())
        }
    }
}
