//! Removal of images and names by Docker's rules and in its words.
//!
//! The decision is a pure function over the image's row; the rest carries it out.

use crate::db::ImageRow;
use crate::images::no_such_image;
use crate::layers::Leases;
use crate::{Store, lock_anyway};
use dhow_types::image::chain_ids;
use dhow_types::{Digest, Error, Reference, Result};

/// A container that uses an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The container's id.
    pub container: String,
    /// Whether it runs: then its image cannot be removed even by force.
    pub running: bool,
}

/// One line of what a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image, or a layer by its chain id, is gone.
    Deleted(Digest),
}

/// What a removal will do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    delete: bool,
}

impl Store {
    /// Removes the name `name`, and the image itself if that was its last name, or the image with the id `name`.
    /// `in_use` names a container that uses an image, a running one before a stopped one.
    pub fn remove(&self, name: &str, force: bool, in_use: &dyn Fn(&Digest) -> Option<InUse>) -> Result<Vec<Removed>> {
        let mut leases = self.publishing();
        let id = self.resolve_id(name)?;
        let row = self.inner.db.image_rows(Some(&id))?.pop().ok_or_else(|| no_such_image(name))?;
        let _removing = Removing::begin(self, id);
        let plan = plan(name, &row, force, in_use(&id).as_ref())?;
        self.carry_out(&mut leases, &row, plan)
    }

    /// Removes the image with all its names, unless something uses it: for removals that nobody asked for by name.
    /// `Conflict` if it is used, or named anew while `only_dangling`.
    pub fn remove_unused(
        &self,
        id: &Digest,
        only_dangling: bool,
        in_use: &dyn Fn(&Digest) -> bool,
    ) -> Result<Vec<Removed>> {
        let mut leases = self.publishing();
        let row = self.inner.db.image_rows(Some(id))?.pop().ok_or_else(|| no_such_image(&id.to_string()))?;
        let _removing = Removing::begin(self, *id);
        if in_use(id) || (only_dangling && !row.references.is_empty()) {
            return Err(Error::conflict(format!("image {} is in use", id.short())));
        }
        let untag = row.references.iter().chain(&row.digests).cloned().collect();
        self.carry_out(&mut leases, &row, Plan { untag, delete: true })
    }

    /// Whether the image is there to stay for somebody who has just said, in what `in_use` of a removal looks at, that
    /// he uses it: either a removal sees that, or this sees the removal and waits for how it ends.
    pub fn stays(&self, id: &Digest) -> Result<bool> {
        let removing = lock_anyway(&self.inner.removing).contains(id);
        if removing {
            drop(self.publishing());
        }
        self.inner.db.image_exists(id)
    }

    fn carry_out(&self, leases: &mut Leases, row: &ImageRow, plan: Plan) -> Result<Vec<Removed>> {
        let id = row.id;
        let mut removed: Vec<Removed> = plan.untag.iter().map(|r| Removed::Untagged(r.familiar())).collect();
        if !plan.delete {
            self.inner.db.remove_image(&plan.untag, None)?;
            return Ok(removed);
        }
        let layers: Vec<Digest> = self.inner.db.image_layers(&id)?.iter().map(|l| l.diff_id).collect();
        self.inner.db.remove_image(&plan.untag, Some(&id))?;
        lock_anyway(&self.inner.images).remove(&id);
        removed.push(Removed::Deleted(id));
        lock_anyway(&self.inner.used).remove(&id);
        // The image is gone from here on, whatever comes: what can't be put away now is put away later.
        let gone = self.collect(leases).unwrap_or_else(|_| {
            Self::untidy(leases);
            Vec::new()
        });
        let chains = chain_ids(&layers);
        removed.extend(
            layers.iter().zip(chains).rev().filter(|(l, _)| gone.contains(l)).map(|(_, c)| Removed::Deleted(c)),
        );
        for blob in [Some(id), row.manifest].iter().flatten() {
            self.put_away(leases, &self.paths().blob(blob));
        }
        self.tidy(leases);
        Ok(removed)
    }
}

/// An image whose removal has begun, until it is over.
struct Removing<'a> {
    store: &'a Store,
    id: Digest,
}

impl<'a> Removing<'a> {
    fn begin(store: &'a Store, id: Digest) -> Self {
        lock_anyway(&store.inner.removing).insert(id);
        Self { store, id }
    }
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        lock_anyway(&self.store.inner.removing).remove(&self.id);
    }
}

/// Whether all names lie in one repository, with at most one tag; false for no name at all.
fn single_reference(row: &ImageRow) -> bool {
    let mut names: Vec<String> = row.references.iter().chain(&row.digests).map(Reference::name).collect();
    names.dedup();
    names.len() == 1 && row.references.len() <= 1
}

/// Whether `name` is the image's id or the start of it rather than a name that also could be one.
fn names_by_id(name: &str, row: &ImageRow) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let is_name = name
        .parse::<Reference>()
        .is_ok_and(|r| row.references.contains(&r.clone().or_latest()) || row.digests.contains(&r));
    !hex.is_empty() && row.id.hex().starts_with(hex) && !is_name
}

fn plan(name: &str, row: &ImageRow, force: bool, in_use: Option<&InUse>) -> Result<Plan> {
    let short = row.id.short();
    let conflict =
        |how: &str, why: String| Err(Error::conflict(format!("conflict: unable to delete {short} ({how}) - {why}")));
    let check = |why_kept: bool| match in_use {
        Some(c) if c.running => conflict(
            "cannot be forced",
            format!("image is being used by running container {}", container_short(&c.container)),
        ),
        _ if !force && why_kept => conflict("must be forced", "image is referenced in multiple repositories".into()),
        Some(c) if !force => conflict(
            "must be forced",
            format!("image is being used by stopped container {}", container_short(&c.container)),
        ),
        _ => Ok(()),
    };
    let all = || row.references.iter().chain(&row.digests).cloned().collect::<Vec<_>>();

    if names_by_id(name, row) {
        let many = !all().is_empty() && !single_reference(row);
        check(many)?;
        return Ok(Plan { untag: all(), delete: true });
    }

    let asked: Reference = name.parse()?;
    let asked = match (asked.digest(), asked.or_latest_ref()) {
        (Some(d), r) => r.with_digest(*d),
        (None, r) => r,
    };
    if !force
        && single_reference(row)
        && let Some(c) = in_use
    {
        return Err(Error::conflict(format!(
            "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its \
             referenced image {short}",
            container_short(&c.container)
        )));
    }
    let mut untag = vec![asked.clone()];
    let mut left: Vec<Reference> = all().into_iter().filter(|r| *r != asked).collect();
    let repository = asked.name();
    // With the last tag of a repository its digests go as well.
    if asked.tag().is_some() && !left.iter().any(|r| r.tag().is_some() && r.name() == repository) {
        untag.extend(left.extract_if(.., |r| r.name() == repository));
    }
    if !left.is_empty() {
        return Ok(Plan { untag, delete: false });
    }
    // The name goes in any case with force, the image stays while a running container needs it.
    match check(false) {
        Ok(()) => Ok(Plan { untag, delete: true }),
        Err(_) if force => Ok(Plan { untag, delete: false }),
        Err(e) => Err(e),
    }
}

fn container_short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A reference that says which tag is meant, without taking the original.
trait OrLatest {
    fn or_latest_ref(&self) -> Reference;
}

impl OrLatest for Reference {
    fn or_latest_ref(&self) -> Reference {
        self.clone().or_latest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(names: &[&str], digests: &[&str]) -> ImageRow {
        let parse = |n: &&str| n.parse().unwrap();
        ImageRow {
            id: Digest::of(b"image"),
            manifest: None,
            parent: None,
            size: 0,
            loaded: 0,
            last_used: 0,
            references: names.iter().map(parse).collect(),
            digests: digests.iter().map(parse).collect(),
        }
    }

    fn user(running: bool) -> Option<InUse> {
        Some(InUse { container: "0123456789abcdef".into(), running })
    }

    /// The outcome in a form a table can hold.
    fn outcome(name: &str, row: &ImageRow, force: bool, user: Option<InUse>) -> String {
        match plan(name, row, force, user.as_ref()) {
            Err(e) => e.text().to_owned(),
            Ok(p) => {
                let names: Vec<String> = p.untag.iter().map(Reference::familiar).collect();
                format!("{}{}", names.join(" "), if p.delete { " +delete" } else { "" })
            }
        }
    }

    #[test]
    fn docker_rules() {
        let id = Digest::of(b"image");
        let (hex, short) = (id.hex(), id.short());
        let digest = format!("a@{id}");
        let one = row(&["a:latest"], &[]);
        let two = row(&["a:1", "a:2"], &[]);
        let repos = row(&["a:1", "b:1"], &[]);
        let none = row(&[], &[]);
        let pulled = row(&["a:latest"], &[&digest]);
        let by_digest = row(&[], &[&digest]);
        for (name, row, force, user, want) in [
            ("a", &one, false, None, "a:latest +delete".to_owned()),
            (
                "a:latest",
                &one,
                false,
                user(false),
                format!(
                    "conflict: unable to remove repository reference \"a:latest\" (must force) - container 0123456789ab is using its referenced image {short}"
                ),
            ),
            (
                "a",
                &one,
                false,
                user(true),
                format!(
                    "conflict: unable to remove repository reference \"a\" (must force) - container 0123456789ab is using its referenced image {short}"
                ),
            ),
            ("a", &one, true, user(false), "a:latest +delete".into()),
            ("a:1", &two, false, user(true), "a:1".into()),
            ("a:1", &two, false, None, "a:1".into()),
            (&hex, &one, false, None, "a:latest +delete".into()),
            (
                &short,
                &two,
                false,
                None,
                format!(
                    "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
                ),
            ),
            (&short, &two, true, None, "a:1 a:2 +delete".into()),
            (
                &short,
                &repos,
                false,
                None,
                format!(
                    "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
                ),
            ),
            (
                &short,
                &one,
                false,
                user(false),
                format!(
                    "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
                ),
            ),
            (&short, &one, true, user(false), "a:latest +delete".into()),
            (
                &short,
                &one,
                true,
                user(true),
                format!(
                    "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
                ),
            ),
            (&short, &none, false, None, " +delete".into()),
            ("a", &pulled, false, None, format!("a:latest {digest} +delete")),
            (&digest, &pulled, false, None, digest.clone()),
            (&digest, &by_digest, false, None, format!("{digest} +delete")),
        ] {
            assert_eq!(outcome(name, row, force, user.clone()), want, "{name} force={force} {user:?}");
        }
    }
}
