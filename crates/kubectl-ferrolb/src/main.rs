//! `kubectl ferrolb`, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_ferrolb::main()
}
