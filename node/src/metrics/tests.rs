use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    role: &'static str,
}

#[test]
fn a_registered_counter_shows_under_the_common_prefix() {
    let metrics = Metrics::new();
    let counter = metrics.counter("blocks_served", "Blocks that were served");
    counter.inc_by(3);
    let same = metrics.clone();
    same.gauge("peers", "Connected peers").set(-1);
    let text = metrics.encode();
    assert!(text.contains("coliving_blocks_served_total 3"), "{text}");
    assert!(text.contains("coliving_peers -1"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn labelled_counters_have_one_series_a_label() {
    let metrics = Metrics::new();
    let family = metrics.counters::<Labels>("requests", "Requests");
    family.get_or_create(&Labels { role: "content" }).inc();
    family.get_or_create(&Labels { role: "discovery" }).inc();
    let text = metrics.encode();
    assert!(
        text.contains(r#"coliving_requests_total{role="content"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"coliving_requests_total{role="discovery"} 1"#),
        "{text}"
    );
}
