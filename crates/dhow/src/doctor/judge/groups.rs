//! Control groups: which limits can be enforced.

use super::super::facts::{Caller, Groups};
use super::super::finding::{Finding, Group};

/// Controllers that limits are made of: what each is for, and whether Docker's users rely on it daily.
const WANTED: [(&str, &str, bool); 5] = [
    ("memory", "--memory", true),
    ("pids", "--pids-limit", true),
    ("cpu", "--cpus", true),
    ("cpuset", "--cpuset-cpus", false),
    ("io", "--device-read-bps and its like", false),
];

/// The findings.
pub fn judge(g: &Groups, caller: &Caller) -> Vec<Finding> {
    let mut out = vec![version(g, caller)];
    if g.mode == "none" {
        return out;
    }
    out.push(controllers(g, caller));
    out.push(writable(g, caller));
    if let Some(handed) = &g.handed_down {
        out.push(delegation(g, handed));
    }
    if g.swap > 0 && g.swap_counted == Some(false) {
        out.push(boot(
            Finding::new(Group::Cgroups, "swap", "swap", format!("{} of swap, not counted", super::size(g.swap)))
                .warning("--memory-swap is refused, and a container above its memory limit goes on into the swap"),
            caller,
            "swapaccount=1",
        ));
    } else {
        let seen = match (g.swap, g.swap_counted) {
            (0, _) => "none, so nothing to count".to_owned(),
            (swap, _) => format!("{} of swap, counted", super::size(swap)),
        };
        out.push(Finding::new(Group::Cgroups, "swap", "swap", seen));
    }
    if let Some(kill) = g.kill {
        let f = Finding::new(Group::Cgroups, "kill", "cgroup.kill", if kill { "is there" } else { "is missing" });
        out.push(match kill {
            true => f,
            false => f.note(
                "Linux 5.14 has it; without it the processes of a group are killed one by one while it is frozen",
            ),
        });
    }
    out
}

/// The boot parameter that mends it.
fn boot(finding: Finding, caller: &Caller, parameter: &str) -> Finding {
    let note = "takes effect, and costs, a reboot";
    match caller.packager.as_str() {
        "dnf" | "yum" => finding.mend_noted(format!("grubby --update-kernel=ALL --args={parameter}"), note),
        _ => finding.mend_noted(
            format!("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameter} /' /etc/default/grub && update-grub"),
            format!(
                "{note}; on a Raspberry Pi the parameter belongs at the end of the line in /boot/firmware/cmdline.txt"
            ),
        ),
    }
}

fn version(g: &Groups, caller: &Caller) -> Finding {
    let f = Finding::new(Group::Cgroups, "version", "version", g.mode.clone());
    match g.mode.as_str() {
        "v2" => f,
        "none" => f
            .error("without control groups nothing is limited, and a container's processes are found by no group")
            .mend_noted(
                "mount -t cgroup2 none /sys/fs/cgroup",
                "to make it last, a line in /etc/fstab: none /sys/fs/cgroup cgroup2 defaults 0 0",
            ),
        _ if caller.systemd => boot(
            f.note("all limits work on it; systemd and the kernel are giving it up"),
            caller,
            "systemd.unified_cgroup_hierarchy=1",
        ),
        _ => f.note("all limits work on it; what mounts the groups at boot decides (not systemd here)"),
    }
}

fn controllers(g: &Groups, caller: &Caller) -> Finding {
    let has = |name: &str| g.controllers.iter().any(|c| c == name || (name == "io" && c == "blkio"));
    let lacking: Vec<_> = WANTED.iter().filter(|(name, _, _)| !has(name)).collect();
    let f = Finding::new(Group::Cgroups, "controllers", "controllers", g.controllers.join(" "));
    if lacking.is_empty() {
        return f;
    }
    let names: Vec<&str> = lacking.iter().map(|(name, _, _)| *name).collect();
    let flags: Vec<&str> = lacking.iter().map(|(_, flag, _)| *flag).collect();
    let mut f = f;
    f.seen =
        format!("missing: {}; there: {}", names.join(", "), if g.controllers.is_empty() { "none" } else { &f.seen });
    let daily = lacking.iter().any(|(_, _, daily)| *daily);
    let why = format!("refused by name: {}", flags.join(", "));
    f = if daily { f.warning(why) } else { f.note(why) };
    let off: Vec<&&str> = names.iter().filter(|n| g.switched_off.iter().any(|o| o == **n)).collect();
    if let Some(name) = off.first() {
        return boot(f, caller, &format!("cgroup_enable={name}"));
    }
    if g.mode == "v2" {
        let above = parent(&g.own);
        let plus: Vec<String> = names.iter().map(|n| format!("+{n}")).collect();
        let note = match caller.systemd {
            true => "in a service, `Delegate=yes` in its unit makes it last",
            false => "in the group above; fails where that has not got it either: then one further up",
        };
        return f.mend_noted(format!("echo '{}' > {}{above}/cgroup.subtree_control", plus.join(" "), g.mount), note);
    }
    let name = names.first().copied().unwrap_or("memory");
    let kernel_name = if name == "io" { "blkio" } else { name };
    f.mend(format!(
        "mkdir -p /sys/fs/cgroup/{kernel_name} && mount -t cgroup -o {kernel_name} none /sys/fs/cgroup/{kernel_name}"
    ))
}

/// The group above, as a path behind a mount point.
fn parent(own: &str) -> &str {
    own.rsplit_once('/').map_or("", |(above, _)| above)
}

fn writable(g: &Groups, caller: &Caller) -> Finding {
    let place = match caller.container {
        Some(_) => format!("{} in {}, in a container", g.own, g.mount),
        None => format!("{} in {}", g.own, g.mount),
    };
    if !g.read_only {
        return Finding::new(Group::Cgroups, "writable", "place", place);
    }
    Finding::new(Group::Cgroups, "writable", "place", format!("{place}: mounted read-only"))
        .error("no group can be made, so no container starts")
        .mend_noted(
            format!("mount -o remount,rw {}", g.mount),
            "inside of a container, start that one with --privileged instead (or --cgroupns=private and a writable /sys/fs/cgroup)",
        )
}

fn delegation(g: &Groups, handed: &[String]) -> Finding {
    let held: Vec<&str> = WANTED.iter().map(|w| w.0).filter(|w| g.controllers.iter().any(|c| c == w)).collect();
    let kept: Vec<&str> = held.iter().copied().filter(|c| !handed.iter().any(|h| h == c)).collect();
    let seen = match handed.is_empty() {
        true => "nothing is handed down yet".to_owned(),
        false => handed.join(" "),
    };
    let f = Finding::new(Group::Cgroups, "delegation", "handed down", seen);
    match kept.is_empty() {
        true => f,
        // The daemon hands down what it needs.
        false => f.note(format!(
            "{} not handed to groups below {} yet: the daemon does that when it starts the first container",
            kept.join(", "),
            g.own
        )),
    }
}
