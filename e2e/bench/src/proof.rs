//! Shows that a variant does what its row says, before it is measured: what does nothing is fast.

use anyhow::{Context, Result, ensure};
use http::header::{AUTHORIZATION, HOST};
use serde_json::Value;

use crate::envoy::{self, Envoy, Variant};
use crate::load;
use crate::provider::Provider;
use crate::workload::{self, Workload};

/// Sends one request and looks at what arrives.
///
/// # Errors
///
/// When the bare Envoy changes the request, or the module does not.
pub async fn check(
    envoy: &Envoy,
    variant: &Variant,
    workload: &Workload,
    provider: &Provider,
) -> Result<()> {
    load::run_recorded(envoy.address(), workload).await?;
    let record = provider.take_record().context("nothing arrived")?;
    let (host, credential, model) = match variant {
        Variant::Bare => (load::HOST, load::CREDENTIAL.to_owned(), workload::MODEL),
        Variant::Module(_) => (
            envoy::AUTHORITY,
            format!("Bearer {}", envoy::KEY),
            envoy::MODEL,
        ),
    };
    let header = |name| record.headers.get(name).and_then(|it| it.to_str().ok());
    ensure!(header(HOST) == Some(host), "host: {:?}", header(HOST));
    ensure!(
        header(AUTHORIZATION) == Some(&*credential),
        "the credential is not {credential}"
    );
    ensure!(
        record.path == "/v1/chat/completions",
        "path: {}",
        record.path
    );

    let mut expected: Value = serde_json::from_slice(&workload.body)?;
    let sent: Value = serde_json::from_slice(&record.body)?;
    if let Some(member) = expected.get_mut("model") {
        *member = model.into();
    }
    ensure!(sent == expected, "the body is not what was to be sent");
    Ok(())
}
