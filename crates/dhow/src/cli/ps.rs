//! `ps`.

use super::context::Context;
use super::{listing, output, units};
use anyhow::Result;
use clap::Parser;
use dhow_api::{ContainerSummary, PortSummary};
use dhow_client::query;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// List containers
#[derive(Parser, Debug)]
pub struct PsArgs {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Only those that match (name=, id=, status=, label=, ancestor=, exited=, …)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// The newest N, whatever their state
    #[arg(short = 'n', long = "last", value_name = "N")]
    last: Option<u32>,
    /// The newest one, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Show how much each has written, and how large it is with its image
    #[arg(short, long)]
    size: bool,
}

/// The last one stands there only when sizes are asked for.
const COLUMNS: [(&str, &str); 8] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
];

/// Fields of a row that no column shows.
const OTHERS: [&str; 7] = ["CreatedAt", "State", "Labels", "Mounts", "Networks", "LocalVolumes", "Size"];

/// `dhow ps`.
pub fn ps(context: &Context, args: PsArgs) -> Result<i32> {
    let client = context.client();
    let limit = if args.latest { Some(1) } else { args.last };
    let path = format!(
        "/containers/json{}",
        query::build(&[
            ("all", query::flag(args.all || limit.is_some())),
            ("limit", limit.map(|n| n.to_string())),
            // It costs the daemon a walk over the files: only where it is shown.
            ("size", query::flag(args.size || args.format.as_deref().is_some_and(|f| f.contains(".Size")))),
            ("filters", listing::filters(&args.filter)?),
        ])
    );
    let containers: Vec<ContainerSummary> = context.with_daemon(&client, |c| c.get(&path))?;
    if args.quiet && args.format.is_none() {
        containers
            .iter()
            .for_each(|c| output::line(if args.no_trunc { &c.id } else { c.id.get(..12).unwrap_or(&c.id) }));
        return Ok(0);
    }
    let rows: Vec<Value> = containers.iter().map(|c| row(c, args.no_trunc)).collect();
    let columns = if args.size { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 1] };
    listing::print(args.format.as_deref(), columns, &OTHERS, &rows)?;
    Ok(0)
}

/// One row of a list.
pub fn row(c: &ContainerSummary, full: bool) -> Value {
    let cut = |text: &str, at: usize| match text.char_indices().nth(at) {
        Some((end, _)) if !full => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    };
    let id = if full { c.id.as_str() } else { c.id.get(..12).unwrap_or(&c.id) };
    let image = match c.image.strip_prefix("sha256:") {
        Some(hex) if !full => hex.get(..12).unwrap_or(hex),
        _ => &c.image,
    };
    let labels: Vec<String> = c.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mounts: Vec<&str> =
        c.mounts.iter().map(|m| if m.name.is_empty() { m.source.as_str() } else { &m.name }).collect();
    json!({
        "ID": id,
        "Image": image,
        "Command": format!("\"{}\"", cut(&c.command, 19)),
        "RunningFor": units::ago(c.created),
        "CreatedAt": units::local_time(c.created),
        "Status": c.status,
        "State": c.state,
        "Ports": ports(&c.ports),
        "Names": c.names.iter().map(|n| n.trim_start_matches('/')).collect::<Vec<_>>().join(","),
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": c.network_settings.networks.keys().cloned().collect::<Vec<_>>().join(","),
        "LocalVolumes": c.mounts.iter().filter(|m| m.r#type == "volume").count().to_string(),
        "Size": match c.size_root_fs {
            0 => units::human_size(c.size_rw),
            all => format!("{} (virtual {})", units::human_size(c.size_rw), units::human_size(all)),
        },
    })
}

/// `0.0.0.0:8080->80/tcp, 81/tcp`; neighbouring ports are joined as `80-82/tcp`.
fn ports(ports: &[PortSummary]) -> String {
    let sorted: BTreeSet<(String, String, u16, u16)> =
        ports.iter().map(|p| (p.r#type.clone(), p.ip.clone(), p.private_port, p.public_port)).collect();
    let mut groups: Vec<(String, String, u16, u16, u16)> = Vec::new();
    for (proto, ip, private, public) in sorted {
        match groups.last_mut() {
            Some((p, i, first, first_public, count))
                if *p == proto
                    && *i == ip
                    && u32::from(*first) + u32::from(*count) == u32::from(private)
                    && (public == 0 && *first_public == 0
                        || *first_public != 0 && u32::from(*first_public) + u32::from(*count) == u32::from(public)) =>
            {
                *count += 1;
            }
            _ => groups.push((proto, ip, private, public, 1)),
        }
    }
    let range =
        |from: u16, count: u16| if count == 1 { from.to_string() } else { format!("{from}-{}", from + (count - 1)) };
    let text = groups.iter().map(|(proto, ip, private, public, count)| match public {
        0 => format!("{}/{proto}", range(*private, *count)),
        _ if ip.contains(':') => format!("[{ip}]:{}->{}/{proto}", range(*public, *count), range(*private, *count)),
        _ => format!("{ip}:{}->{}/{proto}", range(*public, *count), range(*private, *count)),
    });
    text.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined_where_they_follow_each_other() {
        let p = |ip: &str, private, public| PortSummary {
            ip: ip.into(),
            private_port: private,
            public_port: public,
            r#type: "tcp".into(),
        };
        assert_eq!(ports(&[]), "");
        assert_eq!(ports(&[p("0.0.0.0", 80, 8080)]), "0.0.0.0:8080->80/tcp");
        assert_eq!(
            ports(&[p("0.0.0.0", 81, 8081), p("0.0.0.0", 80, 8080), p("", 443, 0)]),
            "443/tcp, 0.0.0.0:8080-8081->80-81/tcp"
        );
        assert_eq!(
            ports(&[p("0.0.0.0", 80, 8080), p("0.0.0.0", 81, 9000)]),
            "0.0.0.0:8080->80/tcp, 0.0.0.0:9000->81/tcp"
        );
        assert_eq!(ports(&[p("::", 80, 8080)]), "[::]:8080->80/tcp");
    }
}
