//! TLS: a certificate authority of our own, and a certificate for whatever name is asked for.
//!
//! The authority lives as long as the process. Its certificate is what a client under test must be
//! told to trust; its key never leaves this module.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// A certificate authority that issues a certificate for each name it is asked for.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// Names for which a certificate of another name is presented.
    wrong_names: HashSet<String>,
    /// By name as asked for; the empty name is that of clients that sent none.
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Authority {
    /// Makes the key and the certificate of the authority.
    pub fn new(wrong_names: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("the authority's key")?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "mock-provider test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params
            .self_signed(&key)
            .context("the authority's certificate")?
            .pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
            wrong_names: wrong_names
                .into_iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            issued: Mutex::default(),
        })
    }

    /// The authority's certificate, which a client has to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn certificate(&self, name: &str) -> anyhow::Result<Arc<CertifiedKey>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = issued.get(name) {
            return Ok(found.clone());
        }
        let made = Arc::new(self.issue(name)?);
        // Names come from the network; a test run uses a handful.
        if issued.len() >= MAX_ISSUED {
            issued.clear();
        }
        issued.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    fn issue(&self, name: &str) -> anyhow::Result<CertifiedKey> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        if self.wrong_names.contains(name) {
            params.subject_alt_names = vec![SanType::DnsName(WRONG_NAME.try_into()?)];
        } else {
            params.subject_alt_names = vec![SanType::DnsName(
                if name.is_empty() { "localhost" } else { name }.try_into()?,
            )];
            if name.is_empty() || name == "localhost" {
                params.subject_alt_names.extend([
                    SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
                ]);
            }
        }
        params
            .distinguished_name
            .push(DnType::CommonName, "mock-provider");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("wrong_names", &self.wrong_names)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A name we cannot certify fails the handshake, which is recorded with its connection.
        self.certificate(hello.server_name().unwrap_or_default())
            .ok()
    }
}

/// TLS as a provider's edge speaks it: HTTP/2 where the client offers it, else HTTP/1.1.
pub fn server_config(authority: Arc<Authority>) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(authority);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What certificates for `--wrong-name` say.
const WRONG_NAME: &str = "wrong-name.invalid";

const MAX_ISSUED: usize = 1000;
