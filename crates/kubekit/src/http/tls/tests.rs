use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};

use super::*;

/// Files with a new certificate.
fn write(directory: &Path) -> Files {
    let files = self_made().unwrap();
    fs::write(directory.join(CERTIFICATE), &files.certificate).unwrap();
    fs::write(directory.join(KEY), &files.key).unwrap();
    files
}

/// Shakes hands as a client that trusts this certificate and speaks these versions. Returns the version.
async fn shake_hands(
    certificates: &Certificates,
    trusted: &Files,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ProtocolVersion, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&trusted.certificate).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (here, there): (DuplexStream, DuplexStream) = duplex(64 * 1024);
    let acceptor = certificates.acceptor();
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(there).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, here).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    assert_eq!(said, "hello");
    _ = serving.await.unwrap();
    Ok(stream.get_ref().1.protocol_version().unwrap())
}

#[tokio::test]
async fn the_certificate_in_the_files_is_served_from_when_it_is_there_and_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls { directory: Some(directory.path().to_owned()), ..Tls::default() };
    // Without files, one of our own is.
    let certificates = Certificates::start(tls.clone()).unwrap();
    let first = write(directory.path());
    assert!(shake_hands(&certificates, &first, &[&TLS13]).await.is_err());
    assert!(certificates.read_again(directory.path()));
    shake_hands(&certificates, &first, &[&TLS13]).await.unwrap();
    let second = write(directory.path());
    assert!(certificates.read_again(directory.path()));
    shake_hands(&certificates, &second, &[&TLS13]).await.unwrap();
    assert!(shake_hands(&certificates, &first, &[&TLS13]).await.is_err());
    // What cannot be used changes nothing, neither now nor where it is there from the start.
    for (name, content) in [(KEY, &first.key[..]), (CERTIFICATE, b"nothing"), (KEY, b"")] {
        fs::write(directory.path().join(name), content).unwrap();
        assert!(!certificates.read_again(directory.path()), "{name}");
        shake_hands(&certificates, &second, &[&TLS13]).await.unwrap();
    }
    Certificates::start(tls).unwrap();
}

#[tokio::test]
async fn the_oldest_version_is_1_3_unless_1_2_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = write(directory.path());
    for (oldest, with_12) in [(Version::Tls13, None), (Version::Tls12, Some(ProtocolVersion::TLSv1_2))] {
        let tls = Tls { directory: Some(directory.path().to_owned()), oldest, ..Tls::default() };
        let certificates = Certificates::start(tls).unwrap();
        assert_eq!(shake_hands(&certificates, &trusted, &[&TLS12]).await.ok(), with_12, "{oldest:?}");
        let both = shake_hands(&certificates, &trusted, &[&TLS12, &TLS13]).await.unwrap();
        assert_eq!(both, ProtocolVersion::TLSv1_3);
    }
}

#[test]
fn of_suites_and_groups_those_are_served_that_are_asked_for() {
    let with = |suites: &[&str], groups: &[u16]| {
        let cipher_suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        provider(&Tls { oldest: Version::Tls12, cipher_suites, groups: groups.to_vec(), directory: None })
    };
    let chosen = with(
        &[
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
        ],
        &[24, 4588, 29],
    )
    .unwrap();
    let older = chosen.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
    assert_eq!(older.count(), 2);
    assert!(chosen.cipher_suites.iter().any(|suite| suite.tls13().is_some()));
    assert_eq!(chosen.kx_groups.iter().map(|group| number(group.name())).collect::<Vec<_>>(), [29, 24]);
    let none = with(&["TLS_RSA_WITH_AES_128_CBC_SHA"], &[]).unwrap_err().to_string();
    assert!(none.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{none}");
    assert!(with(&[], &[4588]).unwrap_err().to_string().contains("29"));
}

#[test]
fn versions_have_gos_names() {
    assert_eq!("".parse::<Version>().unwrap(), Version::Tls13);
    assert_eq!("VersionTLS12".parse::<Version>().unwrap(), Version::Tls12);
    assert!("1.2".parse::<Version>().is_err());
}
