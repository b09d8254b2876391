#!/bin/sh
# Runs one node: makes its link to this machine, starts the namespaces, and removes every trace when they end. What it is told
# comes in the environment (configuration.ts). If it is killed, the namespaces die with it, and the watchdog cleans up.
set -eu
here=$(dirname "$0")

mkdir -p "$NODE_DIR"
echo $$ >"$NODE_DIR/owner"
sh "$here/clean.sh"
ip link add "$HOST_LINK" type veth peer name "$NODE_LINK"
ip addr add "$HOST_IP/30" dev "$HOST_LINK"
ip link set "$HOST_LINK" up

# Without the mark by which the stack finds its processes: it must outlive them.
env -u UNIFIED_RBAC_STACK_PART setsid sh -c 'tail --pid="$1" -s 0.5 -f /dev/null; exec sh "$2" "$1"' \
  watchdog $$ "$here/clean.sh" </dev/null >/dev/null 2>&1 &

setpriv --pdeathsig=KILL "$NODE_JS" "$here/forward.ts" "$HOST_IP" "$FORWARDS" &
forwarder=$!
trap 'kill -KILL "$namespaces" "$forwarder"' TERM INT
setpriv --pdeathsig=KILL unshare --net --mount --pid --fork --kill-child=KILL --mount-proc --propagation private \
  sh "$here/inside.sh" &
namespaces=$!
while [ "$(readlink "/proc/$namespaces/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set "$NODE_LINK" netns "$namespaces"
ip route add "$PODS" via "$NODE_IP"
ip route add "$SERVICES" via "$NODE_IP"
echo "$namespaces" >"$NODE_DIR/pid"

wait "$namespaces" || true
kill "$forwarder" 2>/dev/null || true
sh "$here/clean.sh"
rm -f "$NODE_DIR/owner"
