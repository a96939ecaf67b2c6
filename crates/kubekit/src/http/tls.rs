//! TLS for metrics: which versions, and the certificate, which comes from files or is made here.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{NamedGroup, ServerConfig, SupportedProtocolVersion};
use tracing::{info, warn};

/// How often the files are read. That is cheap, and sees also what the kubelet does, which replaces a link to the
/// directory that they are in.
const EVERY: Duration = Duration::from_secs(5);
/// The names that a Secret of type `kubernetes.io/tls` has.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What an operator sets.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Where `tls.crt` and `tls.key` are. Without it, or while they are not there, a certificate is made that nobody has
    /// signed.
    pub directory: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub oldest: Version,
    /// Cipher suites for TLS 1.2, by their names; empty for all.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups by their numbers in TLS; empty for all.
    pub groups: Vec<u16>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    #[default]
    Tls13,
}

/// The text names no version that is served.
#[derive(Debug, thiserror::Error)]
#[error("no such version: write VersionTLS12 or VersionTLS13")]
pub struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;

    /// Reads Go's names of them; an empty text is the default.
    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        match text {
            "" => Ok(Self::default()),
            "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            _ => Err(ParseVersionError),
        }
    }
}

/// The certificate in use, which may change.
#[derive(Debug)]
pub(super) struct Certificates {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<ServerConfig>>,
    /// What was in the files when they were read last.
    files: RwLock<Option<Files>>,
}

/// What is in the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads or makes a certificate. Fails when nothing is left of the cipher suites or groups that are asked for.
    /// Files that cannot be used are no reason to fail: metrics matter less than what they are about.
    pub(super) fn start(tls: Tls) -> anyhow::Result<Self> {
        let provider = Arc::new(provider(&tls)?);
        let own = self_made().and_then(|files| config(&tls, &provider, &files))?;
        let (current, files) = (RwLock::new(Arc::new(own)), RwLock::new(None));
        let this = Self { tls, provider, current, files };
        if let Some(directory) = &this.tls.directory
            && !this.read_again(directory)
        {
            warn!(directory = %directory.display(), "metrics have a certificate of their own for the time being");
        }
        Ok(this)
    }

    /// With what the next client is met.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Follows the files, for ever.
    pub(super) async fn follow(&self) {
        let Some(directory) = &self.tls.directory else { return std::future::pending().await };
        loop {
            sleep(EVERY).await;
            self.read_again(directory);
        }
    }

    /// Takes over what is in the files, if that is new and can be used. Returns whether they are in use.
    fn read_again(&self, directory: &Path) -> bool {
        let files = match read(directory) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return false,
            Err(error) => {
                warn!(directory = %directory.display(), %error, "cannot read the certificate for metrics");
                return false;
            }
        };
        let mut before = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if before.as_ref() == Some(&files) {
            return true;
        }
        let made = config(&self.tls, &self.provider, &files);
        *before = Some(files);
        match made {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                info!(directory = %directory.display(), "metrics are served with the certificate found there");
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                warn!(directory = %directory.display(), error, "the certificate for metrics cannot be used");
                false
            }
        }
    }
}

fn read(directory: &Path) -> std::io::Result<Files> {
    let read = |name| fs::read(directory.join(name));
    Ok(Files { certificate: read(CERTIFICATE)?, key: read(KEY)? })
}

/// A certificate that only serves to have a connection encrypted, as that of MetalLB, which clients must not verify.
fn self_made() -> anyhow::Result<Files> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
    Ok(Files {
        certificate: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    })
}

fn config(tls: &Tls, provider: &Arc<CryptoProvider>, files: &Files) -> anyhow::Result<ServerConfig> {
    let versions: &[&SupportedProtocolVersion] = match tls.oldest {
        Version::Tls12 => &[&TLS13, &TLS12],
        Version::Tls13 => &[&TLS13],
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&files.certificate)
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {CERTIFICATE}"))?;
    ensure!(!chain.is_empty(), "there is no certificate in {CERTIFICATE}");
    let key = PrivateKeyDer::from_pem_slice(&files.key).with_context(|| format!("reading {KEY}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .context("the cipher suites and groups fit no version of TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("using the certificate and its key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Nothing is kept for clients that may never come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The algorithms that are asked for, as far as there are such.
fn provider(tls: &Tls) -> anyhow::Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() && tls.oldest == Version::Tls13 {
        warn!("--tls-cipher-suites means nothing without --tls-min-version=VersionTLS12");
    } else if !tls.cipher_suites.is_empty() {
        let name = |suite: &tokio_rustls::rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        let served: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        // Go has two names for some.
        let full = |wanted: &String| {
            [wanted.clone(), format!("{wanted}_SHA256")].into_iter().find(|it| served.contains(it))
        };
        let wanted: Vec<String> = tls.cipher_suites.iter().filter_map(full).collect();
        let unknown: Vec<_> = tls.cipher_suites.iter().filter(|suite| full(suite).is_none()).collect();
        if !unknown.is_empty() {
            warn!(?unknown, "these cipher suites are not served");
        }
        ensure!(
            !wanted.is_empty(),
            "none of --tls-cipher-suites is served; these are: {}",
            served.join(", ")
        );
        // Those of TLS 1.3 are not to be chosen.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || wanted.contains(&name(suite)));
    }
    if !tls.groups.is_empty() {
        let served: Vec<u16> = provider.kx_groups.iter().map(|group| number(group.name())).collect();
        let unknown: Vec<_> = tls.groups.iter().filter(|group| !served.contains(group)).collect();
        if !unknown.is_empty() {
            warn!(?unknown, "these key exchange groups are not served");
        }
        provider.kx_groups.retain(|group| tls.groups.contains(&number(group.name())));
        ensure!(
            !provider.kx_groups.is_empty(),
            "none of --tls-curve-preferences is served; these are: {served:?}"
        );
    }
    Ok(provider)
}

fn number(group: NamedGroup) -> u16 {
    group.into()
}

#[cfg(test)]
mod tests;
