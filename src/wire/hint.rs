//! The hint of an upgrade: the instance that a client asks a load balancer for, `?to=NAME`.
//!
//! A gateway serves the client wherever it arrives. It only counts whether load balancers follow hints.

/// The instance that an upgrade asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The client asks for no instance.
    None,
    /// This instance.
    Here,
    /// Another one, so the load balancer did not follow the hint, or could not.
    Elsewhere,
}

impl Hint {
    /// Reads the query of a target. The first `to` counts, as for HAProxy and nginx. It is not percent-decoded: no character of an
    /// instance's name needs that.
    pub fn read(query: Option<&str>, instance: &str) -> Hint {
        let Some(query) = query else { return Hint::None };
        match query.split('&').find_map(|pair| pair.strip_prefix("to=")) {
            None => Hint::None,
            Some(name) if name == instance => Hint::Here,
            Some(_) => Hint::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_parameter_of_its_name_is_compared_with_the_instance() {
        for (query, hint) in [
            (None, Hint::None),
            (Some(""), Hint::None),
            (Some("to"), Hint::None),
            (Some("into=gw-1"), Hint::None),
            (Some("to=gw-1"), Hint::Here),
            (Some("a=b&to=gw-1&to=gw-2"), Hint::Here),
            (Some("to=gw-2&to=gw-1"), Hint::Elsewhere),
            (Some("to="), Hint::Elsewhere),
            (Some("to=GW-1"), Hint::Elsewhere),
        ] {
            assert_eq!(Hint::read(query, "gw-1"), hint, "{query:?}");
        }
    }
}
