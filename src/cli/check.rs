//! `llm-proxy check`: what is wrong with configurations, for people, editors and CI.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Done, Failure, OK, System, USAGE, complain, counted, print, read, shown};
use crate::check::{self, Diagnostic, Excerpts, Keys, Severity};
use crate::config::Text;
use crate::render::Source;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The configurations; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Require that every variable is set
    #[arg(long)]
    env: bool,
    /// The form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people
    Text,
    /// One list for programs, on standard output
    Json,
}

/// Checks.
pub fn check(arguments: &Check) -> Done {
    let keys = match arguments.env {
        true => Keys::Needed,
        false => Keys::MayBeUnset,
    };
    let mut code = OK;
    let mut all = Vec::new();
    for file in &arguments.files {
        let text = match read(file) {
            Ok(text) => Text::new(text),
            Err(failure) if arguments.files.len() == 1 => return Err(failure),
            Err(failure) => {
                complain(&failure.message);
                code = code.max(failure.code);
                continue;
            }
        };
        let checked = check::check(&text, &System, keys);
        match arguments.format {
            Format::Json => all.extend(checked.diagnostics.iter().map(|it| to_json(file, it))),
            Format::Text => report(file, &text, &checked.diagnostics),
        }
        match &checked.source {
            Some(source) if arguments.format == Format::Text => {
                print(&format!("{} is valid: {}\n", shown(file), summary(source)))?;
            }
            Some(_) => {}
            None => code = code.max(USAGE),
        }
    }
    if arguments.format == Format::Json {
        print(&format!("{:#}\n", Value::Array(all)))?;
    }
    match code {
        OK => Ok(OK),
        code => Err(Failure::silent(code)),
    }
}

/// Reports to standard error: a line for each, with its place, and the line of the file.
pub fn report(file: &Path, text: &Text<'_>, diagnostics: &[Diagnostic]) {
    if diagnostics.is_empty() {
        return;
    }
    let excerpts = Excerpts::of(text);
    for (number, diagnostic) in diagnostics.iter().enumerate() {
        complain(&line(file, diagnostic));
        if number < MAX_EXCERPTS
            && let Some(excerpt) = excerpts.of_diagnostic(diagnostic)
        {
            complain(&excerpt);
        }
    }
}

/// Of how many errors and warnings the line is shown.
const MAX_EXCERPTS: usize = 50;

fn line(file: &Path, diagnostic: &Diagnostic) -> String {
    let place = match diagnostic.position {
        Some(position) => format!("{}:{}:{}", shown(file), position.line, position.column),
        None => shown(file),
    };
    let warning = match diagnostic.severity {
        Severity::Error => "",
        Severity::Warning => "warning: ",
    };
    match diagnostic.at.is_root() {
        true => format!("{warning}{place}: {}", diagnostic.message),
        false => format!(
            "{warning}{} ({place}): {}",
            diagnostic.at, diagnostic.message
        ),
    }
}

fn to_json(file: &Path, diagnostic: &Diagnostic) -> Value {
    json!({
        "file": shown(file),
        "line": diagnostic.position.map(|it| it.line),
        "column": diagnostic.position.map(|it| it.column),
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "key": diagnostic.at.to_string(),
        "message": diagnostic.message,
    })
}

fn summary(source: &Source) -> String {
    let gateway = source.gateway();
    let backends = counted(gateway.backends.len(), "backend");
    let pools = match gateway.pools.len() {
        0 => String::new(),
        pools => format!(", {}", counted(pools, "pool")),
    };
    let routes = counted(gateway.routes.len(), "route");
    format!("{backends}{pools}, {routes}")
}
