//! `kubectl ferrolb`, for the tests to run on the lab's hosts.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_ferrolb::main()
}
