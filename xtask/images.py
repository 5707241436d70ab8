"""A docker archive of busybox-static, one layer: images.py DIR."""
import hashlib, io, json, os, subprocess, sys, tarfile

out = os.path.join(sys.argv[1], "busybox.tar")
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    def add(name, kind, data=b"", mode=0o755, link=""):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.size, entry.linkname, entry.mtime = kind, mode, len(data), link, 1700000000
        tar.addfile(entry, io.BytesIO(data))
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"):
        add(name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
    add("bin/busybox", tarfile.REGTYPE, open("/bin/busybox", "rb").read())
    for applet in subprocess.check_output(["/bin/busybox", "--list"], text=True).split():
        if applet != "busybox":
            add("bin/" + applet, tarfile.SYMTYPE, link="busybox")
    add("etc/passwd", tarfile.REGTYPE, b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
    add("etc/group", tarfile.REGTYPE, b"root:x:0:\n", 0o644)
layer = layer.getvalue()
diff = hashlib.sha256(layer).hexdigest()
arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
config = json.dumps({
    "architecture": arch, "os": "linux", "created": "2023-11-14T22:13:20Z",
    "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff]}, "history": [{"created_by": "busybox-static"}],
}).encode()
name = hashlib.sha256(config).hexdigest() + ".json"
manifest = json.dumps([{"Config": name, "RepoTags": ["busybox:latest"], "Layers": [diff + ".tar"]}]).encode()
with tarfile.open(out + ".part", "w") as tar:
    for path, data in ((diff + ".tar", layer), (name, config), ("manifest.json", manifest)):
        entry = tarfile.TarInfo(path)
        entry.size, entry.mtime = len(data), 1700000000
        tar.addfile(entry, io.BytesIO(data))
os.rename(out + ".part", out)
print(out)
