//! What the kernel can do, of what dhow uses.

use super::super::facts::{Caller, Kernel, Tried, Unseen};
use super::super::finding::{Finding, Group};

/// The oldest kernel that has all system calls that are used (mount_setattr), and the oldest that is tested.
const LEAST: (u32, u32) = (5, 12);
const TESTED: (u32, u32) = (6, 1);
/// Below this many namespaces of a kind, starts fail sooner or later.
const FEW_NAMESPACES: u64 = 100;

/// The findings.
pub fn judge(k: &Kernel, caller: &Caller) -> Vec<Finding> {
    let mut out = vec![version(k, caller)];
    out.push(calls(k));
    out.extend(namespaces(k));
    out.push(seccomp(k));
    out.push(overlay(k, caller));
    if let Some(types) = k.dirent_types {
        let seen = if types { "directories tell the kinds of their files" } else { "no d_type" };
        let f = Finding::new(Group::Kernel, "d-type", "d_type", seen);
        out.push(if types {
            f
        } else {
            f.error("overlayfs can't remove files on a file system whose directories do not tell kinds (xfs made with ftype=0)")
                .mend_noted("dhow daemon --root DIR", "with DIR on ext4, on btrfs, or on an xfs made by `mkfs.xfs -n ftype=1`")
        });
    }
    out.push(network(k, caller));
    let fuse = Finding::new(Group::Kernel, "fuse", "FUSE", if k.fuse { "/dev/fuse is there" } else { "no /dev/fuse" });
    out.push(match k.fuse {
        true => fuse,
        false => fuse.note("only containers that are given /dev/fuse need it").mend("modprobe fuse"),
    });
    out.extend(keys(k));
    out.extend(pids(k));
    out
}

fn version(k: &Kernel, caller: &Caller) -> Finding {
    let mut numbers = k.release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    let have = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let f = Finding::new(Group::Kernel, "version", "version", format!("Linux {}", k.release));
    let newer = match caller.packager.as_str() {
        "apt-get" => "apt-get update && apt-get install -y linux-image-amd64",
        "dnf" | "yum" => "dnf upgrade -y kernel",
        "zypper" => "zypper update -y kernel-default",
        "pacman" => "pacman -Syu linux",
        _ => "uname -r",
    };
    if have < LEAST {
        f.error(format!("dhow needs Linux {}.{} (mount_setattr)", LEAST.0, LEAST.1))
            .mend_noted(newer, "then reboot; the distribution may have a newer kernel under another name (backports)")
    } else if have < TESTED {
        f.note(format!("dhow is tested with {}.{} and newer", TESTED.0, TESTED.1))
    } else {
        f
    }
}

fn calls(k: &Kernel) -> Finding {
    let lacking: Vec<String> =
        k.calls.iter().filter_map(|(name, t)| t.as_ref().err().map(|why| format!("{name} ({why})"))).collect();
    let names: Vec<&str> = k.calls.keys().map(String::as_str).collect();
    if lacking.is_empty() {
        return Finding::new(Group::Kernel, "calls", "system calls", format!("{} work", names.join(", ")));
    }
    Finding::new(Group::Kernel, "calls", "system calls", format!("refused: {}", lacking.join(", ")))
        .error("dhow starts no container without them: the kernel is too old, or a seccomp filter around this process refuses them")
        .mend_noted("grep Seccomp: /proc/self/status", "2 means a filter: start this outside of it (in Docker: --security-opt seccomp=unconfined); 0 means that the kernel lacks them")
}

fn namespaces(k: &Kernel) -> Vec<Finding> {
    let failed: Vec<String> = k
        .namespaces
        .iter()
        .filter_map(|(kind, tried)| match tried {
            Ok(Err(why)) => Some(format!("{kind}: {why}")),
            _ => None,
        })
        .collect();
    let names = k.namespaces.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>().join(", ");
    let unseen = k.namespaces.iter().find_map(|(_, t)| t.as_ref().err());
    let tried = match (failed.is_empty(), unseen) {
        (true, Some(unseen)) => Finding::unseen(Group::Kernel, "namespaces", "namespaces", unseen),
        (true, None) => Finding::new(Group::Kernel, "namespaces", "namespaces", format!("{names} can be made")),
        (false, _) => {
            let f = Finding::new(Group::Kernel, "namespaces", "namespaces", format!("refused: {}", failed.join("; ")))
                .error("a container is made of them");
            match k.namespace_limits.iter().filter(|(_, n)| **n == 0).map(|(kind, _)| kind).next() {
                Some(kind) => f.mend(format!("sysctl -w user.max_{kind}_namespaces=65536")),
                None => f.mend_noted(
                    "grep -E 'CapEff|Seccomp:' /proc/self/status",
                    "without CAP_SYS_ADMIN (bit 21) or below a filter none can be made: see the group privileges",
                ),
            }
        }
    };
    let few: Vec<(&String, &u64)> = k.namespace_limits.iter().filter(|(_, n)| **n < FEW_NAMESPACES).collect();
    let seen = match few.is_empty() {
        true => {
            let least = k.namespace_limits.values().min().copied().unwrap_or(0);
            format!("at least {least} of each kind")
        }
        false => few.iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>().join(", "),
    };
    let mut limit = Finding::new(Group::Kernel, "namespace-limits", "limits of namespaces", seen);
    if !few.is_empty() {
        // Containers have none of users.
        let only_users = few.iter().all(|(kind, _)| kind.as_str() == "user");
        limit = match only_users {
            true => limit.note("dhow's containers use no user namespaces; programs in them that want some get none"),
            false => limit.error("no more containers than that can run"),
        };
        for (kind, _) in few {
            let name = format!("user.max_{kind}_namespaces");
            limit = limit.mend_noted(
                format!("sysctl -w {name}=65536"),
                format!("to make it last: echo '{name} = 65536' > /etc/sysctl.d/60-dhow-{kind}-namespaces.conf"),
            );
        }
    }
    vec![tried, limit]
}

fn seccomp(k: &Kernel) -> Finding {
    let missing: Vec<&str> =
        ["errno", "kill_process", "allow"].into_iter().filter(|a| !k.seccomp.iter().any(|have| have == a)).collect();
    if missing.is_empty() {
        return Finding::new(Group::Kernel, "seccomp", "seccomp", "filters work");
    }
    Finding::new(Group::Kernel, "seccomp", "seccomp", format!("the kernel does not list {}", missing.join(", ")))
        .error("containers are started behind a filter; without CONFIG_SECCOMP_FILTER only unconfined ones start")
        .mend_noted(
            "dhow run --security-opt seccomp=unconfined IMAGE",
            "gives the container every system call: only for programs that are trusted like the host's own",
        )
}

/// What a trial came to.
fn trial(tried: &Tried, word: &str, name: &str, well: &str) -> (Finding, Option<String>) {
    match tried {
        Ok(Ok(())) => (Finding::new(Group::Kernel, word, name, well), None),
        Ok(Err(why)) => (Finding::new(Group::Kernel, word, name, why.clone()), Some(why.clone())),
        Err(unseen @ (Unseen::Root | Unseen::Late | Unseen::Other(_))) => {
            (Finding::unseen(Group::Kernel, word, name, unseen), None)
        }
    }
}

fn overlay(k: &Kernel, caller: &Caller) -> Finding {
    let (f, failed) =
        trial(&k.overlay, "overlay", "overlayfs", "mounts on the root's file system, keeps attributes, removes files");
    let Some(why) = failed else { return f };
    if why.contains("no device") || why.contains("unknown filesystem") || why.contains("No such device") {
        return f
            .error("images are mounted as overlays, and the kernel has no overlayfs")
            .mend_noted("modprobe overlay", "to make it last: echo overlay > /etc/modules-load.d/dhow.conf");
    }
    f.error("images are mounted as overlays with their upper directory here; containers made of an image do not start, or their layers lie in memory")
        .mend_noted(
            format!("dhow daemon --root DIR # instead of {}", caller.root.display()),
            "with DIR on ext4, xfs or btrfs of the machine itself: overlayfs, network file systems and most of FUSE can't hold an upper layer",
        )
}

fn network(k: &Kernel, caller: &Caller) -> Finding {
    let (f, failed) =
        trial(&k.network, "network", "bridge, veth, nftables", "made and removed in a network of their own");
    if failed.is_none() {
        return f;
    }
    let module =
        "to make it last: printf 'bridge\\nveth\\nnf_tables\\nnft_chain_nat\\n' > /etc/modules-load.d/dhow.conf";
    let f = f
        .error("containers on the default network do not start; those with --network host or none do")
        .mend_noted("modprobe -a bridge veth nf_tables nft_chain_nat nft_masq nft_fib_ipv4", module);
    match caller.packager.as_str() {
        "apt-get" => f.mend_noted(
            "apt-get install -y linux-modules-extra-$(uname -r)",
            "where modprobe does not find them (kernels of clouds keep them in a package of their own)",
        ),
        "dnf" => f.mend_noted("dnf install -y kernel-modules-extra", "where modprobe does not find them"),
        _ => f,
    }
}

fn keys(k: &Kernel) -> Option<Finding> {
    let (used, allowed) = k.keys?;
    let f = Finding::new(Group::Kernel, "keys", "kernel keys", format!("{used} of {allowed} used by this user"));
    Some(match used.saturating_mul(10) >= allowed.saturating_mul(9) {
        false => f,
        true => f
            .warning("each container has a session keyring; at the quota starts fail with \"disk quota exceeded\"")
            .mend_noted(
                "sysctl -w kernel.keys.root_maxkeys=1000000 kernel.keys.maxkeys=20000",
                "to make it last: echo 'kernel.keys.root_maxkeys = 1000000' > /etc/sysctl.d/60-dhow-keys.conf",
            ),
    })
}

fn pids(k: &Kernel) -> Option<Finding> {
    let (most, now) = k.pids?;
    let f = Finding::new(Group::Kernel, "pids", "process numbers", format!("{now} of {most} in use"));
    Some(match now.saturating_mul(10) >= most.saturating_mul(8) {
        false => f,
        true => f.warning("when no number is left, no program on this machine starts").mend_noted(
            "sysctl -w kernel.pid_max=4194304",
            "to make it last: echo 'kernel.pid_max = 4194304' > /etc/sysctl.d/60-dhow-pids.conf",
        ),
    })
}
