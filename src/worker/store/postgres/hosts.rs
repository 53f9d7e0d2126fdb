//! The hosts of one URL, each alone.
//!
//! Given all of them, the driver goes on to the next only when one refuses: its timeout ends with the TCP connection, so a host that
//! accepts and says nothing would hide those behind it for as long as it is silent.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

/// The same for each host, in the order in which they are to be dialled.
pub(super) fn each(whole: &Config) -> Vec<Config> {
    let count = whole.get_hosts().len().max(whole.get_hostaddrs().len()).max(1);
    let mut all: Vec<Config> = (0..count).map(|place| one(whole, place)).collect();
    if whole.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut all);
    }
    all
}

fn one(whole: &Config, place: usize) -> Config {
    let mut config = without_hosts(whole);
    match whole.get_hosts().get(place) {
        Some(Host::Tcp(name)) => drop(config.host(name)),
        Some(Host::Unix(path)) => drop(config.host_path(path)),
        None => {}
    }
    if let Some(address) = whole.get_hostaddrs().get(place) {
        config.hostaddr(*address);
    }
    // One port is for all hosts.
    if let Some(port) = whole.get_ports().get(place).or(whole.get_ports().first()) {
        config.port(*port);
    }
    config
}

fn without_hosts(whole: &Config) -> Config {
    let mut config = Config::new();
    config
        .ssl_mode(whole.get_ssl_mode())
        .ssl_negotiation(whole.get_ssl_negotiation())
        .target_session_attrs(whole.get_target_session_attrs())
        .channel_binding(whole.get_channel_binding())
        .keepalives(whole.get_keepalives())
        .keepalives_idle(whole.get_keepalives_idle());
    whole.get_user().map(|user| config.user(user));
    whole.get_password().map(|password| config.password(password));
    whole.get_dbname().map(|name| config.dbname(name));
    whole.get_options().map(|options| config.options(options));
    whole.get_application_name().map(|name| config.application_name(name));
    whole.get_connect_timeout().map(|length| config.connect_timeout(*length));
    whole.get_tcp_user_timeout().map(|length| config.tcp_user_timeout(*length));
    whole.get_keepalives_interval().map(|length| config.keepalives_interval(length));
    whole.get_keepalives_retries().map(|count| config.keepalives_retries(count));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Vec<Config> {
        each(&url.parse().expect("a URL"))
    }

    #[test]
    fn one_host_stays_as_it_is() {
        let whole = "host=db port=6000 user=u password=p dbname=d options=-cx=1 application_name=a sslmode=disable
             connect_timeout=3 keepalives=0 keepalives_idle=9 keepalives_interval=8 keepalives_retries=7 tcp_user_timeout=6
             target_session_attrs=read-write channel_binding=disable";
        assert_eq!(parsed(whole), [whole.parse::<Config>().expect("the same")]);
        assert_eq!(parsed("host=/run/postgresql user=u").len(), 1);
    }

    #[test]
    fn several_are_parted_with_their_ports_and_addresses() {
        let of = |config: &Config| {
            (config.get_hosts().to_vec(), config.get_hostaddrs().to_vec(), config.get_ports().to_vec())
        };
        let all = parsed("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=u");
        let tcp = |name: &str| vec![Host::Tcp(name.into())];
        assert_eq!(of(&all[0]), (tcp("a"), vec!["10.0.0.1".parse().expect("an address")], vec![1]));
        assert_eq!(of(&all[1]), (tcp("b"), vec!["10.0.0.2".parse().expect("an address")], vec![2]));
        let all = parsed("host=a,b,c port=7 user=u");
        assert_eq!(all.iter().map(of).map(|it| it.2).collect::<Vec<_>>(), [[7], [7], [7]]);
        let all = parsed("postgres://u@a:1,b:2/d");
        assert_eq!(all.iter().map(of).map(|it| it.2).collect::<Vec<_>>(), [[1], [2]]);
    }

    #[test]
    fn a_random_order_has_them_all() {
        let mut ports: Vec<u16> = parsed("host=a,b,c port=1,2,3 user=u load_balance_hosts=random")
            .iter()
            .filter_map(|config| config.get_ports().first().copied())
            .collect();
        ports.sort();
        assert_eq!(ports, [1, 2, 3]);
    }
}
