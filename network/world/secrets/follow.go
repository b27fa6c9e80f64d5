package secrets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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

// follower follows one object until ctx is done.
type follower[T object] struct {
	objects *Objects[T]
	name    types.NamespacedName
	ctx     context.Context
	version string // up to where everything is known; "": nothing is
}

func (f *follower[T]) run() {
	pause, complained := firstPause, false
	for f.ctx.Err() == nil {
		err := f.once()
		if err == nil {
			pause, complained = firstPause, false
			continue
		}
		if !complained && pause > time.Second && f.ctx.Err() == nil {
			f.objects.log.Warn("what is served with cannot be read; what was read last is used, and it is tried again", f.objects.kind.name, f.name, "err", err)
			complained = true
		}
		select {
		case <-time.After(pause + rand.N(pause/2)):
		case <-f.ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

// once reads the object if nothing is known of it, and watches it as long as the server lets it. Its error says that neither went
// well.
func (f *follower[T]) once() error {
	if f.version == "" {
		if err := f.read(); err != nil {
			return err
		}
	}
	options := f.alone()
	options.ResourceVersion, options.AllowWatchBookmarks = f.version, true
	options.TimeoutSeconds = ptr.To(watchSeconds + rand.Int64N(watchSeconds))
	w, err := f.objects.kind.watch(f.ctx, f.name.Namespace, options)
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

// failed forgets up to where things are known if the server does, so that the object is read anew.
func (f *follower[T]) failed(err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) {
		f.version = ""
	}
	return err
}

// alone selects the object and no other: a node may list and watch no more.
func (f *follower[T]) alone() metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, f.name.Name).String()}
}

// read reads the object; a list of it alone says of which version it is, also if there is none.
func (f *follower[T]) read() error {
	select {
	case f.objects.reading <- struct{}{}:
		defer func() { <-f.objects.reading }()
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(f.ctx, 30*time.Second)
	defer cancel()
	all, version, err := f.objects.kind.list(ctx, f.name.Namespace, f.alone())
	if err != nil {
		return err
	}
	f.version = version
	var found T
	if len(all) > 0 {
		found = all[0]
	}
	f.objects.put(f.ctx, f.name, found)
	return nil
}

// take takes what a watch tells.
func (f *follower[T]) take(event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	found, ok := event.Object.(T)
	if !ok {
		return fmt.Errorf("watch of %s %s: got a %T", f.objects.kind.name, f.name, event.Object)
	}
	f.version = found.GetResourceVersion()
	switch event.Type {
	case watch.Added, watch.Modified:
		f.objects.put(f.ctx, f.name, found)
	case watch.Deleted:
		var none T
		f.objects.put(f.ctx, f.name, none)
	}
	return nil
}
