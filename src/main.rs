//! The `llm-proxy` command.

/// Parses the arguments, runs, and gives the exit code.
#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    llm_proxy::cli::main()
}

/// The command exists only natively.
#[cfg(target_family = "wasm")]
fn main() {}
