#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Records what the percpu allocator of this kernel does into one folder, for
#   percpu-spec conform trace FOLDER      (and: percpu-spec run FOLDER)
#
#   sh record.sh FOLDER                   until Ctrl-C
#   sh record.sh FOLDER SECONDS
#   sh record.sh FOLDER COMMAND [ARG]...  while the command runs
#
# Needs root. States are saved where percpu-spec[drgn] is installed; without one the trace is
# checked as far as it tells. Settings, by environment:
#   BUFFER_KB    trace buffer of each CPU (32768: about 200,000 events)
#   PERCPU_SPEC  the command that saves states (percpu-spec)
#   TRACEFS, DEBUGFS, DMESG  where they are, and what prints the kernel's log
set -u

die() {
	echo "record.sh: $*" >&2
	exit 2
}

[ $# -ge 1 ] || die "expected a folder to record into: sh record.sh FOLDER [SECONDS | COMMAND]"
folder=$1
shift
command=${PERCPU_SPEC:-percpu-spec}
debugfs=${DEBUGFS:-/sys/kernel/debug}
tracefs=${TRACEFS:-}
for place in /sys/kernel/tracing "$debugfs/tracing"; do
	[ -z "$tracefs" ] && [ -d "$place/events/percpu" ] && tracefs=$place
done
[ -d "${tracefs:-/nowhere}/events/percpu" ] ||
	die "no tracefs with events/percpu that may be read: run it as root (mount -t tracefs nodev /sys/kernel/tracing)"

# an instance of our own leaves other tracing alone
trace=$tracefs/instances/percpu-spec
[ -d "$trace" ] || mkdir "$trace" 2>/dev/null || trace=$tracefs
[ -w "$trace/tracing_on" ] || die "$trace/tracing_on may not be written: run it as root"
mkdir -p "$folder/state" || die "$folder: expected a folder that can be made"
[ ! -e "$folder/trace.txt" ] || die "$folder/trace.txt is there already: expected a new folder"

events="percpu_alloc_percpu percpu_free_percpu percpu_alloc_percpu_fail percpu_create_chunk percpu_destroy_chunk"

set_to() { # VALUE FILE: what a kernel does not have is left alone
	[ -e "$2" ] && echo "$1" 2>/dev/null >"$2"
}

switch_events() { # 0 or 1
	for event in $events; do
		echo "$1" >"$trace/events/percpu/$event/enable" || return 1
	done
}

recorded() { # how many entries the buffers hold; reading the trace itself could stop it
	cat "$trace"/per_cpu/cpu*/stats 2>/dev/null | awk '/^entries:/ { n += $2 } END { print n + 0 }'
}

# A state counts only if nothing happens while it is read; some tries find such a moment.
save_states() { # NAME
	[ -n "$command" ] || return 0
	for try in 1 2 3 4 5; do
		name=$1$try
		echo "snap:$name:begin" >>"$trace/trace_marker"
		before=$(recorded)
		if ! "$command" state live --save "$folder/state/$name.txt" >>"$folder/record.log" 2>&1; then
			[ -s "$folder/state/$name.txt" ] || rm -f "$folder/state/$name.txt"
		fi
		after=$(recorded)
		echo "snap:$name:end" >>"$trace/trace_marker"
		[ -e "$folder/state/$name.txt" ] && [ "$before" = "$after" ] && return 0
	done
	[ -e "$folder/state/$name.txt" ] ||
		echo "record.sh: no state could be saved ($1), see $folder/record.log" >&2
}

save_rest() { # NAME
	cat "$debugfs/percpu_stats" >"$folder/percpu_stats.$1.txt" 2>/dev/null ||
		rm -f "$folder/percpu_stats.$1.txt"
	grep -E '^(Percpu|MemTotal|VmallocUsed|VmallocChunk)' /proc/meminfo >"$folder/meminfo.$1.txt"
}

finish() {
	trap '' INT TERM HUP
	save_states after
	echo 0 >"$trace/tracing_on"
	switch_events 0
	cat "$trace/trace" >"$folder/trace.txt"
	for stats in "$trace"/per_cpu/cpu*/stats; do
		[ -e "$stats" ] || continue
		echo "[$(basename "$(dirname "$stats")")]"
		cat "$stats"
	done >"$folder/buffer_stats.txt"
	save_rest after
	set_to 0 "$trace/options/stacktrace"
	[ "$trace" = "$tracefs" ] || rmdir "$trace" 2>/dev/null
	chmod -R go= "$folder" # addresses are in it
	echo "recorded: percpu-spec conform trace $folder" >&2
}

{
	cat /proc/version
	${DMESG:-dmesg} 2>/dev/null |
		grep -E 'percpu: |pcpu-alloc: |setup_percpu: |nr_cpu_ids|hash table entries|SLUB: '
} >"$folder/dmesg.txt"
grep -q 'percpu: Embedded\|pages/cpu\|pcpu-alloc: s' "$folder/dmesg.txt" ||
	echo "record.sh: the log has no percpu lines of boot any more: add them to $folder/dmesg.txt (journalctl -k -b | grep percpu)" >&2
command -v "$command" >/dev/null 2>&1 || {
	echo "record.sh: no percpu-spec here: no states are saved" >&2
	command=
}

echo 0 >"$trace/tracing_on"
set_to "${BUFFER_KB:-32768}" "$trace/buffer_size_kb"
set_to counter "$trace/trace_clock" # one order for all CPUs
set_to 0 "$trace/options/overwrite" # a full buffer keeps the beginning, which follows the state
set_to 0 "$trace/options/hash-ptr"  # true addresses, as states have them
set_to 0 "$tracefs/options/hash-ptr"
grep -q call_site "$trace/events/percpu/percpu_alloc_percpu/format" 2>/dev/null ||
	set_to 1 "$trace/options/stacktrace" # before 5.19 the stack alone tells who asks
[ "$trace" = "$tracefs" ] || echo >"$trace/trace"
switch_events 1 || die "the percpu events cannot be enabled"
save_rest before
echo 1 >"$trace/tracing_on"
stop=
trap 'stop=1' INT TERM HUP
save_states before

status=0
case ${1:-} in
'')
	echo "recording into $folder until Ctrl-C" >&2
	while [ -z "$stop" ]; do sleep 1; done
	;;
*[!0-9]*)
	"$@"
	status=$?
	;;
*)
	left=$1
	while [ -z "$stop" ] && [ "$left" -gt 0 ]; do
		sleep 1
		left=$((left - 1))
	done
	;;
esac
finish
exit "$status"
