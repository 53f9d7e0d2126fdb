//! The enums that are settings, with a word for each variant.

use super::raw::{RawValue, quoted};
use super::sections::ProxyProtocol;
use super::value::{Accepts, SettingValue, ShownValue};
use crate::alert::routing::AlertMode;
use crate::auth::token::ExpiryRule;
use crate::cluster::spread::RebalanceMode;
use crate::health::snapshot::AdmissionMode;
use crate::log::{Format, LogLevel};

/// Makes an enum the type of a setting, with a word for each variant.
macro_rules! words {
    ($name:ident = $type:ident { $($variant:ident = $word:literal),+ }) => {
        pub(super) const $name: &[&str] = &[$($word),+];

        impl SettingValue for $type {
            fn read(raw: &RawValue, _: Accepts) -> Option<$type> {
                [$(($word, $type::$variant)),+].into_iter().find(|(word, _)| raw.text() == Some(word)).map(|(_, it)| it)
            }
            fn show(&self, _: Accepts) -> ShownValue {
                ShownValue::Value(quoted(match self { $($type::$variant => $word),+ }))
            }
        }
    };
}

words!(PROXY_PROTOCOLS = ProxyProtocol { Off = "off", Required = "required" });
words!(ADMISSION_MODES = AdmissionMode { Enforce = "enforce", Observe = "observe" });
words!(ALERT_MODES = AlertMode { Send = "send", Observe = "observe" });
words!(REBALANCE_MODES = RebalanceMode { Off = "off", Auto = "auto" });
words!(FORMATS = Format { Text = "text", Json = "json" });
words!(EXPIRY_RULES = ExpiryRule { Optional = "optional", Required = "required" });
words!(LEVELS = LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });
