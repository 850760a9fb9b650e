// Package cluster gives the command what it needs to work on several machines: NATS, its client and its server.
package cluster

import (
	"context"

	"github.com/onnxopt/onnxopt/internal/cli"
	"github.com/onnxopt/onnxopt/tune/queue"
	"github.com/onnxopt/onnxopt/tune/queue/broker"
	"github.com/onnxopt/onnxopt/tune/queue/jet"
)

// New is the cluster of a command.
func New() *cli.Cluster {
	return &cli.Cluster{
		Connect: func(ctx context.Context, o queue.Options) (queue.Queue, error) {
			q, err := jet.Connect(ctx, o)
			if err != nil {
				return nil, err
			}
			return q, nil
		},
		Serve: func(listen, cert, key, ca string) (string, func(), error) {
			return broker.Start(broker.Options{Listen: listen, Cert: cert, Key: key, CA: ca})
		},
	}
}
