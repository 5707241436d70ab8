//! Control groups as they are mounted, and where this process is in them.

use super::super::facts::{Groups, Seen};
use super::{disk, field, text, unseen_here};
use dhow_cgroup::{Layout, Mode, Version};

/// Looks.
pub fn look() -> Seen<Groups> {
    let layout = Layout::detect().map_err(|e| unseen_here(&e))?;
    let mode = match layout.mode() {
        Mode::V2 => "v2",
        Mode::Hybrid => "hybrid",
        Mode::V1 => "v1",
        Mode::None => "none",
    };
    // The hierarchy that groups are killed in, else the one of memory.
    let main = layout.v2().or_else(|| layout.holder("memory")).or_else(|| layout.hierarchies().first());
    let own = main.map_or("/", |h| h.own());
    let dir = main.map(|h| h.mount_point().join(own.trim_start_matches('/')));
    let beneath = |name: &str| dir.as_ref().map(|d| d.join(name));
    let pure = layout.mode() == Mode::V2;
    let meminfo = text("/proc/meminfo").unwrap_or_default();
    let swap = field(&meminfo, "SwapTotal").and_then(|v| v.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) * 1024;
    Ok(Groups {
        mode: mode.to_owned(),
        controllers: layout.controllers().to_vec(),
        switched_off: text("/proc/cgroups").map(|t| switched_off(&t)).unwrap_or_default(),
        handed_down: beneath("cgroup.subtree_control")
            .filter(|_| pure)
            .and_then(text)
            .map(|t| t.split_whitespace().map(str::to_owned).collect()),
        own: own.to_owned(),
        mount: main.map_or_else(String::new, |h| h.mount_point().display().to_string()),
        read_only: main.is_some_and(|h| disk::options_at(h.mount_point()).iter().any(|o| o == "ro")),
        // The root group has no such file.
        kill: beneath("cgroup.kill").filter(|_| layout.v2().is_some() && own != "/").map(|p| p.exists()),
        swap,
        swap_counted: layout.holder("memory").map(|h| {
            let own = h.mount_point().join(h.own().trim_start_matches('/'));
            match h.version() {
                Version::V1 => own.join("memory.memsw.limit_in_bytes").exists(),
                Version::V2 => h.own() == "/" || own.join("memory.swap.max").exists(),
            }
        }),
    })
}

/// Controllers that the kernel has and that a boot parameter (or its default) keeps from being used.
fn switched_off(text: &str) -> Vec<String> {
    let off = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = match words.first()? {
            &"blkio" => "io",
            name => name,
        };
        (!line.starts_with('#') && words.get(3) == Some(&"0")).then(|| name.to_owned())
    };
    text.lines().filter_map(off).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn controllers_that_are_off() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nmemory\t0\t1\t0\nblkio\t0\t1\t0\n";
        assert_eq!(super::switched_off(text), ["memory", "io"]);
    }
}
