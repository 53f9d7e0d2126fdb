//! The client library and the configuration, which two releases share besides the store and the bus.

use crate::previous;
use crate::support::{Gateway, Setup};
use std::path::Path;
use std::process::{Command, Stdio};

/// Publishes two messages to a channel, and prints what the channel delivers.
const SCRIPT: &str = "
import { connect } from 'LIBRARY';
const client = connect('ws://ADDRESS/ws');
const room = client.channel('sdk', { last: 10 });
const delivered = new Promise(resolve => room.on('publication', ({ offset, data }) => {
    console.log(offset, data);
    if (offset === 2) resolve();
}));
await room.publish({ text: 'one' });
await room.publish({ text: 'two' });
await delivered;
client.close();
";

/// Runs a client library against a gateway. A page keeps the library that it loaded while the gateway is replaced.
fn talks(library: &Path, setup: Setup) {
    let gateway = setup.plain().start();
    let address = gateway.address.to_string();
    // Node takes a file without a package around it for a module by its name.
    let module = gateway.setup().folder().join("library.mjs");
    std::fs::copy(library, &module).expect("the library is there");
    let script = SCRIPT.replace("LIBRARY", module.to_str().expect("text")).replace("ADDRESS", &address);
    let ran = Command::new("node")
        .args(["--experimental-websocket", "--no-warnings", "--input-type=module", "--eval", &script])
        .stdin(Stdio::null())
        .output()
        .expect("node is installed; tools/test installs it");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "1 { text: 'one' }\n2 { text: 'two' }\n", "{ran:?}");
}

#[test]
fn client_libraries_of_both_releases_work_with_the_gateways_of_both() {
    let Some(old) = previous::program() else { return };
    const LIBRARY: &str = "web/dist/seawall-client.js";
    let library_before = old.with_file_name("source").join(LIBRARY);
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIBRARY);
    talks(&library_before, Setup::new());
    talks(&library, Setup::new().program(&old));
}

#[test]
fn configuration_of_the_previous_release_is_accepted() {
    let Some(old) = previous::program() else { return };
    let setup = Setup::new();
    let folder = setup.folder();
    let print = |program: Setup, arguments: &[&str]| {
        let printed = program.run(&[&["check-config"], arguments].concat());
        assert!(printed.status.success(), "{printed:?}");
        printed.stdout
    };
    let all = print(setup.clone().program(&old), &[]);
    let file = folder.join("effective.toml");
    std::fs::write(&file, &all).expect("written");
    print(setup.clone(), &["--config", file.to_str().expect("text")]);
}
