//! Random histories: every figure that the product answers is the auditor's.

use crate::compare::differences;
use crate::draw::setting;
use crate::generate::generate;
use crate::model::History;
use crate::shrink::{shrunk, write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many without being told: those of the pure part, which are optimised, are the many.
const USUAL: u64 = if cfg!(feature = "service") { 20 } else { 2_000 };

#[test]
fn random_histories_come_out_as_audited() {
    let (first, count) = (setting("SEED", 1), setting("HISTORIES", USUAL));
    let (next, most) = (AtomicU64::new(first), setting("DIFFERENCES", 1));
    let failed: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = failed.lock().expect("a list").len() as u64 >= most;
                    if seed >= first + count || is_enough {
                        break;
                    }
                    let history = generate(seed);
                    if let Some(difference) = differences(&history).into_iter().next() {
                        failed.lock().expect("a list").push((seed, difference));
                    }
                }
            });
        }
    });
    println!("{count} histories from seed {first} in {:.1} s", started.elapsed().as_secs_f32());
    let failed = failed.into_inner().expect("a list");
    for (seed, difference) in &failed {
        println!("seed {seed}: {difference}");
    }
    let Some((seed, _)) = failed.first() else { return };
    // What is made small goes on to differ in the same way: refused, stopped, or in a figure.
    let kind = |history: &History| differences(history).first().map(|it| way(it));
    let whole = generate(*seed);
    let of_whole = kind(&whole);
    let small = shrunk(whole, &|it| kind(it) == of_whole);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{seed}"));
    let _ = std::fs::remove_dir_all(&folder);
    write(&small, &folder).expect("a folder");
    panic!("seed {seed}, made small, is in {}:\n{}", folder.display(), differences(&small).join("\n"));
}

/// In which way a history differs.
fn way(difference: &str) -> String {
    let Some((key, figures)) = difference.split_once(": ") else { return difference.to_owned() };
    match key {
        "refused" => "refused".to_owned(),
        _ if key.ends_with("error") => figures.to_owned(),
        _ => "figure".to_owned(),
    }
}
