use proptest::prelude::*;

use super::*;
use crate::id::{EntityId, UserId};

fn percents(texts: &[&str]) -> Vec<Percent> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A price is divided as the published vectors say.
fn check_split(cents: u64, take: u64, shares: &[&str], network: u64, expected: &[u64]) {
    let price = Price::from_cents(cents).unwrap().base_units();
    let take = Percent::new(take).unwrap();
    let found = split(price, take, &percents(shares)).unwrap();
    let expected: Vec<U256> = expected.iter().map(|units| U256::from(*units)).collect();
    assert_eq!(found.network, U256::from(network));
    assert_eq!(found.amounts, expected);
}

#[test]
fn a_price_of_100_cents_is_divided_among_nine() {
    check_split(
        100,
        0,
        &[
            ".0001", "1", "10", "3.33333", "3.33333", "3.33333", "25", "50", "4",
        ],
        0,
        &[
            1, 10_000, 100_000, 33_333, 33_333, 33_333, 250_000, 500_000, 40_000,
        ],
    );
}

#[test]
fn a_price_of_197_cents_leaves_one_unit_to_the_largest_fraction() {
    check_split(
        197,
        0,
        &[
            ".0001", "1", "10", "3.333333", "3.333333", "3.333333", "25", "50", "4",
        ],
        0,
        &[
            2, 19_700, 197_000, 65_666, 65_666, 65_666, 492_500, 985_000, 78_800,
        ],
    );
}

#[test]
fn a_third_and_two_thirds_are_the_whole() {
    check_split(100, 0, &["33.3333", "66.6667"], 0, &[333_333, 666_667]);
}

#[test]
fn the_network_takes_its_part_first() {
    check_split(100, 10, &["100"], 100_000, &[900_000]);
}

#[test]
fn prices_have_bounds() {
    for cents in [100, 150_000] {
        assert!(Price::from_cents(cents).is_ok(), "{cents}");
    }
    for cents in [0, 99, 150_001] {
        let error = Price::from_cents(cents).unwrap_err();
        assert_eq!(error, SplitError::Price { cents });
    }
}

#[test]
fn shares_that_are_not_the_whole_are_refused() {
    let total = U256::exp10(18);
    let refused = |shares: &[&str]| split(total, Percent::ZERO, &percents(shares)).unwrap_err();
    assert_eq!(refused(&[]), SplitError::Empty);
    assert!(matches!(refused(&["50", "49"]), SplitError::Sum { .. }));
    assert!(matches!(refused(&["50", "50.1"]), SplitError::Sum { .. }));
    // More than the whole by less than the tolerance would still spend too much.
    let error = refused(&["50", "50.005"]);
    assert_eq!(
        error.to_string(),
        "the shares add up to 100.005 %, they must add up to 100 %"
    );
    let many = vec![Percent::new(1).unwrap(); PAYEES_MAX + 1];
    let error = split(total, Percent::ZERO, &many).unwrap_err();
    assert_eq!(
        error,
        SplitError::TooMany {
            count: PAYEES_MAX + 1
        }
    );
    let error = split(U256::one(), Percent::ZERO, &percents(&["50", "50"])).unwrap_err();
    assert!(matches!(error, SplitError::Nothing { number: 2, .. }));
    let error = split(U256::MAX, Percent::ZERO, &percents(&["100"])).unwrap_err();
    assert!(matches!(error, SplitError::TooLarge { .. }));
}

#[test]
fn percentages_survive_text() {
    for text in ["0", "100", "33.3333", "0.0001", "3.333333", "12.5"] {
        assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
    }
    assert_eq!(".5%".parse::<Percent>().unwrap().to_string(), "0.5");
    assert_eq!(
        "50 %".parse::<Percent>().unwrap(),
        Percent::new(50).unwrap()
    );
    for text in [
        "",
        ".",
        "%",
        "-1",
        "100.1",
        "1.0000001",
        "1e1",
        "101",
        "1,5",
    ] {
        assert!(text.parse::<Percent>().is_err(), "{text}");
    }
    assert_eq!(Percent::new(101), None);
}

const SELLER: Address = Address([1; 20]);
const NETWORK: Address = Address([2; 20]);

fn asked() -> [(Address, U256); 2] {
    [
        (SELLER, U256::from(900_000)),
        (NETWORK, U256::from(100_000)),
    ]
}

#[track_caller]
fn check_verdict(seller: u64, network: u64, expected: Verdict) {
    let paid = [(SELLER, U256::from(seller)), (NETWORK, U256::from(network))];
    assert_eq!(judge(&asked(), &paid, 10, 10), expected);
}

#[test]
fn an_exact_payment_is_valid() {
    let surplus = U256::zero();
    check_verdict(900_000, 100_000, Verdict::Valid { surplus });
}

#[test]
fn one_unit_short_for_anybody_is_invalid() {
    for (seller, network, payee, expected) in [
        (899_999, 100_000, SELLER, 900_000),
        (900_001, 99_999, NETWORK, 100_000),
        (0, 1_000_000, SELLER, 900_000),
    ] {
        let paid = if payee == SELLER { seller } else { network };
        check_verdict(
            seller,
            network,
            Verdict::Short {
                payee,
                expected: U256::from(expected),
                paid: U256::from(paid),
            },
        );
    }
    assert!(matches!(judge(&asked(), &[], 0, 0), Verdict::Short { .. }));
}

#[test]
fn paying_extra_is_valid_and_the_surplus_is_the_sellers() {
    for total in [1_500_000, 2_000_000] {
        let surplus = U256::from(total - 1_000_000);
        check_verdict(total - 100_000, 100_000, Verdict::Valid { surplus });
    }
}

#[test]
fn terms_of_a_later_block_leave_a_payment_pending() {
    assert_eq!(judge(&asked(), &asked(), 11, 10), Verdict::Pending);
    assert_eq!(judge(&asked(), &[], 11, 10), Verdict::Pending);
    let surplus = U256::zero();
    let at_last = judge(&asked(), &asked(), 11, 11);
    assert_eq!(at_last, Verdict::Valid { surplus });
}

#[test]
fn a_payee_that_is_paid_twice_gets_the_sum() {
    let half = (SELLER, U256::from(450_000));
    let network = (NETWORK, U256::from(100_000));
    let verdict = judge(&asked(), &[half, network, half], 0, 0);
    let surplus = U256::zero();
    assert_eq!(verdict, Verdict::Valid { surplus });
}

#[test]
fn a_purchase_says_what_was_bought() {
    let memo: PurchaseMemo = "track:1:2:3:download".parse().unwrap();
    let expected = PurchaseMemo {
        is_list: false,
        content: EntityId(1),
        valid_after_block: 2,
        buyer: UserId(3),
        access: Access::Download,
    };
    assert_eq!(memo, expected);
    assert_eq!(memo.to_string(), "track:1:2:3:download");
    let album = "album:10:20:30:stream";
    assert_eq!(album.parse::<PurchaseMemo>().unwrap().to_string(), album);
}

#[test]
fn what_is_no_purchase_is_refused() {
    for text in [
        "not:purchase",
        "track:a:2:3:download",
        "track:1:b:3:download",
        "track:1:2:c:download",
        "track:1:2:+3:download",
        "track:1:2:3:own",
        "video:1:2:3:download",
        "track:1:2:3",
        "track:1:2:3:download:more",
        "",
    ] {
        assert!(text.parse::<PurchaseMemo>().is_err(), "{text}");
    }
}

#[test]
fn a_location_is_read() {
    let text = r#"geo:{"city":"Minneapolis","region":"MN","country":"USA"}"#;
    let location: Location = text.parse().unwrap();
    assert_eq!(location.city, "Minneapolis");
    assert_eq!(location.region, "MN");
    assert_eq!(location.country, "USA");
    assert_eq!(location.to_string(), text);
    for broken in [
        r#"{"city":"Minneapolis","region":"MN","country":"USA"}"#,
        r#"geo:{"city":"Minneapolis""#,
        "geo:",
    ] {
        assert!(broken.parse::<Location>().is_err(), "{broken}");
    }
}

#[test]
fn a_tip_names_both_and_may_carry_words() {
    let tip = TipMemo {
        receiver: UserId(7),
        sender: Some(UserId(8)),
        message: "for the bass: thanks".to_owned(),
    };
    assert_eq!(tip.to_string(), "tip:7:8:for the bass: thanks");
    assert_eq!(tip.to_string().parse::<TipMemo>().unwrap(), tip);
    let plain: TipMemo = "tip:7:0".parse().unwrap();
    assert_eq!(plain.sender, None);
    assert_eq!(plain.to_string(), "tip:7:0");
    for text in ["tip", "tip:7", "tip:a:8", "tap:7:8"] {
        assert!(text.parse::<TipMemo>().is_err(), "{text}");
    }
    let long = format!("tip:7:8:{}", "a".repeat(MEMO_BYTES_MAX));
    assert!(matches!(
        long.parse::<TipMemo>(),
        Err(MemoError::TooLong { .. })
    ));
}

proptest! {
    #[test]
    fn nothing_is_left_over_and_nobody_loses_more_than_a_unit(
        total in 1_000_000_u64..u64::MAX,
        weights in proptest::collection::vec(1_u64..1_000, 1..12),
    ) {
        let sum: u64 = weights.iter().sum();
        let mut shares: Vec<Percent> =
            weights.iter().map(|weight| Percent(weight * WHOLE / sum)).collect();
        let missing = WHOLE - shares.iter().map(|share| share.0).sum::<u64>();
        shares[0].0 += missing;
        let found = split(U256::from(total), Percent::ZERO, &shares).unwrap();
        let given = found.amounts.iter().fold(U256::zero(), |sum, amount| sum + amount);
        prop_assert_eq!(given, U256::from(total));
        for (share, amount) in shares.iter().zip(&found.amounts) {
            let floor = U256::from(total) * share.0 / WHOLE;
            prop_assert!(*amount == floor || *amount == floor + 1);
        }
    }
}
