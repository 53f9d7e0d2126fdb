//! The channel binding of a password exchange to the server's certificate: `tls-server-end-point` (RFC 5929, section 4.1).
//!
//! It is the certificate's hash, by the hash function of the certificate's own signature. For a signature algorithm that
//! servers do not use there is no binding, and the exchange is as safe as without one.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// The signature algorithms of RSA (RFC 8017) and ECDSA (RFC 5758) in DER, without their last byte.
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// The binding of a certificate in DER, if there is one.
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(digest(hash(certificate)?, certificate).as_ref().to_vec())
}

/// The hash function of `signatureAlgorithm`, which follows `tbsCertificate` (RFC 5280, section 4.1).
fn hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (inside, _) = element(certificate, 0x30)?;
    let (_, after) = element(inside, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    let (object, _) = element(algorithm, 0x06)?;
    let (last, family) = object.split_last()?;
    match (family, last) {
        // MD5 and SHA-1 are replaced by SHA-256.
        (family, 4 | 5 | 11) if family == RSA => Some(&SHA256),
        (family, 12) if family == RSA => Some(&SHA384),
        (family, 13) if family == RSA => Some(&SHA512),
        (family, 2) if family == ECDSA => Some(&SHA256),
        (family, 3) if family == ECDSA => Some(&SHA384),
        (family, 4) if family == ECDSA => Some(&SHA512),
        _ => None,
    }
}

/// The content of the DER element at the beginning of `bytes`, if it has this tag, and the bytes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match *short {
        length @ 0..=0x7f => (usize::from(length), rest),
        // Two bytes of length encode up to 64 KiB, and no certificate is longer.
        count @ 0x81..=0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(count - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let made = rcgen::CertificateParams::new(["db".to_owned()]).expect("a name").self_signed(&key);
        made.expect("a certificate").der().to_vec()
    }

    #[test]
    fn certificate_is_hashed_by_the_function_of_its_signature() {
        for (algorithm, expected) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(&SHA256)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(&SHA384)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let made = certificate(algorithm);
            assert_eq!(end_point(&made), expected.map(|hash| digest(hash, &made).as_ref().to_vec()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_from_a_server_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0usize..300) {
            let _ = end_point(&bytes);
            let made = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
            prop_assert!(end_point(made.get(..cut).unwrap_or(&[])).is_none());
        }
    }
}
