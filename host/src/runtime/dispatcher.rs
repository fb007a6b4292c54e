//! The interface to the live functions: the listeners find the function for a route, a frame or a hook, the scheduler
//! reads the schedules, the runner of triggers reads who is called for publications, and all of them call. It shows
//! nothing of components, revisions or instances; unit tests use fakes.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::BUILT_IN;
use crate::ops::log::milliseconds;
use crate::runtime::{
    CallError, Cohort, Documented, Functions, Hook, Invocation, Reply, RouteLookup, Schedule, SocketDescription, Target,
};

/// Calls the live functions.
pub trait Callable: Send + Sync + 'static {
    /// One revision of a function. Its holder calls that revision, even if another one is deployed meanwhile.
    type Target: Clone + Send + Sync + 'static;

    /// Calls a function.
    fn call(
        &self,
        target: &Self::Target,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// A counter that grows with every change of the live functions.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A lease is this much longer than a call can take.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// The live functions, as those use them who call them under a lease.
pub(crate) trait Leased: Callable {
    /// The name of the function.
    fn name(target: &Self::Target) -> &str;

    /// The longest time that a call can take, waiting for admission included.
    fn call_time_max(target: &Self::Target) -> Duration;

    /// How long a lease for a call is.
    fn lease_ms(target: &Self::Target) -> u64 {
        milliseconds(Self::call_time_max(target) + LEASE_MARGIN)
    }
}

/// The live functions, as the scheduler uses them.
pub(crate) trait Scheduled: Leased {
    /// The schedules of all functions.
    fn schedules(&self) -> Vec<(Self::Target, Schedule)>;
}

/// The live functions, as the runner of triggers uses them.
pub(crate) trait Subscribed: Leased {
    /// The functions that are called for publications.
    fn subscribers(&self) -> Vec<Self::Target>;

    /// Whether this revision is called for publications of this type.
    fn is_called_for(target: &Self::Target, event: &str) -> bool;
}

/// The live functions, as the listeners use them.
pub trait Dispatcher: Callable {
    /// Whether some users see other revisions than the others, so that a caller's cohort matters.
    fn has_canaries(&self) -> bool;

    /// Finds a request's route. `path` is the path of the request line, without the query.
    fn route(&self, method: &str, path: &str, cohort: Cohort) -> RouteLookup<Self::Target>;

    /// Finds the function that answers frames of this type.
    fn message(&self, name: &str, cohort: Cohort) -> Option<Self::Target>;

    /// Lists the functions that registered this hook.
    fn hooks(&self, hook: Hook) -> Vec<Self::Target>;

    /// Whether clients rely on the answer of this function to a hook, so that nothing is better than an answer without
    /// it.
    fn is_required(&self, target: &Self::Target) -> bool;

    /// Lists every route with its description.
    fn documented(&self) -> Vec<Documented>;

    /// Lists the frames and events of every function with their descriptions. If two of them describe the same, the
    /// first one counts.
    fn socket_descriptions(&self) -> Vec<SocketDescription>;
}

impl Callable for Functions {
    type Target = Target;

    async fn call(&self, target: &Target, invocation: Invocation) -> Result<Reply, CallError> {
        Self::call(self, target, invocation).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

impl Leased for Functions {
    fn name(target: &Target) -> &str {
        target.name()
    }

    fn call_time_max(target: &Target) -> Duration {
        target.call_time_max()
    }
}

impl Scheduled for Functions {
    fn schedules(&self) -> Vec<(Target, Schedule)> {
        Self::schedules(self)
    }
}

impl Subscribed for Functions {
    fn subscribers(&self) -> Vec<Target> {
        Self::subscribers(self)
    }

    fn is_called_for(target: &Target, event: &str) -> bool {
        target.is_called_for(event)
    }
}

impl Dispatcher for Functions {
    fn has_canaries(&self) -> bool {
        Self::has_canaries(self)
    }

    fn route(&self, method: &str, path: &str, cohort: Cohort) -> RouteLookup<Target> {
        Self::route(self, method, path, cohort)
    }

    fn message(&self, name: &str, cohort: Cohort) -> Option<Target> {
        Self::message(self, name, cohort)
    }

    fn hooks(&self, hook: Hook) -> Vec<Target> {
        Self::hooks(self, hook)
    }

    fn is_required(&self, target: &Target) -> bool {
        // What functions of an operator add is theirs: one of them that fails keeps nobody from connecting.
        BUILT_IN.contains(&target.name())
    }

    fn documented(&self) -> Vec<Documented> {
        self.openapi()
    }

    fn socket_descriptions(&self) -> Vec<SocketDescription> {
        Self::socket_descriptions(self)
    }
}
