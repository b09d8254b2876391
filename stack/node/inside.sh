#!/bin/sh
# The first process of the node's namespaces. Gives the node folders and settings of its own where its programs would change
# those of the machine, then starts the programs.
set -eu

mount --make-rshared /
# /run/node is the node's own folder, wherever it is outside.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock /run/node /run/upper /run/work
mount --bind "$NODE_DIR" /run/node
mount -t overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work overlay /var
for folder in containerd kubelet; do
  mkdir -p "/run/node/$folder" "/var/lib/$folder"
  mount --bind "/run/node/$folder" "/var/lib/$folder"
done
# What the containers print stays when the node is gone.
mkdir -p "$LOGS/pods" /var/log/pods
mount --bind "$LOGS/pods" /var/log/pods
mount --make-rshared /

# The kubelet wants these values, and would set them for the whole machine. It reads and writes these files instead.
mkdir -p /run/sysctl
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  name=${setting%=*}
  file=/run/sysctl/$(basename "$name")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/$name"
done

ip link set lo up
until ip link show "$NODE_LINK" >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$NODE_IP/30" dev "$NODE_LINK"
ip link set "$NODE_LINK" up
ip route add default via "$HOST_IP"
echo 1 >/proc/sys/net/ipv4/ip_forward

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$NODE_CGROUP"
  for controller in cpu cpuset memory pids; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
    echo "+$controller" >"/sys/fs/cgroup/$NODE_CGROUP/cgroup.subtree_control" || true
  done
else
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids hugetlb systemd; do
    [ -d "/sys/fs/cgroup/$controller" ] || continue
    mkdir -p "/sys/fs/cgroup/$controller/$NODE_CGROUP"
  done
  for file in cpuset.cpus cpuset.mems; do
    cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$NODE_CGROUP/$file"
  done
fi

start() {
  name=$1
  shift
  "$@" >>"$LOGS/node-$name.log" 2>&1 &
}
start containerd containerd --config /run/node/containerd.toml
until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
start kubelet "$KUBELET" --config /run/node/kubelet.json --kubeconfig /run/node/kubelet.kubeconfig \
  --hostname-override "$NODE_NAME" --node-ip "$NODE_IP"
start kube-proxy "$KUBE_PROXY" --config /run/node/kube-proxy.json --hostname-override "$NODE_NAME"
start kube-router "$KUBE_ROUTER" --kubeconfig /run/node/kube-router.kubeconfig --hostname-override "$NODE_NAME" \
  --run-firewall=true --run-router=false --run-service-proxy=false --run-loadbalancer=false \
  --service-cluster-ip-range "$SERVICES"
# As the first process of its namespace it also reaps what is orphaned there.
while :; do wait; sleep 1; done
