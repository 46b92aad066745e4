//! The dashboards as tests read them: each panel with what it asks of Postgres or Prometheus.

use serde_json::Value;
use std::path::Path;

pub const DASHBOARDS: [&str; 2] = ["business", "operations"];

pub enum Query {
    Sql { text: String, is_time_series: bool },
    Promql { text: String, is_instant: bool },
}

pub struct Panel {
    pub title: String,
    /// `stat`, `table`, `timeseries` ...
    pub kind: String,
    pub description: String,
    pub queries: Vec<Query>,
}

pub fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text(&format!("dashboards/{name}.json"))).expect("a dashboard is JSON")
}

/// The panels of a dashboard; rows only divide these.
pub fn panels(name: &str) -> Vec<Panel> {
    let dashboard = dashboard(name);
    let of = |panel: &Value, field: &str| panel[field].as_str().expect(field).to_owned();
    let query = |target: &Value| match target["rawSql"].as_str() {
        Some(sql) => Query::Sql { text: sql.to_owned(), is_time_series: target["format"] == "time_series" },
        None => Query::Promql { text: of(target, "expr"), is_instant: target["instant"] == true },
    };
    let panels = dashboard["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row");
    let panel = |panel: &Value| {
        let title = of(panel, "title");
        let queries: Vec<Query> = panel["targets"].as_array().expect("targets").iter().map(query).collect();
        assert!(!queries.is_empty(), "{title} asks nothing");
        let (kind, description) = (of(panel, "type"), of(panel, "description"));
        Panel { kind, title, description, queries }
    };
    panels.map(panel).collect()
}

/// The name and the expression of each alert, in order.
pub fn alerts() -> Vec<(String, String)> {
    let rules = text("dashboards/alerts.yaml");
    let alert = |rule: &str| {
        let (name, rest) = rule.split_once('\n').expect("a rule below its name");
        let (_, expression) = rest.split_once("expr:").expect("an expression");
        let end = ["\n        for:", "\n        labels:"].iter().filter_map(|end| expression.find(end)).min();
        (name.to_owned(), expression[..end.expect("labels")].trim_start_matches(" |").to_owned())
    };
    rules.split("- alert: ").skip(1).map(alert).collect()
}

/// The names in a text that begin with `prefix`, without what Prometheus appends to a histogram's.
pub fn names(text: &str, prefix: &str) -> Vec<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != '.');
    let mut names: Vec<String> = words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}
