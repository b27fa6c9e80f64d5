// Package htpasswd checks passwords against the hashes that htpasswd files
// have: bcrypt, apr1 (Apache's MD5) and SHA-1. What crypt(3) makes by default is
// refused: it looks at eight characters of a password.
package htpasswd

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// ErrKind is a hash of a kind that is not accepted.
var ErrKind = errors.New("the hash of the password is neither bcrypt ($2y$), apr1 ($apr1$) nor SHA-1 ({SHA}): make it anew with htpasswd -B")

// Find returns the hash of a user in a file with a line "user:hash" for each.
func Find(file []byte, user string) (hash string, ok bool) {
	for line := range strings.Lines(string(file)) {
		name, hash, is := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if is && name == user {
			hash, _, _ = strings.Cut(hash, ":") // what follows is a comment
			return hash, true
		}
	}
	return "", false
}

// Check reports whether a password is the one of a hash. An error is a hash that cannot be checked.
func Check(hash, password string) (bool, error) {
	switch {
	case strings.HasPrefix(hash, "$2"):
		err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
		if err == nil || errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) || errors.Is(err, bcrypt.ErrPasswordTooLong) {
			return err == nil, nil
		}
		return false, err
	case strings.HasPrefix(hash, "{SHA}"):
		sum := sha1.Sum([]byte(password))
		return equal(hash[5:], base64.StdEncoding.EncodeToString(sum[:])), nil
	case strings.HasPrefix(hash, "$apr1$"):
		salt, _, _ := strings.Cut(hash[6:], "$")
		return equal(hash, apr1(password, salt)), nil
	}
	return false, ErrKind
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// apr1 is Apache's variant of the MD5 scheme that FreeBSD's crypt(3) introduced: a thousand rounds over password and salt.
func apr1(password, salt string) string {
	salt = salt[:min(len(salt), 8)]
	p, s := []byte(password), []byte(salt)
	inner := md5.Sum(join(p, s, p))
	first := md5.New()
	_, _ = first.Write(join(p, []byte("$apr1$"), s)) // a hash takes everything
	for left := len(p); left > 0; left -= len(inner) {
		_, _ = first.Write(inner[:min(left, len(inner))])
	}
	for bits := len(p); bits > 0; bits >>= 1 {
		one := byte(0)
		if bits&1 == 0 {
			one = p[0]
		}
		_, _ = first.Write([]byte{one})
	}
	sum := [md5.Size]byte(first.Sum(nil))
	for round := range 1000 {
		sum = md5.Sum(portion(round, p, s, sum[:]))
	}
	return "$apr1$" + salt + "$" + encode(sum)
}

// portion is what is hashed in one round.
func portion(round int, password, salt, sum []byte) []byte {
	var parts [][]byte
	if round&1 == 1 {
		parts = append(parts, password)
	} else {
		parts = append(parts, sum)
	}
	if round%3 != 0 {
		parts = append(parts, salt)
	}
	if round%7 != 0 {
		parts = append(parts, password)
	}
	if round&1 == 1 {
		parts = append(parts, sum)
	} else {
		parts = append(parts, password)
	}
	return join(parts...)
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// encode writes a sum in crypt's alphabet, three bytes to four characters, least significant first.
func encode(sum [md5.Size]byte) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	write := func(v uint32, n int) {
		for range n {
			b.WriteByte(alphabet[v&63])
			v >>= 6
		}
	}
	for i := range 5 {
		last := 12 + i
		if i == 4 {
			last = 5
		}
		write(uint32(sum[i])<<16|uint32(sum[6+i])<<8|uint32(sum[last]), 4)
	}
	write(uint32(sum[11]), 2)
	return b.String()
}
