//! What the faces ask of the functions: who answers a route, a frame or a hook, and to call them.
//!
//! The faces know nothing of components, revisions or instances. Tests put a fake here.

use std::future::Future;
use std::sync::Arc;

use crate::runtime::{
    Access, CallError, Documented, Functions, Hook, Invocation, Method, Parameter, Reply, RouteMatch, Target,
};

/// A route that a function answers.
#[derive(Clone, Debug)]
pub struct Matched<T> {
    /// Whom to call.
    pub target: T,
    /// Who may call.
    pub access: Access,
    /// The route's place in the manifest.
    pub index: u32,
    /// The path as the manifest spells it.
    pub route: Arc<str>,
    /// Name and decoded value of each path parameter.
    pub parameters: Vec<Parameter>,
}

/// What became of looking for a route.
#[derive(Clone, Debug)]
pub enum Lookup<T> {
    /// This function answers.
    Found(Matched<T>),
    /// The path is known, under these methods only.
    OtherMethods(Vec<Method>),
    /// No function has this path.
    Unknown,
}

/// The functions as the faces see them.
pub trait Dispatcher: Send + Sync + 'static {
    /// A function in one revision: whoever holds it calls that revision, whatever is deployed meanwhile.
    type Target: Clone + Send + Sync + 'static;

    /// Who answers this request. The path is as it stands in the request line, without a query.
    fn route(&self, method: &str, path: &str) -> Lookup<Self::Target>;

    /// Who answers frames of this type.
    fn message(&self, name: &str) -> Option<Self::Target>;

    /// Everybody who takes part in this moment.
    fn hooks(&self, hook: Hook) -> Vec<Self::Target>;

    /// Calls it.
    fn call(
        &self,
        target: &Self::Target,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// Grows with every change of the functions.
    fn generation(&self) -> u64;

    /// Every route with its description.
    fn documented(&self) -> Vec<Documented>;
}

impl Dispatcher for Functions {
    type Target = Target;

    fn route(&self, method: &str, path: &str) -> Lookup<Target> {
        match Self::route(self, method, path) {
            RouteMatch::Found { target, index, route, parameters, access } => {
                Lookup::Found(Matched { target, access, index, route, parameters })
            }
            RouteMatch::MethodNotAllowed { allow } => Lookup::OtherMethods(allow),
            RouteMatch::NotFound => Lookup::Unknown,
        }
    }

    fn message(&self, name: &str) -> Option<Target> {
        Self::message(self, name)
    }

    fn hooks(&self, hook: Hook) -> Vec<Target> {
        Self::hooks(self, hook)
    }

    async fn call(&self, target: &Target, invocation: Invocation) -> Result<Reply, CallError> {
        Self::call(self, target, invocation).await
    }

    fn generation(&self) -> u64 {
        *self.changed().borrow()
    }

    fn documented(&self) -> Vec<Documented> {
        self.openapi()
    }
}
