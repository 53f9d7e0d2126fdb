//! The fault proxy as a program: orders from its input and from a schedule.

use clap::Parser;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use seawall_fault::{ORDERS, Order, Proxy, Schedule};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::BufRead as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// A TCP proxy that fails on command.
///
/// It stands between a client and a server and passes bytes on until it is told otherwise, by lines on its input or
/// by a schedule. It writes `listening on ADDRESS` first, then each order as it takes effect with the milliseconds
/// since the start, and its counts at the end: at `quit`, after the last step of a schedule, or on SIGINT and SIGTERM.
/// The end of the input ends nothing.
#[derive(Debug, Parser)]
#[command(name = "seawall-fault", version, after_long_help = after(), after_help = "Write --help for the orders.")]
struct Arguments {
    /// Where clients dial; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server, as HOST:PORT; it need not be up. A name is looked up once, at the start
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// A file of steps: milliseconds since the step before, and an order, a line
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    schedule: Option<PathBuf>,
    /// Makes a schedule of faults with peace between them; the same number makes the same one
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many faults --seed makes
    #[arg(long, value_name = "COUNT", default_value_t = 50, requires = "seed")]
    faults: u16,
    /// Writes the schedule of --seed or --schedule, and does nothing else
    #[arg(long)]
    print: bool,
}

/// What follows the options in the help.
fn after() -> String {
    format!("Orders, one a line:\n\n{ORDERS}\n\n{EXAMPLE}")
}

const EXAMPLE: &str = "\
A PostgreSQL that is silent for five seconds, every time in the same way:

  printf '2000 stall\\n5000 pass\\n2000 quit\\n' > silent
  seawall-fault --listen 127.0.0.1:6432 --to 127.0.0.1:5432 --schedule silent

Exit codes: 0 it ended as told; 1 the network failed; 2 the arguments are wrong.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match prepare(&arguments) {
        Err(message) => {
            eprintln!("seawall-fault: {message}");
            ExitCode::from(2)
        }
        Ok((schedule, _)) if arguments.print => {
            for step in schedule.0 {
                println!("{} {}", step.after.as_millis(), step.order);
            }
            ExitCode::SUCCESS
        }
        Ok((schedule, to)) => match serve(&arguments, schedule, to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("seawall-fault: --listen {}: {error}", arguments.listen);
                ExitCode::FAILURE
            }
        },
    }
}

fn prepare(arguments: &Arguments) -> Result<(Schedule, SocketAddr), String> {
    let to = || format!("--to {}: write HOST:PORT, as in 127.0.0.1:5432", arguments.to);
    let address = arguments.to.to_socket_addrs().map_err(|error| format!("{} ({error})", to()))?.next();
    let schedule = match (&arguments.schedule, arguments.seed) {
        (Some(path), _) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Schedule::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (None, Some(seed)) => Schedule::seeded(seed, arguments.faults.into()),
        (None, None) => Schedule(Vec::new()),
    };
    Ok((schedule, address.ok_or_else(to)?))
}

fn serve(arguments: &Arguments, schedule: Schedule, to: SocketAddr) -> std::io::Result<()> {
    let proxy = Proxy::start_at(arguments.listen, to)?;
    println!("listening on {}", proxy.address());
    let (sender, orders) = bounded(64);
    quit_on_signals(sender.clone())?;
    std::thread::spawn(move || read_orders(&sender));
    let start = now();
    let mut due = start;
    let scheduled = !schedule.0.is_empty();
    for step in schedule.0 {
        due += step.after;
        if !follow(&proxy, &orders, start, Some(due)) || !obey(&proxy, step.order, start) {
            println!("{}", proxy.stats());
            return Ok(());
        }
    }
    if !scheduled {
        follow(&proxy, &orders, start, None);
    }
    println!("{}", proxy.stats());
    Ok(())
}

/// Takes orders until `due`; `false` when one of them was to end.
fn follow(proxy: &Proxy, orders: &Receiver<Order>, start: Instant, due: Option<Instant>) -> bool {
    loop {
        let order = match due {
            Some(due) => orders.recv_deadline(due),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(order) if obey(proxy, order, start) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// Does it and says so; `false` when it was to end.
fn obey(proxy: &Proxy, order: Order, start: Instant) -> bool {
    match order {
        Order::Quit => return false,
        Order::Stats => println!("{}", proxy.stats()),
        Order::Set(_) | Order::CutNow | Order::ResetNow => {
            proxy.obey(order);
            println!("{} {order}", (now() - start).as_millis());
        }
    }
    true
}

fn read_orders(sender: &Sender<Order>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.parse() {
            // It is gone when the program ends.
            Ok(order) if sender.send(order).is_err() => return,
            Ok(_) => {}
            Err(error) => eprintln!("seawall-fault: {error}"),
        }
    }
}

/// The thread keeps a sender, so that the end of the input is not the end.
fn quit_on_signals(sender: Sender<Order>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(Order::Quit).is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a schedule is kept by the clock")]
fn now() -> Instant {
    Instant::now()
}
