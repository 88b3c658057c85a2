# shellcheck shell=bash
# Sourced by init.sh on the first node: what a cluster has once. Each function starts components with `run`.

# etcd, and the API server, which needs nothing else.
start_api_server() {
    local etcd_flags=(
        --data-dir=/var/lib/etcd
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379
        --listen-peer-urls=http://127.0.0.1:2380 # it has no peers, and insists on listening for them
        --unsafe-no-fsync                        # a test need not survive a power cut, and disks are slow
        --log-level=warn
    )
    run etcd etcd "${etcd_flags[@]}"

    local apiserver_flags=(
        --etcd-servers=http://127.0.0.1:2379
        --bind-address="$NODE_IP" --advertise-address="$NODE_IP"
        --service-cluster-ip-range=10.96.0.0/16
        --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key"
        --client-ca-file="$PKI/ca.crt"
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction # as kubeadm has it
        --allow-privileged=true
        --service-account-issuer=https://kubernetes.default.svc
        --service-account-key-file="$PKI/service-accounts.key"
        --service-account-signing-key-file="$PKI/service-accounts.key"
        # To kubelets, by address: their names are in no DNS.
        --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key"
        --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP
        # To aggregated APIs, of which metrics-server is one; straight to their addresses.
        --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy-client
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
        --requestheader-extra-headers-prefix=X-Remote-Extra-
        --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key"
        --enable-aggregator-routing=true
        # Tests are few clients that wait for their answers: nothing to arbitrate and nothing to profile.
        --enable-priority-and-fairness=false --profiling=false
    )
    run kube-apiserver kube-apiserver "${apiserver_flags[@]}"
}

# What acts on objects. The API server is ready.
start_control_plane() {
    local controller_manager_flags=(
        --kubeconfig="$PKI/controller-manager.kubeconfig"
        --authentication-kubeconfig="$PKI/controller-manager.kubeconfig"
        --authorization-kubeconfig="$PKI/controller-manager.kubeconfig"
        --service-account-private-key-file="$PKI/service-accounts.key" --root-ca-file="$PKI/ca.crt"
        --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
        --use-service-account-credentials=true # each controller with its own rights, as kubeadm has it
        --leader-elect=false                   # there is one
        --bind-address=127.0.0.1
        # An autoscaler looks often, and believes young pods.
        --horizontal-pod-autoscaler-sync-period=2s --horizontal-pod-autoscaler-initial-readiness-delay=1s
        --horizontal-pod-autoscaler-cpu-initialization-period=5s
    )
    run kube-controller-manager kube-controller-manager "${controller_manager_flags[@]}"

    local scheduler_flags=(
        --kubeconfig="$PKI/scheduler.kubeconfig"
        --authentication-kubeconfig="$PKI/scheduler.kubeconfig" --authorization-kubeconfig="$PKI/scheduler.kubeconfig"
        --leader-elect=false --bind-address=127.0.0.1
    )
    run kube-scheduler kube-scheduler "${scheduler_flags[@]}"
}

# What people install into a cluster, with the rights of an administrator and without pods.
start_add_ons() {
    run coredns coredns -conf "$STATE/etc/Corefile"
    run volume-provisioner volume-provisioner --kubeconfig="$PKI/admin.kubeconfig" --folder="$STATE/volumes"
    run cert-manager cert-manager --kubeconfig="$PKI/admin.kubeconfig"
    run cainjector cainjector --kubeconfig="$PKI/admin.kubeconfig"

    local metrics_server_flags=(
        --kubeconfig="$PKI/admin.kubeconfig"
        --authentication-kubeconfig="$PKI/admin.kubeconfig" --authorization-kubeconfig="$PKI/admin.kubeconfig"
        --secure-port=4443 --cert-dir=/run/metrics-server
        --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI/ca.crt"
        # As often as it lets us; and a kubelet must answer in less than that.
        --metric-resolution=10s --kubelet-request-timeout=2s
    )
    run metrics-server metrics-server "${metrics_server_flags[@]}"
    run traefik traefik
}

# Traefik reads ./traefik.yaml, so not in a folder of anybody's. It asks the API server as its service account.
traefik() {
    cd /run
    local token provider flags=()
    token=$(kubectl --kubeconfig "$PKI/admin.kubeconfig" --namespace kube-system create token traefik --duration=24h) \
        || return # its account is not there yet
    for provider in kubernetesingress kubernetesgateway; do
        flags+=("--providers.$provider=true" "--providers.$provider.endpoint=https://$NODE_IP:6443"
            "--providers.$provider.token=$token" "--providers.$provider.certauthfilepath=$PKI/ca.crt"
            # Changes of many routes are taken together; in a test they are few.
            "--providers.$provider.throttleduration=100ms")
    done
    flags+=(
        --providers.providersthrottleduration=100ms
        # While no pod is ready it answers 503, and not 404, which would tell an identity provider that a user is gone.
        --providers.kubernetesingress.allowemptyservices=true
        # What it writes as the address into the status of routes.
        "--providers.kubernetesingress.ingressendpoint.ip=$NODE_IP"
        "--providers.kubernetesgateway.statusaddress.ip=$NODE_IP"
        "--entrypoints.web.address=$NODE_IP:80" "--entrypoints.websecure.address=$NODE_IP:443"
        --entrypoints.websecure.http.tls=true
        # To pods that serve TLS it encrypts, and does not ask who they are: it calls them by address.
        --serverstransport.insecureskipverify=true
        --entrypoints.traefik.address=127.0.0.1:8082 --ping=true
        --global.checknewversion=false --global.sendanonymoususage=false
    )
    "$TRAEFIK" "${flags[@]}"
}
