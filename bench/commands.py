"""Lists of many containers, and the end of programs that do not heed a signal: `ps -a` with 1,000, `stop` and `rm -f`."""
import concurrent.futures as cf

MANY = 1000
WIDTH = 4           # made side by side
BATCH = 100         # removed by one command
# The shell stays: what it started is not its last command.
PROGRAMS = {"sleep": ["sleep", "1000"], "sh": ["sh", "-c", "sleep 1000; true"]}


class Commands:
    def __init__(self, bench, engines, n):
        self.b, self.es, self.n = bench, engines, n

    def all(self):
        for e in self.es:
            self.b.need(e, "busybox")
        self.ends()
        self.many()

    def many(self):
        b, names = self.b, {e.name: [self.b.fresh(e) for _ in range(MANY)] for e in self.es}
        for e in self.es:
            with cf.ThreadPoolExecutor(WIDTH) as ex:
                list(ex.map(lambda c: e.run("create", "--name", c, "busybox", "sleep", "1000"), names[e.name]))

        def listed(e):
            took, said = e.run("ps", "-a", out=True)
            if said.count("\n") <= MANY:
                raise RuntimeError(f"{said.count(chr(10))} lines, where {MANY} containers are")
            return took

        n = self.n or 20
        b.interleave(f"ps -a with {MANY} containers", self.es, n, listed)
        b.interleave(f"ps -aq with {MANY} containers", self.es, n, lambda e: e.run("ps", "-aq")[0])
        b.interleave(f"inspect with {MANY} containers", self.es, n, lambda e: e.run("inspect", names[e.name][MANY // 2])[0])
        for e in self.es:
            b.emit(f"engine PSS, {MANY} containers that do not run", e.name, sum(t for _, t in b.pss(e).values()) / 1024, "MiB")
            for at in range(0, MANY, BATCH):
                e.run("rm", "-f", *names[e.name][at:at + BATCH])

    def ends(self):
        """Neither program has a handler for the signal that stops it, so as process 1 it does not hear it."""
        b, n = self.b, self.n or 3

        def begun(e, program):
            name = b.fresh(e)
            e.run("run", "-d", "--name", name, "busybox", *PROGRAMS[program])
            return name

        def stop(e, program):
            name = begun(e, program)
            took = e.run("stop", name)[0]
            e.run("rm", name)
            return took

        for program in PROGRAMS:
            b.interleave(f"stop: {program} as process 1", self.es, n, lambda e: stop(e, program), warm=0, with_cpu=False)
        # Docker's own client ends it at once; Podman waits unless it is told not to.
        now = lambda e: ["-t", "0"] if e.name.startswith("podman") else []
        for program in PROGRAMS:
            b.interleave(f"rm -f: {program} as process 1", self.es, self.n or 10,
                         lambda e: e.run("rm", "-f", *now(e), begun(e, program))[0], with_cpu=False)
