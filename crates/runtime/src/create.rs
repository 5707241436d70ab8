//! Makes a container's first process: decides, opens what only the parent may open, clones once, and follows the
//! child until it waits for its start.

use crate::child::mounts::open_source;
use crate::child::setup::Setup;
use crate::child::tree::Root;
use crate::context::Context;
use crate::created::Created;
use crate::detour::Detour;
use crate::hooks;
use crate::idmap;
use crate::launch::{Launch, Stdio};
use crate::notify::NotifyTarget;
use crate::plan::{Ns, Plan, Source};
use crate::seccomp::{self, Arch, Program};
use crate::spec::{NamespaceKind, OCI_VERSION, Seccomp};
use crate::state::{State, Status};
use crate::wire::{Message, Wire};
use dhow_sys::clone::{self, Child};
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_sys::procfs::Procfs;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Makes the container's process. It is set up and waits; [`Created::start`] lets its program run.
///
/// The caller must be single-threaded. It is not dumpable afterwards, so that a copy of it never is.
pub fn create(mut launch: Launch<'_>) -> Result<Created> {
    let given: Vec<NamespaceKind> = launch.namespaces.iter().map(|(kind, _)| *kind).collect();
    let mut plan = Plan::new(launch.spec, launch.bundle, &given)?;
    let linux = launch.spec.linux.as_ref();
    let seccomp = filter(launch.seccomp, linux.and_then(|l| l.seccomp.as_ref()))?;
    let state = State {
        oci_version: OCI_VERSION.into(),
        id: launch.id.to_owned(),
        status: Status::Creating,
        pid: None,
        bundle: launch.bundle.display().to_string(),
        annotations: launch.spec.annotations.clone(),
    };
    let new_user = plan.namespaces.is_new(NamespaceKind::User);
    let (sources, root_mount) = open_for_child(&launch, &plan, new_user)?;
    let (joins, detour) = joined_namespaces(&launch, &plan, new_user)?;
    let (ours, theirs) = Wire::pair()?;
    undumpable()?;

    let stdio = std::mem::replace(&mut launch.stdio, Stdio::Inherit);
    let v2_dir = launch.cgroup.and_then(|g| g.v2_dir());
    let wants_cgroup_mount = plan.mounts.iter().any(|m| m.source == Source::Cgroup);
    let setup = Setup {
        wire: &theirs,
        spec: launch.spec,
        plan: &plan,
        rootfs: &launch.rootfs,
        root_mount,
        sources,
        stdio: &stdio,
        joiner: launch.cgroup.map(|g| g.joiner(v2_dir.is_some())).transpose()?,
        cgroup_mounts: match launch.cgroup {
            Some(group) if wants_cgroup_mount => group.mount_plan(),
            _ => Vec::new(),
        },
        join: joins,
        seccomp: seccomp.as_deref(),
        state: &state,
        init_binary: launch.init_binary,
        parent_death_signal: launch.parent_death_signal,
        preserve_fds: launch.preserve_fds,
        keep_keyring: launch.no_new_keyring,
        no_pivot: launch.no_pivot,
        start_listener: launch.start_listener.as_ref(),
        groups_locked: false,
    };
    let child = spawn(&plan, detour, v2_dir, setup)?;
    drop(theirs);
    drop(stdio);
    let mut created = Created {
        pid: child.pid,
        pidfd: child.pidfd,
        wire: Some(ours),
        console: None,
        notify: notify_target(seccomp.as_deref(), &state),
        warnings: std::mem::take(&mut plan.warnings),
        started: false,
        held: launch.start_listener.is_some(),
    };
    let result = follow(&mut created, &launch, &plan, &state);
    if let Err(e) = result {
        created.kill_and_reap();
        return Err(e);
    }
    if created.held {
        created.wire = None;
    }
    Ok(created)
}

fn spawn(plan: &Plan, detour: Detour, cgroup: Option<std::os::fd::BorrowedFd<'_>>, setup: Setup<'_>) -> Result<Child> {
    let _back = detour.enter(plan)?;
    clone::spawn(plan.namespaces.clone_flags(), cgroup, move || setup.run()).map_err(|e| {
        let hint = match e.raw_os_error() {
            Some(n) if n == rustix::io::Errno::NOSYS.raw_os_error() => {
                " (clone3 needs Linux 5.3, and a filter that lets it through)"
            }
            Some(n) if n == rustix::io::Errno::NOSPC.raw_os_error() => {
                " (too many namespaces: see /proc/sys/user/max_*_namespaces)"
            }
            Some(n) if n == rustix::io::Errno::AGAIN.raw_os_error() => " (too many processes)",
            _ => "",
        };
        let e = Error::from(e);
        Error::new(e.kind(), format!("make the container's process: {}{hint}", e.text()))
    })
}

/// What the parent does while the child sets itself up.
fn follow(created: &mut Created, launch: &Launch<'_>, plan: &Plan, state: &State) -> Result<()> {
    let new_user = plan.namespaces.is_new(NamespaceKind::User);
    if new_user || plan.process.oom_score_adj.is_some() {
        let procfs = Procfs::host().context("open /proc")?;
        if let Some(adj) = plan.process.oom_score_adj {
            set_oom_score_adj(&procfs, created.pid, adj, &mut created.warnings)?;
        }
        if new_user {
            idmap::write(&procfs, created.pid, &plan.uid_map, &plan.gid_map)?;
            if let Some(wire) = &created.wire {
                wire.send(&Message::Continue)?;
            }
        }
    }
    created.until_ready(|pid| {
        let Some(h) = &launch.spec.hooks else { return Ok(()) };
        let state = State { pid: Some(pid), ..state.clone() };
        hooks::run("prestart", &h.prestart, &state)?;
        hooks::run("createRuntime", &h.create_runtime, &state)
    })
}

/// Sets the score, or the nearest that is allowed.
pub(crate) fn set_oom_score_adj(procfs: &Procfs, pid: i32, adj: i32, warnings: &mut Vec<String>) -> Result<()> {
    let path = format!("{pid}/oom_score_adj");
    let write = |n: i32| procfs.write(&path, n.to_string().as_bytes());
    match write(adj) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            // Without CAP_SYS_RESOURCE a process may not go below what it started with.
            let own = procfs.read("self/oom_score_adj", 16).context("read oom_score_adj")?;
            let own: i32 = String::from_utf8_lossy(&own).trim().parse().unwrap_or(0);
            warnings.push(format!(
                "process.oomScoreAdj {adj} is below the runtime's own and was clamped to {own} (it has no CAP_SYS_RESOURCE)"
            ));
            write(own).context("set process.oomScoreAdj")
        }
        Err(e) => Err(e).context("set process.oomScoreAdj"),
    }
}

/// Mount sources, and the root, that only a process of the host's user namespace can open or map.
fn open_for_child(launch: &Launch<'_>, plan: &Plan, new_user: bool) -> Result<(Vec<Option<OwnedFd>>, Option<OwnedFd>)> {
    if !new_user && plan.mounts.iter().all(|m| m.id_map.is_none()) {
        return Ok((Vec::new(), None));
    }
    // As the child's own copies would be: what the host mounts below may come in, nothing goes out.
    let slave = Attributes { propagation: attr::SLAVE, ..Attributes::default() };
    let mut sources = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let what = || format!("mount {}", mount.destination.display());
        let source = match &mount.source {
            Source::Bind { path, tree } if new_user || mount.id_map.is_some() => {
                let fd = open_source(path, *tree).with_context(what)?;
                set_attributes(fd.as_fd(), &slave, true).with_context(what)?;
                if let Some((uids, gids)) = &mount.id_map {
                    idmap::apply(fd.as_fd(), uids, gids, mount.options.id_map).with_context(what)?;
                }
                Some(fd)
            }
            _ => None,
        };
        sources.push(source);
    }
    let root = match new_user {
        true => {
            let root = Root::new(&launch.rootfs, &mut None)?;
            set_attributes(root.mount.as_fd(), &slave, true).context("detach the root from the host's mounts")?;
            Some(root.mount)
        }
        false => None,
    };
    Ok((sources, root))
}

/// Who joins what: the child, unless it could no longer (a new user namespace takes its rights away) or could not at
/// all (a pid namespace is joined by one's children).
fn joined_namespaces(
    launch: &Launch<'_>,
    plan: &Plan,
    new_user: bool,
) -> Result<(Vec<(NamespaceKind, OwnedFd)>, Detour)> {
    let mut child = Vec::new();
    let mut detour = Detour::default();
    for (kind, ns) in plan.namespaces.joined() {
        let fd = match ns {
            Ns::Join(path) => open_namespace(path, kind)?,
            _ => {
                let given = launch.namespaces.iter().find(|(k, _)| *k == kind);
                let (_, fd) = given.ok_or_else(|| Error::system(format!("no descriptor for {kind:?}")))?;
                fd.try_clone().context("copy a namespace's descriptor")?
            }
        };
        if kind == NamespaceKind::Pid || (new_user && kind != NamespaceKind::Cgroup) {
            detour.add(kind, fd);
        } else {
            child.push((kind, fd));
        }
    }
    // The user namespace first: it gives the rights over the others. The mount namespace last: it changes the root.
    child.sort_by_key(|(kind, _)| match kind {
        NamespaceKind::User => 0,
        NamespaceKind::Mount => 2,
        _ => 1,
    });
    Ok((child, detour))
}

fn open_namespace(path: &Path, kind: NamespaceKind) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| {
        let error = Error::from(std::io::Error::from(e)).prefixed(format!("{kind:?} namespace {}", path.display()));
        if e == rustix::io::Errno::NOENT { error.with_kind(ErrorKind::NotFound) } else { error }
    })
}

/// The filter: the one given, or the document's, compiled.
pub(crate) fn filter<'a>(given: Option<&'a Program>, doc: Option<&Seccomp>) -> Result<Option<Cow<'a, Program>>> {
    match (given, doc) {
        (Some(program), _) => Ok(Some(Cow::Borrowed(program))),
        (None, Some(doc)) => Ok(Some(Cow::Owned(seccomp::compile(doc, Arch::native())?))),
        (None, None) => Ok(None),
    }
}

pub(crate) fn notify_target(program: Option<&Program>, state: &State) -> Option<NotifyTarget> {
    let listener = program?.listener()?;
    Some(NotifyTarget { path: listener.path.clone(), metadata: listener.metadata.clone(), state: state.clone() })
}

/// Nobody but the host's root may trace or open this process, nor any copy of it (2016-9962).
pub(crate) fn undumpable() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("make the process undumpable")
}
