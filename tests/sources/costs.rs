//! The cost rows of a file, for all tests that read some.

use apportion::domain::cloud_cost::CloudCost;
use apportion::sources::CostColumns;

/// The cost rows of a file, each a cost or why it is none.
pub fn costs(bytes: &[u8]) -> Vec<Result<CloudCost, String>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().cloned().map_err(|error| error.to_string());
    match header.and_then(|header| CostColumns::find(&header).map_err(|wrong| wrong.to_string())) {
        Err(why) => vec![Err(why)],
        Ok(columns) => {
            let cost = |row: &csv::StringRecord| columns.cost(row).map_err(|wrong| wrong.to_string());
            let rows = reader.records();
            rows.map(|row| row.map_err(|error| error.to_string()).and_then(|row| cost(&row))).collect()
        }
    }
}
