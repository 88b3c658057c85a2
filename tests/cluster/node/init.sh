#!/usr/bin/env bash
# The first process of a node, in namespaces of its own (mounts, processes, network, host name): started by cluster.sh.
#
# It makes the node's file system and network, starts every component, and starts again what ends. When it is killed,
# the kernel ends everything in its namespaces: all processes, all mounts, all of the network. That is how a node
# stops, and why a crash leaves nothing behind.
#
# The first node has the control plane and the add-ons too; the second has pods only.
set -euo pipefail

NODE=$1 STATE=$2 BIN=$3 TRAEFIK=$4 NODE_IP=$5 GATEWAY=$6
PKI=$STATE/pki
export PATH=$BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset KUBECONFIG

# run NAME COMMAND...: starts a component, and starts it again when it ends, as any service manager would; but not
# while `cluster.sh stop NAME` says so.
run() {
    local name=$1
    shift
    while :; do
        while [[ -e $STATE/stopped/$name ]]; do sleep 0.1; done
        "$@" >>"$STATE/log/$name.log" 2>&1 || true
        echo "init: $name ended and is started again" >>"$STATE/log/$name.log"
        sleep 0.5
    done &
}

hostname "$NODE"

# ---- Files. The usual folders of a node, without touching the machine's.
mount --make-rshared / # volumes that are mounted into pods must be seen by them
mount --bind "$STATE/lib" /var/lib
mount --bind "$STATE/log" /var/log
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
: >"$STATE/etc/resolv.conf"
# kubelet sets these for the whole machine unless they have the values it wants. In here they have.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$STATE/etc/sysctl.${setting##*/}
    echo "${setting#*=}" >"${file%=*}"
    mount --bind "${file%=*}" "/proc/sys/${setting%=*}"
done

# ---- Network. The other end of eth0 is on the machine.
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up
ip address add "$NODE_IP/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
sysctl -qw net.ipv4.ip_forward=1
# Traffic between two pods of the node passes the rules of Services too.
sysctl -qw net.bridge.bridge-nf-call-iptables=1

if [[ $NODE == node1 ]]; then
    # shellcheck source=tests/cluster/node/control-plane.sh
    source "${BASH_SOURCE[0]%/*}/control-plane.sh"
    start_api_server
fi

# ---- Container runtime, while the API server starts. Images are imported before there is a pod that needs one.
run containerd containerd --config "$STATE/etc/containerd.toml"
until ctr version >/dev/null 2>&1; do sleep 0.05; done
for image in "$STATE"/images/*.tar; do ctr --namespace k8s.io images import "$image" >>"$STATE/log/images.log"; done

until kubectl --kubeconfig "$PKI/kubelet.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
if [[ $NODE == node1 ]]; then start_control_plane; fi

# ---- Node.
run kubelet kubelet --config="$STATE/etc/kubelet.yaml" --kubeconfig="$PKI/kubelet.kubeconfig" \
    --hostname-override="$NODE" --node-ip="$NODE_IP" --cert-dir=/var/lib/kubelet/pki
run kube-proxy kube-proxy --config="$STATE/etc/kube-proxy.yaml"
if [[ $NODE == node1 ]]; then start_add_ons; fi

# As the first process it buries what others leave behind, which bash does while it waits.
while :; do wait || true; done
