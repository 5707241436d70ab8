//! `--security-opt`.

use dhow_types::{Error, Result};

/// What the options say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `no-new-privileges`; `None` leaves the daemon's default.
    pub no_new_privileges: Option<bool>,
    /// `seccomp=…`.
    pub seccomp: SeccompChoice,
    /// `systempaths=unconfined`.
    pub system_paths_unconfined: bool,
}

/// Which filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompChoice {
    /// The built-in one.
    #[default]
    Builtin,
    /// None.
    Unconfined,
    /// This document.
    Profile(String),
}

/// Parses the options; what this machine or engine can't do is refused by name.
pub fn parse(options: &[String]) -> Result<Security> {
    let mut out = Security::default();
    for option in options {
        let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => out.no_new_privileges = Some(true),
            ("no-new-privileges", "false") => out.no_new_privileges = Some(false),
            ("seccomp", "unconfined") => out.seccomp = SeccompChoice::Unconfined,
            ("seccomp", "builtin" | "") => out.seccomp = SeccompChoice::Builtin,
            ("seccomp", document) if document.trim_start().starts_with('{') => {
                out.seccomp = SeccompChoice::Profile(document.to_owned());
            }
            ("seccomp", other) => {
                return Err(Error::invalid(format!(
                    "opening seccomp profile ({other}) is the client's work: send the document itself"
                )));
            }
            ("systempaths", "unconfined") => out.system_paths_unconfined = true,
            // Neither is in force on this engine, so that asking for none is granted.
            ("apparmor", "unconfined" | "") | ("label", "disable") => {}
            ("apparmor" | "label" | "writable-cgroups", _) => {
                return Err(Error::not_implemented(format!("security option {option} is not built")));
            }
            _ => return Err(Error::invalid(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let get = |o: &[&str]| parse(&o.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(get(&["no-new-privileges"]).unwrap().no_new_privileges, Some(true));
        assert_eq!(get(&["no-new-privileges:false"]).unwrap().no_new_privileges, Some(false));
        assert_eq!(get(&["seccomp=unconfined"]).unwrap().seccomp, SeccompChoice::Unconfined);
        assert_eq!(get(&["seccomp={\"a\":1}"]).unwrap().seccomp, SeccompChoice::Profile("{\"a\":1}".into()));
        assert_eq!(get(&["label=disable", "apparmor=unconfined"]).unwrap(), Security::default());
        for bad in ["seccomp=/etc/x.json", "apparmor=mine", "label=type:x", "nope", "no-new-privileges=maybe"] {
            assert!(get(&[bad]).is_err(), "{bad}");
        }
    }
}
