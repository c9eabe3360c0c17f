//! `llm-proxy import`: the result to standard output, what has no equivalent to standard error.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Done, Failure, USAGE, complain, print, read, shown};
use crate::import::{self, ApisixPriority, Input, Note, Options, Severity};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The files of one configuration, YAML or JSON; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Which priority of APISIX' ai-proxy-multi comes first
    #[arg(long, value_name = "ORDER", default_value = "smaller-first")]
    apisix_priority: Order,
    /// Write what can be imported although something else cannot
    #[arg(long)]
    partial: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// As API7's documentation has it
    SmallerFirst,
    /// As Apache APISIX does it
    LargerFirst,
}

/// Imports.
pub fn import(arguments: &Import) -> Done {
    let inputs = arguments.files.iter().map(|file| input(file));
    let inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
    let options = Options {
        apisix_priority: match arguments.apisix_priority {
            Order::SmallerFirst => ApisixPriority::SmallerFirst,
            Order::LargerFirst => ApisixPriority::LargerFirst,
        },
    };
    let imported = import::import(&inputs, options);
    for note in &imported.notes {
        complain(&line(note));
    }
    match imported.text.as_deref() {
        Some(text) if arguments.partial || !imported.has_errors() => print(text),
        _ => Err(Failure::silent(USAGE)),
    }
}

fn input(file: &Path) -> Result<Input, Failure> {
    let text = read(file)?;
    let name = shown(file);
    Ok(Input { name, text })
}

fn line(note: &Note) -> String {
    let place = match note.position {
        Some(position) => format!("{}:{}:{}", note.file, position.line, position.column),
        None => note.file.clone(),
    };
    let warning = match note.severity {
        Severity::Error => "",
        Severity::Warning => "warning: ",
    };
    match note.at.as_str() {
        "" => format!("{warning}{place}: {}", note.message),
        at => format!("{warning}{at} ({place}): {}", note.message),
    }
}
