//! Archives as Parquet files: the events of a generation in the order of occurrence, each with its names in words.

use crate::domain::period::{Instant, start_of_hour};
use crate::store::archives::ArchivedEvent;
use chrono::DateTime;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use uuid::Uuid;

/// How many events are in a row group: what is held in memory at once.
const GROUP_ROWS: usize = 1 << 16;

/// The columns, in the order in which they are written and read below.
const SCHEMA: &str = "message usage {
  required fixed_len_byte_array(16) event_key (uuid);
  required fixed_len_byte_array(16) content_hash (uuid);
  required byte_array source (string);
  required byte_array event_id (string);
  required int64 occurred_at (timestamp(micros, true));
  optional int64 ended_at (timestamp(micros, true));
  required int64 batch_id;
  required int64 recorded_at (timestamp(micros, true));
  required int32 dimension_id;
  required byte_array deployment (string);
  required byte_array product (string);
  required byte_array service_tier (string);
  optional byte_array outcome (string);
  required byte_array attributes (json);
  required byte_array rules (string);
  required int32 customer_id;
  required byte_array customer (string);
  required int32 input_tokens;
  required int32 cached_input_tokens;
  required int32 output_tokens;
  required int32 reasoning_tokens;
  required int32 requests;
  required byte_array other_quantities (string);
}";

/// Where the schema has `occurred_at`.
const OCCURRED_AT: usize = 4;

/// Writes events in the order in which they come.
pub(super) struct ArchiveWriter {
    file: SerializedFileWriter<File>,
    rows: Vec<ArchivedEvent>,
}

impl ArchiveWriter {
    pub(super) fn new(file: File) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        Ok(Self {
            file: SerializedFileWriter::new(file, schema, Arc::new(properties))?,
            rows: Vec::with_capacity(GROUP_ROWS),
        })
    }

    pub(super) fn push(&mut self, event: ArchivedEvent) -> Result<()> {
        self.rows.push(event);
        if self.rows.len() >= GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Ends the file; it is on the disk then.
    pub(super) fn end(mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.end_group()?;
        }
        Ok(self.file.into_inner()?.sync_all()?)
    }

    fn end_group(&mut self) -> Result<()> {
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(GROUP_ROWS));
        let mut to = GroupWriter { group: self.file.next_row_group()?, rows: &rows };
        to.required::<FixedLenByteArrayType>(|row| key(row.event_key))?;
        to.required::<FixedLenByteArrayType>(|row| key(row.content_hash))?;
        to.text(|row| &row.source)?;
        to.text(|row| &row.event_id)?;
        to.required::<Int64Type>(|row| row.occurred_at.timestamp_micros())?;
        to.optional::<Int64Type>(|row| row.ended_at.map(|at| at.timestamp_micros()))?;
        to.required::<Int64Type>(|row| row.batch_id)?;
        to.required::<Int64Type>(|row| row.recorded_at.timestamp_micros())?;
        to.required::<Int32Type>(|row| row.dimension_id)?;
        to.text(|row| &row.deployment)?;
        to.text(|row| &row.product)?;
        to.text(|row| &row.service_tier)?;
        to.optional::<ByteArrayType>(|row| row.outcome.as_deref().map(ByteArray::from))?;
        to.text(|row| &row.attributes)?;
        to.text(|row| &row.rules)?;
        to.required::<Int32Type>(|row| row.customer_id)?;
        to.text(|row| &row.customer)?;
        for place in 0..5 {
            to.required::<Int32Type>(|row| row.columns[place])?;
        }
        to.text(|row| &row.other_quantities)?;
        to.group.close()?;
        Ok(())
    }
}

struct GroupWriter<'a> {
    group: SerializedRowGroupWriter<'a, File>,
    rows: &'a [ArchivedEvent],
}

impl GroupWriter<'_> {
    fn text(&mut self, text: impl Fn(&ArchivedEvent) -> &String) -> Result<()> {
        self.required::<ByteArrayType>(|row| ByteArray::from(text(row).as_str()))
    }

    fn required<T: DataType>(&mut self, value: impl Fn(&ArchivedEvent) -> T::T) -> Result<()> {
        let values: Vec<T::T> = self.rows.iter().map(value).collect();
        self.column::<T>(&values, None)
    }

    fn optional<T: DataType>(&mut self, value: impl Fn(&ArchivedEvent) -> Option<T::T>) -> Result<()> {
        let cells: Vec<Option<T::T>> = self.rows.iter().map(value).collect();
        let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
        let values: Vec<T::T> = cells.into_iter().flatten().collect();
        self.column::<T>(&values, Some(&levels))
    }

    fn column<T: DataType>(&mut self, values: &[T::T], levels: Option<&[i16]>) -> Result<()> {
        let mut column = self.group.next_column()?.ok_or_else(|| wrong("a column more than the schema has"))?;
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }
}

fn key(key: Uuid) -> FixedLenByteArray {
    ByteArray::from(key.as_bytes().to_vec()).into()
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Reads what [`ArchiveWriter`] wrote.
pub(super) struct ArchiveReader {
    file: SerializedFileReader<File>,
}

impl ArchiveReader {
    pub(super) fn new(file: File) -> Result<Self> {
        let file = SerializedFileReader::new(file)?;
        let written = Arc::new(parse_message_type(SCHEMA)?);
        match file.metadata().file_metadata().schema_descr().root_schema().get_fields() == written.get_fields() {
            true => Ok(Self { file }),
            false => Err(wrong("not the columns of an archive of usage")),
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.file.num_row_groups()
    }

    /// Whether a row group may have events that occurred in one of some hours.
    pub(super) fn may_have(&self, group: usize, hours: &HashSet<Instant>) -> bool {
        let at = |micros: &i64| DateTime::from_timestamp_micros(*micros).map(start_of_hour);
        let bounds = match self.file.metadata().row_group(group).column(OCCURRED_AT).statistics() {
            Some(Statistics::Int64(found)) => found.min_opt().and_then(at).zip(found.max_opt().and_then(at)),
            _ => None,
        };
        bounds.is_none_or(|(first, last)| hours.iter().any(|hour| (first..=last).contains(hour)))
    }

    pub(super) fn read(&self, group: usize) -> Result<Vec<ArchivedEvent>> {
        let group = self.file.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).map_err(|_| wrong("a negative number of rows"))?;
        let mut from = GroupReader { group: group.as_ref(), rows, column: 0 };
        let mut keys = from.required::<FixedLenByteArrayType>()?;
        let mut hashes = from.required::<FixedLenByteArrayType>()?;
        let [mut sources, mut ids] = [from.texts()?, from.texts()?];
        let mut occurred = from.required::<Int64Type>()?;
        let mut ended = from.optional::<Int64Type>()?;
        let mut batches = from.required::<Int64Type>()?;
        let mut recorded = from.required::<Int64Type>()?;
        let mut dimensions = from.required::<Int32Type>()?;
        let [mut deployments, mut products, mut tiers] = [from.texts()?, from.texts()?, from.texts()?];
        let mut outcomes = from.optional::<ByteArrayType>()?;
        let [mut attributes, mut rules] = [from.texts()?, from.texts()?];
        let mut customer_ids = from.required::<Int32Type>()?;
        let mut customers = from.texts()?;
        let mut columns = [
            from.required::<Int32Type>()?,
            from.required::<Int32Type>()?,
            from.required::<Int32Type>()?,
            from.required::<Int32Type>()?,
            from.required::<Int32Type>()?,
        ];
        let mut others = from.texts()?;
        let mut row = || {
            let [input, cached, output, reasoning, requests] = columns.each_mut().map(Iterator::next);
            Some(ArchivedEvent {
                event_key: uuid(&keys.next()?)?,
                content_hash: uuid(&hashes.next()?)?,
                source: text(&sources.next()?)?,
                event_id: text(&ids.next()?)?,
                occurred_at: DateTime::from_timestamp_micros(occurred.next()?)?,
                ended_at: match ended.next()? {
                    Some(micros) => Some(DateTime::from_timestamp_micros(micros)?),
                    None => None,
                },
                batch_id: batches.next()?,
                recorded_at: DateTime::from_timestamp_micros(recorded.next()?)?,
                dimension_id: dimensions.next()?,
                deployment: text(&deployments.next()?)?,
                product: text(&products.next()?)?,
                service_tier: text(&tiers.next()?)?,
                outcome: match outcomes.next()? {
                    Some(outcome) => Some(text(&outcome)?),
                    None => None,
                },
                attributes: text(&attributes.next()?)?,
                rules: text(&rules.next()?)?,
                customer_id: customer_ids.next()?,
                customer: text(&customers.next()?)?,
                columns: [input?, cached?, output?, reasoning?, requests?],
                other_quantities: text(&others.next()?)?,
            })
        };
        (0..rows).map(|_| row().ok_or_else(|| wrong("a cell that is none of an archive of usage"))).collect()
    }
}

/// Reads the columns of a row group one after another.
struct GroupReader<'a> {
    group: &'a dyn RowGroupReader,
    rows: usize,
    column: usize,
}

impl GroupReader<'_> {
    fn texts(&mut self) -> Result<std::vec::IntoIter<ByteArray>> {
        self.required::<ByteArrayType>()
    }

    fn required<T: DataType>(&mut self) -> Result<std::vec::IntoIter<T::T>> {
        Ok(self.cells::<T>(None)?.into_iter())
    }

    fn optional<T: DataType>(&mut self) -> Result<impl Iterator<Item = Option<T::T>> + use<T>> {
        let mut levels = Vec::new();
        let mut values = self.cells::<T>(Some(&mut levels))?.into_iter();
        Ok(levels.into_iter().map(move |level| if level > 0 { values.next() } else { None }))
    }

    fn cells<T: DataType>(&mut self, mut levels: Option<&mut Vec<i16>>) -> Result<Vec<T::T>> {
        let mut column = get_typed_column_reader::<T>(self.group.get_column_reader(self.column)?);
        self.column += 1;
        let mut values = Vec::with_capacity(self.rows);
        let mut read = 0;
        while read < self.rows {
            let (records, _, _) = column.read_records(self.rows - read, levels.as_deref_mut(), None, &mut values)?;
            if records == 0 {
                return Err(wrong("a column that ends too early"));
            }
            read += records;
        }
        Ok(values)
    }
}

fn uuid(bytes: &FixedLenByteArray) -> Option<Uuid> {
    Uuid::from_slice(bytes.data()).ok()
}

fn text(bytes: &ByteArray) -> Option<String> {
    bytes.as_utf8().ok().map(str::to_owned)
}
