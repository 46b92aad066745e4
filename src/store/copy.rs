//! Rows in the binary format of COPY.
//!
//! Binary rather than text: keys, instants and integers go over as they are, no escaping can go wrong, and
//! Postgres parses nothing. The format: a header, per row its number of fields and per field its length and
//! bytes, all big-endian, then a trailer (https://www.postgresql.org/docs/current/sql-copy.html).

use super::StoreError;
use crate::domain::period::Instant;
use sqlx::PgConnection;
use std::borrow::Cow;
use uuid::Uuid;

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres counts from.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// How many bytes are sent at once.
const CHUNK_BYTES: usize = 1 << 16;

/// What stands before the rows: a signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The numbers of types that arrays have (pg_type.dat of Postgres's sources): they are the same on every server.
const INT4: i32 = 23;
const INT8: i32 = 20;
const JSONB: i32 = 3802;

/// How many bytes stand before an array's elements.
const ARRAY_HEADER_BYTES: usize = 20;

/// Collects rows for one COPY into some columns of a table.
pub(super) struct CopyRows {
    table: Cow<'static, str>,
    columns: &'static [&'static str],
    bytes: Vec<u8>,
}

impl CopyRows {
    pub(super) fn new(table: impl Into<Cow<'static, str>>, columns: &'static [&'static str]) -> Self {
        Self { table: table.into(), columns, bytes: HEADER.to_vec() }
    }

    /// Begins a row: a field for each column has to follow, in their order.
    pub(super) fn row(&mut self) {
        // A table has at most 1,600 columns.
        let fields = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        self.bytes.extend_from_slice(&fields.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.field(value.as_bytes());
    }

    pub(super) fn optional_uuid(&mut self, value: Option<Uuid>) {
        match value {
            Some(value) => self.uuid(value),
            None => self.null(),
        }
    }

    pub(super) fn instant(&mut self, value: Instant) {
        // Instants are read from four-digit years, far from the ends of an i64.
        self.int8(value.timestamp_micros().saturating_sub(POSTGRES_EPOCH_MICROS));
    }

    pub(super) fn optional_instant(&mut self, value: Option<Instant>) {
        match value {
            Some(value) => self.instant(value),
            None => self.null(),
        }
    }

    pub(super) fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    pub(super) fn bytea(&mut self, value: &[u8]) {
        self.field(value);
    }

    pub(super) fn json(&mut self, value: Option<&str>) {
        match value {
            // The leading one is the version of jsonb's own binary format.
            Some(text) => {
                self.length(text.len().saturating_add(1));
                self.bytes.push(1);
                self.bytes.extend_from_slice(text.as_bytes());
            }
            None => self.null(),
        }
    }

    /// An array of one dimension.
    pub(super) fn int4_array(&mut self, values: impl ExactSizeIterator<Item = i32>) {
        self.array(INT4, 8, values, |bytes, value| {
            bytes.extend_from_slice(&4_i32.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        });
    }

    /// An array of one dimension.
    pub(super) fn int8_array(&mut self, values: impl ExactSizeIterator<Item = i64>) {
        self.array(INT8, 12, values, |bytes, value| {
            bytes.extend_from_slice(&8_i32.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        });
    }

    /// An array of one dimension; null where all of its places are empty.
    pub(super) fn json_array(&mut self, values: &[Option<String>]) {
        if values.iter().all(Option::is_none) {
            return self.null();
        }
        let mut elements = Self { table: Cow::default(), columns: self.columns, bytes: Vec::new() };
        values.iter().for_each(|value| elements.json(value.as_deref()));
        self.length(elements.bytes.len().saturating_add(ARRAY_HEADER_BYTES));
        self.array_header(JSONB, values.len());
        self.bytes.extend_from_slice(&elements.bytes);
    }

    /// An array whose elements each take so many bytes, with their lengths.
    fn array<T>(
        &mut self,
        element: i32,
        element_bytes: usize,
        values: impl ExactSizeIterator<Item = T>,
        put: impl Fn(&mut Vec<u8>, T),
    ) {
        self.length(values.len().saturating_mul(element_bytes).saturating_add(ARRAY_HEADER_BYTES));
        self.array_header(element, values.len());
        values.for_each(|value| put(&mut self.bytes, value));
    }

    /// How many dimensions there are, whether any element is null, of which type they are, and the length and lower bound.
    fn array_header(&mut self, element: i32, length: usize) {
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        for number in [1, i32::from(element == JSONB), element, length, 1] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn field(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    fn length(&mut self, bytes: usize) {
        // A message has at most a mebibyte, and an array a place for each of a batch's messages at most, so no field comes
        // near the limit of an i32; were it otherwise, Postgres would refuse the COPY as malformed.
        self.bytes.extend_from_slice(&i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes());
    }

    /// Sends the rows; nothing is sent where there are none.
    ///
    /// # Errors
    /// The database's; the transaction is then lost.
    pub(super) async fn send(mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if self.bytes.len() == HEADER.len() {
            return Ok(());
        }
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let columns = self.columns.join(", ");
        let statement = format!("copy {} ({columns}) from stdin (format binary)", self.table);
        let mut copy = connection.copy_in_raw(&statement).await?;
        for chunk in self.bytes.chunks(CHUNK_BYTES) {
            copy.send(chunk).await?;
        }
        copy.finish().await?;
        Ok(())
    }
}
