#!/bin/busybox sh
# The first process of the guest: marks moments, runs the workload, samples its own kernel.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /cg
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
[ -f /qemu_fw_cfg.ko ] && insmod /qemu_fw_cfg.ko
mark() { echo "MARK $1"; read answer < /dev/ttyS0; }
STATE="/python -c 'from percpu_proofs.commands.state import state; state()'"
mount -t cgroup2 c /cg
echo +memory > /cg/cgroup.subtree_control
mkdir /cg/percpu_test
echo +memory > /cg/percpu_test/cgroup.subtree_control
mark boot
cgroups create /cg/percpu_test 100 10
cgroups remove /cg/percpu_test 100 10
sleep 20
mark removed
# one processor busy with groups that come and go
(while :; do mkdir /cg/percpu_test/a; rmdir /cg/percpu_test/a; usleep 300000; done) &
eval "$STATE live --every 0.5 --count 3 --save /tmp/samples.jsonl"
echo "SAMPLES $(wc -l < /tmp/samples.jsonl)"
sed 's/^/SAMPLE /' /tmp/samples.jsonl
eval "$STATE live --save /tmp/state.txt"
echo "EXIT $?"
head -c 300 /tmp/state.txt | sed 's/^/STATE /'
echo DONE
poweroff -f
