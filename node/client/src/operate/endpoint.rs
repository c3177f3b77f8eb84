//! A registered endpoint, tried from outside as others will.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::id::{Address, Role};
use protocol::records::Endpoint;
use protocol::signing::{Domain, Signed};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::api::WellKnown;
use crate::well_known::read_limited;

/// What is expected at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// The delegate owner wallet of the services there.
    pub peer: Option<Address>,
    /// Roles that the peer is registered with.
    pub roles: Vec<Role>,
}

/// What was found at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// What was tried.
    pub url: String,
    /// True when a peer answers there.
    pub reachable: bool,
    /// True when it says that it serves.
    pub ready: bool,
    /// Who signed what it says about itself.
    pub peer: Option<Address>,
    /// The roles that it runs with.
    pub roles: Vec<String>,
    /// What its software calls itself.
    pub version: Option<String>,
    /// How long its answer took.
    pub latency_ms: Option<u64>,
    /// How far its clock is ahead of this machine's; negative when behind.
    pub clock_skew_seconds: Option<i64>,
    /// What is wrong, the worst first.
    pub faults: Vec<Fault>,
}

/// What is wrong with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is no URL that a peer can be reached by.
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Its name has no address.
    Dns {
        /// The name that has none.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// Nothing listens there.
    Refused,
    /// Nobody answers in time.
    Timeout,
    /// The certificate or the handshake fails.
    Tls {
        /// What the handshake failed with.
        reason: String,
    },
    /// The connection breaks for another reason.
    Connection {
        /// What the connection failed with.
        reason: String,
    },
    /// A server answers, but not as a peer does.
    NotAPeer {
        /// Which path was asked.
        path: &'static str,
        /// What came instead.
        reason: String,
    },
    /// It sends elsewhere; peers do not follow.
    Redirect {
        /// The path that was asked.
        path: &'static str,
        /// Where it sends.
        location: String,
    },
    /// Another peer answers.
    WrongPeer {
        /// Who is registered.
        expected: Address,
        /// The peer that answers.
        found: Address,
    },
    /// The peer's signature does not fit, as when it runs on another deployment.
    Signature,
    /// The peer believes to be elsewhere.
    WrongUrl {
        /// What its `url` says.
        found: String,
    },
    /// The peer does not run with a registered role.
    MissingRole {
        /// The role that is missing.
        role: Role,
    },
    /// The peer does not serve yet.
    NotReady {
        /// What it waits for.
        reason: String,
    },
    /// Nothing encrypts what is said to it.
    PlainHttp,
    /// The address is one of a machine or a house.
    Private,
    /// Its clock is far from this one.
    Clock {
        /// Seconds that it is ahead.
        seconds: i64,
    },
}

impl Fault {
    /// True when others can do without the remedy.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::PlainHttp | Self::Private | Self::Clock { .. } => true,
            Self::Url { .. }
            | Self::Dns { .. }
            | Self::Refused
            | Self::Timeout
            | Self::Tls { .. }
            | Self::Connection { .. }
            | Self::NotAPeer { .. }
            | Self::Redirect { .. }
            | Self::WrongPeer { .. }
            | Self::Signature
            | Self::WrongUrl { .. }
            | Self::MissingRole { .. }
            | Self::NotReady { .. } => false,
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::Dns { .. } => "dns",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls { .. } => "tls",
            Self::Connection { .. } => "connection",
            Self::NotAPeer { .. } => "not_a_peer",
            Self::Redirect { .. } => "redirect",
            Self::WrongPeer { .. } => "wrong_peer",
            Self::Signature => "signature",
            Self::WrongUrl { .. } => "wrong_url",
            Self::MissingRole { .. } => "missing_role",
            Self::NotReady { .. } => "not_ready",
            Self::PlainHttp => "plain_http",
            Self::Private => "private",
            Self::Clock { .. } => "clock",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { reason } => write!(f, "it cannot be an endpoint: {reason}"),
            Self::Dns { host, reason } => write!(
                f,
                "the name `{host}` has no address ({reason}); check its DNS records"
            ),
            Self::Refused => f.write_str(
                "the connection is refused: nothing listens on that port; is the peer running, and does the proxy forward to it?",
            ),
            Self::Timeout => write!(
                f,
                "nobody answers within {} s; is the port open in every firewall on the way?",
                PATIENCE.as_secs()
            ),
            Self::Tls { reason } => write!(
                f,
                "the encrypted connection fails: {reason}; check the certificate and its chain"
            ),
            Self::Connection { reason } => write!(f, "the connection breaks: {reason}"),
            Self::NotAPeer { path, reason } => write!(
                f,
                "something answers {path}, but not as a peer does: {reason}; does the proxy forward every path?"
            ),
            Self::Redirect { path, location } => write!(
                f,
                "{path} redirects to `{location}`, which peers do not follow; register the URL that answers itself"
            ),
            Self::WrongPeer { expected, found } => write!(
                f,
                "the peer {found} answers there, {expected} is registered; start the right one, or change the registration with `coliving operator endpoint`"
            ),
            Self::Signature => f.write_str(
                "what the peer says is not signed under these contracts; does its `chain.contracts` name the same deployment?",
            ),
            Self::WrongUrl { found } => write!(
                f,
                "the peer believes to be at `{found}`; set `url` in its config.toml to the registered endpoint"
            ),
            Self::MissingRole { role } => write!(
                f,
                "the peer does not run as {role}; add it to `roles` in its config.toml"
            ),
            Self::NotReady { reason } => write!(f, "the peer is not ready: {reason}"),
            Self::PlainHttp => {
                f.write_str("http:// is neither encrypted nor accepted by browsers; use https://")
            }
            Self::Private => f.write_str(
                "the address is one of this machine or a private network; others cannot reach it",
            ),
            Self::Clock { seconds } => {
                let (by, way) = (seconds.unsigned_abs(), direction(*seconds));
                write!(
                    f,
                    "its clock is {by} s {way}; let it keep time, such as by NTP"
                )
            }
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = serde_json::json!({
            "code": self.code(),
            "message": self.to_string(),
            "warning": self.is_warning(),
        });
        value.serialize(serializer)
    }
}

impl Report {
    /// True when others can use the endpoint.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.iter().all(Fault::is_warning)
    }

    fn failed(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self.faults.sort_by_key(Fault::is_warning);
        self
    }
}

/// Tries an endpoint: its name, its port, who answers, and how that peer does.
pub async fn check(url: &str, expected: &Expected, domain: &Domain) -> Report {
    let mut report = Report {
        url: url.to_owned(),
        ..Report::default()
    };
    let parsed = match read_url(url) {
        Ok(parsed) => parsed,
        Err(reason) => return report.failed(Fault::Url { reason }),
    };
    if parsed.scheme() == "http" {
        report.faults.push(Fault::PlainHttp);
    }
    if let Err(fault) = resolve(&parsed, &mut report).await {
        return report.failed(fault);
    }
    let Ok(client) = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
    else {
        let reason = "this machine's TLS cannot be started".to_owned();
        return report.failed(Fault::Connection { reason });
    };
    let asked = Instant::now();
    let health = match get(&client, url, HEALTH).await {
        Ok(health) => health,
        Err(fault) => return report.failed(fault),
    };
    report.reachable = true;
    report.latency_ms = u64::try_from(asked.elapsed().as_millis()).ok();
    read_health(health, expected, &mut report);
    match get(&client, url, WELL_KNOWN).await {
        Ok(value) => read_well_known(value, expected, domain, &mut report),
        Err(fault) => report.faults.push(fault),
    }
    report.faults.sort_by_key(Fault::is_warning);
    report
}

fn read_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{error}; write it as `https://peer.example`"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not http:// or https://", url.scheme()));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("it has a path; peers are registered by host and port alone".to_owned());
    }
    if text.ends_with('/') {
        return Err("leave out the slash at its end".to_owned());
    }
    if !url.username().is_empty() {
        return Err("it has a user name".to_owned());
    }
    Ok(url)
}

async fn resolve(url: &Url, report: &mut Report) -> Result<(), Fault> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let dns = |reason: String| Fault::Dns {
        host: host.to_owned(),
        reason,
    };
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let mut addresses = found
        .map_err(|_| dns("the resolver does not answer".to_owned()))?
        .map_err(|error| dns(error.to_string()))?
        .peekable();
    if addresses.peek().is_none() {
        return Err(dns("there is no record".to_owned()));
    }
    if addresses.all(|address| is_private(address.ip())) {
        report.faults.push(Fault::Private);
    }
    Ok(())
}

fn is_private(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        std::net::IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

async fn get(client: &reqwest::Client, url: &str, path: &'static str) -> Result<Value, Fault> {
    let response = client.get(format!("{url}{path}")).send().await;
    let response = response.map_err(|error| connection_fault(&error))?;
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        return Err(Fault::Redirect {
            path,
            location: location.unwrap_or_default().chars().take(200).collect(),
        });
    }
    let not_a_peer = |reason: String| Fault::NotAPeer { path, reason };
    // A peer that is not ready says so with 503.
    if status != StatusCode::OK && status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(not_a_peer(format!("status {status}")));
    }
    let body = read_limited(response).await.map_err(not_a_peer)?;
    serde_json::from_slice(&body).map_err(|_| not_a_peer("its answer is no JSON".to_owned()))
}

fn connection_fault(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        return Fault::Timeout;
    }
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return Fault::Refused;
        }
        reason = cause.to_string();
        source = cause.source();
    }
    let is_tls = ["certificate", "tls", "TLS", "handshake", "corrupt message"]
        .iter()
        .any(|word| reason.contains(word));
    if is_tls {
        Fault::Tls { reason }
    } else {
        Fault::Connection { reason }
    }
}

/// What of a peer's health matters here; a peer of another version may say more
/// or less.
#[derive(Debug, Deserialize)]
struct SeenHealth {
    ready: bool,
    version: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    chain: SeenChain,
}

/// What it says of its chain.
#[derive(Debug, Default, Deserialize)]
struct SeenChain {
    error: Option<String>,
}

fn read_health(health: Value, expected: &Expected, report: &mut Report) {
    let Ok(health) = serde_json::from_value::<SeenHealth>(health) else {
        report.faults.push(Fault::NotAPeer {
            path: HEALTH,
            reason: "it does not say whether it is ready".to_owned(),
        });
        return;
    };
    report.ready = health.ready;
    report.version = health.version;
    report.roles = health.roles;
    if !health.ready {
        let reason = match health.chain.error {
            Some(error) => format!("its chain is away ({error})"),
            None => "it is starting, stopping, or reading the chain".to_owned(),
        };
        report.faults.push(Fault::NotReady { reason });
    }
    for role in &expected.roles {
        if !report.roles.contains(&role.to_string()) {
            report.faults.push(Fault::MissingRole { role: *role });
        }
    }
}

fn read_well_known(value: Value, expected: &Expected, domain: &Domain, report: &mut Report) {
    let Ok(found) = serde_json::from_value::<WellKnown>(value) else {
        report.faults.push(Fault::NotAPeer {
            path: WELL_KNOWN,
            reason: "it does not say which peer it is".to_owned(),
        });
        return;
    };
    let signed = Signed::<Endpoint>::from(found);
    let peer = signed.record.peer;
    if signed.verify(domain, peer).is_err() {
        report.faults.push(Fault::Signature);
        return;
    }
    report.peer = Some(peer);
    if let Some(expected) = expected.peer.filter(|expected| *expected != peer) {
        report.faults.push(Fault::WrongPeer {
            expected,
            found: peer,
        });
    }
    if signed.record.url != report.url {
        report.faults.push(Fault::WrongUrl {
            found: signed.record.url.chars().take(200).collect(),
        });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let seconds = signed
        .record
        .time
        .0
        .cast_signed()
        .wrapping_sub(now.cast_signed());
    report.clock_skew_seconds = Some(seconds);
    if seconds.unsigned_abs() > CLOCK_SKEW_SECONDS_MAX {
        report.faults.push(Fault::Clock { seconds });
    }
}

const fn direction(seconds: i64) -> &'static str {
    if seconds < 0 { "behind" } else { "ahead" }
}

const HEALTH: &str = "/health";
const WELL_KNOWN: &str = "/.well-known/coliving";

/// How long one answer is waited for. Chosen: twice what peers give each other.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that is further off is told. Chosen: a quarter of what presence allows.
const CLOCK_SKEW_SECONDS_MAX: u64 = 30;

#[cfg(test)]
mod tests;
