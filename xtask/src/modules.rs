//! Kernel modules out of a Debian kernel package: which files to load, in which order.

use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The modules below `dir` (`lib/modules/VERSION`) that `wanted` need, dependencies first. Those that the kernel has
/// built in are left out; a name that is neither is an error.
pub fn in_order(dir: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = HashMap::new();
    collect(&dir.join("kernel"), &mut files)?;
    let builtin = std::fs::read_to_string(dir.join("modules.builtin"))
        .with_context(|| dir.join("modules.builtin").display().to_string())?;
    let builtin: Vec<String> = builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &builtin, &mut order)?;
    }
    Ok(order)
}

fn add(name: &str, files: &HashMap<String, PathBuf>, builtin: &[String], order: &mut Vec<PathBuf>) -> Result<()> {
    let Some(file) = files.get(name) else {
        if builtin.iter().any(|b| b == name) {
            return Ok(());
        }
        bail!("the kernel package has no module {name}, built in or not");
    };
    if order.contains(file) {
        return Ok(());
    }
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    for dependency in dependencies(&bytes) {
        add(&dependency, files, builtin, order)?;
    }
    order.push(file.clone());
    Ok(())
}

fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `nf-tables.ko` and `nf_tables.ko` are the same module.
fn module_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.strip_suffix(".ko")?.replace('-', "_"))
}

/// The `depends=` entry of a module's information section.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|w| w == key) else { return Vec::new() };
    let value = module[at + key.len()..].split(|&b| b == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=nf-nat,nf_tables\0name=y\0"), ["nf_nat", "nf_tables"]);
        assert!(dependencies(b"x\0depends=\0name=y\0").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }

    #[test]
    fn order_puts_dependencies_first() {
        let dir = std::env::temp_dir().join(format!("dhow-modules-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("kernel/net")).unwrap();
        std::fs::write(dir.join("modules.builtin"), "kernel/net/unix.ko\n").unwrap();
        std::fs::write(dir.join("kernel/net/a-b.ko"), b"\0depends=c,unix\0").unwrap();
        std::fs::write(dir.join("kernel/c.ko"), b"\0depends=\0").unwrap();
        let order = in_order(&dir, &["a_b", "c", "unix"])
            .map(|paths| paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>());
        let missing = in_order(&dir, &["d"]).unwrap_err().to_string();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(order.unwrap(), ["c.ko", "a-b.ko"]);
        assert!(missing.contains("no module d"), "{missing}");
    }
}
