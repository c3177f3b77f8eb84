//! Values of settings: from TOML and back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use libp2p::Multiaddr;
use protocol::chain::Contracts;
use protocol::id::{Address, Role};
use toml_edit::{Array, InlineTable, Value};

use super::{GatewayFetch, ProxyNetwork};

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    fn read(value: &Value) -> Result<Self, String>;
    fn write(&self) -> Value;
}

/// Settings that are written as text.
macro_rules! text_setting {
    ($type:ty, $parse:expr, $show:expr, $expected:literal) => {
        impl Setting for $type {
            fn read(value: &Value) -> Result<Self, String> {
                let text = value.as_str().ok_or_else(|| {
                    format!("should be {}, not a {}", $expected, value.type_name())
                })?;
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(text).ok_or_else(|| format!("is `{text}`, which is not {}", $expected))
            }

            fn write(&self) -> Value {
                let show: fn(&Self) -> String = $show;
                Value::from(show(self))
            }
        }
    };
}

text_setting!(String, |text| Some(text.to_owned()), Clone::clone, "a text");
text_setting!(
    PathBuf,
    |text| Some(text.into()),
    |path| path.display().to_string(),
    "a path"
);
text_setting!(
    SocketAddr,
    |text| text.parse().ok(),
    ToString::to_string,
    "an address and port such as \"127.0.0.1:4000\""
);
text_setting!(
    Multiaddr,
    |text| text.parse().ok(),
    ToString::to_string,
    "a multiaddress such as \"/ip4/0.0.0.0/tcp/4001\""
);
text_setting!(
    Address,
    |text| text.parse().ok(),
    ToString::to_string,
    "an address: 40 hexadecimal digits after `0x`"
);
text_setting!(
    ProxyNetwork,
    |text| text.parse().ok(),
    ToString::to_string,
    "\"loopback\", a network such as \"10.0.0.0/8\" or an address"
);
text_setting!(
    Role,
    |text| text.parse().ok(),
    ToString::to_string,
    "a role: \"content\", \"discovery\" or \"identity\""
);
text_setting!(
    ByteSize,
    |text| ByteSize::from_str(text).ok(),
    |size| size.display().iec().to_string(),
    "a size such as \"10 GiB\""
);
text_setting!(
    Duration,
    |text| humantime::parse_duration(text).ok(),
    |duration| humantime::format_duration(*duration).to_string(),
    "a duration such as \"30s\" or \"4h\""
);
text_setting!(
    GatewayFetch,
    |text| match text {
        "own" => Some(GatewayFetch::Own),
        "never" => Some(GatewayFetch::Never),
        _ => None,
    },
    |fetch| match fetch {
        GatewayFetch::Own => "own".to_owned(),
        GatewayFetch::Never => "never".to_owned(),
    },
    "\"own\" or \"never\""
);

impl Setting for bool {
    fn read(value: &Value) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| format!("should be true or false, not a {}", value.type_name()))
    }

    fn write(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for u64 {
    fn read(value: &Value) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "should be a whole number, 0 or more, not {}",
                    value.to_string().trim()
                )
            })
    }

    fn write(&self) -> Value {
        Value::from(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

/// An empty text stands for none.
impl Setting for Option<String> {
    fn read(value: &Value) -> Result<Self, String> {
        String::read(value).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn write(&self) -> Value {
        Value::from(self.clone().unwrap_or_default())
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value) -> Result<Self, String> {
        let list = value
            .as_array()
            .ok_or_else(|| format!("should be a list in brackets, not a {}", value.type_name()))?;
        list.iter().map(T::read).collect()
    }

    fn write(&self) -> Value {
        Value::from(self.iter().map(T::write).collect::<Array>())
    }
}

impl Setting for BTreeSet<Role> {
    fn read(value: &Value) -> Result<Self, String> {
        Vec::read(value).map(|roles| roles.into_iter().collect())
    }

    fn write(&self) -> Value {
        Value::from(self.iter().map(Role::write).collect::<Array>())
    }
}

impl Setting for Contracts {
    fn read(value: &Value) -> Result<Self, String> {
        // As JSON, which is no TOML, it comes as a text.
        if let Some(text) = value.as_str() {
            return serde_json::from_str(text)
                .map_err(|error| format!("is not a deployment as JSON: {error}"));
        }
        let table = value.as_inline_table().ok_or_else(|| {
            "should be a table in braces with the contracts' addresses".to_owned()
        })?;
        if table.is_empty() {
            return Ok(Self::default());
        }
        toml::from_str(&format!("contracts = {}", value.to_string().trim()))
            .map(|Wrapper { contracts }| contracts)
            .map_err(|error| error.message().to_owned())
    }

    fn write(&self) -> Value {
        if *self == Self::default() {
            return Value::InlineTable(InlineTable::new());
        }
        let table = toml::Value::try_from(self).expect("addresses and numbers have a TOML form");
        table
            .to_string()
            .parse()
            .expect("an inline table is a TOML value")
    }
}

#[derive(serde::Deserialize)]
struct Wrapper {
    contracts: Contracts,
}
