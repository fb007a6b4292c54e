//! The interface between the listeners and the functions: finds the function for a route, a frame or a hook, and calls
//! it. It shows nothing of components, revisions or instances; unit tests of the listeners use a fake.

use std::future::Future;

use crate::runtime::{CallError, Documented, Functions, Hook, Invocation, Reply, RouteLookup, Target};

/// The live functions, as the listeners use them.
pub trait Dispatcher: Send + Sync + 'static {
    /// One revision of a function. Its holder calls that revision, even if another one is deployed meanwhile.
    type Target: Clone + Send + Sync + 'static;

    /// Finds a request's route. `path` is the path of the request line, without the query.
    fn route(&self, method: &str, path: &str) -> RouteLookup<Self::Target>;

    /// Finds the function that answers frames of this type.
    fn message(&self, name: &str) -> Option<Self::Target>;

    /// Lists the functions that registered this hook.
    fn hooks(&self, hook: Hook) -> Vec<Self::Target>;

    /// Calls a function.
    fn call(
        &self,
        target: &Self::Target,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// A number that grows with every change of the live functions.
    fn generation(&self) -> u64;

    /// Lists every route with its description.
    fn documented(&self) -> Vec<Documented>;
}

impl Dispatcher for Functions {
    type Target = Target;

    fn route(&self, method: &str, path: &str) -> RouteLookup<Target> {
        Self::route(self, method, path)
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
