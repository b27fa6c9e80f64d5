package status

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// endsSoon is how long before its end the status speaks of the authority.
const endsSoon = 365 * 24 * time.Hour

// ending is what `status` says of an authority that ends within a year.
func ending(caPEM []byte, now time.Time) []Row {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || ca.NotAfter.Sub(now) > endsSoon {
		return nil
	}
	return []Row{{Name: "authority", State: "ends soon", OK: now.Before(ca.NotAfter), Detail: fmt.Sprintf(
		"no certificate of the cluster is valid after %s; make a new cluster before, and move what runs here", ca.NotAfter.UTC().Format(time.DateOnly))}}
}
