//! The fault proxy as a program, with orders from stdin and from a schedule.

use clap::Parser;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use seawall_fault::{ORDERS, Order, Proxy, Schedule};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::BufRead as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// A TCP proxy that fails on command
///
/// It sits between a client and a server and passes bytes on until it gets another order, from a line on stdin or from a
/// schedule. It prints `listening on ADDRESS` first, then each order as it takes effect, with the milliseconds since
/// the start. It prints its counters and exits at `quit`, after the last step of a schedule, or on SIGINT or SIGTERM.
/// The end of stdin does not end it.
#[derive(Debug, Parser)]
#[command(name = "seawall-fault", version, after_long_help = after(), after_help = "Use --help for the list of orders.")]
struct Arguments {
    /// Address that clients dial; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server, as HOST:PORT; it need not be up. A name is resolved once, at the start
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// A file with one step per line: milliseconds since the previous step, and an order
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    schedule: Option<PathBuf>,
    /// Generate a schedule of faults with pauses between them; the same seed gives the same schedule
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Number of faults that --seed generates
    #[arg(long, value_name = "COUNT", default_value_t = 50, requires = "seed")]
    faults: u16,
    /// Print the schedule of --seed or --schedule and exit
    #[arg(long)]
    print: bool,
}

/// The text after the options in the help.
fn after() -> String {
    format!("Orders, one per line:\n\n{ORDERS}\n\n{EXAMPLE}")
}

const EXAMPLE: &str = "\
A PostgreSQL that is silent for five seconds, reproducibly:

  printf '2000 stall\\n5000 pass\\n2000 quit\\n' > silent
  seawall-fault --listen 127.0.0.1:6432 --to 127.0.0.1:5432 --schedule silent

Exit codes: 0 it ended as ordered; 1 a network error; 2 wrong arguments.";

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
        if !handle_orders(&proxy, &orders, start, Some(due)) || !execute(&proxy, step.order, start) {
            println!("{}", proxy.stats());
            return Ok(());
        }
    }
    if !scheduled {
        handle_orders(&proxy, &orders, start, None);
    }
    println!("{}", proxy.stats());
    Ok(())
}

/// Handles orders until `due`; false after `quit`.
fn handle_orders(proxy: &Proxy, orders: &Receiver<Order>, start: Instant, due: Option<Instant>) -> bool {
    loop {
        let order = match due {
            Some(due) => orders.recv_deadline(due),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(order) if execute(proxy, order, start) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// Executes an order and prints it; false for `quit`.
fn execute(proxy: &Proxy, order: Order, start: Instant) -> bool {
    match order {
        Order::Quit => return false,
        Order::Stats => println!("{}", proxy.stats()),
        Order::Set(_) | Order::CutNow | Order::ResetNow => {
            proxy.execute(order);
            println!("{} {order}", (now() - start).as_millis());
        }
    }
    true
}

fn read_orders(sender: &Sender<Order>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.parse() {
            // The receiver is gone when the program exits.
            Ok(order) if sender.send(order).is_err() => return,
            Ok(_) => {}
            Err(error) => eprintln!("seawall-fault: {error}"),
        }
    }
}

/// The thread keeps a sender, so that the end of stdin does not end the program.
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
