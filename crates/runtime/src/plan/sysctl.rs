//! Which kernel parameters a container may have of its own. Pure.
//!
//! Only those that belong to a namespace the container does not share with the host; everything else would change
//! the host (runc's rule, and 2022-0811: the name is taken apart and compared, never searched for a prefix).

use dhow_types::{Error, Result};

/// Namespaces that are the container's own (new, or joined by path).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    pub ipc: bool,
    pub net: bool,
    pub uts: bool,
    pub user: bool,
}

/// The most parameters of one container.
const MAX: usize = 256;

/// `(path below /proc, value)` for each parameter, or why it is refused.
pub(crate) fn plan<'a>(
    sysctl: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
    own: Own,
    hostname_is_set: bool,
) -> Result<Vec<(String, String)>> {
    if sysctl.len() > MAX {
        return Err(Error::invalid(format!("{} sysctls; at most {MAX} are set", sysctl.len())));
    }
    sysctl.map(|(name, value)| Ok((path(name, own, hostname_is_set)?, value.clone()))).collect()
}

/// The components of a name. As in sysctl(8), the first separator says which one it is: in `net/ipv4/conf/eth0.1/x`
/// the dot belongs to a name, and in `net.ipv4.conf.eth0/1.x` the slash stands for it.
fn components(name: &str) -> Vec<String> {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name.split('/').map(str::to_owned).collect(),
        _ => name.split('.').map(|part| part.replace('/', ".")).collect(),
    }
}

fn path(name: &str, own: Own, hostname_is_set: bool) -> Result<String> {
    let parts = components(name);
    let bad = |why: &str| Err(Error::invalid(format!("sysctl {name:?}: {why}")));
    if parts.len() < 2 || parts.iter().any(|p| p.is_empty() || p == "." || p == ".." || p.contains('\0')) {
        return bad("not the name of a kernel parameter");
    }
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (allowed, namespace) = match names.as_slice() {
        ["net", ..] => (own.net, "network"),
        ["fs", "mqueue", _] => (own.ipc, "ipc"),
        [
            "kernel",
            "msgmax" | "msgmnb" | "msgmni" | "sem" | "shmall" | "shmmax" | "shmmni" | "shm_rmid_forced" | "msg_next_id"
            | "sem_next_id" | "shm_next_id" | "auto_msgmni",
        ] => (own.ipc, "ipc"),
        ["kernel", "hostname"] if hostname_is_set => return bad("contradicts the document's hostname"),
        ["kernel", "domainname" | "hostname"] => (own.uts, "uts"),
        ["user", _] => (own.user, "user"),
        _ => return bad("not a parameter of any namespace; it would change the host"),
    };
    if !allowed {
        return bad(&format!(
            "the container shares its {namespace} namespace with the host; give it one of its own to set this"
        ));
    }
    Ok(format!("sys/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Own = Own { ipc: true, net: true, uts: true, user: true };

    #[test]
    fn namespaced_names_become_paths() {
        for (name, want) in [
            ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("kernel.shmmax", "sys/kernel/shmmax"),
            ("fs.mqueue.msg_max", "sys/fs/mqueue/msg_max"),
            ("kernel.domainname", "sys/kernel/domainname"),
        ] {
            assert_eq!(path(name, ALL, false).unwrap(), want);
        }
    }

    #[test]
    fn esc_sysctl_injection() {
        for name in [
            "kernel.core_pattern",
            "kernel.shm_rmid_forced+kernel.core_pattern",
            "kernel.shmmax=1\nkernel.core_pattern",
            "net/../kernel/core_pattern",
            "net.//.//.//kernel.core_pattern",
            "net..x",
            "fs.mqueue/../x.y",
            "kernel",
            "",
            "vm.swappiness",
            "fs.mqueue.a.b",
        ] {
            assert!(path(name, ALL, false).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_shared_namespace_keeps_its_parameters() {
        for name in ["net.core.somaxconn", "kernel.shmmax", "kernel.domainname", "fs.mqueue.msg_max"] {
            let e = path(name, Own::default(), false).unwrap_err();
            assert!(e.text().contains("shares its"), "{e}");
        }
        assert!(path("kernel.hostname", ALL, true).is_err());
    }
}
