#!/bin/bash
# The peers (docker, podman, runc, crun from Debian packages) in a network and mount
# namespace of their own, so nothing they do reaches the host's links, mounts or /sys/fs/cgroup.
#
#   peers-env.sh up            make the namespaces (PEERS_CGROUP=v2 or v1)
#   peers-env.sh dockerd       start dockerd; peers-env.sh registry  start docker-registry on 127.0.0.1:5000
#   peers-env.sh dhow          start a dhow daemon, from the binary in $DHOW_DIR
#   peers-env.sh enter CMD...  run CMD inside
#   peers-env.sh down          stop what was started, by pid (remove the containers first)
#
# Binds seen inside: /bench (this folder), /images, /data, /opt/dhow ($DHOW_DIR), and each SRC:DST in $PEERS_BINDS.
# `cargo xtask bench` sets all of this and calls it.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=${PEERS_ROOT:?the folder with the tree of the peers}
IMAGES=${PEERS_IMAGES:?the folder with the archives}
DATA=${PEERS_DATA:?a folder for results, images and containers}
RUN=${PEERS_RUN:-/run/peers}
NETNS=${PEERS_NETNS:-peers}
CGROUP=${PEERS_CGROUP:-v2}
BINDS="${DHOW_DIR:+$DHOW_DIR:/opt/dhow} ${PEERS_BINDS:-}"
V2=${PEERS_V2:-/sys/fs/cgroup/unified} CPU=${PEERS_CPU:-/sys/fs/cgroup/cpu}
SHARES=${PEERS_CPU_SHARES:-0}   # not 0: a v1 cpu group of this weight for all of it (for a busy machine; 1024 is the usual weight)

# v1: the controllers below, each mounted anew in this mount namespace. The memory hierarchy is left out: where a
# machine is itself a container, its processes sit in a memory group that they may not leave. With v2 no v1 hierarchy
# is visible.
V1=${PEERS_V1:-cpu cpuacct cpuset devices freezer blkio pids}

inside() {                                          # runs in the fresh mount namespace
  local r=$RUN/root m c s d
  mkdir -p "$r" "$DATA"
  mount --bind "$ROOT" "$r"; mount --make-private "$r"
  mount -t proc proc "$r/proc"
  mount -t sysfs sysfs "$r/sys"
  mount --rbind /dev "$r/dev"
  mount -t tmpfs -o mode=755 tmpfs "$r/run"
  mkdir -p "$r/run/lock" "$r/run/peers" "$r/bench" "$r/images" "$r/data" "$r/old"
  touch "$r/run/client-netns"; mount --bind "/run/netns/$NETNS-client" "$r/run/client-netns"
  mount --bind "$HERE" "$r/bench"; mount --bind "$IMAGES" "$r/images"; mount --bind "$DATA" "$r/data"
  for m in $BINDS; do
    s=${m%%:*} d=$r${m#*:}
    if [ -d "$s" ]; then mkdir -p "$d"; else mkdir -p "${d%/*}"; touch "$d"; fi
    mount --bind "$s" "$d"
  done
  if [ "$CGROUP" = v2 ]; then
    mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
  else
    mount -t tmpfs -o mode=755 tmpfs "$r/sys/fs/cgroup"
    for c in $V1; do mkdir "$r/sys/fs/cgroup/$c"; mount -t cgroup -o "$c" "$c" "$r/sys/fs/cgroup/$c"; done
    mkdir "$r/sys/fs/cgroup/systemd"; mount -t cgroup -o none,name=systemd systemd "$r/sys/fs/cgroup/systemd"
  fi
  mkdir -p "$r/data/containers" "$r/data/docker" "$r/etc/containers"
  cat >"$r/etc/containers/containers.conf" <<C
[containers]
pids_limit = 0
log_driver = "k8s-file"
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=$(ulimit -Hu):$(ulimit -Hu)"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
C
  cat >"$r/etc/containers/storage.conf" <<C
[storage]
driver = "overlay"
graphroot = "/data/containers"
runroot = "/run/containers"
C
  cat >"$r/etc/containers/registries.conf.d/peers.conf" <<C
unqualified-search-registries = ["localhost"]
short-name-mode = "permissive"
[[registry]]
location = "127.0.0.1:5000"
insecure = true
C
  cd "$r"; pivot_root . old; umount -l /old
  [ "$CGROUP" = v2 ] && echo $$ >/sys/fs/cgroup/init/cgroup.procs   # a leaf, so that engines may enable controllers
  touch /run/peers/ready
  exec sleep infinity
}

holder() { cat "$RUN/holder.pid"; }
join() {                                            # join PID [SUB]: into the v2 group, and the weighted cpu group
  if [ "$CGROUP" = v2 ]; then mkdir -p "$V2/$NETNS/init"; echo "$1" >"$V2/$NETNS/${2-init}/cgroup.procs"; fi
  if [ "$SHARES" != 0 ]; then
    mkdir -p "$CPU/$NETNS"; echo "$SHARES" >"$CPU/$NETNS/cpu.shares"; echo "$1" >"$CPU/$NETNS/cgroup.procs"
  fi
}
# exec, so that the pid of a background `enter` is that of CMD itself
enter() {
  join $BASHPID
  exec nsenter -t "$(holder)" -m -n -C -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 TERM=dumb DOCKER_HOST=unix:///run/peers/docker.sock \
    PODMAN_IGNORE_CGROUPSV1_WARNING=1 BENCH_OUT="${BENCH_OUT:-}" "$@"
}
spawn() {                                           # spawn NAME CMD...: start in the background, keep the pid
  local name=$1; shift
  # its own v2 group, so that its CPU can be told apart (bench.py reads cpu.stat)
  enter setsid sh -c 'g=/sys/fs/cgroup/engine-$0; [ -e /sys/fs/cgroup/cgroup.procs ] && mkdir -p $g && echo $$ >$g/cgroup.procs; exec "$@"' \
    "$name" "$@" >"$RUN/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/$name.pid"
}

case ${1:-} in
inside) inside ;;
up)
  mkdir -p "$RUN"
  for n in "$NETNS" "$NETNS-client"; do             # a name that an earlier run left, of a namespace that is gone
    [ ! -e "/run/netns/$n" ] || ip netns exec "$n" true 2>/dev/null || rm -f "/run/netns/$n"
  done
  ip netns list | grep -qw "$NETNS" || ip netns add "$NETNS"
  ip netns exec "$NETNS" ip link set lo up
  ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_forward=1
  # an "outside host" for published ports: netns NETNS-client, 10.99.0.2, joined by a veth to 10.99.0.1
  if ! ip netns list | grep -qw "$NETNS-client"; then
    ip netns add "$NETNS-client"
    ip -n "$NETNS" link add out0 type veth peer name out1 netns "$NETNS-client"
    ip -n "$NETNS" addr add 10.99.0.1/30 dev out0; ip -n "$NETNS" link set out0 up
    ip -n "$NETNS-client" addr add 10.99.0.2/30 dev out1; ip -n "$NETNS-client" link set out1 up
    ip -n "$NETNS-client" link set lo up
  fi
  (
    # no child groups and so no enabled controllers left by an earlier run
    [ ! -d "$V2/$NETNS" ] || find "$V2/$NETNS" -mindepth 1 -depth -type d -exec rmdir {} +
    for c in $(cat "$V2/$NETNS/cgroup.subtree_control" 2>/dev/null); do echo "-$c" >"$V2/$NETNS/cgroup.subtree_control"; done
    join $BASHPID ""                                # the group itself, so that it is the root of the cgroup namespace
    exec ip netns exec "$NETNS" unshare -m -C --propagation private setsid "$0" inside
  ) >"$RUN/holder.log" 2>&1 </dev/null &
  echo $! >"$RUN/holder.pid"
  for _ in $(seq 50); do nsenter -t "$(holder)" -m -r test -e /run/peers/ready 2>/dev/null && break; sleep .1; done
  [ "$(readlink "/proc/$(holder)/exe")" != "" ] && echo "up: pid $(holder), netns $NETNS, cgroup $CGROUP"
  ;;
dockerd)
  spawn docker dockerd -H unix:///run/peers/docker.sock --data-root /data/docker --exec-root /run/docker \
    --pidfile /run/docker.pid --exec-opt native.cgroupdriver=cgroupfs --insecure-registry 127.0.0.1:5000 ${DOCKERD_OPTS:-}
  for _ in $(seq 100); do (enter docker version) >/dev/null 2>&1 && break; sleep .2; done
  (enter docker info) 2>&1 | grep -iE "server version|storage driver|cgroup|runtime|security|warning|backing" || tail -20 "$RUN/docker.log"
  ;;
dhow)
  spawn dhow /opt/dhow/dhow daemon -H unix:///run/peers/dhow.sock --root /data/dhow --state /run/dhow
  for _ in $(seq 100); do (enter /opt/dhow/dhow -H unix:///run/peers/dhow.sock version) >/dev/null 2>&1 && exit 0; sleep .1; done
  tail -20 "$RUN/dhow.log" >&2; exit 1
  ;;
registry)
  mkdir -p "$DATA/registry"
  cat >"$DATA/registry.yml" <<C
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /data/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000"}
C
  spawn registry docker-registry serve /data/registry.yml
  for _ in $(seq 100); do (enter python3 -c 'import socket; socket.create_connection(("127.0.0.1", 5000))') 2>/dev/null && exit 0; sleep .1; done
  tail -20 "$RUN/registry.log" >&2; exit 1
  ;;
enter) shift; enter "$@" ;;
down)
  for n in registry dhow docker; do
    if [ -f "$RUN/$n.pid" ]; then
      p=$(cat "$RUN/$n.pid"); kill "$p" 2>/dev/null || true
      for _ in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep .1; done
      rm -f "$RUN/$n.pid"
    fi
  done
  # what is made to outlive its daemon: everything that is still in the network namespace made for it
  for _ in $(seq 50); do
    left=$(ip netns pids "$NETNS" | grep -vx "$(holder)") || break
    kill -9 $left 2>/dev/null || true; sleep .1
  done
  kill "$(holder)" 2>/dev/null || true; rm -f "$RUN/holder.pid"
  ;;
*) sed -n '2,14p' "$0"; exit 2 ;;
esac
