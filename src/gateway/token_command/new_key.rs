//! A new key for tokens, in files that only its owner can read. An existing file is never overwritten.

use crate::auth::key::Algorithm;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of an HS256 secret, written as twice as many hexadecimal digits.
const SECRET_BYTES: usize = 32;
/// Characters of a line of PEM (RFC 7468 section 2).
const PEM_WIDTH: usize = 64;

/// Writes the files of a new key. Returns what to configure.
pub(super) fn write(algorithm: Algorithm, name: &Path) -> Result<String, String> {
    if algorithm == Algorithm::Hs256 {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|error| format!("cannot make a key: {error}"))?;
        let text = random.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let file = create(name, "secret", &format!("{text}\n"), 0o600)?;
        let shown = file.display();
        return Ok(format!(
            "{shown}: the secret, for the issuer and the gateway\n\n[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"{shown}\"\n"
        ));
    }
    let (private, public) = pair(algorithm).map_err(|_| "cannot make a key: no random number".to_owned())?;
    let private = create(name, "private.pem", &pem("PRIVATE KEY", &private), 0o600)?;
    let public = create(name, "public.pem", &pem("PUBLIC KEY", &public), 0o644)?;
    let (private, public, algorithm) = (private.display(), public.display(), algorithm.name());
    Ok(format!(
        "{private}: the private key, for the issuer alone\n{public}: the public key, for the gateway\n\n[[auth.keys]]\nalgorithm = \
         \"{algorithm}\"\npublic_key_file = \"{public}\"\n\nseawall token --key {private} --sub ann --channel \
         'lobby=subscribe,publish' prints a token\n"
    ))
}

/// A private key (PKCS#8) and its public key (SubjectPublicKeyInfo), as DER. For HS256, which has none, an Ed25519 pair.
fn pair(algorithm: Algorithm) -> Result<(Vec<u8>, Vec<u8>), Unspecified> {
    match algorithm {
        Algorithm::Rs256 => {
            let key = rsa::KeyPair::generate(KeySize::Rsa2048)?;
            let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)?.as_ref().to_vec();
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())?;
            Ok((private, public.as_ref().to_vec()))
        }
        Algorithm::Es256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())?;
            Ok((key.to_pkcs8v1()?.as_ref().to_vec(), public.as_ref().to_vec()))
        }
        Algorithm::EdDsa | Algorithm::Hs256 => {
            let key = Ed25519KeyPair::generate()?;
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())?;
            Ok((key.to_pkcs8v1()?.as_ref().to_vec(), public.as_ref().to_vec()))
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<String> =
        text.as_bytes().chunks(PEM_WIDTH).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn create(name: &Path, ending: &str, text: &str, mode: u32) -> Result<PathBuf, String> {
    let mut path = name.as_os_str().to_owned();
    path.push(format!(".{ending}"));
    let path = PathBuf::from(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(format!(
            "{} exists, and a key is never overwritten: move it away, or choose another --out",
            path.display()
        )),
        Err(error) => Err(format!("cannot write {}: {error}", path.display())),
    }
}
