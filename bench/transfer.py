"""Images from and to a registry on loopback: Debian's docker-registry, its files on the same disk as everybody's.

Beside the engines stands what plain tools need for the layers alone ("floor": gunzip and tar, one after the other)."""
import json, os, shutil, subprocess, sys, threading, urllib.request
from store import Store

REGISTRY = "127.0.0.1:5000"
FILES = "/data/registry/docker"
FROM = f"{REGISTRY}/from/many:latest"


class Counter:
    """Counts the requests that a registry gets: a proxy on another port, one thread a connection."""
    def __init__(self):
        import socket
        self.n, self.socket = 0, socket.create_server(("127.0.0.1", 0))
        self.name = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        import socket
        server = socket.create_connection(tuple(REGISTRY.split(":")))
        def back():
            while data := server.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        threading.Thread(target=back, daemon=True).start()
        try:
            while data := client.recv(1 << 16):
                # Requests of a second pull are small and have no bodies: each comes in one piece.
                self.n += data.count(b" HTTP/1.1\r\n")
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Transfer(Store):
    def wipe(self, name):
        """Takes a repository, and all blobs that no other has, out of the registry."""
        shutil.rmtree(f"{FILES}/registry/v2/repositories/{name}", ignore_errors=True)
        kept = set()
        for d, _, files in os.walk(f"{FILES}/registry/v2/repositories"):
            kept.update(open(f"{d}/{f}").read().split(":")[1] for f in files if f == "link")
        for d in [d for d, _, files in os.walk(f"{FILES}/registry/v2/blobs") if "data" in files]:
            if os.path.basename(d) not in kept:
                shutil.rmtree(d)

    def size(self, name):
        """MiB of the layers of an image there."""
        url = f"http://{REGISTRY}/v2/{name}/manifests/latest"
        accept = ", ".join(("application/vnd.oci.image.manifest.v1+json",
                            "application/vnd.docker.distribution.manifest.v2+json"))
        manifest = json.load(urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})))
        return sum(l["size"] for l in manifest["layers"]) / 2 ** 20

    def floor(self):
        """gunzip and untar of each layer in the registry."""
        url = f"http://{REGISTRY}/v2/from/many/manifests/latest"
        accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        manifest = json.load(urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})))
        blobs = [l["digest"].split(":")[1] for l in manifest["layers"]]
        files = [f"{FILES}/registry/v2/blobs/sha256/{b[:2]}/{b}/data" for b in blobs]
        d = f"{self.b.TMP}/untar"
        def prepare():
            shutil.rmtree(d, ignore_errors=True)
            for i in range(len(files)):
                os.makedirs(f"{d}/{i}")
        def act():
            for i, f in enumerate(files):
                subprocess.run(f"gunzip -c <{f} | tar xf - -C {d}/{i}", shell=True, check=True)
        return prepare, act

    def all(self):
        b, n = self.b, self.n or 3
        # What an earlier run left would be mounted.
        shutil.rmtree(FILES, ignore_errors=True)
        to = lambda e: f"{REGISTRY}/{e.name}/many:latest"
        for e in self.engines:
            b.need(e, "many")
            e.run("tag", "many", to(e))

        def push(metric, *words, engines=self.engines):
            mine, self.engines = self.engines, engines
            self.measured(metric, n, lambda e: self.wipe(f"{e.name}/many"), lambda e: e.run("push", *words_of(e, words), to(e)))
            self.engines = mine
            for e in (e for e in engines if os.path.isdir(f"{FILES}/registry/v2/repositories/{e.name}/many/_manifests/tags")):
                b.emit(f"{metric}: layers in the registry", e.name, self.size(f"{e.name}/many"), "MiB")
        # Docker has no choice of compression; the two others call it differently.
        words_of = lambda e, words: [w.replace("--compression", "--compression-format") if e.name == "podman" else w for w in words]
        push("push many (21 layers, 473 MiB)")
        self.measured("push again (all layers there)", n, lambda e: None, lambda e: e.run("push", to(e)))
        push("push many with zstd", "--compression=zstd", engines=[e for e in self.engines if e.name != "docker"])
        for e in self.engines:
            self.wipe(f"{e.name}/many")
            self.drop(e, to(e))

        # What Docker pushes is what all pull.
        first = self.engines[0]
        first.run("tag", "many", FROM)
        first.run("push", FROM)
        for e in self.engines:
            self.drop(e, FROM, "many")
        self.measured("pull many (21 layers, 473 MiB)", n, lambda e: self.drop(e, FROM), lambda e: e.run("pull", FROM),
                      floor=self.floor())
        self.measured("pull again (unchanged)", n, lambda e: None, lambda e: e.run("pull", FROM))
        shutil.rmtree(f"{b.TMP}/untar", ignore_errors=True)
        counter = Counter()
        name = FROM.replace(REGISTRY, counter.name)
        for e in self.engines:
            words = ["--tls-verify=false"] if e.name == "podman" else []
            try:
                e.run("pull", *words, name)
                before = counter.n
                e.run("pull", *words, name)
            except RuntimeError as x:
                print(f"pull again: {x}", file=sys.stderr)
                continue
            b.emit("pull again: requests", e.name, counter.n - before, "")
            self.drop(e, name, FROM)
