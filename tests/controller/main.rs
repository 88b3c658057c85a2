//! The operator's process against a real kube-apiserver and etcd. The tests play what else a cluster has: the
//! Deployment controller, the kubelet, and the pods with their admin port.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "counts and logs belong in a test's output")]

mod convergence;
mod database;
mod election;
mod objects;
mod purge;
mod refusals;
mod support;
mod webhook;
