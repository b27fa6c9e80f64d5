package registry

import (
	"context"
	"errors"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// ledger is the storage of Services that keeps the book of their numbers: here it is known what a write has done. The hooks
// of the generic store are called too early, not at all, or twice when two requests remove one Service.
type ledger struct {
	storage.Interface
	services *serviceStore
}

// Create is part of storage.Interface.
func (l ledger) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	c := claimOf(ctx)
	c.begun = true
	err := l.Interface.Create(with(ctx, &Alongside{Put: addressesOf(obj.(*corev1.Service), c.taken), Owner: c.uid, Claim: portsIn(c.taken)}), key, obj, out, ttl)
	l.close(c, err)
	return err
}

// GuaranteedUpdate is part of storage.Interface. It tries again as long as somebody else was faster; only the last try can
// have an outcome that is not known.
func (l ledger) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, ignoreNotFound bool, conditions *storage.Preconditions,
	try storage.UpdateFunc, cached runtime.Object) error {
	c, along := claimOf(ctx), &Alongside{}
	err := l.Interface.GuaranteedUpdate(with(ctx, along), key, out, ignoreNotFound, conditions, func(old runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
		c.begun = false
		obj, ttl, err := try(old, meta)
		if c.begun = err == nil; c.begun && !c.dry {
			*along = Alongside{
				Put: addressesOf(obj.(*corev1.Service), c.taken), Gone: c.numbers.heldBy(c.old, c.uid),
				Owner: c.uid, Claim: portsIn(c.taken), Free: portsIn(c.old),
			}
		}
		return obj, ttl, err
	}, cached)
	l.close(c, err)
	return err
}

// close enters the outcome of a write.
func (l ledger) close(c *claim, err error) {
	switch {
	case err == nil:
		c.done()
	case !c.begun || Unwritten(err):
		c.begun = false
		c.undo()
	default:
		c.unknown()
		l.services.wonder()
	}
}

// Delete is part of storage.Interface. It alone removes Services, and each once (rule S33).
func (l ledger) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, options storage.DeleteOptions) error {
	along := &Alongside{}
	err := l.Interface.Delete(with(ctx, along), key, out, conditions, func(ctx context.Context, obj runtime.Object) error {
		svc := obj.(*corev1.Service)
		along.Gone, along.Owner, along.Free = l.services.numbers.heldBy(numbersOf(svc), svc.UID), svc.UID, portsIn(numbersOf(svc))
		return validate(ctx, obj)
	}, cached, options)
	if err == nil {
		svc := out.(*corev1.Service)
		l.services.numbers.release(numbersOf(svc), svc.UID)
	} else if !Unwritten(err) {
		l.services.wonder()
	}
	return err
}

// claimOf is the claim of the request, an empty one for writes that take nothing, such as those of the status.
func claimOf(ctx context.Context) *claim {
	if c, ok := ctx.Value(claimKey{}).(*claim); ok {
		return c
	}
	return &claim{dry: true}
}

// NotWritten is the error of a storage that has not begun to write.
type NotWritten struct{ Why error }

func (e NotWritten) Error() string { return e.Why.Error() }

// Unwrap is why.
func (e NotWritten) Unwrap() error { return e.Why }

// Unwritten reports whether an error of the storage says that nothing was written. Any other error may come from a write
// that was carried out: the answer was lost, or did not come in time.
func Unwritten(err error) bool {
	if storage.IsExist(err) || storage.IsNotFound(err) || storage.IsConflict(err) || storage.IsInvalidError(err) || storage.IsInvalidObj(err) {
		return true
	}
	if errors.As(err, &NotWritten{}) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code/100 == 4 || code == http.StatusInsufficientStorage
}
