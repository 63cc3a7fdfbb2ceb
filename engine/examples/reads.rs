//! How fast a store answers reads, on this thread and on two: `cargo run --release -p stoa-format -p stoa-engine
//! --example reads -- DATA POOL [point|count|list|members]`. It writes nothing to the pool.
//!
//! Rows: the median of several rounds, the best one, and the processor's time, which says more on a machine that does
//! other things too (Linux only). Point reads are of random users; the pages are open.
#![allow(clippy::disallowed_methods, reason = "an example looks at the clock as a stranger would")]

use std::time::Instant;

use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::Select;
use stoa_engine::{PageRequest, Pool, Result, Store, StoreOptions, UserQuery};

/// Point reads of one round.
const READS: usize = 100_000;
const ROUNDS: usize = 7;

const FILTERS: [&str; 16] = [
    r#"locale eq "de-DE""#,
    r#"given_name eq "Mary""#,
    r#"given_name ne "Mary""#,
    r#"family_name sw "Sm""#,
    r#"family_name ge "Sm""#,
    r#"name co "ana""#,
    r#"name eq "Mary Smith""#,
    r#"email ew "@gmail.com""#,
    r#"email co "smith""#,
    r#"email eq "nobody@example.org""#,
    r#"email pr"#,
    r#"created_at gt "2026-01-01T00:00:00Z""#,
    r#"updated_at gt "2024-01-01T00:00:00Z""#,
    r#"phone_number sw "+1415""#,
    r#"locale eq "de-DE" and family_name sw "S""#,
    r#"email_verified eq true"#,
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, pool, which @ ..] = &args[..] else {
        println!("usage: reads DATA POOL [point|count|list|members]");
        return Ok(());
    };
    let store = Store::open(StoreOptions { create: false, ..StoreOptions::new(data) })?;
    let pool = store.pool(pool)?;
    let does = |what: &str| which.is_empty() || which.iter().any(|word| word == what);
    if does("count") {
        count(&pool)?;
    }
    if does("list") {
        list(&pool)?;
    }
    if does("members") {
        members(&pool)?;
    }
    if does("point") {
        point(&pool)?;
    }
    store.close()
}

/// What rounds took, in milliseconds each.
struct Took {
    median_ms: f64,
    best_ms: f64,
    cpu_ms: f64,
}

fn rounds(mut round: impl FnMut() -> Result<()>) -> Result<Took> {
    let mut took = Vec::new();
    let cpu_before = cpu_ms();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        round()?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let cpu_ms = (cpu_ms() - cpu_before) / ROUNDS as f64;
    took.sort_unstable_by(f64::total_cmp);
    Ok(Took { median_ms: took[ROUNDS / 2], best_ms: took[0], cpu_ms })
}

/// The time of processors that this process took so far, to a clock tick; see proc(5).
fn cpu_ms() -> f64 {
    const TICK_MS: f64 = 10.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * TICK_MS
}

fn count(pool: &Pool) -> Result<()> {
    println!("{:<44} {:>9} {:>9} {:>9} {:>9}", "count with filter", "median ms", "best ms", "cpu ms", "users");
    for filter in FILTERS {
        let mut users = 0;
        let took = rounds(|| {
            users = pool.snapshot().count(Some(filter), &[])?;
            Ok(())
        })?;
        println!("{filter:<44} {:>9.2} {:>9.2} {:>9.2} {users:>9}", took.median_ms, took.best_ms, took.cpu_ms);
    }
    Ok(())
}

/// Walks a listing of 100 users a page, at most `pages` of them.
fn walk(pages: usize, mut page: impl FnMut(&PageRequest<'_>) -> Result<(usize, Option<String>)>) -> Result<usize> {
    let (mut users, mut cursor) = (0, None);
    for _ in 0..pages {
        let request = PageRequest {
            limit: 100,
            cursor: cursor.as_deref(),
            actor: "reads",
            max_bytes: 4 << 20,
            min_seq: None,
            state: None,
        };
        let (shown, next) = page(&request)?;
        users += shown;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(users)
}

fn print_each(what: &str, took: &Took, users: usize) {
    let each = |ms: f64| ms * 1e3 / users as f64;
    let (median, best, cpu) = (each(took.median_ms), each(took.best_ms), each(took.cpu_ms));
    println!("{what}: {median:.2} us a user, best {best:.2}, cpu {cpu:.2}");
}

fn list(pool: &Pool) -> Result<()> {
    for select in [Select::All, Select::Nothing] {
        let query = UserQuery { select: select.clone(), ..UserQuery::default() };
        let mut users = 0;
        let took = rounds(|| {
            users = walk(1000, |request| {
                let page = pool.list_users(&query, request)?;
                Ok((page.items.len(), page.cursor))
            })?;
            Ok(())
        })?;
        print_each(&format!("listing, 100 a page, {select:?}"), &took, users);
    }
    Ok(())
}

fn members(pool: &Pool) -> Result<()> {
    let mut groups = Vec::new();
    pool.snapshot().each_group::<stoa_engine::Error>(&mut |group| {
        groups.push(group.name);
        Ok(())
    })?;
    for group in groups.iter().take(3) {
        let mut users = 0;
        let took = rounds(|| {
            users = walk(1000, |request| {
                let page = pool.list_members(group, &Select::All, request)?;
                Ok((page.items.len(), page.cursor))
            })?;
            Ok(())
        })?;
        print_each("members of a group, 100 a page", &took, users);
    }
    Ok(())
}

/// The e-mail addresses and subs of the pool's first million users, in no order.
fn users(pool: &Pool) -> Result<Vec<[UserRef; 2]>> {
    let mut users = Vec::new();
    let query = UserQuery { select: Select::Named([Box::from("email")].into()), ..UserQuery::default() };
    walk(10_000, |request| {
        let page = pool.list_users(&query, request)?;
        for view in &page.items {
            if let Some((_, Some(Value::Str(email)))) = view.attrs.first() {
                users.push([UserRef::Alias { attr: "email".into(), value: email.clone() }, UserRef::Sub(view.sub)]);
            }
        }
        Ok((page.items.len(), page.cursor))
    })?;
    let mut state = 88_172_645_463_325_252u64;
    for at in (1..users.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        users.swap(at, (state % (at as u64 + 1)) as usize);
    }
    // Copied in the order of use: a request that has just arrived is near.
    Ok(users.clone())
}

fn point(pool: &Pool) -> Result<()> {
    let users = users(pool)?;
    let sign_in = Select::Named(["email", "email_verified", "status"].map(Box::from).into());
    // A pool without passwords has none to read.
    let hash = |user: &[UserRef; 2]| pool.snapshot().password(&user[0]).map(drop);
    let read = |by: usize, select: Select| {
        move |user: &[UserRef; 2]| {
            std::hint::black_box(pool.snapshot().user(&user[by], &select)?);
            Ok(())
        }
    };
    type Read<'r> = Box<dyn Fn(&[UserRef; 2]) -> Result<()> + Sync + 'r>;
    let rows: [(&str, Read<'_>); 6] = [
        ("e-mail -> ordinal", Box::new(|user| pool.snapshot().resolve(&user[0]).map(drop))),
        ("e-mail -> built-in fields", Box::new(read(0, Select::Nothing))),
        ("e-mail -> sign-in, 3 attributes", Box::new(read(0, sign_in))),
        ("e-mail -> password hash", Box::new(hash)),
        ("e-mail -> whole profile", Box::new(read(0, Select::All))),
        ("sub -> whole profile", Box::new(read(1, Select::All))),
    ];
    println!("{:<34} {:>10} {:>10} {:>10} {:>14}", "point reads", "median us", "best us", "cpu us", "2 threads k/s");
    for (name, read) in rows {
        let all = |users: &[[UserRef; 2]]| users.iter().take(READS).try_for_each(&read);
        all(&users)?;
        let took = rounds(|| all(&users))?;
        let each = |ms: f64| ms * 1e3 / users.len().min(READS) as f64;
        let two = rounds(|| {
            let (low, high) = users.split_at(users.len() / 2);
            std::thread::scope(|scope| {
                let low = scope.spawn(|| all(low));
                all(high)?;
                low.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        let reads = 2 * (users.len() / 2).min(READS);
        let two = reads as f64 / two.best_ms;
        let (median, best, cpu) = (each(took.median_ms), each(took.best_ms), each(took.cpu_ms));
        println!("{name:<34} {median:>10.3} {best:>10.3} {cpu:>10.3} {two:>14.0}");
    }
    Ok(())
}
