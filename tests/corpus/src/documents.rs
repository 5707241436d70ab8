//! Tricks of whole archives: manifests, indexes and configurations, and the names and digests in them.

use crate::wrap::{Layout, config, descriptor, docker_archive};
use crate::{Head, Tar};
use dhow_types::Digest;
use dhow_types::image::media_type;
use serde_json::{Value, json};

/// An archive that must be refused, and one that must not.
pub struct Row {
    /// What it tries.
    pub name: &'static str,
    /// The archive.
    pub archive: Vec<u8>,
    /// What the error says.
    pub word: &'static str,
    /// Nearly the same without the trick.
    pub twin: Vec<u8>,
}

fn layer() -> Vec<u8> {
    Tar::new().file("f", b"1").end()
}

fn oci() -> Layout {
    Layout::new(&config(&[layer()]), &[layer()], Some("x:1"))
}

/// The layout with its index changed.
fn with_index(change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut layout = oci();
    change(&mut layout.index);
    layout.tar()
}

/// The layout with its manifest changed, and described rightly.
fn with_manifest(change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut layout = oci();
    let mut manifest: Value = serde_json::from_slice(&layout.blobs[2]).unwrap();
    change(&mut manifest);
    layout.blobs[2] = manifest.to_string().into_bytes();
    layout.index["manifests"][0] = descriptor(media_type::OCI_MANIFEST, &layout.blobs[2]);
    layout.tar()
}

/// A docker archive whose manifest.json is this.
fn docker(manifest: &Value) -> Vec<u8> {
    Tar::new()
        .file("l.tar", &layer())
        .file("c.json", &config(&[layer()]))
        .file("manifest.json", manifest.to_string().as_bytes())
        .end()
}

fn docker_names(config: &str, layer: &str, tag: &str) -> Vec<u8> {
    docker(&json!([{ "Config": config, "RepoTags": [tag], "Layers": [layer] }]))
}

/// Indexes one in another, around the image.
fn nested(depth: usize) -> Vec<u8> {
    let mut layout = oci();
    for _ in 0..depth {
        let inner =
            json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": layout.index["manifests"] });
        let inner = inner.to_string().into_bytes();
        layout.index["manifests"] = json!([descriptor(media_type::OCI_INDEX, &inner)]);
        layout.blobs.push(inner);
    }
    layout.tar()
}

/// The same image as often as this.
fn many(images: usize, filler: usize) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&config(&[layer()])).unwrap();
    config["config"]["Labels"]["filler"] = Value::String("x".repeat(filler));
    let one = json!({ "Config": "c.json", "RepoTags": [], "Layers": ["l.tar"] });
    let manifest = Value::Array(vec![one; images]).to_string();
    Tar::new()
        .file("l.tar", &layer())
        .file("c.json", config.to_string().as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .end()
}

/// An image of this many layers, all the same.
fn layers(count: usize) -> Vec<u8> {
    let all = vec![layer(); count];
    let manifest = json!([{ "Config": "c.json", "RepoTags": [], "Layers": vec!["l.tar"; count] }]);
    Tar::new()
        .file("l.tar", &layer())
        .file("c.json", &config(&all))
        .file("manifest.json", manifest.to_string().as_bytes())
        .end()
}

/// All of them.
pub fn rows() -> Vec<Row> {
    let good = || oci().tar();
    let hex = Digest::of(b"x").hex();
    let mut rows = Vec::new();
    let mut add = |name, word, archive, twin| rows.push(Row { name, archive, word, twin });

    // Digests: typed, so that no path is ever made from what somebody wrote.
    for (name, digest, word) in [
        ("digest that is a path", "sha256:../../x".to_owned(), "invalid digest"),
        ("digest in upper case", format!("sha256:{}", hex.to_uppercase()), "invalid digest"),
        ("digest too short", format!("sha256:{}", &hex[1..]), "invalid digest"),
        ("digest too long", format!("sha256:{hex}0"), "invalid digest"),
        ("digest with a line end", format!("sha256:{hex}\n"), "invalid digest"),
        ("digest of an unknown algorithm", format!("sha512:{hex}{hex}"), "unsupported digest algorithm"),
        ("digest with a path for algorithm", format!("../../x:{hex}"), "unsupported digest algorithm"),
        ("digest without algorithm", hex.clone(), "invalid digest"),
        ("digest that is empty", String::new(), "invalid digest"),
    ] {
        add(name, word, with_index(|i| i["manifests"][0]["digest"] = json!(digest)), good());
        add(name, word, with_manifest(|m| m["config"]["digest"] = json!(digest)), good());
        add(name, word, with_manifest(|m| m["layers"][0]["digest"] = json!(digest)), good());
        let mut config: Value = serde_json::from_slice(&config(&[layer()])).unwrap();
        config["rootfs"]["diff_ids"] = json!([digest]);
        add(name, word, docker_archive(None, config.to_string().as_bytes(), &[layer()]), good());
    }
    add(
        "digest of something else",
        "no file in it has the digest",
        with_index(|i| i["manifests"][0]["digest"] = json!(format!("sha256:{hex}"))),
        good(),
    );
    add("size that is not the blob's", "are announced", with_index(|i| i["manifests"][0]["size"] = json!(1)), good());
    add("size that is negative", "invalid image index", with_index(|i| i["manifests"][0]["size"] = json!(-1)), good());

    // Names in manifest.json.
    let named = || docker_names("c.json", "l.tar", "x:1");
    add("configuration of the host", "which is not there", docker_names("/etc/passwd", "l.tar", "x:1"), named());
    add(
        "configuration above",
        "which is not there",
        docker_names("../../c.json", "l.tar", "x:1"),
        docker_names("./c.json", "l.tar", "x:1"),
    );
    add("layer of the host", "which is not there", docker_names("c.json", "/etc/passwd", "x:1"), named());
    add(
        "layer above",
        "which is not there",
        docker_names("c.json", "../l.tar", "x:1"),
        docker_names("c.json", "a/../l.tar", "x:1"),
    );
    add("layer that is a directory", "which is not there", docker_names("c.json", ".", "x:1"), named());
    add("tag that is a path", "invalid reference", docker_names("c.json", "l.tar", "../../x"), named());
    add("tag that is an id", "cannot specify 64-byte hexadecimal", docker_names("c.json", "l.tar", &hex), named());
    add("configuration that is a layer", "which is not there", docker_names("l.tar", "l.tar", "x:1"), named());
    add("layer that is a document", "which is not there", docker_names("c.json", "c.json", "x:1"), named());

    // Links and nodes of the archive itself.
    let linked = |kind: u8, to: &str| {
        let manifest = json!([{ "Config": "c.json", "Layers": ["link"] }]).to_string();
        Tar::new()
            .file("l.tar", &layer())
            .head(Head { link: to.as_bytes().to_vec(), ..Head::new(kind, "link") })
            .file("c.json", &config(&[layer()]))
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    add("layer that is a link to the host", "which is not there", linked(b'2', "/etc/passwd"), linked(b'2', "l.tar"));
    add("layer that is a link out", "leads out of the tree", linked(b'2', "../../etc/passwd"), linked(b'2', "./l.tar"));
    add(
        "layer that is a hard link to the host",
        "which is not there",
        linked(b'1', "/etc/passwd"),
        linked(b'1', "l.tar"),
    );
    add("layer that is a link to itself", "which is not there", linked(b'2', "link"), linked(b'2', "/l.tar"));
    add(
        "manifest that is a link to the host",
        "not an image archive",
        Tar::new().symlink("manifest.json", "/etc/passwd").end(),
        good(),
    );
    add(
        "device in the archive",
        "no file of an image archive",
        Tar::new().node(b'3', "manifest.json", (1, 3)).end(),
        good(),
    );
    add(
        "pipe in the archive",
        "no file of an image archive",
        Tar::new().node(b'6', "index.json", (0, 0)).end(),
        good(),
    );
    add("name out of the archive", "leads out of the tree", Tar::new().file("../manifest.json", b"[]").end(), good());

    // One document that two readers would read in two ways.
    add("manifest and index in one", "ambiguous manifest", with_manifest(|m| m["manifests"] = json!([])), good());
    add("index and manifest in one", "ambiguous manifest", with_index(|i| i["layers"] = json!([])), good());
    add(
        "manifest that is described as an index",
        "ambiguous manifest",
        with_index(|i| i["manifests"][0]["mediaType"] = json!(media_type::OCI_INDEX)),
        good(),
    );
    add(
        "artifact instead of an image",
        "not an image's",
        with_manifest(|m| m["config"]["mediaType"] = json!("application/x")),
        good(),
    );
    add("schema 1", "schema", with_manifest(|m| m["schemaVersion"] = json!(1)), good());

    // Bombs.
    add("indexes deep in one another", "too deep", nested(5), nested(3));
    add("more layers than overlayfs takes", "501 layers, the limit is 500", layers(501), layers(500));
    add("one image very often", "more than 1000 images", many(1001, 0), many(1000, 0));
    add("one large configuration read over and over", "of documents", many(100, 1 << 20), many(10, 1 << 20));
    add("JSON that is deep", "invalid", deep("manifests", 100_000), deep("free", 100_000));
    add("manifest beyond the limit", "not an image archive", padded(5 << 20), padded(1 << 20));
    rows
}

/// A layout whose index has lists in lists under this name, before all else.
fn deep(name: &str, depth: usize) -> Vec<u8> {
    let text = oci().index.to_string();
    let list = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    replaced("index.json", text.replacen('{', &format!("{{\"{name}\":{list},"), 1).as_bytes())
}

/// A layout whose index is this long.
fn padded(bytes: usize) -> Vec<u8> {
    let text = oci().index.to_string();
    replaced("index.json", format!("{text}{}", " ".repeat(bytes - text.len())).as_bytes())
}

/// The layout with another document under this name.
fn replaced(name: &str, bytes: &[u8]) -> Vec<u8> {
    let layout = oci();
    layout
        .blobs
        .iter()
        .fold(Tar::new(), |t, b| t.file(format!("blobs/sha256/{}", Digest::of(b).hex()), b))
        .file(name, bytes)
        .end()
}
