//! Lists as CSV: the columns are the fields that the API's description names, in its order.

use crate::domain::money::Exact;
use crate::render::csv::{cell, decimal};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// How deep fields lie in each other at most: a description may name itself.
const MAX_DEPTH: usize = 4;

/// The table of some items, with a head even where there are none.
///
/// A field of a field is a column with a point in its name, `last_run.outcome`; what a list in a field holds is one
/// cell, as JSON. What is absent is an empty cell. Numbers are decimals: spreadsheets know no fractions.
///
/// # Errors
/// None that a text in memory could meet; the writer's type has them.
pub fn table<T: Serialize + ToSchema>(items: &[T]) -> Result<Vec<u8>, csv::Error> {
    let mut named = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut named);
    let named: BTreeMap<&str, &RefOr<Schema>> = named.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
    let mut found = Vec::new();
    columns(&T::schema(), &named, &[], &mut found);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(found.iter().map(|column| column.path.join(".")))?;
    for item in items {
        let item = serde_json::to_value(item).map_err(std::io::Error::from)?;
        writer.write_record(found.iter().map(|column| text(&item, column)))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

struct Column {
    path: Vec<String>,
    /// Whether it is described as an exact number, which may be a fraction.
    is_exact: bool,
}

/// Adds the columns of what a schema describes, in its order, each once.
fn columns(schema: &RefOr<Schema>, named: &BTreeMap<&str, &RefOr<Schema>>, path: &[String], found: &mut Vec<Column>) {
    let inner: &[RefOr<Schema>] = match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            return match named.get(name) {
                Some(schema) if name != Exact::name() => columns(schema, named, path, found),
                _ => add(path, name == Exact::name(), found),
            };
        }
        RefOr::T(Schema::Object(object)) => {
            if object.properties.is_empty() || path.len() == MAX_DEPTH {
                return add(path, false, found);
            }
            for (name, schema) in &object.properties {
                columns(schema, named, &[path, std::slice::from_ref(name)].concat(), found);
            }
            return;
        }
        // A field that may be absent is one of null and what it is; flattened fields are all of two schemas.
        RefOr::T(Schema::OneOf(one)) => &one.items,
        RefOr::T(Schema::AllOf(all)) => &all.items,
        RefOr::T(Schema::AnyOf(any)) => &any.items,
        RefOr::T(_) => return add(path, false, found),
    };
    let before = found.len();
    inner.iter().for_each(|schema| columns(schema, named, path, found));
    // Beside its fields, what may be null is no column of its own.
    if found.iter().skip(before).any(|it| it.path.len() > path.len()) {
        found.retain(|it| it.path != path);
    }
}

/// A field that may be null is described as null and as what it is.
fn add(path: &[String], is_exact: bool, found: &mut Vec<Column>) {
    match found.iter_mut().find(|it| it.path == path) {
        Some(column) => column.is_exact |= is_exact,
        None if path.is_empty() => {}
        None => found.push(Column { path: path.to_vec(), is_exact }),
    }
}

/// What stands in a cell.
fn text(item: &Value, Column { path, is_exact }: &Column) -> String {
    match path.iter().try_fold(item, |value, name| value.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if *is_exact => decimal(text),
        Some(Value::String(text)) => cell(text).into_owned(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, ToSchema)]
    struct Whose {
        holder: String,
    }

    #[derive(Serialize, ToSchema)]
    #[serde(tag = "outlook", rename_all = "snake_case")]
    enum Outlook {
        Known { day: i32 },
        Unknown,
    }

    #[derive(Serialize, ToSchema)]
    struct Row {
        zeal: i64,
        #[serde(flatten)]
        whose: Whose,
        amount: Exact,
        share: Option<Exact>,
        last: Option<Whose>,
        outlook: Outlook,
        parts: Vec<Whose>,
    }

    fn exact(text: &str) -> Exact {
        text.parse().expect("a number")
    }

    fn whose(holder: &str) -> Whose {
        Whose { holder: holder.to_owned() }
    }

    #[test]
    fn columns_are_as_described_and_stand_where_there_are_no_rows() {
        let empty = String::from_utf8(table::<Row>(&[]).expect("a table")).expect("text");
        let row = Row {
            zeal: -1,
            whose: whose("=cmd()"),
            amount: exact("-12.5"),
            share: Some(exact("-2/3")),
            last: Some(whose("ana")),
            outlook: Outlook::Known { day: 3 },
            parts: vec![whose("ben")],
        };
        let other = Row { last: None, outlook: Outlook::Unknown, parts: Vec::new(), ..row_of("@x") };
        let full = String::from_utf8(table(&[row, other]).expect("a table")).expect("text");
        let lines: Vec<&str> = full.lines().collect();
        assert_eq!(empty.trim_end(), "holder,zeal,amount,share,last.holder,outlook.day,outlook.outlook,parts");
        assert_eq!(lines[0], empty.trim_end());
        assert_eq!(lines[1], r#"'=cmd(),-1,-12.5,-0.666666666667,ana,3,known,"[{""holder"":""ben""}]""#);
        assert_eq!(lines[2], "'@x,0,0.333333333333,,,,unknown,[]");
    }

    fn row_of(holder: &str) -> Row {
        let (whose, outlook) = (whose(holder), Outlook::Unknown);
        Row { zeal: 0, whose, amount: exact("1/3"), share: None, last: None, outlook, parts: Vec::new() }
    }
}
