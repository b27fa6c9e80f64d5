package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// order is how the files of a cluster come to be, each on the disk before the next is begun, and the reverse of how they
// are removed. So one that is missing where a later one is there was lost: a new one in its place would be another
// cluster's, and lock everybody out of this one's data.
var order = []string{"created", "version", "settings.json", "lab.json", "pki", "token", "encryption.yaml", "etcd", "etcd.born"}

// goes is when a file is removed: what shows that there is a cluster last, so that a removal that was cut short can go on.
func goes(name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return len(order) - i
	}
	return 0
}

// MayMake refuses to make a file anew that this cluster once had.
func (i Instance) MayMake(name string) error {
	for _, later := range order[slices.Index(order, name)+1:] {
		if _, err := os.Lstat(i.Path(later)); err == nil {
			return &DamageError{Path: i.Path(name), What: fmt.Sprintf("is missing, but %s is there", later), Remedy: i.remedy(name)}
		}
	}
	return nil
}

// DamageError says that a file of a cluster was lost or emptied, as a power cut or a person can do, and what mends it.
type DamageError struct{ Path, What, Remedy string }

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s %s; nothing is made anew in its place: %s", e.Path, e.What, e.Remedy)
}

// remedy is what can be done for a file that was lost.
func (i Instance) remedy(name string) string {
	down := fmt.Sprintf("restore it from a backup, or remove the whole cluster with 'fairlead down --data-dir %s'", i.Dir)
	switch name {
	case "version":
		return fmt.Sprintf("if a Fairlead of this version wrote the directory, 'echo %s > %s' mends it", dataVersion, i.Path(name))
	case "settings.json":
		return fmt.Sprintf(`restore it from a backup; or write {"name": "NAME", "nodes": N} of the cluster into it, which is all that 'fairlead down --data-dir %s' needs`, i.Dir)
	case "lab.json":
		return "write the number N of the lab's network 10.88.N.0/24 into it, or " + down
	case "token":
		return fmt.Sprintf("restore it from a backup; or write 32 hexadecimal digits of your own into it, and join again the machines that come anew; or remove the whole cluster with 'fairlead down --data-dir %s'", i.Dir)
	case "node-secret":
		return fmt.Sprintf("restore it from a backup; or remove it here and the file joined/%s in the server's directory, and start again", filepath.Base(i.Dir))
	}
	return down
}

// Damaged is the error about a file that is there and does not hold what it should.
func (i Instance) Damaged(name string, text []byte) error {
	what := "is not what was written"
	if strings.TrimSpace(string(text)) == "" {
		what = "is empty"
	}
	return &DamageError{Path: i.Path(name), What: what, Remedy: i.remedy(name)}
}
