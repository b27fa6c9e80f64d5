package pulls

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fairlead.dev/fairlead/internal/durable"
)

// Records remember who proved that an image may be had, beyond a restart of the agent. The files hold digests of credentials, no
// credentials, and are root's alone.
type Records struct {
	Dir string

	mu      sync.Mutex
	pulling map[string]int // pulls under way, by image
}

// record is what is known of one image of the runtime.
type record struct {
	Image        string            `json:"image"`
	Repositories map[string]access `json:"repositories"` // by which name it was pulled
}

// access is who may have an image.
type access struct {
	Everybody bool     `json:"everybody,omitempty"`
	Secrets   []Secret `json:"secrets,omitempty"`
}

// secretLimit is how many secrets are remembered of an image and a name at most, those apart by which it was pulled.
const secretLimit = 100

// Begin notes that an image is about to be pulled: should this process die before the end, it is known whose doing the image is.
func (r *Records) Begin(image string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulling == nil {
		r.pulling = map[string]int{}
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return fmt.Errorf("records of pulls: %w", err)
	}
	if err := durable.WriteFile(r.intent(image), []byte(image), 0o600); err != nil {
		return fmt.Errorf("records of pulls: %w", err)
	}
	r.pulling[image]++
	return nil
}

// Failed ends what Begin began.
func (r *Records) Failed(image string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended(image)
}

// Pulled ends what Begin began: the image that the runtime knows by id was had with this candidate.
func (r *Records) Pulled(image, id string, by Candidate) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	repository, err := repositoryOf(image)
	if err != nil {
		return err
	}
	known, _ := r.read(id) // what cannot be read is made anew: nobody is let in by that who was not before
	if known.merge(id, repository, by.Secret) {
		if err := r.write(known); err != nil {
			return err // Begin's note stays: whoever wants the image has to prove it
		}
	}
	r.ended(image)
	return nil
}

// ended is a pull less; the lock is held.
func (r *Records) ended(image string) {
	if r.pulling[image] > 1 {
		r.pulling[image]--
		return
	}
	delete(r.pulling, image)
	os.Remove(r.intent(image)) // what stays makes a later pod prove what it could have without
}

// MustPull reports whether an image that is there has to be pulled all the same before the pod may have it, so that its registry decides.
// secrets are the pod's, asked for only where they matter.
func (r *Records) MustPull(image, id string, secrets func() ([]Secret, error)) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, err := r.read(id)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Lstat(r.intent(image))
		return err == nil, nil // else it was imported: everybody may have it
	}
	repository, nameErr := repositoryOf(image)
	if err != nil || nameErr != nil {
		return true, nil
	}
	who, ok := known.Repositories[repository]
	if ok && who.Everybody {
		return false, nil
	}
	if !ok || len(who.Secrets) == 0 {
		return true, nil
	}
	shown, err := secrets()
	if err != nil {
		return true, err
	}
	for _, s := range shown {
		if who.knows(s) {
			if len(who.Secrets) < secretLimit && known.merge(id, repository, &s) {
				return false, r.write(known)
			}
			return false, nil
		}
	}
	return true, nil
}

// Known reports whether an image came by a pull for a pod. One that did not was brought by a person.
func (r *Records) Known(id string) bool {
	_, err := os.Lstat(r.file(id))
	return err == nil
}

// knows reports whether the same credentials, or the same secret with others since, have proved themselves.
func (a access) knows(s Secret) bool {
	return slices.ContainsFunc(a.Secrets, func(k Secret) bool {
		return k.Hash != "" && k.Hash == s.Hash || k.UID == s.UID && k.Namespace == s.Namespace && k.Name == s.Name
	})
}

// merge adds who may have the image by that name; nil is everybody. It reports whether that is news.
func (r *record) merge(id, repository string, by *Secret) bool {
	if r.Repositories == nil {
		r.Repositories = map[string]access{}
	}
	r.Image = id
	now, known := r.Repositories[repository]
	switch {
	case known && now.Everybody:
		return false
	case by == nil:
		now = access{Everybody: true}
	case slices.Contains(now.Secrets, *by):
		return false
	default:
		now.Secrets = slices.DeleteFunc(slices.Clone(now.Secrets), func(s Secret) bool { return s.UID == by.UID && s.Namespace == by.Namespace && s.Name == by.Name })
		now.Secrets = append(now.Secrets, *by)
	}
	r.Repositories[repository] = now
	return true
}

// Forget drops what is known of images that the runtime does not have any more.
func (r *Records) Forget(present func(id string) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(r.Dir, "image-*"))
	for _, f := range files {
		if known, bad := readRecord(f); bad != nil || !present(known.Image) {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}

func (r *Records) read(id string) (*record, error) { return readRecord(r.file(id)) }

func readRecord(path string) (*record, error) {
	known := &record{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, known)
	}
	return known, err
}

func (r *Records) write(known *record) error {
	text, err := json.Marshal(known)
	if err == nil {
		err = os.MkdirAll(r.Dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(r.file(known.Image), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("records of pulls: %w", err)
	}
	return nil
}

func (r *Records) file(id string) string {
	return filepath.Join(r.Dir, "image-"+strings.ReplaceAll(filepath.Base(id), ":", "-"))
}

func (r *Records) intent(image string) string {
	return filepath.Join(r.Dir, fmt.Sprintf("pull-%x", sha256.Sum256([]byte(image))))
}
