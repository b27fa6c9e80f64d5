package secrets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

const (
	// firstPause and longestPause are between tries that fail, each twice as long as the one before, and up to half longer so that
	// many do not come at once.
	firstPause, longestPause = 20 * time.Millisecond, 5 * time.Second
	// watchSeconds is how long one watch goes on at least; each ends by itself within twice the time, and another follows.
	watchSeconds = 300
)

// follower follows one Secret until ctx is done.
type follower struct {
	secrets *Secrets
	name    types.NamespacedName
	ctx     context.Context
	version string // up to where everything is known; "": nothing is
}

func (f *follower) run() {
	pause, complained := firstPause, false
	for f.ctx.Err() == nil {
		err := f.once()
		if err == nil {
			pause, complained = firstPause, false
			continue
		}
		if !complained && pause > time.Second && f.ctx.Err() == nil {
			f.secrets.log.Warn("a secret cannot be read; what was read last is used, and it is tried again", "secret", f.name, "err", err)
			complained = true
		}
		select {
		case <-time.After(pause + rand.N(pause/2)):
		case <-f.ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

// once reads the Secret if nothing is known of it, and watches it as long as the server lets it. Its error says that neither went
// well.
func (f *follower) once() error {
	if f.version == "" {
		if err := f.read(); err != nil {
			return err
		}
	}
	options := f.alone()
	options.ResourceVersion, options.AllowWatchBookmarks = f.version, true
	options.TimeoutSeconds = ptr.To(watchSeconds + rand.Int64N(watchSeconds))
	w, err := f.secrets.client.CoreV1().Secrets(f.name.Namespace).Watch(f.ctx, options)
	if err != nil {
		return f.failed(err)
	}
	defer w.Stop()
	began, at := f.version, time.Now()
	for event := range w.ResultChan() {
		if err := f.take(event); err != nil {
			return f.failed(err)
		}
	}
	if f.version == began && time.Since(at) < time.Second {
		return errors.New("the watch ended at once")
	}
	return nil
}

// failed forgets up to where things are known if the server does, so that the Secret is read anew.
func (f *follower) failed(err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) {
		f.version = ""
	}
	return err
}

// alone selects the Secret and no other: a node may list and watch no more.
func (f *follower) alone() metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, f.name.Name).String()}
}

// read reads the Secret; a list of it alone says of which version it is, also if there is none.
func (f *follower) read() error {
	select {
	case f.secrets.reading <- struct{}{}:
		defer func() { <-f.secrets.reading }()
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(f.ctx, 30*time.Second)
	defer cancel()
	list, err := f.secrets.client.CoreV1().Secrets(f.name.Namespace).List(ctx, f.alone())
	if err != nil {
		return err
	}
	f.version = list.ResourceVersion
	var found *corev1.Secret
	if len(list.Items) > 0 {
		found = &list.Items[0]
	}
	f.secrets.put(f.ctx, f.name, found)
	return nil
}

// take takes what a watch tells.
func (f *follower) take(event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	secret, ok := event.Object.(*corev1.Secret)
	if !ok {
		return fmt.Errorf("watch of secret %s: got a %T", f.name, event.Object)
	}
	f.version = secret.ResourceVersion
	switch event.Type {
	case watch.Added, watch.Modified:
		f.secrets.put(f.ctx, f.name, secret)
	case watch.Deleted:
		f.secrets.put(f.ctx, f.name, nil)
	}
	return nil
}
