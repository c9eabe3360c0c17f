//! A scripted LLM provider.

fn main() {}
