//! The server's work for an append, which must not grow with the number of publications in the channel.

use crate::postgres::rig::{KEEP_ALL, Rig, keyed};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};

#[test]
fn key_lookup_does_not_read_the_other_keys_of_the_channel() {
    const APPENDS: u64 = 300;
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    for n in 0..APPENDS {
        rig.offset(keyed("c", &format!("k{n}")));
    }
    rig.close();
    let of = |column: &str, index: &str| -> u64 {
        let sql = format!("SELECT {column} FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
        server.sql(&sql).parse().expect("a number")
    };
    // A session reports its statistics at the latest when it ends.
    until(SOON, "all lookups are counted", || of("idx_scan", "keys_pkey") >= APPENDS);
    let read = of("idx_tup_read", "keys_pkey");
    // Retention reads all keys about once a round; half of all keys at each append would be 45,000.
    assert!(read < 30 * APPENDS, "{read} keys were read");
}
