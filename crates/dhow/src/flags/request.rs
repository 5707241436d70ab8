//! The flags of `run` and `create`, with image and command, as one `POST /containers/create` document.

use super::container::ContainerFlags;
use super::volumes::Volume;
use super::{devices, env, network, ports, volumes};
use crate::cli::units;
use anyhow::{Context, Result, bail};
use dhow_api::config::Words;
use dhow_api::{ContainerConfig, ContainerCreateRequest, HostConfig, LogConfig, Mount};
use std::path::PathBuf;

/// What the flags may look at outside of themselves.
pub struct Caller<'a> {
    /// The working directory.
    pub cwd: PathBuf,
    /// The home directory.
    pub home: Option<String>,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Rows and columns of the terminal, if there is one.
    pub terminal: Option<(u16, u16)>,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Reads a file that a flag names (a seccomp profile).
    pub read: &'a dyn Fn(&str) -> std::io::Result<String>,
    /// Variables that every container has, unless it is given others.
    pub proxies: Vec<(&'static str, &'a str)>,
}

/// Builds the document. `detached`: nobody will read the output.
pub fn build(
    flags: &ContainerFlags,
    image: &str,
    command: &[String],
    detached: bool,
    caller: &Caller<'_>,
) -> Result<ContainerCreateRequest> {
    refuse(flags)?;
    let home = caller.home.as_deref();
    let volumes_: Vec<Volume> =
        flags.volume.iter().map(|v| volumes::volume(v, &caller.cwd, home)).collect::<Result<_>>()?;
    let mut mounts = flags.mount.iter().map(|m| volumes::mount(m, &caller.cwd, home)).collect::<Result<Vec<_>>>()?;
    if flags.use_api_socket {
        mounts.push(Mount {
            r#type: "bind".into(),
            source: caller.socket.display().to_string(),
            target: "/var/run/docker.sock".into(),
            ..Mount::default()
        });
    }
    let (bindings, exposed) = ports::parse(&flags.publish, &flags.expose)?;
    let streams = streams(flags, detached)?;
    let mut variables = env::variables(&flags.env_file, &flags.env, caller.variable)?;
    let given = |name: &str| variables.iter().chain(&flags.env).any(|v| v.split('=').next() == Some(name));
    let proxies: Vec<String> =
        caller.proxies.iter().filter(|(name, _)| !given(name)).map(|(name, value)| format!("{name}={value}")).collect();
    variables.extend(proxies);
    let config = ContainerConfig {
        hostname: flags.hostname.clone().unwrap_or_default(),
        domainname: flags.domainname.clone().unwrap_or_default(),
        user: flags.user.clone().unwrap_or_default(),
        attach_stdin: streams.0,
        attach_stdout: streams.1,
        attach_stderr: streams.2,
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        tty: flags.tty,
        open_stdin: flags.interactive,
        stdin_once: flags.interactive && streams.0,
        env: some(variables),
        cmd: (!command.is_empty()).then(|| Words(command.to_vec())),
        healthcheck: flags.health.config()?,
        image: if flags.rootfs { String::new() } else { image.to_owned() },
        volumes: Some(volumes::anonymous(&volumes_)).filter(|v| !v.is_empty()),
        working_dir: flags.workdir.clone().unwrap_or_default(),
        // an empty `--entrypoint ""` takes the image's away
        entrypoint: flags.entrypoint.clone().map(|e| Words(vec![e])),
        labels: Some(env::labels(&flags.label_file, &flags.label)?).filter(|l| !l.is_empty()),
        stop_signal: flags.stop_signal.clone().unwrap_or_default(),
        stop_timeout: flags.stop_timeout,
        ..ContainerConfig::default()
    };
    let (network, networking) = network::parse(flags)?;
    let binds = volumes_.into_iter().filter_map(|v| match v {
        Volume::Bind(text) => Some(text),
        Volume::Anonymous(_) => None,
    });
    let mut host = HostConfig {
        binds: some(binds.collect()),
        mounts: some(mounts),
        tmpfs: some(flags.tmpfs.iter().map(|t| volumes::tmpfs(t)).collect::<Vec<_>>()).map(|t| t.into_iter().collect()),
        network_mode: network,
        port_bindings: Some(bindings).filter(|b| !b.is_empty()),
        publish_all_ports: flags.publish_all,
        auto_remove: flags.rm,
        volumes_from: some(flags.volumes_from.clone()),
        volume_driver: flags.volume_driver.clone().unwrap_or_default(),
        annotations: Some(env::labels(&[], &flags.annotation)?).filter(|a| !a.is_empty()),
        console_size: caller
            .terminal
            .filter(|_| flags.tty)
            .map_or([0, 0], |(rows, columns)| [rows.into(), columns.into()]),
        container_id_file: flags.cidfile.as_ref().map(|f| f.display().to_string()).unwrap_or_default(),
        rootfs: flags.rootfs.then(|| image.to_owned()),
        restart_on: flags.health.restart_on.clone().unwrap_or_default(),
        runtime: flags.runtime.clone().unwrap_or_default(),
        restart_policy: super::restart::policy(&flags.restart)?,
        init: flags.init.then_some(true),
        log_config: LogConfig {
            r#type: flags.log_driver.clone().unwrap_or_default(),
            config: Some(env::labels(&[], &flags.log_opt)?).filter(|o| !o.is_empty()),
        },
        dns: some(flags.dns.clone()),
        dns_options: some(flags.dns_option.clone()),
        dns_search: some(flags.dns_search.clone()),
        extra_hosts: some(flags.add_host.iter().map(|h| add_host(h)).collect::<Result<_>>()?),
        group_add: some(flags.group_add.clone()),
        readonly_rootfs: flags.read_only,
        ..HostConfig::default()
    };
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        bail!("conflicting options: cannot specify both --restart and --rm");
    }
    isolation(flags, caller, &mut host)?;
    limits(flags, &mut host)?;
    Ok(ContainerCreateRequest { config, host_config: host, networking_config: networking })
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// What is no question of the daemon.
fn refuse(flags: &ContainerFlags) -> Result<()> {
    if flags.log_driver.as_deref() == Some("none") && !flags.log_opt.is_empty() {
        bail!("invalid logging opts for driver none");
    }
    match flags.pull.as_str() {
        "" | "always" | "missing" | "never" => {}
        other => bail!("invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""),
    }
    if flags.disable_content_trust == Some(false) {
        bail!("--disable-content-trust=false: signatures of images can't be verified; leave the flag out");
    }
    Ok(())
}

fn streams(flags: &ContainerFlags, detached: bool) -> Result<(bool, bool, bool)> {
    if detached {
        if !flags.attach.is_empty() {
            bail!("conflicting options: cannot specify both --attach and --detach");
        }
        return Ok((false, false, false));
    }
    if flags.attach.is_empty() {
        return Ok((flags.interactive, true, true));
    }
    let mut chosen = (false, false, false);
    for name in &flags.attach {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => chosen.0 = true,
            "stdout" => chosen.1 = true,
            "stderr" => chosen.2 = true,
            _ => bail!("invalid argument {name:?} for -a: valid streams are STDIN, STDOUT and STDERR"),
        }
    }
    Ok(chosen)
}

/// `HOST:IP`, `HOST=IP` or `HOST:host-gateway`, as the daemon takes it.
pub fn add_host(text: &str) -> Result<String> {
    let (host, ip) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((host, ip)) if !host.is_empty() && !host.contains(':') => {
            (host, ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip))
        }
        _ => bail!("bad format for add-host: {text:?}"),
    };
    if ip != "host-gateway" && ip.parse::<std::net::IpAddr>().is_err() {
        bail!("invalid IP address in add-host: {ip:?}");
    }
    Ok(format!("{host}:{ip}"))
}

fn isolation(flags: &ContainerFlags, caller: &Caller<'_>, host: &mut HostConfig) -> Result<()> {
    host.cap_add = some(capabilities(&flags.cap_add)).map(Words);
    host.cap_drop = some(capabilities(&flags.cap_drop)).map(Words);
    modes(flags)?;
    host.privileged = flags.privileged;
    host.isolation = flags.isolation.clone().unwrap_or_default();
    host.devices = some(flags.device.iter().map(|d| devices::device(d)).collect::<Result<_>>()?);
    host.device_cgroup_rules = some(flags.device_cgroup_rule.clone());
    host.sysctls = Some(env::pairs("--sysctl", &flags.sysctl)?).filter(|s| !s.is_empty());
    host.pid_mode = flags.pid.clone().unwrap_or_default();
    host.ipc_mode = flags.ipc.clone().unwrap_or_default();
    host.uts_mode = flags.uts.clone().unwrap_or_default();
    host.userns_mode = flags.userns.clone().unwrap_or_default();
    host.cgroupns_mode = flags.cgroupns.clone().unwrap_or_default();
    let mut options = Vec::new();
    for option in &flags.security_opt {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        if value.is_empty() && name != "no-new-privileges" {
            bail!("Invalid --security-opt: {option:?}");
        }
        // the daemon can't read the caller's file: its text travels, as with Docker
        match option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:")) {
            Some(file) if file != "unconfined" && file != "builtin" => {
                let text = (caller.read)(file)
                    .with_context(|| format!("opening seccomp profile ({file}) failed: open {file}"))?;
                let profile: serde_json::Value = serde_json::from_str(&text)
                    .with_context(|| format!("compacting json for seccomp profile ({file}) failed"))?;
                options.push(format!("seccomp={profile}"));
            }
            _ if option == "systempaths=unconfined" => {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
            }
            _ => options.push(option.clone()),
        }
    }
    host.security_opt = some(options);
    Ok(())
}

/// Capabilities as Docker's client sends them: with their prefix, each once, in order.
fn capabilities(given: &[String]) -> Vec<String> {
    let full = |name: &String| match name.to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    given.iter().map(full).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Namespaces that there is no such form of. `private`, which is the usual one, may be said.
fn modes(flags: &ContainerFlags) -> Result<()> {
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let known = |mode: &Option<String>, also: &[&str]| {
        mode.as_deref().is_none_or(|mode| mode.is_empty() || mode == "host" || also.contains(&mode))
    };
    if !known(&flags.pid, &["private"]) && !flags.pid.as_deref().is_some_and(of_container) {
        bail!("--pid: invalid PID mode");
    }
    for (mode, also, said) in [
        (&flags.uts, &["private"][..], "--uts: invalid UTS mode"),
        (&flags.userns, &[], "--userns: invalid USER mode"),
        (&flags.cgroupns, &["private"], "--cgroupns: invalid CGROUP mode"),
    ] {
        if !known(mode, also) {
            bail!(said);
        }
    }
    Ok(())
}

fn limits(flags: &ContainerFlags, host: &mut HostConfig) -> Result<()> {
    let size = |flag: &str, text: &Option<String>| -> Result<i64> {
        text.as_deref().map_or(Ok(0), |t| units::bytes(t).with_context(|| format!("invalid argument for {flag}")))
    };
    if let Some(percent) = flags.memory_swappiness.filter(|percent| !(-1..=100).contains(percent)) {
        bail!("invalid value: {percent}. Valid memory swappiness range is 0-100");
    }
    host.memory = size("--memory", &flags.memory)?;
    host.memory_reservation = size("--memory-reservation", &flags.memory_reservation)?;
    host.memory_swap =
        if flags.memory_swap.as_deref() == Some("-1") { -1 } else { size("--memory-swap", &flags.memory_swap)? };
    host.memory_swappiness = flags.memory_swappiness;
    host.shm_size = size("--shm-size", &flags.shm_size)?;
    host.oom_kill_disable = flags.oom_kill_disable.then_some(true);
    host.oom_score_adj = flags.oom_score_adj.unwrap_or_default();
    host.nano_cpus = flags.cpus.as_deref().map_or(Ok(0), units::nano_cpus)?;
    host.cpu_shares = flags.cpu_shares.unwrap_or_default();
    host.cpu_period = flags.cpu_period.unwrap_or_default();
    host.cpu_quota = flags.cpu_quota.unwrap_or_default();
    host.cpu_realtime_period = flags.cpu_rt_period.unwrap_or_default();
    host.cpu_realtime_runtime = flags.cpu_rt_runtime.unwrap_or_default();
    host.cpuset_cpus = flags.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = flags.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = flags.pids_limit;
    host.blkio_weight = flags.blkio_weight.unwrap_or_default();
    host.blkio_weight_device =
        some(flags.blkio_weight_device.iter().map(|w| devices::weight(w)).collect::<Result<_>>()?);
    let rates = |list: &[String], bytes| -> Result<_> {
        Ok(some(list.iter().map(|t| devices::throttle(t, bytes)).collect::<Result<Vec<_>>>()?))
    };
    host.blkio_device_read_bps = rates(&flags.device_read_bps, true)?;
    host.blkio_device_write_bps = rates(&flags.device_write_bps, true)?;
    host.blkio_device_read_iops = rates(&flags.device_read_iops, false)?;
    host.blkio_device_write_iops = rates(&flags.device_write_iops, false)?;
    host.ulimits = some(flags.ulimit.iter().map(|u| devices::ulimit(u)).collect::<Result<_>>()?);
    host.cgroup_parent = flags.cgroup_parent.clone().unwrap_or_default();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse::parse;
    use clap::Parser;

    #[derive(Parser)]
    struct Words_ {
        #[command(flatten)]
        flags: ContainerFlags,
        #[arg(trailing_var_arg = true)]
        rest: Vec<String>,
    }

    fn request(line: &str) -> Result<ContainerCreateRequest> {
        let words = line.split_whitespace().map(std::ffi::OsString::from).collect();
        let grammar = crate::flags::parse::Grammar {
            path: "run",
            usage: "",
            arguments: crate::flags::parse::Count { least: 1, most: None },
            aliases: Vec::new(),
        };
        let words: Words_ = parse(&grammar, words).map_err(|_| anyhow::anyhow!("usage"))?;
        let caller = Caller {
            cwd: "/w".into(),
            socket: "/run/d.sock".into(),
            home: None,
            variable: &|_| None,
            terminal: Some((24, 80)),
            read: &|_| Ok(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#.into()),
            proxies: vec![("HTTP_PROXY", "p"), ("http_proxy", "p")],
        };
        build(&words.flags, &words.rest[0], &words.rest[1..], false, &caller)
    }

    #[test]
    fn the_common_line() {
        let r = request("-it --rm -m 256m --cpus 0.5 -p 8080:80 --pids-limit 50 debian bash -l").unwrap();
        assert_eq!(r.config.image, "debian");
        assert_eq!(r.config.cmd.unwrap().0, ["bash", "-l"]);
        assert!(r.config.tty && r.config.open_stdin && r.config.stdin_once && r.config.attach_stdin);
        let h = r.host_config;
        assert_eq!((h.memory, h.nano_cpus, h.pids_limit, h.auto_remove), (256 << 20, 500_000_000, Some(50), true));
        assert_eq!((h.network_mode.as_str(), h.console_size), ("default", [24, 80]));
        assert_eq!(h.port_bindings.unwrap()["80/tcp"].as_ref().unwrap()[0].host_port, "8080");
    }

    #[test]
    fn capabilities_have_their_full_names_once() {
        let h = request("--cap-add net_admin --cap-add CAP_NET_ADMIN --cap-add all --cap-drop chown x")
            .unwrap()
            .host_config;
        assert_eq!(h.cap_add.unwrap().0, ["ALL", "CAP_NET_ADMIN"]);
        assert_eq!(h.cap_drop.unwrap().0, ["CAP_CHOWN"]);
    }

    #[test]
    fn containers_are_told_of_proxies_unless_they_are_given_others() {
        let env = |line: &str| request(line).unwrap().config.env.unwrap();
        assert_eq!(env("-e A=1 x"), ["A=1", "HTTP_PROXY=p", "http_proxy=p"]);
        assert_eq!(env("-e HTTP_PROXY= -e http_proxy x"), ["HTTP_PROXY="]);
    }

    #[test]
    fn a_root_directory_takes_the_images_place() {
        let r = request("--rootfs /:O bash").unwrap();
        assert_eq!((r.config.image.as_str(), r.host_config.rootfs.as_deref()), ("", Some("/:O")));
    }

    #[test]
    fn profiles_travel_and_paths_are_unmasked() {
        let h = request("--security-opt seccomp=p.json --security-opt systempaths=unconfined x").unwrap().host_config;
        assert_eq!(h.security_opt.unwrap(), [r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#]);
        assert_eq!((h.masked_paths, h.readonly_paths), (Some(vec![]), Some(vec![])));
    }

    #[test]
    fn the_socket_is_mounted_where_clients_look_for_it() {
        let mounts = request("--use-api-socket x").unwrap().host_config.mounts.unwrap();
        assert_eq!((mounts[0].source.as_str(), mounts[0].target.as_str()), ("/run/d.sock", "/var/run/docker.sock"));
        assert!(request("x").unwrap().host_config.mounts.is_none());
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (line, part) in [
            ("--restart :3 x", "no policy provided before colon"),
            ("--restart always --rm x", "cannot specify both --restart and --rm"),
            ("--pull often x", "must be one of \"always\", \"missing\" or \"never\""),
            ("--network a --network bridge x", "both user-defined and non-user-defined"),
            ("--disable-content-trust=false x", "can't be verified"),
            ("--add-host nope x", "usage"),
            ("--log-driver none --log-opt a=b x", "invalid logging opts for driver none"),
            ("--pid x y", "--pid: invalid PID mode"),
            ("--pid container: y", "--pid: invalid PID mode"),
            ("--uts x y", "--uts: invalid UTS mode"),
            ("--userns private y", "--userns: invalid USER mode"),
            ("--cgroupns x y", "--cgroupns: invalid CGROUP mode"),
            ("--security-opt x y", "Invalid --security-opt: \"x\""),
            ("--security-opt apparmor y", "Invalid --security-opt: \"apparmor\""),
            ("--memory-swappiness 101 y", "invalid value: 101. Valid memory swappiness range is 0-100"),
        ] {
            assert!(format!("{:#}", request(line).unwrap_err()).contains(part), "{line}");
        }
    }
}
