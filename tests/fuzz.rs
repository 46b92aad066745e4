//! A fuzzer of every decoder: records changed at random under a seed. None panics, hangs, takes more memory than its
//! message allows, or tells of the same bytes something else; and what is kept of a rejection is no usage.
//!
//! `INPUTS=N` tries so many, `SEED=S` from that seed on; `make fuzz` tries ten million. An input that fails is told by
//! its seed, and `SEED=S INPUTS=1` tries it again.

#[path = "sources/beside.rs"]
mod beside;
#[path = "fuzz/change.rs"]
mod change;
#[path = "sources/costs.rs"]
mod costs;
#[path = "audit/draw.rs"]
mod draw;
#[path = "sources/protobuf.rs"]
mod protobuf;
#[path = "fuzz/records.rs"]
mod records;

use apportion::domain::usage::UsageMessage;
use apportion::sources::{Context, Decoded, Format, MAX_NAME_BYTES, decode};
use beside::beside;
use change::input;
use draw::setting;
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How long a decoder may take for a message of at most a mebibyte, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(10);

/// How much memory may be held at once for a message of at most 64 KiB, packed or not.
const MOST_MEMORY: usize = 16 << 20;

/// Without being told.
const USUAL: u64 = 20_000;

/// Events in structured mode say so in a header.
fn context() -> Context<'static> {
    Context { headers: &[("content-type", b"application/cloudevents+json")], ..beside() }
}

/// What the inputs came to, and the worst that was seen.
#[derive(Default)]
struct Seen {
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    longest: Duration,
    memory: usize,
}

#[test]
fn no_input_breaks_a_decoder() {
    let (first, count) = (setting("SEED", 1), setting("INPUTS", USUAL));
    let (mut seen, started) = (Seen::default(), Instant::now());
    for seed in first..first + count {
        let (format, bytes) = input(seed);
        println_on_panic(seed, || try_one(format, &bytes, &mut seen));
    }
    println!("{count} inputs from seed {first} in {:.1} s", started.elapsed().as_secs_f32());
    println!("longest {:?}; most memory at once {} bytes", seen.longest, seen.memory);
    for ((format, outcome), times) in &seen.outcomes {
        println!("{format:20} {outcome:10} {times}");
    }
}

/// A fuzzer that never gets past the first check would find nothing.
#[test]
fn every_record_that_is_changed_states_usage() {
    let of = |format: &Format| decode(*format, &records::record(*format), &context());
    let states = |decoded: &Vec<Decoded>| matches!(decoded.as_slice(), [Decoded::Usage(_), ..]);
    let wrong: Vec<_> = Format::ALL.iter().map(of).filter(|it| !states(it)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn println_on_panic(seed: u64, of: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(of)) {
        println!("seed {seed} fails: SEED={seed} INPUTS=1 tries it again");
        std::panic::resume_unwind(panic);
    }
}

fn try_one(format: Format, bytes: &[u8], seen: &mut Seen) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let started = Instant::now();
    let decoded = decode(format, bytes, &context());
    let took = started.elapsed();
    let memory = MEMORY.peak_usage().saturating_sub(before);
    seen.longest = seen.longest.max(took);
    seen.memory = seen.memory.max(memory);
    assert!(took < LONGEST, "{format}: {took:?} for {} bytes", bytes.len());
    assert!(memory <= MOST_MEMORY, "{format}: {memory} bytes of memory for a message of {} bytes", bytes.len());
    assert_eq!(decode(format, bytes, &context()), decoded, "{format}: read again it is something else");
    assert!(!decoded.is_empty(), "{format}: a message that comes to nothing");
    for record in &decoded {
        *seen.outcomes.entry((format.name(), check(record, format))).or_default() += 1;
    }
    let _ = costs::costs(bytes);
}

/// Checks what came of a record; returns what became of it.
fn check(record: &Decoded, format: Format) -> &'static str {
    match record {
        Decoded::NoUsage(_) => "no usage",
        Decoded::Rejected(rejection) => {
            assert!(!rejection.detail.is_empty());
            let again = decode(format, &rejection.redacted, &context());
            let is_usage = |it: &Decoded| matches!(it, Decoded::Usage(_));
            assert!(!again.iter().any(is_usage), "{format}: {rejection:?} is usage when what is kept is read again");
            "rejected"
        }
        Decoded::Usage(usage) => {
            let id = match &usage.message {
                UsageMessage::Event(event) => {
                    let content = &event.content;
                    let names = [&content.deployment, &content.product, &content.customer, &content.service_tier];
                    assert!(names.iter().all(|name| name.len() <= MAX_NAME_BYTES), "{content:?}");
                    assert!(content.quantities.iter().all(|(_, quantity)| !quantity.is_sign_negative()), "{content:?}");
                    assert!(content.ended_at.is_none_or(|end| end >= content.occurred_at), "{content:?}");
                    &event.id
                }
                UsageMessage::Amendment(amendment) => &amendment.id,
            };
            let is_name = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains('\0');
            assert!(is_name(&id.source) && is_name(&id.id), "{id:?}");
            "usage"
        }
    }
}
