//! `lab`: the command line of the lab alone, without the rest of `cargo xtask`.

fn main() -> std::process::ExitCode {
    lab::cli::main()
}
