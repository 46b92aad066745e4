//! Dashboards, alerts, their runbook and their README belong together, and Grafana would take the dashboards.

use crate::expect_none;
use crate::json_schema::Schema;
use crate::panels::{DASHBOARDS, Panel, Query, alerts, dashboard, names, panels, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the schema, made of Grafana's own types, finds in a dashboard.
fn schema_faults(dashboard: &Value) -> Vec<String> {
    let schema = serde_json::from_str(&text("dashboards/schema/dashboard.schema.json")).expect("a schema is JSON");
    Schema { root: &schema }.faults(&schema, dashboard, "")
}

#[test]
fn dashboards_are_what_grafana_defines() {
    for name in DASHBOARDS {
        expect_none("A dashboard follows dashboards/schema.", schema_faults(&dashboard(name)));
    }
    let spoilt: [(&str, Value); 6] = [
        ("/panels/1/type", json!("no-such-panel")),
        ("/panels/1/options/no_such_option", json!(1)),
        ("/panels/1/fieldConfig/defaults/unit", Value::Null),
        ("/panels/1/targets", json!([])),
        ("/panels/1/gridPos/w", json!("wide")),
        ("/refresh", json!(15)),
    ];
    for (place, value) in spoilt {
        let mut bad = dashboard("business");
        let (parent, field) = place.rsplit_once('/').expect("a place");
        let parent = bad.pointer_mut(parent).and_then(Value::as_object_mut).expect(place);
        parent.insert(field.to_owned(), value);
        assert!(!schema_faults(&bad).is_empty(), "{place} was spoilt, and nobody minds");
    }
}

/// Panels that lie over each other or beyond the grid, or have the same title or number.
fn layout_faults(dashboard: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut taken = BTreeSet::new();
    let mut known = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        let at = |field: &str| panel["gridPos"][field].as_u64().expect("a place");
        if at("x") + at("w") > 24 {
            faults.push(format!("{title}: beyond the grid"));
        }
        let cells = (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)));
        let taken_before = taken.len();
        taken.extend(cells);
        if (taken.len() - taken_before) as u64 != at("w") * at("h") {
            faults.push(format!("{title}: lies over another panel"));
        }
        for name in [title.to_owned(), panel["id"].to_string()] {
            if !known.insert(name) {
                faults.push(format!("{title}: its title or number stands twice"));
            }
        }
    }
    faults
}

#[test]
fn panels_have_places_of_their_own() {
    for name in DASHBOARDS {
        expect_none("Each panel has a place, a title and a number of its own.", layout_faults(&dashboard(name)));
    }
    let mut bad = dashboard("business");
    bad["panels"][2]["gridPos"] = bad["panels"][1]["gridPos"].clone();
    bad["panels"][2]["id"] = bad["panels"][1]["id"].clone();
    assert_eq!(layout_faults(&bad).len(), 2);
}

/// Panels that draw over time and do not ask so, or the other way round.
fn shape_faults(panel: &Panel) -> Vec<String> {
    let draws_time = panel.kind == "timeseries";
    let fits = |query: &&Query| match query {
        Query::Sql { is_time_series, .. } => *is_time_series == draws_time,
        Query::Promql { is_instant, .. } => *is_instant != draws_time,
    };
    let faults = panel.queries.iter().filter(|query| !fits(query));
    faults.map(|_| format!("{}: a query is not of the shape that a {} draws", panel.title, panel.kind)).collect()
}

#[test]
fn queries_have_the_shape_that_their_panel_draws() {
    let mut all: Vec<Panel> = DASHBOARDS.iter().flat_map(|name| panels(name)).collect();
    expect_none("What draws over time asks so.", all.iter().flat_map(shape_faults).collect());
    all[0].kind = "timeseries".to_owned();
    assert_eq!(shape_faults(&all[0]).len(), 1);
}

/// The row of the README that a panel has: what it reads, and what it says of itself.
fn readme_row(panel: &Panel) -> String {
    let mut reads = BTreeSet::new();
    for query in &panel.queries {
        let (Query::Sql { text, .. } | Query::Promql { text, .. }) = query;
        reads.extend(names(text, "reporting.").into_iter().chain(names(text, "apportion_")));
    }
    let reads: Vec<String> = reads.iter().map(|name| format!("`{name}`")).collect();
    format!("| {} | {} | {} |", panel.title, reads.join(", "), panel.description)
}

#[test]
fn the_readme_has_a_row_for_each_panel() {
    let readme = text("dashboards/README.md");
    let rows: BTreeSet<&str> = readme.lines().collect();
    let all: Vec<String> = DASHBOARDS.iter().flat_map(|name| panels(name)).map(|panel| readme_row(&panel)).collect();
    let missing = all.iter().filter(|row| !rows.contains(row.as_str())).cloned().collect();
    expect_none("dashboards/README.md has these rows.", missing);
    let tables = readme.split("\n## Business").nth(1).expect("the tables").lines();
    let rows_of_panels = tables.filter(|line| line.starts_with("| ") && !line.starts_with("| panel ")).count();
    assert_eq!(rows_of_panels, all.len() + 2, "a row of dashboards/README.md has no panel");
}

/// Metrics that are asked for and that the service does not have.
fn unknown_metrics(asked: &str, telemetry: &str) -> Vec<String> {
    let known: BTreeSet<&str> = telemetry.split('"').filter(|word| word.starts_with("apportion_")).collect();
    let is_known = |name: &str| {
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        known.contains(name) || bare.is_some_and(|bare| known.contains(bare))
    };
    names(asked, "apportion_").into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn panels_and_alerts_ask_for_metrics_that_there_are() {
    let telemetry = text("src/telemetry.rs");
    let mut asked = String::new();
    for panel in DASHBOARDS.iter().flat_map(|name| panels(name)) {
        for query in panel.queries {
            if let Query::Promql { text, .. } = query {
                asked.push_str(&format!("{text}\n"));
            }
        }
    }
    asked.extend(alerts().into_iter().map(|(_, expression)| expression));
    assert!(names(&asked, "apportion_").len() > 10, "{asked}");
    expect_none("Every metric stands in src/telemetry.rs.", unknown_metrics(&asked, &telemetry));
    assert_eq!(unknown_metrics("rate(apportion_no_such_total[5m])", &telemetry), ["apportion_no_such_total"]);
}

/// The entries of a runbook: each heading with what stands below it.
fn entries(runbook: &str) -> Vec<(&str, &str)> {
    runbook.split("\n## ").skip(1).map(|entry| entry.split_once('\n').unwrap_or((entry, ""))).collect()
}

fn alert_faults(alerts: &[(String, String)], rules: &str, runbook: &str, unit_tests: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let entries = entries(runbook);
    for (alert, _) in alerts {
        match entries.iter().find(|(heading, _)| heading == alert) {
            None => faults.push(format!("{alert}: no entry in the runbook")),
            Some((_, entry)) => {
                let missing = ["**Means** ", "**See** ", "**Do** "].into_iter().filter(|part| !entry.contains(part));
                faults.extend(missing.map(|part| format!("{alert}: its entry has no {part}")));
            }
        }
        if !rules.contains(&format!("runbook: dashboards/runbook.md#{}\n", alert.to_lowercase())) {
            faults.push(format!("{alert}: does not name its entry"));
        }
        if !unit_tests.contains(&format!("alertname: {alert}\n")) {
            faults.push(format!("{alert}: no test shows it fire"));
        }
    }
    let is_alert = |heading: &str| alerts.iter().any(|(alert, _)| alert == heading);
    faults.extend(
        entries
            .iter()
            .filter(|(heading, _)| !is_alert(heading))
            .map(|(heading, _)| format!("{heading}: no such alert")),
    );
    faults
}

#[test]
fn every_alert_has_its_entry_and_its_test() {
    let (rules, runbook) = (text("dashboards/alerts.yaml"), text("dashboards/runbook.md"));
    let unit_tests = text("dashboards/alerts_test.yaml");
    expect_none("Each alert has an entry and a test.", alert_faults(&alerts(), &rules, &runbook, &unit_tests));
    assert_eq!(alert_faults(&[("New".into(), String::new())], "", "\n## Old\n", "").len(), 4);
}
