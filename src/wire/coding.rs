//! The form in which a client takes a file (RFC 9110 section 12.5.3).

/// A content coding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    Gzip,
}

impl Coding {
    /// The coding for a client with these values of `Accept-Encoding`: gzip if it is named, or everything is, with a weight over zero.
    pub fn accepted<'a>(values: impl Iterator<Item = &'a [u8]>) -> Coding {
        let mut any = false;
        for member in values.flat_map(|line| line.split(|byte| *byte == b',')) {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let is_wanted = !parts.any(is_zero_weight);
            if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
                return if is_wanted { Coding::Gzip } else { Coding::Identity };
            }
            any |= name == b"*" && is_wanted;
        }
        if any { Coding::Gzip } else { Coding::Identity }
    }
}

/// True for `q=0`, `q=0.0` and so on.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some((name, digits)) = parameter.split_at_checked(2) else { return false };
    name.eq_ignore_ascii_case(b"q=")
        && !digits.is_empty()
        && digits.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_exactly_to_clients_that_accept_it() {
        let cases: [(&[&str], Coding); 12] = [
            (&[], Coding::Identity),
            (&[""], Coding::Identity),
            (&["gzip"], Coding::Gzip),
            (&["br, GZIP;q=0.5"], Coding::Gzip),
            (&["br", "x-gzip"], Coding::Gzip),
            (&["deflate, br"], Coding::Identity),
            (&["gzip;q=0"], Coding::Identity),
            (&["gzip ; Q=0.000, *"], Coding::Identity),
            (&["*"], Coding::Gzip),
            (&["*;q=0"], Coding::Identity),
            (&["identity, *;q=0.1"], Coding::Gzip),
            (&["gzipped, q=1"], Coding::Identity),
        ];
        for (lines, coding) in cases {
            assert_eq!(Coding::accepted(lines.iter().map(|line| line.as_bytes())), coding, "{lines:?}");
        }
    }
}
