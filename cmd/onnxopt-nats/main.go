// Command onnxopt-nats is onnxopt with NATS linked in. onnxopt calls it for worker, and for tune on several machines.
package main

import (
	"github.com/onnxopt/onnxopt/internal/cli"
	"github.com/onnxopt/onnxopt/internal/cluster"
)

func main() { cli.MainWith(nil, cluster.New()) }
