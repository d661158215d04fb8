//! TLS configurations: each client has its own provider and roots, nothing is set for the whole process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{ConfigError, Error};
use crate::hosts::HostCertificates;

impl HostCertificates {
    /// These, and those named below `<directory>/<authority>/` of each directory: `*.crt` are authorities, `*.cert` with `*.key`
    /// of the same name is a pair (Docker's rule). The port has to match literally.
    pub(crate) fn with_those_of(mut self, directories: &[PathBuf], authority: &str) -> Self {
        let found = &mut self;
        for directory in directories {
            let Ok(names) = std::fs::read_dir(directory.join(authority)) else { continue };
            let mut paths: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => found.authorities.push(path),
                    Some("cert") if found.client.is_none() && path.with_extension("key").is_file() => {
                        found.client = Some((path.clone(), path.with_extension("key")));
                    }
                    _ => {}
                }
            }
        }
        self
    }
}

/// A configuration that trusts `roots` and the host's own authorities.
pub(crate) fn verified(
    roots: &RootCertStore,
    certificates: &HostCertificates,
) -> Result<ClientConfig, Error> {
    let mut roots = roots.clone();
    for path in &certificates.authorities {
        add_authorities(&mut roots, path)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setup(Box::new(error)))?
        .with_root_certificates(roots);
    match &certificates.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, key_der) = client_pair(certificate, key)?;
            builder.with_client_auth_cert(chain, key_der).map_err(|error| wrong(certificate, &error).into())
        }
    }
}

/// A configuration that takes any certificate, for hosts that are insecure by configuration, and loopback.
pub(crate) fn unverified(certificates: &HostCertificates) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setup(Box::new(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match &certificates.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, key_der) = client_pair(certificate, key)?;
            builder.with_client_auth_cert(chain, key_der).map_err(|error| wrong(certificate, &error).into())
        }
    }
}

/// The system's authorities, or Mozilla's where the system has none (an image made from scratch), and `extra`.
pub(crate) fn roots(extra: &[PathBuf]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for path in extra {
        add_authorities(&mut roots, path)?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), ConfigError> {
    let certificates = certificates(path)?;
    if certificates.is_empty() {
        return Err(wrong(path, &"there is no certificate in it"));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| wrong(path, &error))?;
    }
    Ok(())
}

fn client_pair(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConfigError> {
    Ok((certificates(certificate)?, PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, reason: &dyn std::fmt::Display) -> ConfigError {
    ConfigError { file: format!("`{}`", path.display()), reason: reason.to_string() }
}

/// Verifies that the peer holds the key of the certificate it shows, but not who vouches for it.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
