//! The words of a mount's options, turned into attributes, propagation and data for the file system. Pure.
//!
//! The words are those of the runtime specification ("Linux mount options") and runc; what is none of them goes to
//! the file system, which refuses what it does not know.

use dhow_sys::mount as m;

/// Whether ids of a mount are mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IdMap {
    #[default]
    No,
    /// This mount only.
    Mount,
    /// And all below it.
    Tree,
}

/// A mount's options, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A bind mount, and whether of the whole tree.
    pub bind: Option<bool>,
    /// Attributes of the mount itself.
    pub set: u64,
    pub clear: u64,
    /// Attributes of it and of all below.
    pub set_tree: u64,
    pub clear_tree: u64,
    /// Propagation types in order, and whether for the whole tree.
    pub propagation: Vec<(u64, bool)>,
    /// Flags of the superblock, by the names fsconfig knows.
    pub flags: Vec<&'static str>,
    /// Everything else.
    pub data: Vec<(String, Option<String>)>,
    /// Fill the tmpfs with what the image has there.
    pub copy_up: bool,
    pub id_map: IdMap,
}

/// What one word does: attributes set and cleared.
fn attribute(word: &str) -> Option<(u64, u64)> {
    Some(match word {
        "ro" => (m::RDONLY, 0),
        "rw" => (0, m::RDONLY),
        "nosuid" => (m::NOSUID, 0),
        "suid" => (0, m::NOSUID),
        "nodev" => (m::NODEV, 0),
        "dev" => (0, m::NODEV),
        "noexec" => (m::NOEXEC, 0),
        "exec" => (0, m::NOEXEC),
        // The kernel wants the whole field cleared when any of it is set; zero in it is relatime.
        "noatime" => (m::NOATIME, m::ATIME),
        "atime" | "relatime" | "nostrictatime" => (0, m::ATIME),
        "strictatime" | "norelatime" => (m::STRICTATIME, m::ATIME),
        "nodiratime" => (m::NODIRATIME, 0),
        "diratime" => (0, m::NODIRATIME),
        "nosymfollow" => (m::NOSYMFOLLOW, 0),
        "symfollow" => (0, m::NOSYMFOLLOW),
        _ => return None,
    })
}

impl Options {
    /// Understands `words`; later words win over earlier ones.
    pub(crate) fn parse(words: &[String]) -> Self {
        let mut o = Self::default();
        for word in words {
            o.take(word);
        }
        o
    }

    fn take(&mut self, word: &str) {
        if let Some((set, clear)) = attribute(word) {
            apply(&mut self.set, &mut self.clear, set, clear);
            return;
        }
        if let Some((set, clear)) = word.strip_prefix('r').and_then(attribute) {
            apply(&mut self.set_tree, &mut self.clear_tree, set, clear);
            return;
        }
        match word {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "shared" => self.propagation.push((m::SHARED, false)),
            "rshared" => self.propagation.push((m::SHARED, true)),
            "slave" => self.propagation.push((m::SLAVE, false)),
            "rslave" => self.propagation.push((m::SLAVE, true)),
            "private" => self.propagation.push((m::PRIVATE, false)),
            "rprivate" => self.propagation.push((m::PRIVATE, true)),
            "unbindable" => self.propagation.push((m::UNBINDABLE, false)),
            "runbindable" => self.propagation.push((m::UNBINDABLE, true)),
            "sync" => self.flags.push("sync"),
            "async" => self.flags.push("async"),
            "dirsync" => self.flags.push("dirsync"),
            "lazytime" => self.flags.push("lazytime"),
            "nolazytime" => self.flags.push("nolazytime"),
            "mand" => self.flags.push("mand"),
            "nomand" => self.flags.push("nomand"),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_map = IdMap::Mount,
            "ridmap" => self.id_map = IdMap::Tree,
            // Nothing to do: the first two are what happens anyway, the others are about mount(8)'s own tables.
            "" | "defaults" | "silent" | "loud" | "remount" | "_netdev" | "nofail" | "auto" | "noauto" | "user"
            | "nouser" => {}
            data => self.data.push(match data.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (data.to_owned(), None),
            }),
        }
    }

    /// Whether the file system is told `key`.
    pub(crate) fn has_data(&self, key: &str) -> bool {
        self.data.iter().any(|(k, _)| k == key)
    }
}

fn apply(set: &mut u64, clear: &mut u64, on: u64, off: u64) {
    *set = (*set & !off) | on;
    *clear = (*clear & !on) | off;
    // A field that is set must stay in the mask of what is cleared first.
    if on & m::ATIME != 0 {
        *clear |= m::ATIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Options {
        Options::parse(&words.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_attributes() {
        for (words, set, clear) in [
            ("ro", m::RDONLY, 0),
            ("ro,rw", 0, m::RDONLY),
            ("rw,ro", m::RDONLY, 0),
            ("nosuid,noexec,nodev", m::NOSUID | m::NOEXEC | m::NODEV, 0),
            ("noatime", m::NOATIME, m::ATIME),
            ("noatime,strictatime", m::STRICTATIME, m::ATIME),
            ("strictatime,relatime", 0, m::ATIME),
            ("defaults", 0, 0),
        ] {
            let o = parse(words);
            assert_eq!((o.set, o.clear, o.set_tree, o.clear_tree), (set, clear, 0, 0), "{words}");
        }
    }

    #[test]
    fn an_r_in_front_means_the_tree_but_not_for_rw_and_relatime() {
        let o = parse("rbind,rro,rnosuid,rslave");
        assert_eq!((o.bind, o.set_tree, o.set), (Some(true), m::RDONLY | m::NOSUID, 0));
        assert_eq!(o.propagation, [(m::SLAVE, true)]);
        assert_eq!(parse("rw").clear_tree, 0);
        assert_eq!(parse("relatime").clear_tree, 0);
        assert_eq!(parse("rrelatime").clear_tree, m::ATIME);
        assert_eq!(parse("rrw").clear_tree, m::RDONLY);
    }

    #[test]
    fn the_rest_is_for_the_file_system() {
        let o = parse("size=64k,mode=1777,noswap,sync,tmpcopyup,ridmap");
        assert_eq!(
            o.data,
            [("size".into(), Some("64k".into())), ("mode".into(), Some("1777".into())), ("noswap".into(), None)]
        );
        assert_eq!((o.flags.as_slice(), o.copy_up, o.id_map), (&["sync"][..], true, IdMap::Tree));
        assert!(o.has_data("mode") && !o.has_data("uid"));
    }
}
