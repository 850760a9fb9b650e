package jet_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/tune/queue/broker"
	"github.com/onnxopt/onnxopt/tune/queue/jet"
)

// certificate writes a certificate for the loopback address, signed by itself, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

// TestTLS: a server that asks for certificates lets in who has one, and nobody else.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "both sides")
	url, stop, err := broker.Start(broker.Options{Store: t.TempDir(), Cert: cert, Key: key, CA: cert})
	require.NoError(t, err)
	defer stop()
	require.Contains(t, url, "tls://127.0.0.1:")
	o := options(url)
	o.Tries = 1
	_, err = jet.Connect(t.Context(), o)
	require.ErrorContains(t, err, "certificate")
	o.TLSCA = cert
	_, err = jet.Connect(t.Context(), o)
	require.Error(t, err, "it has no certificate of its own")
	o.TLSCert, o.TLSKey = cert, key
	q, err := jet.Connect(t.Context(), o)
	require.NoError(t, err)
	q.Close()
}

// TestCredentials: a server with accounts takes the file of credentials, and no other.
func TestCredentials(t *testing.T) {
	t.Parallel()
	pair := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := make()
		require.NoError(t, err)
		public, err := k.PublicKey()
		require.NoError(t, err)
		return k, public
	}
	operator, operatorKey := pair(nkeys.CreateOperator)
	account, accountKey := pair(nkeys.CreateAccount)
	_, systemKey := pair(nkeys.CreateAccount)
	resolver := &server.MemAccResolver{}
	for _, k := range []string{accountKey, systemKey} {
		claims := jwt.NewAccountClaims(k)
		if k == accountKey {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
		}
		token, err := claims.Encode(operator)
		require.NoError(t, err)
		require.NoError(t, resolver.Store(k, token))
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		TrustedKeys: []string{operatorKey}, AccountResolver: resolver, SystemAccount: systemKey})
	require.NoError(t, err)
	go s.Start()
	require.True(t, s.ReadyForConnections(10*time.Second))
	defer s.Shutdown()

	file := func(signer nkeys.KeyPair) string {
		user, userKey := pair(nkeys.CreateUser)
		token, err := jwt.NewUserClaims(userKey).Encode(signer)
		require.NoError(t, err)
		seed, err := user.Seed()
		require.NoError(t, err)
		b, err := jwt.FormatUserConfig(token, seed)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "user.creds")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	stranger, _ := pair(nkeys.CreateAccount)
	o := options(s.ClientURL())
	_, err = jet.Connect(t.Context(), o)
	require.ErrorContains(t, err, "Authorization")
	o.Creds = file(stranger)
	_, err = jet.Connect(t.Context(), o)
	require.ErrorContains(t, err, "Authorization")
	o.Creds = file(account)
	q, err := jet.Connect(t.Context(), o)
	require.NoError(t, err)
	q.Close()
}
