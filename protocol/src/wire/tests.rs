use super::*;

#[test]
fn protocols_and_topics_have_the_names_of_the_design() {
    let names: Vec<&str> = Protocol::ALL.iter().map(|one| one.name()).collect();
    for (idx, protocol) in Protocol::ALL.iter().enumerate() {
        assert_eq!(protocol.idx(), idx);
        assert_eq!(names[idx], format!("/coliving/{}/1", protocol.label()));
    }
    for (idx, topic) in Topic::ALL.iter().enumerate() {
        assert_eq!(topic.idx(), idx);
        assert_eq!(topic.name(), format!("/coliving/1/{}", topic.label()));
    }
}
