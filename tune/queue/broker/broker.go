// Package broker is the NATS server that a search brings along. It stands apart from package queue because the server's packages take time to
// initialize, which the command itself should not.
package broker

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options of a server.
type Options struct {
	Listen    string // host:port; "": loopback, at a port that is free
	Store     string // folder for streams; "": a temporary one, which stop removes
	Cert, Key string // files of the server's certificate; "": no TLS
	CA        string // file of certificates that those of clients are signed by; "": clients need none
}

// Start runs a server with JetStream and returns its address as a URL and what ends it.
func Start(o Options) (url string, stop func(), err error) {
	clean := func() {}
	if o.Store == "" {
		if o.Store, err = os.MkdirTemp("", "onnxopt-nats-"); err != nil {
			return "", nil, err
		}
		clean = func() { os.RemoveAll(o.Store) }
	}
	defer func() {
		if err != nil {
			clean()
		}
	}()
	c := &server.Options{JetStream: true, NoSigs: true, NoLog: true, StoreDir: o.Store}
	if err := address(c, o.Listen); err != nil {
		return "", nil, err
	}
	scheme := "nats"
	if o.Cert != "" {
		scheme = "tls"
		if c.TLSConfig, err = server.GenTLSConfig(&server.TLSConfigOpts{CertFile: o.Cert, KeyFile: o.Key, CaFile: o.CA, Verify: o.CA != "", Timeout: 5}); err != nil {
			return "", nil, err
		}
	}
	s, err := server.NewServer(c)
	if err != nil {
		return "", nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return "", nil, fmt.Errorf("no server could be started at %s: is the port taken?", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	}
	host := c.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	port := s.Addr().(*net.TCPAddr).Port
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)), func() { s.Shutdown(); s.WaitForShutdown(); clean() }, nil
}

func address(c *server.Options, listen string) error {
	c.Host, c.Port = "127.0.0.1", server.RANDOM_PORT
	if listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("%q is no address; one is like 0.0.0.0:4222", listen)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port", listen)
	}
	if c.Host = host; n > 0 {
		c.Port = n
	}
	return nil
}
