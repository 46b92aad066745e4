//! Settings: compiled-in defaults, then a file, then the environment, then flags.
//!
//! A key that no default names is refused with the place where it stands. Each value remembers where it came
//! from, for `apportion config show`.

mod costs;
mod topic;

pub use topic::Topic;

use crate::sources::Reader;
use crate::telemetry::LogFormat;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The defaults, which also say which keys there are.
const DEFAULTS: &str = include_str!("../config.default.toml");
/// Below it any key is passed on to librdkafka.
const OPEN_SECTION: &str = "kafka.properties";
const ENVIRONMENT_PREFIX: &str = "APPORTION_";
/// The environment variable that names the file. It is no setting.
pub const FILE_VARIABLE: &str = "APPORTION_CONFIG";
/// Who works at the command line, the default of `--by`. It is no setting.
const USER_VARIABLE: &str = "APPORTION_USER";
/// The variables with which `scripts/services` marks what it started, for tests. They are no settings.
const SERVICES_VARIABLE: &str = "APPORTION_SERVICES";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    pub database: Database,
    pub kafka: Kafka,
    pub http: Http,
    pub costs: costs::Costs,
    pub jobs: Jobs,
    pub telemetry: Telemetry,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Empty where none is set; see [`Config::database_url`].
    pub url: String,
    pub max_connections: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kafka {
    /// Empty where none are set; see [`Config::kafka_brokers`].
    pub brokers: String,
    pub group_id: String,
    pub topics: Vec<Topic>,
    pub batch_messages: usize,
    pub linger_ms: u64,
    /// Passed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
}

impl Kafka {
    /// How each topic is read, by its name.
    pub fn readers(&self) -> BTreeMap<String, Reader> {
        self.topics.iter().map(|topic| (topic.name.clone(), topic.reader.clone())).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Http {
    pub listen: SocketAddr,
    pub receive_timeout_seconds: u32,
    pub read_timeout_seconds: u32,
    pub turn_timeout_seconds: u32,
    pub drain_timeout_seconds: u32,
    /// How events are read that are not ours.
    pub events: Reader,
    /// How spans are read.
    pub traces: Reader,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Jobs {
    /// Who makes what the jobs draft.
    pub actor: String,
    pub tick_seconds: u32,
    pub close_delay_days: u32,
    pub redraft_hours: u32,
    pub retry_seconds: u32,
    pub lease_seconds: u32,
    pub keep_runs_days: u32,
    pub clock_behind_days: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Telemetry {
    pub log_format: LogFormat,
    pub log_filter: String,
    /// Empty where traces go nowhere.
    pub otlp_endpoint: String,
}

/// What a setting's value is refused for.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{origin}: there is no setting \"{key}\"; the nearest is \"{nearest}\"")]
    UnknownKey { key: String, origin: String, nearest: String },
    #[error("{origin}: \"{key}\" must be {expected}")]
    WrongValue { key: String, origin: String, expected: &'static str },
    #[error("--set {text}: write section.key=value")]
    WrongFlag { text: String },
    #[error("{}: cannot be read", path.display())]
    NoFile { path: PathBuf },
    #[error("{message}")]
    Figment { message: String },
    #[error("\"{key}\" is not set; set {variable} or write it into the configuration file")]
    Unset { key: &'static str, variable: &'static str },
}

/// One setting as `config show` prints it: secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// Where settings are taken from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Name and value of environment variables; those that are not ours are passed over.
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, in the order given.
    pub flags: Vec<String>,
}

impl Sources {
    /// The file of `--config` or APPORTION_CONFIG, this process's environment, and `--set` flags.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        // Names and values that are no text are none of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, environment, flags }
    }
}

impl Config {
    /// Reads the settings, and where each came from.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value of the wrong kind.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<Setting>), ConfigError> {
        let defaults = flatten(&Figment::from(Toml::string(DEFAULTS)))?;
        let mut figment = Figment::new().merge(Named { inner: Toml::string(DEFAULTS), name: "default" });
        if let Some(path) = &sources.file {
            if !path.is_file() {
                return Err(ConfigError::NoFile { path: path.clone() });
            }
            figment = figment.merge(Toml::file_exact(path));
            figment.data().map_err(|error| figment_error(&figment, error))?; // while the file is the last
        }
        for layer in environment_layers(&sources.environment, &defaults)? {
            figment = figment.merge(layer);
        }
        for flag in &sources.flags {
            let (key, value) = flag.split_once('=').ok_or_else(|| ConfigError::WrongFlag { text: flag.clone() })?;
            figment = figment.merge(Layer::new(key.trim(), value, "--set".to_owned(), &defaults)?);
        }
        let settings = flatten(&figment)?;
        for (key, (_, origin)) in &settings {
            check_known(key, origin, &defaults)?;
        }
        let config: Self = figment.extract().map_err(|error| figment_error(&figment, error))?;
        let in_range = |key: &str, value: usize, range: RangeInclusive<usize>, expected| match range.contains(&value) {
            true => Ok(()),
            false => {
                let origin = settings.get(key).map(|(_, origin)| origin.clone()).unwrap_or_default();
                Err(ConfigError::WrongValue { key: key.to_owned(), origin, expected })
            }
        };
        // The sums of a batch are held exactly up to so many messages.
        in_range("kafka.batch_messages", config.kafka.batch_messages, 1..=100_000, "from 1 to 100000")?;
        let connections = usize::try_from(config.database.max_connections).unwrap_or(usize::MAX);
        in_range("database.max_connections", connections, 8..=1000, "from 8 to 1000")?;
        let (http, jobs) = (&config.http, &config.jobs);
        for (key, value, range, expected) in [
            ("http.receive_timeout_seconds", http.receive_timeout_seconds, 1..=3600, "from 1 to 3600"),
            ("http.read_timeout_seconds", http.read_timeout_seconds, 1..=3600, "from 1 to 3600"),
            ("http.turn_timeout_seconds", http.turn_timeout_seconds, 1..=3600, "from 1 to 3600"),
            ("http.drain_timeout_seconds", http.drain_timeout_seconds, 1..=3600, "from 1 to 3600"),
            ("jobs.tick_seconds", jobs.tick_seconds, 1..=86_400, "from 1 to 86400"),
            ("jobs.lease_seconds", jobs.lease_seconds, 1..=86_400, "from 1 to 86400"),
            // No wait between tries is longer than an hour.
            ("jobs.retry_seconds", jobs.retry_seconds, 1..=3600, "from 1 to 3600"),
            ("jobs.redraft_hours", jobs.redraft_hours, 1..=744, "from 1 to 744, a month"),
            ("jobs.close_delay_days", jobs.close_delay_days, 0..=366, "from 0 to 366"),
            ("jobs.keep_runs_days", jobs.keep_runs_days, 8..=36_525, "from 8 to 36525"),
            ("jobs.clock_behind_days", jobs.clock_behind_days, 0..=36_525, "from 0 to 36525"),
        ] {
            in_range(key, usize::try_from(value).unwrap_or(usize::MAX), range, expected)?;
        }
        // A name that is none of Kafka's could be a pattern to librdkafka.
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let topics = config.kafka.readers().into_keys().filter(|name| !name.is_empty() && is_name(name)).count();
        let expected = "topics, each once, named by letters, digits, ., _ and -";
        in_range("kafka.topics", topics, config.kafka.topics.len()..=usize::MAX, expected)?;
        let expected = "topics of one source and format that are read alike: else give each a source of its own";
        let of_topics = config.kafka.topics.iter().map(|topic| &topic.reader);
        let readers: Vec<&Reader> = of_topics.chain([&http.events, &http.traces]).collect();
        in_range("kafka.topics", Reader::ambiguous(&readers), 0..=0, expected)?;
        in_range("jobs.actor", jobs.actor.trim().len(), 1..=256, "a name")?;
        let shown = settings.into_iter().map(|(key, (value, origin))| {
            let value = mask(&key, &value);
            Setting { key, value, origin }
        });
        Ok((config, shown.collect()))
    }

    /// # Errors
    /// None is set.
    pub fn database_url(&self) -> Result<&str, ConfigError> {
        let unset = ConfigError::Unset { key: "database.url", variable: "DATABASE_URL" };
        if self.database.url.is_empty() { Err(unset) } else { Ok(&self.database.url) }
    }

    /// # Errors
    /// None are set.
    pub fn kafka_brokers(&self) -> Result<&str, ConfigError> {
        let unset = ConfigError::Unset { key: "kafka.brokers", variable: "KAFKA_BROKERS" };
        if self.kafka.brokers.is_empty() { Err(unset) } else { Ok(&self.kafka.brokers) }
    }
}

/// Values as text by dotted key, with the place that each came from.
type Flat = BTreeMap<String, (Value, String)>;

fn flatten(figment: &Figment) -> Result<Flat, ConfigError> {
    let root = figment.data().map_err(|error| figment_error(figment, error))?;
    let mut flat = Flat::new();
    for (section, value) in root.get(&Profile::Default).into_iter().flatten() {
        flatten_into(figment, section, value, &mut flat);
    }
    Ok(flat)
}

fn flatten_into(figment: &Figment, key: &str, value: &Value, flat: &mut Flat) {
    match value {
        Value::Dict(_, entries) => {
            for (name, value) in entries {
                flatten_into(figment, &format!("{key}.{name}"), value, flat);
            }
        }
        _ => {
            flat.insert(key.to_owned(), (value.clone(), origin(figment, value.tag())));
        }
    }
}

fn origin(figment: &Figment, tag: Tag) -> String {
    figment.get_metadata(tag).map_or_else(|| "default".to_owned(), place)
}

/// The file, or what else sets something.
fn place(metadata: &Metadata) -> String {
    let file = metadata.source.as_ref().and_then(Source::file_path);
    file.map_or_else(|| metadata.name.to_string(), |path| path.display().to_string())
}

fn figment_error(figment: &Figment, error: figment::Error) -> ConfigError {
    let place = error.metadata.as_ref().or_else(|| figment.metadata().last()).map(place).unwrap_or_default();
    let at = error.path.join(".");
    // Of a setting that may hold a password the kind alone: figment's own text would quote what stands there.
    let is_secret = at == "database.url" || at.starts_with(OPEN_SECTION);
    let message = match &error.kind {
        figment::error::Kind::InvalidType(_, expected) | figment::error::Kind::InvalidValue(_, expected) => {
            format!("{place}: \"{at}\" must be {expected}")
        }
        figment::error::Kind::UnknownVariant(_, expected) => {
            format!("{place}: \"{at}\" must be one of {}", expected.join(", "))
        }
        kind if at.is_empty() => format!("{place}: {kind}"),
        _ if is_secret => format!("{place}: \"{at}\" has a value that cannot be used"),
        kind => format!("{place}: \"{at}\": {kind}"),
    };
    ConfigError::Figment { message }
}

fn is_open(key: &str) -> bool {
    key.strip_prefix(OPEN_SECTION).is_some_and(|rest| rest.starts_with('.'))
}

fn check_known(key: &str, origin: &str, known: &Flat) -> Result<(), ConfigError> {
    if known.contains_key(key) || is_open(key) {
        return Ok(());
    }
    let nearest = known.keys().min_by_key(|candidate| distance(key, candidate)).cloned().unwrap_or_default();
    Err(ConfigError::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), nearest })
}

/// How many letters have to be added, dropped or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (done, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (column, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(*other != letter);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

/// `APPORTION_KAFKA__GROUP_ID` is `kafka.group_id`; below `kafka.properties`, `_` stands for a point.
fn environment_layers(environment: &[(String, String)], defaults: &Flat) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    for (name, key) in [("DATABASE_URL", "database.url"), ("KAFKA_BROKERS", "kafka.brokers")] {
        if let Some((_, value)) = environment.iter().find(|(given, _)| given == name) {
            layers.push(Layer::new(key, value, name.to_owned(), defaults)?);
        }
    }
    for (name, value) in environment {
        if name == FILE_VARIABLE || name == USER_VARIABLE || name.starts_with(SERVICES_VARIABLE) {
            continue;
        }
        let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let mut key = path.to_lowercase().replace("__", ".");
        if is_open(&key) {
            let (section, property) = key.split_at(OPEN_SECTION.len());
            key = format!("{section}{}", property.replace('_', "."));
        }
        layers.push(Layer::new(&key, value, name.clone(), defaults)?);
    }
    Ok(layers)
}

/// One setting from the environment or a flag, read as its default's kind says.
struct Layer {
    key: String,
    value: Value,
    origin: String,
}

impl Layer {
    fn new(key: &str, text: &str, origin: String, defaults: &Flat) -> Result<Self, ConfigError> {
        check_known(key, &origin, defaults)?;
        let value = match defaults.get(key).map(|(value, _)| value) {
            Some(Value::Num(..)) => {
                let expected = "a whole number";
                let wrong = || ConfigError::WrongValue { key: key.to_owned(), origin: origin.clone(), expected };
                Value::from(text.trim().parse::<u64>().map_err(|_| wrong())?)
            }
            // Names, or a list as the file has it.
            Some(Value::Array(..)) if text.trim_start().starts_with('[') => {
                let expected = "a list in TOML";
                let wrong = |_| ConfigError::WrongValue { key: key.to_owned(), origin: origin.clone(), expected };
                let list = Toml::from_str::<Dict>(&format!("list = {text}")).map_err(wrong)?;
                list.get("list").cloned().unwrap_or_else(|| Value::from(Vec::<String>::new()))
            }
            Some(Value::Array(..)) => {
                let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                Value::from(entries.map(str::to_owned).collect::<Vec<_>>())
            }
            _ => Value::from(text),
        };
        Ok(Self { key: key.to_owned(), value, origin })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // The points in the name of a librdkafka property are no sections.
        let mut path: Vec<&str> = match self.key.strip_prefix(OPEN_SECTION).and_then(|rest| rest.strip_prefix('.')) {
            Some(property) => OPEN_SECTION.split('.').chain([property]).collect(),
            None => self.key.split('.').collect(),
        };
        let mut value = self.value.clone();
        while path.len() > 1 {
            let name = path.pop().unwrap_or_default();
            value = Value::from(Dict::from([(name.to_owned(), value)]));
        }
        let section = path.pop().unwrap_or_default();
        Ok(Profile::Default.collect(Dict::from([(section.to_owned(), value)])))
    }
}

/// A provider under a name of ours.
struct Named<P> {
    inner: P,
    name: &'static str,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.inner.data()
    }
}

/// The value as text, with nothing secret in it.
fn mask(key: &str, value: &Value) -> String {
    let text = match value {
        Value::Array(_, entries) => entries.iter().map(|entry| mask(key, entry)).collect::<Vec<_>>().join(","),
        Value::Num(_, number) => {
            // figment keeps signed and unsigned whole numbers apart.
            let signed = number.to_i128().map(|number| number.to_string());
            signed.or_else(|| number.to_u128().map(|number| number.to_string())).unwrap_or_default()
        }
        Value::Bool(_, truth) => truth.to_string(),
        Value::Dict(_, entries) => {
            let entries = entries.iter().map(|(name, value)| format!("{name}={}", mask(key, value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
        }
        _ => value.as_str().unwrap_or_default().to_owned(),
    };
    let words = ["password", "secret", "token", "jaas", "oauthbearer.config", "key.pem"];
    if is_open(key) && words.iter().any(|word| key.contains(word)) {
        return "***".to_owned();
    }
    mask_url(&text)
}

/// `postgres://user:password@host` loses the password, `?password=...` its value.
pub fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may itself hold a slash; what counts is the last @ before the query.
    let query_at = rest.find('?').unwrap_or(rest.len());
    let masked = match rest.get(..query_at).and_then(|front| front.rfind('@')) {
        Some(at) => {
            let (user, host) = (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default());
            let name = user.split(':').next().unwrap_or_default();
            if user.contains(':') { format!("{name}:***{host}") } else { rest.to_owned() }
        }
        None => rest.to_owned(),
    };
    let (front, query) = masked.split_once('?').map_or((masked.as_str(), None), |(front, query)| (front, Some(query)));
    let query = query.map_or(String::new(), |query| {
        let hide = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=***"),
            _ => pair.to_owned(),
        };
        format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{front}{query}")
}

/// The file that `--config` or APPORTION_CONFIG names.
pub fn file(flag: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os(FILE_VARIABLE).filter(|name| !name.is_empty());
    flag.map(Path::to_path_buf).or_else(|| named.map(PathBuf::from))
}

#[cfg(test)]
mod tests;
