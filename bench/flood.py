"""What an engine does with much output: a flood through `run`, the log of it, and a question to a long log.

Beside the engines stands the same flood through a pipe alone ("pipe")."""
import subprocess, time

LINE = "a line of a program that says very much, as long as lines of logs are: 0123456789 0123456789 0123456"
MB = 200
LONG = 1 << 30


def flood(count):
    return f"yes '{LINE}' | head -c {count}"


class Flood:
    def __init__(self, bench, engines, n):
        self.b, self.es, self.n = bench, engines, n or 3

    def all(self):
        b, names = self.b, {}
        for e in self.es:
            b.need(e, "busybox")
        self.pipe()

        def run(e):
            if e.name in names:
                e.run("rm", "-f", names[e.name])
            names[e.name] = b.fresh(e)
            return e.run("run", "--name", names[e.name], "busybox", "sh", "-c", flood(MB * 10**6))[0]

        b.interleave(f"run: {MB} MB of lines, attached and logged", self.es, self.n, run, "s", 1, warm=0)
        b.interleave(f"logs of {MB} MB", self.es, self.n, lambda e: e.run("logs", names[e.name])[0], "s", 1, warm=0)
        b.interleave(f"logs --tail 10 of {MB} MB", self.es, self.n, lambda e: e.run("logs", "--tail", "10", names[e.name])[0])
        for e in self.es:
            e.run("rm", "-f", names[e.name])
        self.since()

    def pipe(self):
        took = []
        for _ in range(self.n):
            t = time.perf_counter()
            subprocess.run(["busybox", "sh", "-c", flood(MB * 10**6) + " | cat"], stdout=subprocess.DEVNULL, check=True)
            took.append(time.perf_counter() - t)
        took.sort()
        self.b.emit(f"run: {MB} MB of lines, attached and logged", "pipe", took[len(took) // 2], "s", n=len(took), min=round(took[0], 2))

    def since(self):
        """1 GiB, a minute of silence, and one line more: that line alone is asked for."""
        names = {e.name: self.b.fresh(e) for e in self.es}
        script = flood(LONG) + "; echo; touch /said; while [ ! -e /go ]; do sleep 0.1; done; echo end; touch /end; exec sleep 1000"
        seen = lambda e, name: e.run("exec", names[e.name], "ls", name, ok=True, out=True)[1].strip() == name

        def wait(name):
            for e in self.es:
                while not seen(e, name):
                    time.sleep(.2)
        for e in self.es:
            e.run("run", "-d", "--name", names[e.name], "busybox", "sh", "-c", script)
        wait("/said")
        time.sleep(61)
        moment = str(int(time.time()))
        for e in self.es:
            e.run("exec", names[e.name], "touch", "/go")
        wait("/end")

        def ask(e):
            took, said = e.run("logs", "--since", moment, names[e.name], out=True)
            if said != "end\n":
                raise RuntimeError(f"{len(said)} bytes, where one line was said")
            return took

        self.b.interleave("logs --since a minute ago of 1 GiB", self.es, self.n, ask, warm=0)
        for e in self.es:
            e.run("rm", "-f", *(["-t", "0"] if e.name.startswith("podman") else []), names[e.name])
