//! What a function is allowed, and what becomes of the grants that it asks for: each is given or refused.
//!
//! Nothing is allowed by default. The configuration allows grants, and so may whoever deploys a function; the built-in
//! functions have defaults in the configuration. A function that asks for more than it is allowed is not served.

use std::fmt;
use std::sync::Arc;

use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::recipients::Recipients;

use super::grants::{Grants, Operations, Spaces};
use crate::config::GrantsConfig;

/// The word that allows everything.
const ALL: &str = "all";
/// The word that allows publishing to everybody.
const PUBLISH: &str = "publish";

/// What a function is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    everything: bool,
    grants: Grants,
}

impl Allowance {
    /// Nothing is allowed.
    pub const NOTHING: Self = Self {
        everything: false,
        grants: Grants {
            read: Spaces::NONE,
            write: Spaces::NONE,
            publish: Recipients::Nobody,
            subscribe: false,
            records: Operations::NONE,
        },
    };
    /// Everything that the function asks for is allowed.
    pub const EVERYTHING: Self = Self { everything: true, ..Self::NOTHING };

    /// What the configuration allows. Unknown names are refused when the configuration is read; here they allow
    /// nothing.
    pub fn of_config(config: &GrantsConfig) -> Self {
        let spaces = |names: &[String]| names.iter().filter_map(|name| space(name)).collect();
        let grants = Grants {
            read: spaces(&config.read),
            write: spaces(&config.write),
            publish: config.publish,
            subscribe: config.subscribe,
            records: config.records.iter().filter_map(|name| operation(name)).collect(),
        };
        Self { everything: config.all, grants }
    }

    /// Reads names of grants that commas separate, such as `read.app,write.app,publish.members,records.history`, or
    /// `all`. `publish` alone is `publish.anyone`.
    ///
    /// # Errors
    /// The first name that is none, and which names there are.
    pub fn parse(names: &str) -> Result<Self, UnknownGrant> {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(Self::parse_one).try_fold(Self::NOTHING, |all, one| Ok(all.or(one?)))
    }

    fn parse_one(name: &str) -> Result<Self, UnknownGrant> {
        let unknown = || UnknownGrant(name.to_owned());
        let mut grants = Grants::default();
        match name.split_once('.') {
            None if name == ALL => return Ok(Self::EVERYTHING),
            None if name == PUBLISH => grants.publish = Recipients::Anyone,
            Some((PUBLISH, name)) => grants.publish = recipients(name).ok_or_else(unknown)?,
            None if name == "subscribe" => grants.subscribe = true,
            Some(("read", name)) => grants.read = grants.read.with(space(name).ok_or_else(unknown)?),
            Some(("write", name)) => grants.write = grants.write.with(space(name).ok_or_else(unknown)?),
            Some(("records", name)) => grants.records = grants.records.with(operation(name).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        }
        Ok(Self { everything: false, grants })
    }

    /// What this or the other allows.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { everything: self.everything || other.everything, grants: self.grants.union(other.grants) }
    }
}

/// The error for a name that no grant has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no grant; a grant is `publish.caller`, `publish.members`, `publish.anyone`, `subscribe`, or `read.`, `write.` or `records.` with the name of a key space or of an operation of the records, such as `read.app`; `all` is everything that the function asks for"
)]
pub struct UnknownGrant(pub String);

/// What becomes of the grants that a function asks for. Each of them is in one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantDecision {
    /// What the function may do.
    pub given: Grants,
    /// What the function asks for and is not allowed.
    pub refused: Grants,
}

/// Decides about each grant that is asked for.
pub const fn effective(asked: Grants, allowed: Allowance) -> GrantDecision {
    let given = if allowed.everything { asked } else { asked.intersection(allowed.grants) };
    GrantDecision { given, refused: asked.without(given) }
}

/// A function asks for grants that it is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedGrants {
    /// The name of the function.
    pub function: String,
    /// Everything that the function asks for.
    pub asked: Grants,
    /// What of it is not allowed.
    pub refused: Grants,
}

impl fmt::Display for RefusedGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, asked, refused } = self;
        let names: Vec<String> = refused.names().iter().map(|name| format!("`{name}`")).collect();
        let (noun, verb) = if names.len() == 1 { ("grant", "is") } else { ("grants", "are") };
        let lines: Vec<String> =
            asked.settings().iter().map(|setting| format!("function.{function}.{setting}")).collect();
        write!(
            f,
            "it asks for the {noun} {}, which {verb} not allowed by configuration; allow what it asks for with {}, or \
             everything that it ever asks for with function.{function}.grants.all = true; whoever deploys it can allow it for \
             this deployment with --allow-grants {}",
            names.join(", "),
            lines.join(" and "),
            refused.names().join(",")
        )
    }
}

/// Says of a function, by its name, whether it comes from the developer's own sources. `roost dev` allows such a
/// function what it asks for unless the configuration names its grants.
#[derive(Clone)]
pub struct OwnSources(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl OwnSources {
    /// The functions for whose names `contains` is true.
    pub fn new(contains: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(contains))
    }

    /// Whether the function comes from these sources.
    pub fn contains(&self, function: &str) -> bool {
        (self.0)(function)
    }
}

impl fmt::Debug for OwnSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnSources(…)")
    }
}

/// Nobody is no grant.
fn recipients(name: &str) -> Option<Recipients> {
    Recipients::parse(name).filter(|recipients| *recipients != Recipients::Nobody)
}

fn space(name: &str) -> Option<Space> {
    Space::ALL.into_iter().find(|space| space.name() == name)
}

fn operation(name: &str) -> Option<Operation> {
    Operation::ALL.into_iter().find(|operation| operation.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Grants {
        Grants {
            read: [Space::Presence, Space::App].into_iter().collect(),
            write: [Space::App].into_iter().collect(),
            publish: Recipients::Members,
            subscribe: false,
            records: [Operation::History].into_iter().collect(),
        }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let decision = effective(asked(), Allowance::NOTHING);
        assert_eq!(decision, GrantDecision { given: Grants::default(), refused: asked() });
        assert_eq!(Allowance::of_config(&GrantsConfig::default()), Allowance::NOTHING);
        let nothing = GrantDecision { given: Grants::default(), refused: Grants::default() };
        assert_eq!(effective(Grants::default(), Allowance::NOTHING), nothing);
    }

    #[test]
    fn each_grant_is_given_or_refused() {
        let config = GrantsConfig {
            read: vec!["app".into(), "devices".into(), "nonsense".into()],
            write: vec!["online".into()],
            records: vec!["history".into(), "block".into()],
            ..GrantsConfig::default()
        };
        let GrantDecision { given, refused } = effective(asked(), Allowance::of_config(&config));
        assert_eq!(given.names(), ["read.app", "records.history"]);
        assert_eq!(refused.names(), ["read.presence", "write.app", "publish.members"]);
    }

    #[test]
    fn a_function_may_publish_to_those_whom_it_asks_for_and_is_allowed() {
        use Recipients::{Anyone, Caller, Members, Nobody};
        let decide = |asked, allowed| {
            let asked = Grants { publish: asked, ..Grants::default() };
            let config = GrantsConfig { publish: allowed, ..GrantsConfig::default() };
            let GrantDecision { given, refused } = effective(asked, Allowance::of_config(&config));
            (given.publish, refused.publish)
        };
        for (asked, allowed, decision) in [
            (Caller, Members, (Caller, Nobody)),
            (Members, Members, (Members, Nobody)),
            (Members, Anyone, (Members, Nobody)),
            (Members, Caller, (Caller, Members)),
            (Anyone, Members, (Members, Anyone)),
            (Caller, Nobody, (Nobody, Caller)),
            (Nobody, Anyone, (Nobody, Nobody)),
        ] {
            assert_eq!(decide(asked, allowed), decision, "{asked:?} {allowed:?}");
        }
    }

    #[test]
    fn everything_is_what_is_asked_for_and_no_more() {
        let all = Allowance::of_config(&GrantsConfig { all: true, ..GrantsConfig::default() });
        assert_eq!(all, Allowance::EVERYTHING);
        assert_eq!(effective(asked(), all), GrantDecision { given: asked(), refused: Grants::default() });
    }

    #[test]
    fn an_operator_can_allow_every_name_of_the_contract() {
        let all = |names: Vec<&'static str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (spaces, operations) =
            (Space::ALL.into_iter().collect::<Spaces>(), Operation::ALL.into_iter().collect::<Operations>());
        let config = GrantsConfig {
            all: false,
            read: all(spaces.names()),
            write: all(spaces.names()),
            publish: Recipients::Anyone,
            subscribe: true,
            records: all(operations.names()),
        };
        let (publish, records) = (Recipients::Anyone, operations);
        let everything = Grants { read: spaces, write: spaces, publish, subscribe: true, records };
        assert_eq!(effective(everything, Allowance::of_config(&config)).given, everything);
        assert_eq!(Allowance::parse(&everything.names().join(",")), Ok(Allowance::of_config(&config)));
    }

    #[test]
    fn the_names_of_a_deployment_add_to_the_configuration() {
        let deployed = Allowance::parse(" read.presence, publish.caller, publish.members ,").unwrap();
        let config = GrantsConfig { read: vec!["app".into()], write: vec!["app".into()], ..GrantsConfig::default() };
        let decision = effective(asked(), Allowance::of_config(&config).or(deployed));
        assert_eq!(decision.refused.names(), ["records.history"]);
        assert_eq!(effective(asked(), Allowance::parse("all").unwrap()).refused, Grants::default());
        assert_eq!(Allowance::parse(""), Ok(Allowance::NOTHING));
        assert_eq!(Allowance::parse("publish"), Allowance::parse("publish.anyone"));
        let unknown = ["app", "read", "read.", "read.history", "records.app", "ALL", "write.app.x"];
        for unknown in unknown.into_iter().chain(["publish.", "publish.all", "publish.nobody", "publish.members.x"]) {
            assert_eq!(Allowance::parse(&format!("publish,{unknown}")), Err(UnknownGrant(unknown.to_owned())));
        }
    }

    #[test]
    fn a_refusal_names_the_grants_and_the_lines_that_allow_them() {
        let mut refusal = RefusedGrants { function: "polls".to_owned(), asked: asked(), refused: asked() };
        refusal.refused =
            effective(asked(), Allowance::parse("read.presence,read.app,records.history").unwrap()).refused;
        assert_eq!(
            refusal.to_string(),
            "it asks for the grants `write.app`, `publish.members`, which are not allowed by configuration; allow what it asks \
             for with function.polls.grants.read = [\"presence\", \"app\"] and function.polls.grants.write = [\"app\"] and \
             function.polls.grants.publish = \"members\" and function.polls.grants.records = [\"history\"], or everything that \
             it ever asks for with function.polls.grants.all = true; whoever deploys it can allow it for this deployment \
             with --allow-grants write.app,publish.members"
        );
        refusal.asked = Grants { publish: Recipients::Anyone, ..Grants::default() };
        refusal.refused = effective(refusal.asked, Allowance::parse("publish.members").unwrap()).refused;
        let text = refusal.to_string();
        assert!(
            text.starts_with("it asks for the grant `publish.anyone`, which is not allowed by configuration"),
            "{text}"
        );
    }
}
