//! The grants of functions: what a key that is set means for the others, and to whom a function may publish.

use roost_core::recipients::Recipients;

use super::super::{GrantsConfig, default_grants};
use super::{errors, sources};

#[test]
fn a_grant_that_is_set_replaces_the_default_grants() {
    let text = "[function.typing.grants]\npublish = true\n[function.polls]\nqueue_max = 7\n[function.weather]\ngrants.all = true";
    let config = sources("grants", text).load().unwrap();
    let grants = |name: &str| config.function(name).grants.clone();
    assert_eq!(grants("typing"), Some(GrantsConfig { publish: Recipients::Anyone, ..GrantsConfig::default() }));
    assert_eq!(grants("unread"), default_grants("unread"));
    assert_eq!(grants("weather"), Some(GrantsConfig { all: true, ..GrantsConfig::default() }));
    assert_eq!((grants("polls"), grants("never-named")), (None, None), "nothing is allowed by default");
}

#[test]
fn publishing_is_allowed_by_a_name_or_as_a_whole() {
    use Recipients::{Anyone, Caller, Members, Nobody};
    for (written, expected) in [
        ("true", Anyone),
        ("false", Nobody),
        ("\"true\"", Anyone),
        ("\"nobody\"", Nobody),
        ("\"caller\"", Caller),
        ("\"members\"", Members),
        ("\"anyone\"", Anyone),
    ] {
        let config = sources("publish", &format!("function.polls.grants.publish = {written}\n")).load().unwrap();
        let grants = config.function("polls").grants.clone().unwrap();
        assert_eq!(grants, GrantsConfig { publish: expected, ..GrantsConfig::default() }, "{written}");
    }
    for wrong in ["\"everyone\"", "\"\"", "1", "[\"caller\"]"] {
        let reported =
            errors(sources("publish-wrong", &format!("function.polls.grants.publish = {wrong}\n"))).join("\n");
        let allowed = "allowed: `nobody` or `false`, `caller`, `members`, `anyone` or `true`";
        assert!(reported.contains("function.polls.grants.publish: ") && reported.contains(allowed), "{reported}");
    }
}
