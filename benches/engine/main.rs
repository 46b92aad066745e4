//! How fast the engine is. Questions come by standard input, one a line, and each is answered by a line of JSON:
//! `benches/engine.py` asks DuckDB the same in turn.

mod charges;
mod rollups;

use charges::Charges;
use rollups::Rollups;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::time::Instant;

/// How many charges there are.
const CHARGES: u32 = 10_000_000;

fn main() {
    let charges = Charges::new(CHARGES);
    let items = charges.items();
    let rollups = Rollups::new();
    for question in std::io::stdin().lock().lines() {
        let question = question.expect("a line");
        let begin = Instant::now();
        let answer = match question.as_str() {
            "capped" => by_cloud(charges.one_by_one(&items, true)),
            "summed" => by_cloud(charges.summed(&items)),
            "uncapped" => by_cloud(charges.one_by_one(&items, false)),
            "rollups" => json!(rollups.owed().to_string()),
            file => {
                charges.write(&items, file).unwrap_or_else(|error| panic!("{file}: {error}"));
                json!(items.len())
            }
        };
        let answer = json!({ "seconds": begin.elapsed().as_secs_f64(), "answer": answer });
        writeln!(std::io::stdout(), "{answer}").expect("somebody reads");
    }
}

fn by_cloud(shares: charges::Shares) -> Value {
    shares.into_iter().map(|((month, cloud), amount)| json!([month, cloud, amount.to_string()])).collect()
}
