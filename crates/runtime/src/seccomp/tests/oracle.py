# Compiles an OCI seccomp document with libseccomp, for comparison. Reads JSON, prints one line of hexadecimal with
# the instructions, then one line per architecture with the names that this libseccomp does not know.
import json
import sys
import tempfile

import seccomp as s

doc = json.load(sys.stdin)


def action(name, errno):
    return {
        "SCMP_ACT_ALLOW": s.ALLOW,
        "SCMP_ACT_KILL": s.KILL,
        "SCMP_ACT_KILL_PROCESS": s.KILL_PROCESS,
        "SCMP_ACT_TRAP": s.TRAP,
        "SCMP_ACT_LOG": s.LOG,
        "SCMP_ACT_ERRNO": s.ERRNO(1 if errno is None else errno),
        "SCMP_ACT_TRACE": s.TRACE(1 if errno is None else errno),
    }[name]


OPS = {"NE": s.NE, "LT": s.LT, "LE": s.LE, "EQ": s.EQ, "GE": s.GE, "GT": s.GT, "MASKED_EQ": s.MASKED_EQ}
ARCHES = {"X86_64": s.Arch.X86_64, "X86": s.Arch.X86, "X32": s.Arch.X32, "AARCH64": s.Arch.AARCH64, "ARM": s.Arch.ARM}

default = action(doc["defaultAction"], doc.get("defaultErrnoRet"))
f = s.SyscallFilter(default)
f.remove_arch(s.Arch.NATIVE)
arches = {a[len("SCMP_ARCH_"):]: ARCHES[a[len("SCMP_ARCH_"):]] for a in doc["architectures"]}
for arch in arches.values():
    f.add_arch(arch)

unknown = {a: set() for a in arches}
for rule in doc["syscalls"]:
    act = action(rule["action"], rule.get("errnoRet"))
    if act == default:
        continue
    args = [
        s.Arg(a["index"], OPS[a["op"][len("SCMP_CMP_"):]], a["value"], a.get("valueTwo", 0))
        for a in rule.get("args", [])
    ]
    indexes = [a["index"] for a in rule.get("args", [])]
    alternatives = [[a] for a in args] if len(set(indexes)) < len(indexes) else [args]
    for name in rule["names"]:
        for a, arch in arches.items():
            if s.resolve_syscall(arch, name) == -1:
                unknown[a].add(name)
        if not any(name in u for u in unknown.values()):
            for alternative in alternatives:
                f.add_rule(act, name, *alternative)

with tempfile.TemporaryFile() as out:
    f.export_bpf(out)
    out.seek(0)
    print(out.read().hex())
for a in arches:
    print(a, *sorted(unknown[a]))
