package main

import (
	"github.com/coredns/coredns/coremain"

	// Only the plugins that node/Corefile names: importing all of them raises etcd's client past what the API server
	// compiles with.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func runCoreDNS() error {
	coremain.Run()
	return nil
}
