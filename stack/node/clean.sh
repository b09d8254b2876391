#!/bin/sh
# Removes what a node has outside of its namespaces: its link, with the routes on it, and its cgroups. Safe to repeat.
# With an argument it does so only while the node belongs to that process: the watchdog of an earlier run leaves a new one alone.
set -u

exec 9>"$NODE_DIR.lock" || exit 0
flock 9
if [ $# -gt 0 ] && [ "$(cat "$NODE_DIR/owner" 2>/dev/null)" != "$1" ]; then exit 0; fi
rm -f "$NODE_DIR/pid"
if ip link show "$HOST_LINK" >/dev/null 2>&1; then ip link del "$HOST_LINK"; fi

tries=0
while [ "$tries" -lt 50 ]; do
  left=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$NODE_CGROUP")
  [ -n "$left" ] || break
  for folder in $left; do
    # What a killed run may have left alive.
    find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null
    find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  tries=$((tries + 1))
  sleep 0.1
done
