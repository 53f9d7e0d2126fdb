//! Flags for operators, and their switches.

use super::flag_path::FlagQuestion;
use super::refusal::AdminRefusal;
use super::{Admin, refuse, tell};
use crate::clock::Now;
use crate::flag::{Flags, Switch, SwitchedFlag};
use crate::job::wake::wake;
use crate::wire::request::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn flags(&self, out: &mut Vec<u8>, method: Method, question: FlagQuestion, peer: SocketAddr) {
        let flags = match question {
            FlagQuestion::All => self.vitals.flags.load(),
            FlagQuestion::Switch(name, switch) => {
                let Some(flags) = self.vitals.flags.switch(&name, switch) else {
                    let flags = self.vitals.flags.load();
                    let known: Vec<&str> = flags.all().iter().map(|one| &*one.flag.name).collect();
                    return refuse(out, method, &AdminRefusal::unknown_flag(&known));
                };
                self.mailboxes.iter().for_each(wake);
                self.metrics.admin.count_action("flag");
                let on = switch == Switch::AsConfigured;
                tracing::warn!(%peer, flag = name, on, until = "the next reload", "flag switched by operator");
                flags
            }
        };
        tell(out, method, 200, "application/json", &format!("{}\n", shown(&flags)));
    }
}

/// `{"flags":[{"name":…,"rollout":…,"users":[…],"clients":[…],"off":…},…]}`
fn shown(flags: &Flags) -> Value {
    let one = |SwitchedFlag { flag, switch }: &SwitchedFlag| {
        let clients: Vec<String> = flag.clients.iter().map(ToString::to_string).collect();
        json!({"name": flag.name, "rollout": flag.rollout, "users": flag.users, "clients": clients, "off": *switch == Switch::Off})
    };
    json!({"flags": flags.all().iter().map(one).collect::<Vec<_>>()})
}
