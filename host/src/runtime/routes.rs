//! Which function answers what: routes, message types, hooks and schedules of all live functions, as one
//! immutable table. A new deployment makes a new table; `registry.rs` exchanges them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::manifest::{Access, Hook, Manifest, Method, Schedule};
use super::percent;

/// Why two functions cannot live together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another function answers such paths.
    #[error(
        "the route {method} {path} conflicts with {with} of the function {owner}; choose another path, or remove that function first"
    )]
    Route {
        /// The route's method.
        method: Method,
        /// The route's path.
        path: String,
        /// The path that is there.
        with: String,
        /// Whose it is.
        owner: String,
    },
    /// The path cannot be matched.
    #[error(
        "the route {method} {path} cannot be matched: {reason}; write each parameter as one whole segment, such as {{user}}"
    )]
    Path {
        /// The route's method.
        method: Method,
        /// The route's path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another function takes this message type.
    #[error(
        "the message type {name} belongs to the function {owner}; choose another name, or remove that function first"
    )]
    Message {
        /// The message type.
        name: String,
        /// Whose it is.
        owner: String,
    },
}

/// A path parameter's name and its decoded value.
pub type Parameter = (String, String);

/// A request's route. `T` stands for the revision that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedRoute<T> {
    /// The function's revision to call.
    pub target: T,
    /// Who may call the route.
    pub access: Access,
    /// The route's index in the manifest.
    pub index: u32,
    /// The route's path as the manifest writes it.
    pub route: Arc<str>,
    /// The path's parameters, in order.
    pub parameters: Vec<Parameter>,
}

/// The result of looking for a request's route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteLookup<T> {
    /// A function has the route.
    Found(MatchedRoute<T>),
    /// Functions have the path, but only with these methods.
    MethodNotAllowed(Vec<Method>),
    /// No function has the path.
    NotFound,
}

#[derive(Clone)]
struct Entry<T> {
    target: T,
    index: u32,
    route: Arc<str>,
    access: Access,
}

/// One revision of a function with its manifest, `T` standing for the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described<T> {
    pub(super) manifest: Arc<Manifest>,
    pub(super) target: T,
}

/// All live functions, `T` standing for a revision.
#[derive(Clone)]
pub(super) struct Table<T> {
    functions: BTreeMap<String, (Arc<Manifest>, T)>,
    routers: BTreeMap<Method, matchit::Router<Entry<T>>>,
    /// The paths without parameters, whatever their method.
    fixed_paths: BTreeSet<Arc<str>>,
    messages: BTreeMap<String, T>,
}

impl<T: Clone> Table<T> {
    pub(super) const fn empty() -> Self {
        Self {
            functions: BTreeMap::new(),
            routers: BTreeMap::new(),
            fixed_paths: BTreeSet::new(),
            messages: BTreeMap::new(),
        }
    }

    /// A table of these functions. The one named `newest` is added last, so that a conflict is reported as its own.
    pub(super) fn of<'s>(
        functions: impl Iterator<Item = &'s Described<T>>,
        newest: Option<&str>,
    ) -> Result<Self, Conflict>
    where
        T: 's,
    {
        let (last, first): (Vec<_>, Vec<_>) =
            functions.partition(|function| Some(function.manifest.name.as_str()) == newest);
        let mut table = Self::empty();
        for function in first.into_iter().chain(last) {
            table.add(Arc::clone(&function.manifest), function.target.clone())?;
        }
        Ok(table)
    }

    fn add(&mut self, manifest: Arc<Manifest>, target: T) -> Result<(), Conflict> {
        for (index, route) in (0..).zip(&manifest.routes) {
            let path: Arc<str> = route.path.as_str().into();
            if !path.contains('{') {
                self.fixed_paths.insert(Arc::clone(&path));
            }
            let entry = Entry { target: target.clone(), index, route: path, access: route.access };
            let router = self.routers.entry(route.method).or_default();
            if let Err(error) = router.insert(route.path.as_str(), entry) {
                return Err(self.route_conflict(&manifest.name, route.method, &route.path, error));
            }
        }
        for name in &manifest.messages {
            if self.messages.insert(name.clone(), target.clone()).is_some() {
                return Err(self.message_conflict(name));
            }
        }
        self.functions.insert(manifest.name.clone(), (manifest, target));
        Ok(())
    }

    fn route_conflict(&self, newcomer: &str, method: Method, path: &str, error: matchit::InsertError) -> Conflict {
        let path = path.to_owned();
        let matchit::InsertError::Conflict { with } = error else {
            let reason = error.to_string();
            return Conflict::Path { method, path, reason };
        };
        let owner = self
            .owner(|manifest| manifest.routes.iter().any(|route| route.method == method && route.path == with))
            .unwrap_or(newcomer)
            .to_owned();
        Conflict::Route { method, path, with, owner }
    }

    fn message_conflict(&self, name: &str) -> Conflict {
        let owner = self
            .owner(|manifest| manifest.messages.iter().any(|message| message == name))
            .unwrap_or_default()
            .to_owned();
        Conflict::Message { name: name.to_owned(), owner }
    }

    fn owner(&self, has: impl Fn(&Manifest) -> bool) -> Option<&str> {
        self.functions
            .values()
            .map(|(manifest, _)| manifest)
            .find(|manifest| has(manifest))
            .map(|manifest| manifest.name.as_str())
    }

    /// Finds a request's route. `path` is the path of the request line, without the query. A path with an invalid
    /// percent-escape has no route. A path without parameters goes before one with parameters, whatever their methods:
    /// `GET /v1/presence/query` does not ask for the user `query`.
    pub(super) fn route(&self, method: &str, path: &str) -> RouteLookup<T> {
        let router = Method::parse(method).and_then(|method| self.routers.get(&method));
        let Some(found) = router.and_then(|router| router.at(path).ok()) else { return self.other_methods(path) };
        if !found.params.is_empty() && self.fixed_paths.contains(path) {
            return self.other_methods(path);
        }
        let decoded = |(name, value): (&str, &str)| Some((name.to_owned(), percent::decode(value).ok()?.into_owned()));
        match found.params.iter().map(decoded).collect() {
            None => RouteLookup::NotFound,
            Some(parameters) => RouteLookup::Found(MatchedRoute {
                target: found.value.target.clone(),
                access: found.value.access,
                index: found.value.index,
                route: Arc::clone(&found.value.route),
                parameters,
            }),
        }
    }

    fn other_methods(&self, path: &str) -> RouteLookup<T> {
        let is_fixed = self.fixed_paths.contains(path);
        let has_path = |router: &matchit::Router<Entry<T>>| {
            router.at(path).is_ok_and(|found| !is_fixed || found.params.is_empty())
        };
        let allowed: Vec<Method> =
            self.routers.iter().filter(|(_, router)| has_path(router)).map(|(method, _)| *method).collect();
        if allowed.is_empty() { RouteLookup::NotFound } else { RouteLookup::MethodNotAllowed(allowed) }
    }

    pub(super) fn message(&self, name: &str) -> Option<T> {
        self.messages.get(name).cloned()
    }

    pub(super) fn hooks(&self, hook: Hook) -> Vec<T> {
        self.functions
            .values()
            .filter(|(manifest, _)| manifest.hooks.contains(&hook))
            .map(|(_, target)| target.clone())
            .collect()
    }

    pub(super) fn schedules(&self) -> Vec<(T, Schedule)> {
        self.functions
            .values()
            .flat_map(|(manifest, target)| {
                let each = |schedule: &Schedule| (target.clone(), schedule.clone());
                manifest.schedules.iter().map(each)
            })
            .collect()
    }

    /// The functions that are called for publications, in the order of their names.
    pub(super) fn subscribers(&self) -> Vec<T> {
        let subscribers = self.functions.values().filter(|(manifest, _)| !manifest.publications.is_empty());
        subscribers.map(|(_, target)| target.clone()).collect()
    }

    /// The functions in the order of their names.
    pub(super) fn functions(&self) -> impl Iterator<Item = (&Arc<Manifest>, &T)> {
        self.functions.values().map(|(manifest, target)| (manifest, target))
    }
}

#[cfg(test)]
mod tests {
    use super::super::grants::Grants;
    use super::super::manifest::Route;
    use super::super::socket_description::SocketDescription;
    use super::*;

    fn manifest(name: &str, routes: &[(Method, &str)], messages: &[&str]) -> Arc<Manifest> {
        Arc::new(Manifest {
            name: name.into(),
            version: "1.0.0".into(),
            routes: routes
                .iter()
                .map(|(method, path)| Route {
                    method: *method,
                    path: (*path).into(),
                    access: Access::User,
                    operation: serde_json::json!({}),
                })
                .collect(),
            messages: messages.iter().map(|name| (*name).into()).collect(),
            socket: SocketDescription::default(),
            hooks: vec![Hook::Connected],
            schedules: Vec::new(),
            publications: Vec::new(),
            asks: Grants::default(),
        })
    }

    fn presence() -> Arc<Manifest> {
        manifest("presence", &[(Method::Get, "/v1/presence/{user}"), (Method::Post, "/v1/presence")], &["beat"])
    }

    /// The table of these functions; the last one is the newest.
    fn table_of(manifests: &[Arc<Manifest>]) -> Result<Table<u8>, Conflict> {
        let functions: Vec<Described<u8>> = (1..)
            .zip(manifests)
            .map(|(target, manifest)| Described { manifest: Arc::clone(manifest), target })
            .collect();
        let newest = manifests.last().map(|manifest| manifest.name.as_str());
        Table::of(functions.iter(), newest)
    }

    fn table() -> Table<u8> {
        table_of(&[presence()]).unwrap()
    }

    #[test]
    fn a_path_finds_its_function_and_decodes_its_parameters() {
        let RouteLookup::Found(found) = table().route("GET", "/v1/presence/a%20%C3%A9") else {
            panic!("not found");
        };
        assert_eq!((found.target, found.index, &*found.route), (1, 0, "/v1/presence/{user}"));
        assert_eq!(found.parameters, [("user".to_owned(), "a é".to_owned())]);
    }

    #[test]
    fn escapes_that_are_none_lead_nowhere() {
        for path in ["/v1/presence/%", "/v1/presence/%zz", "/v1/presence/%ff"] {
            assert_eq!(table().route("GET", path), RouteLookup::NotFound, "{path}");
        }
    }

    #[test]
    fn another_method_is_answered_with_what_is_allowed() {
        let allowed = vec![Method::Post];
        assert_eq!(table().route("DELETE", "/v1/presence"), RouteLookup::MethodNotAllowed(allowed));
        assert_eq!(table().route("GET", "/v1/nothing"), RouteLookup::NotFound);
        assert_eq!(table().route("BREW", "/v1/nothing"), RouteLookup::NotFound);
    }

    #[test]
    fn a_path_without_parameters_is_not_taken_for_a_parameter_of_another_method() {
        let query = manifest("query", &[(Method::Post, "/v1/presence/query")], &[]);
        let table = table_of(&[presence(), query]).unwrap();
        assert_eq!(table.route("GET", "/v1/presence/query"), RouteLookup::MethodNotAllowed(vec![Method::Post]));
        assert!(matches!(table.route("POST", "/v1/presence/query"), RouteLookup::Found(found) if found.target == 2));
        assert!(matches!(table.route("GET", "/v1/presence/queries"), RouteLookup::Found(found) if found.target == 1));
    }

    #[test]
    fn a_route_of_another_function_is_refused_naming_it() {
        let newcomer = manifest("status", &[(Method::Get, "/v1/presence/{id}")], &[]);
        let error = table_of(&[presence(), newcomer]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "the route GET /v1/presence/{id} conflicts with /v1/presence/{user} of the function presence; choose another path, or remove that function first"
        );
    }

    #[test]
    fn a_message_type_of_another_function_is_refused_naming_it() {
        let error = table_of(&[presence(), manifest("b", &[], &["beat"])]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "the message type beat belongs to the function presence; choose another name, or remove that function first"
        );
    }

    #[test]
    fn a_parameter_that_matchit_refuses_is_reported() {
        let newcomer = manifest("b", &[(Method::Get, "/v1/{a}-{b}")], &[]);
        let error = table_of(&[presence(), newcomer]).err().unwrap();
        assert!(matches!(error, Conflict::Path { .. }), "{error}");
    }

    #[test]
    fn a_conflict_is_reported_as_that_of_the_newest_function() {
        let (old, new) = (manifest("z", &[], &["beat"]), manifest("a", &[], &["beat"]));
        let functions = [Described { manifest: old, target: 1 }, Described { manifest: new, target: 2 }];
        let owner = |newest| match Table::of(functions.iter(), Some(newest)).err().unwrap() {
            Conflict::Message { owner, .. } => owner,
            other => panic!("{other}"),
        };
        assert_eq!((owner("a").as_str(), owner("z").as_str()), ("z", "a"));
    }
}
