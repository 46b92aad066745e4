//! Postgres's disk is full: for its tables, then for its log too, which ends it. What came meanwhile waits in Kafka, and is
//! stored once there is room.

use crate::instance::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 2;
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A small file system in memory with the data of an instance's Postgres; gone before the instance is.
struct Disk<'a> {
    instance: &'a Instance,
    folder: PathBuf,
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

impl<'a> Disk<'a> {
    /// # Errors
    /// Why none can be made: it takes the rights to mount one.
    fn under(instance: &'a Instance, folder: &Path) -> Result<Self, String> {
        let aside = folder.with_extension("aside");
        instance.kill("postgres");
        fs::rename(folder, &aside).and_then(|()| fs::create_dir(folder)).map_err(|error| error.to_string())?;
        let mount = ["-t", "tmpfs", "-o", "size=192m", "tmpfs"].map(Path::new);
        if let Err(error) = run("mount", &[&mount[..], &[folder]].concat()) {
            fs::remove_dir(folder).and_then(|()| fs::rename(&aside, folder)).expect("as it was");
            instance.start("postgres");
            return Err(error);
        }
        let disk = Self { instance, folder: folder.to_owned() };
        run("cp", &[Path::new("-a"), &aside.join("."), folder])?;
        instance.start("postgres");
        Ok(disk)
    }

    /// Leaves about so many bytes.
    fn fill(&self, left: usize) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let zeros = vec![0; 1 << 16];
        let mut size = 0;
        while let Ok(written) = ballast.write(&zeros) {
            size += written;
        }
        ballast.set_len(size.saturating_sub(left) as u64).expect("made smaller");
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("removed");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        self.instance.kill("postgres");
        if let Err(error) = run("umount", &[&self.folder]) {
            eprintln!("{} stays mounted: {error}", self.folder.display());
        }
    }
}

/// Waits until the consumer has logged something.
async fn logs(consumer: &Process, what: &str) {
    let logged = async {
        while !consumer.log.lock().expect("the log").iter().any(|line| line.contains(what)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIME_LIMIT, logged).await.unwrap_or_else(|_| panic!("nobody said: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_holds_usage_up_and_loses_none() {
    let what = "a full disk of Postgres";
    // Before anything is touched: of a server elsewhere the folder is not ours.
    if !can_try(what, Ok(())) {
        return;
    }
    let instance = Instance::postgres("disk");
    let database = TestDatabase::at(&instance.database_url).await;
    let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&database.pool).await.expect("a folder");
    let disk = Disk::under(&instance, Path::new(&folder));
    if !can_try(what, disk.as_ref().map(|_| ()).map_err(Clone::clone)) {
        return;
    }
    let disk = disk.expect("a disk");
    let topic = TestTopic::new(PARTITIONS).await;
    let (mut process, _) = Process::serving(consumer(&database.url, &brokers(), &topic.name, "one"));
    let (lines, totals) = requests();
    let mut parts = Parts::of(&lines, 3, &topic, PARTITIONS);
    wait_for(&database, parts.send(), Instant::now() + TIME_LIMIT).await;

    println!("no room for rows");
    disk.fill(1 << 18);
    let sent = parts.send();
    logs(&process, "No space left on device").await;
    assert!(progress(&database).await.expect("Postgres answers") < sent);
    disk.make_room();
    wait_for(&database, sent, Instant::now() + TIME_LIMIT).await;

    println!("no room for the log, which ends Postgres");
    disk.fill(0);
    let sent = parts.send();
    // The next segment of the log finds no room.
    drop(sqlx::query("select pg_switch_wal()").execute(&database.pool).await);
    drop(sqlx::query("create table filling as select generate_series(1, 1000000)").execute(&database.pool).await);
    logs(&process, "the database is away").await;
    disk.make_room();
    instance.start("postgres");
    wait_for(&database, sent, Instant::now() + TIME_LIMIT).await;

    assert_eq!(process.child.try_wait().expect("its status"), None, "the consumer lives");
    process.kill();
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"]), (EVENTS as i64, EVENTS as i64), "{counts:?}");
    check_totals(&database, totals).await;
    topic.delete().await;
    database.drop_it().await;
}
