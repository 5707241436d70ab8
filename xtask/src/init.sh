#!/bin/busybox sh
# The first process of the virtual machine. Called by the kernel on the initial RAM file system, which no pivot_root
# may leave; so it moves to a mount of its own first, and comes back as the second stage.
if [ "$1" != second ]; then
  /bin/busybox mount --bind /system /new
  cd /new
  /bin/busybox mount --move . /
  exec /bin/busybox chroot . /init second
fi
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=dumb RUST_BACKTRACE=0
mount -t proc -o nosuid,noexec,nodev proc /proc
mount -t sysfs -o nosuid,noexec,nodev sysfs /sys
mount -t devtmpfs -o nosuid devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
for d in /run /tmp /var; do mount -t tmpfs -o mode=1777 tmpfs $d; done
mkdir -p /var/lib /var/tmp
for m in /modules/*.ko; do
  # Contrary defaults: what dhow needs of overlayfs it must ask for.
  case $m in *overlay.ko) contrary="redirect_dir=Y metacopy=Y index=Y" ;; *) contrary= ;; esac
  insmod "$m" $contrary || echo "@@problem $m"
done
ip link set lo up
hostname vm
cd /root
while IFS='|' read -r name command; do
  echo "@@begin $name"
  sh -c "$command" </dev/null 2>&1
  echo "@@end $? $name"
done </steps
echo "@@done"
sync
poweroff -f
