// Package pki is the cluster's certificate authority: one ECDSA P-256 root kept on disk, and the
// certificates it issues to the API server, the administrator and the nodes.
//
// Every key is P-256: generating an RSA key costs tenths of a second at start, an elliptic one
// microseconds.
package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/internal/durable"
)

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	// backdate tolerates nodes whose clocks run behind.
	backdate = time.Hour
)

// APIServer is the common name of the API server's serving certificate.
const APIServer = "kube-apiserver"

// Authority is a certificate authority: it signs everything that identifies itself in one cluster.
type Authority struct {
	// Now is the clock that certificates are issued by; tests move it.
	Now func() time.Time

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Files are the certificate and the key, in PEM, for parts that read them themselves.
func (a *Authority) Files() (cert, key string) { return files(a.dir) }

func files(dir string) (cert, key string) {
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
}

// Request names the subject of a certificate and what it may be used for.
type Request struct {
	CommonName    string       // user name, for a client
	Organizations []string     // groups, for a client
	Addrs         []netip.Addr // addresses, for a server
	Names         []string     // DNS names, for a server
	Server        bool
	Client        bool
}

// LoadOrCreate reads dir/ca.crt and dir/ca.key, or makes a new authority and writes both. A directory
// that holds only one of them is refused: replacing half an authority would lock every client out.
func LoadOrCreate(dir string) (*Authority, error) {
	certFile, keyFile := files(dir)
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case certErr == nil && keyErr == nil:
		ca, err := parse(certPEM, keyPEM)
		if err != nil {
			return nil, fmt.Errorf("certificate authority in %s: %w; restore that file from a backup, or remove the whole cluster with 'fairlead down'", dir, err)
		}
		ca.dir = dir
		return ca, nil
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return create(dir)
	default:
		return nil, fmt.Errorf("certificate authority %s: %w; restore the missing file from a backup, or remove the whole cluster with 'fairlead down'",
			dir, errors.Join(certErr, keyErr))
	}
}

func create(dir string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := template("fairlead-ca", nil, time.Now(), rootLifetime)
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePair(dir, encodeCert(der), keyPEM); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return &Authority{Now: time.Now, dir: dir, cert: cert, key: key}, nil
}

// writePair makes the directory with both files at once: a start that is killed leaves no half authority.
func writePair(dir string, certPEM, keyPEM []byte) error {
	fresh := filepath.Clean(dir) + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o700)); err != nil {
		return err
	}
	err := errors.Join(durable.WriteFile(filepath.Join(fresh, "ca.key"), keyPEM, 0o600), durable.WriteFile(filepath.Join(fresh, "ca.crt"), certPEM, 0o644))
	if err == nil {
		err = unix.Rename(fresh, dir) // takes the place of an empty directory, and of nothing else
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return durable.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

func parse(certPEM, keyPEM []byte) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("ca.crt is empty or damaged")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("ca.crt is damaged: %w", err)
	}
	if block, _ = pem.Decode(keyPEM); block == nil {
		return nil, errors.New("ca.key is empty or damaged")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("ca.key is damaged: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("ca.key does not belong to ca.crt")
	}
	return &Authority{Now: time.Now, cert: cert, key: key}, nil
}

// Issue makes a new key and a certificate for it, both PEM encoded.
func (a *Authority) Issue(r Request) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	certPEM, err = a.sign(r, &key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	return certPEM, keyPEM, err
}

// Sign issues a certificate for the key of a PEM encoded certificate signing request. Only the key is
// taken from it: who the subject is and what it may do comes from r, never from the asker.
func (a *Authority) Sign(r Request, csrPEM []byte) (certPEM []byte, err error) {
	block, _ := pem.Decode(csrPEM)
	if block == nil {
		return nil, errors.New("certificate request: no PEM block")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := strong(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return a.sign(r, csr.PublicKey)
}

// strong refuses keys of other kinds than the program makes: weak ones, and ones so large that using them is an attack.
func strong(key any) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	}
	return fmt.Errorf("a key of type %T is not taken: use ECDSA on P-256 or P-384, or Ed25519", key)
}

func (a *Authority) sign(r Request, pub any) ([]byte, error) {
	tmpl := template(r.CommonName, r.Organizations, a.Now(), leafLifetime)
	if tmpl.NotAfter.After(a.cert.NotAfter) {
		tmpl.NotAfter = a.cert.NotAfter
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.DNSNames = r.Names
	for _, addr := range r.Addrs {
		tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(addr.AsSlice()))
	}
	if r.Server {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate for %s: %w", r.CommonName, err)
	}
	return encodeCert(der), nil
}

// Pool holds the authority's certificate alone: what it signed is trusted, nothing else.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// CertPEM is the authority's own certificate, the part that clients are given.
func (a *Authority) CertPEM() []byte { return encodeCert(a.cert.Raw) }

// Ends is when the authority's own certificate ends, and all that it has issued with it.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter }

// Fingerprint is the hexadecimal SHA-256 of the authority's certificate. A join token carries it, so that
// a new node knows the server before it trusts it.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert) }

// Fingerprint is the hexadecimal SHA-256 of a certificate.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// NewRequest makes a key and a PEM encoded signing request for it.
func NewRequest() (csrPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), keyPEM, nil
}

func template(name string, orgs []string, now time.Time, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand never fails
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: orgs},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
