// One binary that is every part of Kubernetes the tests need: it is whatever it is called by (argv[0]), through links
// that build.sh makes. All of it comes from the Go module proxy as source, so that nothing is downloaded as a finished
// binary, and what many components share is compiled and linked once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	helm "helm.sh/helm/v4/pkg/cmd"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	metricsserver "sigs.k8s.io/metrics-server/cmd/metrics-server/app"

	"go.etcd.io/etcd/server/v3/etcdmain"

	// Registered by import, as in Kubernetes' own main packages: logs as JSON, and the metrics of clients and of the
	// version.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// components are the names this binary answers to.
var components = map[string]func() error{
	"etcd":                    func() error { etcdmain.Main(os.Args); return nil },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kube-proxy":              command(proxy.NewProxyCommand),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kubectl":                 command(kubectl.NewDefaultKubectlCommand),
	"metrics-server": command(func() *cobra.Command {
		return metricsserver.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())
	}),
	"helm":               runHelm,
	"coredns":            runCoreDNS,
	"cert-manager":       runCertManager,
	"cainjector":         runCAInjector,
	"volume-provisioner": runVolumeProvisioner,
}

// command runs a component that is a cobra command, with Kubernetes' handling of logs and exit codes.
func command(create func() *cobra.Command) func() error {
	return func() error { os.Exit(cli.Run(create())); return nil }
}

func runHelm() error {
	root, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		return err
	}
	return root.Execute()
}

// kubeconfig is the value of the flag of that name, which controller-runtime defines for every program that links it.
func kubeconfig() string { return flag.Lookup("kubeconfig").Value.String() }

// apiServer reads the flags and says how to reach the API server.
func apiServer() (*rest.Config, error) {
	flag.Parse()
	return clientcmd.BuildConfigFromFlags("", kubeconfig())
}

func main() {
	name := filepath.Base(os.Args[0])
	if run, ok := components[name]; ok {
		if err := run(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	// Called by its own name it lists the others, one on each line: build.sh links them.
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Println(name)
	}
}
