//! What processes have taken of the processors so far, as Linux counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Linux counts in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// Time of the processors, by who took it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    pub own: Duration,
    pub postgres: Duration,
    pub broker: Duration,
}

/// The processes that take part. Servers in containers are not seen, and take nothing then.
pub struct Processes {
    postmaster: Option<u32>,
    broker: Option<u32>,
}

impl Processes {
    /// `data` is the folder of Postgres's data; the broker's lies beside it.
    pub fn beside(data: &Path) -> Self {
        let postmaster = fs::read_to_string(data.join("postmaster.pid")).ok();
        let postmaster = postmaster.and_then(|text| text.lines().next()?.trim().parse().ok());
        let instance = data.parent().and_then(Path::parent).map(|folder| folder.display().to_string());
        let is_broker = |pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            command.contains("kafka.Kafka") && instance.as_ref().is_some_and(|folder| command.contains(folder))
        };
        Self { postmaster, broker: all().find(is_broker) }
    }

    pub fn taken(&self) -> Taken {
        let children = |of: u32| all().filter(move |pid| parent(*pid) == Some(of));
        // What its ended children took is the postmaster's.
        let postgres = |pid: u32| ticks(pid, true) + children(pid).map(|child| ticks(child, false)).sum::<u32>();
        Taken {
            own: TICK * ticks(std::process::id(), false),
            postgres: TICK * self.postmaster.map_or(0, postgres),
            broker: TICK * self.broker.map_or(0, |pid| ticks(pid, false)),
        }
    }
}

/// Forgets how much memory this program held at most.
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux tells of memory");
}

/// How much memory this program held at most, in megabytes.
pub fn peak_megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a size") / 1_024
}

impl Taken {
    pub fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            postgres: self.postgres.saturating_sub(before.postgres),
            broker: self.broker.saturating_sub(before.broker),
        }
    }
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything: the first is the state.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// Of a process alone, or of its ended children too.
fn ticks(pid: u32, with_ended: bool) -> u32 {
    let places = if with_ended { 11..15 } else { 11..13 };
    let fields = fields(pid).unwrap_or_default();
    fields.get(places).unwrap_or_default().iter().filter_map(|field| field.parse::<u32>().ok()).sum()
}
