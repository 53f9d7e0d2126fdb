//! The listener's certificate and key, read from files and checked against each other and against the clock.
//!
//! These checks find before the first handshake the mistakes that otherwise only clients would see: a key of another
//! certificate, a file of the wrong kind, an expired certificate.

use super::origin::read_text;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::{Date, Month, OffsetDateTime, Time};
use zeroize::Zeroizing;

/// A chain of a hundred certificates is far smaller.
const FILE_BYTES_MAX: usize = 1 << 20;
/// A daily warning begins this long before a certificate expires: longer than it takes to get a new one by hand, shorter
/// than the 30 days at which automatic renewal begins.
pub const WARN_BEFORE_S: u64 = 21 * 24 * 60 * 60;

#[derive(Clone, Debug)]
pub struct TlsIdentity {
    /// The chain and its key, which match.
    pub certified: Arc<CertifiedKey>,
    /// The validity of the first certificate of the chain.
    pub validity: Validity,
}

/// The validity of a certificate (RFC 5280 section 4.1.2.5), in Unix seconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: u64,
    pub not_after: u64,
}

/// The file to correct, and its fault.
#[derive(Debug)]
pub(super) enum Unusable {
    Certificate(CertificateFault),
    Key(CertificateFault),
}

#[derive(Debug)]
pub enum CertificateFault {
    Unreadable {
        path: PathBuf,
        error: io::Error,
    },
    NoCertificate,
    /// The first certificate cannot be parsed.
    NotACertificate,
    Expired {
        /// In Unix seconds.
        not_after: u64,
    },
    NoKey,
    EncryptedKey,
    /// TLS cannot use a key of this kind.
    KeyNotUsable,
    /// The key does not match the first certificate.
    OtherKey,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateFault::Unreadable { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            CertificateFault::NoCertificate => f.write_str(
                "the file has no certificate: it must be PEM, from -----BEGIN CERTIFICATE----- to its end, with the \
                 gateway's own certificate first and then its issuers",
            ),
            CertificateFault::NotACertificate => f.write_str(
                "the first certificate of the file cannot be read: it must be an X.509 certificate, version 3",
            ),
            CertificateFault::Expired { not_after } => {
                write!(f, "the certificate expired on {}, so clients would reject it: renew it", date(*not_after))
            }
            CertificateFault::NoKey => f.write_str(
                "the file has no private key: it must be PEM, from -----BEGIN PRIVATE KEY----- (or RSA PRIVATE \
                 KEY, or EC PRIVATE KEY) to its end",
            ),
            CertificateFault::EncryptedKey => f.write_str(
                "the key is protected by a passphrase, which the gateway cannot enter: remove the passphrase (openssl pkey \
                 -in OLD -out NEW) and restrict read access to the file",
            ),
            CertificateFault::KeyNotUsable => f.write_str(
                "the key cannot be used: it must be RSA of 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, or Ed25519",
            ),
            CertificateFault::OtherKey => f.write_str(
                "the key does not match the first certificate in tls.certificate: use the certificate and the key that \
                 belong together, with the gateway's own certificate before its issuers",
            ),
        }
    }
}

impl TlsIdentity {
    /// Reads and checks both files, which may be the same one; `now` in Unix seconds.
    pub(super) fn read(certificate: &Path, key: &Path, now: u64) -> Result<TlsIdentity, Unusable> {
        let chain = text(certificate).and_then(|pem| self::chain(&pem)).map_err(Unusable::Certificate)?;
        let validity = chain.first().and_then(|first| validity(first.as_ref()));
        let validity = validity.ok_or(Unusable::Certificate(CertificateFault::NotACertificate))?;
        if validity.not_after < now {
            return Err(Unusable::Certificate(CertificateFault::Expired { not_after: validity.not_after }));
        }
        let secret = Zeroizing::new(text(key).map_err(Unusable::Key)?);
        let certified = certified(chain, &secret).map_err(|fault| match fault {
            CertificateFault::NotACertificate => Unusable::Certificate(fault),
            fault => Unusable::Key(fault),
        })?;
        Ok(TlsIdentity { certified: Arc::new(certified), validity })
    }

    /// Warnings for the operator, as sentences; `now` in Unix seconds.
    pub fn warnings(&self, now: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let Validity { not_before, not_after } = self.validity;
        if not_before > now {
            warnings.push(format!(
                "the certificate is not valid before {}, so clients reject it: check this machine's clock",
                date(not_before)
            ));
        }
        warnings.extend(expiry_warning(not_after, now));
        warnings
    }
}

/// The warning that a certificate expires soon, or has expired; `None` while that is far off.
pub fn expiry_warning(not_after: u64, now: u64) -> Option<String> {
    let until = date(not_after);
    if not_after < now {
        return Some(format!(
            "the certificate expired on {until}, so clients reject it: renew it and send SIGHUP"
        ));
    }
    let left = not_after - now;
    (left < WARN_BEFORE_S).then(|| {
        let days = left / (24 * 60 * 60);
        format!("the certificate expires on {until}, in {days} days: renew it and send SIGHUP")
    })
}

/// A time for people: `2026-12-24 18:00 UTC`.
pub fn date(unix_s: u64) -> String {
    let moment = i64::try_from(unix_s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    match moment {
        Some(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02} UTC",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute()
        ),
        None => "a day after the year 9999".into(),
    }
}

fn text(path: &Path) -> Result<String, CertificateFault> {
    read_text(path, FILE_BYTES_MAX)
        .map_err(|error| CertificateFault::Unreadable { path: path.to_owned(), error })
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateFault::NoCertificate)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &str) -> Result<CertifiedKey, CertificateFault> {
    if key.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || key.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CertificateFault::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateFault::NoKey)?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| CertificateFault::KeyNotUsable)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(CertificateFault::OtherKey),
        Err(_) => Err(CertificateFault::NotACertificate),
    }
}

/// Tags of DER (X.690) up to a certificate's validity.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads the validity of a certificate (RFC 5280 section 4.1), because rustls does not expose it.
fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = inside(SEQUENCE, certificate)?;
    let (mut fields, _) = inside(SEQUENCE, certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = inside(SEQUENCE, fields)?;
    let (tag, first, rest) = element(validity)?;
    let not_before = moment(tag, first)?;
    let (tag, last, _) = element(rest)?;
    Some(Validity { not_before, not_after: moment(tag, last)? })
}

/// The content of an element with this tag, and the bytes after it.
fn inside(wanted: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

/// The tag and the content of an element, and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7F => (short, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long & 0x7F).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Unix seconds of `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ`; times before 1970 are 0.
fn moment(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i32 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let two = |place: usize| rest.get(2 * place..2 * place + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(two(0)?).ok()?, two(1)?).ok()?;
    let time = Time::from_hms(two(2)?, two(3)?, two(4)?).ok()?;
    u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok().or(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Files {
            Files { folder: tempfile::tempdir().expect("a folder") }
        }

        fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("own file");
            path
        }
    }

    /// A certificate for 2026 to the end of `year`, and its key, both PEM.
    fn made(year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(year, 12, 31);
        (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    }

    fn unix_s(year: i32, month: u8, day: u8) -> u64 {
        u64::try_from(date_time_ymd(year, month, day).unix_timestamp()).expect("after 1970")
    }

    fn read(certificate: &str, key: &str, now: u64) -> Result<TlsIdentity, String> {
        let files = Files::new();
        let (certificate, key) = (files.write("c.pem", certificate), files.write("k.pem", key));
        TlsIdentity::read(&certificate, &key, now).map_err(|unusable| match unusable {
            Unusable::Certificate(fault) => format!("certificate: {fault}"),
            Unusable::Key(fault) => format!("key: {fault}"),
        })
    }

    #[test]
    fn validity_is_read_from_both_forms_of_time() {
        for year in [2026, 2049, 2050, 9999] {
            let (certificate, key) = made(year);
            let identity = read(&certificate, &key, unix_s(2026, 6, 1)).expect("good files");
            let wanted = Validity { not_before: unix_s(2026, 1, 2), not_after: unix_s(year, 12, 31) };
            assert_eq!(identity.validity, wanted);
        }
        assert_eq!(date(unix_s(2026, 12, 31)), "2026-12-31 00:00 UTC");
    }

    #[test]
    fn expiry_is_warned_of_three_weeks_before_and_rejected_after() {
        let (certificate, key) = made(2026);
        let warnings = |now| read(&certificate, &key, now).expect("good files").warnings(now);
        assert_eq!(warnings(unix_s(2026, 12, 9)), Vec::<String>::new());
        let [ending] = &warnings(unix_s(2026, 12, 11))[..] else { panic!("one warning") };
        assert!(ending.contains("expires on 2026-12-31 00:00 UTC, in 20 days"), "{ending}");
        let [early] = &warnings(unix_s(2026, 1, 1))[..] else { panic!("one warning") };
        assert!(early.contains("not valid before 2026-01-02"), "{early}");
        let refused = read(&certificate, &key, unix_s(2027, 1, 1)).expect_err("past its end");
        assert!(
            refused.starts_with("certificate: ") && refused.contains("expired on 2026-12-31"),
            "{refused}"
        );
    }

    #[test]
    fn unusable_file_is_rejected_with_its_fault() {
        let (certificate, key) = made(2030);
        let now = unix_s(2026, 6, 1);
        let other = made(2030).1;
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let table = [
            (certificate.as_str(), other.as_str(), "key: the key does not match the first certificate"),
            (key.as_str(), key.as_str(), "certificate: the file has no certificate"),
            ("", key.as_str(), "certificate: the file has no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key.as_str(),
                "certificate: the first certificate",
            ),
            (certificate.as_str(), certificate.as_str(), "key: the file has no private key"),
            (certificate.as_str(), encrypted.as_str(), "key: the key is protected by a passphrase"),
        ];
        for (certificate, key, wanted) in table {
            let fault = read(certificate, key, now).expect_err(wanted);
            assert!(fault.starts_with(wanted), "{fault}");
        }
        let missing = TlsIdentity::read(Path::new("no/such"), Path::new("no/such"), now);
        let Err(Unusable::Certificate(fault)) = missing else { panic!("{missing:?}") };
        assert!(fault.to_string().starts_with("cannot read no/such: No such file"), "{fault}");
    }

    #[test]
    fn one_file_may_hold_both() {
        let (certificate, key) = made(2030);
        let files = Files::new();
        let path = files.write("both.pem", &format!("{key}{certificate}"));
        let now = unix_s(2026, 6, 1);
        assert!(TlsIdentity::read(&path, &path, now).is_ok());
    }

    #[test]
    fn truncated_certificate_has_no_validity() {
        let (pem, _) = made(2030);
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let whole: &[u8] = certificate.as_ref();
        assert!(validity(whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(validity(&whole[..length]), None, "{length}");
        }
    }
}
