//! The custom resources against the real thing: a kube-apiserver and an etcd, started here from the binary that
//! `make tools` builds (`build.sh`), on free ports and with data of their own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "counts and logs belong in a test's output")]

mod agreement;
mod chart;
mod generated;
mod pod;
mod render;
mod support;
