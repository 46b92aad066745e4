//! Parquet: tables whose cells have types. A cell becomes the text that it would be in CSV.

use super::FileReader;
use super::rows::{OpenError, Rows};
use crate::sources::{Columns, Decoded, Reader};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use num_bigint::BigInt;
use num_traits::Signed;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// What every Parquet file begins with.
pub(super) const PARQUET_MAGIC: &[u8] = b"PAR1";

/// How many rows are read of a column at a time.
const BATCH_ROWS: usize = 1024;

/// How long a column of a row group may be, unpacked: a page of it is held in memory, and may be all of it.
const MAX_COLUMN_BYTES: i64 = 1 << 30;

/// The rows of a file. Columns that are skipped are not read at all.
pub(super) struct ParquetRows {
    file: SerializedFileReader<File>,
    columns: Columns,
    max_bytes: usize,
    /// How far the file was read.
    bytes_read: Arc<AtomicU64>,
    /// The next row group, and how many rows of the one before it are still to be read.
    group: usize,
    rows_left: usize,
    /// By column; none where it is skipped.
    readers: Vec<Option<ColumnReader>>,
    /// By column: the cells that were read, and how many rows of them are done.
    cells: Vec<Vec<Cell>>,
    done: usize,
    row: u64,
}

/// What stands in a cell.
enum Cell {
    Empty,
    Text(String),
    /// Shared with the page that it stands in, so that a long one that is repeated stands in memory once.
    Bytes(ByteArray),
}

impl Cell {
    fn bytes(&self) -> &[u8] {
        match self {
            Cell::Empty => b"",
            Cell::Text(text) => text.as_bytes(),
            Cell::Bytes(bytes) => bytes.data(),
        }
    }
}

impl ParquetRows {
    pub(super) fn open(file: File, bytes_read: Arc<AtomicU64>, how: &FileReader) -> Result<Self, OpenError> {
        let file = SerializedFileReader::new(file).map_err(io::Error::from)?;
        let described = file.metadata().file_metadata().schema_descr().columns();
        let names: Vec<String> = described.iter().map(|column| column.path().string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns = Columns::find(&how.reader, &names, &how.skipped_columns)
            .map_err(|source| OpenError::Columns { line: None, source })?;
        for (_, column) in (0..).zip(described).filter(|(place, _)| columns.reads(*place)) {
            if !is_readable(column) {
                let detail = format!("column \"{}\" is of a type that is not read", column.path().string());
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail).into());
            }
        }
        let (whole, groups) = (file.metadata().file_metadata().num_rows(), file.metadata().row_groups());
        if groups.iter().try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows())) != Some(whole) {
            let detail = format!("the row groups have not the {whole} rows of the file");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail).into());
        }
        let cells = names.iter().map(|_| Vec::new()).collect();
        let max_bytes = how.reader.format.max_bytes();
        let readers = Vec::new();
        Ok(Self { file, columns, max_bytes, bytes_read, group: 0, rows_left: 0, readers, cells, done: 0, row: 0 })
    }

    /// How many rows were read of each column and are not done.
    fn batch_rows(&self) -> usize {
        self.cells.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Begins the next row group; false where there is none.
    fn next_group(&mut self) -> Result<bool, ParquetError> {
        if self.group == self.file.num_row_groups() {
            return Ok(false);
        }
        let group = self.file.get_row_group(self.group)?;
        let about = group.metadata();
        self.readers.clear();
        for (place, column) in about.columns().iter().enumerate() {
            let is_read = self.columns.reads(place);
            if is_read && column.uncompressed_size() > MAX_COLUMN_BYTES {
                let (path, size) = (column.column_path().string(), column.uncompressed_size());
                let most = format!("may have {MAX_COLUMN_BYTES}; write smaller row groups");
                return Err(ParquetError::General(format!(
                    "column \"{path}\" of a row group has {size} bytes; it {most}"
                )));
            }
            // What is damaged is told, before the library takes it for granted.
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            if start < 0 || column.compressed_size() < 0 {
                let path = column.column_path().string();
                let detail = format!("column \"{path}\" of a row group begins or ends before the file does");
                return Err(ParquetError::General(detail));
            }
            self.readers.push(is_read.then(|| group.get_column_reader(place)).transpose()?);
        }
        self.rows_left = usize::try_from(about.num_rows())
            .map_err(|_| ParquetError::General(format!("a row group of {} rows", about.num_rows())))?;
        let packed = about.columns().iter().map(|column| u64::try_from(column.compressed_size()).unwrap_or(0)).sum();
        self.bytes_read.fetch_add(packed, Ordering::Relaxed);
        self.group = self.group.saturating_add(1);
        Ok(true)
    }

    /// Reads the next rows of each column; false at the end of the file.
    fn next_batch(&mut self) -> Result<bool, ParquetError> {
        while self.rows_left == 0 {
            if !self.next_group()? {
                return Ok(false);
            }
        }
        let rows = self.rows_left.min(BATCH_ROWS);
        let described = self.file.metadata().file_metadata().schema_descr().columns();
        self.done = 0;
        for ((reader, cells), column) in self.readers.iter_mut().zip(&mut self.cells).zip(described) {
            cells.clear();
            let Some(reader) = reader else { continue };
            read_cells(reader, column, rows, cells)?;
            if cells.len() != rows {
                let detail = format!("column \"{}\" has fewer rows than its row group", column.path().string());
                return Err(ParquetError::EOF(detail));
            }
        }
        self.rows_left = self.rows_left.saturating_sub(rows);
        Ok(true)
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let place = self.done.saturating_sub(1);
        self.cells.iter().map(move |cells| cells.get(place).map_or(b"".as_slice(), Cell::bytes))
    }
}

impl Rows for ParquetRows {
    fn advance(&mut self) -> io::Result<bool> {
        if self.done == self.batch_rows() && !self.next_batch()? {
            return Ok(false);
        }
        self.done = self.done.saturating_add(1);
        self.row = self.row.saturating_add(1);
        Ok(true)
    }

    fn place(&self) -> u64 {
        self.row
    }

    fn bytes(&self) -> usize {
        self.cells().map(<[u8]>::len).fold(0, usize::saturating_add)
    }

    fn read(&self, reader: &Reader) -> Vec<Decoded> {
        if self.bytes() > self.max_bytes {
            return reader.reject_too_long();
        }
        reader.read_row(&self.columns, &self.cells().collect::<Vec<_>>())
    }
}

/// Whether a column holds single values of a type that has a text.
fn is_readable(column: &ColumnDescriptor) -> bool {
    let is_single = column.max_rep_level() == 0;
    let logical = match column.logical_type_ref() {
        None => true,
        Some(LogicalType::Uuid) => column.type_length() == 16,
        Some(
            LogicalType::String
            | LogicalType::Enum
            | LogicalType::Decimal(_)
            | LogicalType::Date
            | LogicalType::Timestamp(_)
            | LogicalType::Integer(_),
        ) => true,
        Some(_) => false,
    };
    let times = [ConvertedType::TIME_MILLIS, ConvertedType::TIME_MICROS, ConvertedType::INTERVAL];
    is_single && logical && !times.contains(&column.converted_type())
}

/// Reads as many cells of a column.
fn read_cells(
    reader: &mut ColumnReader,
    column: &ColumnDescriptor,
    rows: usize,
    cells: &mut Vec<Cell>,
) -> Result<(), ParquetError> {
    match reader {
        ColumnReader::BoolColumnReader(reader) => typed(reader, column, rows, cells, |flag| text(&flag)),
        ColumnReader::Int32ColumnReader(reader) => typed(reader, column, rows, cells, |number| {
            let unsigned = u32::from_ne_bytes(number.to_ne_bytes());
            integer(column, number.into(), unsigned.into())
        }),
        ColumnReader::Int64ColumnReader(reader) => typed(reader, column, rows, cells, |number| {
            let unsigned = u64::from_ne_bytes(number.to_ne_bytes());
            integer(column, number, unsigned)
        }),
        ColumnReader::Int96ColumnReader(reader) => {
            typed(reader, column, rows, cells, |at| instant(DateTime::from_timestamp_nanos(at.to_nanos()), true))
        }
        // The shortest decimal that is this float and no other.
        ColumnReader::FloatColumnReader(reader) => typed(reader, column, rows, cells, |number| text(&number)),
        ColumnReader::DoubleColumnReader(reader) => typed(reader, column, rows, cells, |number| text(&number)),
        ColumnReader::ByteArrayColumnReader(reader) => {
            typed(reader, column, rows, cells, |bytes| of_bytes(column, bytes))
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            typed(reader, column, rows, cells, |bytes| of_bytes(column, bytes.into()))
        }
    }
}

fn typed<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    rows: usize,
    cells: &mut Vec<Cell>,
    cell: impl Fn(T::T) -> Cell,
) -> Result<(), ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let (records, _, _) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    let mut values = values.into_iter().map(cell);
    let most = column.max_def_level();
    if most == 0 {
        cells.extend(values);
    } else {
        let is_there = levels.into_iter().take(records).map(|level| level == most);
        cells.extend(is_there.map(|there| there.then(|| values.next()).flatten().unwrap_or(Cell::Empty)));
    }
    Ok(())
}

fn text(value: &impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

/// A whole number as what its column says that it counts.
fn integer(column: &ColumnDescriptor, signed: i64, unsigned: u64) -> Cell {
    let of_unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => DateTime::from_timestamp_millis(signed),
        TimeUnit::MICROS => DateTime::from_timestamp_micros(signed),
        TimeUnit::NANOS => Some(DateTime::from_timestamp_nanos(signed)),
    };
    let at = |at: Option<DateTime<_>>, is_utc| at.map_or_else(|| text(&signed), |at| instant(at, is_utc));
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Timestamp(kind)), _) => at(of_unit(&kind.unit), kind.is_adjusted_to_u_t_c),
        (_, ConvertedType::TIMESTAMP_MILLIS) => at(of_unit(&TimeUnit::MILLIS), true),
        (_, ConvertedType::TIMESTAMP_MICROS) => at(of_unit(&TimeUnit::MICROS), true),
        (_, ConvertedType::DATE) => {
            let date = TimeDelta::try_days(signed).and_then(|days| NaiveDate::default().checked_add_signed(days));
            date.map_or_else(|| text(&signed), |date| text(&date))
        }
        (_, ConvertedType::DECIMAL) => decimal(&signed.into(), column.type_scale()),
        (_, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64) => {
            text(&unsigned)
        }
        _ => text(&signed),
    }
}

/// An instant, or a time of which no zone is known.
fn instant(at: DateTime<chrono::Utc>, is_utc: bool) -> Cell {
    match is_utc {
        true => Cell::Text(at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        false => Cell::Text(at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string()),
    }
}

fn of_bytes(column: &ColumnDescriptor, bytes: ByteArray) -> Cell {
    if column.logical_type_ref() == Some(&LogicalType::Uuid) {
        return Uuid::from_slice(bytes.data()).map_or(Cell::Bytes(bytes), |uuid| text(&uuid));
    }
    match column.converted_type() == ConvertedType::DECIMAL && !bytes.is_empty() {
        true => decimal(&BigInt::from_signed_bytes_be(bytes.data()), column.type_scale()),
        false => Cell::Bytes(bytes),
    }
}

/// A decimal of any width.
fn decimal(number: &BigInt, scale: i32) -> Cell {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", number.magnitude(), width = scale.saturating_add(1));
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    let sign = if number.is_negative() { "-" } else { "" };
    Cell::Text(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let told = |number: i64, scale| String::from_utf8(decimal(&number.into(), scale).bytes().to_vec());
        let expected = ["12.345", "-0.05", "0", "-70"].map(|it| Ok(it.to_owned()));
        assert_eq!([told(12_345, 3), told(-5, 2), told(0, 0), told(-70, 0)], expected);
        // Wider than any integer of the machine.
        let wide = BigInt::from_signed_bytes_be(&[[0xff].as_slice(), &[0; 17]].concat());
        assert_eq!(decimal(&wide, 2).bytes(), b"-871122859317602466466238995025326621327.36".as_slice());
    }
}
