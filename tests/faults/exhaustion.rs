//! Something runs out: free connections, connections at all, the disk.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use crate::form::{of, play, say, seconds};
use crate::postgres::Postgres;
use crate::world::World;

const TABLES: &str = "attempts, audit_events, challenges, outbox, sessions, users";

/// Red where `PoolTimedOut` counts as a defect (500) in `StoreError::from`.
#[test]
fn a_pool_that_a_lock_has_used_up_is_503_until_the_lock_goes() {
    play(async {
        let mut world = World::start("pool", &[]).await;
        // Nobody else could serve instead: the lock is in the one database.
        world.readiness_may_err();
        for _ in 0..of(1, 3) {
            let mut holder = world.postgres.connect(&world.database).await;
            // Of two who lock in different orders PostgreSQL turns one away, and that may be us.
            let lock = format!("ROLLBACK; BEGIN; LOCK TABLE {TABLES}");
            while sqlx::raw_sql(sqlx::AssertSqlSafe(lock.clone()))
                .execute(&mut holder)
                .await
                .is_err()
            {}
            sleep(seconds(3, 10)).await;
            holder.close().await.unwrap();
            world.recovers().await;
            world.goes_on(2).await;
        }
        world.finish().await;
    });
}

/// Red where `PoolTimedOut` counts as a defect (500) in `StoreError::from`.
#[test]
fn a_postgresql_that_takes_no_more_connections_is_503_until_it_does() {
    play(async {
        let mut world = World::start("connections", &[]).await;
        world.trouble_begins();
        let mut taken = Vec::new();
        let until = Instant::now() + seconds(3, 10);
        while Instant::now() < until {
            if let Some(place) = world.postgres.take_place().await {
                taken.push(place);
            } else {
                // The servers' connections are cut, so that they come into the same need.
                world.wire.cut();
                sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(taken.len() > 90, "{}", taken.len());
        drop(taken);
        world.recovers().await;
        world.finish().await;
    });
}

/// Red where class 53 and the pool's time-out are taken for defects in `StoreError`: 500.
#[test]
fn a_full_disk_is_503_until_there_is_room() {
    play(async {
        let Some(disk) = Disk::mount("160m") else {
            return Box::pin(pretend()).await;
        };
        let postgres = Postgres::start_in(&disk.folder().join("cluster"));
        let mut world = World::on(postgres, "disk", &[]).await;
        world.begin().await;
        // Checks of tokens and even some statements go on as long as pages have room.
        world.readiness_may_err();
        let ballast = disk.fill();
        sleep(seconds(2, 8)).await;
        // The log of changes is at its end too: PostgreSQL gives up altogether, and again when it
        // starts. Which of the two happens first is not ours to say.
        let mut last = PgConnection::connect(&world.postgres.url("postgres")).await;
        if let Ok(connection) = &mut last {
            let _ = sqlx::raw_sql("SELECT pg_switch_wal()")
                .execute(connection)
                .await;
        }
        sleep(seconds(2, 8)).await;
        fs::remove_file(ballast).unwrap();
        world.postgres.revive().await;
        world.recovers().await;
        world.goes_on(2).await;
        world.finish().await;
        drop(disk);
    });
}

/// The same where no file system can be mounted: PostgreSQL says what it says on a full disk, because
/// triggers say it.
async fn pretend() {
    say("disk           no file system can be mounted, so triggers raise 53100");
    let mut world = World::start("disk", &[]).await;
    world.readiness_may_err();
    let raise = "CREATE FUNCTION full_disk() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
                   RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
                 END $$";
    world.postgres.execute(&world.database, raise).await;
    for table in TABLES.split(", ") {
        let trigger = format!(
            "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
        );
        world.postgres.execute(&world.database, &trigger).await;
    }
    sleep(seconds(3, 10)).await;
    let drop = "DROP FUNCTION full_disk() CASCADE";
    world.postgres.execute(&world.database, drop).await;
    world.recovers().await;
    world.finish().await;
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    /// `None` where we may not mount, not even by `sudo`.
    fn mount(size: &str) -> Option<Self> {
        // Where PostgreSQL's user can get to, if we are root.
        let name = format!("backoffice-auth-disk-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o711)).unwrap();
        let disk = Self(folder);
        let options = format!("size={size},mode=1777");
        let arguments = ["mount", "-t", "tmpfs", "-o", &options, "tmpfs"];
        as_root(&arguments, disk.folder()).then_some(disk)
    }

    fn folder(&self) -> &Path {
        &self.0
    }

    /// Leaves no room at all; the file that has taken it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path).unwrap();
        for size in [1 << 20, 1 << 12] {
            let chunk = vec![0; size];
            while ballast.write_all(&chunk).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may not be mounted at all.
        as_root(&["umount", "--lazy"], &self.0);
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs a command, and if it may not, by `sudo` without a password; whether it succeeded.
fn as_root(arguments: &[&str], folder: &Path) -> bool {
    [&[][..], &["sudo", "-n"]].iter().any(|prefix| {
        let words: Vec<&str> = prefix.iter().chain(arguments).copied().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(folder).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
