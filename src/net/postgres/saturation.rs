//! The connections of a server that are in use.

/// Share of the connections in use at which a probe warns, in percent.
const WARN_PERCENT: u64 = 80;

/// Columns for [`Saturation::of`]. `pg_stat_database` counts the connections for every role; `pg_stat_activity` hides what
/// others do from a role without rights.
pub(crate) const SATURATION: &str = "(SELECT coalesce(sum(numbackends), 0)::text FROM pg_catalog.pg_stat_database), \
     (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)::text";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saturation {
    used: u64,
    most: u64,
}

impl Saturation {
    /// Reads the two columns. A number that cannot be read counts as 0.
    pub(crate) fn of(used: &str, most: &str) -> Saturation {
        Saturation { used: used.parse().unwrap_or(0), most: most.parse().unwrap_or(0) }
    }

    /// A warning if few connections are left.
    pub(crate) fn warning(self) -> Option<String> {
        let Saturation { used, most } = self;
        (most > 0 && used * 100 >= most * WARN_PERCENT)
            .then(|| format!("{used} of {most} connections are in use"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_of_the_connections_are_a_warning() {
        assert_eq!(Saturation::of("79", "100").warning(), None);
        let warning = Saturation::of("80", "100").warning();
        assert_eq!(warning.as_deref(), Some("80 of 100 connections are in use"));
        assert_eq!(Saturation::of("5", "").warning(), None);
    }
}
