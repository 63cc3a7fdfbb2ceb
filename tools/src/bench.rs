//! `stoa bench`: loads a population into a new store, runs reads and durable writes on it, and says
//! how long each took. A first version: the engine inside this process, no network, no peers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use comfy_table::Table;
use hdrhistogram::Histogram;
use serde_json::json;
use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{Pool, Store, StoreOptions};

use crate::load;
use crate::sample::{PopulationFormat, population};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa bench                       100,000 users
  stoa bench --users 1000000 --seconds 5 --json")]
pub(crate) struct BenchArgs {
    /// How many users
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// How long each row runs
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Threads of the rows with several readers
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Writers of the rows with several writers
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// Where the store is made and removed again
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One row of the result.
struct Row {
    name: String,
    rate: f64,
    latency: Option<Histogram<u64>>,
}

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    let dir = args.dir.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let result = measure(&args, &dir);
    let _ = std::fs::remove_dir_all(&dir);
    let rows = result?;
    print(&args, &rows);
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &BenchArgs, dir: &Path) -> Result<Vec<Row>> {
    let file = dir.join("people.ldif");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    population(PopulationFormat::Ldif, args.users, 1, &mut out)?;
    drop(out);
    let mut rows = vec![sync_limit(dir, args.seconds)?];
    let data = dir.join("DATA");
    let started = Instant::now();
    load::load_ldif(&data, "bench", &file)?;
    rows.push(row("import from LDIF on disk, users", args.users as f64 / started.elapsed().as_secs_f64(), None));
    let started = Instant::now();
    let store = Store::open(StoreOptions::new(&data))?;
    let pool = store.pool("bench")?;
    rows.push(row("open store and pool, times", 1.0 / started.elapsed().as_secs_f64(), None));
    let emails = emails(&pool, 50_000)?;
    for threads in [1, args.threads] {
        let name = |what: &str| format!("{what}, {threads} threads");
        let profile = |user: &UserRef| pool.snapshot().user(user, &Select::All).map(|view| view.is_some());
        rows.push(read(&name("e-mail → whole profile"), args, threads, &emails, profile)?);
        let hash = |user: &UserRef| pool.snapshot().password(user).map(|_| true);
        rows.push(read(&name("e-mail → password hash"), args, threads, &emails, hash)?);
    }
    let absent: Vec<UserRef> = (0..1000).map(|i| alias("email", &format!("nobody{i}@mail.example"))).collect();
    rows.push(read("e-mail of nobody", args, 1, &absent, |user| Ok(pool.snapshot().resolve(user)?.is_none()))?);
    rows.push(count(&pool, args)?);
    for writers in [1, args.writers] {
        rows.push(write(&format!("durable update, {writers} writers"), args, writers, |i| {
            let change = ("nickname".into(), Input::Raw(format!("n{i}").into()));
            let user = emails[i as usize % emails.len()].clone();
            pool.commit(one(Op::UserSet { user, if_version: None, take_alias: false, changes: vec![change] })).map(drop)
        })?);
        rows.push(write(&format!("durable creation, {writers} writers"), args, writers, |i| {
            let attr = |name: &str, value: String| (name.into(), Input::Raw(value.into()));
            let attrs = vec![
                attr("username", format!("new{writers}.{i}")),
                attr("email", format!("new{writers}.{i}@mail.example")),
                attr("phone_number", format!("+1555{:09}", writers as u64 * 100_000_000 + i)),
            ];
            let new = NewUser { attrs, ..NewUser::default() };
            pool.commit(one(Op::UserCreate(Box::new(new)))).map(drop)
        })?);
    }
    drop(pool);
    store.close()?;
    Ok(rows)
}

fn one(op: Op) -> Transaction {
    Transaction { actor: "bench".into(), token: None, ops: vec![op] }
}

fn alias(attr: &str, value: &str) -> UserRef {
    UserRef::Alias { attr: attr.into(), value: value.into() }
}

fn row(name: &str, rate: f64, latency: Option<Histogram<u64>>) -> Row {
    Row { name: name.to_owned(), rate, latency }
}

/// What the disk allows: overwriting 512 bytes of a zero-written file and syncing, over and over.
fn sync_limit(dir: &Path, seconds: u64) -> Result<Row> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(dir.join("sync"))?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut latency = histogram();
    let mut times = 0u64;
    let started = Instant::now();
    while Instant::now() < until {
        let begun = Instant::now();
        file.write_all_at(&[times as u8; 512], times % 2048 * 512)?;
        file.sync_data()?;
        note(&mut latency, begun);
        times += 1;
    }
    Ok(row("limit: 512 B overwritten and synced", times as f64 / started.elapsed().as_secs_f64(), Some(latency)))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!("the bounds are valid"))
}

fn note(latency: &mut Histogram<u64>, begun: Instant) {
    latency.saturating_record(begun.elapsed().as_nanos() as u64);
}

/// Addresses of users spread over the whole pool.
fn emails(pool: &Pool, most: usize) -> Result<Vec<UserRef>> {
    let snapshot = pool.snapshot();
    let step = (snapshot.user_count()? as usize / most).max(1);
    let mut emails = Vec::new();
    let mut at = 0;
    snapshot.each_user(&mut |view| -> Result<()> {
        if at % step == 0
            && let Some((_, Some(email))) = view.attrs.iter().find(|(name, _)| &**name == "email")
        {
            emails.push(alias("email", &email.text()));
        }
        at += 1;
        Ok(())
    })?;
    // Not in the order in which they stand in the columns.
    let count = emails.len();
    for i in 0..count {
        emails.swap(i, i.wrapping_mul(7_919).wrapping_add(104_729) % count);
    }
    Ok(emails)
}

fn read(
    name: &str,
    args: &BenchArgs,
    threads: usize,
    users: &[UserRef],
    ask: impl Fn(&UserRef) -> stoa_engine::Result<bool> + Sync,
) -> Result<Row> {
    // Once over, so that pages are open: what is measured is the warm store.
    for user in users {
        anyhow::ensure!(ask(user)?, "a user that was loaded is not found");
    }
    let next = AtomicU64::new(0);
    spread(name, args, threads, |_| {
        let user = &users[next.fetch_add(1, Ordering::Relaxed) as usize % users.len()];
        ask(user).map(drop)
    })
}

fn write(
    name: &str,
    args: &BenchArgs,
    writers: usize,
    act: impl Fn(u64) -> stoa_engine::Result<()> + Sync,
) -> Result<Row> {
    let next = AtomicU64::new(0);
    spread(name, args, writers, |_| act(next.fetch_add(1, Ordering::Relaxed)))
}

/// Runs `act` on so many threads for the row's time.
fn spread(
    name: &str,
    args: &BenchArgs,
    threads: usize,
    act: impl Fn(usize) -> stoa_engine::Result<()> + Sync,
) -> Result<Row> {
    let started = Instant::now();
    let until = started + Duration::from_secs(args.seconds);
    let results: Vec<Result<Histogram<u64>>> = std::thread::scope(|scope| {
        let act = &act;
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut latency = histogram();
                    while Instant::now() < until {
                        let begun = Instant::now();
                        act(thread)?;
                        note(&mut latency, begun);
                    }
                    Ok(latency)
                })
            })
            .collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, Result<Histogram<u64>>>| {
            handle.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the benchmark panicked")))
        };
        handles.into_iter().map(join).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let mut latency = histogram();
    for result in results {
        latency.add(result?).context("histograms are of one kind")?;
    }
    Ok(row(name, latency.len() as f64 / elapsed, Some(latency)))
}

fn count(pool: &Pool, args: &BenchArgs) -> Result<Row> {
    let filter = r#"family_name co "ar""#;
    spread("count by a filter over one unindexed attribute", args, 1, |_| {
        pool.snapshot().count(Some(filter), &[]).map(drop)
    })
}

fn print(args: &BenchArgs, rows: &[Row]) {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    if args.json {
        for row in rows {
            let latency = row.latency.as_ref().map(|latency| {
                json!({"p50_us": micros(latency.value_at_quantile(0.5)), "p99_us": micros(latency.value_at_quantile(0.99)),
                       "p999_us": micros(latency.value_at_quantile(0.999)), "max_us": micros(latency.max())})
            });
            println!("{}", json!({"row": row.name, "users": args.users, "a_second": row.rate, "latency": latency}));
        }
        return;
    }
    let mut table = Table::new();
    table.set_header(["row", "a second", "p50 µs", "p99 µs", "p99.9 µs"]);
    for row in rows {
        let at = |quantile| match &row.latency {
            Some(latency) => format!("{:.1}", micros(latency.value_at_quantile(quantile))),
            None => String::new(),
        };
        table.add_row([row.name.clone(), format!("{:.0}", row.rate), at(0.5), at(0.99), at(0.999)]);
    }
    println!("{table}");
}
