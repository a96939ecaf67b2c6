//! Keys and certificates of a cluster, and the kubeconfig files that use them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::template;

/// A certificate authority that writes what it issues into one directory: `NAME.crt`, `NAME.key`, `NAME.conf`.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom a client certificate speaks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The user name (CN).
    pub(crate) user: &'a str,
    /// The group (O), if any.
    pub(crate) group: Option<&'a str>,
}

impl Authority {
    /// Makes a new authority in `dir` (`ca.crt`), and the keys that sign service account tokens (`sa.key`,
    /// `sa.pub`).
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name(Subject { user: "ferrolb-lab", group: None });
        let key = KeyPair::generate()?;
        write(&dir.join("ca.crt"), &params.self_signed(&key)?.pem())?;
        write(&dir.join("ca.key"), &key.serialize_pem())?;
        let tokens = KeyPair::generate()?;
        write(&dir.join("sa.key"), &tokens.serialize_pem())?;
        write(&dir.join("sa.pub"), &tokens.public_key_pem())?;
        Ok(Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Issues `FILE.crt` and `FILE.key`, good for client and server, valid for `names` (DNS names and addresses).
    pub(crate) fn issue(&self, file: &str, subject: Subject<'_>, names: &[String]) -> Result<()> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name(subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        write(&self.dir.join(format!("{file}.crt")), &params.signed_by(&key, &self.issuer)?.pem())?;
        write(&self.dir.join(format!("{file}.key")), &key.serialize_pem())
    }

    /// Writes `FILE.conf`, a kubeconfig for the API server at `server` with the certificate `FILE`. The paths in it
    /// begin with `seen_as`, the directory under which its reader sees this authority's.
    pub(crate) fn kubeconfig(&self, file: &str, server: &str, seen_as: &Path) -> Result<()> {
        let pki = seen_as.display().to_string();
        let values = [("server", server), ("pki", &pki), ("file", file)];
        let text = template::render(include_str!("../templates/kubeconfig.yaml"), &values);
        write(&self.dir.join(format!("{file}.conf")), &text)
    }

    /// Issues what an API server at `server` needs, which answers to `names`, and `admin.conf` for its users.
    pub(crate) fn api_server(&self, names: &[String], server: &str, seen_as: &Path) -> Result<()> {
        let masters = Some("system:masters");
        self.issue("apiserver", Subject { user: "kube-apiserver", group: None }, names)?;
        self.issue("apiserver-kubelet", Subject { user: "apiserver-kubelet", group: masters }, &[])?;
        self.issue("front-proxy", Subject { user: "front-proxy", group: None }, &[])?;
        self.issue("admin", Subject { user: "admin", group: masters }, &[])?;
        self.kubeconfig("admin", server, seen_as)
    }
}

fn name(subject: Subject<'_>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = subject.group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, subject.user);
    name
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
