use protocol::id::Address;
use protocol::registry::RegistryEvent;

use super::*;

#[tokio::test]
async fn the_registry_survives_a_restart_and_belongs_to_one_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let contracts = Contracts::default();
    let mut file = RegistryFile::open(Some(path.clone()), &contracts);
    assert_eq!(*file.registry, Registry::default());
    let mut registry = Registry::default();
    registry.apply(&RegistryEvent::StakeChanged {
        operator: Address([1; 20]),
        active: protocol::amount::Dgc::whole(7),
    });
    let registry = Arc::new(registry);
    file.keep(&registry, &Arc::default()).await;

    let again = RegistryFile::open(Some(path.clone()), &contracts);
    assert_eq!(again.registry, registry);
    let other = Contracts {
        chain_id: 77,
        ..contracts
    };
    let foreign = RegistryFile::open(Some(path.clone()), &other);
    assert_eq!(*foreign.registry, Registry::default());
    fs::write(&path, b"damage").unwrap();
    let damaged = RegistryFile::open(Some(path), &contracts);
    assert_eq!(*damaged.registry, Registry::default());
}
