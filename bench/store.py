"""What an engine's store does: images in and out, other commands meanwhile, files inside of a container.

Beside the engines stand what plain tools need for the same ("floor": tar and rm, no sync) and the machine without
a container ("bare")."""
import json, os, shutil, statistics as st, subprocess, sys, threading, time


class Peak(threading.Thread):
    """Peak summed RSS of the engine's processes and of all descendants of this process but itself."""
    def __init__(self, e):
        super().__init__(daemon=True)
        self.e, self.peak, self.on = e, 0, True

    def run(self):
        me, page = os.getpid(), os.sysconf("SC_PAGE_SIZE")
        while self.on:
            total, parents = 0, {}
            want = {p for p, _ in self.e.pids()}
            for d in filter(str.isdigit, os.listdir("/proc")):
                try:
                    s = open(f"/proc/{d}/stat").read()
                    parents[int(d)] = int(s[s.rindex(")") + 2:].split()[1])
                except OSError:
                    pass
            for p in parents:
                q, mine = p, p in want
                while not mine and q in parents and q > 1:
                    q = parents[q]
                    mine = q == me or q in want
                if mine and p != me:
                    try:
                        total += int(open(f"/proc/{p}/statm").read().split()[1]) * page
                    except OSError:
                        pass
            self.peak = max(self.peak, total)
            time.sleep(.03)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.join()


class Store:
    """The measurements, with what they share; `b` is the module bench."""
    def __init__(self, b, engines, n):
        self.b, self.engines, self.n = b, engines, n

    def drop(self, e, *tags):
        for t in tags:
            e.run("rmi", "-f", t, ok=True)

    def measured(self, metric, n, prepare, act, after=lambda e: None, floor=None):
        """Wall seconds in turn, with peak RSS and CPU seconds of the engine. `floor`: (prepare, act) of plain tools."""
        b, plain = self.b, []
        res = {e.name: [] for e in self.engines}
        for _ in range(n):
            if floor:
                floor[0]()
                os.sync()
                t = time.perf_counter()
                floor[1]()
                plain.append(time.perf_counter() - t)
            for e in self.engines:
                try:
                    prepare(e)
                    os.sync()
                    with e.in_group(), Peak(e) as p:
                        c, t = e.cpu(), time.perf_counter()
                        act(e)
                        t, c = time.perf_counter() - t, e.cpu() - c
                    res[e.name].append((t, c, p.peak / 2 ** 20))
                    after(e)
                except Exception as x:
                    print(f"{metric}: {e.name}: {x}", file=sys.stderr)
        for e in self.engines:
            if res[e.name]:
                w, c, m = (st.median(x) for x in zip(*res[e.name]))
                b.emit(metric, e.name, w, "s", n=len(res[e.name]), min=min(x[0] for x in res[e.name]),
                       cpu_s=round(c, 2) if b.V2 else None, peak_mib=round(max(x[2] for x in res[e.name])))
        if plain:
            b.emit(metric, "floor", st.median(plain), "s", n=len(plain), min=min(plain))

    # the layers' tars as files, and where they are unpacked
    def untar(self):
        d = f"{self.b.TMP}/untar"
        shutil.rmtree(d, ignore_errors=True)
        os.makedirs(d + "/in")
        subprocess.run(["tar", "xf", f"{self.b.IMAGES}/many.tar", "-C", d + "/in"], check=True)
        layers = json.load(open(d + "/in/manifest.json"))[0]["Layers"]
        each = "for l in %s; do mkdir -p out/$l; tar xf in/$l -C out/$l; done" % " ".join(layers)
        sh = lambda text: lambda: subprocess.run(["sh", "-ec", text], cwd=d, check=True)
        return sh, each

    def images(self):
        b, n = self.b, self.n or 3
        many = f"{b.IMAGES}/many.tar"
        open(many, "rb").read()                                       # into the page cache
        sh, each = self.untar()
        self.measured("load many (21 layers, 473 MiB)", n, lambda e: self.drop(e, "many"),
                      lambda e: e.run("load", "-i", many), floor=(sh("rm -rf out"), sh(each)))
        self.measured("load again (all layers there)", n, lambda e: None, lambda e: e.run("load", "-i", many))
        saved = lambda e: f"{b.TMP}/save-{e.name}.tar"
        self.measured("save many", n, lambda e: None, lambda e: e.run("save", "-o", saved(e), "many"),
                      lambda e: os.unlink(saved(e)))
        b.interleave("run --rm many true (21 layers)", self.engines, 10, lambda e: e.run("run", "--rm", "many", "true")[0])
        self.measured("rmi many", n, lambda e: e.run("load", "-i", many), lambda e: e.run("rmi", "-f", "many"),
                      floor=(sh("rm -rf out; " + each), sh("rm -rf out")))
        shutil.rmtree(f"{b.TMP}/untar")
        for e in self.engines:
            b.need(e, "debian")
        write = "head -c 50000000 /dev/urandom > /f"
        self.measured("commit (1 file of 50 MB)", n,
                      lambda e: (e.run("rm", "-f", "cm", ok=True), e.run("run", "--name", "cm", "debian", "sh", "-c", write)),
                      lambda e: e.run("commit", "cm", "cm:latest"), lambda e: (e.run("rm", "-f", "cm"), self.drop(e, "cm:latest")))

    def contend(self):
        """Small commands while a big image is being loaded, after the same at rest."""
        b = self.b
        run = lambda e: e.run("run", "--rm", "--network", "none", "busybox", "true")[0]
        for e in self.engines:
            b.need(e, "busybox")
            self.drop(e, "many")
        b.interleave("run --rm at rest", self.engines, 15, run)
        for e in self.engines:
            runs, lists = [], []
            for _ in range(self.n or 3):
                self.drop(e, "many")
                os.sync()
                p = subprocess.Popen(e.argv(["load", "-i", f"{b.IMAGES}/many.tar"]), stdout=subprocess.DEVNULL)
                while p.poll() is None:
                    lists.append(e.run("images")[0] * 1e3)
                    runs.append(run(e) * 1e3)
            for what, d in (("run --rm while loading many", runs), ("images while loading many", lists)):
                b.emit(what, e.name, st.median(d), "ms", n=len(d), min=min(d), max=max(d))
            self.drop(e, "many")

    def io(self):
        b, n = self.b, self.n or 5
        host = f"{b.TMP}/host"
        # In a directory that is new each time: file systems look for room among what was deleted just before.
        create = "i=0; mkdir -p @/many%; while [ $i -lt 10000 ]; do echo $i > @/many%/f$i; i=$((i+1)); done"
        jobs = (   # metric, before it, the inner work, for the busybox of the image
            ("inside: create 10,000 small files", "true", create),
            ("inside: stat+read 10,000 files", "true", "cat @/many%/* > /dev/null; ls -l @/many% >/dev/null"),
            ("inside: rm 10,000 files", "true", "rm -rf @/many%"),
            ("inside: write 512 MB + fsync", "rm -f @/w; sync", "dd if=/dev/zero of=@/w bs=1M count=512 conv=fsync 2>/dev/null"),
        )
        names = {}
        for e in self.engines:
            b.need(e, "busybox")
            names[e.name] = b.fresh(e)
            e.run("run", "-d", "--name", names[e.name], "--network", "none", "busybox", "sleep", "100000")
        # bare metal: the image's own busybox and applets, so that both sides run the same code
        rootfs, bare = b.unpacked(), f"{host}/bin"
        os.makedirs(bare, exist_ok=True)
        listed = subprocess.run([rootfs + "/bin/busybox", "--list"], capture_output=True, text=True, check=True)
        for a in listed.stdout.split():
            os.path.lexists(f"{bare}/{a}") or os.symlink(rootfs + "/bin/busybox", f"{bare}/{a}")
        for metric, before, work in jobs:
            data = {who: [] for who in ["bare"] + [e.name for e in self.engines]}
            for sample in range(n):
                for who in ["bare"] + self.engines:
                    base = host if who == "bare" else "/root"
                    # timed inside, so that the latency of exec does not count; the clock has steps of 10 ms
                    text = f"{before}; read a x < /proc/uptime; {work} >/dev/null; read c x < /proc/uptime; echo $a $c"
                    text = text.replace("@", base).replace("%", str(sample))
                    if who == "bare":
                        out = subprocess.run([bare + "/sh", "-c", text], env={"PATH": bare}, capture_output=True, text=True, check=True).stdout
                    else:
                        out = who.run("exec", names[who.name], "sh", "-c", text, out=True)[1]
                    a, c = out.split()[-2:]
                    data["bare" if who == "bare" else who.name].append(float(c) - float(a))
            for who, d in data.items():
                b.emit(metric, who, st.median(d), "s", n=n, min=min(d))
        for e in self.engines:
            e.run("rm", "-f", names[e.name])
        shutil.rmtree(host)
