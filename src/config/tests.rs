//! Tests of the settings: which source wins, what is refused, and what is masked.

use super::*;
use crate::sources::Format;
use std::io::Write;

fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<(Config, Vec<Setting>), ConfigError> {
    let mut written = tempfile::NamedTempFile::new().expect("a file");
    written.write_all(file.as_bytes()).expect("written");
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Config::load(&Sources {
        file: Some(written.path().to_path_buf()),
        environment: environment.iter().map(pair).collect(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    })
}

fn shown(settings: &[Setting], key: &str) -> (String, String) {
    let setting = settings.iter().find(|setting| setting.key == key).expect("a setting");
    (setting.value.clone(), setting.origin.clone())
}

#[test]
fn later_sources_win_and_are_named() {
    let file = "[kafka]\ngroup_id = \"from-file\"\nlinger_ms = 7\n[telemetry]\nlog_format = \"json\"\n";
    let environment =
        [("KAFKA_BROKERS", "a:1"), ("APPORTION_KAFKA__LINGER_MS", "8"), ("HOME", "/"), ("APPORTION_CONFIG", "x")];
    let (config, settings) = load(file, &environment, &["kafka.topics=one, two"]).expect("settings");
    assert_eq!((config.kafka.group_id.as_str(), config.kafka.linger_ms), ("from-file", 8));
    assert_eq!((config.kafka.topics.len(), config.telemetry.log_format), (2, LogFormat::Json));
    assert_eq!(config.kafka_brokers().expect("brokers"), "a:1");
    assert!(matches!(config.database_url(), Err(ConfigError::Unset { .. })));
    assert_eq!(shown(&settings, "kafka.linger_ms"), ("8".into(), "APPORTION_KAFKA__LINGER_MS".into()));
    assert_eq!(shown(&settings, "kafka.brokers"), ("a:1".into(), "KAFKA_BROKERS".into()));
    assert_eq!(shown(&settings, "kafka.topics"), ("one,two".into(), "--set".into()));
    assert_eq!(config.kafka.topics[1], Topic { name: "two".into(), reader: Reader::default() });
    assert_eq!(shown(&settings, "kafka.batch_messages"), ("50000".into(), "default".into()));
    assert!(shown(&settings, "kafka.group_id").1.starts_with('/'));
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let mut written = tempfile::NamedTempFile::new().expect("a file");
    written.write_all(b"[kafka]\ngroup_id = \n").expect("written");
    let sources = Sources { file: Some(written.path().to_path_buf()), ..Sources::default() };
    let error = Config::load(&sources).expect_err("a broken file").to_string();
    assert!(error.starts_with(&format!("{}: ", written.path().display())), "{error}");
    assert!(error.contains("line 2"), "{error}");
    let error = load("[kafka]\nlinger_ms = \"soon\"\n", &[], &[]).expect_err("no number").to_string();
    assert!(error.starts_with('/') && error.contains("\"kafka.linger_ms\" must be"), "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let check = |file: &str, environment: &[(&str, &str)], flags: &[&str], expect: &str| {
        let error = load(file, environment, flags).expect_err("refused").to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("[kafka]\ngroupid = \"x\"\n", &[], &[], "no setting \"kafka.groupid\"; the nearest is \"kafka.group_id\"");
    check("", &[("APPORTION_HTTP__LISTENS", "x")], &[], "APPORTION_HTTP__LISTENS: there is no setting");
    check("", &[], &["database.uri=x"], "\"database.url\"");
    check("", &[], &["database"], "section.key=value");
    check("", &[("APPORTION_KAFKA__LINGER_MS", "soon")], &[], "must be a whole number");
    check("[telemetry]\nlog_format = \"xml\"\n", &[], &[], "telemetry.log_format");
    check("[http]\nlisten = \"nowhere\"\n", &[], &[], "http.listen");
    check("", &[], &["http.read_timeout_seconds=0"], "from 1 to 3600");
    check("", &[], &["http.drain_timeout_seconds=0"], "from 1 to 3600");
    check("", &[], &["database.max_connections=1"], "\"database.max_connections\" must be from 8 to 1000");
}

#[test]
fn a_topic_says_how_it_is_read() {
    let file = r#"
        [[kafka.topics]]
        name = "usage.direct"
        [[kafka.topics]]
        name = "usage.aws"
        format = "bedrock_invocation"
        source = "aws"
        zone = "America/New_York"
        customer_tags = ["tenant"]
    "#;
    let aws = Reader {
        format: Format::BedrockInvocation,
        source: "aws".into(),
        zone: Some(chrono_tz::America::New_York),
        customer_tags: vec!["tenant".into()],
        ..Reader::default()
    };
    let (config, _) = load(file, &[], &[]).expect("settings");
    let expected = [("usage.aws".to_owned(), aws.clone()), ("usage.direct".to_owned(), Reader::default())];
    assert_eq!(config.kafka.readers(), expected.into());
    // The same from the environment.
    let list = r#"["usage.direct",
        {name = "usage.aws", format = "bedrock_invocation", source = "aws", zone = "America/New_York", customer_tags = ["tenant"]}]"#;
    let (config, settings) = load("", &[("APPORTION_KAFKA__TOPICS", list)], &[]).expect("settings");
    assert_eq!(config.kafka.topics[1].reader, aws);
    let told =
        "usage.direct,{customer_tags=tenant format=bedrock_invocation name=usage.aws source=aws zone=America/New_York}";
    assert_eq!(shown(&settings, "kafka.topics").0, told);
}

#[test]
fn a_topic_that_says_what_cannot_be_is_refused() {
    for (topics, expect) in [
        (r#"[{name = "a", fromat = "oci"}]"#, "unknown field `fromat`"),
        (r#"[{name = "a", format = "xml"}]"#, "no format \"xml\"; there is cloudevents, "),
        (r#"[{name = "a", zone = "Mars"}]"#, "\"kafka.topics.0\": failed to parse timezone"),
        (r#"[{format = "oci"}]"#, "missing field `name`"),
        ("[7]", "the name of a topic, or a table"),
        ("[{", "a list in TOML"),
        ("a, b, a", "each once"),
        (r#"[{name = "a", source = "x"}, {name = "b", source = "x", zone = "UTC"}]"#, "a source of its own"),
        ("^usage.*", "named by letters"),
    ] {
        let error = load("", &[("APPORTION_KAFKA__TOPICS", topics)], &[]).expect_err("refused").to_string();
        assert!(error.contains(expect), "{topics}: {error}");
    }
}

#[test]
fn a_provider_of_costs_is_one_cloud() {
    let (config, settings) = load("", &[], &[]).expect("settings");
    assert_eq!(config.costs.cloud_by_provider.get("Microsoft").map(String::as_str), Some("azure"));
    assert!(shown(&settings, "costs.providers").0.contains("AWS"));
    for (providers, expect) in [
        (
            r#"[{name = "AWS", cloud = "aws"}, {name = "AWS", cloud = "google"}]"#,
            "provider \"AWS\" must stand there once",
        ),
        (r#"[{name = "AWS"}]"#, "missing field `cloud`"),
        (r#"[{name = "AWS", cloud = "aws", region = "r"}]"#, r#""costs.providers.0.region": unknown field"#),
    ] {
        let error = load("", &[], &[&format!("costs.providers={providers}")]).expect_err("refused").to_string();
        assert!(error.contains(expect), "{providers}: {error}");
    }
}

#[test]
fn properties_pass_and_secrets_are_masked() {
    let file = "[kafka.properties]\n\"sasl.username\" = \"me\"\n\"sasl.password\" = \"hush\"\n";
    let environment = [
        ("APPORTION_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
        ("DATABASE_URL", "postgres://me:hu/sh@host:5432/db?sslmode=require&sslpassword=hush"),
    ];
    let (config, settings) = load(file, &environment, &[]).expect("settings");
    assert_eq!(config.kafka.properties["security.protocol"], "SASL_SSL");
    assert_eq!(config.kafka.properties["sasl.password"], "hush");
    assert_eq!(shown(&settings, "kafka.properties.sasl.username").0, "me");
    assert_eq!(shown(&settings, "kafka.properties.sasl.password").0, "***");
    let url = "postgres://me:***@host:5432/db?sslmode=require&sslpassword=***";
    assert_eq!(shown(&settings, "database.url").0, url);
    assert_eq!(mask_url("postgres://host/db"), "postgres://host/db");
    assert_eq!(mask_url("127.0.0.1:8080"), "127.0.0.1:8080");
}
