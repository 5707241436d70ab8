//! The documents of an archive, written so that a fuzzer can change them and their digests still fit.
//!
//! An input is documents with the byte 0xff between them: a line with the name, then the text. `@3@` in a text stands
//! for the digest of document 3, `#3#` for its length, `@L@` for the layer's digest; only later documents can be meant.
//! The name `*` is the name that a blob has in an OCI layout.

use dhow_corpus::Tar;
use dhow_types::Digest;

/// Documents by name, their bytes as they are.
pub type Documents = Vec<(Vec<u8>, Vec<u8>)>;

/// The tar of the only layer there is.
pub fn layer() -> Vec<u8> {
    Tar::new().file("f", b"1").end()
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|w| w == from.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The documents that an input means.
pub fn read(input: &[u8]) -> Documents {
    let parts: Vec<&[u8]> = input.split(|b| *b == 0xff).take(8).collect();
    let mut done: Documents = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let (name, text) = match part.iter().position(|b| *b == b'\n') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (&part[..0], *part),
        };
        let mut text = replaced(text, "@L@", &Digest::of(&layer()).to_string());
        for (later, (_, bytes)) in (index + 1..).zip(done.iter().rev()) {
            text = replaced(&text, &format!("@{later}@"), &Digest::of(bytes).to_string());
            text = replaced(&text, &format!("#{later}#"), &bytes.len().to_string());
        }
        let name = if name == b"*" { blob_name(&Digest::of(&text)).into() } else { name.to_vec() };
        done.push((name, text));
    }
    done.reverse();
    done
}

/// An input that means the documents of this archive, which must have only one layer.
pub fn write(archive: &[u8]) -> Option<Vec<u8>> {
    let mut left: Documents = Vec::new();
    for entry in tar::Archive::new(archive).entries().ok()? {
        let mut entry = entry.ok()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).ok()?;
        if entry.header().entry_type().is_file() && bytes.first().is_some_and(|b| matches!(b, b'{' | b'[')) {
            left.push((entry.path_bytes().into_owned(), bytes));
        }
    }
    // Who means another stands before it.
    let mut order: Documents = Vec::new();
    while !left.is_empty() {
        let holds = |text: &[u8], digest: &Digest| replaced(text, &digest.hex(), "") != text;
        let free = |d: &(Vec<u8>, Vec<u8>)| !left.iter().any(|o| o != d && holds(&o.1, &Digest::of(&d.1)));
        let at = left.iter().position(free)?;
        order.push(left.remove(at));
    }
    let digests: Vec<Digest> = order.iter().map(|d| Digest::of(&d.1)).collect();
    let mut parts = Vec::new();
    for (name, text) in &order {
        let mut text = replaced(text, &Digest::of(&layer()).to_string(), "@L@");
        for (index, digest) in digests.iter().enumerate() {
            text = replaced(&text, &digest.to_string(), &format!("@{index}@"));
            text = replaced(&text, &format!("\"size\":{}}}", order[index].1.len()), &format!("\"size\":#{index}#}}"));
        }
        let own = blob_name(&Digest::of(&order.iter().find(|d| d.0 == *name)?.1));
        let name = if *name == own.as_bytes() { b"*".to_vec() } else { name.clone() };
        parts.push([&name[..], b"\n", &text].concat());
    }
    Some(parts.join(&0xff))
}
