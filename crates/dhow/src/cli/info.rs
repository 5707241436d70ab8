//! `version` and `info`.

use super::context::Context;
use super::template::{Template, V, unescape};
use super::units::human_size;
use super::{Exit, output};
use anyhow::Result;
use clap::Parser;
use dhow_api::{Info, Version};
use serde_json::json;

/// Show the versions of client and daemon
#[derive(Parser, Debug)]
pub struct VersionArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Show what the daemon is and what the machine offers
#[derive(Parser, Debug)]
pub struct InfoArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

fn formatted(format: Option<&str>, document: &V) -> Result<bool> {
    match format {
        None | Some("") => return Ok(false),
        Some("json") => {
            let mut out = String::new();
            document.json(&mut out);
            output::line(out);
        }
        Some(text) => {
            let template = Template::parse(&unescape(text)).map_err(|error| {
                output::note(format!("template parsing error: {error:#}"));
                Exit(64)
            })?;
            // Docker ends the line that is not there.
            let text = template.render(document).inspect_err(|_| output::line(""))?;
            output::line(text);
        }
    }
    Ok(true)
}

/// `dhow version`.
pub fn version(context: &Context, args: VersionArgs) -> Result<i32> {
    let client = context.client();
    let server = context.with_daemon(&client, |c| c.get::<Version>("/version"));
    let newest = dhow_api::ApiVersion::NEWEST;
    let api = format!("{}.{}", newest.major, newest.minor);
    let own = json!({
        "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": api, "Os": std::env::consts::OS, "Arch": std::env::consts::ARCH,
        "Context": context.name,
    });
    let document = json!({ "Client": own, "Server": server.as_ref().ok() });
    if !formatted(args.format.as_deref(), &V::row("command.versionInfo", &document))? {
        let mut text = format!(
            "Client: dhow\n Version:      {}\n API version:  {api}\n OS/Arch:      {}/{}\n Context:      {}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH,
            context.name
        );
        if let Ok(server) = &server {
            text.push_str(&format!(
                "\nServer: {}\n Version:      {}\n API version:  {} (minimum version {})\n OS/Arch:      {}/{}\n Kernel:       {}\n",
                server.platform.name, server.version, server.api_version, server.min_api_version, server.os, server.arch, server.kernel_version
            ));
        }
        output::text_out(text);
    }
    server.map(|_| 0)
}

/// A list under its name, if it holds anything.
fn section(name: &str, rows: Vec<String>) {
    if !rows.is_empty() {
        output::line(format!("{name}:"));
        rows.iter().for_each(|row| output::line(format!(" {row}")));
    }
}

/// `dhow info`.
pub fn info(context: &Context, args: InfoArgs) -> Result<i32> {
    let client = context.client();
    let info: Info = context.with_daemon(&client, |c| c.get("/info"))?;
    let mut document = serde_json::to_value(&info)?;
    document["ClientInfo"] = json!({ "Context": context.name, "Debug": false, "Version": env!("CARGO_PKG_VERSION") });
    if formatted(args.format.as_deref(), &V::row("system.dhowInfo", &document))? {
        return Ok(0);
    }
    let mut lines = vec![
        ("Context", context.name.clone()),
        ("Containers", info.containers.to_string()),
        (" Running", info.containers_running.to_string()),
        (" Paused", info.containers_paused.to_string()),
        (" Stopped", info.containers_stopped.to_string()),
        ("Images", info.images.to_string()),
        ("Server Version", info.server_version.clone()),
        ("Storage Driver", info.driver.clone()),
    ];
    let status: Vec<(String, String)> = info.driver_status.iter().map(|[k, v]| (format!(" {k}"), v.clone())).collect();
    lines.extend(status.iter().map(|(k, v)| (k.as_str(), v.clone())));
    lines.extend([
        ("Logging Driver", info.logging_driver.clone()),
        ("Cgroup Driver", info.cgroup_driver.clone()),
        ("Cgroup Version", info.cgroup_version.clone()),
        ("Default Runtime", info.default_runtime.clone()),
        ("Security Options", info.security_options.join(", ")),
        ("Kernel Version", info.kernel_version.clone()),
        ("Operating System", info.operating_system.clone()),
        ("OSType", info.os_type.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.ncpu.to_string()),
        ("Total Memory", human_size(info.mem_total)),
        ("Name", info.name.clone()),
        ("ID", info.id.clone()),
        ("Root Dir", info.docker_root_dir.clone()),
    ]);
    let proxies = [("HTTP Proxy", &info.http_proxy), ("HTTPS Proxy", &info.https_proxy), ("No Proxy", &info.no_proxy)];
    lines.extend(proxies.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (*k, (*v).clone())));
    for (name, value) in lines {
        output::line(format!("{name}: {value}"));
    }
    let registries = info.registry_config.unwrap_or_default();
    let insecure = registries.index_configs.values().filter(|i| !i.secure).map(|i| i.name.clone());
    section("Insecure Registries", insecure.chain(registries.insecure_registry_cidrs.iter().cloned()).collect());
    let mirrors = registries.index_configs.values().flat_map(|index| {
        // Docker knows mirrors of its own registry only.
        let of = if index.official { String::new() } else { format!(" ({})", index.name) };
        index.mirrors.iter().map(move |mirror| format!("{mirror}{of}"))
    });
    section("Registry Mirrors", mirrors.collect());
    info.warnings.iter().flatten().for_each(|w| output::note(format!("WARNING: {w}")));
    Ok(0)
}
