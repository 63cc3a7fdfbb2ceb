//! TLS, and client certificates that say who somebody is.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::Client;
use super::harness::{Running, config};
use crate::{ServerConfig, TlsConfig};

/// An authority with a certificate for the server and one for user `web`.
fn certificates(directory: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    for (name, common) in [("localhost", "stoa"), ("web.internal", "web")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(directory.join(format!("{common}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{common}.key")), key.serialize_pem()).unwrap();
    }
}

fn with_tls(directory: &Path) -> ServerConfig {
    ServerConfig {
        tls: Some(TlsConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cert: directory.join("stoa.pem"),
            key: directory.join("stoa.key"),
            client_ca: Some(directory.join("ca.pem")),
            require_client_cert: false,
        }),
        ..config()
    }
}

async fn connect(running: &Running, directory: &Path, user: Option<&str>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match user {
        None => builder.with_no_client_auth(),
        Some(user) => {
            let chain = vec![CertificateDer::from_pem_file(directory.join(format!("{user}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(directory.join(format!("{user}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(running.addresses.tls[0]).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    Client::over(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
}

#[tokio::test]
async fn a_certificate_says_who_its_holder_is() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let running = Running::start(with_tls(directory.path())).await;
    let mut admin = connect(&running, directory.path(), None).await;
    assert!(admin.call("PING").await.error().starts_with("NOAUTH"));
    assert_eq!(admin.call(&format!("AUTH admin {}", running.secret())).await.text(), "OK");

    let mut web = connect(&running, directory.path(), Some("web")).await;
    assert!(web.call("PING").await.error().starts_with("NOAUTH"), "there is no such user yet");
    admin.call("ACL SETUSER web on +@read ~acme").await;
    let mut web = connect(&running, directory.path(), Some("web")).await;
    assert_eq!(web.call("ACL WHOAMI").await.text(), "web");
    assert!(web.call("USER.GET other login=x").await.error().starts_with("NOPERM"));
    running.stop().await;
}

#[tokio::test]
async fn resp_on_the_tls_port_gets_one_error() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let running = Running::start(with_tls(directory.path())).await;
    let mut plain = Client::connect(running.addresses.tls[0]).await;
    assert!(plain.call("PING").await.error().starts_with("ERR Protocol error"));
    assert!(plain.try_read().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn unusable_certificates_are_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let mut config = with_tls(directory.path());
    if let Some(tls) = &mut config.tls {
        tls.key = directory.path().join("web.key");
    }
    let store = stoa_engine::Store::open(stoa_engine::StoreOptions::new(directory.path().join("data"))).unwrap();
    crate::mint_admin(&store, &directory.path().join("secret")).unwrap();
    let refused = crate::Server::bind(config, store).await.err().unwrap().to_string();
    assert!(refused.starts_with("tls: "), "{refused}");
}
