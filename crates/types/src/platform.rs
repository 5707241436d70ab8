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

    /// The same with the highest level of it that this processor has: what of several offers fits best.
    pub fn best_host() -> Self {
        let mut host = Self::host();
        #[cfg(target_arch = "x86_64")]
        {
            let v2 = is_x86_feature_detected!("sse4.2")
                && is_x86_feature_detected!("ssse3")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("cmpxchg16b");
            let v3 = v2
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("movbe");
            let v4 = v3
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let level = [v2, v3, v4].iter().take_while(|has| **has).count();
            host.variant = ["", "v2", "v3", "v4"][level].to_owned();
        }
        host
    }

    /// How well a program for `self` runs on `host`: `None` if not at all, else smaller is better.
    /// Variants are a ladder: a v8 host runs v7, v6 and v5 programs of `arm`; an amd64 host what is marked with its level
    /// or a lower one, and 386 after that; an arm64 host `arm` after that.
    pub fn rank_on(&self, host: &Platform) -> Option<u32> {
        let mine = Self::new(&self.os, &self.architecture, &self.variant);
        if mine.os != host.os {
            return None;
        }
        let ladder = host.ladder();
        let rung = ladder.iter().position(|(arch, variant)| *arch == mine.architecture && *variant == mine.variant);
        rung.and_then(|rung| u32::try_from(rung).ok())
    }

    /// Architectures and variants that it runs, the best first.
    fn ladder(&self) -> Vec<(&str, String)> {
        let arch = self.architecture.as_str();
        let mut ladder = vec![(arch, self.variant.clone())];
        match arch {
            "amd64" => {
                let below = (2..level(&self.variant).unwrap_or(1)).rev().map(|v| (arch, format!("v{v}")));
                ladder.extend(below);
                if !self.variant.is_empty() {
                    ladder.push((arch, String::new()));
                }
                ladder.push(("386", String::new()));
            }
            "arm" => ladder.extend((5..level(&self.variant).unwrap_or(5)).rev().map(|v| (arch, format!("v{v}")))),
            "arm64" => {
                // v8.3 runs v8.2, v8.1 and v8; each v9.N is v8.(N + 5) and more.
                let (major, minor) = version(&self.variant);
                let steps = |major: u32, from: u32| {
                    (0..from).rev().map(move |minor| match (major, minor) {
                        (8, 0) => ("arm64", String::new()),
                        (major, 0) => ("arm64", format!("v{major}")),
                        (major, minor) => ("arm64", format!("v{major}.{minor}")),
                    })
                };
                ladder.extend(steps(major, minor));
                if major == 9 {
                    ladder.extend(steps(8, (minor + 5).min(9) + 1));
                }
                ladder.extend((5..=8).rev().map(|v| ("arm", format!("v{v}"))));
            }
            _ => {}
        }
        ladder
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

/// Major and minor number of a variant of arm64; none is v8.
fn version(variant: &str) -> (u32, u32) {
    let mut numbers = variant.trim_start_matches('v').split('.').map(str::parse::<u32>);
    let mut next = |or: u32| numbers.next().and_then(Result::ok).unwrap_or(or);
    (next(8), next(0))
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
        let rank = |of: &str, on: &str| of.parse::<Platform>().unwrap().rank_on(&on.parse().unwrap());
        for (of, on, want) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/386", "linux/amd64", Some(1)),
            ("linux/amd64/v2", "linux/amd64", None),
            ("linux/amd64/v3", "linux/amd64/v3", Some(0)),
            ("linux/amd64/v2", "linux/amd64/v3", Some(1)),
            ("linux/amd64/v1", "linux/amd64/v3", Some(2)),
            ("linux/386", "linux/amd64/v3", Some(3)),
            ("linux/amd64/v4", "linux/amd64/v3", None),
            ("linux/arm64", "linux/amd64", None),
            ("windows/amd64", "linux/amd64", None),
            ("linux/arm/v7", "linux/arm/v7", Some(0)),
            ("linux/arm/v6", "linux/arm/v7", Some(1)),
            ("linux/arm/v5", "linux/arm/v7", Some(2)),
            ("linux/arm/v8", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm64", Some(0)),
            ("linux/arm/v8", "linux/arm64", Some(1)),
            ("linux/arm/v7", "linux/arm64", Some(2)),
            ("linux/arm64/v8.1", "linux/arm64/v8.2", Some(1)),
            ("linux/arm64/v8", "linux/arm64/v8.2", Some(2)),
            ("linux/arm64/v8.6", "linux/arm64/v9.1", Some(2)),
            ("linux/arm64/v9", "linux/arm64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            assert_eq!(rank(of, on), want, "{of} on {on}");
        }
        assert!(Platform::host().rank_on(&Platform::best_host()).is_some());
    }
}
