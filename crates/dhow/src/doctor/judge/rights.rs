//! What this process, and the daemon, may do.

use super::super::facts::{Caller, Rights};
use super::super::finding::{Finding, Group, State};

/// Capabilities that dhow, or Docker's default set of a container, needs: number, name, what fails without it.
const CAPABILITIES: [(u32, &str, Option<&str>); 20] = [
    (21, "SYS_ADMIN", Some("namespaces and mounts can't be made")),
    (12, "NET_ADMIN", Some("no bridge, address or firewall rule can be made")),
    (0, "CHOWN", Some("layers can't be unpacked with their owners")),
    (1, "DAC_OVERRIDE", Some("files of others can't be opened")),
    (3, "FOWNER", Some("modes of files can't be set")),
    (7, "SETUID", Some("no program can be started as another user")),
    (6, "SETGID", Some("no program can be started in another group")),
    (8, "SETPCAP", Some("capabilities can't be taken from a container")),
    (18, "SYS_CHROOT", Some("a container can't have a root of its own")),
    (27, "MKNOD", Some("device nodes of images can't be made")),
    (5, "KILL", Some("containers of other users can't be stopped")),
    (24, "SYS_RESOURCE", None),
    (19, "SYS_PTRACE", None),
    (2, "DAC_READ_SEARCH", None),
    (4, "FSETID", None),
    (10, "NET_BIND_SERVICE", None),
    (13, "NET_RAW", None),
    (29, "AUDIT_WRITE", None),
    (31, "SETFCAP", None),
    (15, "IPC_OWNER", None),
];
/// Open files that a daemon with some hundred containers needs.
const ENOUGH_FILES: u64 = 4096;

/// The findings.
pub fn judge(r: &Rights, caller: &Caller) -> Vec<Finding> {
    let mut out = vec![root(caller)];
    if caller.is_root() {
        out.push(capabilities(r, caller));
    }
    out.push(files(r, caller));
    out.push(modules(r));
    let seen = match (&caller.container, r.filtered, r.no_new_privs) {
        (Some(kind), _, _) => format!("inside of a container ({kind})"),
        (None, true, _) => "a seccomp filter is on this process".to_owned(),
        (None, _, true) => "no_new_privs is set on this process".to_owned(),
        _ => "on the machine itself".to_owned(),
    };
    let f = Finding::new(Group::Privileges, "surroundings", "surroundings", seen);
    out.push(match (&caller.container, r.filtered || r.no_new_privs) {
        (Some(_), _) => f.note("whatever is taken from this container, dhow's own containers lack too; its root directory should be a volume, as overlayfs can't lie on overlayfs"),
        (None, true) => f.note("what it refuses, a daemon started from here, and its containers, are refused too"),
        (None, false) => f,
    });
    out
}

fn root(caller: &Caller) -> Finding {
    match caller.is_root() {
        true => Finding::new(Group::Privileges, "root", "user", "root"),
        false => Finding::new(Group::Privileges, "root", "user", format!("{} ({})", caller.user, caller.uid))
            .note("the daemon must run as root; who may open its socket needs no more. Some checks say nothing without root")
            .mend("sudo dhow doctor"),
    }
}

fn capabilities(r: &Rights, caller: &Caller) -> Finding {
    let has = |set: u64, number: u32| set & (1 << number) != 0;
    let lacking: Vec<_> =
        CAPABILITIES.iter().filter(|(n, _, _)| !(has(r.effective, *n) && has(r.bounding, *n))).collect();
    let whose = if r.files_of.is_some() { ", of the daemon" } else { "" };
    let f = Finding::new(Group::Privileges, "capabilities", "capabilities", format!("all that are needed{whose}"));
    if lacking.is_empty() {
        return f;
    }
    let names: Vec<String> = lacking.iter().map(|(_, name, _)| format!("CAP_{name}")).collect();
    let mut f = f;
    f.seen = match r.files_of {
        Some(_) => format!("the daemon lacks {}", names.join(", ")),
        None => format!("missing: {}", names.join(", ")),
    };
    let essential: Vec<&str> = lacking.iter().filter_map(|(_, _, why)| *why).collect();
    f = match essential.is_empty() {
        false => f.error(essential.join("; ")),
        true => f.warning(
            "containers can't be given what the daemon lacks: raised limits and programs that rely on these fail",
        ),
    };
    if caller.container.is_some() {
        let flags: Vec<String> = lacking.iter().map(|(_, name, _)| format!("--cap-add {name}")).collect();
        return f.mend_noted(
            format!("docker run {} IMAGE", flags.join(" ")),
            "start the surrounding container so, or with --privileged; what a process has lost does not come back to it",
        );
    }
    if caller.systemd {
        return f.mend_noted("systemd-run --pty dhow doctor", "a process that systemd starts has all of them; if the daemon's unit has CapabilityBoundingSet=, take that line out");
    }
    f.mend_noted(
        "grep Cap /proc/1/status",
        "what a process has lost does not come back to it: start the daemon from one that has them (init, a new login)",
    )
}

fn files(r: &Rights, caller: &Caller) -> Finding {
    let (soft, hard) = r.files;
    let whose = r.files_of.map_or("of this process".to_owned(), |pid| format!("of the daemon (process {pid})"));
    let shown = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
    let f = Finding::new(
        Group::Privileges,
        "files",
        "open files",
        format!("{}, at most {}, {whose}", shown(soft), shown(hard)),
    );
    // A client may have few.
    let state = match (soft, r.files_of) {
        (soft, _) if soft >= ENOUGH_FILES => return f,
        (soft, Some(_)) if soft < 256 => State::Error,
        (soft, None) if soft >= 1024 => State::Note,
        _ => State::Warning,
    };
    let f = f.state(state, "the daemon holds a few for each container, each client and each log that is followed; containers inherit the limit");
    match r.files_of {
        Some(pid) => f.mend_noted(
            // The hard limit is raised where it must be only: that takes a right of its own.
            match hard {
                hard if hard >= ENOUGH_FILES => format!("prlimit --pid {pid} --nofile={}:", hard.min(65_536)),
                _ => format!("prlimit --pid {pid} --nofile=65536:1048576"),
            },
            if caller.systemd {
                "for this run; to make it last: LimitNOFILE=1048576 in the daemon's unit"
            } else {
                "for this run; to make it last: ulimit -n 65536 in the shell that starts the daemon"
            },
        ),
        None => f.mend_noted(
            "ulimit -n 65536",
            "in the shell that starts the daemon; a unit of systemd has LimitNOFILE= for it",
        ),
    }
}

fn modules(r: &Rights) -> Finding {
    let f = |seen: String| Finding::new(Group::Privileges, "lsm", "security modules", seen);
    let listed = r.modules.as_ref().map_or_else(|| "not listed here".to_owned(), |m| m.join(", "));
    match (r.selinux, r.apparmor) {
        (Some(true), _) => f(format!("{listed}; SELinux enforces"))
            .note("containers get no label of their own: where a program is denied, the audit log says so")
            .mend_noted("ausearch -m avc -ts recent", "shows what was denied; `setenforce 0` until the next boot tells whether SELinux is the cause"),
        (Some(false), _) => f(format!("{listed}; SELinux only reports")),
        (None, true) => f(format!("{listed}; AppArmor is on")).note("containers run without a profile of AppArmor; seccomp, capabilities and masked paths are what confines them"),
        (None, false) => f(listed),
    }
}
