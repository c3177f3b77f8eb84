use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::id::Role;
use storage::backend::MemoryBackend;
use tokio::net::TcpListener;

use super::*;
use crate::config;
use crate::testing::{TestChain, address};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_in_the_own_network_gets_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let chain = TestChain::with_peers(&[2], Role::Content).await;
    for (with_private, expected) in [(false, 0), (true, 2)] {
        let mut config = config::Config::default();
        config.net.private_endpoints = with_private;
        let context = chain.peer(2, &MemoryBackend::new(), config, 1).await;
        let client = client(with_private);
        for host in ["127.0.0.1", "localhost"] {
            let endpoint = format!("http://{host}:{port}");
            assert!(!ask_endpoint(&context, &client, address(3), &endpoint).await);
        }
        assert_eq!(requests.load(Ordering::SeqCst), expected);
    }
}
