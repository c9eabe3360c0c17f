//! `llm-proxy health`: whether the gateway of this machine is ready. What `run` waits for, too.

use std::path::PathBuf;

use super::admin::Admin;
use super::{Done, Failure, OK, UNAVAILABLE, USAGE, read, shown};
use crate::config::{self, Text};
use crate::endpoint::Address;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Health {
    /// The configuration that the gateway runs, which may have another admin address
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Asks Envoy's admin interface.
pub fn health(arguments: &Health) -> Done {
    let mut admin = config::defaults::ADMIN.to_owned();
    if let Some(file) = &arguments.file {
        let text = Text::new(read(file)?);
        let written = text
            .file()
            .map_err(|errors| Failure::new(USAGE, format!("{}: {errors}", shown(file))))?;
        admin = written.admin.clone().unwrap_or(admin);
    }
    let address = Address::parse(&admin).map_err(|why| Failure::new(USAGE, why))?;
    match Admin::new(&address).is_ready() {
        true => Ok(OK),
        false => Err(Failure::new(
            UNAVAILABLE,
            format!("the gateway at {admin} is not ready"),
        )),
    }
}
