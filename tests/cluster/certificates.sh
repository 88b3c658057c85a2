# shellcheck shell=bash
# Sourced by cluster.sh: one authority, a certificate for each component, and a kubeconfig for each client.

# certificate NAME SUBJECT USAGE [NAMES]: writes NAME.crt and NAME.key in the current folder.
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 365 -out "$1.crt" 2>/dev/null -extfile <(
        echo "basicConstraints=CA:false"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$3"
        [[ -z ${4:-} ]] || echo "subjectAltName=$4"
    )
    rm "$1.csr"
}

# client NAME SUBJECT: a certificate and the kubeconfig that presents it. Kubernetes takes the user's name from CN and
# the user's groups from O.
client() {
    certificate "$1" "$2" clientAuth
    cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - {name: tests, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}
users:
  - {name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}
contexts:
  - {name: tests, context: {cluster: tests, user: $1}}
current-context: tests
YAML
}

# node_certificates FOLDER NAME ADDRESS: what a node's kubelet is and shows, and what the node's other processes need,
# in the node's own folder.
node_certificates() (
    mkdir -p "$1"
    cd "$STATE/pki" || exit
    certificate "$2-server" "/CN=$2" serverAuth "DNS:$2,IP:$3"
    client "$2" "/O=system:nodes/CN=system:node:$2"
    mv "$2-server.crt" "$1/kubelet-server.crt"
    mv "$2-server.key" "$1/kubelet-server.key"
    mv "$2.kubeconfig" "$1/kubelet.kubeconfig"
    rm "$2.crt" "$2.key"
    [[ $1 -ef $STATE/pki ]] || cp ca.crt kube-proxy.kubeconfig "$1/"
)

# In a process of its own, which works in the folder.
make_certificates() (
    mkdir -p "$STATE/pki"
    cd "$STATE/pki" || exit
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj /CN=scim-operator-cluster \
        -days 365 -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null

    # Everything a client may call the API server: from pods it is the Service `kubernetes`.
    certificate apiserver /CN=kube-apiserver serverAuth \
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$NODE_IP"
    # The API server calls kubelets (logs, exec) and the servers of aggregated APIs (metrics) as these.
    certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
    certificate front-proxy /CN=front-proxy-client clientAuth

    client admin /O=system:masters/CN=admin
    client controller-manager /CN=system:kube-controller-manager
    client scheduler /CN=system:kube-scheduler
    client kube-proxy /CN=system:kube-proxy

    # Signs the tokens of service accounts. In this form Kubernetes reads it as the public key too.
    openssl ecparam -name prime256v1 -genkey -noout -out service-accounts.key
)
