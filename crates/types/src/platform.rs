//! A platform as image indexes name it: operating system, architecture, variant.
//!
//! Rule: OCI image-spec, image-index.md "platform", with the normal forms containerd and Docker use
//! (`x86_64` is `amd64`, `aarch64` is `arm64`, `arm` without variant is `v7`).

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Operating system, architecture and variant, in normal form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the architecture, e.g. `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the operating system, e.g. `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system, used by Windows only.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The variant of the architecture, e.g. `v8`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// A platform from its parts, brought to normal form.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = normal(&architecture.to_ascii_lowercase(), &variant.to_ascii_lowercase());
        Self { os: os.to_ascii_lowercase(), architecture, os_version: None, variant }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// How well a program for `self` runs on `host`: `None` if not at all, else smaller is better.
    /// Variants are a ladder: a v8 host runs v7, v6 and v5 programs of `arm`; an amd64 host runs what is marked `v1`.
    pub fn rank_on(&self, host: &Platform) -> Option<u32> {
        let mine = Self::new(&self.os, &self.architecture, &self.variant);
        if mine.os != host.os {
            return None;
        }
        if mine.architecture == host.architecture {
            let (have, want) = (level(&host.variant), level(&mine.variant));
            return match (have, want) {
                _ if mine.variant == host.variant => Some(0),
                (Some(have), Some(want)) if want <= have => Some(have - want),
                // A host that does not say its level may be assumed to have the lowest only.
                (None, Some(want)) if want <= 1 => Some(1),
                (Some(_), None) => Some(1),
                _ => None,
            };
        }
        // 64-bit ARM hosts usually run 32-bit ARM programs, after everything native.
        (host.architecture == "arm64" && mine.architecture == "arm" && level(&mine.variant).is_some_and(|v| v <= 8))
            .then(|| 100 + 8 - level(&mine.variant).unwrap_or(0))
    }
}

/// Aliases to normal names; the default variant of an architecture is written as none.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (arch, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", if v == "v1" { "" } else { v }),
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("aarch64" | "arm64", v) => ("arm64", if v == "v8" || v == "8" { "" } else { v }),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", v) => ("ppc64le", v),
        (a, v) => (a, v),
    };
    (arch.to_owned(), variant.to_owned())
}

/// The number in a variant such as `v7`; none when the variant is empty or has another form.
fn level(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.split('.').next()?.parse().ok()
}

impl FromStr for Platform {
    type Err = Error;
    /// `os/arch[/variant]`, or `arch` alone for Linux.
    fn from_str(s: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("invalid platform {s:?}: want OS/ARCH or OS/ARCH/VARIANT"));
        let ok = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_alphanumeric())
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = s.split('/').collect();
        if !parts.iter().all(|p| ok(p)) {
            return Err(bad());
        }
        match parts.as_slice() {
            [os] if os.eq_ignore_ascii_case("linux") => Ok(Self::host()),
            [arch] => Ok(Self::new("linux", arch, "")),
            [os, arch] => Ok(Self::new(os, arch, "")),
            [os, arch, variant] => Ok(Self::new(os, arch, variant)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_normalises() {
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARM/v6", "linux/arm/v6"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), want, "{text}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "../x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranks_by_variant() {
        let p = |s: &str| s.parse::<Platform>().unwrap();
        assert_eq!(p("linux/amd64").rank_on(&p("linux/amd64")), Some(0));
        assert_eq!(p("linux/arm64").rank_on(&p("linux/amd64")), None);
        assert_eq!(p("windows/amd64").rank_on(&p("linux/amd64")), None);
        assert!(p("linux/arm/v6").rank_on(&p("linux/arm/v7")) > p("linux/arm/v7").rank_on(&p("linux/arm/v7")));
        assert_eq!(p("linux/arm/v8").rank_on(&p("linux/arm/v7")), None);
        assert!(p("linux/arm/v7").rank_on(&p("linux/arm64")).is_some());
        assert_eq!(p("linux/amd64/v3").rank_on(&p("linux/amd64")), None);
        assert_eq!(p("linux/amd64").rank_on(&p("linux/amd64/v3")), Some(1));
    }
}
