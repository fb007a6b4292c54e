//! The contract of a store, as cases that any adapter's test can call.
