//! Columns of a table as fields of a format: a row of CSV or Parquet becomes the record that a line of JSON would be.
//!
//! A column is named as the field whose value it holds, by the field's whole path with dots: `usage.inputTokens`. Those of
//! the canonical record may be named by the field alone: `deployment`, `country`, `input_tokens`. An empty cell says
//! nothing.

use super::node::{Keep, fold, push_text};
use super::reader::CARRIED;
use super::{Format, Reader, cloudevents};
use crate::domain::usage::{Meter, UsageAttribute};
use std::borrow::Cow;

/// Stands among skipped columns for all that the format does not read.
pub const ALL_OTHERS: &str = "*";

/// Why the columns of a table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongColumns {
    #[error("column \"{column}\": {format} has no such field; its columns are {}", known.join(", "))]
    Unknown { column: String, format: Format, known: Vec<String> },
    #[error("column \"{column}\": its field is given by another column too")]
    Twice { column: String },
    #[error("--skip-column \"{column}\": the table has no such column; it has {}", header.join(", "))]
    NotThere { column: String, header: Vec<String> },
    #[error("no column of {format}; its columns are {}", known.join(", "))]
    None { format: Format, known: Vec<String> },
    #[error("no column {}, without which {format} has no record", missing.join(", nor "))]
    Missing { missing: Vec<&'static str>, format: Format },
    #[error("columns are skipped of a table, and this file is none; leave out --skip-column, or write --layout csv")]
    NoTable,
}

/// The columns of a table: where the value of each field stands.
#[derive(Clone, Debug)]
pub struct Columns {
    format: Format,
    /// How many there are, also of those that are skipped.
    count: usize,
    members: Members,
}

type Members = Vec<(String, Member)>;

#[derive(Clone, Debug)]
enum Member {
    Cell { column: usize, is_flag: bool },
    Object(Members),
}

/// A field that a column may hold.
struct Field {
    path: Vec<Cow<'static, str>>,
    is_flag: bool,
    /// Whether its own name says which it is.
    is_unique: bool,
}

impl Field {
    fn name(&self) -> String {
        match self.path.last() {
            Some(name) if self.is_unique => name.clone().into_owned(),
            _ => self.path.join("."),
        }
    }

    fn is(&self, column: &str) -> bool {
        self.name() == column || (self.is_unique && self.path.join(".") == column)
    }
}

impl Columns {
    /// Finds the fields of a reader's format; columns that are named as skipped are not read.
    ///
    /// # Errors
    /// A column that is no field of the format, or two that are one; none at all, or none that each record needs; a
    /// column that is to be skipped, and is not there.
    pub fn find(reader: &Reader, header: &[&str], skipped: &[String]) -> Result<Self, WrongColumns> {
        let format = reader.format;
        let fields = fields(reader);
        let known = || fields.iter().map(Field::name).collect();
        let folds = format.source().is_some_and(|source| source.folds);
        let is_skipped = |column: &str| skipped.iter().any(|skipped| skipped == column);
        let is_absent = |skipped: &&String| *skipped != ALL_OTHERS && !header.contains(&skipped.as_str());
        if let Some(column) = skipped.iter().find(is_absent) {
            let header = header.iter().map(|column| (*column).to_owned()).collect();
            return Err(WrongColumns::NotThere { column: column.clone(), header });
        }
        let mut members = Members::new();
        for (place, column) in header.iter().enumerate().filter(|(_, column)| !is_skipped(column)) {
            let name = if folds { Cow::Owned(fold_path(column)) } else { Cow::Borrowed(*column) };
            match fields.iter().find(|field| field.is(&name)) {
                Some(field) if insert(&mut members, &field.path, place, field.is_flag) => (),
                Some(_) => return Err(WrongColumns::Twice { column: (*column).to_owned() }),
                None if is_skipped(ALL_OTHERS) => (),
                None => return Err(WrongColumns::Unknown { column: (*column).to_owned(), format, known: known() }),
            }
        }
        if members.is_empty() {
            return Err(WrongColumns::None { format, known: known() });
        }
        let missing = missing(format, &members);
        if !missing.is_empty() {
            return Err(WrongColumns::Missing { missing, format });
        }
        Ok(Self { format, count: header.len(), members })
    }

    /// How many cells a row has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether what stands in a column is read.
    pub fn reads(&self, column: usize) -> bool {
        reads(&self.members, column)
    }

    /// A row as the record that it states, in JSON.
    pub(super) fn record(&self, cells: &[&str]) -> String {
        let mut record = String::from("{");
        write(&mut record, &self.members, cells);
        if self.format == Format::CloudEvents {
            for (name, value) in [("specversion", "1.0"), ("type", cloudevents::USAGE_TYPE)] {
                let says = |(known, member): &(String, Member)| known == name && !cell(member, cells).is_empty();
                if !self.members.iter().any(says) {
                    write_name(&mut record, name);
                    push_text(&mut record, value);
                }
            }
        }
        record.push('}');
        record
    }
}

/// What a format's columns may hold.
fn fields(reader: &Reader) -> Vec<Field> {
    let mut fields = Vec::new();
    let Some(source) = reader.format.source() else {
        let of = |path: &[&'static str]| Field {
            path: path.iter().copied().map(Cow::Borrowed).collect(),
            is_flag: false,
            is_unique: true,
        };
        fields.extend(cloudevents::ATTRIBUTES.iter().map(|name| of(&[name])));
        fields.extend(cloudevents::CELLS.iter().map(|name| of(&["data", name])));
        fields.extend(UsageAttribute::ALL.iter().map(|it| of(&["data", "attributes", it.name()])));
        fields.extend(Meter::ALL.iter().map(|it| of(&["data", "quantities", it.name()])));
        return fields;
    };
    for name in CARRIED {
        fields.push(Field { path: vec![Cow::Borrowed(name)], is_flag: false, is_unique: false });
    }
    collect(&mut fields, &[], source.keep, &reader.customer_tags);
    fields
}

/// Collects the single values below a place of an allow-list. What stands in lists has no column.
fn collect(fields: &mut Vec<Field>, path: &[Cow<'static, str>], keep: &'static Keep, tags: &[String]) {
    let below = |name: Cow<'static, str>| path.iter().cloned().chain([name]).collect::<Vec<_>>();
    let leaf = |path, is_flag| Field { path, is_flag, is_unique: false };
    match keep {
        Keep::Object(members) | Keep::Body(members) => {
            for (name, keep) in *members {
                collect(fields, &below(Cow::Borrowed(name)), keep, tags);
            }
        }
        Keep::Nested(inner) => collect(fields, path, inner, tags),
        Keep::Tags => fields.extend(tags.iter().map(|tag| leaf(below(Cow::Owned(tag.clone())), false))),
        Keep::Name | Keep::Word | Keep::Time | Keep::Number => fields.push(leaf(path.to_vec(), false)),
        Keep::Flag => fields.push(leaf(path.to_vec(), true)),
        Keep::List(_) | Keep::Attributes(_) | Keep::Packed => (),
    }
}

/// The columns without which every row would be rejected. Which fields another source needs depends on the record.
fn missing(format: Format, members: &Members) -> Vec<&'static str> {
    if format != Format::CloudEvents {
        return Vec::new();
    }
    // Rows that say their type may all be corrections and voids.
    let of_usage = cloudevents::NEEDED_BY_USAGE.iter().filter(|_| !has(members, &["type"]));
    let needed = cloudevents::NEEDED.iter().chain(of_usage);
    needed.filter(|(path, _)| !has(members, path)).map(|(_, name)| *name).collect()
}

/// Whether a column stands at a path, or below it.
fn has(members: &Members, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    members.iter().any(|(name, member)| match member {
        _ if name != first => false,
        Member::Cell { .. } => rest.is_empty(),
        Member::Object(inner) => has(inner, rest),
    })
}

/// Puts a column at its path; false where one stands there already.
fn insert(members: &mut Members, path: &[Cow<'static, str>], column: usize, is_flag: bool) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let known = members.iter_mut().find(|(name, _)| name == first);
    match (known, rest.is_empty()) {
        (Some((_, Member::Object(inner))), false) => insert(inner, rest, column, is_flag),
        (Some(_), _) => false,
        (None, true) => {
            members.push((first.clone().into_owned(), Member::Cell { column, is_flag }));
            true
        }
        (None, false) => {
            let mut inner = Members::new();
            insert(&mut inner, rest, column, is_flag);
            members.push((first.clone().into_owned(), Member::Object(inner)));
            true
        }
    }
}

fn reads(members: &Members, wanted: usize) -> bool {
    members.iter().any(|(_, member)| match member {
        Member::Cell { column, .. } => *column == wanted,
        Member::Object(inner) => reads(inner, wanted),
    })
}

fn cell<'c>(member: &Member, cells: &[&'c str]) -> &'c str {
    match member {
        Member::Cell { column, .. } => cells.get(*column).copied().unwrap_or_default(),
        Member::Object(_) => "",
    }
}

/// Writes the members that a row states; an object of which it states nothing is none.
fn write(out: &mut String, members: &Members, cells: &[&str]) {
    for (name, member) in members {
        let before = out.len();
        write_name(out, name);
        match member {
            Member::Object(inner) => {
                out.push('{');
                let empty = out.len();
                write(out, inner, cells);
                let says = out.len() > empty;
                out.push('}');
                if !says {
                    out.truncate(before);
                }
            }
            Member::Cell { is_flag, .. } => match cell(member, cells) {
                "" => out.truncate(before),
                flag if *is_flag && flag.eq_ignore_ascii_case("true") => out.push_str("true"),
                flag if *is_flag && flag.eq_ignore_ascii_case("false") => out.push_str("false"),
                text => push_text(out, text),
            },
        }
    }
}

fn write_name(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    push_text(out, name);
    out.push(':');
}

fn fold_path(column: &str) -> String {
    column.split('.').map(fold).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Decoded;

    fn columns(reader: &Reader, header: &[&str]) -> Columns {
        Columns::find(reader, header, &[]).expect("columns")
    }

    #[test]
    fn a_row_of_the_canonical_record_is_the_event_that_a_line_states() {
        let header = ["source", "id", "time", "country", "input_tokens", "deployment", "data.product", "customer"];
        let columns = columns(&Reader::default(), &header);
        let row = ["s", "e \"1\"", "2026-05-01T00:00:00Z", "CH", "12", "east", "gpt", ""];
        let line = r#"{"specversion":"1.0","type":"apportion.usage.v1","source":"s","id":"e \"1\"","time":"2026-05-01T00:00:00Z","data":{"deployment":"east","product":"gpt","attributes":{"country":"CH"},"quantities":{"input_tokens":12}}}"#;
        let reader = Reader::default();
        let read = reader.read_row(&columns, &row.map(str::as_bytes));
        assert_eq!(read, reader.read_record(line.as_bytes()));
        assert!(matches!(read.as_slice(), [Decoded::Usage(_)]), "{read:?}");
    }

    #[test]
    fn fields_of_other_formats_are_named_by_their_paths() {
        let reader = Reader {
            format: Format::BedrockInvocation,
            source: "aws".into(),
            customer_tags: vec!["tenant".into()],
            ..Reader::default()
        };
        let header =
            ["requestId", "input.inputTokenCount", "output.outputTokenCount", "requestMetadata.tenant", "ce_time"];
        let record = columns(&reader, &header).record(&["r", "1", "", "c", "t"]);
        let expected =
            r#"{"requestId":"r","input":{"inputTokenCount":"1"},"requestMetadata":{"tenant":"c"},"ce_time":"t"}"#;
        assert_eq!(record, expected);
        let oci = Reader { format: Format::Oci, ..Reader::default() };
        let record = columns(&oci, &["opc-request-id", "chatResponse.usage.totalTokens"]).record(&["r", "3"]);
        assert_eq!(record, r#"{"opc_request_id":"r","chat_response":{"usage":{"total_tokens":"3"}}}"#);
        // A name that holds dots is one name; a flag is a flag.
        let agent = Reader { format: Format::AgentRuntime, ..Reader::default() };
        let record = columns(&agent, &["metrics.agent.runtime.vcpu.hours.used"]).record(&["0.5"]);
        assert_eq!(record, r#"{"metrics":{"agent.runtime.vcpu.hours.used":"0.5"}}"#);
        let spans = Reader { format: Format::OtelFlat, ..Reader::default() };
        assert_eq!(columns(&spans, &["is_error"]).record(&["True"]), r#"{"is_error":true}"#);
    }

    #[test]
    fn an_unknown_column_is_refused_unless_it_is_skipped() {
        let reader = Reader { format: Format::AzureGateway, ..Reader::default() };
        let find = |header: &[&str], skipped: &[&str]| {
            Columns::find(&reader, header, &skipped.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
        };
        let header = ["CorrelationId", "RequestMessages"];
        let refused = find(&header, &[]).map(|_| ()).map_err(|error| error.to_string());
        let told = "column \"RequestMessages\": azure_gateway has no such field; its columns are ce_id, ce_source, \
                    ce_time, TimeGenerated, CorrelationId, ";
        assert!(refused.as_ref().is_err_and(|error| error.starts_with(told)), "{refused:?}");
        for skipped in ["RequestMessages", ALL_OTHERS] {
            let columns = find(&header, &[skipped]).expect("columns");
            assert_eq!((columns.count(), columns.reads(0), columns.reads(1)), (2, true, false));
        }
        let absent = find(&header, &["RequestMessage"]).map(|_| ()).map_err(|error| error.to_string());
        let told =
            "--skip-column \"RequestMessage\": the table has no such column; it has CorrelationId, RequestMessages";
        assert_eq!(absent, Err(told.to_owned()));
        assert!(matches!(find(&["a"], &[ALL_OTHERS]), Err(WrongColumns::None { .. })));
        let twice = find(&["CorrelationId", "CorrelationId"], &[]);
        assert!(matches!(twice, Err(WrongColumns::Twice { .. })), "{twice:?}");
    }

    #[test]
    fn a_table_without_a_column_that_each_row_needs_is_refused() {
        let whole = ["id", "source", "time", "deployment", "product", "requests"];
        let find = |header: &[&str]| {
            Columns::find(&Reader::default(), header, &[]).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(find(&whole), Ok(()));
        for (column, told) in whole.iter().zip(["id", "source", "time", "deployment", "product", "of a meter, such as"])
        {
            let header: Vec<&str> = whole.iter().copied().filter(|it| it != column).collect();
            let refused = find(&header);
            let told = format!("no column {told}");
            assert!(refused.as_ref().is_err_and(|error| error.starts_with(&told)), "{refused:?}");
            // What says its type may be a void, which has no deployment.
            let typed = [header.as_slice(), &["type", "voids"]].concat();
            assert_eq!(find(&typed).is_ok(), !["id", "source"].contains(column), "{column}");
        }
        let both = "no column time, nor product, without which cloudevents has no record";
        assert_eq!(find(&["id", "source", "deployment", "requests"]), Err(both.to_owned()));
    }

    #[test]
    fn a_row_that_does_not_fit_its_header_is_rejected() {
        let columns = columns(&Reader::default(), &["type", "id", "source"]);
        for (row, detail) in
            [([b"1".as_slice()].as_slice(), "1 cells; the header names 3"), (&[b"1", b"\xff", b"1"], "must be UTF-8")]
        {
            let read = Reader::default().read_row(&columns, row);
            let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
            assert_eq!((rejection.detail.as_str(), rejection.redacted.len()), (detail, 0));
        }
    }
}
