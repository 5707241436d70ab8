#!/usr/bin/env python3
"""many.py OUT BUSYBOX: writes OUT, the docker archive of the image many:latest, on top of the layer in the archive BUSYBOX.

20 layers on busybox's, about 470 MiB in about 42,000 small files and a few larger ones, some overwritten and some
deleted by a later layer. The same bytes every time."""
import hashlib, io, json, os, random, sys, tarfile

MTIME = 1700000000


class Layer:
    def __init__(self):
        self.buf = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buf, mode="w")

    def add(self, name, kind, mode, data=b"", target=""):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime, entry.size, entry.linkname = kind, mode, MTIME, len(data), target
        self.tar.addfile(entry, io.BytesIO(data))

    def dir(self, name):
        self.add(name, tarfile.DIRTYPE, 0o755)

    def file(self, name, data):
        self.add(name, tarfile.REGTYPE, 0o644, data)

    def bytes(self):
        self.tar.close()
        return self.buf.getvalue()


def lowest(busybox):
    with tarfile.open(busybox) as archive:
        name = json.load(archive.extractfile("manifest.json"))[0]["Layers"][0]
        return archive.extractfile(name).read()


def layers(busybox):
    rnd = random.Random(42)
    words = ["".join(rnd.choices("abcdefghijklmnopqrstuvwxyz", k=rnd.randint(2, 10))) for _ in range(4000)]
    text = " ".join(rnd.choices(words, k=400000)).encode()        # about 2.8 MB, compresses about 2.5:1
    noise = rnd.randbytes(8 << 20)
    yield lowest(busybox)
    for n in range(20):
        layer = Layer()
        layer.dir("opt")
        layer.dir(f"opt/l{n}")
        for d in range(42):
            layer.dir(f"opt/l{n}/d{d}")
            for f in range(50):
                size = int(rnd.lognormvariate(8.3, 1.0)) + 1      # median 4 KB, mean about 6.6 KB
                off = rnd.randrange(len(text) - 200000)
                layer.file(f"opt/l{n}/d{d}/f{f}.txt", text[off:off + min(size, 200000)])
            layer.add(f"opt/l{n}/d{d}/link", tarfile.SYMTYPE, 0o777, target="f0.txt")
            layer.add(f"opt/l{n}/d{d}/hard", tarfile.LNKTYPE, 0o777, target=f"opt/l{n}/d{d}/f1.txt")
        off = rnd.randrange(1 << 20)
        layer.file(f"opt/l{n}/big.bin", noise[off:off + (4 << 20)])
        layer.file(f"opt/l{n}/big.txt", text + text[:2 << 20])
        if n:                                                     # touch the layer below
            for f in range(20):
                layer.file(f"opt/l{n-1}/d0/f{f}.txt", b"overwritten by layer %d\n" % n)
                layer.file(f"opt/l{n-1}/d1/.wh.f{f}.txt", b"")
        yield layer.bytes()


def main(path, busybox):
    with tarfile.open(path + ".part", "w") as out:
        def add(name, data):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), MTIME
            out.addfile(entry, io.BytesIO(data))
        digests = []
        for layer in layers(busybox):
            digests.append(hashlib.sha256(layer).hexdigest())
            add(digests[-1] + ".tar", layer)
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + d for d in digests]},
            "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"layer {i}"} for i in range(len(digests))],
        }).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        add(name, config)
        manifest = [{"Config": name, "RepoTags": ["many:latest"], "Layers": [d + ".tar" for d in digests]}]
        add("manifest.json", json.dumps(manifest).encode())
    os.rename(path + ".part", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
