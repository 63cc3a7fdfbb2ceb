//! TLS 1.2 and 1.3 by rustls with aws-lc-rs, and who a client certificate says its holder is.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::{ServerConfig as TlsServerConfig, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::TlsConfig;
use crate::error::ServeError;

/// What accepts TLS connections.
///
/// # Errors
/// Certificates or keys that cannot be read or used.
pub(crate) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let chain = certificates(&config.cert)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| pem(&config.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refuse = |error: rustls::Error| ServeError::Tls(error.to_string());
    let builder = TlsServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(refuse)?;
    let builder = match &config.client_ca {
        None if config.require_client_cert => {
            return Err(ServeError::Tls("require_client_cert needs client_ca".to_string()));
        }
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(refuse)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if config.require_client_cert { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| ServeError::Tls(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(refuse)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| pem(path, &error))?;
    if all.is_empty() {
        return Err(ServeError::Tls(format!("{} holds no certificate", path.display())));
    }
    Ok(all)
}

fn pem(path: &Path, error: &rustls_pki_types::pem::Error) -> ServeError {
    ServeError::Tls(format!("{}: {error}", path.display()))
}

/// The names of a certificate that was verified: its common names, then the alternative names that
/// are DNS names, addresses or URIs.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_string).collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_string())
            }
            _ => None,
        }));
    }
    names
}
