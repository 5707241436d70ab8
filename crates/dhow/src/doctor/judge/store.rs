//! What lies in the root directory. Whether every file of it is whole is for `dhow system check`, which this points to.

use super::super::facts::{Answer, Facts, Store};
use super::super::finding::{Finding, Group};

/// The findings.
pub fn judge(s: &Store, facts: &Facts) -> Vec<Finding> {
    let caller = &facts.caller;
    let root = caller.root.display();
    if !s.made {
        return vec![Finding::new(
            Group::Store,
            "root",
            "root",
            format!("{root} is not there yet: the first daemon makes it"),
        )];
    }
    let mut out = vec![private(s, &root.to_string())];
    let serving = facts
        .daemon
        .as_ref()
        .is_ok_and(|d| d.answer == Answer::Well && d.said.as_ref().is_some_and(|said| said.product == "dhow"));
    out.extend(format(s, &root.to_string(), serving));
    out.push(damaged(s, &root.to_string(), serving));
    let left =
        Finding::new(Group::Store, "leftovers", "half done", format!("{} entries in tmp and trash", s.leftovers));
    out.push(match (s.leftovers, serving) {
        (0, _) => Finding::new(Group::Store, "leftovers", "half done", "nothing"),
        (_, true) => left,
        (_, false) => left.note("the next daemon removes them when it starts").mend("dhow daemon"),
    });
    if let (Some(pid), false) = (s.holder, serving) {
        out.push(
            Finding::new(
                Group::Store,
                "holder",
                "in use",
                format!("by process {pid}, which does not serve {}", caller.host),
            )
            .note("one root has one daemon: a second one is refused; or it serves another socket")
            .mend_noted(format!("tr '\\0' ' ' < /proc/{pid}/cmdline"), "shows which socket it serves (-H)"),
        );
    }
    out
}

fn private(s: &Store, root: &str) -> Finding {
    let word = super::quoted(root);
    let f =
        Finding::new(Group::Store, "root", "root", format!("{root}, mode {:04o}, owner {}", s.mode & 0o7777, s.owner));
    match (s.mode & 0o077, s.owner) {
        (0, 0) => f,
        (0, _) => f.warning("another user owns every file of every container").mend(format!("chown root {word}")),
        _ => f
            .warning("set-user-id programs of images lie in it: other users must not get in")
            .mend(format!("chmod 700 {word}")),
    }
}

fn format(s: &Store, root: &str, serving: bool) -> Option<Finding> {
    let word = super::quoted(root);
    let check = |f: Finding| {
        f.mend_noted(format!("dhow system check --root {word}"), "shows what is left; changes nothing").mend_noted(
            format!("dhow system check --repair --root {word}"),
            "makes the database anew from what is there",
        )
    };
    Some(match &s.schema {
        // The daemon that has it has opened it.
        Some(Err(_)) if serving => return None,
        Some(Err(why)) => {
            check(Finding::new(Group::Store, "database", "database", why.clone()).error("no daemon starts on it"))
        }
        None if s.layers > 0 && s.holder.is_none() => check(
            Finding::new(Group::Store, "database", "database", format!("missing, with {} layers there", s.layers))
                .error("no daemon starts on a root that lost its database"),
        ),
        None => match s.holder {
            Some(pid) => Finding::new(
                Group::Store,
                "database",
                "database",
                format!("in use by process {pid}, {} layers", s.layers),
            ),
            None => return None,
        },
        Some(Ok(0)) => Finding::new(
            Group::Store,
            "database",
            "database",
            format!("{} layers; its format is not seen in the file, which a journal goes with", s.layers),
        ),
        Some(Ok(version)) => {
            let f =
                Finding::new(Group::Store, "database", "database", format!("format {version}, {} layers", s.layers));
            match *version > s.known {
                true => f
                    .error(format!("this dhow knows formats up to {}: it was used by a newer one", s.known))
                    .mend_noted("dhow --version", "use the newer program; there is no way back"),
                false => f,
            }
        }
    })
}

fn damaged(s: &Store, root: &str, serving: bool) -> Finding {
    let word = super::quoted(root);
    let f = |seen: String| Finding::new(Group::Store, "damaged", "damaged layers", seen);
    match &s.damaged {
        Err(unseen) => Finding::unseen(Group::Store, "damaged", "damaged layers", unseen),
        Ok(0) => f("none known; `dhow system check` reads every file".to_owned()),
        Ok(n) => {
            let f = f(format!("{n} found by a check and not mended"))
                .error("containers see wrong files; loading an image that has the layer brings it anew");
            let place = if serving { String::new() } else { format!(" --root {word}") };
            f.mend_noted(
                format!("dhow system check --repair{place}"),
                "tries again to mend them, and names what to load",
            )
        }
    }
}
