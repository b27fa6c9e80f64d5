package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead.dev/fairlead/internal/durable"
)

// AccountKeys reads dir/service-accounts.key, or makes it with one key. The first key of the file signs the tokens of service
// accounts, and each of them is believed: a key that is to take over is put first, and the one before stays until what it signed is over.
func AccountKeys(dir string) ([]*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, "service-accounts.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = createAccountKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key of service accounts: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("key of service accounts %s: %w; restore the file from a backup, or remove it: a new key is made then, and no token of before is good any more", path, err)
	}
	return keys, nil
}

func createAccountKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return text, durable.WriteFile(path, text, 0o600)
}

// parseKeys reads every key of a PEM file; anything else in it is an error.
func parseKeys(text []byte) ([]*ecdsa.PrivateKey, error) {
	var keys []*ecdsa.PrivateKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("it is damaged: %w", err)
		}
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("a key is on the curve %s, not P-256", key.Params().Name)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it is empty or damaged")
	}
	return keys, nil
}
