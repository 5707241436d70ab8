//! Which images an archive holds, and of which of its files they are made: pure, over documents only.

use crate::names::shown;
use dhow_types::image::{Descriptor, Document, Manifest, media_type, parse_archive_manifest};
use dhow_types::{Context as _, Digest, Error, ErrorKind, ImageConfig, Platform, Reference, Result};

/// How deep indexes may lie in one another.
const MAX_INDEX_DEPTH: usize = 3;
/// The most images in one archive.
const MAX_IMAGES: usize = 1000;

/// The archive, as far as it matters here.
pub(crate) trait Files {
    /// A document by name.
    fn document(&self, name: &[u8]) -> Option<&[u8]>;
    /// A document by the digest of its bytes.
    fn document_with(&self, digest: &Digest) -> Option<&[u8]>;
    /// A layer by name.
    fn layer(&self, name: &[u8]) -> Option<usize>;
    /// A layer by the digest of its bytes.
    fn layer_with(&self, digest: &Digest) -> Option<usize>;
    /// The digest of a layer's uncompressed tar; an error if it could not be unpacked.
    fn diff_id(&self, layer: usize) -> Result<Digest>;
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedLayer {
    /// Which of the archive's layers; none if the layer is an empty file.
    pub source: Option<usize>,
    pub diff_id: Digest,
    /// As the manifest calls it.
    pub media_type: String,
}

/// An image to publish.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedImage {
    pub id: Digest,
    pub config: Vec<u8>,
    /// Digest and bytes, where there is one.
    pub manifest: Option<(Digest, Vec<u8>)>,
    pub layers: Vec<PlannedLayer>,
    pub references: Vec<Reference>,
    /// As its configuration says.
    pub platform: Platform,
}

/// Reads `manifest.json` if there is one, else `index.json`: what Docker does, too. If a platform was asked for it is
/// the other way round, since only an index can offer several; then images for other platforms are passed over.
pub(crate) fn plan(files: &dyn Files, host: &Platform, asked: Option<&Platform>) -> Result<Vec<PlannedImage>> {
    let docker_manifest = files.document(b"manifest.json");
    let index = files.document(b"index.json");
    let mut images = if let Some(bytes) = docker_manifest.filter(|_| asked.is_none() || index.is_none()) {
        docker(files, bytes)?
    } else if let Some(bytes) = index {
        let mut images = Vec::new();
        let Document::Index(index) = Document::parse(bytes, "").context("index.json")? else {
            return Err(Error::invalid("index.json is not an image index"));
        };
        for descriptor in index.manifests.iter().filter(|d| !is_attestation(d)) {
            images.extend(oci(files, descriptor, (host, asked), 0)?);
        }
        images
    } else {
        return Err(Error::invalid(
            "this is not an image archive: it has neither manifest.json (docker save) nor index.json (OCI layout); \
             for the files of a root file system use import",
        ));
    };
    if images.is_empty() {
        return Err(Error::invalid("the archive holds no image"));
    }
    if let Some(asked) = asked {
        let offered: Vec<String> = images.iter().map(|i| i.platform.to_string()).collect();
        images.retain(|i| i.platform == *asked);
        if images.is_empty() {
            return Err(not_offered(asked, &offered));
        }
    }
    if images.len() > MAX_IMAGES {
        return Err(Error::invalid(format!("the archive holds more than {MAX_IMAGES} images")));
    }
    Ok(images)
}

fn docker(files: &dyn Files, manifest: &[u8]) -> Result<Vec<PlannedImage>> {
    let mut images = Vec::new();
    for entry in parse_archive_manifest(manifest)? {
        let missing = |what: &str, name: &str| {
            Error::invalid(format!("damaged archive: manifest.json names the {what} {:?}, which is not there", name))
        };
        let config = files.document(entry.config.as_bytes()).ok_or_else(|| missing("configuration", &entry.config))?;
        let id = Digest::of(config);
        check_name(&entry.config, &id)?;
        let sources = entry
            .layers
            .iter()
            .map(|name| match files.layer(name.as_bytes()) {
                Some(layer) => Ok((Some(layer), String::new())),
                // The tar of a layer without changes may have no bytes at all.
                None if files.document(name.as_bytes()) == Some(b"") => Ok((None, String::new())),
                None => Err(missing("layer", name)),
            })
            .collect::<Result<Vec<_>>>()?;
        let references = entry
            .repo_tags
            .iter()
            .map(|t| t.parse::<Reference>().map(Reference::or_latest))
            .collect::<Result<Vec<_>>>()
            .context("manifest.json")?;
        images.push(image(files, config, sources, references, None)?);
    }
    Ok(images)
}

/// Docker's words, and what there is.
fn not_offered(asked: &Platform, offered: &[String]) -> Error {
    let offered = if offered.is_empty() { "nothing that is named".to_owned() } else { offered.join(", ") };
    Error::not_found(format!(
        "requested platform ({asked}) not found: image might be filtered out; the archive has: {offered}"
    ))
}

/// A name that is made from a digest must be that of the bytes.
fn check_name(name: &str, digest: &Digest) -> Result<()> {
    let last = name.rsplit('/').next().unwrap_or(name);
    match Digest::from_hex(last.strip_suffix(".json").unwrap_or(last)) {
        Ok(claimed) if claimed != *digest => Err(Error::new(
            ErrorKind::DataLoss,
            format!("damaged archive: the configuration {name:?} has the digest {digest}"),
        )),
        _ => Ok(()),
    }
}

/// The platform of this machine, and the one that was asked for.
type Platforms<'a> = (&'a Platform, Option<&'a Platform>);

/// The image which a descriptor in an index means. An index for several platforms gives one image.
fn oci(files: &dyn Files, d: &Descriptor, platforms: Platforms<'_>, depth: usize) -> Result<Vec<PlannedImage>> {
    let bytes = blob(files, d, "manifest")?;
    let document = Document::parse(bytes, &d.media_type).with_context(|| format!("manifest {}", d.digest.short()))?;
    let references: Vec<Reference> = names(d);
    match document {
        Document::Manifest(m) => Ok(vec![manifest(files, d, bytes, &m, references)?]),
        Document::Index(_) if depth == MAX_INDEX_DEPTH => {
            Err(Error::invalid("image indexes lie too deep in one another"))
        }
        Document::Index(index) => {
            let candidates: Vec<&Descriptor> = index.manifests.iter().filter(|d| !is_attestation(d)).collect();
            let (host, asked) = platforms;
            let chosen = match asked {
                Some(asked) => candidates.iter().copied().find(|d| is_for(files, d, asked)),
                None => choose(files, &candidates, host),
            };
            let chosen = chosen.ok_or_else(|| {
                let offered: Vec<String> =
                    candidates.iter().filter_map(|d| Some(d.platform.as_ref()?.to_string())).collect();
                if let Some(asked) = asked {
                    return not_offered(asked, &offered);
                }
                Error::not_found(format!(
                    "the archive has no image for {host} in index {}; it offers: {}",
                    d.digest.short(),
                    if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") }
                ))
            })?;
            let mut images = oci(files, chosen, platforms, depth + 1)?;
            for image in &mut images {
                image.references.extend(references.iter().cloned());
                image.references.dedup();
            }
            Ok(images)
        }
    }
}

/// The manifest that fits the host best. One that is alone is taken whatever its platform: it may be
/// wanted for another machine. Archives of one platform often carry the whole index: what is not there is passed over.
fn choose<'a>(files: &dyn Files, all: &[&'a Descriptor], host: &Platform) -> Option<&'a Descriptor> {
    let there: Vec<&&Descriptor> = all.iter().filter(|d| files.document_with(&d.digest).is_some()).collect();
    if let [only] = there.as_slice() {
        return Some(only);
    }
    there
        .into_iter()
        .filter_map(|d| Some((d.platform.as_ref().map_or(Some(u32::MAX), |p| p.rank_on(host))?, *d)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, d)| d)
}

/// Whether a manifest that is there is for the platform that was asked for.
fn is_for(files: &dyn Files, d: &Descriptor, asked: &Platform) -> bool {
    let Some(bytes) = files.document_with(&d.digest) else { return false };
    let its = match &d.platform {
        Some(p) => Some(Platform::new(&p.os, &p.architecture, &p.variant)),
        // Not said here: its configuration says it.
        None => match Document::parse(bytes, &d.media_type) {
            Ok(Document::Manifest(m)) => files
                .document_with(&m.config.digest)
                .and_then(|config| ImageConfig::parse(config).ok())
                .map(|config| config.platform()),
            _ => None,
        },
    };
    its.as_ref() == Some(asked)
}

fn manifest(
    files: &dyn Files,
    d: &Descriptor,
    bytes: &[u8],
    m: &Manifest,
    references: Vec<Reference>,
) -> Result<PlannedImage> {
    let what = || format!("manifest {}", d.digest.short());
    if !matches!(m.config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "") {
        return Err(Error::invalid(format!("its configuration is a {:?}, not an image's", m.config.media_type)))
            .with_context(what);
    }
    let config = blob(files, &m.config, "configuration").with_context(what)?;
    let sources = m
        .layers
        .iter()
        .map(|l| match files.layer_with(&l.digest) {
            Some(layer) => Ok((Some(layer), l.media_type.clone())),
            None if l.size == 0 && l.digest == Digest::of(b"") => Ok((None, l.media_type.clone())),
            None => Err(missing_blob("layer", &l.digest)),
        })
        .collect::<Result<Vec<_>>>()
        .with_context(what)?;
    image(files, config, sources, references, Some((d.digest, bytes.to_vec()))).with_context(what)
}

/// Checks that the layers are those which the configuration names.
fn image(
    files: &dyn Files,
    config: &[u8],
    sources: Vec<(Option<usize>, String)>,
    references: Vec<Reference>,
    manifest: Option<(Digest, Vec<u8>)>,
) -> Result<PlannedImage> {
    let id = Digest::of(config);
    let parsed = ImageConfig::parse(config)?;
    let wanted = &parsed.rootfs.diff_ids;
    if wanted.len() != sources.len() {
        return Err(Error::invalid(format!(
            "damaged archive: image {} has {} layers, its configuration names {}",
            id.short(),
            sources.len(),
            wanted.len()
        )));
    }
    let mut layers = Vec::with_capacity(sources.len());
    for (position, ((source, media_type), want)) in sources.into_iter().zip(wanted).enumerate() {
        let got = match source {
            Some(layer) => {
                files.diff_id(layer).with_context(|| format!("layer {} of image {}", position + 1, id.short()))?
            }
            None => Digest::of(b""),
        };
        if got != *want {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!(
                    "damaged archive: layer {} of image {} has the digest {got}, its configuration says {want}",
                    position + 1,
                    id.short()
                ),
            ));
        }
        layers.push(PlannedLayer { source, diff_id: got, media_type });
    }
    Ok(PlannedImage { id, config: config.to_vec(), manifest, layers, references, platform: parsed.platform() })
}

fn blob<'a>(files: &'a dyn Files, d: &Descriptor, what: &str) -> Result<&'a [u8]> {
    let bytes = files.document_with(&d.digest).ok_or_else(|| missing_blob(what, &d.digest))?;
    if bytes.len() as u64 != d.size {
        return Err(Error::new(
            ErrorKind::DataLoss,
            format!("damaged archive: {what} {} has {} bytes, {} are announced", d.digest, bytes.len(), d.size),
        ));
    }
    Ok(bytes)
}

fn missing_blob(what: &str, digest: &Digest) -> Error {
    Error::new(ErrorKind::DataLoss, format!("damaged archive: no file in it has the digest of its {what}, {digest}"))
}

/// BuildKit's attestations stand beside the images in an index and are none.
fn is_attestation(d: &Descriptor) -> bool {
    d.annotations.contains_key("vnd.docker.reference.type")
        || d.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

/// The names that a descriptor in a layout gives its image. A bare tag names no repository, so it is no name;
/// and what is no valid name at all is free text of whoever made the archive.
fn names(d: &Descriptor) -> Vec<Reference> {
    let full = |key: &str| {
        let text = d.annotations.get(key)?;
        text.contains(['/', ':']).then(|| text.parse::<Reference>().ok()).flatten()
    };
    let name = full("io.containerd.image.name").or_else(|| full("org.opencontainers.image.ref.name"));
    name.map(Reference::or_latest).into_iter().collect()
}

/// A name for messages.
pub(super) fn describe(image: &PlannedImage) -> String {
    match image.references.first() {
        Some(r) => shown(r.familiar().as_bytes()),
        None => image.id.short(),
    }
}
