use super::*;

#[test]
fn hex_identifiers_survive_text_and_cbor() {
    let address: Address = "0x7c47632073388ae968d30f6c060494fc0cfb4207"
        .parse()
        .unwrap();
    assert_eq!(
        address.to_string(),
        "0x7c47632073388ae968d30f6c060494fc0cfb4207"
    );
    let json = serde_json::to_string(&address).unwrap();
    assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
    let cbor = serde_ipld_dagcbor::to_vec(&address).unwrap();
    assert_eq!(cbor.len(), 21);
    assert_eq!(
        serde_ipld_dagcbor::from_slice::<Address>(&cbor).unwrap(),
        address
    );
}

#[test]
fn wrong_text_names_what_was_expected() {
    let error = "0x12".parse::<Address>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`0x12` is not an address: 40 hexadecimal digits after `0x`"
    );
}

#[test]
fn roles_are_service_types() {
    for role in Role::ALL {
        assert_eq!(
            Role::from_service_type(&role.service_type_bytes()),
            Some(role)
        );
        assert_eq!(role.to_string().parse(), Ok(role));
    }
}

#[test]
fn zones_print_as_written() {
    assert_eq!(Zone::new("eu-west").to_string(), "eu-west");
    assert_eq!(Zone::default().to_string(), "");
}
