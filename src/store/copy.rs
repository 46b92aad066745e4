//! Rows in the binary format of COPY.
//!
//! Binary rather than text: keys, instants and integers go over as they are, no escaping can go wrong, and
//! Postgres parses nothing. The format: a header, per row its number of fields and per field its length and
//! bytes, all big-endian, then a trailer (https://www.postgresql.org/docs/current/sql-copy.html).

use super::StoreError;
use crate::domain::period::Instant;
use sqlx::PgConnection;
use uuid::Uuid;

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres counts from.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// How many bytes are sent at once.
const CHUNK_BYTES: usize = 1 << 18;

/// What stands before the rows: a signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Collects rows for one COPY into some columns of a table.
pub(super) struct CopyRows {
    table: &'static str,
    columns: &'static [&'static str],
    bytes: Vec<u8>,
}

impl CopyRows {
    pub(super) fn new(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self { table, columns, bytes: HEADER.to_vec() }
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

    fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn field(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    fn length(&mut self, bytes: usize) {
        // A message has at most a mebibyte, so no field comes near the limit of an i32; were it otherwise,
        // Postgres would refuse the COPY as malformed.
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
