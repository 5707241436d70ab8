//! `stats`: what containers use, in Docker's figures.

use super::config::{self, Setting};
use super::context::Context;
use super::template::V;
use super::{listing, output, terminal, units};
use anyhow::Result;
use clap::Parser;
use dhow_api::ContainerSummary;
use dhow_client::query::{self, encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Show what containers use: processor, memory, network, disk
#[derive(Parser, Debug)]
pub struct StatsArgs {
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Once, then end
    #[arg(long)]
    no_stream: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Containers, by name or id; none: all that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: [(&str, &str); 8] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];
/// Fields of a row that no column shows.
const OTHERS: [&str; 1] = ["Container"];
/// Containers asked at one time. Each answer takes the second between its two samples.
const WIDTH: usize = 64;
/// To the top left, and everything behind it away.
const HOME: &str = "\x1b[H\x1b[J";

/// `dhow stats`.
pub fn stats(context: &Context, args: StatsArgs) -> Result<i32> {
    let format = config::or_configured(args.format.as_deref(), Setting::Stats);
    // Templates and files get what follows, not what overwrites.
    let redraws = !args.no_stream && terminal::is_output() && format.as_deref() != Some("json");
    // What the named ones were, as long as they were there.
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let names = match args.containers.is_empty() {
            true => listed(context, args.all)?,
            false => args.containers.clone(),
        };
        let asked = std::time::Instant::now();
        let mut rows = Vec::with_capacity(names.len());
        for (name, told) in names.iter().zip(ask(context, &names)) {
            match told {
                Ok(told) => {
                    rows.push(V::row("*container.statsContext", &row(name, &told, args.no_trunc)));
                    if !args.containers.is_empty() {
                        known.insert(name.clone(), told);
                    }
                }
                // Of those that were not named, one may go at any time.
                Err(e) if e.status() == Some(404) && args.containers.is_empty() => {}
                // One that was named keeps its row.
                Err(e) if e.status() == Some(404) && known.contains_key(name) => {
                    rows.push(V::row("*container.statsContext", &gone(name, &known[name], args.no_trunc)));
                }
                Err(e) => return Err(e.into()),
            }
        }
        if redraws {
            output::text_out(HOME);
        }
        listing::print(format.as_deref(), &COLUMNS, &OTHERS, &rows)?;
        if args.no_stream {
            return Ok(0);
        }
        // Answers about containers that do not run come at once.
        std::thread::sleep(std::time::Duration::from_secs(1).saturating_sub(asked.elapsed()));
    }
}

/// Ids of the containers that there are.
fn listed(context: &Context, all: bool) -> Result<Vec<String>> {
    let path = format!("/containers/json{}", query::build(&[("all", query::flag(all))]));
    let listed: Vec<ContainerSummary> = context.with_daemon(&context.client(), |c| c.get(&path))?;
    Ok(listed.into_iter().map(|c| c.id).collect())
}

/// One sample of each, in their order; all are asked side by side.
fn ask(context: &Context, names: &[String]) -> Vec<dhow_client::Result<Value>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(names.len()));
    std::thread::scope(|scope| {
        for _ in 0..WIDTH.min(names.len()) {
            scope.spawn(|| {
                let client = context.client();
                while let Some((at, name)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    names.get(at).map(|name| (at, name))
                } {
                    let path = format!("/containers/{}/stats?stream=0", encode(name));
                    // One that goes between the two samples leaves an empty answer; the next says that it is gone.
                    let answer = client.get::<Value>(&path).or_else(|e| match e.status() {
                        None => client.get(&path),
                        Some(_) => Err(e),
                    });
                    if let Ok(mut answers) = answers.lock() {
                        answers.push((at, answer));
                    }
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_default();
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// One row, from the daemon's document.
fn row(name: &str, told: &Value, full: bool) -> Value {
    let number = |path: &str| told.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let id = told["id"].as_str().unwrap_or_default();
    let usage = memory(told);
    let limit = number("/memory_stats/limit");
    let percent = if limit == 0 { 0.0 } else { usage as f64 / limit as f64 * 100.0 };
    let (received, sent) = sum(told["networks"].as_object().into_iter().flat_map(|n| n.values()).map(|device| {
        let bytes = |name: &str| device[name].as_u64().unwrap_or(0);
        (bytes("rx_bytes"), bytes("tx_bytes"))
    }));
    let io = told.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
    let (read, written) = sum(io.into_iter().flatten().map(|row| {
        let value = row["value"].as_u64().unwrap_or(0);
        match row["op"].as_str().and_then(|op| op.chars().next()) {
            Some('r' | 'R') => (value, 0),
            Some('w' | 'W') => (0, value),
            _ => (0, 0),
        }
    }));
    let size = |bytes: u64| units::human_size(i64::try_from(bytes).unwrap_or(i64::MAX));
    json!({
        "Container": name,
        "ID": if full { id } else { id.get(..12).unwrap_or(id) },
        "Name": told["name"].as_str().map_or("--", |name| name.trim_start_matches('/')),
        "CPUPerc": format!("{:.2}%", processor(told)),
        "MemUsage": format!("{} / {}", binary_size(usage), binary_size(limit)),
        "MemPerc": format!("{percent:.2}%"),
        "NetIO": format!("{} / {}", size(received), size(sent)),
        "BlockIO": format!("{} / {}", size(read), size(written)),
        "PIDs": number("/pids_stats/current").to_string(),
    })
}

/// The row of one that was there and is not any more.
fn gone(name: &str, last: &Value, full: bool) -> Value {
    let mut row = row(name, last, full);
    for (field, text) in [
        ("CPUPerc", "--"),
        ("MemUsage", "-- / --"),
        ("MemPerc", "--"),
        ("NetIO", "--"),
        ("BlockIO", "--"),
        ("PIDs", "--"),
    ] {
        row[field] = text.into();
    }
    row
}

fn sum(pairs: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    pairs.fold((0, 0), |(a, b), (c, d)| (a.saturating_add(c), b.saturating_add(d)))
}

/// Percent of one processor, between the two samples.
fn processor(told: &Value) -> f64 {
    let number = |path: &str| told.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let own = number("/cpu_stats/cpu_usage/total_usage") - number("/precpu_stats/cpu_usage/total_usage");
    let machine = number("/cpu_stats/system_cpu_usage") - number("/precpu_stats/system_cpu_usage");
    if own > 0.0 && machine > 0.0 { own / machine * number("/cpu_stats/online_cpus") * 100.0 } else { 0.0 }
}

/// Memory in use, without what the kernel keeps of files that nobody has looked at for long: it gives that back.
fn memory(told: &Value) -> u64 {
    let number = |name: &str| told.pointer(&format!("/memory_stats/{name}")).and_then(Value::as_u64);
    let usage = number("usage").unwrap_or(0);
    match number("stats/total_inactive_file").filter(|n| *n < usage).or(number("stats/inactive_file")) {
        Some(inactive) if inactive < usage => usage - inactive,
        _ => usage,
    }
}

/// `1.5MiB`: powers of 1024, four significant digits. Rule: `BytesSize` of go-units.
fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let before = (value.max(1.0).log10().floor() as usize) + 1;
    let mut text = format!("{value:.*}", 4_usize.saturating_sub(before));
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_powers_of_1024() {
        for (bytes, want) in [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1_572_864, "1.5MiB"),
            (405_504, "396KiB"),
            (8_321_499_136, "7.75GiB"),
            (1_111_111_111, "1.035GiB"),
            (132_120_576, "126MiB"),
        ] {
            assert_eq!(binary_size(bytes), want, "{bytes}");
        }
    }

    fn told(stat: &str) -> Value {
        json!({
            "id": "0123456789abcdef", "name": "/web",
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 200}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3_145_728, "limit": 6_291_456, "stats": {stat: 1_572_864}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 1}, "eth1": {"rx_bytes": 450, "tx_bytes": 1}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 5000}, {"op": "write", "value": 7}, {"op": "Total", "value": 5007}]},
            "pids_stats": {"current": 3},
        })
    }

    #[test]
    fn figures_are_dockers() {
        for stat in ["total_inactive_file", "inactive_file"] {
            let row = row("w", &told(stat), false);
            let want = json!({
                "Container": "w", "ID": "0123456789ab", "Name": "web", "CPUPerc": "40.00%",
                "MemUsage": "1.5MiB / 6MiB", "MemPerc": "25.00%", "NetIO": "1.45kB / 2B", "BlockIO": "5kB / 7B",
                "PIDs": "3",
            });
            assert_eq!(row, want, "{stat}");
        }
    }

    #[test]
    fn one_that_is_gone_keeps_its_names() {
        let row = gone("w", &told("inactive_file"), false);
        assert_eq!((&row["ID"], &row["Name"], &row["Container"]), (&json!("0123456789ab"), &json!("web"), &json!("w")));
        assert_eq!((&row["CPUPerc"], &row["MemUsage"], &row["PIDs"]), (&json!("--"), &json!("-- / --"), &json!("--")));
    }

    #[test]
    fn one_that_does_not_run() {
        let row = row("w", &json!({"id": "01", "name": "/w", "memory_stats": {}}), true);
        assert_eq!(
            (&row["CPUPerc"], &row["MemUsage"], &row["PIDs"]),
            (&json!("0.00%"), &json!("0B / 0B"), &json!("0"))
        );
    }
}
