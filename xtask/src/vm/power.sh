#!/bin/sh
# A store on a disk, and work on it until the power goes. What was answered is said over the serial line: `done N` for
# line N of the script, `have NAME` for every image that is there.
mkdir -p /data
mount -t ext4 /dev/vda /data || { echo "@@power no disk"; exit 1; }
round=$(sed 's/.*dhow\.round=\([0-9]*\).*/\1/' /proc/cmdline)
printf 'check\nlist\n' >/tmp/look
echo "@@power look"
strike /data/root /tmp/look
echo "@@power looked"
[ "$round" = 0 ] && exit 0
mkdir /tmp/tree
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  for f in 0 1 2 3 4 5 6 7 8 9; do
    mkdir -p /tmp/tree/d$f
    head -c $((f * 900 + 100)) /dev/urandom >/tmp/tree/d$f/file
  done
  tar -C /tmp/tree -cf /tmp/$i.tar .
done
sed "s/ROUND/$round/g" /power.script >/tmp/script
echo "@@power work"
strike /data/root /tmp/script
echo "@@power worked"
# Nothing more is synced: the end of the work is a moment like every other.
while :; do sleep 60; done
