//! The `llm-proxy` command.

fn main() {}
