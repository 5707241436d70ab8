#!/usr/bin/env python3
"""Engine-agnostic container benchmarks (python3 stdlib only).

  bench.py WHAT [-e NAME=COMMAND]... [-r NAME=PATH]... [-n N] [-o FILE]

  -e  an engine by its docker-like command, e.g. -e docker=docker -e podman=podman
      -e 'dhow=dhow --host unix:///run/dhow.sock'. With two or more, every sample is taken
      in turn (A B A B ...) and the ratio to the first engine is printed.
  -r  a bare OCI runtime (for `oci`), e.g. -r runc=/usr/sbin/runc -r crun=/usr/bin/crun
  -n  samples (default: per benchmark)      -o  append JSON lines (default $BENCH_OUT)

WHAT  latency lifecycle commands par idle images contend transfer io flood oci floor env | all

An engine's own processes and cgroups, for memory and CPU, default by NAME (see KNOWN) and
can be given as BENCH_PROCS_NAME="comm,comm" and BENCH_CGROUPS_NAME="group,group" (v2 groups
relative to /sys/fs/cgroup; CPU is their cpu.stat plus that of the group bench puts the CLI in).
Other settings: IMAGES (/images), TMP (/data/tmp), BIN (/data/bin: floor, maxrss).
"""
import argparse, concurrent.futures as cf, glob, io, json, os, re, resource, select, shlex
import statistics as st, subprocess, sys, tarfile, tempfile, time

import commands
import flood
import store
import transfer

IMAGES = os.environ.get("IMAGES", "/images")
TMP = os.environ.get("TMP", "/data/tmp")
BIN = os.environ.get("BIN", "/data/bin")
CG = "/sys/fs/cgroup"
V2 = os.path.exists(CG + "/cgroup.controllers")
KNOWN = {   # name: (process names, v2 cgroups)
    "docker": ("dockerd,containerd,containerd-shim,docker-proxy", "engine-docker,docker"),
    "podman": ("podman,conmon,netavark,aardvark-dns", "libpod_parent"),
    "dhow": ("dhow,dhowd,dhow-shim", "engine-dhow,dhow"),
}
TIMEOUT = float(os.environ.get("TIMEOUT", "120"))
OUT = None


class Engine:
    def __init__(self, spec):
        self.name, _, cmd = spec.partition("=")
        self.cmd = shlex.split(cmd or self.name)
        base = next((k for k in KNOWN if self.name.startswith(k)), None)
        procs, groups = KNOWN.get(base, (self.name, self.name))
        self.procs = os.environ.get("BENCH_PROCS_" + self.name, procs).split(",")
        self.groups = os.environ.get("BENCH_CGROUPS_" + self.name, groups).split(",") + ["cli-" + self.name]
        if V2:
            os.makedirs(f"{CG}/cli-{self.name}", exist_ok=True)

    def argv(self, args):
        return self.cmd + [str(a) for a in args]

    def run(self, *args, ok=False, out=False, env=None, rss=None):
        """Run a CLI command, return (seconds, stdout)."""
        argv = self.argv(args)
        if rss:
            argv = [BIN + "/maxrss", rss] + argv
        e = dict(os.environ, **(env or {}))
        # files, not pipes: a container that outlives the command may hold its stdout and stderr
        with tempfile.TemporaryFile() as fo, tempfile.TemporaryFile() as fe:
            t = time.perf_counter()
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=fo if out else subprocess.DEVNULL, stderr=fe, env=e)
            # not p.wait(timeout): that sleeps in steps of up to 50 ms, and every sample comes out a step too long
            fd = os.pidfd_open(p.pid)
            done = select.select([fd], [], [], TIMEOUT)[0]
            dt = time.perf_counter() - t
            os.close(fd)
            if not done:
                p.kill()
            p.wait()
            if not done:
                raise RuntimeError(f"{self.name}: {' '.join(argv)}: no end within {TIMEOUT} s")
            fo.seek(0), fe.seek(0)
            if p.returncode and not ok:
                raise RuntimeError(f"{self.name}: {' '.join(argv)}: rc={p.returncode}: {fe.read().decode()[-600:]}")
            return dt, fo.read().decode()

    def cpu(self):
        """CPU seconds so far of everything that belongs to the engine, containers included (v2 only)."""
        total = 0
        for g in self.groups:
            try:
                total += int(re.search(r"usage_usec (\d+)", open(f"{CG}/{g}/cpu.stat").read())[1])
            except OSError:
                pass
        return total / 1e6

    def pids(self):
        me, out = os.stat("/proc/self/ns/net").st_ino, []
        for d in os.listdir("/proc"):
            if d.isdigit():
                try:
                    comm = open(f"/proc/{d}/comm").read().strip()
                    if any(comm == p[:15] or comm.startswith(p[:15]) for p in self.procs) and os.stat(f"/proc/{d}/ns/net").st_ino == me:
                        out.append((int(d), comm))
                except OSError:
                    pass
        return out

    def in_group(self):
        """A context in which this process (so the CLI it starts) sits in the engine's CLI group."""
        return Group(f"{CG}/cli-{self.name}" if V2 else None)


class Group:
    def __init__(self, path):
        self.path = path

    home = CG + open("/proc/self/cgroup").read().strip().split("0::")[-1] if V2 else None

    def move(self, to):
        if self.path:
            with open(to + "/cgroup.procs", "w") as f:
                f.write("0")

    def __enter__(self):
        self.move(self.path)

    def __exit__(self, *a):
        self.move(self.home)


def emit(metric, engine, value, unit, **kw):
    rec = dict(metric=metric, engine=engine, value=round(value, 4), unit=unit, t=time.strftime("%H:%M:%S"), **kw)
    if OUT:
        with open(OUT, "a") as f:
            f.write(json.dumps(rec) + "\n")
    extra = " ".join(f"{k}={v}" for k, v in kw.items())
    print(f"{metric:38} {engine:12} {value:12.3f} {unit:5} {extra}", flush=True)


def interleave(metric, engines, n, sample, unit="ms", scale=1e3, warm=1, with_cpu=V2):
    """sample(engine) -> seconds; engines in turn, order rotated each round. Ratio to the first."""
    data = {e.name: [] for e in engines}
    cpu = {e.name: 0.0 for e in engines}
    bad = set()
    for i in range(-warm, n):
        for k in range(len(engines)):
            e = engines[(i + k) % len(engines)]
            if e.name in bad:
                continue
            try:
                with e.in_group():
                    c = e.cpu()
                    v = sample(e)
                    c = e.cpu() - c
                if i >= 0:
                    data[e.name].append(v * scale)
                    cpu[e.name] += c
            except Exception as x:
                bad.add(e.name)
                print(f"{metric}: {e.name}: {x}", file=sys.stderr)
    base = None
    for e in engines:
        d = sorted(data[e.name])
        if d and e.name not in bad:
            med = st.median(d)
            base = base or med
            emit(metric, e.name, med, unit, n=len(d), min=round(d[0], 2), p90=round(d[int(len(d) * .9)], 2),
                 cpu_ms=round(cpu[e.name] / len(d) * 1e3, 1) if with_cpu else None, ratio=round(med / base, 2))
    return data


STOPPABLE = ["sh", "-c", 'trap "exit 0" TERM; sleep 1000 & wait']
seq = iter(range(10 ** 9))


def fresh(e):
    return f"b{os.getpid()}-{next(seq)}"


def need(e, image):
    if e.run("image", "inspect", image, ok=True, out=True)[1].strip() in ("", "[]"):
        e.run("load", "-i", f"{IMAGES}/{image}.tar")


# ------------------------------------------------------------------ a. latency
def latency(engines, n):
    n = n or 25
    for e in engines:
        need(e, "busybox")
    one = lambda *a: (lambda e: e.run(*a)[0])
    interleave("version (CLI round trip)", engines, n, one("version"))
    interleave("run --rm true", engines, n, one("run", "--rm", "busybox", "true"))
    interleave("run --rm --network none true", engines, n, one("run", "--rm", "--network", "none", "busybox", "true"))
    interleave("run --rm --network host true", engines, n, one("run", "--rm", "--network", "host", "busybox", "true"))
    if not V2:      # a private v2 mount has no such controllers where the machine gives them to v1
        limits = ("--cpus", "1", "--pids-limit", "100")
        interleave("run --rm --cpus --pids-limit true", engines, n, one("run", "--rm", *limits, "busybox", "true"))
    interleave("run --rm -p true", engines, max(5, n // 2), one("run", "--rm", "-p", "8099:80", "busybox", "true"))


def lifecycle(engines, n):
    n = n or 20
    for e in engines:
        need(e, "busybox")
    steps = ["create", "start", "exec true", "inspect", "ps", "kill+wait", "rm", "run -d", "stop", "rm -f running", "logs (short)"]
    data = {s: {e.name: [] for e in engines} for s in steps}
    for i in range(-1, n):
        for e in engines:
            c = fresh(e)
            r = {}
            r["create"] = e.run("create", "--name", c, "busybox", *STOPPABLE)[0]
            r["start"] = e.run("start", c)[0]
            r["exec true"] = e.run("exec", c, "true")[0]
            r["inspect"] = e.run("inspect", c)[0]
            r["ps"] = e.run("ps")[0]
            t = time.perf_counter(); e.run("kill", c); e.run("wait", c); r["kill+wait"] = time.perf_counter() - t
            r["logs (short)"] = e.run("logs", c)[0]
            r["rm"] = e.run("rm", c)[0]
            c = fresh(e)
            r["run -d"] = e.run("run", "-d", "--name", c, "busybox", *STOPPABLE)[0]
            e.run("exec", c, "true")
            r["stop"] = e.run("stop", c)[0]
            e.run("rm", c)
            c = fresh(e)
            e.run("run", "-d", "--name", c, "busybox", "sleep", "1000")
            r["rm -f running"] = e.run("rm", "-f", *(["-t", "0"] if e.name.startswith("podman") else []), c)[0]
            if i >= 0:
                for s in steps:
                    data[s][e.name].append(r[s] * 1e3)
    for s in steps:
        base = None
        for e in engines:
            d = sorted(data[s][e.name]); med = st.median(d); base = base or med
            emit(s, e.name, med, "ms", n=len(d), min=round(d[0], 2), p90=round(d[int(len(d) * .9)], 2), ratio=round(med / base, 2))


# ------------------------------------------------------------------ d. concurrency and memory
def par(engines, n):
    count, width = 50, 8
    names = {}

    def up(e):
        names[e.name] = [fresh(e) for _ in range(count)]
        t = time.perf_counter()
        with cf.ThreadPoolExecutor(width) as ex:
            list(ex.map(lambda c: e.run("run", "-d", "--name", c, "busybox", "sleep", "1000"), names[e.name]))
        return time.perf_counter() - t

    down = {e.name: [] for e in engines}

    def both(e):
        v = up(e)
        down[e.name].append(e.run("rm", "-f", *(["-t", "0"] if e.name.startswith("podman") else []), *names[e.name])[0])
        return v
    for e in engines:
        need(e, "busybox")
    interleave(f"start {count} (8 at a time)", engines, n or 3, both, "s", 1, warm=0)
    base = None
    for e in engines:
        if down[e.name]:
            m = st.median(down[e.name]); base = base or m
            emit(f"rm -f {count} at once", e.name, m, "s", n=len(down[e.name]), ratio=round(m / base, 2))


def pss(e):
    out = {}
    for pid, comm in e.pids():
        try:
            v = int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)[1])
            n, t = out.get(comm, (0, 0)); out[comm] = (n + 1, t + v)
        except (OSError, TypeError):
            pass
    return out


def idle(engines, n):
    count = 20
    for e in engines:
        need(e, "busybox")
        names = [fresh(e) for _ in range(count)]
        before = pss(e)
        for c in names:
            e.run("run", "-d", "--name", c, "busybox", "sleep", "1000")
        time.sleep(3)
        after = pss(e)
        e.run("rm", "-f", *(["-t", "0"] if e.name.startswith("podman") else []), *names)
        tot = lambda d: sum(t for _, t in d.values()) / 1024
        detail = ", ".join(f"{k} x{n} {t / 1024:.1f}" for k, (n, t) in sorted(after.items()))
        emit("engine PSS, idle, 0 containers", e.name, tot(before), "MiB")
        emit(f"engine PSS, {count} idle containers", e.name, tot(after), "MiB", detail=detail)
        emit("PSS per idle container", e.name, (tot(after) - tot(before)) / count, "MiB")


# ------------------------------------------------------------------ b. bare runtimes
CAPS = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"


def bundle(path, rootfs, args, seccomp=None):
    caps = ["CAP_" + c for c in CAPS.split()]
    m = lambda d, t, s, *o: {"destination": d, "type": t, "source": s, "options": list(o)}
    nnn = ("nosuid", "noexec", "nodev")
    spec = {
        "ociVersion": "1.0.2",
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
                    "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                    "capabilities": {k: caps for k in ("bounding", "effective", "permitted")}, "oomScoreAdj": 0},
        "root": {"path": rootfs}, "hostname": "bench",
        "mounts": [m("/proc", "proc", "proc", *nnn), m("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
                   m("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
                   m("/sys", "sysfs", "sysfs", *nnn, "ro"), m("/sys/fs/cgroup", "cgroup", "cgroup", *nnn, "ro"),
                   m("/dev/mqueue", "mqueue", "mqueue", *nnn), m("/dev/shm", "tmpfs", "shm", *nnn, "mode=1777", "size=67108864")],
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}] +
                                [{"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in
                                 ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))]},
                  "namespaces": [{"type": t} for t in ("mount", "network", "uts", "pid", "ipc", "cgroup")],
                  "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                                  "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
                  "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]},
    }
    if seccomp:
        spec["linux"]["seccomp"] = seccomp
    os.makedirs(path, exist_ok=True)
    json.dump(spec, open(path + "/config.json", "w"))


def unpacked():
    rootfs = f"{TMP}/oci/rootfs"
    if not os.path.exists(rootfs):
        os.makedirs(rootfs)
        t = tarfile.open(f"{IMAGES}/busybox.tar")
        layer = json.load(t.extractfile("manifest.json"))[0]["Layers"][0]
        tarfile.open(fileobj=io.BytesIO(t.extractfile(layer).read())).extractall(rootfs, filter="fully_trusted")
    return rootfs


def docker_seccomp():
    """Docker's default profile as dockerd writes it, from a running container's config.json."""
    for f in glob.glob("/run/docker/containerd/daemon/*/moby/*/config.json"):
        return json.load(open(f))["linux"].get("seccomp")


def oci(runtimes, n, engines):
    n = n or 30
    rootfs = unpacked()
    sec, keep = None, f"{TMP}/oci/seccomp.json"
    if os.path.exists(keep):
        sec = json.load(open(keep))
    else:
        for e in engines:
            if e.name.startswith("docker"):
                need(e, "busybox")
                c = fresh(e)
                e.run("run", "-d", "--name", c, "busybox", "sleep", "100")
                sec = docker_seccomp()
                e.run("rm", "-f", c)
                json.dump(sec, open(keep, "w"))
    bundle(f"{TMP}/oci/plain", rootfs, ["/bin/true"])
    bundle(f"{TMP}/oci/sleep", rootfs, ["/bin/sleep", "1000"], sec)
    if sec:
        bundle(f"{TMP}/oci/seccomp", rootfs, ["/bin/true"], sec)
    rss = f"{TMP}/oci/rss"
    rts = []
    for r in runtimes:
        name, _, path = r.partition("=")
        e = Engine(f"{name}={path} --root /run/oci-{name}")
        rts.append(e)
    for kind in ("plain", "seccomp") if sec else ("plain",):
        label = "oci run true" + (" (docker's seccomp)" if kind == "seccomp" else "")
        interleave(label, rts, n, lambda e: e.run("run", "--bundle", f"{TMP}/oci/{kind}", fresh(e))[0],
                   with_cpu=False)          # the container's own group is gone by then; see "CPU (user+sys)" below
    steps = ["create", "start", "exec", "state", "kill", "delete"]
    data = {s: {e.name: [] for e in rts} for s in steps}
    for i in range(-1, n):
        for e in rts:
            c = fresh(e)
            try:
                r = {"create": e.run("create", "--bundle", f"{TMP}/oci/sleep", c)[0], "start": e.run("start", c)[0],
                     "exec": e.run("exec", c, "/bin/true")[0], "state": e.run("state", c)[0], "kill": e.run("kill", c, "KILL")[0]}
                while '"stopped"' not in e.run("state", c, out=True)[1]:
                    time.sleep(.002)
                r["delete"] = e.run("delete", c)[0]
                if i >= 0:
                    for s in steps:
                        data[s][e.name].append(r[s] * 1e3)
            except Exception as x:
                print("oci:", e.name, x, file=sys.stderr)
                e.run("delete", "--force", c, ok=True)
    for s in steps:
        base = None
        for e in rts:
            d = sorted(data[s][e.name])
            if d:
                base = base or st.median(d)
                emit("oci " + s, e.name, st.median(d), "ms", n=len(d), min=round(d[0], 2), ratio=round(st.median(d) / base, 2))
    for e in rts:
        if os.path.exists(rss):
            os.unlink(rss)
        for _ in range(10):
            e.run("run", "--bundle", f"{TMP}/oci/{'seccomp' if sec else 'plain'}", fresh(e), rss=rss, ok=True)
        rows = [list(map(float, l.split())) for l in open(rss)]
        emit("oci run: max RSS of a process", e.name, st.median(r[0] for r in rows) / 1024, "MiB", n=len(rows))
        emit("oci run: CPU (user+sys)", e.name, st.median(r[1] + r[2] for r in rows) * 1e3, "ms", n=len(rows))


# ------------------------------------------------------------------ c. floor
def floor(n):
    n = n or 200
    rootfs = unpacked()
    br = next((b for b in ("docker0", "podman0", "dhow0") if os.path.exists(f"/sys/class/net/{b}")), None)
    for name, flags in (("clone3 6 namespaces + exec", ["-x", "-c"]), ("+ overlay, mounts, pivot_root", ["-c"]), ("+ v2 cgroup", []),
                        ("+ v2 cgroup + veth on a bridge", ["-b", br] if br else None)):
        if flags is None:
            continue
        cpu = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        c = cpu()
        o = subprocess.run([BIN + "/floor", "-n", str(n), *flags, rootfs, TMP], capture_output=True, text=True, check=True).stdout
        c = cpu() - c
        a, b = re.findall(r"(\d+) us", o)
        emit("floor " + name, "floor", int(a) / 1e3, "ms", with_cleanup_ms=int(b) / 1e3, cpu_ms=round(c / n * 1e3, 2), min=int(re.search(r"min (\d+)", o)[1]) / 1e3, n=n)
    t = []
    for _ in range(30):
        a = time.perf_counter(); subprocess.run([BIN + "/floor", "-n", "1", rootfs, TMP], stdout=subprocess.DEVNULL); t.append(time.perf_counter() - a)
    emit("floor as a command (no net)", "floor", st.median(t) * 1e3, "ms", n=30)


def env(engines, runtimes):
    for e in engines:
        print(e.name, e.run("version", out=True)[1])
    for r in runtimes:
        print(subprocess.run([r.partition("=")[2], "--version"], capture_output=True, text=True).stdout)


def main():
    global OUT
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", nargs="+")
    ap.add_argument("-e", action="append", default=[])
    ap.add_argument("-r", action="append", default=[])
    ap.add_argument("-n", type=int)
    ap.add_argument("-o", default=os.environ.get("BENCH_OUT"))
    a = ap.parse_args()
    OUT = a.o
    os.makedirs(TMP, exist_ok=True)
    es = [Engine(s) for s in a.e or ([os.environ["ENGINE_NAME"] + "=" + os.environ["ENGINE"]] if "ENGINE" in os.environ else [])]
    rs = a.r or (["runtime=" + os.environ["RUNTIME"]] if "RUNTIME" in os.environ else [])
    table = {"latency": latency, "lifecycle": lifecycle, "par": par, "idle": idle,
             "commands": lambda es, n: commands.Commands(sys.modules[__name__], es, n).all(),
             "images": lambda es, n: store.Store(sys.modules[__name__], es, n).images(),
             "contend": lambda es, n: store.Store(sys.modules[__name__], es, n).contend(),
             "transfer": lambda es, n: transfer.Transfer(sys.modules[__name__], es, n).all(),
             "io": lambda es, n: store.Store(sys.modules[__name__], es, n).io(),
             "flood": lambda es, n: flood.Flood(sys.modules[__name__], es, n).all()}
    for w in (list(table) + ["oci", "floor"] if a.what == ["all"] else a.what):
        if w == "oci":
            oci(rs, a.n, es)
        elif w == "floor":
            floor(a.n)
        elif w == "env":
            env(es, rs)
        else:
            table[w](es, a.n)


if __name__ == "__main__":
    main()
