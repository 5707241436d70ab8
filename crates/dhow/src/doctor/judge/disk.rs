//! Room for images and containers, and how the file system below them is mounted.

use super::super::facts::{Caller, Disk, Room};
use super::super::finding::{Finding, Group};
use std::path::Path;

/// Free bytes below which images do not fit any more, and below which the next one may not.
const NO_BYTES: u64 = 64 << 20;
const FEW_BYTES: u64 = 1 << 30;
/// The state directory holds sockets and ids only.
const NO_STATE: u64 = 64 << 10;
const FEW_STATE: u64 = 1 << 20;
/// The same of inodes.
const NO_INODES: u64 = 100;
const FEW_INODES: u64 = 10_000;

/// The findings about one directory.
pub fn judge(d: &Disk, caller: &Caller) -> Vec<Finding> {
    let room = match &d.room {
        Ok(room) => room,
        Err(unseen) => {
            let name = format!("{} {}", d.what, d.path.display());
            return vec![Finding::unseen(Group::Disk, &d.what, &name, unseen)];
        }
    };
    let mut out = vec![bytes(d, room), inodes(d, room), mount(d, room), kind(d, room, caller)];
    if !room.elsewhere.is_empty() {
        out.push(elsewhere(d, room));
    }
    out
}

/// What is short.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    Bytes,
    Inodes,
}

/// A memory disk of twice the size, which takes memory only as it is used; never a smaller one.
fn larger(room: &Room, short: Short, is_root: bool) -> String {
    let option = match (short, is_root) {
        (Short::Bytes, true) => format!("size={}m", (room.bytes.1 >> 19).max(4096)),
        (Short::Bytes, false) => format!("size={}m", (room.bytes.1 >> 19).max(64)),
        (Short::Inodes, _) => format!("nr_inodes={}", room.inodes.1.saturating_mul(2).max(1 << 16)),
    };
    format!("mount -o remount,{option} {}", super::quoted(room.mount.display()))
}

fn free_it(f: Finding, d: &Disk, room: &Room, short: Short) -> Finding {
    let is_root = d.what == "root";
    let f = match is_root {
        true => f
            .mend_noted("dhow system df", "shows what is used, and by what")
            .mend_noted("dhow system prune", "removes containers that do not run and images without a name; asks first")
            .mend_noted("dhow image prune -a", "removes every image that no container uses; asks first"),
        false => f,
    };
    match (room.kind.as_str(), is_root, short) {
        ("tmpfs", ..) => f.mend_noted(
            larger(room, short, is_root),
            "takes memory as it is used; until the next boot: the same option in /etc/fstab makes it last",
        ),
        (_, true, _) => f,
        (_, false, Short::Bytes) => {
            f.mend(format!("du -xsh {}/* | sort -h | tail", super::quoted(room.mount.display())))
        }
        (_, false, Short::Inodes) => {
            f.mend(format!("du -xs --inodes {}/* | sort -n | tail", super::quoted(room.mount.display())))
        }
    }
}

fn part(free: u64, all: u64) -> u64 {
    free.saturating_mul(100).checked_div(all).unwrap_or(0)
}

fn bytes(d: &Disk, room: &Room) -> Finding {
    let (free, all) = room.bytes;
    let (none, few) = if d.what == "root" { (NO_BYTES, FEW_BYTES) } else { (NO_STATE, FEW_STATE) };
    let seen = format!("{} of {} free ({} %)", super::size(free), super::size(all), part(free, all));
    let f = Finding::new(Group::Disk, &format!("{}-bytes", d.what), format!("{} {}", d.what, d.path.display()), seen);
    // A small disk that is mostly free is small on purpose.
    match free {
        _ if free < none => free_it(
            f.error("what does not fit is refused: loads, starts, and logs of containers that run"),
            d,
            room,
            Short::Bytes,
        ),
        _ if free < few && part(free, all) < 20 => {
            free_it(f.warning("the next image may not fit"), d, room, Short::Bytes)
        }
        _ => f,
    }
}

fn inodes(d: &Disk, room: &Room) -> Finding {
    let (free, all) = room.inodes;
    let name = format!("{} inodes", d.what);
    let word = format!("{}-inodes", d.what);
    if all == 0 {
        return Finding::new(Group::Disk, &word, name, "made as needed");
    }
    let f = Finding::new(Group::Disk, &word, name, format!("{free} of {all} free ({} %)", part(free, all)));
    let why = "each file of an image takes one; when none is left the disk is full, whatever the bytes say";
    match free {
        _ if free < NO_INODES => free_it(f.error(why), d, room, Short::Inodes),
        _ if free < FEW_INODES && part(free, all) < 20 => free_it(f.warning(why), d, room, Short::Inodes),
        _ => f,
    }
}

fn mount(d: &Disk, room: &Room) -> Finding {
    let seen = match room.options.is_empty() {
        true => format!("{}, without limits", room.mount.display()),
        false => format!("{}: {}", room.mount.display(), room.options.join(", ")),
    };
    let f = Finding::new(Group::Disk, &format!("{}-mount", d.what), format!("{} mount", d.what), seen);
    let has = |option: &str| room.options.iter().any(|o| o == option);
    let lasting = "to make it last, the same word in its line of /etc/fstab";
    if has("ro") {
        return f.error("nothing can be stored").mend_noted(
            format!("mount -o remount,rw {}", super::quoted(room.mount.display())),
            format!("{lasting}; a disk with errors is set read-only by the kernel: see `dmesg | tail`"),
        );
    }
    if d.what != "root" {
        return f;
    }
    let hurt: Vec<(&str, &str, &str)> =
        [("noexec", "exec", "programs"), ("nosuid", "suid", "set-user-id programs"), ("nodev", "dev", "device nodes")]
            .into_iter()
            .filter(|(option, _, _)| has(option))
            .collect();
    if hurt.is_empty() {
        return f;
    }
    let what: Vec<&str> = hurt.iter().map(|(_, _, what)| *what).collect();
    let back: Vec<&str> = hurt.iter().map(|(_, back, _)| *back).collect();
    let why = format!("volumes lie here, and {} in them have no effect in containers", what.join(", "));
    let f = if has("noexec") { f.warning(why) } else { f.note(why) };
    f.mend_noted(format!("mount -o remount,{} {}", back.join(","), super::quoted(room.mount.display())), lasting)
}

fn kind(d: &Disk, room: &Room, caller: &Caller) -> Finding {
    let f =
        Finding::new(Group::Disk, &format!("{}-kind", d.what), format!("{} file system", d.what), room.kind.clone());
    if d.what != "root" {
        return match room.kind.as_str() {
            "nfs" | "nfs4" | "cifs" | "9p" | "fuse" => f
                .error("sockets and locks of the running containers lie here, which belongs on this machine")
                .mend("dhow daemon --state /run/dhow"),
            _ => f,
        };
    }
    let other = || format!("dhow daemon --root DIR # instead of {}", caller.root.display());
    let note = "with DIR on ext4, xfs or btrfs; images are then to be loaded again, or moved: `dhow save` before, `dhow load` after";
    match room.kind.as_str() {
        "tmpfs" | "ramfs" => {
            f.note("images and containers are gone at the next boot, and take memory").mend_noted(other(), note)
        }
        "overlay" => f
            .warning("overlayfs can't lie on overlayfs: what containers write is kept in memory")
            .mend_noted(other(), "with DIR on a volume of the surrounding container, or on a disk"),
        "nfs" | "nfs4" | "cifs" | "9p" | "vfat" | "exfat" | "ntfs" | "ntfs3" | "fuse" | "ecryptfs" => f
            .error("images are mounted as overlays with their upper directory here, which this file system can't hold")
            .mend_noted(other(), note),
        _ => f,
    }
}

fn elsewhere(d: &Disk, room: &Room) -> Finding {
    let names: Vec<String> = room.elsewhere.iter().map(|p| p.display().to_string()).collect();
    let first = room.elsewhere.first().map_or(Path::new("/"), |p| p.as_path());
    Finding::new(
        Group::Disk,
        &format!("{}-whole", d.what),
        format!("{} in one piece", d.what),
        format!("on other file systems: {}", names.join(", ")),
    )
    .error(
        "what was made in one directory of the root is renamed into another, which works within one file system only",
    )
    .mend_noted(
        format!("umount {}", super::quoted(first.display())),
        "while no daemon runs; then mount the larger disk at the root itself",
    )
}
